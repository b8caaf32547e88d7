//! promptfoo's assertions as checks (`src/assertions`).
//!
//! Names are mostly the same, parameters are not: promptfoo's `threshold` is a `max` of edits in
//! `levenshtein`, a `min` of overlap in `rouge-n`. Of several assertions all have to hold, as of
//! several checks; where a `threshold` stands over them, their weighted mean decides, which is a
//! group `all` with a `min`. A group with a member missing would be another test, so it is left
//! out as a whole.
//!
//! A `value` that is a text, or a list of them, is a template with the test's variables; in a map
//! nothing is filled in. `file://` names a text, or YAML or JSON, in which nothing is filled in
//! either.

mod kinds;

use serde_json::{Map, Value};

use crate::flow::CheckSpec;
use crate::import::draft::{accept, whole};
use crate::import::notes::Notes;
use crate::import::pattern;
use crate::import::settings::{Fate, Settings, name_unread};
use crate::import::source::Folder;
use crate::import::template::{Language, Template, Vars, printed};
use crate::import::yaml::{self, Dialect};

use super::{PROGRAM, is_program};

/// promptfoo's own, where `rouge-n` here takes 0.5.
const ROUGE_THRESHOLD: f64 = 0.75;
const JUDGE: &str =
    "the judge of a run is the base model, or what [checks] says, with its own prompt";

/// Every key of an assertion.
const SETTINGS: Settings = &[
    ("type", Fate::Read),
    ("value", Fate::Read),
    ("threshold", Fate::Read),
    ("weight", Fate::Read),
    ("assert", Fate::Read),
    ("provider", Fate::Left(JUDGE)),
    ("rubricPrompt", Fate::Left(JUDGE)),
    (
        "metric",
        Fate::Left("the checks of a probe have no names of their own"),
    ),
    ("config", Fate::Left("it is for a program")),
    (
        "transform",
        Fate::Decides("it judges what a program makes of the answer"),
    ),
    (
        "contextTransform",
        Fate::Decides("it judges what a program makes of the answer"),
    ),
];

/// A check's kind and parameters.
type Carried = (&'static str, Vec<(&'static str, Value)>);

/// Translates the assertions of one test.
pub(super) struct Translator<'a> {
    folder: &'a Folder,
    vars: Vars,
}

impl<'a> Translator<'a> {
    pub(super) fn new(folder: &'a Folder, vars: &Map<String, Value>) -> Self {
        Translator {
            folder,
            vars: Vars::new(vars, Language::JavaScript),
        }
    }

    /// The checks of assertions that all have to hold, or whose weighted mean has to reach
    /// `threshold`.
    pub(super) fn checks(
        &self,
        asserts: &[Value],
        threshold: Option<f64>,
        place: &str,
        notes: &mut Notes,
    ) -> Vec<CheckSpec> {
        if threshold.is_some() && !asserts.is_empty() {
            return self
                .group(asserts, threshold, place, notes)
                .into_iter()
                .collect();
        }
        let mut checks = Vec::new();
        for assert in asserts {
            let Some(map) = self.table(assert, place, notes) else {
                continue;
            };
            if let Some(weight) = weight_of(map).filter(|w| *w != 1.0) {
                let what = format!("`weight: {weight}` of `{}`", kind_of(map));
                if weight == 0.0 {
                    let why = "it never decides there, and every check does here";
                    notes.add(place, what, why);
                    continue;
                }
                notes.add(place, what, "outside a group the lowest check decides");
            }
            match set_of(map) {
                Some((members, threshold)) => {
                    checks.extend(self.checks(members, threshold, place, notes));
                }
                None => checks.extend(self.single(map, place, notes)),
            }
        }
        checks
    }

