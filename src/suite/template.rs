//! `{{name}}` in suites: replaced from `[vars]`.

use std::collections::BTreeMap;

/// Replaces every `{{name}}` (blanks inside are fine) by its value; values are not looked
/// through again. Braces around anything but a name of letters, digits, and `_` are text.
///
/// # Errors
/// The names that have no value, each once.
pub(crate) fn fill(text: &str, vars: &BTreeMap<String, String>) -> Result<String, Vec<String>> {
    let mut filled = String::with_capacity(text.len());
    let mut unknown: Vec<String> = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find("{{") {
        let (before, inside) = (&rest[..open], &rest[open + 2..]);
        filled.push_str(before);
        let name = inside
            .find("}}")
            .map(|close| (inside[..close].trim(), &inside[close + 2..]));
        match name {
            Some((name, after)) if is_name(name) => {
                match vars.get(name) {
                    Some(value) => filled.push_str(value),
                    None if unknown.iter().any(|known| known == name) => {}
                    None => unknown.push(name.to_owned()),
                }
                rest = after;
            }
            _ => {
                // One brace only, so that `{{{name}}` still finds the name.
                filled.push('{');
                rest = &rest[open + 1..];
            }
        }
    }
    filled.push_str(rest);
    if unknown.is_empty() {
        Ok(filled)
    } else {
        Err(unknown)
    }
}

fn is_name(name: &str) -> bool {
    name.chars()
        .next()
        .is_some_and(|c| c.is_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_once() {
        let vars = BTreeMap::from([
            ("name".to_owned(), "Aurora".to_owned()),
            ("author".to_owned(), "{{name}}".to_owned()),
        ]);
        for (text, filled) in [
            ("I am {{name}}.", "I am Aurora."),
            ("{{ name }}{{name}}", "AuroraAurora"),
            ("{{author}}", "{{name}}"),
            ("{{{name}}}", "{Aurora}"),
            (
                "f\"{{x + 1}}\" {} {{}} {{1}}",
                "f\"{{x + 1}}\" {} {{}} {{1}}",
            ),
            ("open {{name", "open {{name"),
            ("", ""),
        ] {
            assert_eq!(fill(text, &vars).as_deref(), Ok(filled), "{text}");
        }
        let unknown = fill("{{who}} {{name}} {{who}} {{谁}}", &vars);
        assert_eq!(unknown, Err(vec!["who".to_owned(), "谁".to_owned()]));
    }
}
