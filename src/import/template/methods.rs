//! Methods of texts, lists, and maps: Python's, and JavaScript's.

use std::rc::Rc;

use super::budget::Budget;
use super::operators::equal;
use super::print::text;
use super::value::{Language, Value};

/// Whether every Python map has a method of the name, which Jinja finds before a key.
pub(super) fn is_of_dict(name: &str) -> bool {
    [
        "clear",
        "copy",
        "fromkeys",
        "get",
        "items",
        "keys",
        "pop",
        "popitem",
        "setdefault",
        "update",
        "values",
    ]
    .contains(&name)
}

/// Calls a method.
pub(super) fn call(
    value: &Value,
    name: &str,
    arguments: &[Value],
    language: Language,
    budget: &Budget,
) -> Result<Value, String> {
    let made = match (value, language) {
        (Value::Text(text), Language::Python) => python_text(text, name, arguments, budget)?,
        (Value::List(items), Language::Python) => python_list(items, name, arguments)?,
        (Value::Map(pairs), Language::Python) => python_dict(pairs, name, arguments),
        (Value::Text(text), Language::JavaScript) => javascript_text(text, name, arguments),
        (Value::List(items), Language::JavaScript) => javascript_list(items, name, arguments)?,
        _ => None,
    };
    let made =
        made.ok_or_else(|| format!("the method `{name}` of {} is not read", value.kind()))?;
    match &made {
        Value::Text(text) => budget.make(text.len())?,
        Value::List(items) => budget.make(items.len() * 16)?,
        _ => {}
    }
    Ok(made)
}

/// `str.isspace`, which has four separators that Unicode calls controls.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// `str.strip`, `lstrip`, or `rstrip`.
pub(super) fn strip<'a>(text: &'a str, chars: Option<&str>, left: bool, right: bool) -> &'a str {
    let cut = |c: char| chars.map_or_else(|| is_space(c), |chars| chars.contains(c));
    let text = if left {
        text.trim_start_matches(cut)
    } else {
        text
    };
    if right {
        text.trim_end_matches(cut)
    } else {
        text
    }
}

/// `str.capitalize`.
pub(super) fn capitalize(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string());
    first.unwrap_or_default() + &chars.as_str().to_lowercase()
}

fn python_text(
    text: &str,
    name: &str,
    arguments: &[Value],
    budget: &Budget,
) -> Result<Option<Value>, String> {
    let texts: Option<Vec<&str>> = arguments.iter().map(as_text).collect();
    let texts = texts.unwrap_or_default();
    let all_texts = texts.len() == arguments.len();
    let made = match (name, texts.as_slice()) {
        _ if !all_texts => return python_text_other(text, name, arguments, budget),
        ("strip" | "lstrip" | "rstrip", [] | [_]) => {
            let (left, right) = (name != "rstrip", name != "lstrip");
            Value::text(strip(text, texts.first().copied(), left, right))
        }
        ("lower", []) => Value::text(text.to_lowercase()),
        ("upper", []) => Value::text(text.to_uppercase()),
        ("capitalize", []) => Value::text(capitalize(text)),
        ("split", []) => {
            let words = text.split(is_space).filter(|word| !word.is_empty());
            Value::list(words.map(Value::text).collect())
        }
        ("split", [separator]) if !separator.is_empty() => {
            Value::list(text.split(separator).map(Value::text).collect())
        }
        ("replace", [old, new]) => replaced(text, old, new, budget)?,
        ("startswith", [part]) => Value::Bool(text.starts_with(part)),
        ("endswith", [part]) => Value::Bool(text.ends_with(part)),
        ("removeprefix", [part]) => Value::text(text.strip_prefix(part).unwrap_or(text)),
        ("removesuffix", [part]) => Value::text(text.strip_suffix(part).unwrap_or(text)),
        ("find" | "index", [part]) => match text.find(part) {
            Some(at) => count(text.get(..at).unwrap_or_default().chars().count()),
            None if name == "find" => Value::Int(-1),
            None => return Err(format!("{part:?} is not in the text")),
        },
        ("count", [part]) if !part.is_empty() => count(text.matches(part).count()),
        _ => return Ok(None),
    };
    Ok(Some(made))
}

fn python_text_other(
    text: &str,
    name: &str,
    arguments: &[Value],
    budget: &Budget,
) -> Result<Option<Value>, String> {
    let made = match (name, arguments) {
        ("join", [Value::List(items)]) => {
            let items: Option<Vec<&str>> = items.iter().map(as_text).collect();
            let items = items.ok_or("`join` of a list with more than texts")?;
            budget.make(text.len().saturating_mul(items.len()))?;
            Value::text(items.join(text))
        }
        ("split", [Value::Text(separator), Value::Int(most)]) if !separator.is_empty() => {
            match usize::try_from(*most) {
                Ok(most) => Value::list(
                    text.splitn(most.saturating_add(1), &**separator)
                        .map(Value::text)
                        .collect(),
                ),
                Err(_) => Value::list(text.split(&**separator).map(Value::text).collect()),
            }
        }
        ("replace", [Value::Text(old), Value::Text(new), Value::Int(most)])
            if !old.is_empty() && *most >= 0 =>
        {
            let most = usize::try_from(*most).unwrap_or(usize::MAX);
            budget.make(text.len() + new.len().saturating_mul(most.min(text.len())))?;
            Value::text(text.replacen(&**old, new, most))
        }
        _ => return Ok(None),
    };
    Ok(Some(made))
}

