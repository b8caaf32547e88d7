//! Values under the keys of a data row. A key that is null is not there: a table of rows with
//! different keys has all of them in each, and Hugging Face's exports write such tables.

use serde_json::{Map, Value as Json};

use super::error::RowReason;

/// The value of a key that is there.
pub(super) fn present<'r>(row: &'r Map<String, Json>, key: &str) -> Option<&'r Json> {
    row.get(key).filter(|value| !value.is_null())
}

/// Null, false, and what has nothing in it.
pub(super) fn is_empty(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::Bool(flag) => !flag,
        Json::Number(_) => false,
        // Lists that are kept as text.
        Json::String(text) => matches!(text.trim(), "" | "[]" | "{}" | "null"),
        Json::Array(list) => list.iter().all(is_empty),
        Json::Object(map) => map.values().all(is_empty),
    }
}

/// A text; nothing where it is missing, null, or blank.
pub(super) fn text(row: &Map<String, Json>, key: &str) -> Result<Option<String>, RowReason> {
    match present(row, key) {
        None => Ok(None),
        Some(Json::String(text)) if text.trim().is_empty() => Ok(None),
        Some(Json::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(wrong_type(key, other, "a text")),
    }
}

/// A value of the wrong type.
pub(super) fn wrong_type(key: &str, found: &Json, wanted: &str) -> RowReason {
    RowReason::WrongType {
        key: key.to_string(),
        found: type_of(found).to_string(),
        wanted: wanted.to_string(),
    }
}

/// What a value is, in words.
pub(super) fn type_of(json: &Json) -> &'static str {
    match json {
        Json::Null => "null or missing",
        Json::Bool(_) => "true or false",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}
