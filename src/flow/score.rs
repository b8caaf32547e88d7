//! What a check says of an answer.

use serde::{Deserialize, Serialize};

/// How a reason begins that is no fault of an answer.
const NOT_MEASURABLE: &str = "not measurable there: ";

/// A value with its evidence, or the reason why there is none. Unscored is never zero.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Score {
    /// Judged.
    Scored {
        /// In [0, 1], higher is better; 1 is a pass and 0 a fail where a check says yes or no.
        value: f64,
        /// What the check saw: the part of the answer it judged, and why it says so.
        evidence: String,
    },
    /// Could not be judged: counted, shown, never a zero.
    Unscored {
        /// Why not.
        reason: String,
    },
}

impl Score {
    /// A yes.
    pub fn pass(evidence: impl Into<String>) -> Self {
        Score::Scored {
            value: 1.0,
            evidence: evidence.into(),
        }
    }

    /// A no.
    pub fn fail(evidence: impl Into<String>) -> Self {
        Score::Scored {
            value: 0.0,
            evidence: evidence.into(),
        }
    }

    /// A yes or a no.
    pub fn of(yes: bool, evidence: impl Into<String>) -> Self {
        Score::Scored {
            value: if yes { 1.0 } else { 0.0 },
            evidence: evidence.into(),
        }
    }

    /// Could not be judged.
    pub fn unscored(reason: impl Into<String>) -> Self {
        Score::Unscored {
            reason: reason.into(),
        }
    }

    /// Could not be judged because what answers cannot be asked for it at all: the whole probe is left
    /// out of every verdict, and counts as neither lost nor missing.
    pub fn not_measurable(why: &str) -> Self {
        Score::Unscored {
            reason: format!("{NOT_MEASURABLE}{why}"),
        }
    }

    /// Why it cannot be measured where it was asked; `None` where it could be.
    pub fn why_not_measurable(&self) -> Option<&str> {
        match self {
            Score::Scored { .. } => None,
            Score::Unscored { reason } => reason.strip_prefix(NOT_MEASURABLE),
        }
    }

    /// The value, when there is one.
    pub fn value(&self) -> Option<f64> {
        match self {
            Score::Scored { value, .. } => Some(*value),
            Score::Unscored { .. } => None,
        }
    }

    /// The evidence or the reason.
    pub fn explanation(&self) -> &str {
        match self {
            Score::Scored { evidence, .. } => evidence,
            Score::Unscored { reason } => reason,
        }
    }

    /// Several checks of one answer: the lowest value decides. A zero is a zero whatever else
    /// could not be judged; otherwise one unscored check leaves the whole unscored.
    pub fn lowest<'a>(scores: impl IntoIterator<Item = &'a Score>) -> Self {
        let mut lowest: Option<&Score> = None;
        let mut unscored: Option<&Score> = None;
        for score in scores {
            match (score.value(), lowest.and_then(Score::value)) {
                (None, _) => unscored = unscored.or(Some(score)),
                (Some(v), Some(best)) if v >= best => {}
                (Some(_), _) => lowest = Some(score),
            }
        }
        match (lowest, unscored) {
            (Some(score), _) if score.value() == Some(0.0) => score.clone(),
            (_, Some(score)) => score.clone(),
            (Some(score), None) => score.clone(),
            (None, None) => Score::unscored("no check ran"),
        }
    }
}

/// One check's score of one answer, as a record stores it and a report shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckScore {
    /// As written in TOML: `contains`, `not-contains`.
    pub kind: String,
    /// What it said.
    pub score: Score,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lowest_value_decides() {
        let (a, b) = (Score::pass("a"), Score::fail("b"));
        assert_eq!(Score::lowest([&a, &b]), b);
        assert_eq!(Score::lowest([&a, &a]), a);
    }

    #[test]
    fn unscored_is_not_zero() {
        let (pass, fail, none) = (Score::pass(""), Score::fail("f"), Score::unscored("u"));
        assert_eq!(Score::lowest([&pass, &none]), none);
        assert_eq!(Score::lowest([&none, &fail]), fail);
        assert_eq!(Score::lowest([]).value(), None);
    }
}
