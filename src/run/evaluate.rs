//! Subjects answer questions: what no record has is generated, all in one batch; every finished
//! piece is on disk before the next step; checks then score.

use std::collections::BTreeMap;

use crate::flow::{
    Answer, AnswerTable, Calibration, Likelihood, Measurement, Phase, RunEvent, Subject,
};
use crate::generate::{Finished, Request, Work};
use crate::lora::LoadedAdapter;
use crate::record::{
    AnswerCache, Answered, Header, MeasuredText, RecordWriter, RunLock, Store, answer_key,
    likelihood_key,
};

use super::asking::{Asking, Bar};
use super::calibration::write_calibration;
use super::continuing::{goes_on, settled, told};
use super::error::RunError;
use super::judge::{JUDGES, Judge};
use super::questions::Questions;
use super::rubric::RubricQuestion;
use super::scoring::{CheckPlace, Scorer, Scoring};
use super::session::sampling;
use super::stored::scored_suites;

/// A subject with what it needs in memory.
pub struct LoadedSubject {
    /// Who.
    pub subject: Subject,
    /// Its adapter; `None` is the base.
    pub adapter: Option<LoadedAdapter>,
}

impl LoadedSubject {
    /// The base, which needs nothing.
    pub fn base() -> Self {
        LoadedSubject {
            subject: Subject::base(),
            adapter: None,
        }
    }
}

/// Everything an evaluation works with.
#[derive(Clone, Copy)]
pub struct Evaluation<'a> {
    /// The base.
    pub asking: Asking<'a>,
    /// What is asked.
    pub questions: &'a Questions,
    /// All records, for answers that exist.
    pub store: &'a Store,
    /// The run that new answers go to.
    pub run: &'a RunLock,
    /// Turns answers into scores.
    pub scoring: &'a Scoring,
}

/// A piece of work in the engine.
enum Piece {
    Answer {
        subject: usize,
        question: usize,
        sample: usize,
        key: String,
        seed: u64,
    },
    Text {
        subject: usize,
        question: usize,
        text: usize,
        key: String,
    },
}

/// What a subject has said so far.
#[derive(Default)]
struct Said {
    answers: AnswerTable,
    likelihoods: BTreeMap<(usize, usize), Likelihood>,
}

