//! A `tokenizer.json`, read with care: it is a program for a library, which panics at some damage and
//! obeys whatever else it says.

use serde_json::Value;
use tokenizers::Tokenizer;

use crate::exit::caught;

/// Most bytes that all replacements of a normalizer together may make of one: a text grows by that
/// before it is cut into tokens. What models bring makes 3 of a blank.
const MOST_GROWTH: f64 = 256.0;

/// Reads a tokenizer.
///
/// # Errors
/// Why it is none, in words.
pub(super) fn parse(bytes: &[u8]) -> Result<Tokenizer, String> {
    let json: Value = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    let growth: f64 = ["normalizer", "pre_tokenizer", "decoder"]
        .iter()
        .map(|part| growth(&json[part]))
        .fold(1.0, f64::max);
    if growth > MOST_GROWTH {
        return Err(format!(
            "its `Replace` rules make up to {growth:.0} bytes of one, at most {MOST_GROWTH} are \
             followed"
        ));
    }
    match caught(|| Tokenizer::from_bytes(bytes)) {
        Ok(Ok(tokenizer)) => Ok(tokenizer),
        Ok(Err(error)) => Err(error.to_string()),
        Err(panic) => Err(format!("the tokenizers library fails on it ({panic})")),
    }
}

/// Bytes that the replacements of a part make of one byte at most, one after the other.
fn growth(part: &Value) -> f64 {
    match part {
        Value::Array(all) => all.iter().map(growth).product(),
        Value::Object(map) => {
            let own = match map.get("type").and_then(Value::as_str) {
                Some("Replace") => {
                    let length = |value: &Value| value.as_str().map_or(0, str::len);
                    let to = length(&map["content"]);
                    // An expression may match a single byte, an empty text stands between all.
                    match length(&part["pattern"]["String"]) {
                        0 => 1.0 + to as f64,
                        from => (to as f64 / from as f64).max(1.0),
                    }
                }
                _ => 1.0,
            };
            own * map.values().map(growth).product::<f64>()
        }
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIXTURE: &str = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/fixtures/models/fixture/tokenizer.json"
    ));

    fn with(part: &str, value: Value) -> Result<Tokenizer, String> {
        let mut json: Value = serde_json::from_str(FIXTURE).unwrap();
        json[part] = value;
        parse(json.to_string().as_bytes())
    }

    fn replace(from: &str, to: &str) -> Value {
        serde_json::json!({"type": "Replace", "pattern": {"String": from}, "content": to})
    }

    fn sequence(of: Vec<Value>) -> Value {
        serde_json::json!({"type": "Sequence", "normalizers": of})
    }

    #[test]
    fn what_models_bring_is_read() {
        assert!(parse(FIXTURE.as_bytes()).is_ok());
        let blanks = vec![
            serde_json::json!({"type": "Prepend", "prepend": "\u{2581}"}),
            replace(" ", "\u{2581}"),
        ];
        assert!(with("normalizer", sequence(blanks)).is_ok());
    }

    /// Thirty rules that double a letter would make a gigabyte of it.
    #[test]
    fn replacements_that_grow_without_end_are_refused() {
        let doubling = (0..30).map(|_| replace("a", "aa")).collect();
        insta::assert_snapshot!(with("normalizer", sequence(doubling)).unwrap_err(), @"its `Replace` rules make up to 1073741824 bytes of one, at most 256 are followed");
        let long = replace("", &"b".repeat(300));
        assert!(with("normalizer", long).is_err());
    }

    /// The library unwraps what it has not checked.
    #[test]
    fn a_damaged_decoder_is_an_error_and_no_panic() {
        let mut count = 0;
        for at in FIXTURE.match_indices('"').map(|(at, _)| at).filter(|at| {
            let decoder = FIXTURE.find("\"decoder\"").unwrap();
            (decoder..decoder + 200).contains(at)
        }) {
            for damage in ["x", "\u{1}", " "] {
                let text = format!("{}{damage}{}", &FIXTURE[..=at], &FIXTURE[at + 1..]);
                count += usize::from(parse(text.as_bytes()).is_err());
            }
        }
        assert!(count > 5, "{count}");
    }
}
