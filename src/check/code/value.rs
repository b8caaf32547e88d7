//! Values between JSON and the interpreter: arguments in, comparison and a readable form out.

use std::fmt::Write as _;

use monty_types::MontyObject;
use serde_json::Value;

use crate::text::ellipsize;

/// Longest value or message in a result, in characters.
pub(super) const SHOWN: usize = 120;

/// A JSON value as the interpreter's.
pub(super) fn to_python(value: &Value) -> MontyObject {
    match value {
        Value::Null => MontyObject::None,
        Value::Bool(b) => MontyObject::Bool(*b),
        Value::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(int), _) => MontyObject::Int(int),
            (None, Some(int)) => MontyObject::BigInt(int.into()),
            (None, None) => MontyObject::Float(n.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(s) => MontyObject::String(s.clone()),
        Value::Array(items) => MontyObject::List(items.iter().map(to_python).collect()),
        Value::Object(map) => MontyObject::dict(
            map.iter()
                .map(|(key, value)| (MontyObject::String(key.clone()), to_python(value)))
                .collect::<Vec<_>>(),
        ),
    }
}

/// A number as Python compares it.
enum Number {
    Int(i128),
    Float(f64),
}

impl Number {
    fn returned(value: &MontyObject) -> Option<Self> {
        Some(match value {
            MontyObject::Bool(b) => Number::Int(i128::from(*b)),
            MontyObject::Int(int) => Number::Int(i128::from(*int)),
            MontyObject::BigInt(int) => {
                // Beyond every float there is nothing left to compare with.
                let digits = if int.bits() > 1024 {
                    return None;
                } else {
                    int.to_string()
                };
                match digits.parse() {
                    Ok(int) => Number::Int(int),
                    Err(_) => Number::Float(digits.parse().ok()?),
                }
            }
            MontyObject::Float(float) => Number::Float(*float),
            _ => return None,
        })
    }

    fn expected(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Bool(b) => Number::Int(i128::from(*b)),
            Value::Number(n) => match (n.as_i64(), n.as_u64()) {
                (Some(int), _) => Number::Int(i128::from(int)),
                (None, Some(int)) => Number::Int(i128::from(int)),
                (None, None) => Number::Float(n.as_f64()?),
            },
            _ => return None,
        })
    }

    fn float(&self) -> f64 {
        match self {
            Number::Int(int) => *int as f64,
            Number::Float(float) => *float,
        }
    }

    fn equals(&self, other: &Number) -> bool {
        if let (Number::Int(a), Number::Int(b)) = (self, other) {
            return a == b;
        }
        let (a, b) = (self.float(), other.float());
        let finite = a.is_finite() && b.is_finite();
        a == b || finite && (a - b).abs() <= (1e-9 * a.abs().max(b.abs())).max(1e-12)
    }
}

/// Whether Python's `==` holds, with the leniencies that the check documents.
pub(super) fn equal(returned: &MontyObject, expected: &Value) -> bool {
    if let (Some(a), Some(b)) = (Number::returned(returned), Number::expected(expected)) {
        return a.equals(&b);
    }
    match (returned, expected) {
        (MontyObject::None, Value::Null) => true,
        (MontyObject::String(a), Value::String(b)) => a == b,
        (
            MontyObject::List(a)
            | MontyObject::Tuple(a)
            | MontyObject::NamedTuple { values: a, .. },
            Value::Array(b),
        ) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (MontyObject::Dict(pairs), Value::Object(map)) => {
            pairs.len() == map.len()
                && pairs.into_iter().all(|(key, value)| {
                    let key = match key {
                        MontyObject::String(key) => key.clone(),
                        MontyObject::Int(key) => key.to_string(),
                        _ => return false,
                    };
                    map.get(&key).is_some_and(|expected| equal(value, expected))
                })
        }
        _ => false,
    }
}

/// A value as Python's `repr` writes it, shortened without writing all of a large one.
pub(super) fn shown(value: &MontyObject) -> String {
    let mut out = String::new();
    show(value, &mut out, 0);
    ellipsize(&out, SHOWN)
}

fn show(value: &MontyObject, out: &mut String, depth: usize) {
    if out.len() > 4 * SHOWN || depth > 20 {
        out.push('…');
        return;
    }
    let (open, items, close) = match value {
        MontyObject::String(text) => {
            out.push_str(&MontyObject::String(ellipsize(text, SHOWN)).py_repr());
            return;
        }
        MontyObject::List(items) => ("[", items, "]"),
        MontyObject::Tuple(items) if items.len() == 1 => ("(", items, ",)"),
        MontyObject::Tuple(items) => ("(", items, ")"),
        MontyObject::Set(items) if !items.is_empty() => ("{", items, "}"),
        MontyObject::Dict(pairs) => {
            out.push('{');
            for (i, (key, value)) in pairs.into_iter().enumerate().take(SHOWN) {
                out.push_str(if i > 0 { ", " } else { "" });
                show(key, out, depth + 1);
                out.push_str(": ");
                show(value, out, depth + 1);
            }
            out.push('}');
            return;
        }
        MontyObject::Bytes(bytes) => {
            out.push_str(
                &MontyObject::Bytes(bytes.iter().copied().take(SHOWN).collect()).py_repr(),
            );
            return;
        }
        MontyObject::BigInt(int) if int.bits() > 1024 => {
            // Writing to a String does not fail.
            let _ = write!(out, "an int of {} bits", int.bits());
            return;
        }
        MontyObject::Repr(text) => {
            out.push_str(text);
            return;
        }
        MontyObject::FrozenSet(_) | MontyObject::ClassInstance(_) => {
            out.push_str("a ");
            out.push_str(value.type_name());
            return;
        }
        other => {
            out.push_str(&other.py_repr());
            return;
        }
    };
    out.push_str(open);
    for (i, item) in items.iter().enumerate().take(SHOWN) {
        out.push_str(if i > 0 { ", " } else { "" });
        show(item, out, depth + 1);
    }
    out.push_str(close);
}
