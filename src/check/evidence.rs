//! The contract between a check and the run that feeds it: what a check wants measured, and what
//! it is given. A check itself calls no model and starts no process.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::flow::{Answer, Likelihood, Score};

/// A rule that turns evidence into a score.
pub trait Check: Send + Sync {
    /// What has to be measured before `score` can be called. Does not depend on the answer.
    fn needs(&self) -> Needs;

    /// The program that an answer contains, for checks that run it. The outcome comes back in
    /// [`Evidence::program`].
    fn program(&self, _answer: &str) -> Option<Program> {
        None
    }

    /// Judges. Missing evidence is [`Score::Unscored`], never a zero.
    fn score(&self, evidence: &Evidence<'_>) -> Score;
}

/// What a check wants measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Needs {
    /// A generated answer. A probe none of whose checks needs one is not decoded at all.
    pub answer: bool,
    /// Texts whose likelihood as the answer is wanted, in the order of [`Evidence::likelihoods`].
    pub continuations: Vec<String>,
    /// Texts to embed besides the answer. Not empty: the answer is embedded too.
    pub embeddings: Vec<String>,
    /// The assistant turns that the candidate was trained on.
    pub training_answers: bool,
    /// The answers to the other wordings of the probe.
    pub siblings: bool,
    /// Statements about the answer that a judge is asked about.
    pub rubrics: Vec<String>,
    /// Programs of one answer that are run at once, at most; [`Evidence::program`] holds one.
    pub programs: usize,
}

impl Needs {
    /// A generated answer and nothing else.
    pub fn answer() -> Self {
        Needs {
            answer: true,
            ..Needs::default()
        }
    }

    /// Whether an answer has to be generated: it is judged, or embedded.
    pub fn generates(&self) -> bool {
        self.answer || !self.embeddings.is_empty()
    }
}

/// What a check is given.
#[derive(Debug, Clone, Copy, Default)]
pub struct Evidence<'a> {
    /// The prompt as the suite has it.
    pub prompt: &'a str,
    /// The answer, when one was generated.
    pub answer: Option<&'a Answer>,
    /// One per text of [`Needs::continuations`], same order; empty when not measured.
    pub likelihoods: &'a [Likelihood],
    /// Unit-length sentence embeddings by text, the answer's among them; `None` without encoder.
    pub embeddings: Option<&'a HashMap<String, Arc<[f32]>>>,
    /// Distinct training answers; `None` when the training data is unknown.
    pub training_answers: Option<&'a [String]>,
    /// Answers to the probe's other prompts, same sample; empty when there are none.
    pub siblings: &'a [&'a str],
    /// What the judge said to [`Needs::rubrics`], by statement; `None` without a judge.
    pub judgements: Option<&'a Judgements>,
    /// What the program of [`Check::program`] did.
    pub program: Option<&'a ProgramOutcome>,
}

impl Evidence<'_> {
    /// The answer's text, empty when there is none.
    pub fn text(&self) -> &str {
        self.answer.map_or("", |a| a.text.as_str())
    }
}

/// What a judge said about one answer, by statement.
pub type Judgements = HashMap<String, Judgement>;

/// What a judge said about an answer, asked twice with its two replies in either order.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// Probability of "yes" against "no", in [0, 1], with "yes" named first.
    pub yes_first: f64,
    /// The same with "no" named first.
    pub no_first: f64,
}

/// A program to run in the sandbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// Python source taken from an answer.
    pub source: String,
    /// Name of the function to call.
    pub entry: String,
    /// The calls, each on a fresh interpreter.
    pub cases: Vec<ProgramCase>,
}

/// One call and what it has to return.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProgramCase {
    /// Positional arguments.
    pub args: Vec<serde_json::Value>,
    /// Expected return value.
    pub returns: serde_json::Value,
}

/// What a program did in the sandbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProgramOutcome {
    /// Every case ran to an end: one result each.
    Ran(Vec<CaseResult>),
    /// The interpreter lacks something that Python has; says what. Neither a pass nor a fail.
    Unsupported(String),
    /// The sandbox itself failed; says how. Neither a pass nor a fail.
    Broken(String),
}

/// What one call did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CaseResult {
    /// Whether it returned the expected value.
    pub passed: bool,
    /// The call, what it returned or raised, and what was expected, in one line.
    pub detail: String,
}
