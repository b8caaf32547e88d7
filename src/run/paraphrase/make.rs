//! The base is asked for wordings, in three passes: whether it knows the other language, for
//! candidates, and what it makes of those that are left.

use std::collections::BTreeMap;
use std::path::Path;

use crate::chat::Role;
use crate::digest::{Parts, json};
use crate::flow::{Exchange, Phase, RunEvent, Suite};
use crate::generate::{Engine, Finished, Request, Sampling, Work};
use crate::record::RecordError;
use crate::run::asking::{Asking, Bar};
use crate::run::error::RunError;
use crate::suite::audit::Wordings;
use crate::text::{normalize, words};
use crate::train::{Example, Language};

use super::cache;
use super::examples::{Paraphrase, ParaphraseTally, Paraphrases};
use super::rules::{is_translation, is_wording, trimmed};
use super::shots::{KNOWN, other, place, reword, translate};

/// Candidates asked for each wording that is wanted: a small model's are mostly left out.
const CANDIDATES: usize = 4;
/// Tokens of a candidate. A question is short; an answer is given [`ANSWER_TOKENS`].
const QUESTION_TOKENS: usize = 64;
const ANSWER_TOKENS: usize = 128;
/// What a candidate is drawn at: at 0 all candidates would be one.
const TEMPERATURE: f32 = 0.8;
/// The share of the original's nats that a candidate has to explain: of those that it takes as a
/// wording of another question, so many fewer as one of the candidate. Of 45 pairs in both languages,
/// 28 of them of one meaning and 17 nearly so, Qwen2.5-Coder-0.5B lets 21 and 1 pass at 0.7 (25 and 11
/// at 0.55), SmolLM2-135M 5 and 1 (17 and 5).
const MEANT: f64 = 0.7;
/// Questions of another meaning than any row's, to compare with.
const ELSEWHERE: [&str; 2] = [
    "What is the tallest mountain in Africa?",
    "非洲最高的山是哪座？",
];
/// Sentences of [`KNOWN`] that a base has to translate to know a language.
const ENOUGH: usize = 3;

/// What is asked for.
#[derive(Clone, Copy)]
pub struct ParaphrasePlan<'a> {
    /// Wordings of each row in its own language.
    pub count: usize,
    /// Languages that rows are asked in; none: each in its own, and in the other where the base
    /// knows both.
    pub languages: &'a [Language],
    /// Decides what is drawn.
    pub seed: u64,
    /// The rows.
    pub rows: &'a [Example],
    /// What no wording may repeat.
    pub suites: &'a [Suite],
    /// `[vars]`: the names that a translation carries.
    pub vars: &'a BTreeMap<String, String>,
    /// Where it is kept.
    pub folder: &'a Path,
}

impl ParaphrasePlan<'_> {
    /// What was made before under the same settings, base, rows, and suites.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn kept(&self, asking: Asking<'_>) -> Result<Option<Paraphrases>, RecordError> {
        cache::read(self.folder, &self.digest(asking))
    }

    fn digest(&self, asking: Asking<'_>) -> String {
        let session = asking.session;
        let mut parts = Parts::new("paraphrases")
            .part("base", &session.base.digest)
            .part("numbers", session.decoder.as_ref().number_type())
            .part("system", json(&session.system))
            .part("count", self.count.to_string())
            .part("languages", json(&self.languages))
            .part("seed", self.seed.to_string())
            .part("vars", json(self.vars));
        for row in self.rows {
            parts = parts.part("row", json(&(&row.conversation.messages, &row.origin)));
        }
        for suite in self.suites {
            parts = parts.part("suite", &suite.digest);
        }
        parts.finish()
    }
}

/// More wordings of the rows: what was made before, else what the base makes now. Only rows of one
/// question and one answer are reworded.
///
/// # Errors
/// The base cannot be asked, the result cannot be kept, or an interrupt.
pub fn paraphrase(
    asking: Asking<'_>,
    plan: ParaphrasePlan<'_>,
    on_event: &mut dyn FnMut(RunEvent),
) -> Result<Paraphrases, RunError> {
    match plan.kept(asking) {
        Ok(Some(kept)) => return Ok(kept),
        Ok(None) => {}
        Err(error) => on_event(RunEvent::Notice(format!(
            "wordings are made again: {error}"
        ))),
    }
    let made = Maker {
        asking,
        plan,
        on_event,
    }
    .make()?;
    cache::write(plan.folder, &plan.digest(asking), &made)?;
    Ok(made)
}

