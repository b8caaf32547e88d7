//! `doc_to_text`, `doc_to_target`, `doc_to_choice`, and `description` of one document, each with
//! the type that it has in the harness.
//!
//! | key | a column's name | a template | other |
//! |---|---|---|---|
//! | `doc_to_text` | its value | a text; digits are a number where there are choices | a number |
//! | `doc_to_target` | its value | a text; digits are a number where there are choices, a list in brackets is read | a number, a list |
//! | `doc_to_choice` | its value | the list that Python reads out of the text | a list, a map's values |
//! | `description` | its value | a text | |
//!
//! Python prints what stands in a template: `True`, `9.0`, `None`, `['a', 'b']`.

use serde_json::{Map, Value};

use crate::import::template::{Language, Template, Vars, literal, printed};
use crate::import::yaml;

use super::documents::Documents;

/// The formats of a task, its templates read once.
#[derive(Debug)]
pub(super) struct Formats {
    text: Format,
    target: Format,
    choice: Option<Format>,
    description: Option<Format>,
    /// The first document decides for all whether several answers are right.
    several_targets: bool,
}

#[derive(Debug)]
enum Format {
    Column(String),
    Template(Template),
    Fixed(Value),
}

/// One document with the formats of its task.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    formats: &'a Formats,
    document: &'a Map<String, Value>,
    vars: Vars,
}

impl Formats {
    /// # Errors
    /// Why no document can be asked.
    pub(super) fn of(config: &Map<String, Value>, documents: &Documents) -> Result<Self, String> {
        let format =
            |key: &str| Format::of(config.get(key), documents).map_err(|e| format!("`{key}`: {e}"));
        let given = |key: &str| config.get(key).is_some_and(|value| !value.is_null());
        let optional = |key: &str| given(key).then(|| format(key)).transpose();
        let mut formats = Formats {
            text: format("doc_to_text")?,
            target: format("doc_to_target")?,
            choice: optional("doc_to_choice")?,
            description: optional("description")?,
            several_targets: false,
        };
        if let Some(first) = documents.iter().next() {
            let asked = formats.document(first);
            if formats.choice.is_some() && asked.text().is_ok_and(|text| text.is_number()) {
                return Err(
                    "`doc_to_text` gives a number: of several contexts the best is chosen, \
                            and a probe has one"
                        .into(),
                );
            }
            let several = asked
                .target()
                .is_ok_and(|target| target.as_array().is_some_and(|targets| !targets.is_empty()));
            formats.several_targets = several;
        }
        Ok(formats)
    }

    pub(super) fn document<'a>(&'a self, document: &'a Map<String, Value>) -> Asked<'a> {
        Asked {
            formats: self,
            document,
            vars: Vars::new(document, Language::Python),
        }
    }
}

impl Format {
    fn of(written: Option<&Value>, documents: &Documents) -> Result<Self, String> {
        match written {
            None | Some(Value::Null) => Err("the task has none".into()),
            Some(value) if yaml::tagged(value).is_some() => Err(format!(
                "`{}` runs a program",
                yaml::tagged(value).unwrap_or_default()
            )),
            Some(Value::String(name)) if documents.has(name) => Ok(Format::Column(name.clone())),
            Some(Value::String(template)) => {
                Template::parse(template, Language::Python).map(Format::Template)
            }
            Some(other) => Ok(Format::Fixed(other.clone())),
        }
    }
}

/// What a format gives before its type is decided.
enum Given {
    Value(Value),
    Text(String),
}

impl Asked<'_> {
    /// Whether the first document has a list of right answers.
    pub(super) fn has_several_targets(&self) -> bool {
        self.formats.several_targets
    }

    pub(super) fn has_choices(&self) -> bool {
        self.formats.choice.is_some()
    }

    fn given(&self, format: &Format, key: &str) -> Result<Given, String> {
        match format {
            Format::Column(name) => Ok(Given::Value(
                self.document.get(name).cloned().unwrap_or_default(),
            )),
            Format::Template(template) => {
                let text = template.render(&self.vars);
                text.map(Given::Text)
                    .map_err(|why| format!("`{key}`: {why}"))
            }
            Format::Fixed(value) => Ok(Given::Value(value.clone())),
        }
    }

    /// Digits are a number where there are choices.
    fn number(&self, text: &str) -> Option<Result<Value, String>> {
        let digits = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
        if !digits || !self.has_choices() {
            return None;
        }
        let leading = text.len() > 1 && text.starts_with('0') && !text.bytes().all(|b| b == b'0');
        let number = text.parse::<u64>().ok().filter(|_| !leading);
        Some(
            number
                .map(Value::from)
                .ok_or(format!("`{text}` is no Python number")),
        )
    }

    fn text(&self) -> Result<Value, String> {
        match self.given(&self.formats.text, "doc_to_text")? {
            Given::Value(value) => Ok(value),
            Given::Text(text) => self.number(&text).unwrap_or(Ok(Value::String(text))),
        }
    }

    /// The system turn and the user's.
    ///
    /// # Errors
    /// Why the harness cannot ask it, or a suite cannot.
    pub(super) fn prompt(&self) -> Result<(Option<String>, String), String> {
        let Value::String(question) = self.text()? else {
            return Err("`doc_to_text` gives no text".into());
        };
        let description = match &self.formats.description {
            None => None,
            Some(format) => match self.given(format, "description")? {
                Given::Text(text) | Given::Value(Value::String(text)) => Some(text),
                Given::Value(_) => return Err("`description` gives no text".into()),
            },
        };
        Ok((description.filter(|text| !text.is_empty()), question))
    }

    /// What `doc_to_target` gives, with its type.
    ///
    /// # Errors
    /// Why it gives nothing.
    pub(super) fn target(&self) -> Result<Value, String> {
        let text = match self.given(&self.formats.target, "doc_to_target")? {
            Given::Value(value) => return Ok(value),
            Given::Text(text) => text,
        };
        if let Some(number) = self.number(&text) {
            return number.map_err(|why| format!("`doc_to_target`: {why}"));
        }
        let bracketed = text.len() >= 2 && text.starts_with('[') && text.ends_with(']');
        match bracketed.then(|| literal(&text)) {
            Some(Ok(list)) => Ok(list),
            _ => Ok(Value::String(text)),
        }
    }

    /// The options.
    ///
    /// # Errors
    /// Why there are none, or one is no text.
    pub(super) fn options(&self) -> Result<Vec<String>, String> {
        let Some(format) = &self.formats.choice else {
            return Err("the task has no `doc_to_choice`".into());
        };
        let options = match self.given(format, "doc_to_choice")? {
            Given::Value(value) => value,
            Given::Text(text) => literal(&text).map_err(|_| {
                let shown = crate::text::ellipsize(&text, 40);
                format!("`doc_to_choice` gives no list: {shown:?}")
            })?,
        };
        let options = match options {
            Value::Array(items) => items,
            Value::Object(map) if matches!(format, Format::Fixed(_)) => {
                map.into_iter().map(|(_, value)| value).collect()
            }
            other => return Err(format!("`doc_to_choice` gives no list: {other}")),
        };
        let texts = options.into_iter().map(|option| match option {
            Value::String(text) => Ok(text),
            other => Err(format!(
                "`doc_to_choice` gives {}, which is no text",
                printed(&other, Language::Python).unwrap_or_else(|_| other.to_string())
            )),
        });
        texts.collect()
    }
}
