//! The comparison for machines (`--format json`).
//!
//! The structs here are the format: field names and their order are what scripts read. A field may
//! be added; removing or changing one raises [`VERSION`].

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::changes::changes;
use super::checkpoints::CheckpointRow;
use crate::flow::{
    Baseline, Comparison, Exam, Preview, ScaledCheckpoint, Score, SuiteNoise, Verdict,
};

/// Version of [`Report`] and [`TrainReport`].
pub const VERSION: u32 = 1;

/// A whole comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`VERSION`] at the time of writing.
    pub version: u32,
    /// Name of the base.
    pub base: String,
    /// What the probes can prove, when it was worked out.
    pub preview: Option<Preview>,
    /// By suite, how far the base differs from itself; empty when that was not measured.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub noise: BTreeMap<String, SuiteNoise>,
    /// The revision that was asked and judged by, where that is not the working tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exam: Option<Exam>,
    /// How old the base's answers are, by what they were made, and what speaks against them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
    /// One entry a candidate.
    pub candidates: Vec<CandidateReport>,
}

/// One candidate's verdict and changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CandidateReport {
    /// Name of the candidate.
    pub subject: String,
    /// Hex digest of its adapter; `None` for a base.
    pub adapter_digest: Option<String>,
    /// What the comparison came to.
    pub verdict: Verdict,
    /// Signs beside the verdict.
    pub causes: Vec<String>,
    /// Changed answers, the largest loss first; all of them, in full.
    pub changes: Vec<ChangeReport>,
}

/// One case and sample whose answer or score changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangeReport {
    /// `suite::probe#prompt`.
    pub case: String,
    /// Which sample, from 0.
    pub sample: usize,
    /// The prompt's text.
    pub prompt: String,
    /// The base's score.
    pub base_score: Option<Score>,
    /// The candidate's score.
    pub candidate_score: Option<Score>,
    /// The base's answer; `None` where only likelihoods were measured.
    pub base_answer: Option<String>,
    /// The candidate's answer.
    pub candidate_answer: Option<String>,
}

impl Report {
    /// A comparison as a report.
    pub fn new(comparison: &Comparison, preview: Option<&Preview>) -> Self {
        let candidates = comparison
            .candidates
            .iter()
            .map(|candidate| CandidateReport {
                subject: candidate.subject.name.clone(),
                adapter_digest: candidate.subject.adapter.as_ref().map(|a| a.digest.clone()),
                verdict: candidate.verdict.clone(),
                causes: candidate.causes.clone(),
                changes: changes(candidate, false)
                    .into_iter()
                    .map(|change| ChangeReport {
                        case: change.case.to_string(),
                        sample: change.sample,
                        prompt: change.prompt.to_string(),
                        base_score: Some(change.base_score),
                        candidate_score: Some(change.candidate_score),
                        base_answer: change.base_text.map(String::from),
                        candidate_answer: change.candidate_text.map(String::from),
                    })
                    .collect(),
            });
        Report {
            version: VERSION,
            base: comparison.base.name.clone(),
            preview: preview.cloned(),
            noise: comparison.noise.clone(),
            exam: comparison.exam.clone(),
            baseline: comparison.baseline.clone(),
            candidates: candidates.collect(),
        }
    }
}

/// A training run's checkpoints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainReport {
    /// [`VERSION`] at the time of writing.
    pub version: u32,
    /// The step to keep; `None` says that nothing may ship.
    pub best: Option<usize>,
    /// The scale that it ships at.
    pub best_scale: Option<f64>,
    /// The PEFT folder of it, with that scale in its `lora_alpha`.
    pub shipped: Option<PathBuf>,
    /// In the order of their steps, each once a scale.
    pub checkpoints: Vec<CheckpointReport>,
}

/// One checkpoint, with what was measured of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointReport {
    /// Optimizer step.
    pub step: usize,
    /// Multiple of its own scale that it was judged at.
    pub scale: f64,
    /// Mean training loss since the checkpoint before, in nats per token.
    pub train_loss: Option<f64>,
    /// Validation loss, in nats per token.
    pub validation_loss: Option<f64>,
    /// Mean KL divergence from the base, in nats per token.
    pub kl_to_base: Option<f64>,
    /// What its gate said.
    pub verdict: Verdict,
    /// Signs beside the verdict.
    pub causes: Vec<String>,
}

