//! evalscope: `reviews/MODEL/DATASET_SUBSET.jsonl`, one line an answer.
//!
//! A file is a task, by its name. Items are paired by their number in the data, which is the group
//! that repeats of one question have in common, and what was asked and wanted has to be the same.
//! `main_score_name` counts where nobody chooses. A review does not say which way a metric is better.
//! Version read: evalscope 1.14.1.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value as Json};

use super::error::{ResultsError, Unreadable};
use super::item::{Item, Task, Value};
use super::lines::{Lines, failed, text_of};

/// Whether a line is one of a file of reviews.
pub(super) fn is_review(line: &Map<String, Json>) -> bool {
    line.contains_key("sample_score")
}

/// Whether a line is one of a file of predictions.
pub(super) fn is_prediction(line: &Map<String, Json>) -> bool {
    line.contains_key("model_output")
}

/// Reads a file of reviews.
pub(super) fn read(file: &Path) -> Result<(String, Task), ResultsError> {
    let stem = file.file_stem().and_then(|stem| stem.to_str());
    let name = stem.unwrap_or("reviews").to_owned();
    let mut lines = Lines::open(file)?;
    let mut task = Task::of(file);
    let mut seen: BTreeMap<(String, usize), usize> = BTreeMap::new();
    while let Some((number, line)) = lines.next_object()? {
        let Some(sample) = line.get("sample_score").filter(|s| s.is_object()) else {
            return Err(failed(file, number, Unreadable::NoKey("`sample_score`")));
        };
        let score = &sample["score"];
        let item = item(&line, sample, number);
        if let Some(first) = seen.insert((item.key.clone(), item.draw), number) {
            let item = item.id;
            return Err(failed(file, number, Unreadable::Twice { item, first }));
        }
        for metric in item.scores.keys() {
            if !task.metrics.contains(metric) {
                task.metrics.push(metric.clone());
            }
        }
        if let (true, Some(main)) = (task.usual.is_empty(), score["main_score_name"].as_str()) {
            main.clone_into(&mut task.usual);
        }
        task.items.push(item);
    }
    if task.items.is_empty() {
        return Err(failed(file, 0, Unreadable::Empty));
    }
    if !task.metrics.contains(&task.usual) {
        let Some(first) = task.metrics.first() else {
            return Err(failed(file, 1, Unreadable::NoKey("`value` in its score")));
        };
        task.usual.clone_from(first);
    }
    Ok((name, task))
}

fn item(line: &Map<String, Json>, sample: &Json, number: usize) -> Item {
    let score = &sample["score"];
    let status = score["status"].as_str().unwrap_or("success");
    let mut scores = BTreeMap::new();
    if let Json::Object(values) = &score["value"] {
        for (metric, value) in values {
            let value = match status {
                "success" => Value::of(value),
                status => Value::Missing(format!("its review ended as `{status}`")),
            };
            scores.insert(metric.clone(), value);
        }
    }
    let index = line.get("index").cloned().unwrap_or_default();
    let group = match &sample["group_id"] {
        Json::Null => index,
        group => group.clone(),
    };
    let draw = sample["generation_index"].as_u64().unwrap_or(0);
    let messages = line.get("messages").and_then(Json::as_array);
    let put: Vec<String> = messages
        .into_iter()
        .flatten()
        .filter(|message| message["role"] != "assistant")
        .map(|message| text_of(&message["content"]))
        .collect();
    Item {
        id: text_of(&group),
        key: group.to_string(),
        draw: usize::try_from(draw).unwrap_or(usize::MAX),
        asked: put.join("\n\n"),
        target: line.get("target").map_or_else(String::new, Json::to_string),
        question: put.last().cloned().unwrap_or_default(),
        answer: score["prediction"].as_str().map(str::to_owned),
        scores,
        line: number,
    }
}
