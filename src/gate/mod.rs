//! Paired scores -> verdict: pure functions, no I/O.
//!
//! [`decide()`] compares a candidate with the base, [`preview()`] says beforehand what the probes can
//! prove, and [`select_best`] picks a checkpoint. The unit of statistics is the probe. The rule and
//! its error budget are in `rule`, one method a file beside it; `fixtures/reference/verdict_ref.py`
//! makes the numbers that the tests expect.
//!
//! # Examples
//! A candidate that lost 9 of 100 probes and gained 1, before any suite is written:
//! ```
//! use qeval::gate::{lower_end, mcnemar, probes_to_pass, sign_flip};
//!
//! let mut differences = vec![0.0; 100];
//! differences[..9].fill(-1.0);
//! differences[9] = 1.0;
//! assert_eq!(sign_flip(&differences), mcnemar(9, 1));
//! assert!(mcnemar(9, 1) < 0.02, "a loss is proven");
//! assert!(lower_end(&differences, 0.05) < -0.14, "and may be as large as 14 points");
//! assert_eq!(probes_to_pass(0.03, 0.05, 0), Some(99), "what a margin of 0.03 asks for");
//! ```

mod cluster;
mod comparison;
mod critical;
mod decide;
mod early;
mod error;
mod estimate;
mod holm;
mod interval;
mod mcnemar;
mod measured;
mod paired;
mod permutation;
mod power;
mod preview;
mod reduce;
mod rule;
mod rules;
mod select;
mod sequence;
mod signs;
mod simulate;
mod spread;
#[cfg(test)]
mod testing;
mod wording;

pub use critical::{ENOUGH_DRAWS, critical_to_ask};
pub use decide::{decide, decide_with_signs};
pub use early::{EarlyStop, LEAST_PROBES, LOOKS, LookPart};
pub use error::GateError;
pub use holm::{Tested, Weighted, weighted_holm};
pub use interval::{lower_end, p_not_worse, upper_end};
pub use mcnemar::mcnemar;
pub use permutation::sign_flip;
pub use power::{
    critical_bound, critical_drop, probes_to_pass, smallest_detectable_loss, smallest_margin,
};
pub use preview::preview;
pub use rules::Rules;
pub use select::{USUAL_SCALES, select_best, select_leading};
pub use sequence::Look;
pub use signs::SignScores;
pub use simulate::{
    Answers, Counts, SimulationSettings, SuiteModel, SuitePart, Together, Truth, World, grid,
    grid_rates, simulate,
};
