//! The numbers of a set of probes: means, paired difference, interval, counts.

use super::interval::{lower_end, upper_end};
use super::reduce::{ProbeMeans, mean};
use crate::flow::Estimate;

/// Numbers of a set of probes; `None` when no draw was scored by both.
pub(super) fn estimate(probes: &[&ProbeMeans], level: f64) -> Option<Estimate> {
    let both: Vec<(f64, f64)> = probes.iter().filter_map(|p| p.both).collect();
    let differences: Vec<f64> = both
        .iter()
        .map(|(base, candidate)| candidate - base)
        .collect();
    let at_worst: Vec<f64> = probes.iter().filter_map(|p| p.at_worst).collect();
    // Means of samples differ in their last bits; a change is more than that.
    let beyond = |sign: f64| differences.iter().filter(|&d| sign * d > 1e-9).count();
    Some(Estimate {
        base_mean: mean(both.iter().map(|p| p.0))?,
        candidate_mean: mean(both.iter().map(|p| p.1))?,
        difference: mean(differences.iter().copied())?,
        lower: lower_end(&at_worst, level),
        upper: upper_end(&differences, level),
        confidence: 1.0 - level,
        probes: both.len(),
        losses: beyond(-1.0),
        gains: beyond(1.0),
        unscored: probes.len() - both.len(),
    })
}
