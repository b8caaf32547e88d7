//! Suites put to a loaded base: every case with its token ids, its checks, and what they need.

use std::sync::Arc;

use crate::digest;
use crate::flow::{CaseId, Generation, Probe, ProbeId, Suite};

use super::built_checks::{BuiltChecks, ProbeChecks};
use super::continuing::most_tokens;
use super::error::RunError;
use super::session::Session;

/// One prompt with all that is asked about it.
#[derive(Clone)]
pub struct Question {
    /// Which.
    pub case: CaseId,
    /// As the suite has it.
    pub prompt: String,
    /// The rendered prompt.
    pub ids: Arc<[u32]>,
    /// With every default filled in.
    pub generation: Generation,
    /// Most tokens of an answer that goes on, at least the `max_new_tokens` of `generation`; those
    /// of its thinking do not count.
    pub most_tokens: usize,
    /// Whether the prompt opens a block of thinking.
    pub opened: bool,
    /// Room for thinking before the answer, in tokens; 0 where none is expected.
    pub thinking_tokens: usize,
    /// Put after the prompt where texts are weighed as the answer: the end of thinking.
    pub skipped: Arc<[u32]>,
    /// Place in [`Questions::checks`].
    pub checks: usize,
    /// Token ids of each continuation, after those of `skipped`.
    pub continuation_ids: Vec<Arc<[u32]>>,
    /// The probe, where a server renders the prompt: there are no token ids then.
    pub probe: Option<Arc<Probe>>,
}

impl Question {
    /// Most tokens of thinking. Where none is expected, as much as an answer may have at first.
    pub fn most_thinking(&self) -> usize {
        match self.thinking_tokens {
            0 => self.generation.max_new_tokens,
            tokens => tokens,
        }
    }

    /// The prompt as texts are weighed after it.
    pub fn ids_to_weigh(&self) -> Vec<u32> {
        [&self.ids[..], &self.skipped].concat()
    }
}

/// Everything that a set of suites asks.
pub struct Questions {
    /// The suites, as loaded and selected.
    pub suites: Vec<Suite>,
    /// One per probe, in order.
    pub checks: Vec<Arc<ProbeChecks>>,
    /// One per case, in order.
    pub all: Vec<Question>,
    /// Added to every case's seed.
    pub seed: u64,
}

impl Questions {
    /// Renders every prompt and builds every check.
    ///
    /// # Errors
    /// A prompt that does not fit the context, a check that cannot be built.
    pub fn new(session: &Session, suites: Vec<Suite>, seed: u64) -> Result<Self, RunError> {
        let checks = BuiltChecks::of(&suites)?;
        Self::with_checks(session, suites, &checks, seed)
    }

    /// As [`Questions::new`], with checks that are built already: of these suites, or of more.
    ///
    /// # Errors
    /// A prompt that does not fit the context, a check that cannot be built.
    pub fn with_checks(
        session: &Session,
        suites: Vec<Suite>,
        built: &BuiltChecks,
        seed: u64,
    ) -> Result<Self, RunError> {
        Questions::asked(suites, built, seed, |probe, case, text, own, checks| {
            question(session, probe, case, text, own, checks)
        })
    }

    /// One question of each wording of each probe, as `ask` puts it: the probe, the case, its words,
    /// the probe's checks, and their place among all.
    fn asked(
        suites: Vec<Suite>,
        built: &BuiltChecks,
        seed: u64,
        mut ask: impl FnMut(
            &Probe,
            CaseId,
            &str,
            &Arc<ProbeChecks>,
            usize,
        ) -> Result<Question, RunError>,
    ) -> Result<Self, RunError> {
        let (mut checks, mut all) = (Vec::new(), Vec::new());
        for suite in &suites {
            for probe in &suite.probes {
                let own = match built.of_probe(&suite.id_of(probe)) {
                    Some(own) => own.clone(),
                    None => Arc::new(ProbeChecks::build(probe)?),
                };
                for (prompt, text) in probe.prompts.iter().enumerate() {
                    let case = CaseId {
                        suite: suite.name.clone(),
                        probe: probe.id.clone(),
                        prompt,
                    };
                    all.push(ask(probe, case, text, &own, checks.len())?);
                }
                checks.push(own);
            }
        }
        Ok(Questions {
            suites,
            checks,
            all,
            seed,
        })
    }

