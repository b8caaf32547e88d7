//! Rehearsal: prompts that the base itself answers, trained on so that its ways stay.
//!
//! The answers are the base's own greedy ones, so there is nothing to learn from them but to stay.

use std::ops::ControlFlow;

use crate::chat::{Conversation, Message};
use crate::digest;
use crate::flow::{Finish, Phase, RunEvent};
use crate::generate::{Engine, EngineOptions, Finished, Request, Sampling, Work};
use crate::train::{Example, Origin};

use super::error::RunError;
use super::interrupt::Interrupt;
use super::session::Session;

/// Has the base answer every prompt, greedily, in at most `max_new_tokens`. Of an answer that was
/// cut there the end is not learned: training on it would teach to stop anywhere.
///
/// # Errors
/// A prompt that the template refuses or the context cannot hold, or an interrupt.
pub fn rehearse(
    session: &Session,
    prompts: &[String],
    max_new_tokens: usize,
    slots: usize,
    interrupt: &Interrupt,
    on_event: &mut dyn FnMut(RunEvent),
) -> Result<Vec<Example>, RunError> {
    let phase = Phase::Answering;
    on_event(RunEvent::Begin {
        phase,
        total: prompts.len() as u64,
        done: 0,
        label: "rehearsal by the base".into(),
    });
    let mut requests = Vec::new();
    for (id, prompt) in prompts.iter().enumerate() {
        let work = vec![Work::Generate {
            id,
            sampling: Sampling::default(),
            max_new_tokens,
            seed: 0,
        }];
        requests.push(Request {
            adapter: None,
            prompt: session.prompt(None, prompt)?,
            work,
        });
    }
    let options = EngineOptions {
        slots,
        step_rows: 192.max(slots),
        end_of_turn: session.end_of_turn.clone(),
        usable_vocab: session.usable_vocab,
    };
    let mut answers: Vec<Option<(Vec<u32>, Finish)>> = vec![None; prompts.len()];
    let events = std::cell::RefCell::new(on_event);
    Engine::new(&session.decoder, &[], options).run(
        requests,
        &mut |finished| {
            if let Finished::Generated {
                id, tokens, finish, ..
            } = finished
            {
                answers[id] = Some((tokens, finish));
            }
            (events.borrow_mut())(RunEvent::Progress {
                phase,
                more: 1,
                tokens: 0,
                note: None,
            });
            ControlFlow::Continue(())
        },
        &mut |step| {
            let tokens = (step.generated + step.prompt_rows) as u64;
            (events.borrow_mut())(RunEvent::Progress {
                phase,
                more: 0,
                tokens,
                note: None,
            });
            if interrupt.is_set() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        },
    );
    (events.borrow_mut())(RunEvent::End { phase });
    if interrupt.is_set() {
        return Err(RunError::Interrupted);
    }
    let mut examples = Vec::new();
    for (line, (prompt, answer)) in prompts.iter().zip(answers).enumerate() {
        let Some((tokens, finish)) = answer else {
            continue;
        };
        let text = session.tokenizer.decode(&tokens)?;
        if text.trim().is_empty() {
            continue;
        }
        let conversation = Conversation::new([Message::user(prompt), Message::assistant(text)]);
        let origin = Origin {
            file: format!("rehearsal {}", &digest::bytes(prompt)[..8]),
            line: line + 1,
        };
        let open_end = finish == Finish::Length;
        examples.push(Example {
            open_end,
            ..Example::new(conversation, origin)
        });
    }
    Ok(examples)
}
