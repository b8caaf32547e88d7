//! The rules of `[[probe.check]]` and of the golden answers that test it.

use std::ops::Range;

use serde_json::Value;
use toml::Spanned;

use crate::check::registry;
use crate::flow::{CheckSpec, Golden};
use crate::suite::error::SuiteErrorKind;
use crate::suite::file::{CheckTable, GoldenTable, Param};
use crate::text::nearest;
use crate::toml_file::Mistake;

use super::validator::Validator;

impl Validator<'_> {
    pub(super) fn check(&mut self, table: &Spanned<CheckTable>) -> CheckSpec {
        let (span, table) = (table.span(), table.get_ref());
        let mut params = serde_json::Map::new();
        for param in &table.params {
            let literal = !table.kind.as_ref().is_some_and(|k| is_regex(k.get_ref()));
            self.escapes(param);
            let value = self.fill_value(&param.value, &param.value_span, literal);
            params.insert(param.key.get_ref().clone(), value);
        }
        let Some(kind) = &table.kind else {
            let near = |p: &&Param| nearest(p.key.get_ref(), ["type"]).is_some();
            match table.params.iter().find(near) {
                Some(param) => self.issues.push((
                    param.key.span(),
                    SuiteErrorKind::Toml(Mistake::BadValue {
                        what: format!("unknown key `{}` in [[probe.check]]", param.key.get_ref()),
                        rule: "[[probe.check]] takes type and the parameters of that type".into(),
                        nearest: Some("type".into()),
                    }),
                )),
                None => self.missing(
                    &table.broken,
                    span,
                    "[[probe.check]]",
                    "type",
                    "write type = \"contains\" or another kind of check",
                ),
            }
            return CheckSpec {
                kind: String::new(),
                negated: false,
                params,
            };
        };
        let (name, negated) = match kind.get_ref().strip_prefix("not-") {
            Some(name) => (name, true),
            None => (kind.get_ref().as_str(), false),
        };
        let spec = CheckSpec {
            kind: name.to_owned(),
            negated,
            params,
        };
        if let Err(error) = registry::build(&spec) {
            for problem in SuiteErrorKind::of_check(error) {
                let at = match &problem {
                    SuiteErrorKind::Check { problem, .. } => place_of(problem.param(), table),
                    _ => None,
                };
                self.issues
                    .push((at.unwrap_or_else(|| kind.span()), problem));
            }
        }
        spec
    }

    /// A backslash that was meant as one: `"C:\new"` holds a line break, `"\bParis\b"` two backspaces,
    /// and no answer would ever have them.
    fn escapes(&mut self, param: &Param) {
        let written = &self.source[param.value_span.clone()];
        if written.contains("\"\"\"") {
            return;
        }
        if let Some((escape, text)) = strings(&param.value).find_map(escaped_by_mistake) {
            let key = param.key.get_ref();
            self.bad(
                param.value_span.clone(),
                format!("`{key}` holds {escape}, where a backslash was probably meant: {text:?}"),
                "in \"...\" a backslash begins an escape: write '...', which has none, or \\\\ for a \
                 backslash; a line break that is meant goes into \"\"\"...\"\"\"",
            );
        }
    }

    /// A check that compares wordings needs two.
    pub(super) fn wordings(&mut self, specs: &[CheckSpec], tables: &[Spanned<CheckTable>]) {
        for (spec, table) in specs.iter().zip(tables) {
            let compares = registry::build(spec).is_ok_and(|check| check.needs().siblings);
            if let (true, Some(kind)) = (compares, &table.get_ref().kind) {
                self.bad(
                    kind.span(),
                    format!("`{}` in a probe with one prompt", kind.get_ref()),
                    "this check compares the answers to several wordings: write two or more prompts",
                );
            }
        }
    }

    /// A parameter with its variables filled in. In a regular expression (not `literal`) a value
    /// stands for its own characters, whatever they mean there.
    fn fill_value(&mut self, value: &Value, span: &Range<usize>, literal: bool) -> Value {
        match value {
            Value::String(text) if literal => Value::String(self.fill(text, span)),
            Value::String(text) => {
                let vars = self.vars.iter();
                let escaped = vars.map(|(k, v)| (k.clone(), regex::escape(v))).collect();
                Value::String(self.fill_from(text, span, &escaped))
            }
            Value::Array(items) => Value::Array(
                items
                    .iter()
                    .map(|item| self.fill_value(item, span, literal))
                    .collect(),
            ),
            Value::Object(map) => Value::Object(
                map.iter()
                    .map(|(key, item)| {
                        // A member of a group is a check of its own.
                        let kind = map.get("type").and_then(Value::as_str);
                        let literal = literal && !kind.is_some_and(is_regex);
                        (key.clone(), self.fill_value(item, span, literal))
                    })
                    .collect(),
            ),
            other => other.clone(),
        }
    }

    pub(super) fn golden(&mut self, table: &Spanned<GoldenTable>) -> Option<Spanned<Golden>> {
        let (span, table) = (table.span(), table.get_ref());
        let answer = table
            .answer
            .as_ref()
            .map(|answer| self.text(answer, "answer"));
        if answer.is_none() {
            self.missing(
                &table.broken,
                span.clone(),
                "[[probe.golden]]",
                "answer",
                "`answer` is the text of an answer whose score is known",
            );
        }
        if table.expect.is_none() {
            self.missing(
                &table.broken,
                span.clone(),
                "[[probe.golden]]",
                "expect",
                "`expect` is \"pass\", \"fail\", or \"unscored\"",
            );
        }
        let place = table.answer.as_ref().map_or(span, Spanned::span);
        let mut texts = |texts: &[Spanned<String>], key| -> Vec<String> {
            texts.iter().map(|text| self.text(text, key)).collect()
        };
        let siblings = texts(&table.siblings, "siblings");
        let training_answers = texts(&table.training_answers, "training_answers");
        Some(Spanned::new(
            place,
            Golden {
                answer: answer?,
                expect: table.expect.as_ref().map(|expect| *expect.get_ref())?,
                siblings,
                training_answers,
            },
        ))
    }

    /// Golden answers test the checks.
    pub(super) fn judge(&mut self, specs: &[CheckSpec], goldens: &[Spanned<Golden>]) {
        if goldens.is_empty() {
            return;
        }
        let Ok(checks) = specs
            .iter()
            .map(registry::build)
            .collect::<Result<Vec<_>, _>>()
        else {
            return;
        };
        for golden in goldens {
            if let Some(says) = registry::contradiction(&checks, golden.get_ref()) {
                let kind = SuiteErrorKind::Golden {
                    expect: golden.get_ref().expect,
                    says,
                };
                self.issues.push((golden.span(), kind));
            }
        }
    }
}