    /// As [`Questions::with_checks`], of a model behind a server: turns, and no token ids. `resolve`
    /// fills in what a probe leaves open, and `thinking` is the room for thinking before an answer.
    ///
    /// # Errors
    /// A check that cannot be built.
    pub fn served(
        suites: Vec<Suite>,
        built: &BuiltChecks,
        seed: u64,
        resolve: &dyn Fn(&Generation) -> Generation,
        thinking: usize,
    ) -> Result<Self, RunError> {
        // One copy of a probe for all its wordings.
        let mut shared = None;
        Questions::asked(suites, built, seed, |probe, case, text, _, checks| {
            if case.prompt == 0 {
                shared = Some(Arc::new(probe.clone()));
            }
            let generation = resolve(&probe.generation);
            Ok(Question {
                case,
                prompt: text.to_owned(),
                ids: Arc::default(),
                most_tokens: generation.max_new_tokens,
                generation,
                opened: false,
                thinking_tokens: thinking,
                skipped: Arc::default(),
                checks,
                continuation_ids: Vec::new(),
                probe: shared.clone(),
            })
        })
    }

    /// Those of some probes, of the same suites.
    pub fn only(&self, wanted: &dyn Fn(&ProbeId) -> bool) -> Questions {
        let asked = self.all.iter().filter(|q| wanted(&q.case.probe_id()));
        Questions {
            suites: self.suites.clone(),
            checks: self.checks.clone(),
            all: asked.cloned().collect(),
            seed: self.seed,
        }
    }

    /// The checks by probe.
    pub fn built(&self) -> BuiltChecks {
        let probes = self.suites.iter();
        let ids = probes.flat_map(|s| s.probes.iter().map(|p| s.id_of(p)));
        ids.zip(self.checks.iter().cloned()).collect()
    }

    /// Whether any check wants a judge.
    pub fn wants_judge(&self) -> bool {
        self.checks.iter().any(|c| c.wants_judge())
    }

    /// Key of the random draws of a sample: the same for every subject.
    pub fn seed_of(&self, case: &CaseId, sample: usize) -> u64 {
        let hex = digest::bytes(format!("{}/{case}/{sample}", self.seed));
        u64::from_str_radix(&hex[..16], 16).unwrap_or(self.seed)
    }

    /// Samples of a question: one where no answer is generated, or where it is greedy.
    pub fn samples(&self, question: &Question) -> usize {
        let sampled = question.generation.temperature.is_some_and(|t| t > 0.0);
        if self.checks[question.checks].answer && sampled {
            question.generation.samples
        } else {
            1
        }
    }
}

