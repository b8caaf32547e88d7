//! What `+`, `==`, `<`, and `in` mean in either language.

use std::cmp::Ordering;
use std::rc::Rc;

use super::budget::Budget;
use super::parse::Binary;
use super::print::text;
use super::value::{Language, Value, missing, opaque};

/// An operator between two values.
pub(super) fn binary(
    operator: Binary,
    a: &Value,
    b: &Value,
    language: Language,
    budget: &Budget,
) -> Result<Value, String> {
    for side in [a, b] {
        match side {
            // JavaScript goes on with `undefined`, which is no value that a prompt should have.
            Value::Undefined(name) => return Err(missing(name)),
            Value::Opaque(what) => return Err(opaque(what)),
            _ => {}
        }
    }
    match operator {
        Binary::Join => joined(a, b, language, budget),
        Binary::Add => match (a, b) {
            (Value::Text(_), Value::Text(_)) => joined(a, b, language, budget),
            (Value::List(x), Value::List(y)) if language == Language::Python => {
                budget.make((x.len() + y.len()) * 16)?;
                Ok(Value::list(x.iter().chain(y.iter()).cloned().collect()))
            }
            (Value::Text(_) | Value::List(_) | Value::Map(_), _)
            | (_, Value::Text(_) | Value::List(_) | Value::Map(_))
                if language == Language::JavaScript =>
            {
                joined(a, b, language, budget)
            }
            _ => arithmetic(operator, a, b, language),
        },
        Binary::Multiply if language == Language::Python => match (a, b) {
            (Value::Text(text), Value::Int(times)) | (Value::Int(times), Value::Text(text)) => {
                let times = usize::try_from(*times).unwrap_or(0);
                budget.make(text.len().saturating_mul(times))?;
                Ok(Value::text(text.repeat(times)))
            }
            _ => arithmetic(operator, a, b, language),
        },
        _ => arithmetic(operator, a, b, language),
    }
}

fn joined(a: &Value, b: &Value, language: Language, budget: &Budget) -> Result<Value, String> {
    let (a, b) = (text(a, language)?, text(b, language)?);
    budget.make(a.len() + b.len())?;
    Ok(Value::text(a + &b))
}

fn arithmetic(operator: Binary, a: &Value, b: &Value, language: Language) -> Result<Value, String> {
    let refused = || {
        let sign = operator.sign();
        format!("`{sign}` between {} and {}", a.kind(), b.kind())
    };
    if let (Value::Int(x), Value::Int(y), Language::Python) = (a, b, language) {
        let whole = match operator {
            Binary::Add => x.checked_add(*y),
            Binary::Subtract => x.checked_sub(*y),
            Binary::Multiply => x.checked_mul(*y),
            Binary::Whole if *y != 0 => x.checked_div_euclid(*y).map(|_| floor(*x, *y)),
            Binary::Remainder if *y != 0 => x.checked_rem(*y).map(|_| x - floor(*x, *y) * y),
            Binary::Divide if *y != 0 => {
                #[expect(clippy::cast_precision_loss, reason = "as Python's `/` does")]
                return Ok(Value::Float(*x as f64 / *y as f64));
            }
            _ => None,
        };
        return whole.map(Value::Int).ok_or_else(refused);
    }
    let numeric = |value: &Value| match (value, language) {
        (Value::Int(_) | Value::Float(_), _) => value.number(),
        _ => None,
    };
    let (Some(x), Some(y)) = (numeric(a), numeric(b)) else {
        return Err(refused());
    };
    if y == 0.0 && matches!(operator, Binary::Divide | Binary::Whole | Binary::Remainder) {
        return Err("it divides by zero".into());
    }
    let number = match operator {
        Binary::Add => x + y,
        Binary::Subtract => x - y,
        Binary::Multiply => x * y,
        Binary::Divide => x / y,
        Binary::Whole => (x / y).floor(),
        Binary::Remainder if language == Language::JavaScript => x % y,
        Binary::Remainder => x - (x / y).floor() * y,
        Binary::Join => return Err(refused()),
    };
    Ok(Value::Float(number))
}

fn floor(x: i64, y: i64) -> i64 {
    let quotient = x / y;
    if (x % y != 0) && ((x < 0) != (y < 0)) {
        quotient - 1
    } else {
        quotient
    }
}

/// Python's `==`.
pub(super) fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::Text(x), Value::Text(y)) => x == y,
        (Value::List(x), Value::List(y)) => {
            x.len() == y.len() && x.iter().zip(y.iter()).all(|(x, y)| equal(x, y))
        }
        (Value::Map(x), Value::Map(y)) => {
            let find = |key: &Rc<str>| y.iter().find(|(other, _)| other == key);
            let same = |(key, value): &(Rc<str>, Value)| {
                find(key).is_some_and(|(_, other)| equal(value, other))
            };
            x.len() == y.len() && x.iter().all(same)
        }
        (Value::Int(x), Value::Int(y)) => x == y,
        _ => match (a.number(), b.number()) {
            (Some(x), Some(y)) => x == y,
            _ => false,
        },
    }
}

