//! What can be wrong with any TOML file whose keys are known.

use std::ops::Range;

use crate::text::all_of;

/// Something wrong, and the bytes of the file that it is about.
pub type Issue<K> = (Range<usize>, K);

/// What to write where a backslash is meant.
const ESCAPE: &str = "a backslash in \"...\" begins an escape such as `\\n`: write the text in single \
                      quotes, where it is a backslash ('C:\\models\\tiny'), or a path with `/`";

/// Something wrong with a TOML file, whatever the file is about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// The file is not UTF-8.
    #[error("{what}")]
    NotText {
        /// What it is.
        what: String,
        /// How it becomes text.
        way_out: String,
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
        table: String,
        /// The keys of the table.
        known: Vec<&'static str>,
        /// The key that was probably meant.
        nearest: Option<String>,
        /// What to write instead of a key that is known from elsewhere.
        way_out: Option<String>,
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
    #[error("`{key}` in {table} is {found}")]
    WrongType {
        /// The key.
        key: String,
        /// The table's name.
        table: String,
        /// What it wants.
        wants: String,
        /// What was written.
        found: String,
    },
    /// A value has the right type and breaks a rule.
    #[error("{what}")]
    BadValue {
        /// What is wrong.
        what: String,
        /// The rule.
        rule: String,
        /// What was probably meant.
        nearest: Option<String>,
    },
}

impl Mistake {
    /// A value that breaks a rule.
    pub fn bad(what: impl Into<String>, rule: impl Into<String>) -> Self {
        Self::BadValue {
            what: what.into(),
            rule: rule.into(),
            nearest: None,
        }
    }

    /// The rule that was broken.
    pub fn rule(&self) -> String {
        match self {
            Self::NotText { .. } => "the file is UTF-8: save it in that encoding".into(),
            Self::Syntax(_) => "the file is TOML (https://toml.io)".into(),
            Self::UnknownKey { table, known, .. } => format!("{table} takes {}", all_of(known)),
            Self::MissingKey { rule, .. } => (*rule).into(),
            Self::WrongType { key, wants, .. } => format!("`{key}` wants {wants}"),
            Self::BadValue { rule, .. } => rule.clone(),
        }
    }

    /// The name that was probably meant.
    pub fn nearest(&self) -> Option<&str> {
        match self {
            Self::UnknownKey { nearest, .. } | Self::BadValue { nearest, .. } => nearest.as_deref(),
            _ => None,
        }
    }

    /// What to write instead, where that is no name of the same table.
    pub fn way_out(&self) -> Option<&str> {
        match self {
            Self::UnknownKey { way_out, .. } => way_out.as_deref(),
            Self::NotText { way_out, .. } => Some(way_out),
            // What the parser says of a path of Windows in double quotes.
            Self::Syntax(message) if message.contains("escape") => Some(ESCAPE),
            _ => None,
        }
    }
}
