//! The parameters of one check, read by name and by type.
//!
//! A builder asks for each parameter, gets the value or a stand-in, and calls [`Params::finish`]
//! in the end: that refuses parameters nobody asked for and reports everything wrong at once,
//! which a derived deserializer, stopping at the first error and naming no key, cannot.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::text::nearest;

use super::error::{CheckError, CheckProblem};

/// The parameters of one check, and what was found wrong with them so far.
#[derive(Debug)]
pub struct Params<'a> {
    kind: &'a str,
    map: &'a Map<String, Value>,
    asked: Vec<&'static str>,
    problems: Vec<CheckProblem>,
}

impl<'a> Params<'a> {
    /// Parameters of a check of `kind`, as errors name it.
    pub fn new(kind: &'a str, map: &'a Map<String, Value>) -> Self {
        Params {
            kind,
            map,
            asked: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Whether the parameter was written.
    pub fn has(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    /// A non-empty string without default; "" when it is wrong.
    pub fn string(&mut self, name: &'static str) -> String {
        self.required(name, "a string");
        self.opt_string(name).unwrap_or_default()
    }

    /// A string that may be left out. An empty one is refused.
    pub fn opt_string(&mut self, name: &'static str) -> Option<String> {
        let text = self.typed(name, "a string", |v| v.as_str().map(str::to_owned))?;
        if text.trim().is_empty() {
            self.refuse(
                name,
                "is empty",
                format!("`{name}` wants text that can be found"),
            );
            return None;
        }
        Some(text)
    }

    /// A name, or a whole number in its decimal form, that may be left out.
    pub fn opt_name_or_index(&mut self, name: &'static str) -> Option<String> {
        self.typed(name, "a name or a number", |v| match v {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => number.as_u64().map(|n| n.to_string()),
            _ => None,
        })
    }

    /// One or more non-empty strings without default; none when it is wrong.
    pub fn strings(&mut self, name: &'static str) -> Vec<String> {
        self.required(name, "a list of strings");
        self.opt_strings(name)
    }

    /// A list of strings, or a single string, that may be left out.
    pub fn opt_strings(&mut self, name: &'static str) -> Vec<String> {
        let read = |v: &Value| match v {
            Value::String(one) => Some(vec![one.clone()]),
            Value::Array(items) => items
                .iter()
                .map(|v| v.as_str().map(str::to_owned))
                .collect::<Option<Vec<_>>>(),
            _ => None,
        };
        let Some(texts) = self.typed(name, "a list of strings", read) else {
            return Vec::new();
        };
        if texts.is_empty() || texts.iter().any(|t| t.trim().is_empty()) {
            let what = if texts.is_empty() {
                "is an empty list"
            } else {
                "has an empty string"
            };
            self.refuse(
                name,
                what,
                format!("`{name}` wants one or more texts, none empty"),
            );
            return Vec::new();
        }
        texts
    }

    /// A finite number without default; 0 when it is wrong.
    pub fn number(&mut self, name: &'static str) -> f64 {
        self.required(name, "a number");
        self.typed(name, "a number", Value::as_f64)
            .unwrap_or_default()
    }

    /// A finite number within `low..=high`, `default` when left out.
    pub fn number_in(&mut self, name: &'static str, low: f64, high: f64, default: f64) -> f64 {
        let Some(value) = self.typed(name, "a number", Value::as_f64) else {
            return default;
        };
        if !(low..=high).contains(&value) {
            let rule = if high == f64::MAX {
                format!("`{name}` wants a number of at least {low}")
            } else {
                format!("`{name}` wants a number between {low} and {high}")
            };
            self.refuse(name, format!("is {value}"), rule);
            return default;
        }
        value
    }

    /// A whole number within `low..=high`, `default` when left out.
    pub fn count_in(&mut self, name: &'static str, low: u64, high: u64, default: u64) -> u64 {
        let Some(value) = self.typed(name, "a whole number", Value::as_i64) else {
            return default;
        };
        match u64::try_from(value) {
            Ok(count) if (low..=high).contains(&count) => count,
            _ => {
                let rule = format!("`{name}` wants a whole number between {low} and {high}");
                self.refuse(name, format!("is {value}"), rule);
                default
            }
        }
    }

    /// `true` or `false`, `default` when left out.
    pub fn flag(&mut self, name: &'static str, default: bool) -> bool {
        self.typed(name, "true or false", Value::as_bool)
            .unwrap_or(default)
    }

    /// One of a few words, the first of them when left out.
    pub fn word(&mut self, name: &'static str, words: &[&'static str]) -> &'static str {
        let first = words.first().copied().unwrap_or_default();
        let Some(text) = self.typed(name, "a string", |v| v.as_str().map(str::to_owned)) else {
            return first;
        };
        if let Some(word) = words.iter().find(|w| **w == text) {
            return word;
        }
        let quoted: Vec<String> = words.iter().map(|w| format!("\"{w}\"")).collect();
        let rule = format!("`{name}` is one of {}", quoted.join(", "));
        self.refuse(name, format!("is \"{text}\""), rule);
        first
    }

    /// A table that may be left out, as it was written.
    pub fn opt_table(&mut self, name: &'static str) -> Option<Value> {
        self.typed(name, "a table", |v| v.is_object().then(|| v.clone()))
    }

    /// A nested value without default, read with serde; its message is passed on. `None` when
    /// it is wrong.
    pub fn nested<T: DeserializeOwned>(
        &mut self,
        name: &'static str,
        expected: &'static str,
    ) -> Option<T> {
        self.required(name, expected);
        self.asked.push(name);
        let value = self.map.get(name)?;
        match serde_json::from_value(value.clone()) {
            Ok(read) => Some(read),
            Err(error) => {
                self.refuse(
                    name,
                    format!("is wrong: {error}"),
                    format!("`{name}` wants {expected}"),
                );
                None
            }
        }
    }

    /// Notes that a parameter's value makes no sense: `what` follows its name.
    pub fn refuse(&mut self, name: &str, what: impl Into<String>, rule: impl Into<String>) {
        self.problems.push(CheckProblem::BadValue {
            param: name.to_owned(),
            what: what.into(),
            rule: rule.into(),
        });
    }

    /// Refuses what nobody asked for, and hands over every problem found.
    ///
    /// # Errors
    /// When any parameter is missing, unknown, of another type, or out of its range.
    pub fn finish(mut self) -> Result<(), CheckError> {
        for param in self
            .map
            .keys()
            .filter(|k| !self.asked.contains(&k.as_str()))
        {
            self.problems.push(CheckProblem::UnknownParam {
                param: param.clone(),
                nearest: nearest(param, self.asked.iter().copied()),
                known: self.known(),
            });
        }
        // A misspelled parameter is not missing besides.
        let meant: Vec<String> = self
            .problems
            .iter()
            .filter_map(|p| p.nearest().map(str::to_owned))
            .collect();
        self.problems.retain(|problem| {
            !matches!(problem, CheckProblem::MissingParam { param, .. } if meant.contains(param))
        });
        if self.problems.is_empty() {
            return Ok(());
        }
        Err(CheckError {
            kind: self.kind.to_owned(),
            problems: self.problems,
        })
    }

    /// [`Params::finish`], for a value that was made only if nothing was wrong.
    ///
    /// # Errors
    /// As [`Params::finish`]; also when there is no value.
    pub fn finish_with<T>(self, value: Option<T>) -> Result<T, CheckError> {
        let kind = self.kind.to_owned();
        self.finish()?;
        value.ok_or(CheckError {
            kind,
            problems: Vec::new(),
        })
    }

    fn known(&self) -> Vec<String> {
        let mut known: Vec<String> = Vec::new();
        for name in &self.asked {
            if !known.iter().any(|k| k == name) {
                known.push((*name).to_owned());
            }
        }
        known
    }

    fn required(&mut self, name: &'static str, expected: &str) {
        if !self.has(name) {
            self.problems.push(CheckProblem::MissingParam {
                param: name.to_owned(),
                expected: expected.to_owned(),
            });
        }
    }

    fn typed<T>(
        &mut self,
        name: &'static str,
        expected: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        self.asked.push(name);
        let value = self.map.get(name)?;
        let read = read(value);
        if read.is_none() {
            self.problems.push(CheckProblem::WrongType {
                param: name.to_owned(),
                expected: expected.to_owned(),
                found: describe(value),
            });
        }
        read
    }
}

/// A JSON value's type, as an error names it.
fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".into(),
        Value::Bool(b) => format!("the boolean {b}"),
        Value::Number(n) => format!("the number {n}"),
        Value::String(s) => format!("the string \"{}\"", crate::text::ellipsize(s, 40)),
        Value::Array(items) if items.is_empty() => "an empty list".into(),
        Value::Array(items) => match items.iter().find(|v| !v.is_string()) {
            Some(other) => format!("a list with {}", describe(other)),
            None => "a list of strings".into(),
        },
        Value::Object(_) => "a table".into(),
    }
}