    fn group(
        &self,
        asserts: &[Value],
        min: Option<f64>,
        place: &str,
        notes: &mut Notes,
    ) -> Option<CheckSpec> {
        let mut members: Vec<(Map<String, Value>, f64)> = Vec::new();
        for assert in asserts {
            let map = self.table(assert, place, notes);
            let weight = map.and_then(weight_of).unwrap_or(1.0);
            if weight <= 0.0 {
                continue;
            }
            let check = map.and_then(|map| match set_of(map) {
                Some((inner, threshold)) => self.group(inner, threshold, place, notes),
                None => self.single(map, place, notes),
            });
            let Some(check) = check else {
                let why = "one of its assertions is not carried over, and its threshold counts all";
                notes.add(place, "the group of assertions", why);
                return None;
            };
            let not = if check.negated { "not-" } else { "" };
            let mut member = Map::new();
            member.insert("type".into(), format!("{not}{}", check.kind).into());
            member.extend(check.params);
            members.push((member, weight));
        }
        // Only the ratio of weights matters to a mean, and here none exceeds 1.
        let largest = members
            .iter()
            .map(|(_, weight)| *weight)
            .fold(0.0, f64::max);
        let alike = members.iter().all(|(_, weight)| *weight == largest);
        let checks = members.into_iter().map(|(mut member, weight)| {
            if !alike {
                member.insert("weight".into(), (weight / largest).into());
            }
            Value::Object(member)
        });
        let mut params = Map::from_iter([("checks".to_owned(), checks.collect())]);
        if let Some(min) = min {
            params.insert("min".into(), min.into());
        }
        let group = accept("all", false, params);
        group
            .map_err(|why| notes.add(place, "the group of assertions", why))
            .ok()
    }

    fn table<'b>(
        &self,
        assert: &'b Value,
        place: &str,
        notes: &mut Notes,
    ) -> Option<&'b Map<String, Value>> {
        if assert.is_object() && assert.get("$ref").is_none() {
            return assert.as_object();
        }
        let what = crate::text::ellipsize(&assert.to_string(), 40);
        let why = match assert.get("$ref") {
            Some(_) => "nothing stands at the place that it names",
            None => "it is no assertion",
        };
        notes.add(place, what, why);
        None
    }

    /// One assertion, or a note why there is no check of it.
    fn single(
        &self,
        map: &Map<String, Value>,
        place: &str,
        notes: &mut Notes,
    ) -> Option<CheckSpec> {
        let written = kind_of(map);
        let what = format!("`{written}`");
        let (kind, negated) = match written.strip_prefix("not-") {
            Some(kind) => (kind, true),
            None => (written, false),
        };
        let check = self.params(kind, map);
        let check = check.and_then(|(kind, params)| accept(kind, negated, params));
        let check = match check {
            Ok(check) => check,
            Err(why) => {
                notes.add(place, what, why);
                return None;
            }
        };
        name_unread(map, SETTINGS, &format!("{place}, {what}"), notes)?;
        let measured = ["levenshtein", "rouge-n", "perplexity"].contains(&kind);
        if let Some(threshold) = map.get("threshold").filter(|_| !measured) {
            let why = match kind {
                "llm-rubric" => {
                    "there it is a grade that the judge gives, here the judge says yes or no"
                }
                _ => "this check says yes or no",
            };
            notes.add(place, format!("`threshold: {threshold}` of {what}"), why);
        }
        if let Some(difference) = kinds::difference(kind) {
            notes.add(place, what, difference);
        }
        Some(check)
    }

    /// Kind and parameters as they are called here.
    fn params(
        &self,
        kind: &str,
        map: &Map<String, Value>,
    ) -> Result<(&'static str, Map<String, Value>), String> {
        let value = || self.value(map.get("value").unwrap_or(&Value::Null));
        let threshold = map.get("threshold").and_then(Value::as_f64);
        let (kind, params): Carried = match kind {
            "equals" => equals(value()?)?,
            "contains" => ("contains", vec![("value", scalar(&value()?)?)]),
            "icontains" => ("icontains", vec![("value", scalar(&value()?)?)]),
            "starts-with" => ("starts-with", vec![("value", text(value()?)?)]),
            "regex" => ("regex", vec![("value", regex(value()?)?)]),
            "llm-rubric" => ("llm-rubric", vec![("value", text(value()?)?)]),
            "contains-any" => ("contains-any", vec![("value", texts(&value()?)?)]),
            "contains-all" => ("contains-all", vec![("value", texts(&value()?)?)]),
            "icontains-any" => ("icontains-any", vec![("value", texts(&value()?)?)]),
            "icontains-all" => ("icontains-all", vec![("value", texts(&value()?)?)]),
            "is-json" => ("is-json", schema(value()?)?),
            "contains-json" => ("contains-json", schema(value()?)?),
            "is-refusal" => ("refusal", Vec::new()),
            "levenshtein" => {
                let mut params = vec![("value", text(value()?)?)];
                if let Some(threshold) = threshold {
                    params.push(("max", whole(threshold.floor())));
                }
                ("levenshtein", params)
            }
            "rouge-n" => {
                let min = threshold.unwrap_or(ROUGE_THRESHOLD);
                (
                    "rouge-n",
                    vec![("value", text(value()?)?), ("min", min.into())],
                )
            }
            "perplexity" => {
                let max = threshold.ok_or("without a `threshold` it passes every answer")?;
                ("perplexity", vec![("max", max.into())])
            }
            "word-count" => ("word-count", word_count(&value()?)?),
            other => return Err(kinds::why_not(other).into()),
        };
        let params = params
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value));
        Ok((kind, params.collect()))
    }

    /// A value with its file read or its variables filled in.
    fn value(&self, value: &Value) -> Result<Value, String> {
        match value {
            Value::String(written) => self.written(written),
            Value::Array(items) => {
                let items = items.iter().map(|item| match item {
                    Value::String(written) => self.written(written),
                    other => Ok(other.clone()),
                });
                Ok(Value::Array(items.collect::<Result<_, _>>()?))
            }
            other => Ok(other.clone()),
        }
    }

    fn written(&self, written: &str) -> Result<Value, String> {
        if written.starts_with("package:") {
            return Err(format!("its value: {PROGRAM}"));
        }
        let Some(name) = written.strip_prefix("file://") else {
            let text = Template::parse(written, Language::JavaScript)?.render(&self.vars)?;
            return Ok(Value::String(text));
        };
        if is_program(name) {
            return Err(format!("its value: {PROGRAM}"));
        }
        let text = || {
            let text = self.folder.text(name);
            text.map_err(|why| format!("{written} cannot be read: {why}"))
        };
        match name.rsplit('.').next().unwrap_or_default() {
            "json" | "yaml" | "yml" => {
                let value = yaml::parse(name, &text()?, Dialect::JavaScript);
                value.map_err(|error| format!("{written} {}", error.kind))
            }
            "txt" => Ok(Value::String(text()?.trim().to_owned())),
            _ => Err("of files of values, text, YAML, and JSON are read".into()),
        }
    }
}

