//! What a test of the suites themselves found.

use serde::{Deserialize, Serialize};

use super::{Calibration, Goal, ProbeId};

/// Everything that `qeval suite check` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SuiteAudit {
    /// One a suite, in their order.
    pub suites: Vec<SuiteLine>,
    /// One a kind of check that has golden answers, in the order of the documentation.
    pub kinds: Vec<KindLine>,
    /// Golden answers that are judged otherwise than expected.
    pub misjudged: Vec<Misjudged>,
    /// Everything else to look at.
    pub findings: Vec<Finding>,
    /// What a judge was found to be, where one was asked.
    pub judge: Option<Calibration>,
}

impl SuiteAudit {
    /// Nothing that makes a verdict wrong was found.
    pub fn is_clean(&self) -> bool {
        self.misjudged.is_empty() && self.findings.iter().all(|f| !f.kind.is_serious())
    }
}

/// What one suite has, and what it can show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SuiteLine {
    /// Its name.
    pub suite: String,
    /// Keep or learn.
    pub goal: Goal,
    /// Its probes.
    pub probes: usize,
    /// Prompts of all its probes.
    pub prompts: usize,
    /// Probes judged by likelihoods alone.
    pub likelihoods: usize,
    /// Golden answers.
    pub goldens: usize,
    /// Share of wrong answers that fail, in [0, 1]; `None` where no probe judges by text alone.
    pub wrong_caught: Option<f64>,
    /// The smallest loss that it can exclude, reached when no answer changes.
    pub smallest_provable_loss: f64,
    /// What the base says, when it was asked.
    pub base: Option<BaseLine>,
}

/// How the base does on a suite.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BaseLine {
    /// Mean score over the probes that it was scored on.
    pub mean: f64,
    /// Probes that it was scored on.
    pub scored: usize,
    /// Probes that it always fails: these can show no loss.
    pub always_failed: usize,
    /// Probes that it can lose: neither always failed nor passed by any answer.
    pub can_lose: usize,
}

/// Golden answers of one kind of check, counted over the probes that have this check alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KindLine {
    /// The kind, `not-` left out.
    pub kind: String,
    /// Expected to pass.
    pub pass: usize,
    /// Expected to fail.
    pub fail: usize,
    /// Expected to stay unscored.
    pub unscored: usize,
    /// Judged to pass, and expected to.
    pub true_passes: usize,
    /// Judged to pass, all of them.
    pub judged_passes: usize,
    /// Could not be judged, though a verdict was expected.
    pub not_judged: usize,
}

impl KindLine {
    /// Share of the answers judged to pass that should; `None` when none was: a check that passes
    /// nothing is neither right nor wrong about it.
    pub fn precision(&self) -> Option<f64> {
        share(self.true_passes, self.judged_passes)
    }

    /// Share of the answers that should pass which do; `None` when none should.
    pub fn recall(&self) -> Option<f64> {
        share(self.true_passes, self.pass)
    }
}

/// `part` of `whole`; nothing has no share.
fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// A golden answer that its checks judge otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Misjudged {
    /// Whose.
    pub probe: ProbeId,
    /// The answer.
    pub answer: String,
    /// What is expected: pass, fail, or unscored.
    pub expected: String,
    /// What the checks say, and why.
    pub says: String,
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// A probe stands in the training data.
    Leak,
    /// A probe means nearly what a row of the training data asks.
    NearLeak,
    /// Two probes ask the same.
    Duplicate,
    /// No answer fails.
    Unfailing,
    /// An echo of the prompt passes.
    Echo,
    /// The base always fails.
    AlwaysFailed,
}

impl FindingKind {
    /// It makes a verdict say something else than it should.
    pub fn is_serious(self) -> bool {
        matches!(
            self,
            FindingKind::Leak | FindingKind::Duplicate | FindingKind::Unfailing
        )
    }

    /// What it means for a verdict.
    pub fn meaning(self) -> &'static str {
        match self {
            FindingKind::Leak => {
                "in the training data: a gain there shows nothing, and counts as none"
            }
            FindingKind::NearLeak => "near the training data in meaning: worth a look",
            FindingKind::Duplicate => {
                "asked twice: it counts twice, and the interval is too narrow"
            }
            FindingKind::Unfailing => "no answer fails: it can show no loss",
            FindingKind::Echo => "an echo of the prompt passes",
            FindingKind::AlwaysFailed => "the base always fails: it can show no loss",
        }
    }
}

/// One thing to look at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is about.
    pub kind: FindingKind,
    /// Which probe.
    pub probe: ProbeId,
    /// What was seen.
    pub detail: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(pass: usize, judged_passes: usize, true_passes: usize) -> KindLine {
        KindLine {
            kind: "refusal".into(),
            pass,
            fail: 3,
            unscored: 0,
            true_passes,
            judged_passes,
            not_judged: 0,
        }
    }

    /// 0.000 would look like a check that misses everything, 1.000 like one that was tested.
    #[test]
    fn what_was_not_there_to_measure_has_no_share() {
        let shares = |line: KindLine| (line.precision(), line.recall());
        assert_eq!(shares(line(4, 3, 2)), (Some(2.0 / 3.0), Some(0.5)));
        assert_eq!(
            shares(line(0, 0, 0)),
            (None, None),
            "only failing answers, all caught"
        );
        assert_eq!(
            shares(line(0, 2, 0)),
            (Some(0.0), None),
            "only failing ones, two missed"
        );
        assert_eq!(shares(line(4, 0, 0)), (None, Some(0.0)), "nothing passes");
    }
}
