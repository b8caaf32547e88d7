//! How far the base's own answers and scores move when only the random draws change.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ProbeId, Sign, SignNoise};

/// What the base's second answers say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NoiseFloor {
    /// By suite.
    pub suites: BTreeMap<String, SuiteNoise>,
    /// By probe.
    pub probes: BTreeMap<ProbeId, ProbeNoise>,
    /// By sign.
    pub signs: BTreeMap<Sign, SignNoise>,
}

/// How far one suite's scores of the base move.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SuiteNoise {
    /// Mean absolute difference of a probe's score, in [0, 1].
    pub mean_change: f64,
    /// Difference of the suite's mean score.
    pub difference: f64,
    /// Probes that were answered twice.
    pub probes: usize,
    /// Of these, probes that scored lower the second time: what chance alone takes. 0 in records of
    /// versions that did not count.
    #[serde(default)]
    pub losses: usize,
    /// Probes that scored higher the second time.
    #[serde(default)]
    pub gains: usize,
}

/// How far the base's answer to one probe moves.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ProbeNoise {
    /// Largest absolute change of the score of a wording, in [0, 1].
    pub score: f64,
    /// Largest share of words that changed between two answers to one wording, in [0, 1].
    pub text: f64,
}
