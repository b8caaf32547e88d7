//! A checkpoint at its scales, judged at looks: the probes of a look are asked, every candidate that
//! is not decided yet is judged by what has been asked so far, and those that are decided leave.

use std::collections::BTreeSet;

use crate::digest;
use crate::flow::{
    Candidate, Comparison, Decision, EarlyEnd, Goal, Measurement, ProbeId, RunEvent, Suite,
};
use crate::gate::{EarlyStop, LEAST_PROBES, LOOKS, LookPart, Rules};
use crate::text::plural;

use super::comparison::compare;
use super::error::RunError;
use super::evaluate::{Batch, Evaluation, LoadedSubject};

/// What is asked by each look.
struct Looks {
    /// The part that each may spend, with the suites as far as they have been asked by then.
    looks: Vec<(LookPart, Vec<Suite>)>,
}

impl Looks {
    /// One look at everything, or several where the rules and the number of probes allow it. Each
    /// `keep` suite is asked in an order that the seed draws; critical probes, and what is to be
    /// learned, come first.
    fn of(suites: &[Suite], rules: &Rules, seed: u64) -> Self {
        let kept = suites.iter().filter(|suite| suite.goal == Goal::Keep);
        let probes: usize = kept.map(|suite| suite.probes.len()).sum();
        if rules.early_stop == EarlyStop::Never || probes < LEAST_PROBES {
            return Looks {
                looks: vec![(LookPart::WHOLE, suites.to_vec())],
            };
        }
        let look = |part: LookPart| {
            let asked = suites.iter().map(|suite| first_of(suite, part.asked, seed));
            (part, asked.collect())
        };
        Looks {
            looks: LOOKS.into_iter().map(look).collect(),
        }
    }
}

/// The first of a suite's probes in their drawn order; they stand in that of the suite.
fn first_of(suite: &Suite, share: f64, seed: u64) -> Suite {
    if suite.goal == Goal::Learn || share >= 1.0 {
        return suite.clone();
    }
    let place = |id: &ProbeId| digest::bytes(format!("{seed}/look/{id}"));
    let mut drawn: Vec<ProbeId> = suite
        .probes
        .iter()
        .map(|probe| suite.id_of(probe))
        .collect();
    drawn.sort_by_cached_key(place);
    let count = (share * drawn.len() as f64).ceil() as usize;
    let first: BTreeSet<String> = drawn.into_iter().take(count).map(|id| id.probe).collect();
    let mut asked = suite.clone();
    asked
        .probes
        .retain(|probe| probe.critical || first.contains(&probe.id));
    asked
}

/// Has the base and a checkpoint, at each of its scales, answer in one batch, and judges the
/// checkpoint at each, at several looks where the rules allow it.
///
/// # Errors
/// As [`Evaluation::run`].
pub fn judge_checkpoint(
    evaluation: &Evaluation<'_>,
    checkpoint: Vec<LoadedSubject>,
    rules: &Rules,
    on_event: &mut dyn FnMut(RunEvent),
) -> Result<Comparison, RunError> {
    let suites = &evaluation.questions.suites;
    let looks = Looks::of(suites, rules, evaluation.questions.seed).looks;
    let subjects = std::iter::once(LoadedSubject::base()).chain(checkpoint);
    let mut batch = Batch::new(evaluation, subjects.collect());
    let count = batch.measured().len();
    let mut open: Vec<usize> = (1..count).collect();
    let mut judged: Vec<Option<Candidate>> = (0..count).map(|_| None).collect();
    let taught = evaluation.scoring.taught();
    let mut whole = None;
    let mut asked = BTreeSet::new();
    for (at, (part, suites)) in looks.iter().enumerate() {
        let ids = suites.iter().flat_map(|suite| {
            let probes = suite.probes.iter();
            probes.map(|probe| suite.id_of(probe))
        });
        let new: BTreeSet<ProbeId> = ids.filter(|id| !asked.contains(id)).collect();
        let who: Vec<usize> = std::iter::once(0).chain(open.iter().copied()).collect();
        batch.ask(&|id| new.contains(id), &who, on_event)?;
        asked.extend(new);
        let rules = Rules {
            part: *part,
            ..rules.clone()
        };
        let all = batch.measured();
        let measured: Vec<Measurement> = who.iter().map(|&place| all[place].clone()).collect();
        let comparison = compare(
            &evaluation.asking.session.base.name,
            suites,
            &rules,
            &taught,
            &measured,
            None,
        );
        let last = at + 1 == looks.len();
        for (place, candidate) in open.clone().into_iter().zip(&comparison.candidates) {
            let decided = candidate.verdict.decision != Decision::Inconclusive
                && candidate.verdict.could_not_measure.is_empty();
            if decided || last {
                let end = (!last).then(|| end(looks.last(), &asked, &all[place]));
                judged[place] = Some(told(candidate, end));
                open.retain(|other| *other != place);
            }
        }
        whole = Some(comparison);
        if open.is_empty() {
            break;
        }
    }
    let own = batch.own_answers(on_event)?;
    for (candidate, own) in judged.iter_mut().zip(own) {
        if let Some(candidate) = candidate {
            candidate.with_own_answers(own);
        }
    }
    let candidates = judged.into_iter().flatten().collect();
    Ok(match whole {
        Some(comparison) => Comparison {
            candidates,
            ..comparison
        },
        None => compare("", &[], rules, &taught, &[], None),
    })
}

