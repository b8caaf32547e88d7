//! A task's documents, with the types that the `datasets` library gives their columns.
//!
//! A table has one type a column, so one fraction makes a column of whole numbers one of
//! fractions (`3` prints as `3.0`), and a key that a line lacks is null. A column whose texts are
//! all dates becomes one of times, which print otherwise: it is left out.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Number, Value};

use crate::import::error::{ImportError, ImportErrorKind};
use crate::import::notes::Notes;
use crate::import::pattern;
use crate::import::settings::shown;
use crate::import::source::{Folder, ImportSource, read_documents};
use crate::import::yaml;

/// Splits in the order in which the harness looks for documents to ask.
const SPLITS: [&str; 3] = ["test_split", "validation_split", "training_split"];

static DATE: LazyLock<Regex> = LazyLock::new(|| {
    pattern::constant(
        r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[ T][0-9]{2}(?::?[0-9]{2}(?::?[0-9]{2})?)?)?Z?$",
    )
});

/// Documents with the names of their columns.
#[derive(Debug)]
pub(super) struct Documents {
    rows: Vec<Map<String, Value>>,
    columns: BTreeSet<String>,
}

impl Documents {
    /// The documents that `--docs` names, else those that the task has in files.
    pub(super) fn of(
        source: &ImportSource,
        config: &Map<String, Value>,
        place: &str,
        notes: &mut Notes,
    ) -> Result<Self, ImportError> {
        if let Some(docs) = &source.docs {
            return Ok(Documents::new(read_documents(docs, None)?));
        }
        for key in ["custom_dataset", "process_docs"] {
            if let Some(program) = config.get(key).filter(|value| !value.is_null()) {
                let task = config.get("task").and_then(Value::as_str);
                let kind = ImportErrorKind::MadeDocuments {
                    task: task.unwrap_or("TASK").to_owned(),
                    folder: Folder::of(&source.file).shown(),
                    setting: shown(key, program),
                };
                return Err(kind.at(place));
            }
        }
        let mut documents = Documents::new(in_files(source, config, place)?);
        for column in documents.dates() {
            let why = "its texts are all dates, which `datasets` reads as times and prints \
                       otherwise";
            notes.add("the documents", format!("the column `{column}`"), why);
            documents.rows.iter_mut().for_each(|row| {
                row.remove(&column);
            });
            documents.columns.remove(&column);
        }
        Ok(documents)
    }

    pub(super) fn new(mut rows: Vec<Map<String, Value>>) -> Self {
        let columns: BTreeSet<String> = rows.iter().flat_map(|row| row.keys().cloned()).collect();
        for column in &columns {
            let kind = rows.iter().filter_map(|row| row.get(column)).map(Kind::of);
            let kind = kind.fold(Kind::Null, Kind::with);
            for row in &mut rows {
                let value = row.entry(column.clone()).or_insert(Value::Null);
                kind.apply(value);
            }
        }
        Documents { rows, columns }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Map<String, Value>> {
        self.rows.iter()
    }

    /// Whether it is the name of a column.
    pub(super) fn has(&self, column: &str) -> bool {
        self.columns.contains(column)
    }

    fn dates(&self) -> Vec<String> {
        let columns = self.columns.iter().filter(|column| {
            let mut texts = self.rows.iter().filter_map(|row| row.get(*column));
            let mut any = false;
            let all = texts.all(|value| match value {
                Value::Null => true,
                Value::String(text) => {
                    any = true;
                    DATE.is_match(text)
                }
                _ => false,
            });
            all && any
        });
        columns.cloned().collect()
    }
}

/// The type of a column, as far as it changes how values print.
#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Null,
    Bool,
    Whole,
    Fraction,
    Text,
    List(Box<Kind>),
    Struct(Vec<(String, Kind)>),
    /// Of several kinds: kept as it is.
    Mixed,
}

