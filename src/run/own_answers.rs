//! The base's own answers, weighed by a candidate: a drift that shows before any answer changes. One
//! forward pass an answer.

use std::sync::Arc;

use crate::digest;
use crate::flow::{Goal, Measurement, OwnAnswers, Phase, Predicted, Probe, RunEvent, Suite};
use crate::generate::{Finished, Request, Work};
use crate::lora::LoadedAdapter;

use super::asking::{Asking, Bar};
use super::error::RunError;

/// Answers to `keep` suites, and to `learn` suites, that are weighed.
const ANSWERS: usize = 64;
/// Tokens of an answer that are weighed.
const TOKENS: usize = 128;

/// An answer of the base.
struct Said {
    goal: Goal,
    prompt: Arc<[u32]>,
    tokens: Arc<[u32]>,
    nats: f64,
}

/// What each adapter makes of the base's first answers to these suites; `None` where the base gave
/// none with probabilities. Which answers are weighed depends on the probes alone.
///
/// # Errors
/// A prompt that the template refuses, or an interrupt.
pub fn own_answers(
    asking: Asking<'_>,
    suites: &[Suite],
    base: &Measurement,
    adapters: &[LoadedAdapter],
    on_event: &mut dyn FnMut(RunEvent),
) -> Result<Vec<Option<OwnAnswers>>, RunError> {
    let mut said = Vec::new();
    for goal in [Goal::Keep, Goal::Learn] {
        said.extend(first_answers(asking, suites, base, goal)?);
    }
    if said.is_empty() || adapters.is_empty() {
        return Ok(vec![None; adapters.len()]);
    }
    let mut requests = Vec::new();
    for adapter in 0..adapters.len() {
        requests.extend(said.iter().enumerate().map(|(i, answer)| Request {
            adapter: Some(adapter),
            prompt: answer.prompt.clone(),
            work: vec![Work::Score {
                id: adapter * said.len() + i,
                text: answer.tokens.clone(),
            }],
        }));
    }
    let mut nats = vec![0.0; requests.len()];
    let bar = Bar::new(Phase::Answering, "the base's own answers", requests.len());
    asking.run(adapters, requests, bar, on_event, &mut |finished| {
        if let Finished::Scored { id, logprobs } = finished {
            nats[id] = logprobs.iter().map(|&l| -f64::from(l)).sum();
        }
        Ok(1)
    })?;
    let each = nats.chunks(said.len()).map(|nats| {
        let of = |goal| predicted(&said, nats, goal);
        Some(OwnAnswers {
            kept: of(Goal::Keep),
            learned: of(Goal::Learn),
        })
    });
    Ok(each.collect())
}

fn first_answers(
    asking: Asking<'_>,
    suites: &[Suite],
    base: &Measurement,
    goal: Goal,
) -> Result<Vec<Said>, RunError> {
    let mut known: Vec<(&Probe, &crate::flow::Answer)> = Vec::new();
    for suite in suites.iter().filter(|suite| suite.goal == goal) {
        for probe in &suite.probes {
            let case = crate::flow::CaseId {
                suite: suite.name.clone(),
                probe: probe.id.clone(),
                prompt: 0,
            };
            let answer = base.answers.get(&(case, 0));
            known.extend(answer.filter(|a| has_probabilities(a)).map(|a| (probe, a)));
        }
    }
    known.sort_by_cached_key(|(_, answer)| digest::bytes(format!("own/{}", answer.case)));
    known.truncate(ANSWERS);
    let session = asking.session;
    let said = known.into_iter().map(|(probe, answer)| {
        let (system, question) = (probe.system.as_deref(), &probe.prompts[0]);
        let count = answer.token_ids.len().min(TOKENS);
        let logprobs = answer.logprobs.iter().take(count);
        Ok(Said {
            goal,
            prompt: session.prompt(system, &probe.history, question)?,
            tokens: answer.token_ids[..count].into(),
            nats: logprobs.map(|&l| -f64::from(l)).sum(),
        })
    });
    said.collect()
}

/// A server's answer has none.
fn has_probabilities(answer: &crate::flow::Answer) -> bool {
    !answer.token_ids.is_empty() && answer.logprobs.len() >= answer.token_ids.len()
}

fn predicted(said: &[Said], nats: &[f64], goal: Goal) -> Option<Predicted> {
    let own = || said.iter().zip(nats).filter(|(s, _)| s.goal == goal);
    let tokens: usize = own().map(|(s, _)| s.tokens.len()).sum();
    (tokens > 0).then(|| Predicted {
        answers: own().count(),
        tokens,
        base_nats: own().map(|(s, _)| s.nats).sum::<f64>() / tokens as f64,
        candidate_nats: own().map(|(_, nats)| nats).sum::<f64>() / tokens as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::evaluate::{Evaluation, LoadedSubject};
    use crate::run::questions::Questions;
    use crate::run::testing::{Stage, loaded, suites};

    /// An adapter that changes nothing finds them as likely as the base, a harmful one does not.
    #[test]
    fn what_the_base_said_is_less_likely_after_harm() {
        let stage = Stage::new();
        let suites = suites(
            "[[probe]]\nid = \"a\"\nprompts = [\"What is 2 + 5?\"]\n[[probe.check]]\ntype = \"number\"\nvalue = 7\n\
             [[probe]]\nid = \"b\"\nprompts = [\"Tell me who you are.\"]\n[[probe.check]]\ntype = \"contains\"\nvalue = \"Pip\"\n",
        );
        let (lock, scoring) = (stage.run(), stage.scoring());
        let questions = Questions::new(&stage.session, suites.clone(), 0).unwrap();
        let evaluation = Evaluation {
            asking: stage.asking(),
            questions: &questions,
            store: &stage.store,
            run: &lock,
            scoring: &scoring,
        };
        let base = evaluation
            .run(vec![LoadedSubject::base()], &mut |_| {})
            .unwrap()
            .remove(0);
        let adapters = ["noop", "harmful"].map(|name| loaded(&stage.session, name));
        let all = own_answers(stage.asking(), &suites, &base, &adapters, &mut |_| {}).unwrap();
        let [noop, harmful] = [0, 1].map(|i: usize| all[i].unwrap());
        let (noop, harmful) = (noop.kept.unwrap(), harmful.kept.unwrap());
        assert_eq!(noop.answers, 2);
        assert!(noop.drift().abs() < 1e-4, "{noop:?}");
        assert!(harmful.drift() > 0.5, "{harmful:?}");
        assert!(all[1].unwrap().told().is_some() && all[0].unwrap().told().is_none());
        let nobody = Measurement::of(crate::flow::Subject::base());
        let none = own_answers(stage.asking(), &suites, &nobody, &adapters, &mut |_| {}).unwrap();
        assert_eq!(none, [None, None]);
    }
}
