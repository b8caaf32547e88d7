//! How an answer differs from the one that was accepted.

use serde::{Deserialize, Serialize};

/// Where two answers part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// Place of the first token that differs, from 0.
    pub token: usize,
    /// The accepted answer's text from there on, cut short; empty where it ended.
    pub accepted: String,
    /// The new answer's.
    pub new: String,
    /// Log-probability of the new token less that of the accepted one, in nats, for the candidate
    /// as it is now. Near zero is a numeric tie, several nats a change of mind. `None` when it was
    /// not measured.
    pub logit_gap: Option<f64>,
}
