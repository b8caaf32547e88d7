//! What can be wrong with suite files and with a selection of probes. An error names the place,
//! shows the line, and says what is wrong, the rule, and the name that was probably meant.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use crate::check::registry::{CheckError, CheckProblem};
use crate::flow::Expect;
use crate::text::{all_of, display_width, plural};

/// Most characters of a source line that an error shows; longer lines are cut around the place.
const SHOWN_CHARS: usize = 96;

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
        text.push(format!(
            "{} in {}",
            plural(text.len(), "error"),
            plural(files.len(), "suite file")
        ));
        text.join("\n\n")
    }
}

/// One thing wrong at one place.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{place}: {kind}{}{}", place.excerpt(), notes(.kind))]
pub struct SuiteError {
    /// Where.
    pub place: Place,
    /// What.
    #[source]
    pub kind: SuiteErrorKind,
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Place {
    /// The file as the user named it.
    pub file: String,
    /// Line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The line's text.
    pub source: String,
    /// Length in characters of what is wrong, within the line.
    pub length: usize,
}

impl Place {
    /// The file as a whole.
    pub(super) fn file(file: &str) -> Self {
        Place {
            file: file.to_owned(),
            ..Place::default()
        }
    }

    /// The place of a byte range of the file's text.
    pub(super) fn at(file: &str, text: &str, span: &Range<usize>) -> Self {
        let mut start = span.start.min(text.len());
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        let line_start = text[..start].rfind('\n').map_or(0, |i| i + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |i| i + start);
        let source = text[line_start..line_end].trim_end_matches('\r');
        let end = span.end.min(line_start + source.len()).max(start);
        Place {
            file: file.to_owned(),
            line: text[..start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            source: source.to_owned(),
            length: text
                .get(start..end)
                .map_or(1, |part| part.chars().count())
                .max(1),
        }
    }

    /// The line with carets under the place, each with a line break before it.
    fn excerpt(&self) -> String {
        if self.line == 0 {
            return String::new();
        }
        let chars: Vec<char> = self
            .source
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let at = self.column - 1;
        let from = if chars.len() <= SHOWN_CHARS {
            0
        } else {
            at.saturating_sub(SHOWN_CHARS / 3)
        };
        let to = chars.len().min(from + SHOWN_CHARS);
        let (lead, trail) = (
            if from > 0 { "…" } else { "" },
            if to < chars.len() { "…" } else { "" },
        );
        let width = |chars: &[char]| chars.iter().map(|c| display_width(*c)).sum::<usize>();
        let shown: String = chars[from..to].iter().collect();
        let before = width(&chars[from..at.min(to)]) + lead.chars().count();
        let marked = width(&chars[at.min(to)..to.min(at + self.length)]).max(1);
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        format!(
            "\n{}\n  {margin} | {}{}",
            format!("  {number} | {lead}{shown}{trail}").trim_end(),
            " ".repeat(before),
            "^".repeat(marked)
        )
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}:{}", self.file, self.column),
        }
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SuiteErrorKind {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// The file is not UTF-8.
    #[error("invalid UTF-8: byte 0x{byte:02x}")]
    NotUtf8 {
        /// The first wrong byte.
        byte: u8,
    },
    /// The file is no TOML.
    #[error("{0}")]
    Syntax(String),
    /// A table has a key that does not exist.
    #[error("unknown key `{key}` in {table}")]
    UnknownKey {
        /// As written.
        key: String,
        /// The table's name.
        table: &'static str,
        /// The key that was probably meant.
        nearest: Option<String>,
        /// The keys of the table.
        known: &'static [&'static str],
    },
    /// A required key is not there.
    #[error("{table} has no `{key}`")]
    MissingKey {
        /// The key.
        key: &'static str,
        /// The table's name.
        table: &'static str,
        /// What it wants.
        rule: &'static str,
    },
    /// A value has another type.
    #[error("`{key}` is {found}")]
    WrongType {
        /// The key.
        key: String,
        /// What it wants.
        expected: &'static str,
        /// What was written.
        found: String,
    },
    /// A value has the right type and breaks a rule.
    #[error("{what}")]
    BadValue {
        /// What is wrong.
        what: String,
        /// The rule and the way out.
        rule: String,
        /// What was probably meant.
        nearest: Option<String>,
    },
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

    /// A value that breaks a rule.
    pub(super) fn bad(what: impl Into<String>, rule: impl Into<String>) -> Self {
        Self::BadValue {
            what: what.into(),
            rule: rule.into(),
            nearest: None,
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
            Self::NotUtf8 { .. } => "a suite is a UTF-8 file: save it in that encoding".into(),
            Self::Syntax(_) => "a suite is a TOML file (https://toml.io)".into(),
            Self::UnknownKey { table, known, .. } => format!("{table} takes {}", all_of(known)),
            Self::MissingKey { rule, .. } | Self::Duplicate { rule, .. } => (*rule).into(),
            Self::WrongType { key, expected, .. } => format!("`{key}` wants {expected}"),
            Self::BadValue { rule, .. } => rule.clone(),
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
            Self::UnknownKey { nearest, .. }
            | Self::BadValue { nearest, .. }
            | Self::UnknownVar { nearest, .. } => nearest.as_deref(),
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

fn notes(kind: &SuiteErrorKind) -> String {
    let nearest = kind
        .nearest()
        .map_or(String::new(), |name| format!("\n  nearest: `{name}`"));
    format!("\n  rule: {}{nearest}", kind.rule())
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
