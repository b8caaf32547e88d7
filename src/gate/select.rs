//! Which checkpoint of a run to keep.

use crate::flow::Verdict;

/// The step with the highest `learn` score among the checkpoints that may ship
/// ([`Verdict::may_ship`]); ties go to the earlier step, and without `learn` suites all tie.
/// `None`: do not ship any of them.
///
/// # Examples
/// ```
/// use std::collections::BTreeMap;
///
/// use qeval::flow::{CaseId, Score, ScoreTable};
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
/// assert_eq!(select_best(&[(20, &lost), (40, &kept)]), Some(40));
/// assert_eq!(select_best(&[(20, &lost)]), None, "nothing may ship");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn select_best(checkpoints: &[(usize, &Verdict)]) -> Option<usize> {
    highest(checkpoints, Verdict::may_ship)
}

/// The step that leads a run which is still training: the best, else, while none has learned enough
/// yet, the one with the highest `learn` score among those that may be kept ([`Verdict::may_keep`]).
pub fn select_leading(checkpoints: &[(usize, &Verdict)]) -> Option<usize> {
    select_best(checkpoints).or_else(|| highest(checkpoints, Verdict::may_keep))
}

fn highest(checkpoints: &[(usize, &Verdict)], may: fn(&Verdict) -> bool) -> Option<usize> {
    let learned = |verdict: &Verdict| verdict.learn.as_ref().map_or(0.0, |learn| learn.mean);
    let mut best: Option<(usize, f64)> = None;
    for &(step, verdict) in checkpoints.iter().filter(|(_, verdict)| may(verdict)) {
        let score = learned(verdict);
        // Means over the same probes differ by rounding only, or by a whole draw.
        let better = match best {
            None => true,
            Some((earlier, high)) => {
                score > high + 1e-9 || ((score - high).abs() <= 1e-9 && step < earlier)
            }
        };
        if better {
            best = Some((step, score));
        }
    }
    best.map(|(step, _)| step)
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

    #[test]
    fn the_highest_learn_score_that_kept_its_abilities_wins() {
        let (early, best, parrot) = (verdict(90, 4), verdict(90, 8), verdict(20, 10));
        assert_eq!(
            select_best(&[(20, &early), (40, &best), (60, &parrot)]),
            Some(40)
        );
    }

    /// 0.8 is to be reached.
    #[test]
    fn what_learned_too_little_leads_but_is_not_the_best() {
        let (early, later, enough) = (verdict(90, 2), verdict(90, 5), verdict(90, 8));
        let training = [(20, &early), (40, &later)];
        assert_eq!(select_best(&training), None);
        assert_eq!(select_leading(&training), Some(40));
        let all = [(20, &early), (40, &enough), (60, &later)];
        assert_eq!(
            (select_best(&all), select_leading(&all)),
            (Some(40), Some(40))
        );
        let mut warned = verdict(90, 5);
        warned.learn_rule = crate::flow::LearnRule::Warn;
        assert_eq!(select_best(&[(20, &warned)]), Some(20));
    }

    #[test]
    fn ties_go_to_the_earlier_step() {
        let (a, b) = (verdict(90, 8), verdict(91, 8));
        assert_eq!(select_best(&[(60, &a), (40, &b)]), Some(40));
    }

    #[test]
    fn nothing_may_ship_when_none_passes() {
        let (unproven, lost) = (verdict(88, 9), verdict(20, 10));
        assert_eq!(select_best(&[(20, &unproven), (40, &lost)]), None);
        assert_eq!(select_best(&[]), None);
    }
}
