//! Looks before the end: a candidate that is decided after a part of the probes is not asked the rest.
//!
//! Probes come in an order that is drawn before anything is asked, each suite in the same shares, so
//! that a look sees a fair sample of all; "the telling ones first" would bias the mean. The looks
//! divide both error rates, that of a false alarm and that of a wrong pass (Pocock 1977's idea with
//! parts that grow), so whatever look ends it, the rates of the whole stay.

use serde::{Deserialize, Serialize};

/// One look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Part {
    /// The share of each suite's probes that have been asked by then, in (0, 1].
    pub asked: f64,
    /// The part of both error rates that it may spend, in (0, 1].
    pub spent: f64,
}

impl Part {
    /// Everything at once.
    pub const WHOLE: Part = Part {
        asked: 1.0,
        spent: 1.0,
    };
}

impl Default for Part {
    fn default() -> Self {
        Part::WHOLE
    }
}

/// The looks at a candidate that may be decided early; their parts add up to 1.
pub const LOOKS: [Part; 3] = [
    Part {
        asked: 0.25,
        spent: 0.2,
    },
    Part {
        asked: 0.5,
        spent: 0.3,
    },
    Part {
        asked: 1.0,
        spent: 0.5,
    },
];

/// `keep` probes below which there is one look: a quarter of fewer decides nothing.
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
        let spent: f64 = LOOKS.iter().map(|part| part.spent).sum();
        assert!((spent - 1.0).abs() < 1e-12);
        assert_eq!(LOOKS[2].asked, 1.0);
        let rules = Rules::default();
        let at = |part| Rules {
            part,
            ..rules.clone()
        };
        let passes: f64 = LOOKS.iter().map(|&part| at(part).pass_level()).sum();
        assert!((passes - rules.pass_level()).abs() < 1e-12);
        assert_eq!(
            at(LOOKS[0]).budget(),
            rules.budget(),
            "of critical probes too"
        );
        assert!((at(LOOKS[0]).score_budget() - 0.2 * rules.score_budget()).abs() < 1e-12);
    }
}
