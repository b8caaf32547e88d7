//! What can be wrong with suite files and with a selection of probes. An error names the place,
//! shows the line, and says what is wrong, the rule, and the name that was probably meant.

use std::collections::BTreeMap;

use crate::check::registry::{CheckError, CheckProblem};
use crate::flow::Expect;
use crate::text::{all_of, plural};
use crate::toml_file::{Explanation, Mistake, Place, list};

/// Everything wrong with all files that were loaded together.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}", self.list())]
pub struct SuiteErrors(pub Vec<SuiteError>);

impl SuiteErrors {
    fn list(&self) -> String {
        let mut files: Vec<&str> = self.0.iter().map(|e| e.place.file.as_str()).collect();
        files.sort_unstable();
        files.dedup();
        // One value mends every place of a variable: the first is shown, the others counted.
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        for name in self.0.iter().filter_map(|e| e.kind.variable()) {
            *places.entry(name).or_default() += 1;
        }
        let mut text = Vec::new();
        for error in &self.0 {
            match error.kind.variable().map(|name| places.remove(name)) {
                None | Some(Some(1)) => text.push(error.to_string()),
                Some(Some(all)) => {
                    let others = plural(all - 1, "other place");
                    text.push(format!("{error}\n  and at {others}"));
                }
                Some(None) => {}
            }
        }
        list(&text, &plural(files.len(), "suite file"))
    }
}

/// One thing wrong at one place.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}", self.explanation())]
pub struct SuiteError {
    /// Where.
    pub place: Place,
    /// What.
    #[source]
    pub kind: SuiteErrorKind,
}

impl SuiteError {
    fn explanation(&self) -> Explanation<'_> {
        Explanation {
            place: &self.place,
            what: self.kind.to_string(),
            rule: self.kind.rule(),
            nearest: self.kind.nearest(),
            way_out: match &self.kind {
                SuiteErrorKind::Toml(mistake) => mistake.way_out(),
                _ => None,
            },
        }
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SuiteErrorKind {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// The file is no TOML, or has keys that a suite has not.
    #[error(transparent)]
    Toml(#[from] Mistake),
    /// A name is taken.
    #[error("{what} `{name}` is already taken at {first}")]
    Duplicate {
        /// What has the name: `suite`, `probe`.
        what: &'static str,
        /// The name.
        name: String,
        /// Where it was taken.
        first: String,
        /// The rule.
        rule: &'static str,
    },
    /// A `{{name}}` without a value.
    #[error("`{{{{{name}}}}}` has no value")]
    UnknownVar {
        /// The name.
        name: String,
        /// The variable that was probably meant.
        nearest: Option<String>,
        /// The variables that have a value.
        known: Vec<String>,
    },
    /// A check was refused.
    #[error("check `{kind}`: {problem}")]
    Check {
        /// The check's kind.
        kind: String,
        /// What is wrong with it.
        problem: CheckProblem,
    },
    /// The checks of a probe do not agree with its golden answer.
    #[error("this golden answer expects `{}`, but the checks {says}", expect_word(*.expect))]
    Golden {
        /// What the golden answer expects.
        expect: Expect,
        /// What the checks say of it.
        says: String,
    },
}

impl SuiteErrorKind {
    /// The variable that has no value, if that is what is wrong.
    fn variable(&self) -> Option<&str> {
        match self {
            SuiteErrorKind::UnknownVar { name, .. } => Some(name),
            _ => None,
        }
    }

    /// Every problem of a refused check.
    pub(super) fn of_check(error: CheckError) -> impl Iterator<Item = Self> {
        let kind = error.kind;
        error.problems.into_iter().map(move |problem| Self::Check {
            kind: kind.clone(),
            problem,
        })
    }

    /// The rule that was broken, and the way out.
    pub fn rule(&self) -> String {
        match self {
            Self::Unreadable(_) => "every suite that is named has to be readable".into(),
            Self::Toml(mistake) => mistake.rule(),
            Self::Duplicate { rule, .. } => (*rule).into(),
            Self::UnknownVar { name, known, .. } if known.is_empty() => {
                format!("give `{name}` a value under [vars] in qeval.toml, which has none")
            }
            Self::UnknownVar { name, known, .. } => format!(
                "give `{name}` a value under [vars] in qeval.toml, which has {}",
                all_of(known)
            ),
            Self::Check { problem, .. } => problem.rule(),
            Self::Golden { .. } => "golden answers test the checks: mend the check, the answer, \
                                    or what it expects"
                .into(),
        }
    }

    /// The name that was probably meant.
    pub fn nearest(&self) -> Option<&str> {
        match self {
            Self::Toml(mistake) => mistake.nearest(),
            Self::UnknownVar { nearest, .. } => nearest.as_deref(),
            Self::Check { problem, .. } => problem.nearest(),
            _ => None,
        }
    }
}

fn expect_word(expect: Expect) -> &'static str {
    match expect {
        Expect::Pass => "pass",
        Expect::Fail => "fail",
        Expect::Unscored => "unscored",
    }
}

/// A selection that selects nothing, or makes no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SelectError {
    /// A pattern fits no probe.
    #[error(
        "no probe matches `{pattern}`{}: a pattern is `suite::probe`, a suite, or a probe, with \
         `*` and `?`; the suites are {}",
        nearest.as_ref().map_or(String::new(), |n| format!(" (nearest: `{n}`)")),
        all_of(suites)
    )]
    Pattern {
        /// As written.
        pattern: String,
        /// The suite or probe that was probably meant.
        nearest: Option<String>,
        /// The suites there are.
        suites: Vec<String>,
    },
    /// A tag that no probe has.
    #[error(
        "no probe has the tag `{tag}`{}: the tags are {}",
        nearest.as_ref().map_or(String::new(), |n| format!(" (nearest: `{n}`)")),
        all_of(tags)
    )]
    Tag {
        /// As written.
        tag: String,
        /// The tag that was probably meant.
        nearest: Option<String>,
        /// The tags there are.
        tags: Vec<String>,
    },
    /// The patterns, tags, and shard together leave nothing.
    #[error(
        "none of {probes} is at once of {}: leave one of these out (`--probe`, `--tag`, `--shard`, or \
         `tags` and `languages` under [gate] in qeval.toml)",
        .asked.join(" and ")
    )]
    Empty {
        /// How many there are.
        probes: String,
        /// What they were asked to be.
        asked: Vec<String>,
    },
    /// A shard is not `k/n`.
    #[error("`{0}` is no shard: a shard is `k/n` with k from 1 to n, as in `2/4`")]
    Shard(String),
}
