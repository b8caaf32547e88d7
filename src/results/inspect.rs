//! Inspect: a log as one JSON value, version 2.
//!
//! A sample is an item and an epoch a draw of it. A scorer is a metric; one whose value is an object
//! gives a metric a key, `SCORER/KEY`. Values are numbers, or the letters that Inspect's own
//! `value_to_float` turns into them: C is 1, P a half, I and N are 0. NaN, a null, or a sample without
//! the score is unscored, with the reason that Inspect gives. The one of its headline counts, else the
//! first. Version read: inspect_ai 0.3.285.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value as Json;

use super::error::{ResultsError, Unreadable};
use super::item::{Item, Task, Value};
use super::lines::{failed, text_of};
use crate::python_json::without_nan;

const VERSION: u64 = 2;

/// What is read of a log; events, which are most of it, are passed over.
#[derive(Deserialize)]
struct Log {
    #[serde(default)]
    version: Json,
    #[serde(default)]
    status: Option<String>,
    eval: Eval,
    #[serde(default)]
    results: Option<Summary>,
    #[serde(default)]
    invalidated: bool,
    #[serde(default)]
    samples: Option<Vec<Sample>>,
}

#[derive(Deserialize)]
struct Eval {
    task: String,
    #[serde(default)]
    task_version: Json,
}

#[derive(Deserialize)]
struct Summary {
    #[serde(default)]
    headline: Option<Headline>,
    #[serde(default)]
    scores: Vec<Named>,
}