/// JavaScript's `===`.
fn identical(a: &Value, b: &Value) -> Result<bool, String> {
    Ok(match (a, b) {
        (Value::Undefined(_), Value::Undefined(_)) | (Value::Null, Value::Null) => true,
        (Value::Bool(x), Value::Bool(y)) => x == y,
        (Value::Text(x), Value::Text(y)) => x == y,
        (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)) => {
            a.number() == b.number()
        }
        (Value::List(_) | Value::Map(_), Value::List(_) | Value::Map(_)) => {
            return Err("it compares lists or maps, which JavaScript does by identity".into());
        }
        _ => false,
    })
}

/// JavaScript's `==`, which converts.
fn loosely_equal(a: &Value, b: &Value) -> Result<bool, String> {
    let nothing = |value: &Value| matches!(value, Value::Undefined(_) | Value::Null);
    if nothing(a) || nothing(b) {
        return Ok(nothing(a) && nothing(b));
    }
    let primitive =
        |value: &Value| !matches!(value, Value::List(_) | Value::Map(_) | Value::Opaque(_));
    if !primitive(a) || !primitive(b) {
        return Err("it compares a list or a map, which JavaScript does by identity".into());
    }
    match (a, b) {
        (Value::Text(x), Value::Text(y)) => Ok(x == y),
        _ => Ok(javascript_number(a) == javascript_number(b)),
    }
}

/// JavaScript's `Number()` of a primitive.
fn javascript_number(value: &Value) -> f64 {
    match value {
        Value::Null => 0.0,
        Value::Text(text) => match text.trim() {
            "" => 0.0,
            bare => bare.parse().unwrap_or(f64::NAN),
        },
        other => other.number().unwrap_or(f64::NAN),
    }
}

/// A comparison: `==`, `===`, `<`, `in`, and their like.
pub(super) fn compare(
    operator: &str,
    a: &Value,
    b: &Value,
    language: Language,
) -> Result<bool, String> {
    if let Some(opposite) = match operator {
        "!=" => Some("=="),
        "!==" => Some("==="),
        "not in" => Some("in"),
        _ => None,
    } {
        return Ok(!compare(opposite, a, b, language)?);
    }
    if language == Language::Python {
        for side in [a, b] {
            if let Value::Undefined(name) = side {
                return Err(missing(name));
            }
        }
    }
    match (operator, language) {
        ("==", Language::Python) => Ok(equal(a, b)),
        ("==", Language::JavaScript) => loosely_equal(a, b),
        ("===", Language::JavaScript) => identical(a, b),
        ("in", _) => contained(a, b, language),
        _ => {
            let order = order(a, b, language)?;
            Ok(match operator {
                "<" => order == Some(Ordering::Less),
                ">" => order == Some(Ordering::Greater),
                "<=" => matches!(order, Some(Ordering::Less | Ordering::Equal)),
                ">=" => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
                _ => return Err(format!("`{operator}` is not read")),
            })
        }
    }
}

fn order(a: &Value, b: &Value, language: Language) -> Result<Option<Ordering>, String> {
    let scalar = |value: &Value| {
        matches!(
            value,
            Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::Null
        )
    };
    match (a, b, language) {
        (Value::Text(x), Value::Text(y), Language::Python) => Ok(Some(x.cmp(y))),
        (Value::Text(x), Value::Text(y), Language::JavaScript) => {
            Ok(Some(x.encode_utf16().cmp(y.encode_utf16())))
        }
        (a, b, Language::JavaScript) if scalar(a) && scalar(b) => {
            Ok(javascript_number(a).partial_cmp(&javascript_number(b)))
        }
        _ => match (a.number(), b.number()) {
            (Some(x), Some(y)) => Ok(x.partial_cmp(&y)),
            _ => Err(format!("it orders {} and {}", a.kind(), b.kind())),
        },
    }
}

fn contained(item: &Value, whole: &Value, language: Language) -> Result<bool, String> {
    match (item, whole, language) {
        (_, Value::List(items) | Value::View(items), Language::Python) => {
            Ok(items.iter().any(|i| equal(i, item)))
        }
        (_, Value::List(items), Language::JavaScript) => {
            for other in items.iter() {
                if !matches!(other, Value::List(_) | Value::Map(_)) && identical(other, item)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        (Value::Text(part), Value::Text(text), _) => Ok(text.contains(&**part)),
        (Value::Text(key), Value::Map(pairs), _) => Ok(pairs.iter().any(|(k, _)| k == key)),
        _ => Err(format!("`in` between {} and {}", item.kind(), whole.kind())),
    }
}
