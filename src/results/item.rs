//! What a result file holds, whichever program wrote it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What was read of one side.
#[derive(Debug, Clone, PartialEq)]
pub struct Results {
    /// Who wrote it: `lm-eval`, `Inspect`, `evalscope`.
    pub program: &'static str,
    /// The tasks, by name.
    pub tasks: BTreeMap<String, Task>,
}

/// A task, or a dataset, with its items.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// The file that its items stand in.
    pub file: PathBuf,
    /// Its version as the program tells it; `None` where it does not.
    pub version: Option<String>,
    /// Names of its metrics, in the order of the file: `exact_match,strict`, `match`.
    pub metrics: Vec<String>,
    /// The metric that counts where nobody chooses: the program's own first one.
    pub usual: String,
    /// Metrics of which less is better.
    pub lower_is_better: BTreeSet<String>,
    /// Whether the file says which way a metric is better.
    pub knows_direction: bool,
    /// Why not all of it may be there, where the program says so.
    pub incomplete: Option<String>,
    /// Its items, in the order of the file.
    pub items: Vec<Item>,
}

impl Task {
    /// A task of a file, of which nothing is known yet.
    pub(super) fn of(file: &Path) -> Task {
        Task {
            file: file.to_owned(),
            version: None,
            metrics: Vec::new(),
            usual: String::new(),
            lower_is_better: BTreeSet::new(),
            knows_direction: false,
            incomplete: None,
            items: Vec::new(),
        }
    }
}

/// One answer with its scores.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// What it is called in texts: lm-eval's `doc_id`, Inspect's `id`, evalscope's `group_id`.
    pub id: String,
    /// What the same item of the other side has too.
    pub key: String,
    /// Which of its draws, from 0: an epoch, a repeat.
    pub draw: usize,
    /// Digest or text of what was asked; another one is another question.
    pub asked: String,
    /// Digest or text of what a right answer is.
    pub target: String,
    /// What was asked, for people.
    pub question: String,
    /// What was answered; `None` where only likelihoods were weighed.
    pub answer: Option<String>,
    /// Its scores by metric.
    pub scores: BTreeMap<String, Value>,
    /// The line that it stands in, from 1; 0 in a file that is one value.
    pub line: usize,
}

/// A score as it stands in a file.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number, finite.
    Number(f64),
    /// None, with the reason.
    Missing(String),
    /// Something else, in words: `a list`.
    Other(&'static str),
}

impl Value {
    /// Of a JSON value; booleans are 1 and 0.
    pub(super) fn of(value: &serde_json::Value) -> Self {
        use serde_json::Value as Json;
        match value {
            Json::Number(number) => match number.as_f64() {
                Some(number) if number.is_finite() => Value::Number(number),
                _ => Value::Missing("its score is no finite number".into()),
            },
            Json::Bool(flag) => Value::Number(f64::from(u8::from(*flag))),
            // Python's NaN is read as null.
            Json::Null => Value::Missing("its score is null or NaN".into()),
            Json::String(_) => Value::Other("a text"),
            Json::Array(_) => Value::Other("a list"),
            Json::Object(_) => Value::Other("an object"),
        }
    }
}
