//! The values of a template. They are JSON, and what a template adds to it: a name without a
//! value, and a value that has no JSON form, which may be passed on but not printed.

use std::rc::Rc;

use serde_json::{Map, Number, Value as Json};

use crate::import::yaml::javascript_number;

/// Whose values, operators, and printing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::import) enum Language {
    /// Jinja2.
    Python,
    /// Nunjucks.
    JavaScript,
}

/// A value; cloning one copies no text.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// What was looked for and is not there.
    Undefined(Rc<str>),
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Rc<str>),
    List(Rc<Vec<Value>>),
    /// What Python's `items()` gives, and a pair of it: it is gone through, and printed in a form
    /// of its own.
    View(Rc<Vec<Value>>),
    Map(Rc<Vec<(Rc<str>, Value)>>),
    /// A date or another value that the program prints in a form of its own.
    Opaque(Rc<str>),
}

/// The variables of a rendering, made once for all templates of a document.
#[derive(Debug, Clone)]
pub(in crate::import) struct Vars {
    pub(super) values: Vec<(Rc<str>, Value)>,
}

impl Vars {
    pub(in crate::import) fn new(map: &Map<String, Json>, language: Language) -> Self {
        let pairs = map.iter();
        let pairs = pairs.map(|(name, value)| (name.as_str().into(), Value::of(value, language)));
        Vars {
            values: pairs.collect(),
        }
    }
}

impl Value {
    pub(super) fn text(text: impl AsRef<str>) -> Self {
        Value::Text(text.as_ref().into())
    }

    pub(super) fn list(items: Vec<Value>) -> Self {
        Value::List(Rc::new(items))
    }

    /// JSON as the language has it: JavaScript knows one kind of number.
    pub(super) fn of(json: &Json, language: Language) -> Self {
        match json {
            Json::Null => Value::Null,
            Json::Bool(flag) => Value::Bool(*flag),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) if language == Language::Python => Value::Int(whole),
                (_, Some(float)) => Value::Float(float),
                _ => Value::Null,
            },
            Json::String(text) => Value::text(text),
            Json::Array(items) => {
                Value::list(items.iter().map(|item| Value::of(item, language)).collect())
            }
            Json::Object(map) => match map.iter().next() {
                Some((key, Json::String(text))) if map.len() == 1 && key.starts_with('!') => {
                    Value::Opaque(format!("{} {text}", key.trim_start_matches('!')).into())
                }
                _ => {
                    let pairs = map.iter();
                    let pairs =
                        pairs.map(|(key, item)| (key.as_str().into(), Value::of(item, language)));
                    Value::Map(Rc::new(pairs.collect()))
                }
            },
        }
    }

    pub(super) fn json(&self) -> Result<Json, String> {
        Ok(match self {
            Value::Undefined(name) => return Err(missing(name)),
            Value::Null => Json::Null,
            Value::Bool(flag) => Json::Bool(*flag),
            Value::Int(whole) => Json::from(*whole),
            Value::Float(float) => Number::from_f64(*float).map_or(Json::Null, Json::Number),
            Value::Text(text) => Json::String(text.to_string()),
            Value::List(items) | Value::View(items) => {
                Json::Array(items.iter().map(Value::json).collect::<Result<_, _>>()?)
            }
            Value::Map(pairs) => {
                let pairs = pairs.iter();
                let pairs = pairs.map(|(key, value)| Ok((key.to_string(), value.json()?)));
                Json::Object(pairs.collect::<Result<_, String>>()?)
            }
            Value::Opaque(what) => return Err(opaque(what)),
        })
    }

    /// Whether an `if` takes it.
    pub(super) fn is_true(&self, language: Language) -> bool {
        match self {
            Value::Undefined(_) | Value::Null => false,
            Value::Bool(flag) => *flag,
            Value::Int(whole) => *whole != 0,
            Value::Float(float) => *float != 0.0 && !float.is_nan(),
            Value::Text(text) => !text.is_empty(),
            // In JavaScript every object is true.
            Value::List(items) | Value::View(items) => {
                language == Language::JavaScript || !items.is_empty()
            }
            Value::Map(pairs) => language == Language::JavaScript || !pairs.is_empty(),
            Value::Opaque(_) => true,
        }
    }

    pub(super) fn number(&self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "as Python's float() does")]
            Value::Int(whole) => Some(*whole as f64),
            Value::Float(float) => Some(*float),
            Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
            _ => None,
        }
    }

    /// A whole number that can be an index.
    pub(super) fn index(&self, language: Language) -> Option<i64> {
        match self {
            Value::Int(whole) => Some(*whole),
            Value::Bool(flag) if language == Language::Python => Some(i64::from(*flag)),
            Value::Float(float) if language == Language::JavaScript => {
                javascript_number(*float).as_i64()
            }
            _ => None,
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Undefined(_) => "nothing",
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Text(_) => "a text",
            Value::List(_) | Value::View(_) => "a list",
            Value::Map(_) => "a map",
            Value::Opaque(_) => "a date or number of YAML",
        }
    }
}

/// Why a name without a value cannot be used.
pub(super) fn missing(name: &str) -> String {
    format!("there is no value for `{name}`")
}

pub(super) fn opaque(what: &str) -> String {
    format!("`{what}` is printed in a form of the program's own")
}
