//! Which checkpoint of a run to keep, and at which scale.
//!
//! An adapter that overshoots and is turned down lies on the same frontier of learning against
//! keeping as one that was trained more carefully, and costs no training: scales are candidates like
//! steps.

use std::cmp::Ordering;

use crate::flow::{ScaledCheckpoint, Verdict};

/// The multiples of its own scale at which a run judges each checkpoint when it is told nothing.
pub const USUAL_SCALES: [f64; 3] = [1.0, 0.7, 0.5];

/// The highest `learn` score among the checkpoints that may ship ([`Verdict::may_ship`]), each at
/// each scale that it was judged at. Ties go to what changes the base less: the earlier step, then
/// the smaller scale. Without `learn` suites nothing tells what was learned, and the earlier step at
/// its larger scale is taken. `None`: do not ship any of them.
///
/// # Examples
/// ```
/// use std::collections::BTreeMap;
///
/// use qeval::flow::{CaseId, ScaledCheckpoint, Score, ScoreTable};
/// use qeval::gate::{Rules, decide, select_best};
/// use qeval::suite::{SuiteSource, builtin, load};
///
/// let (file, text) = builtin()
///     .iter()
///     .find(|(file, _)| *file == "knowledge.toml")
///     .ok_or("no such suite")?;
/// let vars = [("name", "Aurora"), ("author", "Northwind Labs")];
/// let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
/// let suites = load(&[SuiteSource::new(*file, *text)], &BTreeMap::from(vars))?;
/// let all = |yes: bool| -> ScoreTable {
///     let case = |probe: &str| CaseId {
///         suite: suites[0].name.clone(),
///         probe: probe.into(),
///         prompt: 0,
///     };
///     let probes = suites[0].probes.iter();
///     probes.map(|probe| ((case(&probe.id), 0), Score::of(yes, "made up"))).collect()
/// };
/// let rules = Rules::default();
/// let kept = decide(&suites, &all(true), &all(true), &rules);
/// let lost = decide(&suites, &all(true), &all(false), &rules);
/// let at = |step, scale| ScaledCheckpoint { step, scale };
/// let judged = [(at(20, 1.0), &lost), (at(20, 0.5), &kept)];
/// assert_eq!(select_best(&judged), Some(at(20, 0.5)));
/// assert_eq!(select_best(&judged[..1]), None, "nothing may ship");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn select_best(judged: &[(ScaledCheckpoint, &Verdict)]) -> Option<ScaledCheckpoint> {
    highest(judged, Verdict::may_ship)
}

/// What leads a run that is still training: the best, else, while none has learned enough yet, the
/// highest `learn` score among what may be kept ([`Verdict::may_keep`]).
pub fn select_leading(judged: &[(ScaledCheckpoint, &Verdict)]) -> Option<ScaledCheckpoint> {
    select_best(judged).or_else(|| highest(judged, Verdict::may_keep))
}

fn highest(
    judged: &[(ScaledCheckpoint, &Verdict)],
    may: fn(&Verdict) -> bool,
) -> Option<ScaledCheckpoint> {
    let learned = |verdict: &Verdict| verdict.learn.as_ref().map(|learn| learn.mean);
    let mut best: Option<(ScaledCheckpoint, Option<f64>)> = None;
    for &(at, verdict) in judged.iter().filter(|(_, verdict)| may(verdict)) {
        let score = learned(verdict);
        if best.is_none_or(|best| is_better((at, score), best)) {
            best = Some((at, score));
        }
    }
    best.map(|(at, _)| at)
}

