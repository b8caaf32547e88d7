//! A base and its candidates, probe by probe and draw by draw, with their verdicts: the only input
//! of every report on a comparison, and what a gate stores.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Baseline, Drift, Exam, Goal, OwnAnswers, ProbeId, ProbeNoise, Score, Subject, SuiteNoise,
    SuiteVerdict, Verdict,
};

/// A base and its candidates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The base model as configured: a folder, a file, a hub id.
    pub model: String,
    /// The control arm, mostly the base itself.
    pub base: Subject,
    /// At least one, in the order to show.
    pub candidates: Vec<Candidate>,
    /// By suite, how far the base differs from itself; empty when that was not measured.
    pub noise: BTreeMap<String, SuiteNoise>,
    /// The revision that was asked and judged by, where that is not the working tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exam: Option<Exam>,
    /// How old the base's answers are, and what speaks against them; `None` in records of versions that
    /// kept no times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
}

/// A candidate with its verdict against the base, and what both said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Who.
    pub subject: Subject,
    /// What the comparison came to.
    pub verdict: Verdict,
    /// Signs beside the verdict; never the verdict itself.
    pub causes: Vec<String>,
    /// How likely it finds what the base said; `None` where that was not weighed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_answers: Option<OwnAnswers>,
    /// Every probe that was asked, in the order of suites.
    pub probes: Vec<ProbeComparison>,
}

impl Candidate {
    /// Adds what it makes of the base's own answers, told as a cause where it is worth that.
    pub fn with_own_answers(&mut self, own: Option<OwnAnswers>) {
        self.causes.extend(own.and_then(|own| own.told()));
        self.own_answers = own;
    }
}

impl Comparison {
    /// The base with what identifies it: the model's file, or an adapter with its digest.
    pub fn base_label(&self) -> String {
        match &self.base.adapter {
            None => last_part(&self.model),
            Some(_) => self.base.label(),
        }
    }

    /// How far the base differs from itself in a row of a verdict: the mean absolute change of a
    /// probe's score; for the pooled row over all probes of `keep` suites.
    pub fn noise_of(&self, verdict: &Verdict, row: &SuiteVerdict) -> Option<f64> {
        if !row.is_pooled() {
            return self.noise.get(&row.suite).map(|noise| noise.mean_change);
        }
        let kept = verdict.suites.iter().filter(|s| s.goal == Goal::Keep);
        let (mut sum, mut probes) = (0.0, 0);
        for noise in kept.filter_map(|s| self.noise.get(&s.suite)) {
            sum += noise.mean_change * noise.probes as f64;
            probes += noise.probes;
        }
        (probes > 0).then(|| sum / probes as f64)
    }
}

/// `models/smollm2.gguf` -> `smollm2.gguf`.
fn last_part(model: &str) -> String {
    let name = std::path::Path::new(model).file_name();
    name.map_or_else(|| model.to_owned(), |n| n.to_string_lossy().into_owned())
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

/// One wording, answered by both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaseComparison {
    /// The prompt.
    pub prompt: String,
    /// One a draw, the first one greedy where the probe is; at least one.
    pub samples: Vec<SampleComparison>,
    /// How the candidate's first answer differs from the accepted one, when it does.
    pub drift: Option<Drift>,
}

/// One draw of both, with the same random numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleComparison {
    /// The base's answer; `None` where only likelihoods were measured.
    pub base: Option<String>,
    /// The candidate's answer.
    pub candidate: Option<String>,
    /// One a check, in the order of the suite.
    pub checks: Vec<CheckComparison>,
    /// One of the two answers went on beyond its probe's `max_new_tokens`, since a check could not
    /// judge it where it was cut.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continued: bool,
    /// A further draw of a critical probe, which counts for that alone and enters no mean.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub further: bool,
    /// What the base thought before its answer, which is no part of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_thinking: Option<String>,
    /// What the candidate thought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate_thinking: Option<String>,
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

impl SampleComparison {
    /// The base's score: the lowest of its checks.
    pub fn base_score(&self) -> Score {
        Score::lowest(self.checks.iter().map(|c| &c.base))
    }

    /// The candidate's score.
    pub fn candidate_score(&self) -> Score {
        Score::lowest(self.checks.iter().map(|c| &c.candidate))
    }

    /// Scores of both, where both have one.
    pub fn values(&self) -> Option<(f64, f64)> {
        Some((self.base_score().value()?, self.candidate_score().value()?))
    }
}

impl CaseComparison {
    /// What a reader is shown of it: the draw on which the candidate lost most, else the first.
    pub fn shown(&self) -> Option<(usize, &SampleComparison)> {
        let loss =
            |s: &SampleComparison| s.values().map_or(0.0, |(base, new)| (base - new).max(0.0));
        let mut worst: Option<(usize, &SampleComparison)> = None;
        for (i, sample) in self.samples.iter().enumerate() {
            if worst.is_none_or(|(_, other)| loss(sample) > loss(other)) {
                worst = Some((i, sample));
            }
        }
        worst
    }

    /// Whether the candidate may have lost here: a draw scores less, or a score is missing.
    pub fn may_have_lost(&self) -> bool {
        let mut samples = self.samples.iter();
        samples.any(|s| s.values().is_none_or(|(base, candidate)| candidate < base))
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
    /// Mean scores of base and candidate over the draws that both were scored on: what the verdict
    /// counts.
    pub fn means(&self) -> Option<(f64, f64)> {
        let samples = self.cases.iter().flat_map(|c| &c.samples);
        let first = samples.filter(|sample| !sample.further);
        let pairs: Vec<(f64, f64)> = first.filter_map(SampleComparison::values).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(base: f64, candidate: f64) -> SampleComparison {
        let score = |value| Score::Scored {
            value,
            evidence: String::new(),
        };
        SampleComparison {
            base: Some("base".into()),
            candidate: Some(format!("candidate {candidate}")),
            checks: vec![CheckComparison {
                kind: "contains".into(),
                base: score(base),
                candidate: score(candidate),
            }],
            continued: false,
            further: false,
            base_thinking: None,
            candidate_thinking: None,
        }
    }

    fn probe(samples: Vec<SampleComparison>) -> ProbeComparison {
        ProbeComparison {
            id: ProbeId {
                suite: "code".into(),
                probe: "sum".into(),
            },
            critical: false,
            digest: String::new(),
            cases: vec![CaseComparison {
                prompt: "Add.".into(),
                samples,
                drift: None,
            }],
            noise: None,
        }
    }

    /// A candidate that passes the first draw and fails the other three is not kept.
    #[test]
    fn every_draw_of_a_probe_counts() {
        let probe = probe(vec![
            sample(1.0, 1.0),
            sample(1.0, 0.0),
            sample(1.0, 0.0),
            sample(0.0, 0.0),
        ]);
        assert_eq!(probe.means(), Some((0.75, 0.25)));
        assert_eq!(probe.state(), ProbeState::Lost);
        let (place, shown) = probe.cases[0].shown().unwrap();
        assert_eq!((place, shown.values()), (1, Some((1.0, 0.0))));
        assert!(probe.cases[0].may_have_lost());
    }

    #[test]
    fn an_unscored_draw_enters_no_mean() {
        let mut unscored = sample(1.0, 1.0);
        unscored.checks[0].candidate = Score::unscored("no judge");
        let one = probe(vec![unscored.clone(), sample(1.0, 1.0)]);
        assert_eq!(one.means(), Some((1.0, 1.0)));
        assert!(one.cases[0].may_have_lost());
        assert_eq!(probe(vec![unscored]).state(), ProbeState::Unscored);
    }
}
