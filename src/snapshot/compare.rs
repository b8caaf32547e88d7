//! Whether a change of a snapshot's text needs a reviewer.

use insta::{Comparator, Snapshot};

use crate::flow::{ProbeNoise, SAME_SCORE};
use crate::text::word_distance;

use super::parse::{SavedCheck, SavedProbe};

/// Passes a change that says the same: prompts and checks are the same ones, every check's score
/// is, and each answer changed no more of its words than the base's own answer does between two
/// draws. Without a measured noise floor only equal answers pass. Where a check of the meaning
/// (`similar`, `llm-rubric`) passes the accepted answer and the new one, the candidate's words are
/// free: that check says what words only stand for.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct WithinNoise {
    /// How far the base moves by itself on this probe.
    pub noise: Option<ProbeNoise>,
}

/// What a comparison of two texts found.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The same text.
    None,
    /// Other words, the same scores: within the noise.
    Within {
        /// Largest share of words that changed in an answer.
        words: f64,
    },
    /// Something to review.
    Beyond {
        /// What, in one line.
        why: String,
    },
}

impl Change {
    /// Nothing to review.
    pub fn is_accepted(&self) -> bool {
        !matches!(self, Change::Beyond { .. })
    }
}

impl WithinNoise {
    /// Compares the text of an accepted snapshot with a new one.
    pub fn change(&self, accepted: &str, new: &str) -> Change {
        if accepted.trim_end() == new.trim_end() {
            return Change::None;
        }
        let beyond = |why: String| Change::Beyond { why };
        let (Some(old), Some(new)) = (SavedProbe::parse(accepted), SavedProbe::parse(new)) else {
            return beyond("the accepted text is not what qeval writes".into());
        };
        if old.cases.len() != new.cases.len() {
            return beyond(format!(
                "{} wordings where {} were accepted",
                new.cases.len(),
                old.cases.len()
            ));
        }
        let mut most = 0.0_f64;
        for (old, new) in old.cases.iter().zip(&new.cases) {
            let meaning = judges_meaning(&old.checks);
            if old.prompt != new.prompt {
                return beyond("the prompt is another one".into());
            }
            if let Some(why) = self.checks(&old.checks, &new.checks) {
                return beyond(why);
            }
            for (who, old, new) in [
                ("base", &old.base, &new.base),
                ("candidate", &old.candidate, &new.candidate),
            ] {
                let distance = match (old, new) {
                    (None, None) => continue,
                    (Some(old), Some(new)) if old == new => continue,
                    (Some(old), Some(new)) => word_distance(old, new),
                    _ => return beyond(format!("only one has an answer of the {who}")),
                };
                // A check of the meaning has passed both: their words may differ.
                let judged = who == "candidate" && meaning;
                let floor = self.noise.map_or(0.0, |noise| noise.text);
                if distance > floor && !judged {
                    let of_floor = match self.noise {
                        Some(noise) => {
                            format!("{:.0}% is the noise floor", 100.0 * noise.text)
                        }
                        None => "no noise floor was measured".into(),
                    };
                    return beyond(format!(
                        "{:.0}% of the words of the {who}'s answer changed, and {of_floor}",
                        100.0 * distance
                    ));
                }
                most = most.max(distance);
            }
        }
        Change::Within { words: most }
    }

    /// Whether an answer differs from the accepted one by more than the noise.
    pub fn differs(&self, accepted: &str, new: &str) -> bool {
        let lines = |text: &str| -> Vec<String> {
            text.trim_end()
                .lines()
                .map(|l| l.trim_end().to_owned())
                .collect()
        };
        lines(accepted) != lines(new)
            && word_distance(accepted, new) > self.noise.map_or(0.0, |noise| noise.text)
    }

    /// What of the scores changed; `None` when they agree.
    fn checks(&self, old: &[SavedCheck], new: &[SavedCheck]) -> Option<String> {
        let kinds = |checks: &[SavedCheck]| -> Vec<String> {
            checks.iter().map(|c| c.kind.clone()).collect()
        };
        if kinds(old) != kinds(new) {
            return Some("the probe has other checks".into());
        }
        let floor = self.noise.map_or(0.0, |noise| noise.score).max(SAME_SCORE);
        // Scores are written with two digits: half of the last one is no change.
        let same = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (None, None) => true,
            (Some(a), Some(b)) if is_verdict(a) && is_verdict(b) => a == b,
            (Some(a), Some(b)) => (a - b).abs() <= floor + 0.005,
            _ => false,
        };
        let mut pairs = old.iter().zip(new);
        let (old, new) =
            pairs.find(|(o, n)| !same(o.candidate, n.candidate) || !same(o.base, n.base))?;
        let shown = |score: Option<f64>| score.map_or("unscored".into(), |v| format!("{v:.2}"));
        let (who, from, to) = if same(old.candidate, new.candidate) {
            ("base", old.base, new.base)
        } else {
            ("candidate", old.candidate, new.candidate)
        };
        Some(format!(
            "`{}` of the {who} was {} and is {}",
            new.kind,
            shown(from),
            shown(to)
        ))
    }
}

/// Whether a check that compares meanings, not words, passed the candidate's answer.
fn judges_meaning(checks: &[SavedCheck]) -> bool {
    let by_meaning = |c: &&SavedCheck| matches!(c.kind.as_str(), "similar" | "llm-rubric");
    let mut passed = checks.iter().filter(by_meaning);
    passed.any(|c| c.candidate == Some(1.0))
}

/// A score that says yes or no.
fn is_verdict(value: f64) -> bool {
    value == 0.0 || value == 1.0
}

impl Comparator for WithinNoise {
    fn matches(&self, reference: &Snapshot, test: &Snapshot) -> bool {
        match (reference.as_text(), test.as_text()) {
            (Some(reference), Some(test)) => self
                .change(&reference.to_string(), &test.to_string())
                .is_accepted(),
            _ => false,
        }
    }

    fn matches_fully(&self, reference: &Snapshot, test: &Snapshot) -> bool {
        match (reference.as_text(), test.as_text()) {
            (Some(reference), Some(test)) => reference.to_string() == test.to_string(),
            _ => false,
        }
    }

    fn dyn_clone(&self) -> Box<dyn Comparator> {
        Box::new(*self)
    }
}
