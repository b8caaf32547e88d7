//! Filters and tests, as far as tasks and configurations use them. One that is not here is refused
//! by name: a filter of the same name does another thing in the other language.

use regex::RegexBuilder;

use super::budget::Budget;
use super::methods::{capitalize, javascript_trim, replaced, strip};
use super::print::{javascript_float, text};
use super::value::{Language, Value, missing};
use crate::import::pattern;

/// Largest compiled expression of `regex_replace` in bytes.
const LARGEST_PATTERN: usize = 1 << 20;

/// Applies a filter.
pub(super) fn apply(
    name: &str,
    value: &Value,
    arguments: &[Value],
    language: Language,
    budget: &Budget,
) -> Result<Value, String> {
    if let ("default" | "d", Some(made)) = (name, default(value, arguments, language)) {
        return Ok(made);
    }
    if let Value::Undefined(name) = value {
        return Err(missing(name));
    }
    let made = match language {
        Language::Python => jinja(name, value, arguments, budget)?,
        Language::JavaScript => nunjucks(name, value, arguments, budget)?,
    };
    let made = made.ok_or_else(|| format!("the filter `{name}` is not read here"))?;
    if let Value::Text(text) = &made {
        budget.make(text.len())?;
    }
    Ok(made)
}

fn default(value: &Value, arguments: &[Value], language: Language) -> Option<Value> {
    let (other, falsy) = match arguments {
        [other] => (other.clone(), false),
        [other, flag] => (other.clone(), flag.is_true(language)),
        _ => return None,
    };
    let replaces = match value {
        Value::Undefined(_) => true,
        value => falsy && !value.is_true(language),
    };
    Some(if replaces { other } else { value.clone() })
}

fn jinja(
    name: &str,
    value: &Value,
    arguments: &[Value],
    budget: &Budget,
) -> Result<Option<Value>, String> {
    let shown = || text(value, Language::Python);
    Ok(Some(match (name, arguments) {
        ("string", []) => Value::text(shown()?),
        ("lower", []) => Value::text(shown()?.to_lowercase()),
        ("upper", []) => Value::text(shown()?.to_uppercase()),
        ("capitalize", []) => Value::text(capitalize(&shown()?)),
        ("trim", []) => Value::text(strip(&shown()?, None, true, true)),
        ("trim", [Value::Text(chars)]) => Value::text(strip(&shown()?, Some(chars), true, true)),
        ("replace", [Value::Text(old), Value::Text(new)]) => replaced(&shown()?, old, new, budget)?,
        ("length" | "count", []) => match value {
            Value::Text(text) => length(text.chars().count()),
            Value::List(items) | Value::View(items) => length(items.len()),
            Value::Map(pairs) => length(pairs.len()),
            other => return Err(format!("`{name}` of {}", other.kind())),
        },
        ("list", []) => Value::list(entries(value)?),
        ("first", []) => {
            let first = entries(value)?.into_iter().next();
            first.unwrap_or_else(|| Value::Undefined("the first of nothing".into()))
        }
        ("last", []) => {
            let last = entries(value)?.pop();
            last.unwrap_or_else(|| Value::Undefined("the last of nothing".into()))
        }
        ("join", [] | [Value::Text(_)]) => {
            let items = entries(value)?;
            let items = items.iter().map(|item| text(item, Language::Python));
            let items: Vec<String> = items.collect::<Result<_, _>>()?;
            join(&items, arguments, budget)?
        }
        ("int", []) => python_int(value)?,
        ("regex_replace", [Value::Text(source), Value::Text(replacement)]) => {
            regex_replace(&shown()?, source, replacement, budget)?
        }
        _ => return Ok(None),
    }))
}

