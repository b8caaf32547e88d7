//! What can be wrong with data files and their rows.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::built_in::built_in_names;
use super::example::Origin;
use crate::file_text::NotText;
use crate::text::{all_of, nearest};

/// A data file, or the data as a whole, that cannot be used.
#[derive(Debug, Error)]
pub enum DataError {
    /// No source is named.
    #[error(
        "[data]: no examples: `sources` is empty\n\
         (training needs a file at least: sources = [\"data/identity.jsonl\"])"
    )]
    NoSources,
    /// A file could not be read.
    #[error(
        "cannot read {}: {source}\n\
         (`sources` under [data] are paths of JSON, JSONL, or parquet files, relative to qeval.toml)",
        path.display()
    )]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A built-in source that there is not.
    #[error("{}", no_built_in(path))]
    NoBuiltIn {
        /// As the configuration names it.
        path: String,
    },
    /// Bytes that are no text.
    #[error(
        "{file}:{}: {problem}\n\
         (data files are UTF-8, with or without a byte order mark, or parquet; {})",
        problem.line, problem.way_out(file)
    )]
    NotText {
        /// The file.
        file: String,
        /// What its bytes are.
        problem: NotText,
    },
    /// A parquet file that cannot be read.
    #[error(
        "{file}: not a whole parquet file: {reason}\n\
         (fetch it again, it may be cut off; packings that are known: none, snappy, zstd)"
    )]
    Parquet {
        /// The file.
        file: String,
        /// What the reader says.
        reason: String,
    },
    /// A row of a parquet file whose values rows cannot have.
    #[error("{origin}: {reason}\n(rows hold texts, numbers, true and false, lists, and objects)")]
    ParquetValue {
        /// Which row.
        origin: Origin,
        /// What is wrong.
        reason: String,
    },
    /// What Git LFS leaves in place of a file that was not fetched.
    #[error(
        "{file}: a pointer of Git LFS, not the file itself\n(fetch it: `git lfs pull` in its repository)"
    )]
    LfsPointer {
        /// The file.
        file: String,
    },
    /// Text that is no JSON.
    #[error(
        "{file}:{line}:{column}: not valid JSON: {reason}\n\
         (a data file is one JSON array of rows, or JSONL: one row a line)"
    )]
    Syntax {
        /// The file.
        file: String,
        /// Its line, from 1.
        line: usize,
        /// Place in the line, from 1.
        column: usize,
        /// What the parser says.
        reason: String,
    },
    /// A file without rows.
    #[error("{file}: no rows\n(a source holds at least one example; take it out of `sources`)")]
    NoRows {
        /// The file.
        file: String,
    },
    /// Fewer rows than `path#N` asks for.
    #[error(
        "{file}: {take} rows are asked for, {usable} can be used\n\
         (a row is never repeated; write `{file}#{usable}` or less, or leave the number out)"
    )]
    TakeTooMany {
        /// The file.
        file: String,
        /// Rows asked for.
        take: usize,
        /// Rows there are, bad ones and duplicates left out.
        usable: usize,
    },
    /// Shares on some sources only.
    #[error(
        "[data]: {file} has no `share` while another source has one\n\
         (give every source a share, a number above 0, or none)"
    )]
    ShareMissing {
        /// The file without.
        file: String,
    },
    /// A share that leaves a source without rows.
    #[error(
        "{file}: its share leaves none of its {usable} rows\n\
         (no row is ever repeated, so the smallest source for its share sets the size of the mix; \
         raise this share or give the smallest source more rows)"
    )]
    ShareTooSmall {
        /// The file.
        file: String,
        /// Rows there are.
        usable: usize,
    },
    /// A placeholder without a value.
    #[error(
        "{origin}: `{placeholder}` has no value\n\
         (set `{key} = \"...\"` under [vars]; a value is taken as it stands, so \
         `{key} = \"{placeholder}\"` keeps the text)"
    )]
    Placeholder {
        /// Which row.
        origin: Origin,
        /// As written in the row.
        placeholder: String,
        /// Its key in `[vars]`.
        key: String,
    },
    /// A row that cannot be trained on, with `bad_rows = "refuse"`.
    #[error(
        "{0}\n\
         (mend the row, or leave such rows out, counted and named, with bad_rows = \"drop\" under [data])"
    )]
    BadRow(RowProblem),
    /// Every row was left out.
    #[error(
        "no example is left: of {rows} row{}, {dropped} could not be used, {duplicates} repeat others\n\
         (the first: {first})",
        if *rows == 1 { "" } else { "s" }
    )]
    NothingLeft {
        /// Rows read.
        rows: usize,
        /// Rows dropped.
        dropped: usize,
        /// Duplicates.
        duplicates: usize,
        /// The first row's problem.
        first: String,
    },
}

