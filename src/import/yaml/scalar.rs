//! What a plain scalar is, by the rules of the program that reads it.
//!
//! | written | PyYAML | js-yaml |
//! |---|---|---|
//! | `yes`, `on`, `No` | boolean | text |
//! | `010` | 8 | 10 |
//! | `0o17` | text | 15 |
//! | `1_000`, `0b11`, `12:30` | 1000, 3, 750 | text |
//! | `1e5` | text | 100000 |
//! | `9.0` | 9.0 | 9 |
//! | `2020-01-01` | a date, printed as written | a date, printed with weekday and zone |

use std::sync::LazyLock;

use regex::Regex;
use saphyr_parser::Tag;
use serde_json::{Map, Number, Value};

use super::{CORE, Dialect};
use crate::import::pattern;

/// The first whole number that a float does not tell from its neighbour.
const EXACT: f64 = 9_007_199_254_740_992.0;

static PYTHON_FLOAT: LazyLock<Regex> = LazyLock::new(|| {
    pattern::constant(
        r"^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?)$",
    )
});
static PYTHON_INT: LazyLock<Regex> = LazyLock::new(|| {
    pattern::constant(
        r"^[-+]?(?:0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|[1-9][0-9_]*(?::[0-5]?[0-9])+)$",
    )
});
static SEXAGESIMAL_FLOAT: LazyLock<Regex> =
    LazyLock::new(|| pattern::constant(r"^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*$"));
