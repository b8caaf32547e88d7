//! Rehearsal: prompts that the base itself answers, trained on so that its ways stay.
//!
//! The answers are the base's own greedy ones, and what is learned at each of their tokens is the
//! base's whole next-token distribution: there is nothing in them but to stay. Trained on as mere
//! text they would pull towards certainty, which is a drift of its own.

use crate::chat::{Conversation, Message};
use crate::digest;
use crate::flow::{Phase, RunEvent};
use crate::generate::{Finished, Request, Sampling, Work};
use crate::train::{Example, Origin};

use super::asking::{Asking, Bar};
use super::error::RunError;

/// Has the base answer every prompt, greedily, in at most `max_new_tokens`.
///
/// # Errors
/// A prompt that the template refuses or the context cannot hold, or an interrupt.
pub fn rehearse(
    asking: Asking<'_>,
    prompts: &[String],
    max_new_tokens: usize,
    on_event: &mut dyn FnMut(RunEvent),
) -> Result<Vec<Example>, RunError> {
    let session = asking.session;
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
    let mut answers: Vec<Option<Vec<u32>>> = vec![None; prompts.len()];
    let bar = Bar::new(Phase::Answering, "rehearsal by the base", prompts.len());
    asking.run(&[], requests, bar, on_event, &mut |finished| {
        if let Finished::Generated { id, tokens, .. } = finished {
            answers[id] = Some(tokens);
        }
        Ok(1)
    })?;
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
