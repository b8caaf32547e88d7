//! Where two answers to one prompt part.

use serde::{Deserialize, Serialize};

/// The first token that two answers do not share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parting {
    /// Its place, from 0.
    pub token: usize,
    /// The text before it.
    pub common: String,
    /// The base's token there.
    pub base: PartedToken,
    /// The candidate's.
    pub candidate: PartedToken,
}

/// A token of one answer, and how likely both found it. Log-probabilities are natural, at temperature
/// 1; `None` where an answer was cut, so that there is no token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartedToken {
    /// Its text; `None` where the answer has no more.
    pub text: Option<String>,
    /// The answer ended there by itself.
    pub ended: bool,
    /// The answer's text from there on, cut short.
    pub goes_on: String,
    /// Of the base.
    pub base_logprob: Option<f64>,
    /// Of the candidate.
    pub candidate_logprob: Option<f64>,
}
