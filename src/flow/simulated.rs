//! What a simulation of the rule on a project's own suites and base found.

use serde::{Deserialize, Serialize};

/// Error rates and power of the rule, by simulation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Simulation {
    /// Comparisons that each share is of.
    pub comparisons: u64,
    /// What drew them.
    pub seed: u64,
    /// Highest chance of a false alarm in a run, and of a pass at a true loss of the margin.
    pub claimed: f64,
    /// All `keep` suites pooled, the same share of every one being lost.
    pub pooled: SimulatedGroup,
    /// One a `keep` suite, by its own test, in their order.
    pub suites: Vec<SimulatedGroup>,
    /// The whole rule: one gate, then the planned run where one is planned.
    pub runs: Vec<SimulatedRun>,
    /// What a reader should know, one sentence each.
    pub notes: Vec<String>,
}

/// One suite, or all of them pooled, at one gate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SimulatedGroup {
    /// Name of the suite; `pooled` for all together.
    pub suite: String,
    /// Its probes.
    pub probes: usize,
    /// Mean score of the base, in [0, 1].
    pub base_mean: f64,
    /// Chance that two generated answers of the base to one wording are scored differently.
    pub flips: f64,
    /// Share of probes that the base has no score for.
    pub unscored: f64,
    /// Largest tolerated loss.
    pub margin: f64,
    /// A harmless candidate is a regression, as a share of all comparisons.
    pub false_alarms: f64,
    /// A harmless candidate passes.
    pub passes: f64,
    /// A candidate that truly lost the margin passes; `None` where the base has less to lose.
    pub passes_at_margin: Option<f64>,
    /// How often a true loss is found, smallest loss first.
    pub found: Vec<FoundShare>,
    /// Probes from which on it can decide something, where these cannot: neither exclude the margin
    /// nor prove any loss.
    pub needs: Option<usize>,
}

/// How often a true loss is a regression.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FoundShare {
    /// The loss of the mean.
    pub loss: f64,
    /// Share of comparisons; `None` where the base has less to lose.
    pub share: Option<f64>,
    /// More probes like these that find it in 80 of 100; `None` where it is found as often
    /// already, or where twenty times as many would not do.
    pub more_for_80: Option<usize>,
    /// The same for 95 of 100.
    pub more_for_95: Option<usize>,
}

/// The whole rule over the looks of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SimulatedRun {
    /// Looks at its checkpoints and scales, before the gate of the chosen one; 1: one gate alone.
    pub looks: usize,
    /// Whether answers stay unscored as often as the base's do; false: every answer is scored.
    pub unscored: bool,
    /// A harmless candidate is a regression at any look or at the end.
    pub false_alarms: f64,
    /// The pooled score is, at any look.
    pub pooled_alarms: f64,
    /// Some critical probe is, at any look.
    pub critical_alarms: f64,
    /// A harmless candidate passes at the end.
    pub passes: f64,
    /// Every checkpoint truly lost the margin, and the one that looks best passes; `None` where the
    /// base has less to lose.
    pub passes_at_margin: Option<f64>,
    /// A loss from the first look on.
    pub found: Vec<FoundInRun>,
}

/// How often a loss of the pooled mean, the same share of every suite being lost, is a regression.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FoundInRun {
    /// The loss of the pooled mean.
    pub loss: f64,
    /// At the first look.
    pub at_one_look: f64,
    /// At any look, or at the end.
    pub in_the_run: f64,
}

/// Standard error of a share of so many comparisons.
///
/// ```
/// assert!((qeval::flow::share_error(0.05, 10_000) - 0.00218).abs() < 1e-5);
/// ```
pub fn share_error(share: f64, comparisons: u64) -> f64 {
    (share * (1.0 - share) / comparisons.max(1) as f64).sqrt()
}

/// Made-up suites whose error rates are measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GridCell {
    /// Probes of all suites together.
    pub probes: usize,
    /// Mean score of the base, in [0, 1].
    pub rate: f64,
    /// Correlation of two answers to one probe, in [0, 1].
    pub correlation: f64,
    /// Looks: 1 is one gate, more are so many checkpoints and the gate of the chosen one.
    pub looks: usize,
    /// Share of probes that base or candidate has no score for.
    pub unscored: f64,
}

/// Error rates and power in one cell.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GridRates {
    /// Chance that two answers to one probe differ.
    pub flips: f64,
    /// A harmless candidate is a regression at any look or at the end.
    pub false_alarms: f64,
    /// A harmless candidate passes at the end.
    pub passes: f64,
    /// Every checkpoint truly lost the margin, and the one that looks best passes.
    pub passes_at_margin: f64,
    /// A true loss of 0.05 is a regression at the first look, and at any; `None` where it was not
    /// tried.
    pub found_5: Option<[f64; 2]>,
    /// The same of 0.10.
    pub found_10: Option<[f64; 2]>,
}

/// The error rates of made-up suites.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Grid {
    /// Comparisons a cell.
    pub comparisons: u64,
    /// What drew them.
    pub seed: u64,
    /// Highest chance of each error.
    pub claimed: f64,
    /// Every cell with what was measured there.
    pub cells: Vec<(GridCell, GridRates)>,
}