fn kind_of(map: &Map<String, Value>) -> &str {
    map.get("type").and_then(Value::as_str).unwrap_or("no type")
}

fn weight_of(map: &Map<String, Value>) -> Option<f64> {
    map.get("weight")?.as_f64()
}

/// Members and threshold of an `assert-set`.
fn set_of(map: &Map<String, Value>) -> Option<(&[Value], Option<f64>)> {
    let members = map.get("assert")?.as_array()?;
    let threshold = map.get("threshold").and_then(Value::as_f64);
    (kind_of(map) == "assert-set").then_some((members, threshold))
}

/// promptfoo compares letter by letter, and a list or a map with the answer as JSON.
fn equals(value: Value) -> Result<Carried, String> {
    match value {
        Value::Object(_) | Value::Array(_) => {
            let schema = Map::from_iter([("const".to_owned(), value)]);
            Ok(("is-json", vec![("schema", Value::Object(schema))]))
        }
        // `String(undefined)`
        Value::Null => Err("it has no `value`".into()),
        other => {
            let text = printed(&other, Language::JavaScript)?;
            Ok((
                "equals",
                vec![("value", text.into()), ("case_sensitive", true.into())],
            ))
        }
    }
}

fn text(value: Value) -> Result<Value, String> {
    match value {
        Value::String(text) if !text.is_empty() => Ok(Value::String(text)),
        _ => Err("its `value` is no text, which promptfoo refuses".into()),
    }
}

/// A text, or a number.
fn scalar(value: &Value) -> Result<Value, String> {
    match value {
        Value::String(text) if !text.is_empty() => Ok(value.clone()),
        Value::Number(_) => Ok(printed(value, Language::JavaScript)?.into()),
        _ => Err("its `value` is neither a text nor a number, which promptfoo refuses".into()),
    }
}

