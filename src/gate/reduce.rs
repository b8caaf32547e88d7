//! Many draws become one value a probe: their mean.
//!
//! More draws sharpen a probe; they never add to the number of probes.

use super::paired::{Pair, PairedProbe};
use crate::flow::ProbeId;

/// One probe after its draws were reduced.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ProbeMeans {
    pub(super) id: ProbeId,
    pub(super) critical: bool,
    /// Means of base and candidate over the draws that both have a score for.
    pub(super) both: Option<(f64, f64)>,
    /// Mean difference over the base's scored draws, where a draw without a score of the candidate
    /// counts as lost. It enters no mean that is shown, only the bound that a pass rests on: the
    /// probes that the base can be scored on are the ones a claim is about, and leaving out those
    /// on which the candidate broke would hide its losses.
    pub(super) at_worst: Option<f64>,
    /// Mean of the base over all its own draws.
    pub(super) base: Option<f64>,
    /// Mean of the candidate over all its own draws.
    pub(super) candidate: Option<f64>,
    /// Share of its draws that base or candidate has no score for.
    pub(super) missing: f64,
    /// Draws that both have a score for, further ones among them.
    pub(super) draws: usize,
    /// Of these, draws that the base passed with a score of at least one half.
    pub(super) base_passes: usize,
    /// The same of the candidate.
    pub(super) candidate_passes: usize,
    /// Who has no score and why, of the first draw that lacks one.
    pub(super) why_missing: Option<String>,
}

impl ProbeMeans {
    /// A gain becomes no difference; a loss stays.
    pub(super) fn without_gain(&mut self) {
        if let Some((base, candidate)) = &mut self.both {
            *candidate = candidate.min(*base);
        }
        if let Some(difference) = &mut self.at_worst {
            *difference = difference.min(0.0);
        }
        self.candidate_passes = self.candidate_passes.min(self.base_passes);
    }
}

/// Reduces each probe's draws.
pub(super) fn reduce(probes: Vec<PairedProbe>) -> Vec<ProbeMeans> {
    probes.into_iter().map(reduce_one).collect()
}

fn reduce_one(probe: PairedProbe) -> ProbeMeans {
    let PairedProbe {
        id,
        critical,
        pairs,
        further,
    } = probe;
    let scored = |pairs: &[Pair]| -> Vec<(f64, f64)> {
        let both = |pair: &Pair| Some((*pair.base.as_ref().ok()?, *pair.candidate.as_ref().ok()?));
        pairs.iter().filter_map(both).collect()
    };
    let both = scored(&pairs);
    let all = [both.clone(), scored(&further)].concat();
    let bases: Vec<f64> = pairs
        .iter()
        .filter_map(|p| p.base.as_ref().ok().copied())
        .collect();
    let candidates: Vec<f64> = pairs
        .iter()
        .filter_map(|p| p.candidate.as_ref().ok().copied())
        .collect();
    let at_worst: Vec<f64> = pairs
        .iter()
        .filter_map(|p| Some(p.candidate.as_ref().copied().unwrap_or(0.0) - p.base.as_ref().ok()?))
        .collect();
    let why_missing = pairs
        .iter()
        .find_map(|pair| match (&pair.base, &pair.candidate) {
            (Err(base), Err(candidate)) if base == candidate => Some(format!("both: {base}")),
            (Err(reason), _) => Some(format!("base: {reason}")),
            (_, Err(reason)) => Some(format!("candidate: {reason}")),
            _ => None,
        });
    let passes = |side: fn(&(f64, f64)) -> f64| all.iter().filter(|p| side(p) >= 0.5).count();
    ProbeMeans {
        critical,
        both: mean(both.iter().map(|p| p.0)).zip(mean(both.iter().map(|p| p.1))),
        at_worst: mean(at_worst.iter().copied()),
        base: mean(bases.iter().copied()),
        candidate: mean(candidates.iter().copied()),
        missing: if pairs.is_empty() {
            1.0
        } else {
            (pairs.len() - both.len()) as f64 / pairs.len() as f64
        },
        draws: all.len(),
        base_passes: passes(|p| p.0),
        candidate_passes: passes(|p| p.1),
        why_missing: why_missing
            .or_else(|| pairs.is_empty().then(|| "both: no answer".to_string())),
        id,
    }
}

/// Mean, when there is something to take it of.
pub(super) fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0usize);
    for value in values {
        sum += value;
        count += 1;
    }
    (count > 0).then(|| sum / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reduced(pairs: &[(Option<f64>, Option<f64>)]) -> ProbeMeans {
        let side = |x: Option<f64>| x.ok_or_else(|| "no code".to_string());
        reduce_one(PairedProbe {
            id: ProbeId {
                suite: "s".into(),
                probe: "p".into(),
            },
            critical: true,
            pairs: pairs
                .iter()
                .map(|&(b, c)| Pair {
                    base: side(b),
                    candidate: side(c),
                })
                .collect(),
            further: Vec::new(),
        })
    }

    #[test]
    fn samples_and_paraphrases_become_one_mean() {
        let probe = reduced(&[
            (Some(1.0), Some(0.0)),
            (Some(1.0), Some(1.0)),
            (Some(0.5), Some(0.25)),
            (Some(0.0), Some(0.25)),
        ]);
        assert_eq!(probe.both, Some((0.625, 0.375)));
        assert_eq!(
            (probe.draws, probe.base_passes, probe.candidate_passes),
            (4, 3, 1)
        );
        assert_eq!((probe.missing, probe.why_missing), (0.0, None));
    }

    #[test]
    fn unscored_is_not_zero_in_a_mean_and_is_lost_in_the_bound() {
        let probe = reduced(&[(Some(1.0), Some(1.0)), (Some(1.0), None)]);
        assert_eq!(probe.both, Some((1.0, 1.0)));
        assert_eq!(probe.at_worst, Some(-0.5));
        assert_eq!(probe.missing, 0.5);
        assert_eq!(probe.why_missing.as_deref(), Some("candidate: no code"));
    }

    #[test]
    fn a_draw_that_the_base_has_no_score_for_says_nothing() {
        let probe = reduced(&[(None, Some(0.0)), (None, None)]);
        assert_eq!((probe.both, probe.at_worst, probe.base), (None, None, None));
        assert_eq!(probe.candidate, Some(0.0), "a `learn` suite still shows it");
        assert_eq!(
            reduced(&[(None, None)]).why_missing.as_deref(),
            Some("both: no code")
        );
        assert_eq!(reduced(&[]).missing, 1.0);
    }
}