fn no_built_in(path: &str) -> String {
    let names = built_in_names();
    let nearest = match nearest(path, names.iter().map(String::as_str)) {
        Some(name) => format!("; nearest: {name}"),
        None => String::new(),
    };
    format!(
        "no source is called \"{path}\"{nearest}\n\
         (built in are {}; a file of that name is \"./{path}\")",
        all_of(&names)
    )
}

/// All failures of the data, never only the first.
#[derive(Debug, Error)]
pub struct DataErrors(
    /// At least one.
    pub Vec<DataError>,
);

/// Most errors of one kind that are written out.
const SHOWN: usize = 20;

impl fmt::Display for DataErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().take(SHOWN).enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more like these"),
        }
    }
}

/// A row that cannot be trained on.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
#[error("{origin}: {reason}")]
pub struct RowProblem {
    /// Which row.
    pub origin: Origin,
    /// What is wrong with it.
    pub reason: RowReason,
}

/// Why a row cannot be trained on.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum RowReason {
    /// Not a JSON object.
    #[error("a row is a JSON object, this is {found}")]
    NotAnObject {
        /// What it is.
        found: String,
    },
    /// A rehearsal row without a question.
    #[error(
        "no question: a rehearsal row has `instruction`, `query`, `question`, `prompt`, `messages`, or \
         `conversations`"
    )]
    NoPrompt,
    /// No known form.
    #[error("keys [{keys}] fit no known form; known: {FORMS}")]
    UnknownForm {
        /// The row's keys.
        keys: String,
    },
    /// Keys of two forms.
    #[error(
        "keys [{keys}] fit {forms}; take one out, or set `format` under [data] to the one that counts"
    )]
    AmbiguousForm {
        /// The row's keys.
        keys: String,
        /// The forms.
        forms: String,
    },
    /// Keys of two forms, question and answer of neither.
    #[error(
        "keys [{keys}] are of {forms}, and neither has both its question and its answer; rename \
         them as one form has them: {FORMS}"
    )]
    MixedForms {
        /// The row's keys.
        keys: String,
        /// The forms.
        forms: String,
    },
    /// A row that prefers one answer to another.
    #[error(
        "keys [{keys}] are those of a preference, and qeval learns answers: write the chosen one as \
         the row's answer (`response` beside a `query`, `output` beside an `instruction`, the last turn \
         of `messages` or `conversations`), and leave the other out"
    )]
    Preference {
        /// The row's keys.
        keys: String,
    },
    /// A text without turns.
    #[error(
        "keys [{keys}]: a plain `text` has no question and no answer; loss lies on answers alone: \
         write rows of one of these forms: {FORMS}"
    )]
    PlainText {
        /// The row's keys.
        keys: String,
    },
    /// Two keys of one meaning.
    #[error("`{first}` and `{second}` mean the same in a row; take one out")]
    TwoKeys {
        /// One.
        first: String,
        /// The other.
        second: String,
    },
    /// A system prompt beside the turns, and another among them.
    #[error("`{key}` and the system turn of `{list}` differ; take one out")]
    TwoSystems {
        /// The key beside them.
        key: String,
        /// The key of the turns.
        list: String,
    },
    /// A key without which the text is not what was said.
    #[error(
        "`{key}` says what the text does not: {why}; take the row out, or the key where it does not \
         count"
    )]
    Unsaid {
        /// Path of the key.
        key: String,
        /// What it means.
        why: String,
    },
    /// An answer that was collected as a bad one.
    #[error(
        "`{key}` is false: the answer is one that must not be learned; take the row out, or the key \
         where it means something else"
    )]
    Rejected {
        /// The key.
        key: String,
    },
    /// Loss on what is no answer.
    #[error("`{key}` asks for loss on a {role} turn; loss lies on answers alone: take the key out")]
    LossOnQuestion {
        /// Path of the key.
        key: String,
        /// Who speaks.
        role: String,
    },
    /// Loss of another weight than 0 and 1.
    #[error("`{key}` is {value}: an answer is learned or not, 1 or 0")]
    PartialLoss {
        /// Path of the key.
        key: String,
        /// Its value.
        value: String,
    },
    /// Two keys that say the opposite.
    #[error("`{first}` and `{second}` of `{turn}` disagree; take one out")]
    LossDisagrees {
        /// Path of the turn.
        turn: String,
        /// One key.
        first: String,
        /// The other.
        second: String,
    },
    /// Every answer is left out.
    #[error("no answer of it is to be learned: each is marked to be left out; take the row out")]
    NothingLearned,
    /// The last turn is no answer.
    #[error(
        "`{key}` ends with a question (turns go {found}), and a row ends with an answer: take the \
         last turn out, or add its answer"
    )]
    EndsWithQuestion {
        /// The key of the turns.
        key: String,
        /// The roles.
        found: String,
    },
    /// A key of a forced format is missing.
    #[error("no `{key}`, which `format = \"{format}\"` asks for; keys: [{keys}]")]
    MissingKey {
        /// The key.
        key: String,
        /// The format.
        format: String,
        /// The row's keys.
        keys: String,
    },
    /// A value of the wrong type.
    #[error("`{key}` is {found}, not {wanted}")]
    WrongType {
        /// Path of the key.
        key: String,
        /// What it is.
        found: String,
        /// What it should be.
        wanted: String,
    },
    /// A speaker that is not known.
    #[error(
        "unknown speaker {role:?} in `{key}`; known: system, user or human, assistant, gpt, \
         bot, or model"
    )]
    UnknownRole {
        /// Path of the key.
        key: String,
        /// The name.
        role: String,
    },
    /// Turns out of order.
    #[error("turns go {found}; after an optional system turn, user and assistant take turns")]
    TurnOrder {
        /// The roles.
        found: String,
    },
    /// Nothing is asked.
    #[error("no question: `{key}` is missing or empty")]
    NoQuestion {
        /// The key.
        key: String,
    },
    /// Nothing is answered.
    #[error("no answer: `{key}` is missing or empty")]
    NoAnswer {
        /// The key.
        key: String,
    },
    /// Longer than `max_length`.
    #[error(
        "{tokens} tokens, max_length is {max_length}: its answer would be cut; \
         shorten the row or raise max_length under [train]"
    )]
    TooLong {
        /// Its tokens.
        tokens: usize,
        /// The limit.
        max_length: usize,
    },
    /// The chat template or the tokenizer refuses it.
    #[error("{0}")]
    Chat(
        /// What they say.
        String,
    ),
    /// Nothing in it carries loss.
    #[error("no token of its answer can be predicted: nothing to train on")]
    NoLabels,
}

/// The known forms, as error messages list them.
pub(super) const FORMS: &str = "alpaca (instruction, output; optional input, history), \
messages (messages: role, content), sharegpt (conversations: from, value, or rounds of human, \
assistant), query-response (query, question, or prompt with response, answer, or completion; \
optional history), each with an optional system";