fn is_better(
    (at, score): (ScaledCheckpoint, Option<f64>),
    (other, high): (ScaledCheckpoint, Option<f64>),
) -> bool {
    let gain = score.unwrap_or(0.0) - high.unwrap_or(0.0);
    // Means over the same probes differ by rounding only, or by a whole draw.
    if gain.abs() > 1e-9 {
        return gain > 0.0;
    }
    let by_scale = match score {
        Some(_) => at.scale.total_cmp(&other.scale),
        None => other.scale.total_cmp(&at.scale),
    };
    at.step.cmp(&other.step).then(by_scale) == Ordering::Less
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Goal, ScoreTable};
    use crate::gate::testing::{numbered, passes};
    use crate::gate::{Rules, decide};

    /// A run of `keep` 100 probes and `learn` 10, with these numbers of passes.
    fn verdict(kept: usize, learned: usize) -> Verdict {
        let mut identity = numbered("identity", 10);
        identity.goal = Goal::Learn;
        let suites = [numbered("code", 100), identity];
        let both = |kept, learned| -> ScoreTable {
            passes("code", kept, 100)
                .into_iter()
                .chain(passes("identity", learned, 10))
                .collect()
        };
        decide(
            &suites,
            &both(90, 0),
            &both(kept, learned),
            &Rules::default(),
        )
    }

    type Select = fn(&[(ScaledCheckpoint, &Verdict)]) -> Option<ScaledCheckpoint>;

    /// Which of these is taken: step, scale, verdict.
    fn taken(judged: &[(usize, f64, &Verdict)], select: Select) -> Option<(usize, f64)> {
        let judged = judged
            .iter()
            .map(|&(step, scale, verdict)| (ScaledCheckpoint { step, scale }, verdict));
        select(&judged.collect::<Vec<_>>()).map(|at| (at.step, at.scale))
    }

    fn best(judged: &[(usize, f64, &Verdict)]) -> Option<(usize, f64)> {
        taken(judged, select_best)
    }

    fn leading(judged: &[(usize, f64, &Verdict)]) -> Option<(usize, f64)> {
        taken(judged, select_leading)
    }

    /// 0.8 is to be reached.
    #[test]
    fn what_learned_too_little_leads_but_is_not_the_best() {
        let (early, later, enough) = (verdict(90, 2), verdict(90, 5), verdict(90, 8));
        let training = [(20, 1.0, &early), (40, 1.0, &later)];
        assert_eq!(best(&training), None);
        assert_eq!(leading(&training), Some((40, 1.0)));
        let all = [(20, 1.0, &early), (40, 1.0, &enough), (60, 1.0, &later)];
        assert_eq!(
            (best(&all), leading(&all)),
            (Some((40, 1.0)), Some((40, 1.0)))
        );
        let mut warned = verdict(90, 5);
        warned.learn_rule = crate::flow::LearnRule::Warn;
        assert_eq!(best(&[(20, 1.0, &warned)]), Some((20, 1.0)));
    }

    #[test]
    fn the_highest_learn_score_that_kept_its_abilities_wins() {
        let (early, most, parrot) = (verdict(90, 4), verdict(90, 8), verdict(20, 10));
        let judged = [(20, 1.0, &early), (40, 1.0, &most), (60, 1.0, &parrot)];
        assert_eq!(best(&judged), Some((40, 1.0)));
    }

    #[test]
    fn ties_go_to_the_earlier_step_then_to_the_smaller_scale() {
        let (a, b) = (verdict(90, 8), verdict(91, 8));
        assert_eq!(best(&[(60, 0.5, &a), (40, 1.0, &b)]), Some((40, 1.0)));
        let judged = [(40, 1.0, &a), (40, 0.5, &b), (40, 0.7, &a)];
        assert_eq!(best(&judged), Some((40, 0.5)));
    }

    /// The least scale would be the least learned, and nobody would know.
    #[test]
    fn where_learning_is_not_measured_the_larger_scale_is_taken() {
        let kept = passes("code", 90, 100).into_iter().collect();
        let pass = decide(&[numbered("code", 100)], &kept, &kept, &Rules::default());
        let judged = [(40, 0.5, &pass), (40, 1.0, &pass), (60, 1.0, &pass)];
        assert_eq!(best(&judged), Some((40, 1.0)));
    }

    /// The point of scales: what overshoots ships turned down.
    #[test]
    fn a_checkpoint_that_lost_too_much_ships_at_a_scale_that_passes() {
        let (lost, kept, little) = (verdict(20, 10), verdict(90, 8), verdict(90, 3));
        let judged = [(40, 1.0, &lost), (40, 0.7, &kept), (40, 0.5, &little)];
        assert_eq!(best(&judged), Some((40, 0.7)));
    }

    #[test]
    fn nothing_may_ship_when_none_passes() {
        let (unproven, lost) = (verdict(88, 9), verdict(20, 10));
        assert_eq!(best(&[(20, 1.0, &unproven), (40, 1.0, &lost)]), None);
        assert_eq!(best(&[]), None);
    }
}