#[derive(Deserialize)]
struct Headline {
    #[serde(default)]
    score: Option<String>,
    #[serde(default)]
    scorer: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Sample {
    id: Json,
    #[serde(default)]
    epoch: Option<usize>,
    #[serde(default)]
    input: Json,
    #[serde(default)]
    target: Json,
    #[serde(default)]
    output: Option<Output>,
    #[serde(default)]
    scores: Option<BTreeMap<String, Scored>>,
    #[serde(default)]
    error: Option<Failure>,
}

#[derive(Deserialize)]
struct Output {
    #[serde(default)]
    completion: Option<String>,
    #[serde(default)]
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Json,
}

#[derive(Deserialize)]
struct Scored {
    #[serde(default)]
    value: Json,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    explanation: Option<String>,
}

#[derive(Deserialize)]
struct Failure {
    #[serde(default)]
    message: String,
}

/// Reads a log.
pub(super) fn read(file: &Path, bytes: &[u8]) -> Result<(String, Task), ResultsError> {
    let text = std::str::from_utf8(bytes).map_err(|_| failed(file, 0, Unreadable::NoText))?;
    let log: Log = serde_json::from_str(&without_nan(text))
        .map_err(|error| failed(file, 0, Unreadable::Json(error.to_string())))?;
    if log.version.as_u64() != Some(VERSION) {
        let found = log.version.to_string();
        let known = "2";
        return Err(failed(file, 0, Unreadable::Version { found, known }));
    }
    let samples = log.samples.unwrap_or_default();
    let mut task = Task {
        version: match &log.eval.task_version {
            Json::Null => None,
            version => Some(text_of(version)),
        },
        // Every scorer of Inspect is better when higher.
        knows_direction: true,
        incomplete: incomplete(log.status.as_deref(), log.invalidated),
        ..Task::of(file)
    };
    let mut seen = BTreeSet::new();
    for sample in samples {
        let item = item(sample);
        if !seen.insert((item.key.clone(), item.draw)) {
            let item = format!("{}, epoch {}", item.id, item.draw + 1);
            return Err(failed(file, 0, Unreadable::SampleTwice { item }));
        }
        for name in item.scores.keys() {
            if !task.metrics.contains(name) {
                task.metrics.push(name.clone());
            }
        }
        task.items.push(item);
    }
    if task.items.is_empty() {
        return Err(failed(file, 0, Unreadable::Empty));
    }
    let Some(usual) = usual(log.results.as_ref(), &task.metrics) else {
        return Err(failed(file, 0, Unreadable::NoKey("score")));
    };
    task.usual = usual;
    Ok((log.eval.task, task))
}

fn incomplete(status: Option<&str>, invalidated: bool) -> Option<String> {
    match status {
        _ if invalidated => Some("its log was invalidated".into()),
        Some("success") | None => None,
        Some(other) => Some(format!("its status is `{other}`")),
    }
}

/// The metric of the headline, else of the first score of the results, else the first of all.
fn usual(summary: Option<&Summary>, metrics: &[String]) -> Option<String> {
    let headline = summary.and_then(|s| s.headline.as_ref());
    let headline = headline.and_then(|h| h.score.as_ref().or(h.scorer.as_ref()));
    let scores = summary.iter().flat_map(|s| &s.scores).map(|s| &s.name);
    let wanted = headline.into_iter().chain(scores);
    let of = |name: &String| {
        let key = format!("{name}/");
        let mut all = metrics.iter();
        all.find(|metric| *metric == name || metric.starts_with(&key))
    };
    wanted
        .filter_map(of)
        .next()
        .or_else(|| metrics.first())
        .cloned()
}

fn item(sample: Sample) -> Item {
    let mut scores = BTreeMap::new();
    for (scorer, scored) in sample.scores.unwrap_or_default() {
        let why = scored.reason.as_ref().or(scored.explanation.as_ref());
        let value = |value: &Json| match (value_of(value), why) {
            (Value::Missing(_), Some(why)) => Value::Missing(why.clone()),
            (value, _) => value,
        };
        match &scored.value {
            Json::Object(each) => {
                for (key, each) in each {
                    scores.insert(format!("{scorer}/{key}"), value(each));
                }
            }
            one => {
                scores.insert(scorer, value(one));
            }
        }
    }
    // A sample that failed has no score; the reason is the error.
    let failure = sample
        .error
        .map(|error| format!("error: {}", error.message));
    if let Some(failure) = failure.filter(|_| scores.is_empty()) {
        scores.insert(FAILED.to_owned(), Value::Missing(failure));
    }
    Item {
        key: sample.id.to_string(),
        id: text_of(&sample.id),
        draw: sample.epoch.unwrap_or(1).saturating_sub(1),
        asked: without_ids(&sample.input).to_string(),
        target: sample.target.to_string(),
        question: question(&sample.input),
        answer: sample.output.and_then(said),
        scores,
        line: 0,
    }
}

/// Stands for every scorer where a sample failed before any.
pub(super) const FAILED: &str = "";

/// As Inspect's `value_to_float` has it, with its usual letters and words.
fn value_of(value: &Json) -> Value {
    let Json::String(text) = value else {
        return Value::of(value);
    };
    match text.as_str() {
        "C" => Value::Number(1.0),
        "P" => Value::Number(0.5),
        "I" | "N" => Value::Number(0.0),
        other => match other.to_ascii_lowercase().as_str() {
            "yes" | "true" => Value::Number(1.0),
            "no" | "false" => Value::Number(0.0),
            other => match other.parse::<f64>() {
                Ok(number) if number.is_finite() => Value::Number(number),
                Ok(_) => Value::Missing("its score is no finite number".into()),
                Err(_) => Value::Other("a text"),
            },
        },
    }
}

/// Messages without what is drawn anew in each evaluation.
fn without_ids(input: &Json) -> Json {
    let Json::Array(messages) = input else {
        return input.clone();
    };
    let plain = messages.iter().map(|message| match message {
        Json::Object(message) => {
            let mut plain = message.clone();
            plain.remove("id");
            Json::Object(plain)
        }
        other => other.clone(),
    });
    plain.collect()
}

/// The text of the last message.
fn question(input: &Json) -> String {
    match input {
        Json::Array(messages) => messages
            .last()
            .map_or_else(String::new, |last| content(&last["content"])),
        other => text_of(other),
    }
}

fn said(output: Output) -> Option<String> {
    let completion = output.completion.filter(|text| !text.is_empty());
    completion.or_else(|| Some(content(&output.choices.first()?.message.content)))
}

/// The text of a message's content: a string, or parts of which some are text.
fn content(content: &Json) -> String {
    match content {
        Json::String(text) => text.clone(),
        Json::Array(parts) => {
            let texts = parts.iter().filter_map(|part| part["text"].as_str());
            texts.collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}