/// Every occurrence replaced, its size known before it is made.
pub(super) fn replaced(text: &str, old: &str, new: &str, budget: &Budget) -> Result<Value, String> {
    let times = text.matches(old).count();
    budget.make(text.len() + new.len().saturating_mul(times))?;
    Ok(Value::text(text.replace(old, new)))
}

fn python_list(items: &[Value], name: &str, arguments: &[Value]) -> Result<Option<Value>, String> {
    Ok(match (name, arguments) {
        ("index", [wanted]) => {
            let at = items.iter().position(|item| equal(item, wanted));
            let shown = text(wanted, Language::Python).unwrap_or_default();
            Some(count(at.ok_or(format!("{shown:?} is not in the list"))?))
        }
        ("count", [wanted]) => Some(count(
            items.iter().filter(|item| equal(item, wanted)).count(),
        )),
        _ => None,
    })
}

fn view(items: Vec<Value>) -> Value {
    Value::View(Rc::new(items))
}

fn python_dict(pairs: &[(Rc<str>, Value)], name: &str, arguments: &[Value]) -> Option<Value> {
    let key = |(key, _): &(Rc<str>, Value)| Value::Text(Rc::clone(key));
    let found = |wanted: &Rc<str>| pairs.iter().find(|(key, _)| key == wanted);
    Some(match (name, arguments) {
        ("keys", []) => view(pairs.iter().map(key).collect()),
        ("values", []) => view(pairs.iter().map(|(_, value)| value.clone()).collect()),
        ("items", []) => {
            let pair = |(key, value): &(Rc<str>, Value)| {
                view(vec![Value::Text(Rc::clone(key)), value.clone()])
            };
            view(pairs.iter().map(pair).collect())
        }
        ("get", [Value::Text(wanted)]) => {
            found(wanted).map_or(Value::Null, |(_, value)| value.clone())
        }
        ("get", [Value::Text(wanted), default]) => {
            found(wanted).map_or_else(|| default.clone(), |(_, value)| value.clone())
        }
        _ => return None,
    })
}

fn javascript_text(text: &str, name: &str, arguments: &[Value]) -> Option<Value> {
    let texts: Option<Vec<&str>> = arguments.iter().map(as_text).collect();
    Some(match (name, texts?.as_slice()) {
        ("trim", []) => Value::text(javascript_trim(text)),
        ("toUpperCase", []) => Value::text(text.to_uppercase()),
        ("toLowerCase", []) => Value::text(text.to_lowercase()),
        ("toString", []) => Value::text(text),
        ("includes", [part]) => Value::Bool(text.contains(part)),
        ("startsWith", [part]) => Value::Bool(text.starts_with(part)),
        ("endsWith", [part]) => Value::Bool(text.ends_with(part)),
        ("split", [separator]) if !separator.is_empty() => {
            Value::list(text.split(separator).map(Value::text).collect())
        }
        _ => return None,
    })
}

/// `String.prototype.trim`.
pub(super) fn javascript_trim(text: &str) -> &str {
    text.trim_matches(|c: char| (c.is_whitespace() && c != '\u{85}') || c == '\u{FEFF}')
}

fn javascript_list(
    items: &[Value],
    name: &str,
    arguments: &[Value],
) -> Result<Option<Value>, String> {
    Ok(match (name, arguments) {
        ("join", [Value::Text(separator)]) => {
            let items = items.iter().map(|item| match item {
                Value::Null => Ok(String::new()),
                other => text(other, Language::JavaScript),
            });
            let items: Vec<String> = items.collect::<Result<_, _>>()?;
            Some(Value::text(items.join(separator)))
        }
        _ => None,
    })
}

fn as_text(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

fn count(number: usize) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// The places that a Python slice takes, in its order.
pub(super) fn sliced(
    length: usize,
    [start, stop, step]: [Option<i64>; 3],
) -> Result<impl Iterator<Item = usize>, String> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err("a slice with a step of 0".into());
    }
    let (lowest, highest) = if step > 0 {
        (0, length)
    } else {
        (-1, length - 1)
    };
    let bound = |bound: Option<i64>, default: i64| match bound {
        None => default,
        Some(at) if at < 0 => at.saturating_add(length).max(lowest),
        Some(at) => at.min(highest),
    };
    let (mut at, stop) = match step > 0 {
        true => (bound(start, 0), bound(stop, length)),
        false => (bound(start, length - 1), bound(stop, -1)),
    };
    Ok(std::iter::from_fn(move || {
        let more = if step > 0 { at < stop } else { at > stop };
        let taken = more.then(|| usize::try_from(at).ok()).flatten();
        at = at.saturating_add(step);
        taken
    }))
}
