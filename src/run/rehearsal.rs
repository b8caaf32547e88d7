//! Rehearsal: prompts that the base itself answers, trained on so that its ways stay.
//!
//! The answers are the base's own greedy ones, and what is learned at each of their tokens is the
//! base's whole next-token distribution: there is nothing in them but to stay. Trained on as mere
//! text they would pull towards certainty, which is a drift of its own.

use std::ops::ControlFlow;

use crate::chat::{Conversation, Message};
use crate::digest;
use crate::flow::{Phase, RunEvent};
use crate::generate::{Engine, Finished, Request, Sampling, Work};
use crate::train::{Example, Origin};

use super::error::RunError;
use super::interrupt::Interrupt;
use super::session::Session;

/// Has the base answer every prompt, greedily, in at most `max_new_tokens`.
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
    if prompts.is_empty() {
        return Ok(Vec::new());
    }
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
            prompt: session.prompt(None, &[], prompt)?,
            work,
        });
    }
    let options = session.engine_options(slots);
    let mut answers: Vec<Option<Vec<u32>>> = vec![None; prompts.len()];
    let events = std::cell::RefCell::new(on_event);
    Engine::new(&session.decoder, &[], options).run(
        requests,
        &mut |finished| {
            if let Finished::Generated { id, tokens, .. } = finished {
                answers[id] = Some(tokens);
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
    )?;
    (events.borrow_mut())(RunEvent::End { phase });
    if interrupt.is_set() {
        return Err(RunError::Interrupted);
    }
    let mut examples = Vec::new();
    for (line, (prompt, answer)) in prompts.iter().zip(answers).enumerate() {
        let Some(tokens) = answer else {
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
        examples.push(Example {
            rehearsal: true,
            ..Example::new(conversation, origin)
        });
    }
    Ok(examples)
}
