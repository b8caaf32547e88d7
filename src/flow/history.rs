//! Verdicts of the past, as much of each as a table and a line need.

use serde::{Deserialize, Serialize};

use crate::digest::Parts;

use super::{
    Candidate, Commit, Comparison, Decision, Estimate, Goal, SuiteState, SuiteVerdict, Verdict,
};

/// A verdict of the past.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PastVerdict {
    /// When, in milliseconds since 1970-01-01 UTC.
    pub unix_ms: u64,
    /// The version of qeval that judged; empty where that is not known.
    pub qeval: String,
    /// `gate`, `train`, or `watch`.
    pub command: String,
    /// At which commit of the project, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<Commit>,
    /// Who was judged: `run-0001/ckpt-40`.
    pub subject: String,
    /// The base model.
    pub base: String,
    /// Digest of what was asked for, by which one judgement is known again.
    pub order: String,
    /// What it came to.
    pub decision: Decision,
    /// No required target was missed.
    pub learned_enough: bool,
    /// Every suite could be measured.
    pub measured: bool,
    /// The verdict in a sentence.
    pub sentence: String,
    /// All `keep` suites together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<PastKeep>,
    /// The mean over all `learn` suites.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learn: Option<f64>,
    /// Each suite.
    pub suites: Vec<PastSuite>,
    /// The revision that was asked and judged by, where that was not the working tree, with its
    /// commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exam: Option<(String, String)>,
}

/// A paired difference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PastKeep {
    /// Candidate minus base.
    pub difference: f64,
    /// Its lower end.
    pub lower: f64,
    /// Its upper end.
    pub upper: f64,
    /// Probes.
    pub probes: usize,
}

/// A suite of a verdict of the past.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PastSuite {
    /// Its name.
    pub suite: String,
    /// Keep or learn.
    pub goal: Goal,
    /// What it came to.
    pub state: SuiteState,
    /// Digest of the probes that were asked. Numbers of another one are of other questions.
    pub asked: String,
    /// `keep`: the difference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<PastKeep>,
    /// `learn`: the candidate's mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learn: Option<f64>,
}

impl PastKeep {
    fn of(estimate: &Estimate) -> Self {
        PastKeep {
            difference: estimate.difference,
            lower: estimate.lower,
            upper: estimate.upper,
            probes: estimate.probes,
        }
    }
}

/// Digest of some probes of a suite: their names with the digest of each.
pub fn asked_digest<'a>(probes: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let parts = probes
        .into_iter()
        .fold(Parts::new("asked"), |parts, probe| {
            parts.part("probe", probe.0).part("digest", probe.1)
        });
    parts.finish()
}

impl PastVerdict {
    /// Of a verdict, nothing of its circumstances known. `asked` is the digest of what a suite of this
    /// name was asked.
    pub fn of_verdict(
        subject: &str,
        base: &str,
        verdict: &Verdict,
        asked: impl Fn(&str) -> String,
    ) -> Self {
        let suite = |suite: &SuiteVerdict| {
            let numbers = suite.estimate.as_ref();
            PastSuite {
                suite: suite.suite.clone(),
                goal: suite.goal,
                state: suite.state,
                asked: asked(&suite.suite),
                keep: numbers
                    .filter(|_| suite.goal == Goal::Keep)
                    .map(PastKeep::of),
                learn: numbers
                    .filter(|_| suite.goal == Goal::Learn)
                    .map(|e| e.candidate_mean),
            }
        };
        PastVerdict {
            unix_ms: 0,
            qeval: String::new(),
            command: String::new(),
            commit: None,
            subject: subject.to_owned(),
            base: base.to_owned(),
            order: String::new(),
            decision: verdict.decision,
            learned_enough: verdict.learned_enough(),
            measured: verdict.could_not_measure.is_empty(),
            sentence: verdict.sentence.clone(),
            keep: verdict.pooled.estimate.as_ref().map(PastKeep::of),
            learn: verdict.learn.as_ref().map(|learn| learn.mean),
            suites: verdict.suites.iter().map(suite).collect(),
            exam: None,
        }
    }

    /// Of a candidate of a comparison.
    pub fn of(comparison: &Comparison, candidate: &Candidate) -> Self {
        let asked = |suite: &str| {
            let own = candidate.probes.iter().filter(|p| p.id.suite == suite);
            asked_digest(own.map(|p| (p.id.probe.as_str(), p.digest.as_str())))
        };
        let exam = comparison.exam.as_ref();
        PastVerdict {
            exam: exam.map(|exam| (exam.revision.clone(), exam.commit.clone())),
            ..Self::of_verdict(
                &candidate.subject.name,
                &comparison.model,
                &candidate.verdict,
                asked,
            )
        }
    }

    /// In a word or two, what it came to: what a required target says goes before what is open.
    pub fn word(&self) -> &'static str {
        match self.decision {
            Decision::Regression => "regression",
            _ if !self.learned_enough => "too little",
            _ if !self.measured => "not measured",
            Decision::Pass => "pass",
            Decision::Inconclusive => "inconclusive",
        }
    }

    /// The same verdict on one suite alone; `None` where it was not asked.
    pub fn of_suite(&self, name: &str) -> Option<Self> {
        let suite = self.suites.iter().find(|suite| suite.suite == name)?;
        Some(PastVerdict {
            decision: match suite.state {
                SuiteState::Regression => Decision::Regression,
                SuiteState::Inconclusive => Decision::Inconclusive,
                _ => Decision::Pass,
            },
            learned_enough: suite.state != SuiteState::Missed,
            measured: suite.state != SuiteState::NotMeasured,
            keep: suite.keep,
            learn: suite.learn,
            suites: vec![suite.clone()],
            ..self.clone()
        })
    }

    /// Suites that were asked otherwise than in another verdict, and whether the base is another.
    pub fn changes_since(&self, before: &PastVerdict) -> Vec<String> {
        let mut changes = Vec::new();
        if self.base != before.base {
            changes.push(format!("base {}", self.base));
        }
        let named = |all: &'_ [PastSuite], name: &str| all.iter().position(|s| s.suite == name);
        for suite in &self.suites {
            match named(&before.suites, &suite.suite) {
                None => changes.push(format!("`{}` added", suite.suite)),
                // Of what is not known nothing is comparable.
                Some(place)
                    if before.suites[place].asked != suite.asked || suite.asked.is_empty() =>
                {
                    changes.push(format!("`{}` changed", suite.suite));
                }
                Some(_) => {}
            }
        }
        for suite in &before.suites {
            if named(&self.suites, &suite.suite).is_none() {
                changes.push(format!("`{}` gone", suite.suite));
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_of_names_and_probes() {
        let one = asked_digest([("a", "1"), ("b", "2")]);
        assert_eq!(one, asked_digest([("a", "1"), ("b", "2")]));
        for other in [
            asked_digest([("a", "1")]),
            asked_digest([("a", "1"), ("b", "3")]),
            asked_digest([("a", "1"), ("c", "2")]),
        ] {
            assert_ne!(one, other);
        }
    }
}
