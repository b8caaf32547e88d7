//! Where a candidate's answer parts from the accepted one, and how near the two were: the
//! log-probabilities of both tokens at that place, for the candidate as it is now.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::flow::{Answer, Drift, Probe};
use crate::generate::{Engine, Finished, Request, Work};
use crate::lora::LoadedAdapter;

use super::error::RunError;
use super::session::Session;

/// Tokens of either text that a drift quotes.
const SHOWN: usize = 6;

/// An answer that changed.
pub struct Changed<'a> {
    /// Its probe.
    pub probe: &'a Probe,
    /// Which of the probe's prompts.
    pub prompt: usize,
    /// What was accepted.
    pub accepted: &'a str,
    /// What is said now.
    pub answer: &'a Answer,
}

/// The drift of each changed answer; `None` where both have the same tokens. One forward pass of
/// the accepted text each.
///
/// # Errors
/// A prompt that the template refuses, or a text that cannot be encoded.
pub fn drifts(
    session: &Session,
    adapter: Option<LoadedAdapter>,
    changed: &[Changed<'_>],
    slots: usize,
) -> Result<Vec<Option<Drift>>, RunError> {
    let adapters: Vec<LoadedAdapter> = adapter.into_iter().collect();
    let mut accepted_ids: Vec<Arc<[u32]>> = Vec::new();
    let mut requests = Vec::new();
    for (id, change) in changed.iter().enumerate() {
        let ids: Arc<[u32]> = session.tokenizer.encode(change.accepted)?.into();
        if !ids.is_empty() {
            let Probe {
                system, history, ..
            } = change.probe;
            let question = &change.probe.prompts[change.prompt];
            requests.push(Request {
                adapter: (!adapters.is_empty()).then_some(0),
                prompt: session.prompt(system.as_deref(), history, question)?,
                work: vec![Work::Score {
                    id,
                    text: ids.clone(),
                }],
            });
        }
        accepted_ids.push(ids);
    }
    let mut logprobs: Vec<Vec<f32>> = vec![Vec::new(); changed.len()];
    let options = session.engine_options(slots);
    Engine::new(&session.decoder, &adapters, options).run(
        requests,
        &mut |finished| {
            if let Finished::Scored { id, logprobs: l } = finished {
                logprobs[id] = l;
            }
            ControlFlow::Continue(())
        },
        &mut |_| ControlFlow::Continue(()),
    )?;
    let each = changed.iter().zip(&accepted_ids).zip(&logprobs);
    each.map(|((change, accepted), logprobs)| one(session, change, accepted, logprobs))
        .collect()
}

fn one(
    session: &Session,
    change: &Changed<'_>,
    accepted: &[u32],
    logprobs: &[f32],
) -> Result<Option<Drift>, RunError> {
    let new = &change.answer.token_ids;
    let Some(token) = (0..accepted.len().max(new.len())).find(|&i| accepted.get(i) != new.get(i))
    else {
        return Ok(None);
    };
    let shown = |ids: &[u32]| {
        let end = ids.len().min(token + SHOWN);
        session.tokenizer.decode(ids.get(token..end).unwrap_or(&[]))
    };
    // Where one of the two ended, the other token is the end of the turn, which is not measured.
    let gap = change
        .answer
        .logprobs
        .get(token)
        .zip(logprobs.get(token))
        .map(|(new, old)| f64::from(*new) - f64::from(*old));
    Ok(Some(Drift {
        token,
        accepted: shown(accepted)?,
        new: shown(new)?,
        logit_gap: gap,
    }))
}
