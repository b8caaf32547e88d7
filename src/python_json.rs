//! JSON as Python writes it: `NaN` and `Infinity` stand for numbers there. They are read as null.

use std::borrow::Cow;

/// The text with null for each word that JSON does not know, those in strings left as they are.
///
/// ```
/// let text = qeval::python_json::without_nan(r#"{"loss": NaN, "name": "NaN"}"#);
/// assert_eq!(text, r#"{"loss": null, "name": "NaN"}"#);
/// ```
pub fn without_nan(text: &str) -> Cow<'_, str> {
    const WORDS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];
    if !WORDS.iter().any(|word| text.contains(word)) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    let (mut in_string, mut escaped) = (false, false);
    while let Some(c) = rest.chars().next() {
        let word = WORDS
            .into_iter()
            .find(|word| !in_string && rest.starts_with(word));
        if let Some(word) = word {
            plain.push_str("null");
            rest = &rest[word.len()..];
            continue;
        }
        match c {
            '"' if !escaped => in_string = !in_string,
            _ => {}
        }
        escaped = in_string && c == '\\' && !escaped;
        plain.push(c);
        rest = &rest[c.len_utf8()..];
    }
    Cow::Owned(plain)
}
