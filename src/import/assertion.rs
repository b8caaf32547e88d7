//! promptfoo's assertions as checks.
//!
//! Names are mostly the same, parameters are not: promptfoo's `threshold` is a `max` of edits in
//! `levenshtein`, a `min` of overlap in `rouge-n`. Of several assertions all have to hold, as of
//! several checks; where a `threshold` stands over them, their weighted mean decides, which is a
//! group `all` with a `min`. A group with a member missing would be another test, so it is left
//! out as a whole.

use serde_json::{Map, Value};

use crate::flow::CheckSpec;

use super::draft::accept;
use super::notes::Notes;
use super::prompt::is_program;
use super::render::Renderer;
use super::source::Folder;
use super::{reasons, yaml};

/// Keys of an assertion that are read.
const READ: &[&str] = &[
    "type",
    "value",
    "threshold",
    "weight",
    "assert",
    "transform",
    "$ref",
];
/// promptfoo's own, where `rouge-n` here takes 0.5.
const ROUGE_THRESHOLD: f64 = 0.75;

/// Translates the assertions of one test.
pub(super) struct Translator<'a> {
    pub(super) renderer: &'a Renderer,
    pub(super) folder: &'a Folder,
    /// `assertionTemplates`, which `$ref` names.
    pub(super) templates: Option<&'a Map<String, Value>>,
    pub(super) vars: &'a Value,
}

impl Translator<'_> {
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
            let Some(map) = self.resolved(assert, place, notes) else {
                continue;
            };
            if let Some(weight) = map
                .get("weight")
                .and_then(Value::as_f64)
                .filter(|w| *w != 1.0)
            {
                let what = format!("`weight: {weight}` of `{}`", kind_of(&map));
                if weight == 0.0 {
                    notes.add(
                        place,
                        what,
                        "it never decides there, and every check does here",
                    );
                    continue;
                }
                notes.add(place, what, "outside a group the lowest check decides");
            }
            match set_of(&map) {
                Some((members, threshold)) => {
                    checks.extend(self.checks(members, threshold, place, notes));
                }
                None => checks.extend(self.single(&map, place, notes)),
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
            let map = self.resolved(assert, place, notes);
            let weight = map.as_ref().and_then(|map| map.get("weight")?.as_f64());
            let weight = weight.unwrap_or(1.0);
            let check = map.and_then(|map| match set_of(&map) {
                Some((inner, threshold)) => self.group(inner, threshold, place, notes),
                None => self.single(&map, place, notes),
            });
            if weight <= 0.0 {
                continue;
            }
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

    /// An assertion with what its `$ref` names.
    fn resolved(
        &self,
        assert: &Value,
        place: &str,
        notes: &mut Notes,
    ) -> Option<Map<String, Value>> {
        let Some(map) = assert.as_object() else {
            let what = crate::text::ellipsize(&assert.to_string(), 40);
            notes.add(place, what, "it is no assertion");
            return None;
        };
        let Some(reference) = map.get("$ref").and_then(Value::as_str) else {
            return Some(map.clone());
        };
        let name = reference.rsplit('/').next().unwrap_or_default();
        let template = self.templates.and_then(|t| t.get(name)?.as_object());
        let Some(template) = template else {
            notes.add(
                place,
                format!("`$ref: {reference}`"),
                "no template has this name",
            );
            return None;
        };
        let mut whole = template.clone();
        whole.extend(map.iter().map(|(k, v)| (k.clone(), v.clone())));
        Some(whole)
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
        if map.contains_key("transform") {
            notes.add(
                place,
                what,
                "it judges what a `transform` makes of the answer",
            );
            return None;
        }
        let check = self
            .params(kind, map)
            .and_then(|(kind, params)| accept(kind, negated, params));
        match check {
            Ok(check) => {
                reasons::name_unread(
                    map,
                    READ,
                    &format!("{place}, {what}"),
                    reasons::assertion_key,
                    notes,
                );
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
                Some(check)
            }
            Err(why) => {
                notes.add(place, what, why);
                None
            }
        }
    }

    /// Kind and parameters as they are called here.
    fn params(
        &self,
        kind: &str,
        map: &Map<String, Value>,
    ) -> Result<(&'static str, Map<String, Value>), String> {
        let value = || self.value(map.get("value").unwrap_or(&Value::Null));
        let threshold = map.get("threshold").and_then(Value::as_f64);
        let (kind, params): (&'static str, Vec<(&str, Value)>) = match kind {
            // promptfoo compares letter by letter.
            "equals" => (
                "equals",
                vec![("value", text(&value()?)?), ("case_sensitive", true.into())],
            ),
            "contains" => ("contains", vec![("value", text(&value()?)?)]),
            "icontains" => ("icontains", vec![("value", text(&value()?)?)]),
            "starts-with" => ("starts-with", vec![("value", text(&value()?)?)]),
            "regex" => ("regex", vec![("value", text(&value()?)?)]),
            "llm-rubric" => ("llm-rubric", vec![("value", text(&value()?)?)]),
            "contains-any" => ("contains-any", vec![("value", texts(&value()?)?)]),
            "contains-all" => ("contains-all", vec![("value", texts(&value()?)?)]),
            "icontains-any" => ("icontains-any", vec![("value", texts(&value()?)?)]),
            "icontains-all" => ("icontains-all", vec![("value", texts(&value()?)?)]),
            "is-json" => ("is-json", schema(value()?)?),
            "contains-json" => ("contains-json", schema(value()?)?),
            "is-refusal" => ("refusal", Vec::new()),
            "levenshtein" => {
                let mut params = vec![("value", text(&value()?)?)];
                if let Some(threshold) = threshold {
                    params.push(("max", whole(threshold.floor())));
                }
                ("levenshtein", params)
            }
            "rouge-n" => (
                "rouge-n",
                vec![
                    ("value", text(&value()?)?),
                    ("min", threshold.unwrap_or(ROUGE_THRESHOLD).into()),
                ],
            ),
            "perplexity" => {
                let max = threshold.ok_or("without a `threshold` it passes every answer")?;
                ("perplexity", vec![("max", max.into())])
            }
            "word-count" => ("word-count", word_count(&value()?)?),
            other => return Err(reasons::assertion_kind(other).into()),
        };
        let params = params
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value));
        Ok((kind, params.collect()))
    }

    /// A value with its files read and its variables filled in.
    fn value(&self, value: &Value) -> Result<Value, String> {
        Ok(match value {
            Value::String(written) if written.starts_with("file://") => {
                if is_program(written) {
                    return Err("a program makes its value, and an import runs none".into());
                }
                let text = self.folder.text(written);
                let text = text.map_err(|why| format!("{written} cannot be read: {why}"))?;
                Value::String(self.renderer.text(text.trim(), self.vars)?)
            }
            Value::String(template) => Value::String(self.renderer.text(template, self.vars)?),
            Value::Array(items) => {
                let items = items.iter().map(|item| self.value(item));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            Value::Object(map) => {
                let pairs = map
                    .iter()
                    .map(|(key, item)| Ok((key.clone(), self.value(item)?)));
                Value::Object(pairs.collect::<Result<_, String>>()?)
            }
            other => other.clone(),
        })
    }
}

