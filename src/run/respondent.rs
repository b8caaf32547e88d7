//! What answers the questions of an evaluation: the engine over a loaded base, or a server
//! ([`super::serving`]). Everything else about a measurement is one path for both.

use crate::flow::{Answer, Likelihood, RunEvent, Subject};
use crate::generate::{Finished, Request, Work};
use crate::lora::LoadedAdapter;
use crate::record::{Header, answer_key, likelihood_key};

use super::asking::{Asking, Bar};
use super::built_checks::ProbeChecks;
use super::continuing::{goes_on, settled, told};
use super::error::RunError;
use super::interrupt::Interrupt;
use super::judge::JudgeSettings;
use super::questions::{Question, Questions};
use super::session::sampling;

/// A piece of work that no record has.
pub(super) struct Piece {
    /// Who: a place among the subjects.
    pub subject: usize,
    /// What: a place in [`Questions::all`].
    pub question: usize,
    /// Key of what comes of it.
    pub key: String,
    pub of: PieceOf,
}

/// What is wanted.
pub(super) enum PieceOf {
    Answer {
        sample: usize,
        seed: u64,
    },
    /// The likelihood of a text, a place among the continuations of its probe.
    Text {
        text: usize,
    },
}

/// What came of one piece.
#[derive(Debug)]
pub(super) enum Found {
    Answer(Answer),
    Likelihood(Likelihood),
}

/// Everything that is asked at once; pieces of one question stand together.
pub(super) struct Round<'r> {
    pub questions: &'r Questions,
    pub pieces: &'r [Piece],
    pub bar: Bar,
}

/// Hears what came of a piece, by its place.
pub(super) type OnFound<'f> = &'f mut dyn FnMut(usize, Found) -> Result<(), RunError>;

/// What answers questions.
pub(super) trait Respondent {
    /// The header of a subject's record: what its answers depend on.
    fn header(&self, subject: &Subject) -> Header;

    /// Key of everything that decides an answer.
    fn answer_key(&self, header: &Header, question: &Question, seed: u64, sample: usize) -> String;

    /// Key of everything that decides a likelihood.
    fn likelihood_key(&self, header: &Header, question: &Question, text: &str) -> String;

    /// A recorded answer as it would be given now; `None` has it asked again.
    fn settled(
        &self,
        answer: Answer,
        question: &Question,
        checks: &ProbeChecks,
    ) -> Result<Option<Answer>, RunError>;

    /// Why likelihoods of given texts cannot be had; `None` where they can.
    fn cannot_weigh(&self) -> Option<String>;

    /// Does all of a round. Each finished piece goes to `on_found` at once.
    fn respond(
        &self,
        round: Round<'_>,
        on_event: &mut dyn FnMut(RunEvent),
        on_found: OnFound<'_>,
    ) -> Result<(), RunError>;

    /// The user's wish to stop.
    fn interrupt(&self) -> &Interrupt;

    /// The loaded base, where there is one: it can judge.
    fn base(&self) -> Option<Asking<'_>>;

    /// Who judges where the settings say so.
    fn judge(&self, settings: &JudgeSettings) -> JudgeSettings;
}

/// The engine over a loaded base and some adapters.
pub(super) struct Local<'a> {
    pub asking: Asking<'a>,
    pub adapters: &'a [LoadedAdapter],
    /// Each subject's adapter; `None` is the base.
    pub places: Vec<Option<usize>>,
}

