//! lm-evaluation-harness: `samples_TASK_DATE.jsonl`, and what `results_DATE.json` beside it says of
//! the task.
//!
//! A line is a document under one filter, with a number a metric; several filters are several lines
//! of one document, and a metric is named `METRIC,FILTER` as in the results. Documents are paired by
//! `doc_hash`, whatever their number; a document of another `prompt_hash` was asked otherwise. Files
//! of versions without hashes pair by the document's text. Which way a metric is better only the
//! results say. Versions read: 0.4.0 to 0.4.13.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json};

use super::error::{ResultsError, Unreadable};
use super::item::{Item, Task, Value};
use super::lines::{Lines, failed, text_of};
use crate::python_json::without_nan;

/// Keys of a line that are no metric, in versions that do not name their metrics.
const FIXED: [&str; 13] = [
    "doc_id",
    "doc",
    "target",
    "arguments",
    "resps",
    "filtered_resps",
    "filter",
    "metrics",
    "doc_hash",
    "prompt_hash",
    "target_hash",
    "unscored",
    "task_name",
];

/// Whether a line is one of a file of samples.
pub(super) fn is_sample(line: &Map<String, Json>) -> bool {
    ["doc_id", "resps", "filtered_resps"]
        .iter()
        .all(|key| line.contains_key(*key))
}

/// `samples_TASK_DATE.jsonl` -> task and date; `None` for another name.
pub(super) fn named(file: &Path) -> Option<(String, String)> {
    let name = file.file_name()?.to_str()?;
    let name = name.strip_prefix("samples_")?.strip_suffix(".jsonl")?;
    let (task, date) = name.rsplit_once('_')?;
    Some((task.to_owned(), date.to_owned()))
}

/// Reads a file of samples.
pub(super) fn read(file: &Path) -> Result<(String, Task), ResultsError> {
    let name = named(file);
    let whole = file.file_stem().and_then(|stem| stem.to_str());
    let name_of_task = match &name {
        Some((task, _)) => task.clone(),
        None => whole.unwrap_or("samples").to_owned(),
    };
    let mut task = Task::of(file);
    read_items(file, &mut task)?;
    if let Some((_, date)) = &name {
        let results = file.with_file_name(format!("results_{date}.json"));
        if results.is_file() {
            read_summary(&results, &name_of_task, &mut task)?;
        }
    }
    Ok((name_of_task, task))
}

fn read_items(file: &Path, task: &mut Task) -> Result<(), ResultsError> {
    let mut lines = Lines::open(file)?;
    // Place of each document among the items, by its number; its filters by the line.
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut filters: BTreeMap<(usize, String), usize> = BTreeMap::new();
    // Documents may be equal: the second one of the base is the second one of the candidate.
    let mut equal: BTreeMap<String, usize> = BTreeMap::new();
    while let Some((number, line)) = lines.next_object()? {
        if !is_sample(&line) {
            let kind = Unreadable::NoKey("`doc_id`, `resps`, and `filtered_resps`");
            return Err(failed(file, number, kind));
        }
        let id = text_of(&line["doc_id"]);
        let place = match places.entry(id.clone()) {
            Entry::Occupied(place) => *place.get(),
            Entry::Vacant(place) => {
                let mut item = item(&line, id.clone(), number);
                let count = equal.entry(item.key.clone()).or_default();
                *count += 1;
                item.key = format!("{} {count}", item.key);
                task.items.push(item);
                *place.insert(task.items.len() - 1)
            }
        };
        let filter = line
            .get("filter")
            .map_or_else(|| "none".to_owned(), text_of);
        if let Some(first) = filters.insert((place, filter.clone()), number) {
            return Err(failed(file, number, Unreadable::Twice { item: id, first }));
        }
        for metric in metrics(&line) {
            let value = line.get(&metric).unwrap_or(&Json::Null);
            let value = match (Value::of(value), line.get("unscored")) {
                (Value::Missing(_), Some(Json::Array(why))) if !why.is_empty() => {
                    Value::Missing(text_of(&why[0]))
                }
                (value, _) => value,
            };
            let name = format!("{metric},{filter}");
            if !task.metrics.contains(&name) {
                task.metrics.push(name.clone());
            }
            task.items[place].scores.insert(name, value);
        }
    }
    match task.metrics.first() {
        Some(first) => task.usual.clone_from(first),
        None if task.items.is_empty() => return Err(failed(file, 0, Unreadable::Empty)),
        None => return Err(failed(file, 1, Unreadable::NoKey("metric"))),
    }
    Ok(())
}

