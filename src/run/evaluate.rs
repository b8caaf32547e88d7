//! Subjects answer questions: what no record has is generated, all in one batch; every finished
//! piece is on disk before the next step; checks then score.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::flow::{
    Answer, AnswerTable, Calibration, CaseId, CheckScore, Likelihood, Phase, RunEvent, ScoreTable,
    Subject,
};
use crate::generate::{Engine, Finished, Request, Work};
use crate::lora::LoadedAdapter;
use crate::record::{
    AnswerCache, Answered, Header, Measured, RecordWriter, RunLock, Store, answer_key,
    likelihood_key,
};

use super::error::RunError;
use super::interrupt::Interrupt;
use super::judge::{Ask, JUDGES, Judge};
use super::questions::Questions;
use super::scoring::{Place, Scorer, Scoring};
use super::session::{Session, sampling};
use super::stored::write_calibration;

/// A subject with what it needs in memory.
pub struct Candidate {
    /// Who.
    pub subject: Subject,
    /// Its adapter; `None` is the base.
    pub adapter: Option<LoadedAdapter>,
}

/// What one subject said and scored.
#[derive(Debug, Clone, Default)]
pub struct Measurement {
    /// Scores by case and sample.
    pub scores: ScoreTable,
    /// Each check's score, by case and sample.
    pub checks: BTreeMap<(CaseId, usize), Vec<CheckScore>>,
    /// Answers by case and sample.
    pub answers: AnswerTable,
    /// How far the judge of its `llm-rubric` checks can be trusted, where one was asked.
    pub judge: Option<Calibration>,
}

