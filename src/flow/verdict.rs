//! The verdict of a comparison, with the numbers and reasons behind it.
//!
//! Scores are in [0, 1], differences are candidate minus base in [-1, 1], and a loss is a
//! difference with its sign turned. Numbers that may not exist are `None`, never NaN, because
//! verdicts are stored as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Answer, CaseId, Goal, ProbeId, Score, SignVerdict, Spread};
use crate::text::plural;

/// Everything that one subject was scored on, by case and sample.
pub type ScoreTable = BTreeMap<(CaseId, usize), Score>;

/// The first of the further draws of a critical probe: places of samples from here on were asked
/// because the first draws dropped. They are counted for that probe alone and enter no mean: draws
/// that are asked for when a candidate did badly would flatter it.
pub const FIRST_FURTHER: usize = 1 << 20;

/// Everything that one subject said, by case and sample. Cases that only measure likelihoods have
/// no entry.
pub type AnswerTable = BTreeMap<(CaseId, usize), Answer>;

/// What a comparison comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// A loss as large as the margin is excluded.
    Pass,
    /// A loss is proven and large enough to matter.
    Regression,
    /// Neither; the reasons name what is not excluded and what would decide it.
    Inconclusive,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Decision::Pass => "pass",
            Decision::Regression => "regression",
            Decision::Inconclusive => "inconclusive",
        })
    }
}

/// What one suite comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SuiteState {
    /// `keep`: a loss as large as the margin is excluded.
    Pass,
    /// `keep`: a loss is proven and at least half the margin.
    Regression,
    /// `keep`: neither.
    Inconclusive,
    /// `learn`: the candidate's mean is at least the target.
    Reached,
    /// `learn`: it is not.
    Missed,
    /// Too many scores are missing.
    NotMeasured,
}

impl fmt::Display for SuiteState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            SuiteState::Pass => "pass",
            SuiteState::Regression => "regression",
            SuiteState::Inconclusive => "inconclusive",
            SuiteState::Reached => "reached",
            SuiteState::Missed => "not reached",
            SuiteState::NotMeasured => "could not measure",
        })
    }
}

/// The paired difference of a set of probes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Mean score of the base over the paired probes.
    pub base_mean: f64,
    /// Mean score of the candidate over the same probes.
    pub candidate_mean: f64,
    /// Mean of candidate minus base by probe.
    pub difference: f64,
    /// Lower end of the difference, one-sided at `confidence`. Probes that only the candidate left
    /// unscored count as lost here, so a pass cannot hide behind them.
    pub lower: f64,
    /// Upper end of the difference, one-sided at `confidence`.
    pub upper: f64,
    /// Confidence of each end by itself, such as 0.95.
    pub confidence: f64,
    /// Probes in the means.
    pub probes: usize,
    /// Probes on which the candidate scored lower.
    pub losses: usize,
    /// Probes on which the candidate scored higher.
    pub gains: usize,
    /// Probes left out of the means because base or candidate has no score.
    pub unscored: usize,
}

/// What one suite, or all `keep` suites pooled, came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SuiteVerdict {
    /// Name of the suite; `pooled` for all `keep` suites together.
    pub suite: String,
    /// Keep or learn.
    pub goal: Goal,
    /// What it came to.
    pub state: SuiteState,
    /// The numbers. `None` when no probe was scored by both.
    pub estimate: Option<Estimate>,
    /// `keep`: largest tolerated loss of the mean.
    pub margin: Option<f64>,
    /// `learn`: mean that the candidate has to reach.
    pub target: Option<f64>,
    /// `keep`: p-value of the loss, by the exact sign-flip test (McNemar's for pass and fail).
    pub p_loss: Option<f64>,
    /// `keep`: the smallest loss that this many probes can exclude, reached when no score changed.
    pub smallest_provable_loss: Option<f64>,
    /// Sentence fragments that explain the state.
    pub reasons: Vec<String>,
    /// Which differences move together. `None` where it cannot be told, and in records of versions
    /// that did not ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<Spread>,
}

/// Draws of one critical probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CriticalProbe {
    /// Which.
    pub probe: ProbeId,
    /// Draws that the base passed (a score of at least one half).
    pub base_passes: usize,
    /// Draws that the candidate passed.
    pub candidate_passes: usize,
    /// Draws that both have a score for.
    pub draws: usize,
    /// The drop that makes it a regression; `None` when this number of draws can never prove one.
    pub needed_drop: Option<usize>,
    /// The drop was reached.
    pub regression: bool,
    /// Further draws of base and candidate are worth their time, and were not asked yet.
    pub ask_more: bool,
}

impl CriticalProbe {
    /// Whether the base passed every draw and the candidate none. So few draws may prove nothing,
    /// but a candidate that answers wrongly what must not be lost is no pass either.
    pub fn is_lost(&self) -> bool {
        self.draws > 0 && self.base_passes == self.draws && self.candidate_passes == 0
    }
}

/// The candidate's standing on all `learn` suites together; checkpoint selection maximises `mean`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LearnScore {
    /// Mean over probes of the candidate.
    pub mean: f64,
    /// Mean over probes of the base; `None` when it has no score on any of them.
    pub base_mean: Option<f64>,
    /// Probes in the candidate's mean.
    pub probes: usize,
    /// Every `learn` suite reached its target.
    pub reached: bool,
}

/// What it means that a `learn` suite misses its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LearnRule {
    /// The candidate does not ship. The default.
    #[default]
    Require,
    /// It is said, and the candidate ships all the same.
    Warn,
}