/// Whether a kind of check takes regular expressions.
fn is_regex(kind: &str) -> bool {
    matches!(kind, "regex" | "not-regex")
}

/// Every string of a value.
fn strings(value: &Value) -> Box<dyn Iterator<Item = &str> + '_> {
    match value {
        Value::String(text) => Box::new(std::iter::once(text.as_str())),
        Value::Array(items) => Box::new(items.iter().flat_map(strings)),
        Value::Object(map) => Box::new(map.values().flat_map(strings)),
        _ => Box::new(std::iter::empty()),
    }
}

/// A control character that no answer has, or a line break or tab right behind a drive's letter: text
/// and code have both elsewhere.
fn escaped_by_mistake(text: &str) -> Option<(&'static str, &str)> {
    let behind_a_drive = |at: usize| {
        let before = text[..at].strip_suffix(':');
        before.is_some_and(|before| before.len() == 1 && before.as_bytes()[0].is_ascii_alphabetic())
    };
    let found = text.char_indices().find_map(|(at, c)| match c {
        '\u{8}' => Some("a backspace (\\b)"),
        '\u{c}' => Some("a form feed (\\f)"),
        '\u{1b}' => Some("an escape character (\\e)"),
        '\n' if behind_a_drive(at) => Some("a line break (\\n)"),
        '\r' if behind_a_drive(at) => Some("a carriage return (\\r)"),
        '\t' if behind_a_drive(at) => Some("a tab (\\t)"),
        _ => None,
    });
    found.map(|escape| (escape, text))
}

/// Where a parameter of a check stands, key and value.
fn place_of(name: Option<&str>, table: &CheckTable) -> Option<Range<usize>> {
    let param = table
        .params
        .iter()
        .find(|p| Some(p.key.get_ref().as_str()) == name)?;
    Some(param.key.span().start..param.value_span.end)
}
