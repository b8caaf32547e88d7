//! The lines of a record, and a record as it is read back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest;
use crate::flow::{Answer, CaseId, CheckScore, Likelihood, Score, Subject};

/// The format that is written, and the newest that is read. The module doc describes it.
pub const FORMAT: u32 = 1;

/// First line of a record: whose answers these are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`] of the writer.
    pub format: u32,
    /// Who answers.
    pub subject: Subject,
    /// What computed the answers: qeval's version, device, number format. Answers of different
    /// engines may differ in their last bits, so they are never mixed.
    pub engine: String,
    /// Digest of the base model.
    pub base: String,
    /// Digest of engine, base, adapter, and scale: two subjects of one digest give the same
    /// answers, whatever their names.
    pub digest: String,
    /// What answered, where that is a server; `None` in records of versions that knew none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerRecord>,
}

/// What a server said of itself when it was asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerRecord {
    /// What it is: `vllm`, `llama.cpp`, `sglang`, or what it calls the owner of its models.
    pub software: String,
    /// The version that it tells, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Who renders conversations: `there`, or `here`.
    pub template: String,
    /// Its answer to `/models`, without what changes from one answer to the next.
    pub models: serde_json::Value,
    /// What else it says: `/version`, `/props`, or `/get_server_info`.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub about: serde_json::Value,
}

impl Header {
    /// The header of a subject's record, in the present format.
    pub fn new(subject: Subject, engine: impl Into<String>, base: impl Into<String>) -> Self {
        let (engine, base) = (engine.into(), base.into());
        let mut parts = digest::Parts::new("subject")
            .part("engine", &engine)
            .part("base", &base);
        if let Some(adapter) = &subject.adapter {
            parts = parts
                .part("adapter", &adapter.digest)
                .part("scale", adapter.scale.to_bits().to_le_bytes());
        }
        Header {
            format: FORMAT,
            subject,
            engine,
            base,
            digest: parts.finish(),
            server: None,
        }
    }

    /// The header with what a server said of itself: beside the digest, since an uptime or a number
    /// of slots is no other model.
    pub fn with_server(self, server: ServerRecord) -> Self {
        Header {
            server: Some(server),
            ..self
        }
    }
}

/// A finished answer with its key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// [`super::answer_key`].
    pub key: String,
    /// What was said.
    pub answer: Answer,
    /// When, in seconds since 1970-01-01 UTC; `None` in records of versions that kept no times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
}

/// A text's likelihood with its key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeasuredText {
    /// [`super::likelihood_key`].
    pub key: String,
    /// How likely.
    pub likelihood: Likelihood,
    /// When, in seconds since 1970-01-01 UTC; `None` in records of versions that kept no times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
}

/// What the checks said of one sample of one case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    /// Which prompt.
    pub case: CaseId,
    /// Which of its samples, from 0.
    pub sample: usize,
    /// Each check's score, in the suite's order.
    pub checks: Vec<CheckScore>,
    /// The lowest of them.
    pub score: Score,
}

/// One line of a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Line {
    Header(Header),
    Suites(BTreeMap<String, String>),
    Answered(Answered),
    Measured(MeasuredText),
    Scored(Scored),
}

impl Line {
    /// The kinds as they are written, to tell an unknown kind from a broken line.
    pub(super) const KINDS: [&str; 5] = ["header", "suites", "answered", "measured", "scored"];
}

/// A subject's record as it is read back: the latest line for each item, in the order of cases.
#[derive(Debug, Clone, PartialEq)]
pub struct SubjectRecord {
    /// Whose answers.
    pub header: Header,
    /// Digest by name of the suites that the scores are about.
    pub suites: BTreeMap<String, String>,
    /// Finished answers by case and sample.
    pub answers: BTreeMap<(CaseId, usize), Answered>,
    /// Measured likelihoods by case and text.
    pub likelihoods: BTreeMap<(CaseId, String), MeasuredText>,
    /// Scores by case and sample.
    pub scores: BTreeMap<(CaseId, usize), Scored>,
}

impl SubjectRecord {
    /// A record with nothing finished.
    pub fn new(header: Header) -> Self {
        SubjectRecord {
            header,
            suites: BTreeMap::new(),
            answers: BTreeMap::new(),
            likelihoods: BTreeMap::new(),
            scores: BTreeMap::new(),
        }
    }

    /// Takes in a line after the header.
    pub(super) fn take(&mut self, line: Line) {
        match line {
            Line::Header(header) => self.header = header,
            Line::Suites(suites) => {
                for (name, digest) in suites {
                    let before = self.suites.insert(name.clone(), digest.clone());
                    if before.is_some_and(|before| before != digest) {
                        self.scores.retain(|(case, _), _| case.suite != name);
                    }
                }
            }
            Line::Answered(line) => {
                self.answers
                    .insert((line.answer.case.clone(), line.answer.sample), line);
            }
            Line::Measured(line) => {
                let likelihood = &line.likelihood;
                self.likelihoods
                    .insert((likelihood.case.clone(), likelihood.text.clone()), line);
            }
            Line::Scored(line) => {
                self.scores.insert((line.case.clone(), line.sample), line);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::AdapterRef;

    fn at_scale(name: &str, digest: &str, scale: f64) -> Subject {
        let path = "adapters/one".into();
        let adapter = AdapterRef {
            path,
            digest: digest.into(),
            scale,
            step: None,
        };
        Subject {
            name: name.into(),
            adapter: Some(adapter),
            server: None,
        }
    }

    #[test]
    fn digest_is_of_what_answers_not_of_its_name() {
        let of = |subject, engine, base| Header::new(subject, engine, base).digest;
        let one = of(at_scale("ckpt-4", "aa", 1.0), "cpu", "b1");
        assert_eq!(one, of(at_scale("run-0001/ckpt-4", "aa", 1.0), "cpu", "b1"));
        for other in [
            of(at_scale("ckpt-4", "bb", 1.0), "cpu", "b1"),
            of(at_scale("ckpt-4", "aa", 0.5), "cpu", "b1"),
            of(at_scale("ckpt-4", "aa", 1.0), "gpu", "b1"),
            of(at_scale("ckpt-4", "aa", 1.0), "cpu", "b2"),
            of(Subject::base(), "cpu", "b1"),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn changed_suite_voids_its_scores_and_keeps_answers() {
        let mut record = SubjectRecord::new(Header::new(Subject::base(), "cpu", "b1"));
        let suites = |digest: &str| {
            let pairs = [("code", digest), ("facts", "f1")];
            Line::Suites(
                pairs
                    .map(|(name, digest)| (name.into(), digest.into()))
                    .into(),
            )
        };
        let scored = |suite: &str| {
            let case = CaseId {
                suite: suite.into(),
                probe: "p".into(),
                prompt: 0,
            };
            Line::Scored(Scored {
                case,
                sample: 0,
                checks: vec![],
                score: Score::pass(""),
            })
        };
        record.take(suites("c1"));
        record.take(scored("code"));
        record.take(scored("facts"));
        record.take(suites("c1"));
        assert_eq!(record.scores.len(), 2);
        record.take(suites("c2"));
        let left: Vec<&str> = record
            .scores
            .keys()
            .map(|(case, _)| case.suite.as_str())
            .collect();
        assert_eq!(left, ["facts"]);
    }
}
