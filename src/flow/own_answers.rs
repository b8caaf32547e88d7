//! How likely a candidate still finds what the base itself said.

use serde::{Deserialize, Serialize};

use crate::text::plural;

/// A candidate's perplexity on the base's own answers, and the base's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OwnAnswers {
    /// Answers to `keep` suites: what should have stayed.
    pub kept: Option<Predicted>,
    /// Answers to `learn` suites: what was to change.
    pub learned: Option<Predicted>,
}

/// Some answers of the base, as both predict them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Predicted {
    /// Answers.
    pub answers: usize,
    /// Their tokens.
    pub tokens: usize,
    /// Mean negative log-likelihood of a token, in nats, by the base.
    pub base_nats: f64,
    /// The same by the candidate.
    pub candidate_nats: f64,
}

/// Perplexity of the candidate over that of the base from which a reader should know of it.
const WORTH_TELLING: f64 = 1.1;

impl Predicted {
    /// How far the candidate is from the base on what the base said, in nats a token: an estimate of
    /// the divergence from the base to the candidate where the answers were drawn, and its part along
    /// the likeliest answers where they were greedy.
    pub fn drift(&self) -> f64 {
        self.candidate_nats - self.base_nats
    }
}

impl OwnAnswers {
    /// A sentence, where it is worth one.
    ///
    /// ```
    /// use qeval::flow::{OwnAnswers, Predicted};
    ///
    /// let kept = Predicted { answers: 64, tokens: 2100, base_nats: 0.2, candidate_nats: 0.5 };
    /// let own = OwnAnswers { kept: Some(kept), learned: None };
    /// assert_eq!(
    ///     own.told().as_deref(),
    ///     Some("finds the base's own answers less likely: perplexity 1.65, the base 1.22 (64 answers)"),
    /// );
    /// assert!((kept.drift() - 0.3).abs() < 1e-12);
    /// ```
    pub fn told(&self) -> Option<String> {
        let kept = self.kept?;
        if kept.drift().exp() < WORTH_TELLING {
            return None;
        }
        let both = |p: &Predicted| {
            format!(
                "perplexity {:.2}, the base {:.2} ({})",
                p.candidate_nats.exp(),
                p.base_nats.exp(),
                plural(p.answers, "answer")
            )
        };
        let learned = match &self.learned {
            Some(learned) => format!("; on what was to be learned {}", both(learned)),
            None => String::new(),
        };
        let kept = both(&kept);
        Some(format!(
            "finds the base's own answers less likely: {kept}{learned}"
        ))
    }
}
