//! JSON as Python writes it: `NaN` and `Infinity` stand for numbers there, and a loss that is none is
//! no reason to wait for a file for ever. They are read as null.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use crate::python_json::without_nan;

/// The longest file that is read: `trainer_state.json` of a long run has a few megabytes.
const LONGEST: u64 = 256 << 20;

/// Why there is no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unread {
    /// There is no such file.
    Missing,
    /// It is there, and is not whole, or no JSON.
    Partial(String),
}

/// What a file holds.
pub(super) fn read(path: &Path) -> Result<Value, Unread> {
    let partial = |text: &str| Unread::Partial(text.to_owned());
    match std::fs::metadata(path) {
        Err(_) => return Err(Unread::Missing),
        // A pipe would be waited for.
        Ok(meta) if !meta.is_file() => return Err(partial("is no file")),
        Ok(meta) if meta.len() > LONGEST => return Err(partial("is too long")),
        Ok(_) => {}
    }
    let mut bytes = Vec::new();
    let file = File::open(path).and_then(|file| file.take(LONGEST).read_to_end(&mut bytes));
    if let Err(error) = file {
        return Err(match error.kind() {
            std::io::ErrorKind::NotFound => Unread::Missing,
            _ => Unread::Partial(format!("cannot be read ({error})")),
        });
    }
    parse(&bytes).ok_or_else(|| partial("is not whole"))
}

fn parse(bytes: &[u8]) -> Option<Value> {
    if let Ok(value) = serde_json::from_slice(bytes) {
        return Some(value);
    }
    serde_json::from_str(&without_nan(std::str::from_utf8(bytes).ok()?)).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_python_writes_for_no_number_is_null() {
        let text = r#"{"loss": NaN, "a": [-Infinity, Infinity], "s": "NaN \" NaN\\", "n": -1}"#;
        let read = parse(text.as_bytes()).unwrap();
        assert_eq!(
            read,
            json!({"loss": null, "a": [null, null], "s": "NaN \" NaN\\", "n": -1})
        );
    }

    #[test]
    fn half_a_file_is_none() {
        let whole = r#"{"log_history": [{"loss": NaN}], "global_step": 4}"#;
        for end in 0..whole.len() {
            assert_eq!(parse(&whole.as_bytes()[..end]), None, "{end}");
        }
        assert!(parse(whole.as_bytes()).is_some());
    }
}
