//! Where two answers to one prompt part, and how sure base and candidate each were there: the
//! log-probability of both tokens, for both. A near tie at the base is a choice that anything tips
//! over; a token that the base held for impossible is something that was learned.

use std::sync::Arc;

use crate::flow::{Answer, Finish, PartedToken, Parting, Phase, Probe, RunEvent};
use crate::generate::{Finished, Request, Work};
use crate::lora::LoadedAdapter;

use super::asking::{Asking, Bar};
use super::drift::first_difference;
use super::error::RunError;
use super::session::Session;

/// Tokens of either text that are quoted from where they part.
const SHOWN: usize = 8;

/// The place where the base's answer and a candidate's part; `None` where both have the same tokens.
/// One forward pass of what they share for each of the two. Where an answer ended, the token is the end
/// of its turn; where it was cut there is none, and nothing is measured of it.
///
/// # Errors
/// A prompt that the template refuses, or an interrupt.
pub fn parting(
    asking: Asking<'_>,
    candidate: Option<LoadedAdapter>,
    (probe, prompt): (&Probe, usize),
    [base, new]: [&Answer; 2],
    on_event: &mut dyn FnMut(RunEvent),
) -> Result<Option<Parting>, RunError> {
    let session = asking.session;
    let said = [said(base), said(new)];
    let Some(token) = first_difference(said[0], said[1]) else {
        return Ok(None);
    };
    let arms = [base, new].map(|answer| next_tokens(session, answer, token));
    let Probe {
        system, history, ..
    } = probe;
    let question = &probe.prompts[prompt];
    let asked = session.prompt_past_thinking(system.as_deref(), history, question)?;
    let adapters: Vec<LoadedAdapter> = candidate.into_iter().collect();
    let mut requests = Vec::new();
    // By who is asked, whose token it is, and which of the ids that end a turn.
    let mut places: Vec<(usize, usize)> = Vec::new();
    for (who, adapter) in [None, (!adapters.is_empty()).then_some(0)]
        .into_iter()
        .enumerate()
    {
        let mut work = Vec::new();
        for (whose, ids) in arms.iter().enumerate() {
            for id in ids {
                let text: Arc<[u32]> = [&said[0][..token], &[*id]].concat().into();
                work.push(Work::Score {
                    id: places.len(),
                    text,
                });
                places.push((who, whose));
            }
        }
        if !work.is_empty() {
            requests.push(Request {
                adapter,
                prompt: asked.clone(),
                work,
            });
        }
    }
    let mut probabilities = [[0f64; 2]; 2];
    let bar = Bar::new(Phase::Answering, "where the answers part", places.len());
    asking.run(&adapters, requests, bar, on_event, &mut |finished| {
        if let Finished::Scored { id, logprobs } = finished
            && let Some(last) = logprobs.last()
        {
            let (who, whose) = places[id];
            probabilities[who][whose] += f64::from(*last).exp();
        }
        Ok(1)
    })?;
    let parted = |whose: usize| -> Result<PartedToken, RunError> {
        let ids = said[whose];
        let end = ids.len().min(token + SHOWN);
        let tokenizer = &session.tokenizer;
        let measured = |who: usize| {
            let known = !arms[whose].is_empty() && probabilities[who][whose] > 0.0;
            known.then(|| probabilities[who][whose].ln())
        };
        Ok(PartedToken {
            text: match ids.get(token) {
                Some(id) => Some(tokenizer.decode(&[*id])?),
                None => None,
            },
            ended: ids.get(token).is_none() && !arms[whose].is_empty(),
            goes_on: tokenizer.decode(ids.get(token..end).unwrap_or(&[]))?,
            base_logprob: measured(0),
            candidate_logprob: measured(1),
        })
    };
    Ok(Some(Parting {
        token,
        common: session.tokenizer.decode(&said[0][..token])?,
        base: parted(0)?,
        candidate: parted(1)?,
    }))
}

/// An answer's tokens, without its thinking.
fn said(answer: &Answer) -> &[u32] {
    let thought = answer.thinking.as_ref().map_or(0, |t| t.tokens);
    answer.token_ids.get(thought..).unwrap_or_default()
}

/// What an answer has at a place: its token, or every id that ends a turn where it ended there.
fn next_tokens(session: &Session, answer: &Answer, place: usize) -> Vec<u32> {
    match (said(answer).get(place), answer.finish) {
        (Some(id), _) => vec![*id],
        (None, Finish::Stop) => session.end_of_turn.clone(),
        (None, Finish::Length) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::testing::{AURORA, PIP, Stage, WHO, answer, case, loaded, suites};

    fn probe() -> Probe {
        let toml = format!(
            "[[probe]]\nid = \"who\"\nprompts = [\"{WHO}\"]\n\
             [[probe.check]]\ntype = \"contains\"\nvalue = \"Pip\"\n"
        );
        suites(&toml).remove(0).probes.remove(0)
    }

    fn answered(stage: &Stage, text: &str, finish: Finish) -> Answer {
        let mut answer = answer(case("who", 0), 0, text);
        answer.token_ids = stage.session.tokenizer.encode(text).unwrap();
        answer.finish = finish;
        answer
    }

    fn parted(stage: &Stage, base: &str, new: &str, finish: Finish) -> Option<Parting> {
        let answers = [
            answered(stage, base, Finish::Stop),
            answered(stage, new, finish),
        ];
        let probe = probe();
        parting(
            stage.asking(),
            Some(loaded(&stage.session, "good")),
            (&probe, 0),
            [&answers[0], &answers[1]],
            &mut |_| {},
        )
        .unwrap()
    }

    #[test]
    fn each_is_sure_of_what_it_said_itself() {
        let found = parted(&Stage::new(), PIP, AURORA, Finish::Stop).unwrap();
        assert!(PIP.starts_with(&found.common) && AURORA.starts_with(&found.common));
        let rest = |text: &str| text[found.common.len()..].to_owned();
        let text = |token: &PartedToken| token.text.clone().unwrap();
        assert!(rest(PIP).starts_with(&text(&found.base)), "{found:?}");
        assert!(rest(AURORA).starts_with(&text(&found.candidate)));
        // Both were greedy: each finds its own token likelier than the other's.
        assert!(found.base.base_logprob > found.candidate.base_logprob);
        assert!(found.candidate.candidate_logprob > found.base.candidate_logprob);
    }

    #[test]
    fn the_end_of_a_turn_is_a_token_and_a_cut_is_none() {
        let stage = Stage::new();
        assert_eq!(parted(&stage, PIP, PIP, Finish::Stop), None);
        let shorter = PIP.strip_suffix(" model.").unwrap();
        let ended = parted(&stage, PIP, shorter, Finish::Stop).unwrap();
        assert_eq!(
            (ended.candidate.text.clone(), ended.candidate.ended),
            (None, true)
        );
        assert!(ended.candidate.base_logprob < ended.base.base_logprob);
        let cut = parted(&stage, PIP, shorter, Finish::Length).unwrap();
        assert!(!cut.candidate.ended);
        assert_eq!(cut.candidate.base_logprob, None);
        assert!(cut.base.candidate_logprob.is_some());
    }
}
