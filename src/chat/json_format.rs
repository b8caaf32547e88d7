//! The `tojson` filter of chat templates, as transformers replaces Jinja's own.
//!
//! transformers calls Python's `json.dumps(x, ensure_ascii=False, indent=None, separators=None,
//! sort_keys=False)`: a blank after `,` and `:`, no HTML escapes, non-ASCII text kept.

use std::fmt::Write;

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, State, Value};
use serde_json::Value as Json;

/// Deepest value that is written; `json.dumps` has Python's own limit near 1000.
const MOST_DEPTH: usize = 128;

/// The filter with Python's keyword arguments.
///
/// What it writes is paid for with fuel before it is written: a value may hold another many times.
pub(super) fn tojson(state: &State<'_, '_>, value: Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<Value> = options.get("indent")?;
    let ensure_ascii: Option<bool> = options.get("ensure_ascii")?;
    let sort_keys: Option<bool> = options.get("sort_keys")?;
    let separators: Option<Vec<String>> = options.get("separators")?;
    options.assert_all_used()?;
    let indent = match indent {
        None => None,
        Some(v) if v.is_none() => None,
        Some(v) => match (v.as_str(), usize::try_from(v.clone())) {
            (Some(text), _) => Some(text.to_string()),
            (None, Ok(blanks)) => {
                state.consume_fuel(blanks as u64 / 64)?;
                Some(" ".repeat(blanks))
            }
            (None, Err(e)) => return Err(e),
        },
    };
    let (item, key) = match separators.as_deref() {
        Some([item, key]) => (item.clone(), key.clone()),
        Some(_) => {
            return Err(Error::new(
                ErrorKind::InvalidOperation,
                "tojson: separators must be a pair",
            ));
        }
        None if indent.is_some() => (",".into(), ": ".into()),
        None => (", ".into(), ": ".into()),
    };
    let line = indent.as_ref().map_or(0, String::len) + item.len().max(key.len());
    let json = Reading { state, line }.json_of(&value, 0)?;
    let format = Format {
        indent,
        item,
        key,
        ensure_ascii: ensure_ascii.unwrap_or(false),
        sort_keys: sort_keys.unwrap_or(false),
    };
    let mut out = String::new();
    format.write(&json, 0, &mut out);
    Ok(Value::from_safe_string(out))
}

struct Reading<'a, 'v, 'e> {
    state: &'a State<'v, 'e>,
    /// Bytes that one item's indentation and separators take, by depth.
    line: usize,
}

impl Reading<'_, '_, '_> {
    fn json_of(&self, value: &Value, depth: usize) -> Result<Json, Error> {
        if depth > MOST_DEPTH {
            return Err(Error::new(
                ErrorKind::BadSerialization,
                format!("tojson: a value is nested more than {MOST_DEPTH} deep"),
            ));
        }
        // A character becomes six at most: `\u0000`.
        let text = value.as_str().map_or(0, str::len).saturating_mul(6);
        let line = self.line.saturating_mul(depth + 1);
        self.state
            .consume_fuel(1 + text.saturating_add(line) as u64 / 64)?;
        let inner = |item: &Value| self.json_of(item, depth + 1);
        Ok(match value.kind() {
            ValueKind::Undefined | ValueKind::None => Json::Null,
            ValueKind::Bool => Json::Bool(value.is_true()),
            ValueKind::Number if value.is_integer() => match i64::try_from(value.clone()) {
                Ok(number) => number.into(),
                Err(_) => u64::try_from(value.clone())?.into(),
            },
            ValueKind::Number => f64::try_from(value.clone())?.into(),
            ValueKind::String => value.to_string().into(),
            ValueKind::Seq | ValueKind::Iterable => value
                .try_iter()?
                .map(|item| inner(&item))
                .collect::<Result<Vec<_>, _>>()?
                .into(),
            ValueKind::Map => {
                let mut map = serde_json::Map::new();
                for key in value.try_iter()? {
                    map.insert(key.to_string(), inner(&value.get_item(&key)?)?);
                }
                map.into()
            }
            kind => {
                let message = format!("tojson: a value of type {kind} is not JSON");
                return Err(Error::new(ErrorKind::BadSerialization, message));
            }
        })
    }
}

struct Format {
    indent: Option<String>,
    item: String,
    key: String,
    ensure_ascii: bool,
    sort_keys: bool,
}

impl Format {
    fn write(&self, json: &Json, depth: usize, out: &mut String) {
        match json {
            Json::Array(items) => {
                self.write_all(('[', ']'), items.len(), depth, out, |i, out| {
                    self.write(&items[i], depth + 1, out);
                });
            }
            Json::Object(map) => {
                let mut entries: Vec<_> = map.iter().collect();
                if self.sort_keys {
                    entries.sort_by_key(|(key, _)| key.as_str());
                }
                self.write_all(('{', '}'), entries.len(), depth, out, |i, out| {
                    let (key, value) = entries[i];
                    self.write_string(key, out);
                    out.push_str(&self.key);
                    self.write(value, depth + 1, out);
                });
            }
            Json::String(text) => self.write_string(text, out),
            other => out.push_str(&other.to_string()),
        }
    }

    fn write_all(
        &self,
        (open, close): (char, char),
        count: usize,
        depth: usize,
        out: &mut String,
        mut write: impl FnMut(usize, &mut String),
    ) {
        out.push(open);
        for i in 0..count {
            if i > 0 {
                out.push_str(&self.item);
            }
            self.new_line(depth + 1, out);
            write(i, out);
        }
        if count > 0 {
            self.new_line(depth, out);
        }
        out.push(close);
    }

    fn new_line(&self, depth: usize, out: &mut String) {
        if let Some(indent) = &self.indent {
            out.push('\n');
            out.push_str(&indent.repeat(depth));
        }
    }

    fn write_string(&self, text: &str, out: &mut String) {
        let quoted = Json::from(text).to_string();
        if !self.ensure_ascii {
            out.push_str(&quoted);
            return;
        }
        for c in quoted.chars() {
            if c.is_ascii() {
                out.push(c);
            } else {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
}
