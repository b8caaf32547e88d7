//! What a task of lm-evaluation-harness reads out of an answer before it compares: a pipeline of
//! filters (`lm_eval/filters`).

use regex::Regex;
use serde_json::Value;

use crate::import::pattern;
use crate::import::template::Language;
use crate::import::yaml;

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

/// What a pipeline makes of an answer's letter case.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    #[default]
    Kept,
    Lower,
    Upper,
}

/// What a pipeline of filters reads, and the letter case that it leaves.
///
/// # Errors
/// Why no check does what it does.
pub(super) fn reading(entry: &Value) -> Result<(Reading, Case), String> {
    let (mut reading, mut case) = (Reading::Whole, Case::Kept);
    let steps = entry.get("filter").and_then(Value::as_array);
    for step in steps.into_iter().flatten() {
        let function = step.get("function").unwrap_or(step);
        match function.as_str() {
            // Answers are compared without the white space around them anyway.
            Some("take_first" | "remove_whitespace") => {}
            Some("lowercase") => case = Case::Lower,
            Some("uppercase") => case = Case::Upper,
            Some("regex") if matches!(reading, Reading::Whole) => {
                if case != Case::Kept {
                    return Err("it searches an answer whose letter case is gone".into());
                }
                reading = captured(step)?;
            }
            _ => {
                let shown = yaml::tagged(function).or_else(|| yaml::shown(function));
                return Err(format!(
                    "no check does what `{}` does",
                    shown.unwrap_or_default()
                ));
            }
        }
    }
    Ok((reading, case))
}

fn captured(step: &Value) -> Result<Reading, String> {
    let source = step.get("regex_pattern").and_then(Value::as_str);
    let source = source.unwrap_or(DEFAULT_PATTERN);
    let select = step
        .get("group_select")
        .and_then(Value::as_i64)
        .unwrap_or(0);
    let translated = pattern::translated(source, Language::Python)?;
    let regex = Regex::new(&translated).map_err(|_| pattern::refused(source))?;
    // One that matches a bare number looks for numbers, and `number` reads them in every spelling.
    let whole = |text: &str| regex.find(text).is_some_and(|found| found.as_str() == text);
    if ["42", "7.5", "-12"].iter().all(|n| whole(n)) && !whole("x") && [0, -1].contains(&select) {
        return Ok(Reading::Number { last: select == -1 });
    }
    match (select, regex.captures_len() - 1) {
        (0, groups @ (0 | 1)) => Ok(Reading::Captured {
            pattern: translated,
            groups,
        }),
        (0, _) => Err(format!(
            "`{source}` has several groups, and `regex` compares one"
        )),
        _ => Err(format!(
            "it takes match {select} of `{source}`, and `regex` the first"
        )),
    }
}
