//! One driver of the engine: whoever has something asked of a loaded base goes through here, so
//! that each piece of work moves a bar, and Ctrl-C ends it at the next answer or step.

use std::cell::RefCell;
use std::ops::ControlFlow;

use crate::flow::{Phase, RunEvent};
use crate::generate::{Engine, EngineOptions, Engines, Finished, Request};
use crate::lora::LoadedAdapter;

use super::error::RunError;
use super::interrupt::Interrupt;
use super::room;
use super::session::Session;

/// A base that can be asked.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    /// The base.
    pub session: &'a Session,
    /// Sequences answered at once; 0 is as many as suit the device.
    pub slots: usize,
    /// The user's wish to stop.
    pub interrupt: &'a Interrupt,
}

/// The progress bar of some questions.
#[derive(Debug, Clone)]
pub struct Bar {
    /// What is done.
    pub phase: Phase,
    /// What it is about.
    pub label: String,
    /// Amount of work in all.
    pub total: u64,
    /// Amount that is on disk already.
    pub done: u64,
}

impl Bar {
    /// A bar that begins at nothing.
    pub fn new(phase: Phase, label: impl Into<String>, total: usize) -> Self {
        Bar {
            phase,
            label: label.into(),
            total: total as u64,
            done: 0,
        }
    }
}

/// What the engine is heard to have done.
#[derive(Debug)]
pub enum Piece {
    /// A token that goes on with the answer of this name.
    Token {
        /// The caller's name for the answer.
        id: usize,
        /// Which token.
        token: u32,
    },
    /// A piece of work is done.
    Finished(Finished),
}

/// Who hears of the engine's work, and of how much of it.
struct Hearing<'h> {
    /// Whether an answer goes on after its tokens so far.
    goes_on: &'h mut dyn FnMut(usize, &[u32]) -> bool,
    /// Whether each token is heard, not finished pieces alone.
    tokens: bool,
    on_piece: &'h mut dyn FnMut(Piece) -> Result<u64, RunError>,
}

/// Hears finished pieces, and no token.
fn finished_alone(
    on_finished: &mut dyn FnMut(Finished) -> Result<u64, RunError>,
) -> impl FnMut(Piece) -> Result<u64, RunError> {
    move |piece| match piece {
        Piece::Token { .. } => Ok(0),
        Piece::Finished(finished) => on_finished(finished),
    }
}