impl Kind {
    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Kind::Null,
            Value::Bool(_) => Kind::Bool,
            Value::Number(number) if number.is_i64() => Kind::Whole,
            Value::Number(_) => Kind::Fraction,
            Value::String(_) => Kind::Text,
            Value::Array(items) => Kind::List(Box::new(
                items.iter().map(Kind::of).fold(Kind::Null, Kind::with),
            )),
            Value::Object(map) => {
                let fields = map.iter();
                Kind::Struct(
                    fields
                        .map(|(key, value)| (key.clone(), Kind::of(value)))
                        .collect(),
                )
            }
        }
    }

    fn with(self, other: Kind) -> Kind {
        match (self, other) {
            (Kind::Null, kind) | (kind, Kind::Null) => kind,
            (Kind::Whole, Kind::Fraction) | (Kind::Fraction, Kind::Whole) => Kind::Fraction,
            (Kind::List(a), Kind::List(b)) => Kind::List(Box::new(a.with(*b))),
            (Kind::Struct(a), Kind::Struct(b)) => {
                let alike = a.len() == b.len()
                    && a.iter()
                        .all(|(key, _)| b.iter().any(|(other, _)| other == key));
                if !alike {
                    return Kind::Mixed;
                }
                let fields = a.into_iter().map(|(key, kind)| {
                    let other = b.iter().find(|(other, _)| *other == key);
                    let other = other.map_or(Kind::Null, |(_, kind)| kind.clone());
                    (key, kind.with(other))
                });
                Kind::Struct(fields.collect())
            }
            (a, b) if a == b => a,
            _ => Kind::Mixed,
        }
    }

    fn apply(&self, value: &mut Value) {
        match (self, value) {
            (Kind::Fraction, value @ Value::Number(_)) => {
                if let Some(number) = value.as_f64().and_then(Number::from_f64) {
                    *value = Value::Number(number);
                }
            }
            (Kind::List(kind), Value::Array(items)) => {
                items.iter_mut().for_each(|item| kind.apply(item));
            }
            (Kind::Struct(fields), Value::Object(map)) => {
                for (key, kind) in fields {
                    if let Some(value) = map.get_mut(key) {
                        kind.apply(value);
                    }
                }
            }
            _ => {}
        }
    }
}

fn in_files(
    source: &ImportSource,
    config: &Map<String, Value>,
    place: &str,
) -> Result<Vec<Map<String, Value>>, ImportError> {
    let kwargs = config.get("dataset_kwargs");
    let named = kwargs.and_then(|kwargs| kwargs.get("data_files"));
    let split = SPLITS.iter().find_map(|key| config.get(*key)?.as_str());
    let files = match named {
        Some(Value::Object(splits)) => match (split, splits.len()) {
            (Some(split), _) => splits.get(split),
            (None, 1) => splits.values().next(),
            (None, _) => None,
        },
        other => other,
    };
    let files: Vec<String> = match files {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(all)) => all.iter().filter_map(yaml::shown).collect(),
        _ => Vec::new(),
    };
    let path = config.get("dataset_path").and_then(yaml::shown);
    let is_json = path.as_deref().is_none_or(|path| path == "json");
    if files.is_empty() || !is_json {
        let why = match path {
            Some(path) => format!("`dataset_path` is \"{path}\""),
            None => "it names none".into(),
        };
        return Err(ImportErrorKind::NoDocuments(why).at(place));
    }
    let field = kwargs.and_then(|kwargs| kwargs.get("field")?.as_str());
    let folder = Folder::of(&source.file);
    let mut documents = Vec::new();
    for file in &files {
        let path: PathBuf = folder.path(file);
        if !path.is_file() {
            let why = format!("there is no file {}", path.display());
            return Err(ImportErrorKind::NoDocuments(why).at(place));
        }
        documents.extend(read_documents(&path, field)?);
    }
    Ok(documents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn typed(rows: &Value) -> String {
        let rows = rows.as_array().unwrap().iter();
        let rows = rows.map(|row| row.as_object().unwrap().clone()).collect();
        let documents = Documents::new(rows);
        serde_json::to_string(&documents.rows).unwrap()
    }

    /// As datasets 5.2 loads them: `list(load_dataset("json", data_files=..)["train"])`.
    #[test]
    fn columns_have_one_type() {
        for (rows, expected) in [
            (json!([{"a": 1}, {"a": 2.5}]), r#"[{"a":1.0},{"a":2.5}]"#),
            (
                json!([{"a": 1}, {"b": 2}]),
                r#"[{"a":1,"b":null},{"b":2,"a":null}]"#,
            ),
            (json!([{"a": 1}, {"a": "x"}]), r#"[{"a":1},{"a":"x"}]"#),
            (
                json!([{"a": {"x": 1}}, {"a": {"y": 2.5}}]),
                r#"[{"a":{"x":1}},{"a":{"y":2.5}}]"#,
            ),
            (json!([{"a": [1, 2.5]}]), r#"[{"a":[1.0,2.5]}]"#),
            (json!([{"a": true}, {"a": 1}]), r#"[{"a":true},{"a":1}]"#),
            (
                json!([{"a": 12345678901234567890u64}]),
                r#"[{"a":1.2345678901234567e+19}]"#,
            ),
        ] {
            assert_eq!(typed(&rows), expected);
        }
    }
}