/// A list, or a text with commas between its parts.
fn texts(value: &Value) -> Result<Value, String> {
    let texts: Vec<String> = match value {
        Value::Array(items) => {
            let items = items.iter().map(|item| printed(item, Language::JavaScript));
            items.collect::<Result<_, _>>()?
        }
        Value::String(joined) if !joined.is_empty() => comma_separated(joined)?,
        _ => {
            return Err("its `value` is neither a list nor a text, which promptfoo refuses".into());
        }
    };
    match texts.iter().any(String::is_empty) {
        true => Err("one of its texts is empty, which stands in every answer".into()),
        false => Ok(texts.into()),
    }
}

/// The parts of a text with commas between them; quotes keep a comma.
///
/// # Errors
/// A quote is not closed, or something stands behind it.
pub(super) fn comma_separated(joined: &str) -> Result<Vec<String>, String> {
    let mut parts = Vec::new();
    let mut rest = joined;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        let Some(inside) = rest.strip_prefix('"') else {
            if rest.is_empty() {
                return Ok(parts);
            }
            let (part, after) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
            parts.push(part.trim().to_owned());
            rest = after;
            continue;
        };
        let mut part = String::new();
        let mut chars = inside.char_indices().peekable();
        let after = loop {
            match chars.next() {
                None => {
                    return Err(
                        "a quote in its `value` is not closed, which promptfoo refuses".into(),
                    );
                }
                Some((_, '\\')) => match chars.next_if(|(_, c)| ['"', '\\'].contains(c)) {
                    Some((_, c)) => part.push(c),
                    None => part.push('\\'),
                },
                Some((at, '"')) => match chars.next_if(|(_, c)| *c == '"') {
                    Some(_) => part.push('"'),
                    None => break inside.get(at + 1..).unwrap_or_default(),
                },
                Some((_, c)) => part.push(c),
            }
        };
        rest = after.trim_start();
        if !rest.is_empty() && !rest.starts_with(',') {
            return Err(
                "something stands behind a quote in its `value`, which promptfoo refuses".into(),
            );
        }
        parts.push(part);
    }
}

fn regex(value: Value) -> Result<Value, String> {
    let Value::String(source) = text(value)? else {
        return Err("its `value` is no text".into());
    };
    pattern::translated(&source, Language::JavaScript).map(Value::from)
}

/// A JSON Schema. promptfoo's validator reads draft 7, so one that names none says so where the
/// drafts differ.
fn schema(value: Value) -> Result<Vec<(&'static str, Value)>, String> {
    let schema = match value {
        Value::Null | Value::Bool(false) => return Ok(Vec::new()),
        Value::String(text) if text.is_empty() => return Ok(Vec::new()),
        Value::String(text) => {
            let read = yaml::parse("", &text, Dialect::JavaScript);
            read.map_err(|error| error.kind.to_string())?
        }
        other => other,
    };
    let Value::Object(mut map) = schema else {
        return Err("its `value` is no JSON Schema as a table".into());
    };
    if !map.contains_key("$schema") && differs_by_draft(&Value::Object(map.clone())) {
        let draft = "http://json-schema.org/draft-07/schema#";
        map.insert("$schema".into(), draft.into());
    }
    Ok(vec![("schema", Value::Object(map))])
}

/// Whether a schema has a keyword that draft 7 reads otherwise than later ones.
fn differs_by_draft(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => map.iter().any(|(key, value)| {
            (key == "items" && value.is_array())
                || ["additionalItems", "dependencies", "$ref"].contains(&key.as_str())
                || differs_by_draft(value)
        }),
        Value::Array(items) => items.iter().any(differs_by_draft),
        _ => false,
    }
}

fn word_count(value: &Value) -> Result<Vec<(&'static str, Value)>, String> {
    let count = |value: &Value| match value {
        Value::String(text) => text.trim().parse::<f64>().ok(),
        other => other.as_f64(),
    };
    let no_number = || "its `value` is no number of words".to_owned();
    if let Value::Object(bounds) = value {
        let mut found = Vec::new();
        for key in ["min", "max"] {
            if let Some(bound) = bounds.get(key) {
                found.push((key, whole(count(bound).ok_or_else(no_number)?)));
            }
        }
        return Ok(found);
    }
    let exact = whole(count(value).ok_or_else(no_number)?);
    Ok(vec![("min", exact.clone()), ("max", exact)])
}

#[cfg(test)]
mod tests;
