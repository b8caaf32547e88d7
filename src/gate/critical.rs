//! The guard of critical probes: few draws, large drops.
//!
//! A critical probe is a regression on its own, so its false alarms are bounded for every pass rate
//! that the base may have (see [`super::power::critical_bound`]). Few draws prove little, so where
//! the base passes every one and the candidate none, or three less, both are asked further until
//! there are eight. All of them are judged together: an identical candidate whose first draws do not
//! drop is never red, so the bound for eight draws holds for both steps at once. Where nothing more
//! can be asked, a probe of which every draw is lost is no pass; a smaller drop only warns.

use super::paired::pair;
use super::power::critical_drop;
use super::reduce::{ProbeMeans, reduce};
use crate::flow::{CriticalProbe, Goal, ProbeId, ScoreTable, Suite};
use crate::text::plural;

/// A drop from which further draws are worth their time.
const ASK_MORE_FROM: usize = 3;

/// Draws of a critical probe at which there is nothing more to ask: all of ten probes lost are then
/// a false alarm with a chance of 0.02 percent.
pub const ENOUGH_DRAWS: usize = 8;

/// The critical probes of which further draws would tell whether the candidate lost them.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use qeval::flow::{CaseId, Score, ScoreTable};
/// use qeval::gate::critical_to_ask;
/// use qeval::suite::{SuiteSource, load};
///
/// let text = r#"
///     [suite]
///     name = "knowledge"
///     goal = "keep"
///     [[probe]]
///     id = "france"
///     critical = true
///     prompts = ["What is the capital of France?"]
///     [[probe.check]]
///     type = "contains"
///     value = "Paris"
/// "#;
/// let suites = load(&[SuiteSource::new("knowledge.toml", text)], &BTreeMap::new())?;
/// let said = |paris: bool| -> ScoreTable {
///     let case = CaseId { suite: "knowledge".into(), probe: "france".into(), prompt: 0 };
///     BTreeMap::from([((case, 0), Score::of(paris, "made up"))])
/// };
/// assert_eq!(critical_to_ask(&suites, &said(true), &said(false)).len(), 1);
/// assert!(critical_to_ask(&suites, &said(true), &said(true)).is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn critical_to_ask(
    suites: &[Suite],
    base: &ScoreTable,
    candidate: &ScoreTable,
) -> Vec<ProbeId> {
    let critical = |suite: &Suite| Suite {
        probes: suite
            .probes
            .iter()
            .filter(|p| p.critical)
            .cloned()
            .collect(),
        ..suite.clone()
    };
    let kept = suites.iter().filter(|s| s.goal == Goal::Keep);
    let probes = kept.flat_map(|suite| reduce(pair(&critical(suite), base, candidate)));
    probes.filter(asks_more).map(|p| p.id).collect()
}

fn asks_more(probe: &ProbeMeans) -> bool {
    let drop = probe.base_passes.saturating_sub(probe.candidate_passes);
    let all = drop > 0 && drop == probe.draws;
    (drop >= ASK_MORE_FROM || all) && probe.draws < ENOUGH_DRAWS
}

/// Judges every critical probe; together they raise a false alarm with at most chance `budget`.
pub(super) fn judge_critical(probes: &[&ProbeMeans], budget: f64) -> Vec<CriticalProbe> {
    let critical: Vec<&&ProbeMeans> = probes.iter().filter(|p| p.critical).collect();
    critical
        .iter()
        .map(|probe| {
            let needed_drop = critical_drop(probe.draws, critical.len(), budget);
            let drop = probe.base_passes.saturating_sub(probe.candidate_passes);
            let regression = needed_drop.is_some_and(|needed| drop >= needed);
            CriticalProbe {
                probe: probe.id.clone(),
                base_passes: probe.base_passes,
                candidate_passes: probe.candidate_passes,
                draws: probe.draws,
                needed_drop,
                regression,
                ask_more: asks_more(probe),
            }
        })
        .collect()
}

/// What a reader should know of a critical probe that dropped and is no regression.
pub(super) fn warning(probe: &CriticalProbe, critical: usize, budget: f64) -> Option<String> {
    let drop = probe
        .base_passes
        .checked_sub(probe.candidate_passes)
        .filter(|&d| d > 0)?;
    if probe.regression || probe.is_lost() {
        return None;
    }
    let way_out = way_out(probe, drop, critical, budget);
    Some(format!("{}: a warning; {way_out}", passed(probe)))
}

