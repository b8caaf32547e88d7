//! Looks before the end: a candidate that is decided after a part of the probes is not asked the rest.
//!
//! Probes come in an order that is drawn before anything is asked, each suite in the same shares, so
//! that a look sees a fair sample of all; "the telling ones first" would bias the mean. The looks
//! divide both error rates, that of a false alarm and that of a wrong pass (Bonferroni), so whatever
//! look ends it, the rates of the whole stay.
//!
//! Which looks and which parts was measured by `fixtures/reference/early_stops.py` on 20 suites of 926
//! probes. Betting e-processes and confidence sequences stop a clear harm sooner and an unchanged
//! candidate much sooner, but let a harmless one with 5 percent of flips pass in 80 of 100 gates where
//! these looks let 96 pass. A pass before half of the probes only costs passes later.

use serde::{Deserialize, Serialize};

/// One look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LookPart {
    /// The share of each suite's probes that have been asked by then, in (0, 1].
    pub asked: f64,
    /// The part of the false alarms that it may spend, in (0, 1].
    pub loss: f64,
    /// The part of the wrong passes that it may spend, in [0, 1].
    pub pass: f64,
}

impl LookPart {
    /// Everything at once.
    pub const WHOLE: LookPart = LookPart::of(1.0, 1.0, 1.0);

    const fn of(asked: f64, loss: f64, pass: f64) -> LookPart {
        LookPart { asked, loss, pass }
    }
}

impl Default for LookPart {
    fn default() -> Self {
        LookPart::WHOLE
    }
}

/// The looks at a candidate that may be decided early; their parts add up to 1.
pub const LOOKS: [LookPart; 4] = [
    LookPart::of(0.1, 0.1, 0.0),
    LookPart::of(0.25, 0.1, 0.0),
    LookPart::of(0.5, 0.2, 0.2),
    LookPart::of(1.0, 0.6, 0.8),
];

/// `keep` probes below which there is one look: a tenth of fewer decides nothing.
pub const LEAST_PROBES: usize = 200;

/// Which candidates may be decided early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EarlyStop {
    /// None: everybody is asked everything.
    #[default]
    Never,
    /// Checkpoints while a run trains. The final gate asks everything.
    Training,
}

impl EarlyStop {
    /// The words of `[gate] early_stop`.
    pub const WORDS: [(&'static str, EarlyStop); 2] = [
        ("never", EarlyStop::Never),
        ("training", EarlyStop::Training),
    ];

    /// Whether it is what records of versions that had no such setting were judged by.
    pub fn is_never(&self) -> bool {
        *self == EarlyStop::Never
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Rules;

    #[test]
    fn looks_spend_both_error_rates_once() {
        let rules = Rules::default();
        let at = |part| Rules {
            part,
            ..rules.clone()
        };
        let sum = |of: &dyn Fn(&Rules) -> f64| LOOKS.iter().map(|&p| of(&at(p))).sum::<f64>();
        assert!((sum(&Rules::pass_level) - rules.pass_level()).abs() < 1e-12);
        assert!((sum(&Rules::score_budget) - rules.score_budget()).abs() < 1e-12);
        assert_eq!(LOOKS[3].asked, 1.0);
        let first = at(LOOKS[0]);
        assert_eq!(
            first.budget(),
            rules.budget(),
            "critical probes are asked once"
        );
        assert_eq!(first.pass_level(), 0.0, "nothing passes by a tenth");
        assert_eq!(first.interval_level(), rules.pass_level());
    }
}