impl TrainReport {
    /// The checkpoints as a report.
    pub fn new(
        rows: &[CheckpointRow],
        best: Option<ScaledCheckpoint>,
        shipped: Option<PathBuf>,
    ) -> Self {
        let checkpoints = rows.iter().map(|row| CheckpointReport {
            step: row.at.step,
            scale: row.at.scale,
            train_loss: row.train_loss,
            validation_loss: row.validation_loss,
            kl_to_base: row.kl_to_base,
            verdict: row.verdict.clone(),
            causes: row.causes.clone(),
        });
        TrainReport {
            version: VERSION,
            best: best.map(|best| best.step),
            best_scale: best.map(|best| best.scale),
            shipped,
            checkpoints: checkpoints.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::two_candidates;

    #[test]
    fn a_report_reads_back_as_it_was_written() {
        let report = Report::new(&two_candidates(), None);
        let text = serde_json::to_string_pretty(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }

    // The format: a change here is a change for every script that reads it.
    #[test]
    fn the_fields_are_the_format() {
        let mut comparison = two_candidates();
        comparison.candidates.remove(0);
        let mut report = Report::new(&comparison, None);
        report.candidates[0].changes.truncate(1);
        report.candidates[0].verdict.suites.truncate(1);
        insta::assert_snapshot!(serde_json::to_string_pretty(&report).unwrap(), @r#"
        {
          "version": 1,
          "base": "base",
          "preview": null,
          "candidates": [
            {
              "subject": "careful",
              "adapter_digest": "c0ffee",
              "verdict": {
                "decision": "pass",
                "sentence": "pass: all `keep` suites: a loss of 0.10 is excluded (100 probes, difference -0.01, at worst -0.047)",
                "pooled": {
                  "suite": "pooled",
                  "goal": "keep",
                  "state": "pass",
                  "estimate": {
                    "base_mean": 0.81,
                    "candidate_mean": 0.8,
                    "difference": -0.010000000000000009,
                    "lower": -0.047,
                    "upper": 0.03,
                    "confidence": 0.95,
                    "probes": 100,
                    "losses": 1,
                    "gains": 0,
                    "unscored": 0
                  },
                  "margin": 0.1,
                  "target": null,
                  "p_loss": 0.5,
                  "smallest_provable_loss": 0.03,
                  "reasons": []
                },
                "suites": [
                  {
                    "suite": "identity",
                    "goal": "learn",
                    "state": "reached",
                    "estimate": {
                      "base_mean": 0.0,
                      "candidate_mean": 0.88,
                      "difference": 0.88,
                      "lower": 0.2,
                      "upper": 0.99,
                      "confidence": 0.95,
                      "probes": 8,
                      "losses": 1,
                      "gains": 0,
                      "unscored": 0
                    },
                    "margin": null,
                    "target": 0.8,
                    "p_loss": null,
                    "smallest_provable_loss": null,
                    "reasons": [
                      "0.88 reaches the target of 0.80, the base 0.00"
                    ]
                  }
                ],
                "critical": [],
                "learn": {
                  "mean": 0.88,
                  "base_mean": 0.0,
                  "probes": 8,
                  "reached": true
                },
                "reasons": [
                  "all `keep` suites: a loss of 0.10 is excluded (100 probes, difference -0.01, at worst -0.047)"
                ],
                "notes": [],
                "could_not_measure": []
              },
              "causes": [],
              "changes": [
                {
                  "case": "code::p1#0",
                  "sample": 0,
                  "prompt": "解释一下什么是递归",
                  "base_score": {
                    "scored": {
                      "value": 1.0,
                      "evidence": "found \"def\""
                    }
                  },
                  "candidate_score": {
                    "scored": {
                      "value": 1.0,
                      "evidence": "found \"def\""
                    }
                  },
                  "base_answer": "递归是函数调用自身的方法,例如阶乘。",
                  "candidate_answer": "递归是函数调用自身的一种方法,例如计算阶乘。"
                }
              ]
            }
          ]
        }
        "#);
    }

    #[test]
    fn a_training_run_reads_back_as_it_was_written() {
        let verdict = crate::report::testing::careless();
        let row = CheckpointRow {
            at: ScaledCheckpoint {
                step: 20,
                scale: 1.0,
            },
            train_loss: Some(0.1 + 0.2),
            validation_loss: None,
            verdict: &verdict,
            kl_to_base: Some(1e-3),
            causes: vec!["silent: 9 of 10 answers are empty".into()],
        };
        let report = TrainReport::new(&[row], None, None);
        let text = serde_json::to_string_pretty(&report).unwrap();
        assert_eq!(serde_json::from_str::<TrainReport>(&text).unwrap(), report);
    }
}
