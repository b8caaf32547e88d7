//! How values look in a text: Python's `str()` and `repr()`, JavaScript's `String()`.

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::value::{Language, Value, missing, opaque};

/// A JSON value as the language prints it.
///
/// # Errors
/// It is a date or a number that has a form of its own.
pub(in crate::import) fn printed(value: &Json, language: Language) -> Result<String, String> {
    text(&Value::of(value, language), language)
}

/// A value as the language prints it inside of an expression. What a tag prints differs in
/// JavaScript, where null prints nothing: `eval` knows.
pub(super) fn text(value: &Value, language: Language) -> Result<String, String> {
    match (value, language) {
        (Value::Undefined(name), _) => Err(missing(name)),
        (Value::Opaque(what), _) => Err(opaque(what)),
        (Value::View(_), _) => Err(opaque("dict_items")),
        (Value::Text(text), _) => Ok(text.to_string()),
        (Value::Float(float), Language::JavaScript) => Ok(javascript_float(*float)),
        (value, Language::Python) => {
            let mut shown = String::new();
            repr(value, &mut shown)?;
            Ok(shown)
        }
        (Value::Null, _) => Ok("null".into()),
        (Value::Bool(flag), _) => Ok(flag.to_string()),
        (Value::Int(whole), _) => Ok(whole.to_string()),
        // Array.prototype.toString: nulls are empty, and nothing stands around.
        (Value::List(items), _) => {
            let items = items.iter().map(|item| match item {
                Value::Null => Ok(String::new()),
                other => text(other, language),
            });
            Ok(items.collect::<Result<Vec<_>, String>>()?.join(","))
        }
        (Value::Map(_), _) => Ok("[object Object]".into()),
    }
}

fn repr(value: &Value, shown: &mut String) -> Result<(), String> {
    match value {
        Value::Undefined(name) => return Err(missing(name)),
        Value::Opaque(what) => return Err(opaque(what)),
        Value::View(_) => return Err(opaque("dict_items")),
        Value::Null => shown.push_str("None"),
        Value::Bool(flag) => shown.push_str(if *flag { "True" } else { "False" }),
        Value::Int(whole) => shown.push_str(&whole.to_string()),
        Value::Float(float) => shown.push_str(&python_float(*float)),
        Value::Text(text) => quoted(text, shown),
        Value::List(items) => {
            shown.push('[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    shown.push_str(", ");
                }
                repr(item, shown)?;
            }
            shown.push(']');
        }
        Value::Map(pairs) => {
            shown.push('{');
            for (n, (key, item)) in pairs.iter().enumerate() {
                if n > 0 {
                    shown.push_str(", ");
                }
                quoted(key, shown);
                shown.push_str(": ");
                repr(item, shown)?;
            }
            shown.push('}');
        }
    }
    Ok(())
}

/// `repr()` of a text: single quotes unless it has some and no double ones.
fn quoted(text: &str, shown: &mut String) {
    let quote = match text.contains('\'') && !text.contains('"') {
        true => '"',
        false => '\'',
    };
    shown.push(quote);
    for c in text.chars() {
        match c {
            '\\' => shown.push_str("\\\\"),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            c if c == quote => {
                shown.push('\\');
                shown.push(c);
            }
            c if is_printable(c) => shown.push(c),
            // A `String` takes all that is written to it.
            c if u32::from(c) < 0x100 => {
                let _ = write!(shown, "\\x{:02x}", u32::from(c));
            }
            c if u32::from(c) < 0x1_0000 => {
                let _ = write!(shown, "\\u{:04x}", u32::from(c));
            }
            c => {
                let _ = write!(shown, "\\U{:08x}", u32::from(c));
            }
        }
    }
    shown.push(quote);
}