fn question(
    session: &Session,
    probe: &Probe,
    case: CaseId,
    text: &str,
    built: &ProbeChecks,
    checks: usize,
) -> Result<Question, RunError> {
    let ids = session.prompt(probe.system.as_deref(), &probe.history, text)?;
    let skipped = match built.continuations.is_empty() {
        true => Arc::default(),
        false => session.skipped_thinking(probe.system.as_deref(), &probe.history, text)?,
    };
    let mut continuation_ids = Vec::new();
    for continuation in &built.continuations {
        let tokens = session.tokenizer.encode(continuation)?;
        if tokens.is_empty() {
            return Err(RunError::NoTokens {
                case,
                text: continuation.clone(),
            });
        }
        continuation_ids.push([&skipped[..], &tokens].concat().into());
    }
    let generation = session.resolve(&probe.generation);
    let lengths = continuation_ids.iter().map(|c: &Arc<[u32]>| c.len());
    let longest = lengths.max().unwrap_or(0);
    let answer = longest.max(if built.answer {
        generation.max_new_tokens
    } else {
        0
    });
    let context = session.decoder.config().max_position_embeddings;
    if ids.len() + answer > context {
        return Err(RunError::TooLong {
            case,
            prompt: ids.len(),
            answer,
            context,
        });
    }
    let room = context - ids.len();
    let thinking_tokens = match built.answer {
        true => session
            .thinking_budget(&ids)?
            .min(room - generation.max_new_tokens),
        false => 0,
    };
    Ok(Question {
        case,
        prompt: text.to_owned(),
        most_tokens: most_tokens(generation.max_new_tokens, room - thinking_tokens),
        opened: session.opens_thinking(&ids)?,
        thinking_tokens,
        skipped,
        ids,
        generation,
        checks,
        continuation_ids,
        probe: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::testing::{case, session, suites};

    fn asked(probes: &str) -> Result<Questions, RunError> {
        Questions::new(&session(), suites(probes), 7)
    }

    const CAPITALS: &str = r#"
        [[probe]]
        id = "peru"
        prompts = ["What is the capital of Peru?", "Name the capital of Peru."]
        [[probe.check]]
        type = "choice"
        options = ["Lima", "Rome"]
        answer = "Lima"
        [[probe.check]]
        type = "choice"
        options = ["Rome", "Lima", "Oslo"]
        answer = "Lima"
        [[probe.check]]
        type = "not-contains"
        value = "Oslo"
    "#;

    #[test]
    fn each_wording_is_a_case_and_each_text_is_weighed_once() {
        let questions = asked(CAPITALS).unwrap();
        let cases: Vec<&CaseId> = questions.all.iter().map(|q| &q.case).collect();
        assert_eq!(cases, [&case("peru", 0), &case("peru", 1)]);
        let checks = &questions.checks[0];
        assert_eq!(checks.continuations, ["Lima", "Rome", "Oslo"]);
        assert_eq!(checks.kinds, ["choice", "choice", "not-contains"]);
        assert!(checks.answer && !checks.siblings);
        let texts = |q: &Question| q.continuation_ids.len();
        assert_eq!(questions.all.iter().map(texts).collect::<Vec<_>>(), [3, 3]);
        assert_ne!(questions.all[0].ids, questions.all[1].ids);
    }

    /// Base and candidate draw the same random numbers: no subject is in the key.
    #[test]
    fn draws_depend_on_case_sample_and_seed_alone() {
        let questions = asked(CAPITALS).unwrap();
        let seed = |prompt, sample| questions.seed_of(&case("peru", prompt), sample);
        let all = [seed(0, 0), seed(0, 1), seed(1, 0), seed(1, 1)];
        let distinct = std::collections::BTreeSet::from(all);
        assert_eq!(distinct.len(), 4);
        let again = asked(CAPITALS).unwrap();
        assert_eq!(again.seed_of(&case("peru", 1), 1), seed(1, 1));
        let other = Questions { seed: 8, ..again };
        assert_ne!(other.seed_of(&case("peru", 1), 1), seed(1, 1));
    }

    #[test]
    fn only_what_is_drawn_is_asked_more_than_once() {
        for (temperature, check, samples) in [
            (
                "temperature = 0.7\nsamples = 3",
                "type = \"contains\"\nvalue = \"x\"",
                3,
            ),
            // The fixture's own default is greedy.
            ("samples = 3", "type = \"contains\"\nvalue = \"x\"", 1),
            (
                "temperature = 0.7\nsamples = 3",
                "type = \"likelihood\"\ntext = \"x\"",
                1,
            ),
        ] {
            let questions = asked(&format!(
                "[[probe]]\nid = \"a\"\nprompts = [\"A?\"]\n[probe.generation]\n{temperature}\n\
                 [[probe.check]]\n{check}\n"
            ))
            .unwrap();
            assert_eq!(
                questions.samples(&questions.all[0]),
                samples,
                "{temperature} {check}"
            );
        }
    }

    #[test]
    fn a_prompt_without_room_for_its_answer_is_refused() {
        let long = "word ".repeat(300);
        let probe = |prompt: &str, tokens: usize| {
            format!(
                "[[probe]]\nid = \"a\"\nprompts = [\"{prompt}\"]\n\
                 generation = {{ max_new_tokens = {tokens} }}\n\
                 [[probe.check]]\ntype = \"contains\"\nvalue = \"x\"\n"
            )
        };
        let refused = |prompt: &str, tokens| asked(&probe(prompt, tokens)).err();
        assert!(matches!(refused(&long, 1), Some(RunError::TooLong { .. })));
        // The prompt alone would fit.
        let error = refused("Hi?", 250).unwrap();
        insta::assert_snapshot!(error, @"s::a#0: the prompt has 16 tokens and the answer up to 250, the model's context 256; shorten the prompt or lower max_new_tokens");
        assert!(refused("Hi?", 200).is_none());
    }

    /// The likelihood of no token is no number.
    #[test]
    fn a_text_without_tokens_is_refused() {
        let (session, suites) = (session(), suites(CAPITALS));
        let probe = &suites[0].probes[0];
        let mut built = ProbeChecks::build(probe).unwrap();
        built.continuations[1] = String::new();
        let refused = question(&session, probe, case("peru", 0), "Who?", &built, 0).err();
        insta::assert_snapshot!(refused.unwrap(), @r#"s::peru#0: the text "" has no token, so it has no likelihood; give a longer one"#);
    }

    #[test]
    fn a_rubric_in_a_group_wants_a_judge_too() {
        let probe = |check: &str| {
            suites(&format!(
                "[[probe]]\nid = \"a\"\nprompts = [\"A?\"]\n[[probe.check]]\n{check}\n"
            ))
        };
        let rubric = "{ type = \"llm-rubric\", value = \"It is polite.\" }";
        let grouped = format!("type = \"any\"\nchecks = [{{ type = \"refusal\" }}, {rubric}]");
        assert!(BuiltChecks::of(&probe(&grouped)).unwrap().wants_judge());
        assert!(
            !BuiltChecks::of(&probe("type = \"refusal\""))
                .unwrap()
                .wants_judge()
        );
    }
}