static DATE: LazyLock<Regex> = LazyLock::new(|| pattern::constant(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"));
static TIME: LazyLock<Regex> = LazyLock::new(|| {
    pattern::constant(
        r"^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::[0-9]{2})?))?$",
    )
});
static CORE_FLOAT: LazyLock<Regex> = LazyLock::new(|| {
    pattern::constant(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$")
});
static INFINITE: LazyLock<Regex> =
    LazyLock::new(|| pattern::constant(r"^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"));

/// The value of a scalar.
///
/// # Errors
/// It is not of the type of its tag.
pub(super) fn typed(
    text: &str,
    plain: bool,
    tag: Option<&Tag>,
    dialect: Dialect,
) -> Result<Value, String> {
    let Some(tag) = tag else {
        return Ok(match plain {
            true => resolved(text, dialect),
            false => Value::String(text.to_owned()),
        });
    };
    if tag.handle != CORE {
        // `!` alone says that it is a text.
        return Ok(match tag.suffix.is_empty() {
            true => Value::String(text.to_owned()),
            false => marked(&format!("!{}", tag.suffix), text),
        });
    }
    let value = match tag.suffix.as_str() {
        "str" => return Ok(Value::String(text.to_owned())),
        "float" => match resolved(text, dialect) {
            Value::Number(number) if dialect == Dialect::Python => {
                Value::from(number.as_f64().unwrap_or_default())
            }
            other => other,
        },
        _ => resolved(text, dialect),
    };
    let fits = match tag.suffix.as_str() {
        "int" => value.is_i64() || value.is_u64(),
        "float" => value.is_number(),
        "bool" => value.is_boolean(),
        "null" => value.is_null(),
        _ => false,
    };
    match fits {
        true => Ok(value),
        false => Err("a value that is not of the type of its tag".into()),
    }
}

fn marked(key: &str, text: &str) -> Value {
    Value::Object(Map::from_iter([(key.to_owned(), text.into())]))
}

fn resolved(text: &str, dialect: Dialect) -> Value {
    if matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Value::Null;
    }
    if let Some(flag) = boolean(text, dialect) {
        return Value::Bool(flag);
    }
    if INFINITE.is_match(text) {
        // JSON has no infinity: whatever would use it is told so.
        return marked("!number", text);
    }
    if TIME.is_match(text) || (dialect == Dialect::JavaScript && DATE.is_match(text)) {
        return marked("!timestamp", text);
    }
    let number = match dialect {
        Dialect::Python => python_number(text),
        Dialect::JavaScript => core_number(text),
    };
    number.unwrap_or_else(|| Value::String(text.to_owned()))
}

fn boolean(text: &str, dialect: Dialect) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ if dialect == Dialect::JavaScript => None,
        "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

fn python_number(text: &str) -> Option<Value> {
    let bare = text.replace('_', "");
    if PYTHON_INT.is_match(text) {
        let (sign, digits) = match bare.strip_prefix('-') {
            Some(digits) => (-1, digits),
            None => (1, bare.strip_prefix('+').unwrap_or(&bare)),
        };
        let whole = if let Some(binary) = digits.strip_prefix("0b") {
            i64::from_str_radix(binary, 2).ok()
        } else if let Some(hex) = digits.strip_prefix("0x") {
            i64::from_str_radix(hex, 16).ok()
        } else if digits.contains(':') {
            let mut parts = digits.split(':').map(|part| part.parse::<i64>().ok());
            parts.try_fold(0i64, |sum, part| sum.checked_mul(60)?.checked_add(part?))
        } else if digits.len() > 1 && digits.starts_with('0') {
            i64::from_str_radix(digits, 8).ok()
        } else {
            digits.parse().ok()
        };
        // Python's integers have no end, ours have.
        return Some(match whole.and_then(|whole| whole.checked_mul(sign)) {
            Some(whole) => whole.into(),
            None => marked("!number", text),
        });
    }
    if PYTHON_FLOAT.is_match(text) {
        let number = bare.parse::<f64>().ok()?;
        return Some(
            Number::from_f64(number).map_or_else(|| marked("!number", text), Value::Number),
        );
    }
    SEXAGESIMAL_FLOAT
        .is_match(text)
        .then(|| marked("!number", text))
}

fn core_number(text: &str) -> Option<Value> {
    let radix = |prefix: &str, radix: u32| {
        let digits = text.strip_prefix(prefix)?;
        u64::from_str_radix(digits, radix).ok()
    };
    if let Some(whole) = radix("0o", 8).or_else(|| radix("0x", 16)) {
        return Some(whole.into());
    }
    if !CORE_FLOAT.is_match(text) {
        return None;
    }
    text.parse::<f64>().ok().map(javascript_number)
}

/// A number as JavaScript has it: a whole one without a point.
pub(in crate::import) fn javascript_number(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() <= EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole, and in range")]
        return Value::from(number as i64);
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Printed by yaml.CSafeLoader of PyYAML 6.0.4, and by promptfoo 0.123.1's own `loadYaml`.
    #[test]
    fn plain_scalars_are_typed_as_their_program_types_them() {
        for (text, python, javascript) in [
            ("1_000", "1000", r#""1_000""#),
            ("0b11", "3", r#""0b11""#),
            ("010", "8", "10"),
            ("08", r#""08""#, "8"),
            ("0o17", r#""0o17""#, "15"),
            ("1e5", r#""1e5""#, "100000"),
            ("1.0e5", r#""1.0e5""#, "100000"),
            ("1.0e+5", "100000.0", "100000"),
            ("+1", "1", "1"),
            ("-0x1F", "-31", r#""-0x1F""#),
            ("0x1F", "31", "31"),
            ("12:30", "750", r#""12:30""#),
            (".5", "0.5", "0.5"),
            ("5.", "5.0", "5"),
            ("9.0", "9.0", "9"),
            ("yes", "true", r#""yes""#),
            ("No", "false", r#""No""#),
            ("y", r#""y""#, r#""y""#),
            ("TRUE", "true", "true"),
            ("~", "null", "null"),
            (
                "2020-01-01",
                r#""2020-01-01""#,
                r#"{"!timestamp":"2020-01-01"}"#,
            ),
            ("-.inf", r#"{"!number":"-.inf"}"#, r#"{"!number":"-.inf"}"#),
        ] {
            for (dialect, expected) in
                [(Dialect::Python, python), (Dialect::JavaScript, javascript)]
            {
                let value = typed(text, true, None, dialect).unwrap();
                assert_eq!(value.to_string(), expected, "{text} {dialect:?}");
            }
            let quoted = typed(text, false, None, Dialect::Python).unwrap();
            assert_eq!(quoted, Value::from(text));
        }
    }
}
