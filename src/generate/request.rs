//! What the engine is asked, and what it says when a piece is done.

use std::sync::Arc;

use super::Sampling;
use crate::flow::Finish;

/// One prompt put to one subject, with everything that is wanted of it: the prompt runs once.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which loaded adapter answers; `None` is the base.
    pub adapter: Option<usize>,
    /// Token ids of the rendered prompt, at least one.
    pub prompt: Arc<[u32]>,
    /// One entry per answer or likelihood.
    pub work: Vec<Work>,
}

/// One thing that is wanted of a prompt. `id` comes back with the result.
#[derive(Debug, Clone)]
pub enum Work {
    /// An answer.
    Generate {
        /// The caller's name for it.
        id: usize,
        /// How tokens are chosen.
        sampling: Sampling,
        /// Most tokens, at least 1.
        max_new_tokens: usize,
        /// Key of the random draws.
        seed: u64,
    },
    /// The log-probabilities of a given text after the prompt.
    Score {
        /// The caller's name for it.
        id: usize,
        /// Token ids of the text, at least one.
        text: Arc<[u32]>,
    },
}

impl Work {
    /// Positions that it takes after the prompt.
    pub fn positions(&self) -> usize {
        match self {
            Work::Generate { max_new_tokens, .. } => *max_new_tokens,
            Work::Score { text, .. } => text.len(),
        }
    }
}

/// A finished piece of work.
#[derive(Debug, Clone, PartialEq)]
pub enum Finished {
    /// An answer.
    Generated {
        /// The caller's name for it.
        id: usize,
        /// Token ids, the end of turn left out.
        tokens: Vec<u32>,
        /// Log-probability of each at temperature 1, in nats.
        logprobs: Vec<f32>,
        /// Why it ended.
        finish: Finish,
    },
    /// Log-probabilities of a given text, in nats, one a token.
    Scored {
        /// The caller's name for it.
        id: usize,
        /// One a token.
        logprobs: Vec<f32>,
    },
}