/// Names of a line's metrics, in its order.
fn metrics(line: &Map<String, Json>) -> Vec<String> {
    match line.get("metrics") {
        Some(Json::Array(names)) => names.iter().map(text_of).collect(),
        _ => {
            let keys = line.keys().filter(|key| !FIXED.contains(&key.as_str()));
            keys.cloned().collect()
        }
    }
}

fn item(line: &Map<String, Json>, id: String, number: usize) -> Item {
    let hash = |key: &str, other: &str| match line.get(key) {
        Some(Json::String(hash)) => hash.clone(),
        _ => line.get(other).map_or_else(String::new, Json::to_string),
    };
    let arguments = line.get("arguments");
    let first = arguments.and_then(|arguments| match arguments {
        Json::Object(each) => each.values().next(),
        Json::Array(each) => each.first(),
        _ => None,
    });
    let question = first.and_then(|first| match first {
        Json::Object(arguments) => arguments.get("arg_0"),
        Json::Array(arguments) => arguments.first(),
        _ => None,
    });
    Item {
        key: hash("doc_hash", "doc"),
        id,
        draw: 0,
        asked: hash("prompt_hash", "arguments"),
        target: hash("target_hash", "target"),
        question: question.map_or_else(String::new, text_of),
        answer: answer(line),
        scores: BTreeMap::new(),
        line: number,
    }
}

/// What was said: the first response, where it is text and no likelihood.
fn answer(line: &Map<String, Json>) -> Option<String> {
    let mut value = line.get("resps")?;
    while let Json::Array(values) = value {
        // A likelihood is a pair of a number and a flag, both written as text.
        if let [Json::String(number), Json::String(flag)] = values.as_slice()
            && number.parse::<f64>().is_ok()
            && matches!(flag.as_str(), "True" | "False")
        {
            return None;
        }
        value = values.first()?;
    }
    value.as_str().map(str::to_owned)
}

/// What the results say of a task.
fn read_summary(file: &Path, name: &str, task: &mut Task) -> Result<(), ResultsError> {
    let text = std::fs::read(file).map_err(|error| failed(file, 0, error))?;
    let text = std::str::from_utf8(&text).map_err(|_| failed(file, 0, Unreadable::NoText))?;
    let summary: Json = serde_json::from_str(&without_nan(text))
        .map_err(|error| failed(file, 0, Unreadable::Json(error.to_string())))?;
    task.version = match &summary["versions"][name] {
        Json::Null => None,
        version => Some(text_of(version)),
    };
    if let Json::Object(better) = &summary["higher_is_better"][name] {
        task.knows_direction = true;
        for metric in &task.metrics {
            let plain = metric.rsplit_once(',').map_or(metric.as_str(), |(m, _)| m);
            if better.get(plain) == Some(&Json::Bool(false)) {
                task.lower_is_better.insert(metric.clone());
            }
        }
    }
    Ok(())
}

/// The files of samples that a file of results belongs to.
pub(super) fn samples_of(results: &Path) -> Vec<PathBuf> {
    let date = results
        .file_stem()
        .and_then(|stem| stem.to_str()?.strip_prefix("results_"));
    let folder = results.parent().filter(|p| !p.as_os_str().is_empty());
    let entries = std::fs::read_dir(folder.unwrap_or(Path::new(".")));
    let mut files: Vec<PathBuf> = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| named(path).is_some_and(|(_, d)| Some(d.as_str()) == date))
        .collect();
    files.sort();
    files
}