/// What was not asked of a candidate, with the tokens that it would have taken at the length of its
/// answers so far.
fn end(
    last: Option<&(LookPart, Vec<Suite>)>,
    asked: &BTreeSet<ProbeId>,
    said: &Measurement,
) -> EarlyEnd {
    let all = last.map_or(0, |(_, suites)| suites.iter().map(|s| s.probes.len()).sum());
    let tokens: usize = said.answers.values().map(|answer| answer.tokens()).sum();
    let left = all - asked.len().min(all);
    EarlyEnd {
        asked: asked.len(),
        probes: all,
        tokens_saved: tokens * left / asked.len().max(1),
    }
}

fn told(candidate: &Candidate, end: Option<EarlyEnd>) -> Candidate {
    let mut candidate = candidate.clone();
    if let Some(end) = end {
        candidate.verdict.notes.push(format!(
            "decided by {} of {}: the rest was not asked, about {}",
            end.asked,
            plural(end.probes, "probe"),
            plural(end.tokens_saved, "token"),
        ));
    }
    candidate.verdict.early = end;
    candidate
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{AdapterRef, Subject};
    use crate::run::questions::Questions;
    use crate::run::testing::{Stage, adapter_folder, loaded, suites};

    /// 204 probes of sums, the first one critical.
    fn sums() -> Vec<Suite> {
        let mut text = String::new();
        for i in 0..204 {
            let (a, b) = (i % 10, i / 10 % 10);
            let ask = ["What is", "Tell me what is", "Compute"][i / 100];
            let critical = if i == 0 { "critical = true\n" } else { "" };
            let probe = format!(
                "[[probe]]\nid = \"p{i}\"\n{critical}prompts = [\"{ask} {a} + {b}?\"]\n\
                 [probe.generation]\nmax_new_tokens = 4\n\
                 [[probe.check]]\ntype = \"number\"\nvalue = {}\n",
                a + b
            );
            text.push_str(&probe);
        }
        suites(&text)
    }

    fn subject(stage: &Stage, name: &str) -> LoadedSubject {
        LoadedSubject {
            subject: Subject {
                name: name.into(),
                adapter: Some(AdapterRef {
                    path: adapter_folder(name),
                    digest: name.into(),
                    scale: 1.0,
                    step: None,
                }),
                server: None,
            },
            adapter: Some(loaded(&stage.session, name)),
        }
    }

    fn judged(early_stop: EarlyStop) -> Comparison {
        let stage = Stage::new();
        let (lock, scoring) = (stage.run(), stage.scoring());
        let questions = Questions::new(&stage.session, sums(), 3).unwrap();
        let evaluation = Evaluation {
            asking: stage.asking(),
            questions: &questions,
            store: &stage.store,
            run: &lock,
            scoring: &scoring,
        };
        let rules = Rules {
            margin: 0.1,
            early_stop,
            ..Rules::default()
        };
        let checkpoint = ["harmful", "noop"].map(|name| subject(&stage, name));
        judge_checkpoint(&evaluation, checkpoint.into(), &rules, &mut |_| {}).unwrap()
    }

    /// What is lost is proven by a quarter, and what changes nothing passes; both as by everything.
    #[test]
    fn what_a_part_decides_is_not_asked_the_rest() {
        let (early, whole) = (judged(EarlyStop::Training), judged(EarlyStop::Never));
        let decisions = |c: &Comparison| {
            c.candidates
                .iter()
                .map(|c| c.verdict.decision)
                .collect::<Vec<_>>()
        };
        assert_eq!(decisions(&early), [Decision::Regression, Decision::Pass]);
        assert_eq!(decisions(&early), decisions(&whole));
        let names: Vec<&str> = early
            .candidates
            .iter()
            .map(|c| c.subject.name.as_str())
            .collect();
        assert_eq!(names, ["harmful", "noop"]);
        let lost = &early.candidates[0].verdict;
        let end = lost.early.unwrap();
        assert!(
            end.asked < 60 && end.probes == 204 && end.tokens_saved > 0,
            "{end:?}"
        );
        assert_eq!(lost.pooled.estimate.as_ref().unwrap().probes, end.asked);
        assert_eq!(early.candidates[0].probes.len(), end.asked);
        assert!(
            lost.notes.iter().any(|n| n.starts_with("decided by 5")),
            "{:?}",
            lost.notes
        );
        assert_eq!(lost.critical.len(), 1, "critical probes come first");
        let unchanged = early.candidates[1].verdict.early.unwrap();
        assert!(unchanged.asked >= end.asked);
        assert!(whole.candidates.iter().all(|c| c.verdict.early.is_none()));
    }

    #[test]
    fn an_order_is_drawn_by_the_seed_and_grows() {
        let ids = |share, seed| -> BTreeSet<String> {
            let suite = first_of(&sums()[0], share, seed);
            suite.probes.into_iter().map(|probe| probe.id).collect()
        };
        let (quarter, half) = (ids(0.25, 3), ids(0.5, 3));
        assert!(quarter.is_subset(&half) && quarter.contains("p0"));
        assert!((51..=52).contains(&quarter.len()), "{}", quarter.len());
        assert_eq!(ids(1.0, 3).len(), 204);
        assert_ne!(quarter, ids(0.25, 4));
        assert_eq!(quarter, ids(0.25, 3));
    }
}