impl Asking<'_> {
    /// Has the engine do all work of `requests`, whose adapters are places in `adapters`. Each
    /// finished piece goes to `on_finished` at once, which returns by how much the bar moves.
    ///
    /// # Errors
    /// What `on_finished` cannot do, a device whose memory is full, or an interrupt: what was
    /// finished before has been handed over.
    pub fn run(
        &self,
        adapters: &[LoadedAdapter],
        requests: Vec<Request>,
        bar: Bar,
        on_event: &mut dyn FnMut(RunEvent),
        on_finished: &mut dyn FnMut(Finished) -> Result<u64, RunError>,
    ) -> Result<(), RunError> {
        let mut on_piece = finished_alone(on_finished);
        let hearing = Hearing {
            goes_on: &mut |_, _| true,
            tokens: false,
            on_piece: &mut on_piece,
        };
        self.drive(adapters, requests, bar, on_event, hearing)
    }

    /// As [`Asking::run`], asking `goes_on` after every token ([`Engine::run_while`]).
    ///
    /// # Errors
    /// As [`Asking::run`].
    pub fn run_while(
        &self,
        adapters: &[LoadedAdapter],
        requests: Vec<Request>,
        bar: Bar,
        on_event: &mut dyn FnMut(RunEvent),
        goes_on: &mut dyn FnMut(usize, &[u32]) -> bool,
        on_finished: &mut dyn FnMut(Finished) -> Result<u64, RunError>,
    ) -> Result<(), RunError> {
        let mut on_piece = finished_alone(on_finished);
        let hearing = Hearing {
            goes_on,
            tokens: false,
            on_piece: &mut on_piece,
        };
        self.drive(adapters, requests, bar, on_event, hearing)
    }

    /// As [`Asking::run`]; with `tokens`, each token of an answer goes to `on_piece` too, in the
    /// step that chose it. An answer's last token comes after the answer.
    ///
    /// # Errors
    /// As [`Asking::run`].
    pub fn run_by_token(
        &self,
        adapters: &[LoadedAdapter],
        requests: Vec<Request>,
        bar: Bar,
        on_event: &mut dyn FnMut(RunEvent),
        tokens: bool,
        on_piece: &mut dyn FnMut(Piece) -> Result<u64, RunError>,
    ) -> Result<(), RunError> {
        let hearing = Hearing {
            goes_on: &mut |_, _| true,
            tokens,
            on_piece,
        };
        self.drive(adapters, requests, bar, on_event, hearing)
    }

    fn drive(
        &self,
        adapters: &[LoadedAdapter],
        requests: Vec<Request>,
        bar: Bar,
        on_event: &mut dyn FnMut(RunEvent),
        hearing: Hearing<'_>,
    ) -> Result<(), RunError> {
        if requests.is_empty() {
            return Ok(());
        }
        if self.interrupt.is_set() {
            return Err(RunError::Interrupted);
        }
        let _looks = self.interrupt.glances();
        let context = self.session.decoder.config().max_position_embeddings;
        let longest = requests.iter().map(Engine::positions).max().unwrap_or(0);
        if longest > context {
            return Err(RunError::BeyondContext {
                what: bar.label,
                positions: longest,
                context,
            });
        }
        let pieces: usize = requests.iter().map(|request| request.work.len()).sum();
        let wanted = match self.slots {
            0 => self.session.decoder.as_ref().usual_slots(),
            slots => slots,
        };
        // Fewer than asked for only where memory is short: on a GPU the number decides bits.
        let needed = wanted.min(pieces);
        let fit = room::slots(self.session, &bar.label, needed, longest, on_event)?;
        let slots = if fit < needed { fit } else { self.slots };
        let phase = bar.phase;
        on_event(RunEvent::Begin {
            phase,
            total: bar.total,
            done: bar.done,
            label: bar.label,
        });
        let events = RefCell::new(on_event);
        let progress = |more: u64, tokens: u64| {
            (events.borrow_mut())(RunEvent::Progress {
                phase,
                more,
                tokens,
                note: None,
            });
        };
        let failure = RefCell::new(None);
        let Hearing {
            goes_on,
            tokens,
            on_piece,
        } = hearing;
        let on_piece = RefCell::new(on_piece);
        let hear = |piece| match (on_piece.borrow_mut())(piece) {
            Ok(more) => {
                if more > 0 {
                    progress(more, 0);
                }
                ControlFlow::Continue(())
            }
            Err(error) => {
                *failure.borrow_mut() = Some(error);
                ControlFlow::Break(())
            }
        };
        let options = EngineOptions {
            report_tokens: tokens,
            ..self.session.engine_options(slots)
        };
        let models = std::iter::once(&self.session.decoder).chain(&self.session.copies);
        let engines = models.map(|model| Engine::new(model, adapters, options.clone()));
        let ran = Engines::new(engines.collect()).run_while(
            requests,
            goes_on,
            &mut |finished| hear(Piece::Finished(finished)),
            &mut |step| {
                progress(0, (step.generated + step.prompt_rows) as u64);
                for (id, token) in step.tokens {
                    hear(Piece::Token { id, token })?;
                }
                if self.interrupt.is_set() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            },
        );
        (events.into_inner())(RunEvent::End { phase });
        ran?;
        match failure.into_inner() {
            Some(error) => Err(error),
            None if self.interrupt.is_set() => Err(RunError::Interrupted),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{Sampling, Work};
    use crate::run::testing::{Heard, Stage};

    /// Sums, in so many tokens each; each one's `id` is its place.
    fn requests(stage: &Stage, count: usize, max_new_tokens: usize) -> Vec<Request> {
        let each = (0..count).map(|id| Request {
            adapter: None,
            prompt: stage
                .session
                .prompt(None, &[], &format!("What is {id} + 1?"))
                .unwrap(),
            work: vec![Work::Generate {
                id,
                sampling: Sampling::default(),
                max_new_tokens,
                seed: 0,
            }],
        });
        each.collect()
    }

    fn bar(count: usize) -> Bar {
        Bar::new(Phase::Answering, "sums", count)
    }

    #[test]
    fn a_bar_moves_by_what_it_was_said_to_hold() {
        let (stage, heard) = (Stage::new(), Heard::default());
        let mut on_event = |e| heard.hear(e);
        let ran = stage.asking().run(
            &[],
            requests(&stage, 3, 4),
            bar(3),
            &mut on_event,
            &mut |_| Ok(1),
        );
        ran.unwrap();
        assert_eq!(heard.asked(), [(0, 3)]);
        assert_eq!((heard.moved(), heard.ended()), (3, 1));
    }

    #[test]
    fn an_error_of_whoever_hears_an_answer_ends_the_run_with_it() {
        let (stage, heard) = (Stage::new(), Heard::default());
        let mut on_event = |e| heard.hear(e);
        let mut answers = 0;
        let ran = stage.asking().run(
            &[],
            requests(&stage, 4, 4),
            bar(4),
            &mut on_event,
            &mut |_| {
                answers += 1;
                let judge = "full disk".into();
                Err(RunError::Judge { judge })
            },
        );
        assert!(matches!(ran, Err(RunError::Judge { judge }) if judge == "full disk"));
        assert_eq!((answers, heard.ended()), (1, 1));
    }

    #[test]
    fn an_interrupt_before_anything_asks_nothing() {
        let (stage, heard) = (Stage::new(), Heard::default());
        stage.interrupt.set();
        let mut on_event = |e| heard.hear(e);
        let ran = stage.asking().run(
            &[],
            requests(&stage, 1, 4),
            bar(1),
            &mut on_event,
            &mut |_| panic!("it was asked"),
        );
        assert!(matches!(ran, Err(RunError::Interrupted)));
        assert_eq!(heard.asked(), []);
    }

    #[test]
    fn an_interrupt_while_asking_keeps_what_was_handed_over() {
        let (stage, heard) = (Stage::new(), Heard::default());
        let mut on_event = |e| heard.hear(e);
        let mut answers = 0;
        let ran = stage.asking().run(
            &[],
            requests(&stage, 6, 4),
            bar(6),
            &mut on_event,
            &mut |_| {
                answers += 1;
                stage.interrupt.set();
                Ok(1)
            },
        );
        assert!(matches!(ran, Err(RunError::Interrupted)));
        assert!((1..6).contains(&answers), "{answers}");
        assert_eq!((heard.moved(), heard.ended()), (answers, 1));
    }

    /// The engine panics on a prompt that it has no room for.
    #[test]
    fn a_prompt_beyond_the_context_is_a_message() {
        let (stage, heard) = (Stage::new(), Heard::default());
        let mut on_event = |e| heard.hear(e);
        let ran = stage.asking().run(
            &[],
            requests(&stage, 2, 300),
            bar(2),
            &mut on_event,
            &mut |_| Ok(1),
        );
        insta::assert_snapshot!(ran.unwrap_err(), @"sums: the longest prompt with its answer has 321 tokens, the model's context 256; shorten it");
        assert_eq!(heard.asked(), []);
    }
}