fn kind_of(map: &Map<String, Value>) -> &str {
    map.get("type").and_then(Value::as_str).unwrap_or("no type")
}

/// Members and threshold of an `assert-set`.
fn set_of(map: &Map<String, Value>) -> Option<(&[Value], Option<f64>)> {
    let members = map.get("assert")?.as_array()?;
    let threshold = map.get("threshold").and_then(Value::as_f64);
    (kind_of(map) == "assert-set").then_some((members, threshold))
}

fn text(value: &Value) -> Result<Value, String> {
    let text = yaml::scalar_text(value).ok_or("its `value` is no text")?;
    Ok(Value::String(text))
}

/// A list, or a text with commas between its parts.
fn texts(value: &Value) -> Result<Value, String> {
    match value {
        Value::Array(items) => items.iter().map(text).collect(),
        other => {
            let joined = text(other)?;
            let parts = joined
                .as_str()
                .unwrap_or_default()
                .split(',')
                .map(str::trim);
            Ok(parts.map(str::to_owned).collect())
        }
    }
}

fn schema(value: Value) -> Result<Vec<(&'static str, Value)>, String> {
    let schema = match value {
        Value::Null => return Ok(Vec::new()),
        Value::String(text) => yaml::parse("", &text).map_err(|e| e.kind.to_string())?,
        other => other,
    };
    match schema {
        Value::Object(_) => Ok(vec![("schema", schema)]),
        _ => Err("its `value` is no JSON Schema as a table".into()),
    }
}

fn word_count(value: &Value) -> Result<Vec<(&'static str, Value)>, String> {
    let count = |value: &Value| match value {
        Value::String(text) => text.trim().parse::<f64>().ok(),
        other => other.as_f64(),
    };
    if let Value::Object(bounds) = value {
        let bound = |key| Some((key, whole(count(bounds.get(key)?)?)));
        return Ok(["min", "max"].into_iter().filter_map(bound).collect());
    }
    let exact = whole(count(value).ok_or("its `value` is no number of words")?);
    Ok(vec![("min", exact.clone()), ("max", exact)])
}

/// A number as a suite writes it: `5` rather than `5.0`.
pub(super) fn whole(number: f64) -> Value {
    // Below 2^53 every whole number is exact.
    if number.fract() == 0.0 && number.abs() < 9e15 {
        #[expect(clippy::cast_possible_truncation, reason = "whole, and in range")]
        return Value::from(number as i64);
    }
    Value::from(number)
}

#[cfg(test)]
mod tests;
