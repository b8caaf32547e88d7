//! How the differences of a set of probes belong together.

use serde::{Deserialize, Serialize};

/// Which differences (candidate minus base) of a suite move together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Those of one probe's answers: its wordings and samples. `None` where no probe has two, or
    /// nothing changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<Alike>,
    /// Those of probes with one tag in common. `None` where tags make no two groups, or nothing
    /// changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Alike>,
}

/// How alike the members of a group are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Alike {
    /// Intraclass correlation, at most 1.
    pub correlation: f64,
    /// How much larger the variance of the mean is than that of as many independent values; at
    /// least 1.
    pub design_effect: f64,
    /// Values: answers or probes.
    pub values: usize,
    /// How many independent ones they are worth.
    pub effective: f64,
    /// The correlation is more than chance makes of independent values: the F ratio of groups to
    /// members is three standard deviations above 1.
    pub clear: bool,
}
