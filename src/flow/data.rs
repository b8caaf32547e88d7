//! What a training run would be made of, before its first step.

use serde::{Deserialize, Serialize};

/// Rows, what was left out of them, and what the base makes beside them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DataOverview {
    /// Of this form; 1.
    pub version: u32,
    /// Each source with what became of its rows, in order.
    pub sources: Vec<DataSource>,
    /// Rows that were left out, by name.
    pub left_out: Vec<LeftOutRow>,
    /// Rows that are learned, more wordings of them after them.
    pub rows: Vec<DataRow>,
    /// Prompts that are rehearsed.
    pub rehearsal: Vec<RehearsalRow>,
    /// Probes that stand in what is trained on.
    pub leaked: Vec<String>,
    /// What the user should know of what was made.
    pub notes: Vec<String>,
    /// Whether the base was loaded: only then are there tokens, answers, and wordings.
    pub with_base: bool,
}

/// One source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataSource {
    /// As the configuration names it.
    pub file: String,
    /// Rows read.
    pub rows: usize,
    /// Rows that are examples.
    pub used: usize,
    /// Why the others are none, with their number.
    pub left_out: Vec<(String, usize)>,
}

/// A row that is not trained on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOutRow {
    /// `file:line`.
    pub place: String,
    /// Why.
    pub why: String,
}

/// Where a row goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// It is trained on.
    Training,
    /// It is held out for the validation loss, with its whole group.
    Validation,
}

/// A row that is learned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataRow {
    /// `file:line`; of another wording that of its row.
    pub place: String,
    /// Where it goes.
    pub side: Side,
    /// Rows of one group go to one side.
    pub group: String,
    /// Its last question.
    pub question: String,
    /// Its answer.
    pub answer: String,
    /// The whole conversation in tokens, where the base was loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<usize>,
    /// It is another wording of a row, made by the base.
    pub made: bool,
}

/// A prompt that is rehearsed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RehearsalRow {
    /// `file`, `pool`, or `near-miss`.
    pub kind: String,
    /// Its place; of a near miss that of the row that it resembles.
    pub place: String,
    /// What the base is asked.
    pub question: String,
    /// What is learned of its answer: `distribution`, `text`, or `both`.
    pub target: String,
    /// What the base said, where it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// The answer ends at its longest.
    pub cut: bool,
}