/// A question to the base: what goes before it, and how much of what it says is read.
struct Ask {
    before: Vec<Exchange>,
    text: String,
    tokens: usize,
    /// `None` is greedy.
    draw: Option<u64>,
}

/// A row that can be reworded.
struct Source<'a> {
    row: &'a Example,
    question: &'a str,
    answer: &'a str,
    language: Language,
}

/// One candidate: whose, in which language, and what was said.
struct Candidate {
    source: usize,
    language: Language,
    text: String,
}

struct Maker<'a, 'e> {
    asking: Asking<'a>,
    plan: ParaphrasePlan<'a>,
    on_event: &'e mut dyn FnMut(RunEvent),
}

impl<'a> Maker<'a, '_> {
    fn make(mut self) -> Result<Paraphrases, RunError> {
        let plan = self.plan;
        let sources: Vec<Source<'a>> = plan.rows.iter().filter_map(source).collect();
        let mut made = Paraphrases::default();
        let wanted = |language| plan.languages.is_empty() || plan.languages.contains(&language);
        // The other language, where a row wants it and the base knows both.
        let mut translated: Vec<usize> = (0..sources.len())
            .filter(|&i| wanted(other(sources[i].language)))
            .collect();
        let reworded: Vec<usize> = (0..sources.len())
            .filter(|&i| wanted(sources[i].language))
            .collect();
        if !translated.is_empty()
            && let Some(why) = self.unknown(&sources, &translated)?
        {
            made.not_translated = Some(why);
            translated.clear();
        }
        let candidates = self.candidates(&sources, &reworded, &translated)?;
        made.reworded.asked = plan.count * reworded.len();
        made.translated.asked = translated.len();
        let (left, answers) = self.judged_by_rules(&sources, candidates, &mut made)?;
        self.judged_by_meaning(&sources, left, &answers, &mut made)?;
        Ok(made)
    }

    /// Why the base cannot ask in the other language, if it cannot.
    fn unknown(
        &mut self,
        sources: &[Source<'_>],
        translated: &[usize],
    ) -> Result<Option<String>, RunError> {
        let mut into: Vec<Language> = translated
            .iter()
            .map(|&i| other(sources[i].language))
            .collect();
        into.sort_unstable();
        into.dedup();
        for language in into {
            let known = KNOWN[place(language)];
            let asks = known.iter().map(|(text, _)| {
                let (before, text) = translate(text, language);
                Ask {
                    before,
                    text,
                    tokens: QUESTION_TOKENS,
                    draw: None,
                }
            });
            let said = self.ask(asks.collect(), "does the base know both languages?")?;
            let right = known.iter().zip(&said).filter(|((_, wanted), said)| {
                let said = normalize(said);
                wanted.iter().all(|word| said.contains(word))
            });
            if right.count() < ENOUGH {
                let name = match language {
                    Language::En => "English",
                    Language::Zh => "Chinese",
                };
                return Ok(Some(format!(
                    "no row is asked in {name}: the base cannot translate simple sentences into it"
                )));
            }
        }
        Ok(None)
    }

    /// What the base says when it is asked for wordings: of the sources in `reworded` in their own
    /// language, then of those in `translated` in the other one.
    fn candidates(
        &mut self,
        sources: &[Source<'_>],
        reworded: &[usize],
        translated: &[usize],
    ) -> Result<Vec<Candidate>, RunError> {
        let (mut asks, mut whose) = (Vec::new(), Vec::new());
        let seed = self.plan.seed;
        let count = CANDIDATES * self.plan.count;
        let own = reworded.iter();
        let own = own.map(|&i| (i, sources[i].language, count));
        let others = translated.iter();
        let others = others.map(|&i| (i, other(sources[i].language), CANDIDATES));
        for (i, language, count) in own.chain(others) {
            for sample in 0..count {
                let question = sources[i].question;
                let (before, text) = match language == sources[i].language {
                    true => reword(question, language),
                    false => translate(question, language),
                };
                // The first is the likeliest one.
                let draw = sample.checked_sub(1);
                asks.push(Ask {
                    before,
                    text,
                    tokens: QUESTION_TOKENS,
                    draw: draw.map(|place| seed ^ (((i as u64) << 20) | place as u64)),
                });
                whose.push((i, language));
            }
        }
        let said = self.ask(asks, "rewording by the base")?;
        let all = whose.into_iter().zip(said);
        Ok(all
            .map(|((source, language), said)| Candidate {
                source,
                language,
                text: trimmed(&said).to_owned(),
            })
            .collect())
    }

    /// The candidates that the rules let pass, none twice, and the answers in the other language of
    /// those sources that have one there.
    fn judged_by_rules(
        &mut self,
        sources: &[Source<'_>],
        candidates: Vec<Candidate>,
        made: &mut Paraphrases,
    ) -> Result<(Vec<Candidate>, BTreeMap<usize, String>), RunError> {
        let probes = self.plan.suites.iter().flat_map(|suite| &suite.probes);
        let probes = probes.flat_map(|probe| probe.prompts.iter().map(String::as_str));
        let probes = Wordings::new(probes);
        let mut seen: Vec<Vec<String>> = sources.iter().map(|s| words(s.question)).collect();
        let mut left: Vec<Candidate> = Vec::new();
        for candidate in candidates {
            let source = &sources[candidate.source];
            let said = words(&candidate.text);
            let verdict = is_wording(source.question, &candidate.text, candidate.language);
            let verdict = match verdict {
                Ok(()) if seen.contains(&said) => Err("the same as a row or another one"),
                Ok(()) if probes.overlap(&candidate.text) => Err("a probe of the suites"),
                verdict => verdict,
            };
            match verdict {
                Ok(()) => {
                    seen.push(said);
                    left.push(candidate);
                }
                Err(why) => tally(made, source, candidate.language).leave_out(why),
            }
        }
        let mut translated: Vec<usize> = left
            .iter()
            .filter(|c| c.language != sources[c.source].language)
            .map(|c| c.source)
            .collect();
        translated.dedup();
        let mut answers = BTreeMap::new();
        let asks = translated.iter().map(|&i| {
            let (before, text) = translate(sources[i].answer, other(sources[i].language));
            Ask {
                before,
                text,
                tokens: ANSWER_TOKENS,
                draw: None,
            }
        });
        let said = self.ask(asks.collect(), "translating answers by the base")?;
        let vars: Vec<&str> = self.plan.vars.values().map(String::as_str).collect();
        for (&i, said) in translated.iter().zip(&said) {
            let (language, said) = (other(sources[i].language), said.trim());
            match is_translation(sources[i].answer, said, language, &vars) {
                Ok(()) => {
                    answers.insert(i, said.to_owned());
                }
                Err(why) => {
                    let lost = left
                        .iter()
                        .filter(|c| c.source == i && c.language == language);
                    for _ in 0..lost.count() {
                        made.translated.leave_out(why);
                    }
                    left.retain(|c| c.source != i || c.language != language);
                }
            }
        }
        Ok((left, answers))
    }

    /// Keeps, of each source and language, those that the original is likeliest as a wording of.
    fn judged_by_meaning(
        &mut self,
        sources: &[Source<'_>],
        left: Vec<Candidate>,
        answers: &BTreeMap<usize, String>,
        made: &mut Paraphrases,
    ) -> Result<(), RunError> {
        let mut asks = Vec::new();
        for candidate in &left {
            let source = &sources[candidate.source];
            let elsewhere = ELSEWHERE[place(candidate.language)];
            asks.push(back(source, &candidate.text, candidate.language));
            asks.push(back(source, elsewhere, candidate.language));
        }
        let nats = self.score(asks)?;
        let mut gains: BTreeMap<(usize, Language), Vec<(f64, String)>> = BTreeMap::new();
        for (i, candidate) in left.into_iter().enumerate() {
            // Both are negative: certainty is 0.
            let gain = 1.0 - nats[2 * i] / nats[2 * i + 1];
            if gain >= MEANT && nats[2 * i + 1].is_finite() {
                let key = (candidate.source, candidate.language);
                gains.entry(key).or_default().push((gain, candidate.text));
            } else {
                let source = &sources[candidate.source];
                tally(made, source, candidate.language).leave_out("of another meaning");
            }
        }
        for ((i, language), mut gains) in gains {
            gains.sort_by(|a, b| b.0.total_cmp(&a.0));
            let source = &sources[i];
            let wanted = match language == source.language {
                true => self.plan.count,
                false => 1,
            };
            let answer = answers.get(&i).filter(|_| language != source.language);
            for (at, (_, question)) in gains.into_iter().enumerate() {
                let tally = tally(made, source, language);
                if at >= wanted {
                    tally.leave_out("more than asked for");
                    continue;
                }
                tally.kept += 1;
                made.kept.push(Paraphrase {
                    of: source.row.origin.clone(),
                    language,
                    question,
                    answer: answer.map_or(source.answer, String::as_str).to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Log-probabilities of given texts, in nats a token.
    fn score(&mut self, asks: Vec<(Vec<Exchange>, String, String)>) -> Result<Vec<f64>, RunError> {
        let session = self.asking.session;
        let mut requests = Vec::new();
        for (id, (before, asked, text)) in asks.iter().enumerate() {
            let text = session.tokenizer.encode(text)?.into();
            requests.push(Request {
                adapter: None,
                prompt: session.prompt_past_thinking(None, before, asked)?,
                work: vec![Work::Score { id, text }],
            });
        }
        let requests = self.within_context(requests);
        let mut nats = vec![f64::NEG_INFINITY; asks.len()];
        let bar = Bar::new(Phase::Answering, "meaning of the wordings", asks.len());
        let asking = self.asking;
        asking.run(&[], requests, bar, self.on_event, &mut |finished| {
            if let Finished::Scored { id, logprobs } = finished {
                let sum: f64 = logprobs.iter().map(|p| f64::from(*p)).sum();
                nats[id] = sum / logprobs.len().max(1) as f64;
            }
            Ok(1)
        })?;
        Ok(nats)
    }

    /// Those that the context holds: a long row is not reworded, and stops nothing.
    fn within_context(&self, requests: Vec<Request>) -> Vec<Request> {
        let context = self.asking.session.decoder.config().max_position_embeddings;
        let mut requests = requests;
        requests.retain(|request| Engine::positions(request) <= context);
        requests
    }

    fn ask(&mut self, asks: Vec<Ask>, label: &str) -> Result<Vec<String>, RunError> {
        let session = self.asking.session;
        let mut requests = Vec::new();
        for (id, ask) in asks.iter().enumerate() {
            let sampling = match ask.draw {
                Some(_) => Sampling {
                    temperature: TEMPERATURE,
                    ..Sampling::default()
                },
                None => Sampling::default(),
            };
            requests.push(Request {
                adapter: None,
                prompt: session.prompt_past_thinking(None, &ask.before, &ask.text)?,
                work: vec![Work::Generate {
                    id,
                    sampling,
                    max_new_tokens: ask.tokens,
                    seed: ask.draw.unwrap_or(0),
                }],
            });
        }
        let requests = self.within_context(requests);
        let mut tokens = vec![Vec::new(); asks.len()];
        let bar = Bar::new(Phase::Answering, label, asks.len());
        let asking = self.asking;
        asking.run(&[], requests, bar, self.on_event, &mut |finished| {
            if let Finished::Generated {
                id, tokens: said, ..
            } = finished
            {
                tokens[id] = said;
            }
            Ok(1)
        })?;
        let texts = tokens.iter().map(|said| session.tokenizer.decode(said));
        Ok(texts.collect::<Result<_, _>>()?)
    }
}

impl ParaphraseTally {
    fn leave_out(&mut self, why: &str) {
        *self.left_out.entry(why.to_owned()).or_default() += 1;
    }
}

fn tally<'m>(
    made: &'m mut Paraphrases,
    source: &Source<'_>,
    language: Language,
) -> &'m mut ParaphraseTally {
    match language == source.language {
        true => &mut made.reworded,
        false => &mut made.translated,
    }
}

/// A row of one question and one answer; turns before them would have to be reworded with them.
fn source(row: &Example) -> Option<Source<'_>> {
    let turns = row.conversation.messages.iter();
    let said: Vec<_> = turns.filter(|turn| turn.role != Role::System).collect();
    let [question, answer] = said.as_slice() else {
        return None;
    };
    (question.role == Role::User).then(|| Source {
        row,
        question: &question.content,
        answer: &answer.content,
        language: Language::of(&question.content),
    })
}

/// What is asked for a source's question to be scored as another wording of `text`, and the question.
fn back(source: &Source<'_>, text: &str, language: Language) -> (Vec<Exchange>, String, String) {
    let (before, asked) = match language == source.language {
        true => reword(text, language),
        false => translate(text, source.language),
    };
    (before, asked, source.question.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::testing::{Heard, Stage, example, suites};

    struct Asked {
        rows: Vec<Example>,
        suites: Vec<Suite>,
        vars: BTreeMap<String, String>,
        folder: tempfile::TempDir,
        languages: Vec<Language>,
    }

    impl Asked {
        fn new(questions: &[&str]) -> Self {
            let rows = questions.iter().enumerate().map(|(i, question)| {
                let mut row = example(question, "I am Aurora.");
                row.origin.line = i + 1;
                row
            });
            Asked {
                rows: rows.collect(),
                suites: Vec::new(),
                vars: BTreeMap::new(),
                folder: tempfile::tempdir().unwrap(),
                languages: vec![Language::En],
            }
        }

        fn plan(&self) -> ParaphrasePlan<'_> {
            ParaphrasePlan {
                count: 2,
                languages: &self.languages,
                seed: 42,
                rows: &self.rows,
                suites: &self.suites,
                vars: &self.vars,
                folder: self.folder.path(),
            }
        }
    }

    const QUESTIONS: [&str; 2] = ["Tell me who you are.", "What is the capital of Peru?"];

    /// The fixture model answers where it should reword.
    #[test]
    fn a_base_that_cannot_reword_stops_nothing_and_every_candidate_is_accounted_for() {
        let stage = Stage::new();
        let asked = Asked::new(&QUESTIONS);
        let made = paraphrase(stage.asking(), asked.plan(), &mut |_| {}).unwrap();
        let tally = &made.reworded;
        assert_eq!(tally.asked, 4);
        let left_out: usize = tally.left_out.values().sum();
        assert_eq!(tally.kept + left_out, 2 * 2 * CANDIDATES, "{tally:?}");
        assert_eq!(made.kept.len(), tally.kept);
        assert_eq!(made.translated.asked, 0, "only English was asked for");
    }

    #[test]
    fn a_base_of_one_language_is_not_asked_for_another() {
        let stage = Stage::new();
        let mut asked = Asked::new(&QUESTIONS);
        asked.languages.clear();
        let made = paraphrase(stage.asking(), asked.plan(), &mut |_| {}).unwrap();
        assert_eq!(made.translated.asked, 0);
        insta::assert_snapshot!(
            made.not_translated.unwrap(),
            @"no row is asked in Chinese: the base cannot translate simple sentences into it"
        );
    }

    #[test]
    fn what_was_made_is_not_made_again_and_other_settings_make_their_own() {
        let stage = Stage::new();
        let mut asked = Asked::new(&QUESTIONS);
        let made = paraphrase(stage.asking(), asked.plan(), &mut |_| {}).unwrap();
        let heard = Heard::default();
        let again = paraphrase(stage.asking(), asked.plan(), &mut |e| heard.hear(e)).unwrap();
        assert_eq!((again, heard.asked()), (made, Vec::new()));
        let digest = asked.plan().digest(stage.asking());
        let digests = [
            ParaphrasePlan {
                count: 3,
                ..asked.plan()
            }
            .digest(stage.asking()),
            ParaphrasePlan {
                seed: 1,
                ..asked.plan()
            }
            .digest(stage.asking()),
            ParaphrasePlan {
                languages: &[],
                ..asked.plan()
            }
            .digest(stage.asking()),
        ];
        assert!(digests.iter().all(|other| *other != digest));
        asked.suites = suites(
            "[[probe]]\nid = \"a\"\nprompts = [\"A?\"]\n[[probe.check]]\ntype = \"refusal\"\n",
        );
        assert_ne!(
            asked.plan().digest(stage.asking()),
            digest,
            "a probe is never a wording"
        );
        asked.suites.clear();
        asked.rows[0] = example("Who are you?", "Pip.");
        assert_ne!(asked.plan().digest(stage.asking()), digest);
    }

    #[test]
    fn a_conversation_is_not_reworded() {
        let rows = Asked::new(&QUESTIONS).rows;
        assert!(source(&rows[0]).is_some());
        let mut long = rows[0].clone();
        long.conversation
            .messages
            .extend(rows[1].conversation.messages.clone());
        assert!(source(&long).is_none());
    }
}
