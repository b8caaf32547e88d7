//! What base and candidate said to one probe, side by side: what a snapshot shows, and what a
//! test of the probe asserts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Drift, ProbeId, Score, Verdict};

/// A whole comparison as it is stored: one candidate against the base.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateRecord {
    /// Version of this layout, [`GateRecord::VERSION`].
    pub version: u32,
    /// Name of the base, with its digest cut short.
    pub base: String,
    /// Name of the candidate, with its digest cut short and its scale.
    pub candidate: String,
    /// The verdict over all probes.
    pub verdict: Verdict,
    /// Signs beside the verdict.
    pub causes: Vec<String>,
    /// Every probe that was asked, in the order of suites.
    pub probes: Vec<ProbeComparison>,
    /// By suite: how much the base differs from itself.
    pub noise: BTreeMap<String, SuiteNoise>,
}

impl GateRecord {
    /// The layout that this version writes and reads.
    pub const VERSION: u32 = 1;
}

/// How far one suite's scores of the base move when only the random draws change.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SuiteNoise {
    /// Mean absolute difference of a probe's score, in [0, 1].
    pub mean_change: f64,
    /// Difference of the suite's mean score.
    pub difference: f64,
    /// Probes that were answered twice.
    pub probes: usize,
}

/// One probe, answered by both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeComparison {
    /// Which.
    pub id: ProbeId,
    /// It can be a regression on its own.
    pub critical: bool,
    /// Digest of its prompts, checks, and generation.
    pub digest: String,
    /// One a wording.
    pub cases: Vec<CaseComparison>,
    /// How far the base differs from itself here, when that was measured.
    pub noise: Option<ProbeNoise>,
}

/// How far the base's answer to one probe moves when only the random draws change.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ProbeNoise {
    /// Largest absolute change of the score of a wording, in [0, 1].
    pub score: f64,
    /// Largest share of words that changed between two answers to one wording, in [0, 1].
    pub text: f64,
}

/// One wording, answered by both. Answers are those of the first sample, greedy where the probe
/// is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaseComparison {
    /// The prompt.
    pub prompt: String,
    /// The base's answer; `None` where only likelihoods were measured.
    pub base: Option<String>,
    /// The candidate's answer.
    pub candidate: Option<String>,
    /// One a check, in the order of the suite.
    pub checks: Vec<CheckComparison>,
    /// How the candidate's answer differs from the accepted one, when it does.
    pub drift: Option<Drift>,
}

/// One check's scores of both answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckComparison {
    /// As written in the suite, `not-` included.
    pub kind: String,
    /// Of the base's answer.
    pub base: Score,
    /// Of the candidate's answer.
    pub candidate: Score,
}

impl CaseComparison {
    /// The base's score: the lowest of its checks.
    pub fn base_score(&self) -> Score {
        Score::lowest(self.checks.iter().map(|c| &c.base))
    }

    /// The candidate's score.
    pub fn candidate_score(&self) -> Score {
        Score::lowest(self.checks.iter().map(|c| &c.candidate))
    }
}

/// What a probe came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProbeState {
    /// The candidate scores what the base does.
    Kept,
    /// The candidate scores less.
    Lost,
    /// The candidate scores more.
    Gained,
    /// One of the two could not be judged.
    Unscored,
}

impl std::fmt::Display for ProbeState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            ProbeState::Kept => "kept",
            ProbeState::Lost => "lost",
            ProbeState::Gained => "gained",
            ProbeState::Unscored => "unscored",
        })
    }
}

/// Change of a probe's mean score below which it is the same: graded scores move a little with
/// every weight.
pub const SAME_SCORE: f64 = 0.05;

impl ProbeComparison {
    /// Mean scores of base and candidate over the wordings that both were scored on.
    pub fn means(&self) -> Option<(f64, f64)> {
        let pairs: Vec<(f64, f64)> = self
            .cases
            .iter()
            .filter_map(|c| Some((c.base_score().value()?, c.candidate_score().value()?)))
            .collect();
        let count = pairs.len() as f64;
        (count > 0.0).then(|| {
            (
                pairs.iter().map(|p| p.0).sum::<f64>() / count,
                pairs.iter().map(|p| p.1).sum::<f64>() / count,
            )
        })
    }

    /// What it came to.
    pub fn state(&self) -> ProbeState {
        match self.means() {
            None => ProbeState::Unscored,
            Some((base, candidate)) if candidate < base - SAME_SCORE => ProbeState::Lost,
            Some((base, candidate)) if candidate > base + SAME_SCORE => ProbeState::Gained,
            Some(_) => ProbeState::Kept,
        }
    }
}
