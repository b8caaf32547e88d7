//! What a subject said, and how likely it finds a given text.

use serde::{Deserialize, Serialize};

use super::CaseId;

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Finish {
    /// The model ended its turn.
    Stop,
    /// `max_new_tokens` or the context was reached; of a continued answer, a multiple of the first
    /// at which every check could judge it, or the most that an answer may have.
    Length,
}

/// One sample of an answer to one case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Which prompt.
    pub case: CaseId,
    /// Which of the case's samples, from 0.
    pub sample: usize,
    /// Decoded text without special tokens, and without [`Answer::thinking`].
    pub text: String,
    /// Generated ids, the end-of-turn token left out.
    pub token_ids: Vec<u32>,
    /// Natural logarithm of each generated token's probability at temperature 1, one a token.
    pub logprobs: Vec<f32>,
    /// Why it ended.
    pub finish: Finish,
    /// Key of its random draws, the same for base and candidate.
    pub seed: u64,
    /// Tokens of the rendered prompt.
    pub prompt_tokens: usize,
    /// It went on beyond its probe's `max_new_tokens`, because a check could not judge it where it
    /// was cut. Older records do not say; what they hold was never continued.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continued: bool,
    /// What the model thought before it answered; its tokens are the first of `token_ids`. Older
    /// records left it in `text`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinking: Option<Thought>,
    /// What a server said beside it, where one gave it: it has no `token_ids` then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<ServedAnswer>,
}

/// What a server says beside an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedAnswer {
    /// Tokens that it counted, those of thinking among them; `None` where it counts none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<usize>,
    /// Its `system_fingerprint`: another one is another set-up behind the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Why it ended, where that is neither `stop` nor `length`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a model thought before it answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thought {
    /// Its text, without the marks around it.
    pub text: String,
    /// Its tokens, the marks included.
    pub tokens: usize,
    /// It was ended by its closing mark; else there is no answer.
    pub ended: bool,
}

impl Answer {
    /// An answer of which only the text is known: no model here generated it.
    pub fn of_text(case: CaseId, sample: usize, text: impl Into<String>) -> Answer {
        Answer {
            case,
            sample,
            text: text.into(),
            token_ids: Vec::new(),
            logprobs: Vec::new(),
            finish: Finish::Stop,
            seed: 0,
            prompt_tokens: 0,
            continued: false,
            thinking: None,
            served: None,
        }
    }

    /// Whether the budget of thinking cut it before there was an answer: nothing can be said of it.
    pub fn is_cut_in_thought(&self) -> bool {
        self.finish == Finish::Length && self.thinking.as_ref().is_some_and(|t| !t.ended)
    }

    /// Tokens of the answer and its thinking, as far as they are known.
    pub fn tokens(&self) -> usize {
        let counted = self.served.as_ref().and_then(|served| served.tokens);
        counted.unwrap_or(self.token_ids.len())
    }

    /// Log-probabilities of the answer's tokens, those of its thinking left out.
    pub fn said_logprobs(&self) -> &[f32] {
        let thought = self.thinking.as_ref().map_or(0, |t| t.tokens);
        self.logprobs.get(thought..).unwrap_or_default()
    }
}

/// How likely a subject finds a given text as the answer to a case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Likelihood {
    /// Which prompt.
    pub case: CaseId,
    /// The text whose likelihood this is.
    pub text: String,
    /// Natural logarithm of each token's probability, one a token; the end of turn is not counted.
    pub logprobs: Vec<f32>,
}

impl Likelihood {
    /// Sum of the tokens' log-probabilities, in nats.
    pub fn total(&self) -> f64 {
        self.logprobs.iter().map(|&x| f64::from(x)).sum()
    }

    /// Nats per UTF-8 byte of the text, so that tokenizations and lengths compare.
    pub fn per_byte(&self) -> f64 {
        self.total() / self.text.len().max(1) as f64
    }
}