fn nunjucks(
    name: &str,
    value: &Value,
    arguments: &[Value],
    budget: &Budget,
) -> Result<Option<Value>, String> {
    // A missing or null value is an empty text to most filters.
    let shown = || match value {
        Value::Null => Ok(String::new()),
        other => text(other, Language::JavaScript),
    };
    let textual = matches!(value, Value::Text(_) | Value::Null);
    Ok(Some(match (name, arguments) {
        ("safe", []) => Value::text(shown()?),
        ("string", []) => Value::text(shown()?),
        ("lower", []) if textual => Value::text(shown()?.to_lowercase()),
        ("upper", []) if textual => Value::text(shown()?.to_uppercase()),
        ("trim", []) if textual => Value::text(javascript_trim(&shown()?)),
        ("capitalize", []) if textual => Value::text(capitalize(&shown()?)),
        ("replace", [Value::Text(old), Value::Text(new)]) if !old.is_empty() && textual => {
            replaced(&shown()?, old, new, budget)?
        }
        ("length", []) => match value {
            Value::Text(text) => float(text.encode_utf16().count()),
            Value::List(items) => float(items.len()),
            Value::Map(pairs) => float(pairs.len()),
            Value::Null => float(0),
            other => return Err(format!("`length` of {}", other.kind())),
        },
        ("first", []) => match value {
            Value::List(items) => first_of(items.first()),
            _ => return Ok(None),
        },
        ("last", []) => match value {
            Value::List(items) => first_of(items.last()),
            _ => return Ok(None),
        },
        ("join", [] | [Value::Text(_)]) => match value {
            Value::List(items) => {
                let items = items.iter().map(|item| match item {
                    Value::Null => Ok(String::new()),
                    other => text(other, Language::JavaScript),
                });
                let items: Vec<String> = items.collect::<Result<_, _>>()?;
                join(&items, arguments, budget)?
            }
            _ => return Ok(None),
        },
        // promptfoo's own.
        ("load", []) => match value {
            Value::Text(text) => {
                let json: serde_json::Value = serde_json::from_str(text)
                    .map_err(|_| "`load` of a text that is no JSON".to_owned())?;
                Value::of(&json, Language::JavaScript)
            }
            _ => return Ok(None),
        },
        ("dump", []) => {
            let mut json = String::new();
            dump(value, &mut json)?;
            Value::text(json)
        }
        _ => return Ok(None),
    }))
}

fn first_of(item: Option<&Value>) -> Value {
    item.cloned()
        .unwrap_or_else(|| Value::Undefined("an item of nothing".into()))
}

/// `JSON.stringify` without indentation.
fn dump(value: &Value, json: &mut String) -> Result<(), String> {
    match value {
        Value::List(items) => {
            json.push('[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    json.push(',');
                }
                dump(item, json)?;
            }
            json.push(']');
        }
        Value::Map(pairs) => {
            json.push('{');
            for (n, (key, item)) in pairs.iter().enumerate() {
                if n > 0 {
                    json.push(',');
                }
                json.push_str(&serde_json::Value::from(&**key).to_string());
                json.push(':');
                dump(item, json)?;
            }
            json.push('}');
        }
        Value::Float(number) => json.push_str(&javascript_float(*number)),
        other => json.push_str(&other.json()?.to_string()),
    }
    Ok(())
}

fn join(items: &[String], arguments: &[Value], budget: &Budget) -> Result<Value, String> {
    let separator = match arguments {
        [Value::Text(separator)] => separator,
        _ => "",
    };
    let whole: usize = items.iter().map(|item| item.len() + separator.len()).sum();
    budget.make(whole)?;
    Ok(Value::text(items.join(separator)))
}

/// What Python iterates over.
fn entries(value: &Value) -> Result<Vec<Value>, String> {
    match value {
        Value::List(items) | Value::View(items) => Ok(items.to_vec()),
        Value::Text(text) => Ok(text.chars().map(|c| Value::text(c.to_string())).collect()),
        Value::Map(pairs) => Ok(pairs
            .iter()
            .map(|(key, _)| Value::Text(key.clone()))
            .collect()),
        other => Err(format!("it goes through {}", other.kind())),
    }
}