impl LearnRule {
    /// The words of `[gate] learn`.
    pub const WORDS: [(&'static str, LearnRule); 2] =
        [("require", LearnRule::Require), ("warn", LearnRule::Warn)];

    /// Whether it is the default, which no record names: versions that had no rule wrote none.
    pub fn is_usual(&self) -> bool {
        *self == LearnRule::default()
    }
}

/// What a comparison of a candidate with the base came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Over the `keep` suites and critical probes; `learn` suites have no part in it: see
    /// [`Verdict::missed`].
    pub decision: Decision,
    /// The decision in one sentence for people.
    pub sentence: String,
    /// All `keep` suites that could be measured, every probe with the same weight.
    pub pooled: SuiteVerdict,
    /// One entry a suite, in the order given.
    pub suites: Vec<SuiteVerdict>,
    /// One entry a critical probe.
    pub critical: Vec<CriticalProbe>,
    /// One entry a sign that an answer of either shows; none in records of versions that looked for
    /// none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signs: Vec<SignVerdict>,
    /// `None` without a measured `learn` suite.
    pub learn: Option<LearnScore>,
    /// What a missed target means. Default: [`LearnRule::Require`].
    #[serde(default, skip_serializing_if = "LearnRule::is_usual")]
    pub learn_rule: LearnRule,
    /// Where it ended, when it was decided before everything was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early: Option<EarlyEnd>,
    /// Why the decision is what it is.
    pub reasons: Vec<String>,
    /// What a reader should know beside it: small proven losses, warnings, scores left out.
    pub notes: Vec<String>,
    /// Suites whose scores are missing too often, with the reason. When it is not empty, the
    /// comparison is incomplete: report "could not measure" unless the decision is a regression.
    pub could_not_measure: Vec<String>,
}

/// Where a verdict ended that was decided before everything was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlyEnd {
    /// Probes that were asked.
    pub asked: usize,
    /// Probes that there are.
    pub probes: usize,
    /// Tokens that the rest would have taken, at the length of the answers so far.
    pub tokens_saved: usize,
}

impl SuiteVerdict {
    /// Name of the row of all `keep` suites together.
    pub const POOLED: &str = "pooled";

    /// Whether this is the row of all `keep` suites together.
    pub fn is_pooled(&self) -> bool {
        self.suite == Self::POOLED
    }

    /// `` `identity`: 0.35 is below the target of 0.70 ``: the suite with its reasons.
    pub fn explained(&self) -> String {
        format!("`{}`: {}", self.suite, self.reasons.join("; "))
    }
}

/// Stands in every note about probes that have no part in the means.
const WITH_UNSCORED: &str = "with unscored draws, left out of the means";

impl Verdict {
    /// The note that so many probes of a suite have no part in the means, and why.
    pub fn note_of_unscored(suite: &str, probes: usize, why: &str) -> String {
        let probes = plural(probes, "probe");
        format!("`{suite}`: {probes} {WITH_UNSCORED}: {why}")
    }

    /// Whether a note is one of [`Verdict::note_of_unscored`]; of stored verdicts too.
    pub fn is_of_unscored(note: &str) -> bool {
        note.contains(WITH_UNSCORED)
    }

    /// Whether this checkpoint may be kept: the pooled `keep` verdict passes, nothing is a
    /// regression, no critical probe is lost, and every `keep` suite could be measured. One small
    /// suite may stay inconclusive.
    pub fn may_keep(&self) -> bool {
        self.decision != Decision::Regression
            && self.pooled.state == SuiteState::Pass
            && !self.critical.iter().any(CriticalProbe::is_lost)
            && self
                .suites
                .iter()
                .filter(|s| s.goal == Goal::Keep)
                .all(|s| !matches!(s.state, SuiteState::Regression | SuiteState::NotMeasured))
    }

    /// The `learn` suites that missed a target that is required. None with [`LearnRule::Warn`].
    pub fn missed(&self) -> impl Iterator<Item = &SuiteVerdict> {
        let required = self.learn_rule == LearnRule::Require;
        self.suites
            .iter()
            .filter(move |s| required && s.state == SuiteState::Missed)
    }

    /// Whether no required target was missed; true without `learn` suites.
    pub fn learned_enough(&self) -> bool {
        self.missed().next().is_none()
    }

    /// Whether this checkpoint may ship: it may be kept, and learned enough.
    pub fn may_ship(&self) -> bool {
        self.may_keep() && self.learned_enough()
    }

    /// The verdict in a word or three: the decision, unless all that is wrong, or what is wrong for
    /// certain, is that too little was learned.
    pub fn headline(&self) -> &'static str {
        match self.decision {
            Decision::Regression => "regression",
            _ if !self.learned_enough() => "learned too little",
            Decision::Pass => "pass",
            Decision::Inconclusive => "inconclusive",
        }
    }
}

/// What the probes of a set of suites can prove, known before anything is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preview {
    /// All `keep` suites together; `None` without a `keep` suite.
    pub pooled: Option<PreviewLine>,
    /// One line a `keep` suite.
    pub suites: Vec<PreviewLine>,
    /// What a reader should know, one sentence each.
    pub notes: Vec<String>,
}

/// What a number of probes can prove.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PreviewLine {
    /// Name of the suite, or `pooled`.
    pub suite: String,
    /// How many probes.
    pub probes: usize,
    /// Largest tolerated loss.
    pub margin: f64,
    /// The smallest loss that can be excluded, reached when no score changed.
    pub smallest_provable_loss: f64,
    /// Minimum detectable effect: the smallest loss that can be proven, reached when scores only
    /// fall from 1 to 0. `None` when so few probes can prove nothing.
    pub smallest_detectable_loss: Option<f64>,
}
