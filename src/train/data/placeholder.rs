//! `{{name}}` and its like in training rows.
//!
//! Self-cognition data carries the model's and the author's name as placeholders; a trainer that
//! does not fill them teaches the model to say `{{NAME}}`. Only the keys of `[vars]` and the two
//! customary names are placeholders: `{{ user }}` in an answer about web templates is text.

use std::collections::BTreeMap;

/// Names that are placeholders even where `[vars]` does not know them.
const CUSTOMARY: [&str; 2] = ["name", "author"];

/// Fills placeholders, in lower or upper case, without blanks inside the braces. Values are put in
/// as they stand. The error is a placeholder without a value, and its key.
pub fn fill_placeholders(
    text: &str,
    vars: &BTreeMap<String, String>,
) -> Result<String, (String, String)> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find("{{") {
        let (before, from_open) = rest.split_at(open);
        filled.push_str(before);
        let Some(close) = from_open.find("}}") else {
            rest = from_open;
            break;
        };
        let word = &from_open[2..close];
        let written = &from_open[..close + 2];
        match value_of(word, vars) {
            Some(Ok(value)) => filled.push_str(value),
            Some(Err(key)) => return Err((written.to_string(), key)),
            None => {
                // The next `{{` may begin inside these braces.
                filled.push('{');
                rest = &from_open[1..];
                continue;
            }
        }
        rest = &from_open[close + 2..];
    }
    filled.push_str(rest);
    Ok(filled)
}

fn value_of<'v>(word: &str, vars: &'v BTreeMap<String, String>) -> Option<Result<&'v str, String>> {
    if let Some(value) = vars.get(word) {
        return Some(Ok(value));
    }
    let lower = word.to_lowercase();
    if word != lower && word != word.to_uppercase() {
        return None;
    }
    match vars.get(&lower) {
        Some(value) => Some(Ok(value)),
        None => CUSTOMARY.contains(&lower.as_str()).then_some(Err(lower)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str) -> Result<String, (String, String)> {
        let vars = [("name", "Aurora"), ("team", "{{team}}")];
        fill_placeholders(text, &vars.map(|(k, v)| (k.into(), v.into())).into())
    }

    #[test]
    fn known_placeholders_are_filled_in_both_cases() {
        assert_eq!(
            fill("I am {{name}}, {{NAME}}!").unwrap(),
            "I am Aurora, Aurora!"
        );
        assert_eq!(fill("{{{name}}}").unwrap(), "{Aurora}");
        assert_eq!(fill("{{team}}").unwrap(), "{{team}}");
    }

    #[test]
    fn other_braces_are_text() {
        for text in [
            "{{ user }}",
            "{{Name}} {{x}}",
            "{{",
            "}}{{ {{",
            "f(x) = {{1}}",
        ] {
            assert_eq!(fill(text).unwrap(), text);
        }
    }

    #[test]
    fn customary_placeholder_without_a_value_is_an_error() {
        assert_eq!(
            fill("by {{AUTHOR}}").unwrap_err(),
            ("{{AUTHOR}}".into(), "author".into())
        );
    }
}
