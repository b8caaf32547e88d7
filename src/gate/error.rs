//! What the gate refuses before anything is asked.

use thiserror::Error;

/// A rule that can never be met, or a value outside its range.
///
/// ```
/// use qeval::gate::Rules;
///
/// let rules = Rules { confidence: 95.0, ..Rules::default() };
/// assert_eq!(
///     rules.problems()[0].to_string(),
///     "[gate] confidence = 95: the confidence is at least 0.5 and below 1\n  \
///      Way out: leave the key out for its default, 0.95.",
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Error)]
pub enum GateError {
    /// So few probes cannot exclude a loss of the margin, even when nothing changes.
    #[error(
        "{place}: a margin of {margin} can never pass with {probes}\n  \
         Even when not one score changes, they exclude a loss of {smallest:.3} at best{level}, \
         and a margin has to be at least that.\n  \
         Way out: {needed} in all, or a margin of {enough:.3} or more."
    )]
    MarginOutOfReach {
        /// Where the margin is written: `[gate] margin` or a suite.
        place: String,
        /// The margin.
        margin: f64,
        /// How many probes there are, in words.
        probes: String,
        /// The smallest loss that they can exclude.
        smallest: f64,
        /// The error rate when it is not the usual one, in words, with a leading blank.
        level: String,
        /// How many probes would do, in words.
        needed: String,
        /// `smallest`, rounded up.
        enough: f64,
    },
    /// A value outside its range.
    #[error(
        "[gate] {key} = {value}: {rule}\n  Way out: leave the key out for its default, {default}."
    )]
    OutOfRange {
        /// The key.
        key: &'static str,
        /// What it is set to.
        value: f64,
        /// What it has to be.
        rule: &'static str,
        /// Its default.
        default: f64,
    },
    /// A simulation of more or less than is worth its time.
    #[error(
        "a simulation of {value} {key}: it is from {least} to {most}\n  \
         Way out: leave it out for its default, {default}."
    )]
    SimulationRange {
        /// What was asked for.
        key: &'static str,
        /// How much of it.
        value: u64,
        /// The least that is simulated.
        least: u64,
        /// The most.
        most: u64,
        /// Its default.
        default: u64,
    },
}
