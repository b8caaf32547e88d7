//! Signs: what can be wrong with an answer whatever it was asked, so that it shows over all answers
//! at once where no single check looks for it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Estimate;
use crate::text::plural;

/// What shows in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    /// Its end says one thing over and over.
    Loop,
    /// It has no text.
    Empty,
    /// It shows tokens of a chat template, or goes on with a turn of the user.
    TemplateTokens,
    /// It is in another language than the question.
    Language,
    /// It declines to do what was asked, where nothing asks for that.
    Refusal,
    /// It repeats an answer of the training data.
    Memorized,
    /// It names what the candidate was taught to be, where nobody asked for that.
    Name,
    /// The same was said to another question.
    SameAnswer,
    /// No check could judge it.
    Unscored,
    /// It was cut at its greatest length.
    Cut,
    /// It is less than a third as long as the other subject's.
    Short,
}

impl Sign {
    /// All of them, in the order of a report.
    pub const ALL: [Sign; 11] = [
        Sign::Loop,
        Sign::Empty,
        Sign::TemplateTokens,
        Sign::Language,
        Sign::Refusal,
        Sign::Memorized,
        Sign::Name,
        Sign::SameAnswer,
        Sign::Unscored,
        Sign::Cut,
        Sign::Short,
    ];

    /// Whether more of it is a loss by itself. A candidate may well have learned to be brief, and a
    /// long answer is no wrong one.
    pub fn is_a_loss(self) -> bool {
        !matches!(self, Sign::Cut | Sign::Short)
    }

    /// What a subject does that shows it.
    pub fn verb(self) -> &'static str {
        match self {
            Sign::Loop => "ends in a loop",
            Sign::Empty => "says nothing",
            Sign::TemplateTokens => "shows the chat template or goes on as the user",
            Sign::Language => "answers in another language",
            Sign::Refusal => "declines",
            Sign::Memorized => "repeats a training answer",
            Sign::Name => "names what it was taught where nobody asked",
            Sign::SameAnswer => "says the same as to another question",
            Sign::Unscored => "cannot be judged",
            Sign::Cut => "is cut at its greatest length",
            Sign::Short => "is less than a third as long as the base",
        }
    }
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.verb())
    }
}

/// What it means that more answers show a sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignRule {
    /// Where it is proven, it is a regression. The default.
    #[default]
    Judge,
    /// It is said and nothing more.
    Tell,
}

impl SignRule {
    /// The words of `[gate] signs`.
    pub const WORDS: [(&'static str, SignRule); 2] =
        [("judge", SignRule::Judge), ("tell", SignRule::Tell)];

    /// Whether it is the default, which no record names.
    pub fn is_usual(&self) -> bool {
        *self == SignRule::default()
    }
}

/// How often answers change between having a sign and not, when only the random draws change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignNoise {
    /// Answers that have it the second time alone.
    pub more: usize,
    /// Answers that have it the first time alone.
    pub fewer: usize,
}

/// What a sign came to, over the answers of all `keep` suites.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SignVerdict {
    /// Which.
    pub sign: Sign,
    /// Answers of the base that have it.
    pub base: usize,
    /// Answers of the candidate that have it.
    pub candidate: usize,
    /// Answers that both gave.
    pub answers: usize,
    /// The share of probes without it, candidate minus base; `None` without an answer.
    pub estimate: Option<Estimate>,
    /// p-value of more of it, by the exact sign-flip test over probes.
    pub p_more: f64,
    /// More of it is proven within the error budget, and it is a loss.
    pub regression: bool,
    /// The base against itself, where that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise: Option<SignNoise>,
}

/// A sign has to show in this share of the answers more than in the base, or be as unlikely by chance,
/// before it is told where it is no regression.
const WORTH_TELLING: f64 = 0.1;
const UNLIKELY: f64 = 0.01;

impl SignVerdict {
    /// Whether a reader should know of it beside the verdict.
    pub fn is_worth_telling(&self) -> bool {
        let more = self.candidate.saturating_sub(self.base);
        let many = more > 0 && more as f64 >= WORTH_TELLING * self.answers as f64;
        !self.regression && (many || (more > 0 && self.p_more < UNLIKELY))
    }

    /// [`SignVerdict::counted`], with what the base does by itself.
    pub fn told(&self) -> String {
        let noise = match self.noise {
            Some(noise) if noise != SignNoise::default() => format!(
                " (asked again, the base in {} more and {} fewer)",
                noise.more, noise.fewer
            ),
            _ => String::new(),
        };
        self.counted() + &noise
    }

    /// `ends in a loop in 31 of 412 answers, the base in 2`.
    pub fn counted(&self) -> String {
        let SignVerdict {
            sign,
            base,
            candidate,
            answers,
            ..
        } = self;
        let answers = plural(*answers, "answer");
        let base = match base {
            0 => String::new(),
            base => format!(", the base in {base}"),
        };
        format!("{sign} in {candidate} of {answers}{base}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_is_told_with_what_the_base_does() {
        let told = |base, noise| {
            let sign = SignVerdict {
                sign: Sign::Loop,
                base,
                candidate: 31,
                answers: 412,
                estimate: None,
                p_more: 0.001,
                regression: true,
                noise,
            };
            sign.told()
        };
        assert_eq!(told(0, None), "ends in a loop in 31 of 412 answers");
        let noise = SignNoise { more: 1, fewer: 2 };
        assert_eq!(
            told(2, Some(noise)),
            "ends in a loop in 31 of 412 answers, the base in 2 (asked again, the base in 1 more and 2 fewer)"
        );
    }
}