/// Everything an evaluation works with.
#[derive(Clone, Copy)]
pub struct Evaluation<'a> {
    /// The base.
    pub session: &'a Session,
    /// What is asked.
    pub questions: &'a Questions,
    /// All records, for answers that exist.
    pub store: &'a Store,
    /// The run that new answers go to.
    pub run: &'a RunLock,
    /// Turns answers into scores.
    pub scoring: &'a Scoring,
    /// Sequences answered at once.
    pub slots: usize,
    /// The user's wish to stop.
    pub interrupt: &'a Interrupt,
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
        mut candidates: Vec<Candidate>,
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Result<Vec<Measurement>, RunError> {
        // Adapters move to one list; a candidate keeps its place in it.
        let mut adapters = Vec::new();
        let places: Vec<Option<usize>> = candidates
            .iter_mut()
            .map(|c| {
                let adapter = c.adapter.take()?;
                adapters.push(adapter);
                Some(adapters.len() - 1)
            })
            .collect();
        let subjects: Vec<&Subject> = candidates.iter().map(|c| &c.subject).collect();
        let digests = self
            .questions
            .suites
            .iter()
            .map(|s| (s.name.clone(), s.digest.clone()))
            .collect();
        let headers: Vec<Header> = subjects
            .iter()
            .map(|s| {
                Header::new(
                    (*s).clone(),
                    self.session.engine_name(),
                    &self.session.base.digest,
                )
            })
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
                        let found = match recorded {
                            Some(answer) => Some(answer),
                            None => match cache.answer(&key, &question.case, sample) {
                                Some(answer) => {
                                    writers[subject].answered(Answered {
                                        key: key.clone(),
                                        answer: answer.clone(),
                                    })?;
                                    Some(answer)
                                }
                                None => None,
                            },
                        };
                        if let Some(answer) = found {
                            known += 1;
                            scorer.answered(subject, q, &answer);
                            said[subject].answers.insert(place, answer);
                            continue;
                        }
                        work.push(Work::Generate {
                            id: pieces.len(),
                            sampling: sampling(&question.generation),
                            max_new_tokens: question.generation.max_new_tokens,
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
                    let key = likelihood_key(&header.digest, &question.ids, text);
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
                                writers[subject].measured(Measured {
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
        self.generate(
            &adapters,
            &subjects,
            &writers,
            requests,
            &pieces,
            known,
            &mut said,
            &mut scorer,
            on_event,
        )?;
        let calibration = self.judge(&said, &mut scorer, on_event)?;
        let mut measurements = Vec::new();
        for (subject, said) in said.into_iter().enumerate() {
            let finished = writers[subject].finished();
            let (mut scores, mut checks) = (ScoreTable::new(), BTreeMap::new());
            for scored in scorer.scores(subject, &said.answers, &said.likelihoods) {
                let place = (scored.case.clone(), scored.sample);
                scores.insert(place.clone(), scored.score.clone());
                checks.insert(place.clone(), scored.checks.clone());
                on_event(RunEvent::Scored {
                    subject: subjects[subject].name.clone(),
                    case: scored.case.clone(),
                    sample: scored.sample,
                    checks: scored.checks.clone(),
                    score: scored.score.clone(),
                });
                if finished.scores.get(&place) != Some(&scored) {
                    writers[subject].scored(scored)?;
                }
            }
            measurements.push(Measurement {
                scores,
                checks,
                answers: said.answers,
                judge: calibration.clone(),
            });
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
            self.session,
            self.slots,
            &self.scoring.judge,
            &self.questions.suites,
            &self.store.root().join(JUDGES),
            on_event,
        )?;
        let calibration = judge.calibration.clone();
        write_calibration(self.run.run(), &calibration)?;
        self.scoring.notice(calibration.to_string());
        if calibration.is_accepted() {
            let asks: Vec<(Place, Ask)> = said
                .iter()
                .enumerate()
                .flat_map(|(subject, said)| scorer.asks(subject, &said.answers))
                .collect();
            let (places, asks): (Vec<Place>, Vec<Ask>) = asks.into_iter().unzip();
            for (place, judgement) in places.into_iter().zip(judge.ask(&asks, on_event)?) {
                if let Some(judgement) = judgement {
                    scorer.judged(place, judgement);
                }
            }
        }
        Ok(Some(calibration))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the halves of one function that share its state"
    )]
    fn generate(
        &self,
        adapters: &[LoadedAdapter],
        subjects: &[&Subject],
        writers: &[RecordWriter],
        requests: Vec<Request>,
        pieces: &[Piece],
        known: u64,
        said: &mut [Said],
        scorer: &mut Scorer<'_>,
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Result<(), RunError> {
        if requests.is_empty() {
            return Ok(());
        }
        let phase = Phase::Answering;
        let label = subjects
            .iter()
            .map(|s| s.name.as_str())
            .collect::<Vec<_>>()
            .join(", ");
        on_event(RunEvent::Begin {
            phase,
            total: known + pieces.len() as u64,
            done: known,
            label,
        });
        let options = self.session.engine_options(self.slots);
        let engine = Engine::new(&self.session.decoder, adapters, options);
        let mut failure = None;
        let events = std::cell::RefCell::new(on_event);
        let mut on_finished = |finished: Finished| {
            match self.finished(finished, pieces, subjects, writers, said, scorer) {
                Ok(event) => (events.borrow_mut())(event),
                Err(error) => {
                    failure = Some(error);
                    return ControlFlow::Break(());
                }
            }
            (events.borrow_mut())(RunEvent::Progress {
                phase,
                more: 1,
                tokens: 0,
                note: None,
            });
            ControlFlow::Continue(())
        };
        let ran = engine.run(requests, &mut on_finished, &mut |step| {
            let tokens = (step.generated + step.prompt_rows) as u64;
            (events.borrow_mut())(RunEvent::Progress {
                phase,
                more: 0,
                tokens,
                note: None,
            });
            if self.interrupt.is_set() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        (events.borrow_mut())(RunEvent::End { phase });
        ran?;
        match failure {
            Some(error) => Err(error),
            None if self.interrupt.is_set() => Err(RunError::Interrupted),
            None => Ok(()),
        }
    }

    /// Writes down one finished piece.
    fn finished(
        &self,
        finished: Finished,
        pieces: &[Piece],
        subjects: &[&Subject],
        writers: &[RecordWriter],
        said: &mut [Said],
        scorer: &mut Scorer<'_>,
    ) -> Result<RunEvent, RunError> {
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
                let text = self.session.tokenizer.decode(&tokens)?;
                let answer = Answer {
                    case: asked.case.clone(),
                    sample: *sample,
                    text,
                    token_ids: tokens,
                    logprobs,
                    finish,
                    seed: *seed,
                    prompt_tokens: asked.ids.len(),
                };
                writers[*subject].answered(Answered {
                    key: key.clone(),
                    answer: answer.clone(),
                })?;
                scorer.answered(*subject, *question, &answer);
                said[*subject]
                    .answers
                    .insert((answer.case.clone(), *sample), answer.clone());
                Ok(RunEvent::Answered {
                    subject: subjects[*subject].name.clone(),
                    answer,
                })
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
                    logprobs,
                };
                writers[*subject].measured(Measured {
                    key: key.clone(),
                    likelihood: likelihood.clone(),
                })?;
                said[*subject]
                    .likelihoods
                    .insert((*question, *text), likelihood.clone());
                Ok(RunEvent::Measured {
                    subject: subjects[*subject].name.clone(),
                    likelihood,
                })
            }
            // Ids are places in `pieces`, and the engine gives each its own kind back.
            (_, other) => Ok(RunEvent::Notice(format!(
                "the engine returned {other:?} for other work"
            ))),
        }
    }
}