fn length(count: usize) -> Value {
    Value::Int(i64::try_from(count).unwrap_or(i64::MAX))
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn float(count: usize) -> Value {
    Value::Float(count as f64)
}

/// Jinja's `int`: what is no number becomes 0.
fn python_int(value: &Value) -> Result<Value, String> {
    #[expect(clippy::cast_possible_truncation, reason = "checked to be in range")]
    let cut = |number: f64| {
        (number.abs() < 9e15)
            .then_some(Value::Int(number as i64))
            .ok_or("a number that is too large".to_owned())
    };
    match value {
        Value::Int(_) => Ok(value.clone()),
        Value::Bool(flag) => Ok(Value::Int(i64::from(*flag))),
        Value::Float(number) => cut(*number),
        Value::Text(text) => {
            let bare = text.trim();
            match (bare.parse::<i64>(), bare.parse::<f64>()) {
                (Ok(whole), _) => Ok(Value::Int(whole)),
                (_, Ok(number)) if number.is_finite() => cut(number),
                _ if bare.contains('_') => Err("`int` of a text with `_` is not read".into()),
                _ => Ok(Value::Int(0)),
            }
        }
        _ => Ok(Value::Int(0)),
    }
}

/// The filter that lm-evaluation-harness adds to Jinja: Python's `re.sub`.
fn regex_replace(
    text: &str,
    source: &str,
    replacement: &str,
    budget: &Budget,
) -> Result<Value, String> {
    let translated = pattern::translated(source, Language::Python)?;
    let regex = RegexBuilder::new(&translated)
        .size_limit(LARGEST_PATTERN)
        .build();
    let regex = regex.map_err(|_| pattern::refused(source))?;
    // `\1` is what group 1 matched.
    let mut expanded = String::new();
    let mut chars = replacement.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some(digit)) if digit.is_ascii_digit() => {
                expanded.push_str("${");
                expanded.push(*digit);
                expanded.push('}');
                chars.next();
            }
            ('\\', Some('\\')) => {
                expanded.push('\\');
                chars.next();
            }
            ('\\', Some('n')) => {
                expanded.push('\n');
                chars.next();
            }
            ('\\', _) => return Err(format!("the replacement `{replacement}` is not read")),
            ('$', _) => expanded.push_str("$$"),
            (c, _) => expanded.push(c),
        }
    }
    let times = regex.find_iter(text).count();
    let longest = replacement.len().saturating_add(text.len());
    budget.make(text.len().saturating_add(match replacement.contains('\\') {
        true => longest.saturating_mul(times),
        false => replacement.len().saturating_mul(times),
    }))?;
    Ok(Value::text(regex.replace_all(text, expanded.as_str())))
}

/// Whether a test holds.
pub(super) fn test(
    name: &str,
    value: &Value,
    arguments: &[Value],
    language: Language,
) -> Result<bool, String> {
    let whole = || value.index(language);
    let python = language == Language::Python;
    if let (Value::Undefined(of), true) =
        (value, python && !["defined", "undefined"].contains(&name))
    {
        return match name {
            "none" | "string" | "number" | "mapping" => Ok(false),
            _ => Err(missing(of)),
        };
    }
    Ok(match (name, arguments) {
        ("defined", []) => !matches!(value, Value::Undefined(_)),
        ("undefined", []) => matches!(value, Value::Undefined(_)),
        ("none", []) => matches!(value, Value::Null),
        ("null", []) if !python => matches!(value, Value::Null),
        ("string", []) => matches!(value, Value::Text(_)),
        ("number", []) if python => {
            matches!(value, Value::Int(_) | Value::Float(_) | Value::Bool(_))
        }
        ("number", []) => matches!(value, Value::Float(_)),
        ("mapping", []) if python => matches!(value, Value::Map(_)),
        ("odd", []) if whole().is_some() => whole().is_some_and(|n| n.rem_euclid(2) == 1),
        ("even", []) if whole().is_some() => whole().is_some_and(|n| n.rem_euclid(2) == 0),
        _ => return Err(format!("the test `{name}` is not read here")),
    })
}
