//! Values of a TOML tree as numbers, as JSON, and in words.

use serde_json::{Map, Value};
use toml::de::DeValue;

use crate::text::ellipsize;

/// A whole number.
pub fn whole(value: &DeValue<'_>) -> Option<i128> {
    let written = value.as_integer()?;
    i128::from_str_radix(written.as_str(), written.radix()).ok()
}

/// A finite number; `1` is as good as `1.0`.
#[expect(
    clippy::cast_precision_loss,
    reason = "no setting has more than 53 bits"
)]
pub fn number(value: &DeValue<'_>) -> Option<f64> {
    let number = match value.as_float() {
        Some(written) => written.as_str().parse().ok()?,
        None => whole(value)? as f64,
    };
    f64::is_finite(number).then_some(number)
}

/// A number in words: a whole one in decimal form, another one as it is written.
pub(super) fn written(value: &DeValue<'_>) -> Option<String> {
    match value.as_float() {
        Some(number) => Some(number.as_str().to_owned()),
        None => whole(value).map(|number| number.to_string()),
    }
}

/// The value as JSON, or what it has that JSON lacks.
///
/// # Errors
/// Numbers beyond 64 bits or not finite, and dates.
pub fn json(value: &DeValue<'_>) -> Result<Value, String> {
    Ok(match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(_) => match whole(value).and_then(|n| i64::try_from(n).ok()) {
            Some(number) => Value::from(number),
            None => return Err("a number beyond 64 bits".into()),
        },
        DeValue::Float(_) => match number(value).and_then(serde_json::Number::from_f64) {
            Some(number) => Value::Number(number),
            None => return Err("a number that is not finite".into()),
        },
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(date) => return Err(format!("the date {date}")),
        DeValue::Array(items) => Value::Array(
            items
                .iter()
                .map(|v| json(v.get_ref()))
                .collect::<Result<_, _>>()?,
        ),
        DeValue::Table(table) => {
            let mut map = Map::new();
            for (key, value) in table {
                map.insert(key.get_ref().to_string(), json(value.get_ref())?);
            }
            Value::Object(map)
        }
    })
}

/// The value with its type, as a message names it.
pub fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the string \"{}\"", ellipsize(text, 40)),
        DeValue::Integer(_) | DeValue::Float(_) => match written(value) {
            Some(number) => format!("the number {number}"),
            None => "a number beyond 128 bits".into(),
        },
        DeValue::Boolean(flag) => format!("the boolean {flag}"),
        DeValue::Datetime(date) => format!("the date {date}"),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a table".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> String {
        let value = DeValue::parse(text).unwrap();
        let value = value.get_ref();
        let json = json(value).map_or_else(|what| what, |json| json.to_string());
        format!(
            "{} | {:?} | {:?} | {json}",
            describe(value),
            whole(value),
            number(value)
        )
    }

    #[test]
    fn every_type_is_read_and_named() {
        let shown: Vec<String> = [
            "1_000",
            "-3",
            "0xff",
            "0b101",
            "18446744073709551615",
            "1e3",
            "inf",
            "nan",
            "\"三亚\"",
            "true",
            "2026-01-01",
            "[1, {a = 2}]",
            "{ a = [inf] }",
        ]
        .map(of)
        .to_vec();
        insta::assert_snapshot!(shown.join("\n"), @r#"
        the number 1000 | Some(1000) | Some(1000.0) | 1000
        the number -3 | Some(-3) | Some(-3.0) | -3
        the number 255 | Some(255) | Some(255.0) | 255
        the number 5 | Some(5) | Some(5.0) | 5
        the number 18446744073709551615 | Some(18446744073709551615) | Some(1.8446744073709552e19) | a number beyond 64 bits
        the number 1e3 | None | Some(1000.0) | 1000.0
        the number inf | None | None | a number that is not finite
        the number nan | None | None | a number that is not finite
        the string "三亚" | None | None | "三亚"
        the boolean true | None | None | true
        the date 2026-01-01 | None | None | the date 2026-01-01
        a list | None | None | [1,{"a":2}]
        a table | None | None | a number that is not finite
        "#);
    }
}
