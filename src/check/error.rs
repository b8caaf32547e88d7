//! Why a check of a suite was refused. Everything wrong with one check is told at once, each
//! problem with the parameter it is about, so that a suite's loader can point at the line.

use std::fmt;

use crate::text::{all_of, one_of, plural};

/// Everything wrong with one check.
///
/// ```
/// use qeval::check::registry;
/// use qeval::flow::CheckSpec;
///
/// let spec = CheckSpec {
///     kind: "contains".into(),
///     negated: false,
///     params: serde_json::from_str(r#"{"valeu": "Lima", "whole_word": "yes"}"#)?,
/// };
/// let error = registry::build(&spec).err().ok_or("it was accepted")?;
/// let params: Vec<_> = error.problems.iter().map(|problem| problem.param()).collect();
/// assert_eq!(params, [Some("whole_word"), Some("valeu")]);
/// assert_eq!(error.problems[1].nearest(), Some("value"));
/// assert_eq!(error.problems[0].rule(), "`whole_word` wants true or false");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("check `{kind}`: {}", join(.problems))]
pub struct CheckError {
    /// The kind as written, with its `not-`.
    pub kind: String,
    /// At least one.
    pub problems: Vec<CheckProblem>,
}

/// One thing wrong with a check.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CheckProblem {
    /// No such kind.
    #[error("unknown check type `{kind}`")]
    UnknownKind {
        /// As written.
        kind: String,
        /// The kind that was probably meant.
        nearest: Option<String>,
        /// Every kind.
        known: Vec<String>,
    },
    /// The kind has no such parameter.
    #[error("unknown parameter `{param}`")]
    UnknownParam {
        /// As written.
        param: String,
        /// The parameter that was probably meant.
        nearest: Option<String>,
        /// Every parameter of the kind.
        known: Vec<String>,
    },
    /// A parameter without default is not there.
    #[error("missing parameter `{param}`")]
    MissingParam {
        /// Its name.
        param: String,
        /// What it wants.
        expected: String,
    },
    /// A parameter has a value of another type.
    #[error("`{param}` is {found}")]
    WrongType {
        /// Its name.
        param: String,
        /// What it wants.
        expected: String,
        /// What it got.
        found: String,
    },
    /// A parameter has the right type and a value that makes no sense.
    #[error("`{param}` {what}")]
    BadValue {
        /// Its name.
        param: String,
        /// What is wrong with the value.
        what: String,
        /// The rule.
        rule: String,
    },
}

impl CheckProblem {
    /// The parameter that the problem is about, when it is about one that was written.
    pub fn param(&self) -> Option<&str> {
        match self {
            Self::UnknownKind { .. } => Some("type"),
            Self::MissingParam { .. } => None,
            Self::UnknownParam { param, .. }
            | Self::WrongType { param, .. }
            | Self::BadValue { param, .. } => Some(param),
        }
    }

    /// The rule that was broken.
    pub fn rule(&self) -> String {
        match self {
            Self::UnknownKind { known, .. } => {
                format!(
                    "a check's type is {}, or one of these after `not-`",
                    one_of(known)
                )
            }
            Self::UnknownParam { known, .. } if known.is_empty() => {
                "this check takes no parameters".into()
            }
            Self::UnknownParam { known, .. } => format!("this check takes {}", all_of(known)),
            Self::MissingParam { param, expected }
            | Self::WrongType {
                param, expected, ..
            } => {
                format!("`{param}` wants {expected}")
            }
            Self::BadValue { rule, .. } => rule.clone(),
        }
    }

    /// The name that was probably meant.
    pub fn nearest(&self) -> Option<&str> {
        match self {
            Self::UnknownKind { nearest, .. } | Self::UnknownParam { nearest, .. } => {
                nearest.as_deref()
            }
            _ => None,
        }
    }
}

/// The problems in one sentence, for errors outside of a suite file.
fn join(problems: &[CheckProblem]) -> impl fmt::Display {
    let near = |p: &CheckProblem| {
        p.nearest()
            .map_or(String::new(), |name| format!("; nearest: `{name}`"))
    };
    let shown: Vec<String> = problems
        .iter()
        .map(|p| format!("{p} ({}{})", p.rule(), near(p)))
        .collect();
    match shown.len() {
        1 => shown.join(""),
        n => format!("{}: {}", plural(n, "problem"), shown.join("; ")),
    }
}
