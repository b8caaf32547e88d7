//! Several checkpoints of one run, one error rate.
//!
//! Half of the run's false-alarm budget is kept for the final gate. The other half is shared equally
//! by the planned checkpoints; when their number is unknown, blocks of 20 checkpoints each take half
//! of what is left. Shares lose little power here against a confidence sequence and need no order of
//! the probes.

use serde::{Deserialize, Serialize};

const BLOCK: usize = 20;

/// Which look at the candidate this is; it decides how much false-alarm budget may be spent.
///
/// ```
/// use qeval::gate::Look;
///
/// // Four planned checkpoints share half of the budget; the final gate has the other half.
/// let checkpoint = Look::Checkpoint { index: 2, planned: Some(4) };
/// assert_eq!(checkpoint.budget(0.05), 0.00625);
/// assert_eq!(Look::Final.budget(0.05), 0.025);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Look {
    /// A comparison by itself: the whole budget. The default.
    #[default]
    Single,
    /// One of the checkpoints of a training run.
    Checkpoint {
        /// Counted from 1.
        index: usize,
        /// How many there will be; `None` when unknown.
        planned: Option<usize>,
    },
    /// The gate of a finished run, after its checkpoints were looked at.
    Final,
}

impl Look {
    /// The part of a run's false-alarm budget that this look may spend. A checkpoint beyond the
    /// planned number has nothing left.
    pub fn budget(self, whole: f64) -> f64 {
        let half = whole / 2.0;
        match self {
            Look::Single => whole,
            Look::Final => half,
            Look::Checkpoint {
                index,
                planned: Some(planned),
            } => {
                if index <= planned {
                    half / planned.max(1) as f64
                } else {
                    0.0
                }
            }
            Look::Checkpoint {
                index,
                planned: None,
            } => {
                let block = index.saturating_sub(1) / BLOCK;
                half * 0.5f64.powi(block.min(1000) as i32 + 1) / BLOCK as f64
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(index: usize, planned: Option<usize>) -> Look {
        Look::Checkpoint { index, planned }
    }

    // look_alpha(0.05, look, planned) of fixtures/reference/verdict_ref.py.
    #[test]
    fn matches_the_reference() {
        for (look, expected) in [
            (checkpoint(1, Some(4)), 0.00625),
            (checkpoint(4, Some(4)), 0.00625),
            (checkpoint(5, Some(4)), 0.0),
            (checkpoint(1, None), 0.000625),
            (checkpoint(20, None), 0.000625),
            (checkpoint(21, None), 0.0003125),
            (Look::Final, 0.025),
            (Look::Single, 0.05),
        ] {
            assert!((look.budget(0.05) - expected).abs() < 1e-15, "{look:?}");
        }
    }

    #[test]
    fn a_run_never_spends_more_than_its_budget() {
        for planned in [1, 3, 20, 77] {
            let spent: f64 = (1..=2 * planned)
                .map(|i| checkpoint(i, Some(planned)).budget(0.05))
                .sum();
            assert!(spent + Look::Final.budget(0.05) <= 0.05 + 1e-12);
        }
        let spent: f64 = (1..=5000).map(|i| checkpoint(i, None).budget(0.05)).sum();
        assert!(spent <= 0.025 + 1e-12 && spent > 0.0249);
    }
}