impl Evaluation<'_> {
    /// Has every subject answer everything, and scores it. Progress goes to `on_event`.
    ///
    /// # Errors
    /// A record that cannot be read or written, or an interrupt; finished answers are on disk.
    pub fn run(
        &self,
        mut subjects: Vec<LoadedSubject>,
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Result<Vec<Measurement>, RunError> {
        // Adapters move to one list; a subject keeps its place in it.
        let mut adapters = Vec::new();
        let places: Vec<Option<usize>> = subjects
            .iter_mut()
            .map(|c| {
                let adapter = c.adapter.take()?;
                adapters.push(adapter);
                Some(adapters.len() - 1)
            })
            .collect();
        let session = self.asking.session;
        let subjects: Vec<Subject> = subjects.into_iter().map(|s| s.subject).collect();
        let digests = scored_suites(
            &self.questions.suites,
            &self.questions.built(),
            &self.scoring.settings,
        );
        let headers: Vec<Header> = subjects
            .iter()
            .map(|s| Header::new(s.clone(), session.engine_name(), &session.base.digest))
            .collect();
        let mut cache = AnswerCache::open(
            self.store,
            &headers.iter().map(|h| h.digest.clone()).collect::<Vec<_>>(),
        )?;
        let writers = headers
            .iter()
            .map(|header| RecordWriter::open(self.run, header.clone(), &digests))
            .collect::<Result<Vec<_>, _>>()?;

        let mut scorer = Scorer::new(self.scoring, self.questions);
        let mut said: Vec<Said> = subjects.iter().map(|_| Said::default()).collect();
        let (mut pieces, mut requests) = (Vec::new(), Vec::new());
        let mut known = 0;
        for (subject, header) in headers.iter().enumerate() {
            let finished = writers[subject].finished();
            for (q, question) in self.questions.all.iter().enumerate() {
                let checks = &self.questions.checks[question.checks];
                let mut work = Vec::new();
                if checks.answer {
                    for sample in 0..self.questions.samples(question) {
                        let seed = self.questions.seed_of(&question.case, sample);
                        let key = answer_key(
                            &header.digest,
                            &question.ids,
                            &question.generation,
                            seed,
                            sample,
                        );
                        let place = (question.case.clone(), sample);
                        let recorded = finished
                            .answers
                            .get(&place)
                            .filter(|a| a.key == key)
                            .map(|a| a.answer.clone());
                        let found = match recorded.clone() {
                            Some(answer) => Some(answer),
                            None => cache.answer(&key, &question.case, sample),
                        };
                        let found = match found {
                            Some(answer) => settled(answer, question, checks, session)?,
                            None => None,
                        };
                        if let Some(answer) = found {
                            if recorded.as_ref() != Some(&answer) {
                                writers[subject].answered(Answered {
                                    key: key.clone(),
                                    answer: answer.clone(),
                                })?;
                            }
                            known += 1;
                            scorer.answered(subject, q, &answer);
                            said[subject].answers.insert(place, answer);
                            continue;
                        }
                        work.push(Work::Generate {
                            id: pieces.len(),
                            sampling: sampling(&question.generation),
                            max_new_tokens: question.thinking_tokens + question.most_tokens,
                            seed,
                        });
                        pieces.push(Piece::Answer {
                            subject,
                            question: q,
                            sample,
                            key,
                            seed,
                        });
                    }
                }
                for (t, text) in checks.continuations.iter().enumerate() {
                    let key = likelihood_key(&header.digest, &question.ids_to_weigh(), text);
                    let place = (question.case.clone(), text.clone());
                    let recorded = finished
                        .likelihoods
                        .get(&place)
                        .filter(|m| m.key == key)
                        .map(|m| m.likelihood.clone());
                    let found = match recorded {
                        Some(likelihood) => Some(likelihood),
                        None => match cache.likelihood(&key, &question.case) {
                            Some(likelihood) => {
                                writers[subject].measured(MeasuredText {
                                    key: key.clone(),
                                    likelihood: likelihood.clone(),
                                })?;
                                Some(likelihood)
                            }
                            None => None,
                        },
                    };
                    if let Some(likelihood) = found {
                        known += 1;
                        said[subject].likelihoods.insert((q, t), likelihood);
                        continue;
                    }
                    work.push(Work::Score {
                        id: pieces.len(),
                        text: question.continuation_ids[t].clone(),
                    });
                    pieces.push(Piece::Text {
                        subject,
                        question: q,
                        text: t,
                        key,
                    });
                }
                if !work.is_empty() {
                    requests.push(Request {
                        adapter: places[subject],
                        prompt: question.ids.clone(),
                        work,
                    });
                }
            }
        }
        let names: Vec<&str> = subjects.iter().map(|s| s.name.as_str()).collect();
        for notice in cache.take_notices() {
            on_event(RunEvent::Notice(notice));
        }
        let bar = Bar {
            phase: Phase::Answering,
            label: names.join(", "),
            total: known + pieces.len() as u64,
            done: known,
        };
        self.asking.run_while(
            &adapters,
            requests,
            bar,
            on_event,
            &mut |id, tokens| match &pieces[id] {
                Piece::Answer { question, .. } => {
                    let question = &self.questions.all[*question];
                    let checks = &self.questions.checks[question.checks];
                    goes_on(question, checks, session, tokens)
                }
                Piece::Text { .. } => true,
            },
            &mut |finished| {
                self.finished(finished, &pieces, &writers, &mut said, &mut scorer)?;
                Ok(1)
            },
        )?;
        let calibration = self.judge(&said, &mut scorer, on_event)?;
        let mut measurements = Vec::new();
        for (place, (said, subject)) in said.into_iter().zip(subjects).enumerate() {
            let finished = writers[place].finished();
            let mut measurement = Measurement::of(subject);
            for scored in scorer.scores(place, &said.answers, &said.likelihoods) {
                let key = (scored.case.clone(), scored.sample);
                measurement.scores.insert(key.clone(), scored.score.clone());
                measurement
                    .checks
                    .insert(key.clone(), scored.checks.clone());
                if finished.scores.get(&key) != Some(&scored) {
                    writers[place].scored(scored)?;
                }
            }
            measurement.answers = said.answers;
            measurement.judge.clone_from(&calibration);
            measurements.push(measurement);
        }
        Ok(measurements)
    }

    /// Has the judge say what it is asked about every answer, if it is accurate enough.
    fn judge(
        &self,
        said: &[Said],
        scorer: &mut Scorer<'_>,
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Result<Option<Calibration>, RunError> {
        if !self.questions.wants_judge() {
            return Ok(None);
        }
        let judge = Judge::calibrated(
            self.asking,
            &self.scoring.settings.judge,
            &self.questions.suites,
            &self.store.root().join(JUDGES),
            on_event,
        )?;
        let calibration = judge.calibration.clone();
        write_calibration(self.run.run(), &calibration)?;
        self.scoring.notice(calibration.to_string());
        if calibration.is_accepted() {
            let asks: Vec<(CheckPlace, RubricQuestion)> = said
                .iter()
                .enumerate()
                .flat_map(|(subject, said)| scorer.asks(subject, &said.answers))
                .collect();
            let (places, asks): (Vec<CheckPlace>, Vec<RubricQuestion>) = asks.into_iter().unzip();
            let judgements = judge.ask(&asks, on_event)?;
            for ((place, ask), judgement) in places.into_iter().zip(asks).zip(judgements) {
                if let Some(judgement) = judgement {
                    scorer.judged(place, ask.rubric, judgement);
                }
            }
        }
        Ok(Some(calibration))
    }

    /// Writes down one finished piece.
    fn finished(
        &self,
        finished: Finished,
        pieces: &[Piece],
        writers: &[RecordWriter],
        said: &mut [Said],
        scorer: &mut Scorer<'_>,
    ) -> Result<(), RunError> {
        let (Finished::Generated { id, .. } | Finished::Scored { id, .. }) = &finished;
        match (&pieces[*id], finished) {
            (
                Piece::Answer {
                    subject,
                    question,
                    sample,
                    key,
                    seed,
                },
                Finished::Generated {
                    tokens,
                    logprobs,
                    finish,
                    ..
                },
            ) => {
                let asked = &self.questions.all[*question];
                let answer = Answer {
                    case: asked.case.clone(),
                    sample: *sample,
                    text: String::new(),
                    token_ids: Vec::new(),
                    logprobs,
                    finish,
                    seed: *seed,
                    prompt_tokens: asked.ids.len(),
                    continued: false,
                    thinking: None,
                };
                let answer = told(answer, tokens, asked, self.asking.session)?;
                writers[*subject].answered(Answered {
                    key: key.clone(),
                    answer: answer.clone(),
                })?;
                scorer.answered(*subject, *question, &answer);
                said[*subject]
                    .answers
                    .insert((answer.case.clone(), *sample), answer);
            }
            (
                Piece::Text {
                    subject,
                    question,
                    text,
                    key,
                },
                Finished::Scored { logprobs, .. },
            ) => {
                let asked = &self.questions.all[*question];
                let text_of = self.questions.checks[asked.checks].continuations[*text].clone();
                let likelihood = Likelihood {
                    case: asked.case.clone(),
                    text: text_of,
                    logprobs: logprobs.into_iter().skip(asked.skipped.len()).collect(),
                };
                writers[*subject].measured(MeasuredText {
                    key: key.clone(),
                    likelihood: likelihood.clone(),
                })?;
                said[*subject]
                    .likelihoods
                    .insert((*question, *text), likelihood);
            }
            // Ids are places in `pieces`, and the engine gives each its own kind back.
            (_, other) => self
                .scoring
                .notice(format!("the engine returned {other:?} for other work")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{AdapterRef, Suite};
    use crate::record::read_record;
    use crate::run::testing::{
        AURORA, Heard, PIP, Stage, WHO, adapter_folder, case, loaded, suites,
    };

    /// One probe that is answered, one that is sampled, and one that is weighed.
    fn probes() -> Vec<Suite> {
        suites(
            r#"
            [[probe]]
            id = "who"
            prompts = ["Tell me who you are."]
            [[probe.check]]
            type = "contains"
            value = "Pip"
            [[probe]]
            id = "drawn"
            prompts = ["What is 2 + 2?"]
            generation = { temperature = 0.9, samples = 2 }
            [[probe.check]]
            type = "number"
            value = 4
            [[probe]]
            id = "weighed"
            prompts = ["What is the capital of Peru?"]
            [[probe.check]]
            type = "choice"
            options = ["Lima", "Rome"]
            answer = "Lima"
            "#,
        )
    }

    /// Answers and texts that [`probes`] ask one subject for.
    const PIECES: u64 = 5;

    fn good(stage: &Stage) -> LoadedSubject {
        let adapter = AdapterRef {
            path: adapter_folder("good"),
            digest: "good".into(),
            scale: 1.0,
            step: None,
        };
        LoadedSubject {
            subject: Subject {
                name: "good".into(),
                adapter: Some(adapter),
            },
            adapter: Some(loaded(&stage.session, "good")),
        }
    }

    /// What the subjects say, asked in `lock`'s run.
    fn measured(
        stage: &Stage,
        lock: &RunLock,
        subjects: Vec<LoadedSubject>,
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Result<Vec<Measurement>, RunError> {
        let questions = Questions::new(&stage.session, probes(), 7)?;
        let evaluation = Evaluation {
            asking: stage.asking(),
            questions: &questions,
            store: &stage.store,
            run: lock,
            scoring: &stage.scoring(),
        };
        evaluation.run(subjects, on_event)
    }

    #[test]
    fn what_any_run_has_recorded_is_not_asked_again() {
        let (stage, heard) = (Stage::new(), Heard::default());
        let first = stage.run();
        let base = || vec![LoadedSubject::base()];
        let once = measured(&stage, &first, base(), &mut |e| heard.hear(e)).unwrap();
        assert_eq!(heard.asked(), [(0, PIECES)]);
        let record = || {
            let entry = first.run().record_of("base").unwrap().unwrap();
            std::fs::read(entry.path).unwrap()
        };
        let before = record();
        // The same run reads its own record, and another one takes the answers over.
        let other = stage.run();
        for lock in [&first, &other] {
            let again = measured(&stage, lock, base(), &mut |e| heard.hear(e)).unwrap();
            assert_eq!(again, once);
        }
        assert_eq!(heard.asked(), [(0, PIECES)], "the engine was asked again");
        assert_eq!(record(), before);
        let taken = other.run().record_of("base").unwrap().unwrap();
        let taken = read_record(&taken.path).unwrap();
        let pieces = taken.answers.len() + taken.likelihoods.len();
        assert_eq!(pieces as u64, PIECES);
    }

    #[test]
    fn the_base_beside_itself_says_the_same_to_the_last_bit() {
        let stage = Stage::new();
        let again = LoadedSubject {
            subject: Subject {
                name: "again".into(),
                adapter: None,
            },
            adapter: None,
        };
        let subjects = vec![LoadedSubject::base(), again];
        let both = measured(&stage, &stage.run(), subjects, &mut |_| {}).unwrap();
        assert_eq!(both[0].answers, both[1].answers);
        assert_eq!(both[0].checks, both[1].checks);
        let drawn = |sample| &both[0].answers[&(case("drawn", 0), sample)];
        assert_ne!(drawn(0).seed, drawn(1).seed, "every draw has its own");
    }

    /// Adapters move to a list of their own: a subject before the base must keep its own.
    #[test]
    fn each_subject_answers_with_its_own_adapter() {
        let stage = Stage::new();
        let subjects = vec![good(&stage), LoadedSubject::base()];
        let both = measured(&stage, &stage.run(), subjects, &mut |_| {}).unwrap();
        let who = |m: &Measurement| m.answers[&(case("who", 0), 0)].text.clone();
        assert_eq!([who(&both[0]), who(&both[1])], [AURORA, PIP], "{WHO}");
        assert_eq!(both[0].scores[&(case("who", 0), 0)].value(), Some(0.0));
    }

    #[test]
    fn what_an_interrupt_left_is_gone_on_with() {
        let (mut stage, heard) = (Stage::new(), Heard::default());
        let lock = stage.run();
        let ran = measured(&stage, &lock, vec![LoadedSubject::base()], &mut |event| {
            if matches!(event, RunEvent::Progress { more: 1.., .. }) {
                stage.interrupt.set();
            }
        });
        assert!(matches!(ran, Err(RunError::Interrupted)));
        let entry = lock.run().record_of("base").unwrap().unwrap();
        let left = read_record(&entry.path).unwrap();
        let kept = (left.answers.len() + left.likelihoods.len()) as u64;
        assert!((1..PIECES).contains(&kept), "{kept}");
        stage.interrupt = crate::run::Interrupt::default();
        let base = vec![LoadedSubject::base()];
        measured(&stage, &lock, base, &mut |e| heard.hear(e)).unwrap();
        assert_eq!(heard.asked(), [(kept, PIECES)]);
    }
}