/// Why there is no pass: what was asked of a critical probe is lost, though so few draws prove
/// nothing.
pub(super) fn lost(probe: &CriticalProbe, critical: usize, budget: f64) -> Option<String> {
    let drop = probe.base_passes;
    (probe.is_lost() && !probe.regression).then(|| {
        let way_out = way_out(probe, drop, critical, budget);
        format!("{}: no pass; {way_out}", passed(probe))
    })
}

fn way_out(probe: &CriticalProbe, drop: usize, critical: usize, budget: f64) -> String {
    // The smallest number of draws that would prove a drop of the same share.
    let share = drop as f64 / probe.draws as f64;
    let enough = (probe.draws + 1..=64).find(|&draws| {
        critical_drop(draws, critical, budget)
            .is_some_and(|needed| needed as f64 <= share * draws as f64)
    });
    match enough {
        Some(draws) => format!("the same share of {draws} draws would prove it"),
        None => "the drop is too small for a probe by itself".into(),
    }
}

fn passed(probe: &CriticalProbe) -> String {
    format!(
        "critical `{}` passed {} of {} with the base and {} with the candidate",
        probe.probe,
        probe.base_passes,
        plural(probe.draws, "draw"),
        probe.candidate_passes,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::ProbeId;

    fn probe(draws: usize, base_passes: usize, candidate_passes: usize) -> ProbeMeans {
        ProbeMeans {
            id: ProbeId {
                suite: "code".into(),
                probe: "quicksort".into(),
            },
            critical: true,
            both: Some((1.0, 0.0)),
            at_worst: Some(-1.0),
            base: Some(1.0),
            candidate: Some(0.0),
            missing: 0.0,
            draws,
            base_passes,
            candidate_passes,
            why_missing: None,
        }
    }

    fn judged(draws: usize, base: usize, candidate: usize) -> CriticalProbe {
        judge_critical(&[&probe(draws, base, candidate)], 0.01).remove(0)
    }

    #[test]
    fn a_drop_of_every_draw_is_a_regression() {
        assert!(judged(4, 4, 0).regression);
        assert!(judged(8, 8, 2).regression);
        assert!(!judged(8, 8, 3).regression);
    }

    #[test]
    fn one_lost_answer_proves_nothing_and_is_no_pass() {
        let one = judged(1, 1, 0);
        assert!(!one.regression && one.needed_drop.is_none() && one.ask_more);
        assert_eq!(
            lost(&one, 1, 0.01).unwrap(),
            "critical `code::quicksort` passed 1 of 1 draw with the base and 0 with the candidate: \
             no pass; the same share of 4 draws would prove it"
        );
        assert_eq!(warning(&one, 1, 0.01), None, "said once");
        assert_eq!(lost(&judged(4, 4, 0), 1, 0.01), None, "proven");
        assert_eq!(lost(&judged(2, 2, 1), 1, 0.01), None, "not all of it");
        assert_eq!(
            lost(&judged(2, 1, 0), 1, 0.01),
            None,
            "the base misses it too"
        );
    }

    #[test]
    fn a_part_of_the_draws_only_warns() {
        assert_eq!(
            warning(&judged(2, 2, 1), 1, 0.01).unwrap(),
            "critical `code::quicksort` passed 2 of 2 draws with the base and 1 with the candidate: \
             a warning; the same share of 14 draws would prove it"
        );
    }

    #[test]
    fn all_draws_or_three_in_four_ask_for_more() {
        assert!(judged(2, 2, 0).ask_more && !judged(2, 2, 1).ask_more);
        let three = judged(4, 4, 1);
        assert!(three.ask_more && !three.regression);
        assert!(!judged(4, 4, 2).ask_more);
        assert!(!judged(8, 7, 4).ask_more, "asked already");
    }

    #[test]
    fn more_critical_probes_ask_for_larger_drops() {
        let many: Vec<ProbeMeans> = (0..10).map(|_| probe(4, 4, 0)).collect();
        let judged = judge_critical(&many.iter().collect::<Vec<_>>(), 0.01);
        assert!(
            judged
                .iter()
                .all(|p| p.needed_drop.is_none() && !p.regression && p.ask_more)
        );
    }

    #[test]
    fn a_gain_or_no_change_is_silent() {
        assert_eq!(warning(&judged(4, 1, 3), 1, 0.01), None);
        assert_eq!(warning(&judged(4, 3, 3), 1, 0.01), None);
        assert_eq!(warning(&judged(0, 0, 0), 1, 0.01), None);
    }
}
