//! Where a candidate's answer parts from the accepted one, and how near the two were: the
//! log-probabilities of both tokens at that place, for the candidate as it is now.

use std::sync::Arc;

use crate::flow::{Answer, Drift, Phase, Probe, RunEvent};
use crate::generate::{Finished, Request, Work};
use crate::lora::LoadedAdapter;

use super::asking::{Asking, Bar};
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
/// A prompt that the template refuses, a text that cannot be encoded, or an interrupt.
pub fn drifts(
    asking: Asking<'_>,
    adapter: Option<LoadedAdapter>,
    changed: &[Changed<'_>],
    on_event: &mut dyn FnMut(RunEvent),
) -> Result<Vec<Option<Drift>>, RunError> {
    let session = asking.session;
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
                prompt: session.prompt_past_thinking(system.as_deref(), history, question)?,
                work: vec![Work::Score {
                    id,
                    text: ids.clone(),
                }],
            });
        }
        accepted_ids.push(ids);
    }
    let mut logprobs: Vec<Vec<f32>> = vec![Vec::new(); changed.len()];
    let bar = Bar::new(Phase::Answering, "answers that changed", requests.len());
    asking.run(&adapters, requests, bar, on_event, &mut |finished| {
        if let Finished::Scored { id, logprobs: l } = finished {
            logprobs[id] = l;
        }
        Ok(1)
    })?;
    let each = changed.iter().zip(&accepted_ids).zip(&logprobs);
    each.map(|((change, accepted), logprobs)| one(session, change, accepted, logprobs))
        .collect()
}

/// Place of the first token that two texts do not share; `None` where they are the same.
pub(super) fn first_difference(a: &[u32], b: &[u32]) -> Option<usize> {
    (0..a.len().max(b.len())).find(|&i| a.get(i) != b.get(i))
}

fn one(
    session: &Session,
    change: &Changed<'_>,
    accepted: &[u32],
    logprobs: &[f32],
) -> Result<Option<Drift>, RunError> {
    // Thinking is no part of what was accepted.
    let thought = change.answer.thinking.as_ref().map_or(0, |t| t.tokens);
    let new = &change.answer.token_ids[thought..];
    let Some(token) = first_difference(accepted, new) else {
        return Ok(None);
    };
    let shown = |ids: &[u32]| {
        let end = ids.len().min(token + SHOWN);
        session.tokenizer.decode(ids.get(token..end).unwrap_or(&[]))
    };
    // Where one of the two ended, the other token is the end of the turn, which is not measured.
    let gap = change
        .answer
        .said_logprobs()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Sampling;
    use crate::run::testing::{Stage, answer, case, loaded, suites};

    const SUM: &str = "What is 2 + 5?";

    fn probe() -> Probe {
        let toml = format!(
            "[[probe]]\nid = \"sum\"\nprompts = [\"{SUM}\"]\n\
             [[probe.check]]\ntype = \"number\"\nvalue = 7\n"
        );
        suites(&toml).remove(0).probes.remove(0)
    }

    /// What the base or an adapter says to the sum.
    fn said(stage: &Stage, adapter: Option<&str>) -> Answer {
        let adapters: Vec<LoadedAdapter> = adapter
            .iter()
            .map(|name| loaded(&stage.session, name))
            .collect();
        let request = Request {
            adapter: adapter.map(|_| 0),
            prompt: stage.session.prompt(None, &[], SUM).unwrap(),
            work: vec![Work::Generate {
                id: 0,
                sampling: Sampling::default(),
                max_new_tokens: 24,
                seed: 0,
            }],
        };
        let mut answer = answer(case("sum", 0), 0, "");
        let bar = Bar::new(Phase::Answering, "", 1);
        let asking = stage.asking();
        let heard = asking.run(
            &adapters,
            vec![request],
            bar,
            &mut |_| {},
            &mut |finished| {
                if let Finished::Generated {
                    tokens, logprobs, ..
                } = finished
                {
                    answer.text = stage.session.tokenizer.decode(&tokens)?;
                    (answer.token_ids, answer.logprobs) = (tokens, logprobs);
                }
                Ok(1)
            },
        );
        heard.unwrap();
        answer
    }

    fn drift(stage: &Stage, adapter: Option<&str>, accepted: &str) -> Option<Drift> {
        let (probe, answer) = (probe(), said(stage, adapter));
        let changed = Changed {
            probe: &probe,
            prompt: 0,
            accepted,
            answer: &answer,
        };
        let adapter = adapter.map(|name| loaded(&stage.session, name));
        let mut all = drifts(stage.asking(), adapter, &[changed], &mut |_| {}).unwrap();
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    #[test]
    fn the_same_tokens_are_no_drift() {
        assert_eq!(drift(&Stage::new(), None, "7"), None);
    }

    #[test]
    fn answers_part_at_the_first_token_that_differs() {
        let stage = Stage::new();
        let found = drift(&stage, None, "8").unwrap();
        assert_eq!(
            (found.token, found.accepted.as_str(), found.new.as_str()),
            (0, "8", "7")
        );
        // The answer is greedy: whatever else was accepted is less likely now.
        assert!(found.logit_gap.unwrap() > 0.0, "{found:?}");
    }

    /// The gap is that of the candidate as it is now, not of the base.
    #[test]
    fn the_gap_is_measured_with_the_candidates_adapter() {
        let stage = Stage::new();
        let found = drift(&stage, Some("harmful"), "7").unwrap();
        assert!(found.logit_gap.unwrap() > 0.0, "{found:?}");
        assert_ne!(found.new, "7");
    }

    #[test]
    fn where_one_answer_ended_there_is_no_gap() {
        let stage = Stage::new();
        let nothing = drift(&stage, None, "").unwrap();
        assert_eq!((nothing.token, nothing.logit_gap), (0, None));
        let longer = drift(&stage, None, "7, I think.").unwrap();
        assert_eq!((longer.token, longer.new.as_str()), (1, ""));
        assert_eq!(longer.logit_gap, None);
    }
}