/// `str.isprintable`, for what stands in texts: no controls, no formats, no blanks but the common
/// one. What is escaped here and printed there, or the other way round, still reads back the same.
fn is_printable(c: char) -> bool {
    let invisible = matches!(u32::from(c),
        0xAD | 0x600..=0x605 | 0x61C | 0x6DD | 0x70F | 0x180E | 0x200B..=0x200F | 0x2028..=0x202E
        | 0x2060..=0x206F | 0xD800..=0xF8FF | 0xFEFF | 0xFFF0..=0xFFFB | 0xFFFE | 0xFFFF
        | 0xE0000..=0x10_FFFF);
    !invisible && !c.is_control() && (c == ' ' || !c.is_whitespace())
}

/// `repr()` of a float: the shortest digits that read back, an exponent below 1e-4 and from 1e16.
fn python_float(float: f64) -> String {
    if float.is_nan() {
        return "nan".into();
    }
    if float.is_infinite() {
        return if float > 0.0 { "inf" } else { "-inf" }.into();
    }
    let (negative, digits, exponent) = shortest(float);
    let sign = if negative { "-" } else { "" };
    if (-4..16).contains(&exponent) {
        let plain = format!("{}", float.abs());
        let point = if plain.contains('.') { "" } else { ".0" };
        return format!("{sign}{plain}{point}");
    }
    let mantissa = mantissa(&digits);
    let mark = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{mantissa}e{mark}{:02}", exponent.abs())
}

/// `String()` of a number: an exponent below 1e-6 and from 1e21, and whole ones without a point.
pub(super) fn javascript_float(float: f64) -> String {
    if float.is_nan() {
        return "NaN".into();
    }
    if float.is_infinite() {
        return if float > 0.0 { "Infinity" } else { "-Infinity" }.into();
    }
    if float == 0.0 {
        return "0".into();
    }
    let (negative, digits, exponent) = shortest(float);
    let sign = if negative { "-" } else { "" };
    if (-6..21).contains(&exponent) {
        return format!("{sign}{}", float.abs());
    }
    let mark = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{}e{mark}{}", mantissa(&digits), exponent.abs())
}

/// Sign, digits without a point, and the exponent of ten of the first digit.
fn shortest(float: f64) -> (bool, String, i32) {
    let written = format!("{:e}", float.abs());
    let (mantissa, exponent) = written.split_once('e').unwrap_or((&written, "0"));
    let digits = mantissa.replace('.', "");
    (
        float.is_sign_negative(),
        digits,
        exponent.parse().unwrap_or_default(),
    )
}

fn mantissa(digits: &str) -> String {
    match digits.split_at_checked(1) {
        Some((first, rest)) if !rest.is_empty() => format!("{first}.{rest}"),
        _ => digits.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Printed by Python 3.11.7 (`str`) and Node 20.20 (`String`).
    #[test]
    fn values_look_as_their_language_prints_them() {
        for (value, python, javascript) in [
            (json!(true), "True", "true"),
            (json!(null), "None", "null"),
            (json!(9.0), "9.0", "9"),
            (json!(-0.0), "-0.0", "0"),
            (json!(0.1), "0.1", "0.1"),
            (json!(1e16), "1e+16", "10000000000000000"),
            (json!(1.5e15), "1500000000000000.0", "1500000000000000"),
            (json!(1e21), "1e+21", "1e+21"),
            (json!(1.25e-7), "1.25e-07", "1.25e-7"),
            (json!(0.00001), "1e-05", "0.00001"),
            (json!(123456789012i64), "123456789012", "123456789012"),
            (
                json!(["a", 1, null, true]),
                "['a', 1, None, True]",
                "a,1,,true",
            ),
            (json!({"a": [1.0]}), "{'a': [1.0]}", "[object Object]"),
            (json!(["it's"]), r#"["it's"]"#, "it's"),
            (json!(["it's \"it\""]), r#"['it\'s "it"']"#, "it's \"it\""),
            (
                json!(["a\n\t\\\u{7}é中\u{200b}"]),
                r"['a\n\t\\\x07é中\u200b']",
                "a\n\t\\\u{7}é中\u{200b}",
            ),
            (json!("a'b"), "a'b", "a'b"),
        ] {
            let shown = |language| printed(&value, language).unwrap();
            assert_eq!(shown(Language::Python), python, "{value}");
            assert_eq!(shown(Language::JavaScript), javascript, "{value}");
        }
    }
}
