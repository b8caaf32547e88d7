//! What a task of lm-evaluation-harness reads out of an answer before it compares: a pipeline of
//! filters.

use regex::Regex;
use serde_json::Value;

use super::yaml;

/// The pattern of the harness's `regex` filter that names none.
const DEFAULT_PATTERN: &str = r"#### (\-?[0-9\.\,]+)";

/// What is read out of an answer before it is compared.
#[derive(Debug, Default, Clone)]
pub(super) enum Reading {
    #[default]
    Whole,
    /// What a pattern captures first.
    Captured { pattern: String, groups: usize },
    /// The first or the last number.
    Number { last: bool },
}

/// What a pipeline of filters reads, and whether it folds letter case.
pub(super) fn reading(entry: &Value) -> Result<(Reading, bool), String> {
    let (mut reading, mut ignore_case) = (Reading::Whole, false);
    let steps = entry.get("filter").and_then(Value::as_array);
    for step in steps.into_iter().flatten() {
        let function = step.get("function").unwrap_or(step);
        match function.as_str() {
            // Answers are compared without the white space around them anyway.
            Some("take_first" | "remove_whitespace" | "strip") => {}
            Some("lowercase" | "uppercase") => ignore_case = true,
            Some("regex") if matches!(reading, Reading::Whole) => reading = captured(step)?,
            _ => {
                let shown = yaml::tagged(function).or_else(|| yaml::scalar_text(function));
                return Err(format!(
                    "no check does what `{}` does",
                    shown.unwrap_or_default()
                ));
            }
        }
    }
    Ok((reading, ignore_case))
}

fn captured(step: &Value) -> Result<Reading, String> {
    let pattern = step.get("regex_pattern").and_then(Value::as_str);
    let pattern = pattern.unwrap_or(DEFAULT_PATTERN);
    let select = step
        .get("group_select")
        .and_then(Value::as_i64)
        .unwrap_or(0);
    let regex = Regex::new(pattern)
        .map_err(|_| format!("`{pattern}` is no regular expression of Rust's regex crate"))?;
    // One that matches a bare number looks for numbers, and `number` reads them in every spelling.
    let whole = |text: &str| regex.find(text).is_some_and(|found| found.as_str() == text);
    if ["42", "7.5", "-12"].iter().all(|n| whole(n)) && !whole("x") && [0, -1].contains(&select) {
        return Ok(Reading::Number { last: select == -1 });
    }
    match (select, regex.captures_len() - 1) {
        (0, groups @ (0 | 1)) => Ok(Reading::Captured {
            pattern: pattern.to_owned(),
            groups,
        }),
        (0, _) => Err(format!(
            "`{pattern}` has several groups, and `regex` compares one"
        )),
        _ => Err(format!(
            "it takes match {select} of `{pattern}`, and `regex` the first"
        )),
    }
}