impl Respondent for Local<'_> {
    fn header(&self, subject: &Subject) -> Header {
        let session = self.asking.session;
        Header::new(subject.clone(), session.engine_name(), &session.base.digest)
    }

    fn answer_key(&self, header: &Header, question: &Question, seed: u64, sample: usize) -> String {
        let (ids, generation) = (&question.ids, &question.generation);
        answer_key(&header.digest, ids, generation, seed, sample)
    }

    fn likelihood_key(&self, header: &Header, question: &Question, text: &str) -> String {
        likelihood_key(&header.digest, &question.ids_to_weigh(), text)
    }

    fn settled(
        &self,
        answer: Answer,
        question: &Question,
        checks: &ProbeChecks,
    ) -> Result<Option<Answer>, RunError> {
        Ok(settled(answer, question, checks, self.asking.session)?)
    }

    fn cannot_weigh(&self) -> Option<String> {
        None
    }

    fn respond(
        &self,
        round: Round<'_>,
        on_event: &mut dyn FnMut(RunEvent),
        on_found: OnFound<'_>,
    ) -> Result<(), RunError> {
        let session = self.asking.session;
        let (questions, pieces) = (round.questions, round.pieces);
        let mut requests: Vec<Request> = Vec::new();
        let mut before = None;
        for (id, piece) in pieces.iter().enumerate() {
            let question = &questions.all[piece.question];
            if before != Some((piece.subject, piece.question)) {
                before = Some((piece.subject, piece.question));
                requests.push(Request {
                    adapter: self.places[piece.subject],
                    prompt: question.ids.clone(),
                    work: Vec::new(),
                });
            }
            let work = match piece.of {
                PieceOf::Answer { seed, .. } => Work::Generate {
                    id,
                    sampling: sampling(&question.generation),
                    max_new_tokens: question.thinking_tokens + question.most_tokens,
                    seed,
                },
                PieceOf::Text { text } => Work::Score {
                    id,
                    text: question.continuation_ids[text].clone(),
                },
            };
            if let Some(request) = requests.last_mut() {
                request.work.push(work);
            }
        }
        self.asking.run_while(
            self.adapters,
            requests,
            round.bar,
            on_event,
            &mut |id, tokens| match pieces[id].of {
                PieceOf::Answer { .. } => {
                    let question = &questions.all[pieces[id].question];
                    goes_on(
                        question,
                        &questions.checks[question.checks],
                        session,
                        tokens,
                    )
                }
                PieceOf::Text { .. } => true,
            },
            &mut |finished| {
                let (Finished::Generated { id, .. } | Finished::Scored { id, .. }) = &finished;
                let id = *id;
                let question = &questions.all[pieces[id].question];
                let found = self.found(&pieces[id], question, questions, finished)?;
                on_found(id, found)?;
                Ok(1)
            },
        )
    }

    fn interrupt(&self) -> &Interrupt {
        self.asking.interrupt
    }

    fn base(&self) -> Option<Asking<'_>> {
        Some(self.asking)
    }

    fn judge(&self, settings: &JudgeSettings) -> JudgeSettings {
        settings.clone()
    }
}

impl Local<'_> {
    fn found(
        &self,
        piece: &Piece,
        question: &Question,
        questions: &Questions,
        finished: Finished,
    ) -> Result<Found, RunError> {
        let (sample, seed, text) = match piece.of {
            PieceOf::Answer { sample, seed } => (sample, seed, 0),
            PieceOf::Text { text } => (0, 0, text),
        };
        Ok(match finished {
            Finished::Generated {
                tokens,
                logprobs,
                finish,
                ..
            } => {
                let answer = Answer {
                    case: question.case.clone(),
                    sample,
                    text: String::new(),
                    token_ids: Vec::new(),
                    logprobs,
                    finish,
                    seed,
                    prompt_tokens: question.ids.len(),
                    continued: false,
                    thinking: None,
                    served: None,
                };
                Found::Answer(told(answer, tokens, question, self.asking.session)?)
            }
            Finished::Scored { logprobs, .. } => {
                let checks = &questions.checks[question.checks];
                let text = checks.continuations.get(text).cloned().unwrap_or_default();
                Found::Likelihood(Likelihood {
                    case: question.case.clone(),
                    text,
                    logprobs: logprobs.into_iter().skip(question.skipped.len()).collect(),
                })
            }
        })
    }
}
