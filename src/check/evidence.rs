//! The contract between a check and the run that feeds it: what a check wants measured, and what
//! it is given. A check itself calls no model and starts no process.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::flow::{Answer, Likelihood, Score};

/// A rule that turns evidence into a score.
///
/// ```
/// use qeval::check::{Check, Evidence, Needs};
/// use qeval::flow::Score;
///
/// /// Passes when the answer ends with a full stop.
/// struct Ends;
///
/// impl Check for Ends {
///     fn needs(&self) -> Needs {
///         Needs::answer()
///     }
///
///     fn score(&self, evidence: &Evidence<'_>) -> Score {
///         match evidence.answer {
///             Some(answer) => Score::of(answer.text.ends_with('.'), "looked at the last character"),
///             None => Score::unscored("no answer"),
///         }
///     }
/// }
///
/// assert_eq!(Ends.score(&Evidence::default()), Score::unscored("no answer"));
/// ```
pub trait Check: Send + Sync {
    /// What has to be measured before `score` can be called. Does not depend on the answer.
    fn needs(&self) -> Needs;

    /// The program that an answer contains, for checks that run it. The outcome comes back in
    /// [`Evidence::program`].
    fn program(&self, _answer: &str) -> Option<Program> {
        None
    }

    /// Whether an answer that was cut after this text cannot be judged without what follows. Such
    /// an answer goes on. By the text alone, since the engine waits; no by default: what stands is
    /// judged.
    fn is_cut(&self, _answer: &str) -> bool {
        false
    }

    /// Judges. Missing evidence is [`Score::Unscored`], never a zero.
    fn score(&self, evidence: &Evidence<'_>) -> Score;
}

/// What a check wants measured.
///
/// ```
/// use qeval::check::registry;
/// use qeval::flow::CheckSpec;
///
/// let choice = registry::build(&CheckSpec {
///     kind: "choice".into(),
///     negated: false,
///     params: serde_json::from_str(r#"{"options": ["Lima", "Quito"], "answer": "Lima"}"#)?,
/// })?;
/// let needs = choice.needs();
/// assert_eq!(needs.continuations, ["Lima", "Quito"]);
/// assert!(!needs.answer, "nothing is generated");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    ///
    /// ```
    /// use qeval::check::Needs;
    ///
    /// let needs = Needs::answer();
    /// assert!(needs.answer && needs.continuations.is_empty());
    /// ```
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
///
/// ```
/// use qeval::check::{Evidence, registry};
/// use qeval::flow::CheckSpec;
///
/// let memorized = registry::build(&CheckSpec {
///     kind: "memorized".into(),
///     negated: true,
///     params: Default::default(),
/// })?;
/// // What was not measured leaves the answer unscored, and never at zero.
/// assert_eq!(memorized.score(&Evidence::default()).value(), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
    ///
    /// ```
    /// assert_eq!(qeval::check::Evidence::default().text(), "");
    /// ```
    pub fn text(&self) -> &str {
        self.answer.map_or("", |a| a.text.as_str())
    }
}

/// What a judge said about one answer, by statement.
pub type Judgements = HashMap<String, Judgement>;

/// What a judge said about an answer, asked twice with its two replies in either order.
///
/// ```
/// use qeval::check::Judgement;
///
/// // Says yes whichever is named first; 0.9 and 0.2 would be no opinion.
/// let said = Judgement { yes_first: 0.9, no_first: 0.8 };
/// assert!(said.yes_first.min(said.no_first) > 0.5);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// Probability of "yes" against "no", in [0, 1], with "yes" named first.
    pub yes_first: f64,
    /// The same with "no" named first.
    pub no_first: f64,
}

/// A program to run in the sandbox.
///
/// ```
/// use qeval::check::registry;
/// use qeval::flow::CheckSpec;
///
/// let code = registry::build(&CheckSpec {
///     kind: "code".into(),
///     negated: false,
///     params: serde_json::from_str(r#"{"entry": "add", "cases": [{"args": [1, 2], "returns": 3}]}"#)?,
/// })?;
/// let answer = "Sure:\n~~~python\ndef add(a, b):\n    return a + b\n~~~\n";
/// let program = code.program(answer).ok_or("no program")?;
/// assert_eq!(program.entry, "add");
/// assert!(program.source.starts_with("def add(a, b):"));
/// assert!(code.program("I cannot write code.").is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
///
/// ```
/// use qeval::check::{Evidence, ProgramOutcome, registry};
/// use qeval::flow::{CheckSpec, Expect, Golden};
///
/// let code = registry::build(&CheckSpec {
///     kind: "code".into(),
///     negated: false,
///     params: serde_json::from_str(r#"{"entry": "f", "cases": [{"args": [], "returns": 1}]}"#)?,
/// })?;
/// let golden = Golden {
///     answer: "def f():\n    yield 1".into(),
///     expect: Expect::Unscored,
///     siblings: Vec::new(),
///     training_answers: Vec::new(),
/// };
/// // What the interpreter lacks is neither a pass nor a fail.
/// let outcome = ProgramOutcome::Unsupported("yield".into());
/// let measured = Evidence { program: Some(&outcome), ..Evidence::default() };
/// assert_eq!(registry::score_golden(code.as_ref(), &golden, measured).value(), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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
