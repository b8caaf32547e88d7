//! Several engines, each over a copy of one base, as one: requests are dealt to them, and what they
//! say is heard on the caller's thread, one thing at a time.
//!
//! An answer does not depend on what else is in its batch, so neither does it on how requests are
//! dealt: on devices of one kind its bits are those of one engine.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::ControlFlow;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};

use super::engine::{Engine, StepReport};
use super::request::{Finished, Request};
use crate::model::ModelError;

/// Engines that share the work.
pub struct Engines<'a> {
    engines: Vec<Engine<'a>>,
}

/// What an engine says.
enum Said {
    /// All tokens of an answer so far, which may go on.
    Token(usize, Vec<u32>),
    Finished(Finished),
    Step(StepReport),
    Failed(ModelError),
}

/// With whom to tell whether it goes on.
struct Message {
    said: Said,
    reply: SyncSender<bool>,
}

impl<'a> Engines<'a> {
    /// Over one engine or several, of copies of one base and the same adapters.
    ///
    /// # Panics
    /// Without an engine.
    pub fn new(engines: Vec<Engine<'a>>) -> Self {
        assert!(!engines.is_empty(), "no engine");
        Engines { engines }
    }

    /// As [`Engine::run_while`]. What ends the run ends it for all engines.
    ///
    /// # Errors
    /// As there, of whichever engine it is first.
    ///
    /// # Panics
    /// As there.
    pub fn run_while(
        &self,
        requests: Vec<Request>,
        goes_on: &mut dyn FnMut(usize, &[u32]) -> bool,
        on_finished: &mut dyn FnMut(Finished) -> ControlFlow<()>,
        on_step: &mut dyn FnMut(StepReport) -> ControlFlow<()>,
    ) -> Result<(), ModelError> {
        if let [engine] = &self.engines[..] {
            return engine.run_while(requests, goes_on, on_finished, on_step);
        }
        let (sender, receiver) = channel();
        std::thread::scope(|scope| {
            let parts = deal(requests, self.engines.len());
            for (engine, part) in self.engines.iter().zip(parts) {
                if !part.is_empty() {
                    let sender = sender.clone();
                    scope.spawn(move || run(engine, part, &sender));
                }
            }
            drop(sender);
            let (mut stopped, mut failed) = (false, None);
            for Message { said, reply } in receiver {
                // A token may end its answer, and not the run.
                let ends = !matches!(said, Said::Token(..));
                let goes = match said {
                    Said::Token(id, tokens) => goes_on(id, &tokens),
                    // What is in flight when the run ends is dropped.
                    _ if stopped => false,
                    Said::Finished(finished) => on_finished(finished).is_continue(),
                    Said::Step(step) => on_step(step).is_continue(),
                    Said::Failed(error) => {
                        failed = Some(error);
                        false
                    }
                };
                stopped |= !goes && ends;
                // An engine that failed does not wait.
                let _ = reply.send(goes);
            }
            failed.map_or(Ok(()), Err)
        })
    }
}

/// Runs one engine, and asks at everything it does whether it goes on.
fn run(engine: &Engine<'_>, requests: Vec<Request>, sender: &Sender<Message>) {
    let ask = |said| {
        let (reply, answer) = sync_channel(1);
        // Without anyone to hear it there is nothing to go on for.
        let sent = sender.send(Message { said, reply });
        sent.is_ok() && answer.recv().unwrap_or(false)
    };
    let flow = |goes: bool| match goes {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    };
    let ran = engine.run_while(
        requests,
        &mut |id, tokens| ask(Said::Token(id, tokens.to_vec())),
        &mut |finished| flow(ask(Said::Finished(finished))),
        &mut |step| flow(ask(Said::Step(step))),
    );
    if let Err(error) = ran {
        ask(Said::Failed(error));
    }
}

/// Each request, in their order, to whom has least to do so far.
fn deal(requests: Vec<Request>, engines: usize) -> Vec<Vec<Request>> {
    let mut parts: Vec<Vec<Request>> = (0..engines).map(|_| Vec::new()).collect();
    let mut least: BinaryHeap<_> = (0..engines).map(|engine| Reverse((0, engine))).collect();
    for request in requests {
        let Some(Reverse((load, engine))) = least.pop() else {
            break;
        };
        let texts: usize = request.work.iter().map(|work| work.positions()).sum();
        let more = request.prompt.len() + texts;
        least.push(Reverse((load + more, engine)));
        parts[engine].push(request);
    }
    parts
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{EngineOptions, Sampling, Work};
    use super::*;
    use crate::model::{Decoder, ModelFiles};

    fn decoders(count: usize) -> Vec<Decoder> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/models/tiny-qwen2");
        let files = ModelFiles::open(&folder).unwrap();
        let load = |_| Decoder::load(&files.config, &files.weights).unwrap();
        (0..count).map(load).collect()
    }

    fn requests(count: usize) -> Vec<Request> {
        let request = |id: usize| Request {
            adapter: None,
            prompt: (0..3 + id as u32 % 7).map(|n| n + id as u32).collect(),
            work: vec![Work::Generate {
                id,
                sampling: Sampling {
                    temperature: (id % 2) as f32,
                    ..Sampling::default()
                },
                max_new_tokens: 2 + id % 5,
                seed: id as u64,
            }],
        };
        (0..count).map(request).collect()
    }

    fn engines_of<'a>(decoders: &'a [Decoder]) -> Engines<'a> {
        let options = || EngineOptions::new(3, Vec::new(), 290);
        let engine = |decoder: &'a Decoder| Engine::new(decoder, &[], options());
        Engines::new(decoders.iter().map(engine).collect())
    }

    fn answered(engines: &Engines<'_>, stop_after: usize) -> (Vec<Finished>, usize) {
        let (mut all, mut steps) = (Vec::new(), 0);
        let ran = engines.run_while(
            requests(24),
            &mut |id, tokens| id != 4 || tokens.len() < 2,
            &mut |finished| {
                all.push(finished);
                match all.len() < stop_after {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            },
            &mut |_| {
                steps += 1;
                ControlFlow::Continue(())
            },
        );
        ran.unwrap();
        all.sort_by_key(|finished| match finished {
            Finished::Generated { id, .. } | Finished::Scored { id, .. } => *id,
        });
        (all, steps)
    }

    #[test]
    fn answers_of_several_engines_are_those_of_one() {
        let decoders = decoders(3);
        let (one, _) = answered(&engines_of(&decoders[..1]), usize::MAX);
        let (three, steps) = answered(&engines_of(&decoders), usize::MAX);
        assert_eq!(one.len(), 24);
        assert!(steps > 0);
        assert_eq!(three, one);
        let Finished::Generated { tokens, .. } = &three[4] else {
            panic!("{three:?}")
        };
        assert_eq!(tokens.len(), 2, "it was told not to go on");
    }

    #[test]
    fn what_ends_the_run_ends_it_for_all() {
        let decoders = decoders(2);
        let (some, _) = answered(&engines_of(&decoders), 5);
        assert_eq!(some.len(), 5);
    }

    #[test]
    fn requests_are_dealt_evenly_and_none_is_lost() {
        let parts = deal(requests(24), 3);
        let load = |part: &Vec<Request>| {
            let each = part.iter().map(Engine::positions);
            each.sum::<usize>()
        };
        let loads: Vec<usize> = parts.iter().map(load).collect();
        assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), 24);
        assert!(
            loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 16,
            "{loads:?}"
        );
    }
}
