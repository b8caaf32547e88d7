//! The right answer, as the harness finds it (`process_results` in `lm_eval/api/task.py`).
//!
//! | output type | `doc_to_target` gives | the right answer |
//! |---|---|---|
//! | `multiple_choice` | a number or boolean | the option of that number, from 0 |
//! | | a text | the option that is written so; digits of a column too |
//! | | a list with one number | that option |
//! | `generate_until` with `doc_to_choice` | a number or boolean | the option of that number, negative ones from the end |
//! | `generate_until` | a list in the first document | every text of the list |
//! | | anything else | the text that Python prints of it |
//! | `loglikelihood` | a text | that text |
//!
//! What is missing from the table ends the harness, or makes every answer wrong there: such a
//! document is left out with the reason.

use serde_json::Value;

use crate::import::template::{Language, printed};

use super::formats::Asked;

const NEVER_RIGHT: &str = "the harness counts every answer as wrong";

/// The number of the right option among the options.
///
/// # Errors
/// No option, or more than one, is right.
pub(super) fn option(asked: &Asked<'_>, options: &[String]) -> Result<usize, String> {
    let target = asked.target()?;
    let at = |index: i64| {
        let found = usize::try_from(index)
            .ok()
            .filter(|index| *index < options.len());
        found.ok_or_else(|| format!("it has no option number {index}: {NEVER_RIGHT}"))
    };
    match (&target, asked.has_several_targets()) {
        (Value::Array(targets), true) => {
            let numbers = targets.iter().map(number).collect::<Option<Vec<i64>>>();
            let numbers = numbers.ok_or("`doc_to_target` gives a list with more than numbers")?;
            let mut right: Vec<usize> = numbers.iter().filter_map(|n| at(*n).ok()).collect();
            right.sort_unstable();
            right.dedup();
            match right.as_slice() {
                [one] => Ok(*one),
                [] => Err(format!("none of its options is right: {NEVER_RIGHT}")),
                _ => Err("several of its options are right".into()),
            }
        }
        (Value::Array(_), false) | (Value::Null, _) => Err(no_option(&target)),
        (_, true) => Err(
            "it has one right answer where the first document has a list, which ends the harness"
                .into(),
        ),
        (Value::String(text), false) => {
            let found = options.iter().position(|option| option == text);
            found.ok_or_else(|| {
                let shown = crate::text::ellipsize(text, 40);
                format!("{shown:?} is none of its options: {NEVER_RIGHT}")
            })
        }
        (target, false) => match number(target) {
            Some(index) => at(index),
            None => Err(no_option(target)),
        },
    }
}

fn no_option(target: &Value) -> String {
    let shown = printed(target, Language::Python).unwrap_or_else(|_| target.to_string());
    format!("`doc_to_target` gives {shown}, which names no option")
}

/// A whole number, or a boolean, which is one in Python.
fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Bool(flag) => Some(i64::from(*flag)),
        other => other.as_i64(),
    }
}

/// The texts that a generated answer may be.
///
/// # Errors
/// There are none.
pub(super) fn texts(asked: &Asked<'_>) -> Result<Vec<String>, String> {
    let target = asked.target()?;
    if asked.has_choices() {
        let options = asked.options()?;
        let index = number(&target).ok_or_else(|| no_option(&target))?;
        let length = i64::try_from(options.len()).unwrap_or(i64::MAX);
        let index = if index < 0 { index + length } else { index };
        let option = usize::try_from(index)
            .ok()
            .and_then(|index| options.get(index));
        let option = option.ok_or_else(|| format!("it has no option number {index}"))?;
        return Ok(vec![option.clone()]);
    }
    match (&target, asked.has_several_targets()) {
        (Value::Array(targets), true) => {
            let texts = targets.iter().map(|target| match target {
                Value::String(text) => Ok(text.clone()),
                _ => Err(format!(
                    "its list has {target}, which equals no answer in the harness"
                )),
            });
            texts.collect()
        }
        (_, true) => Err(
            "it has one right answer where the first document has a list, which the harness \
             takes apart letter by letter"
                .into(),
        ),
        (target, false) => Ok(vec![printed(target, Language::Python)?]),
    }
}

/// The text whose probability is asked for.
///
/// # Errors
/// It is none.
pub(super) fn text(asked: &Asked<'_>) -> Result<String, String> {
    match asked.target()? {
        Value::String(text) => Ok(text),
        other => Err(format!(
            "`doc_to_target` gives {}, which is no text",
            printed(&other, Language::Python).unwrap_or_else(|_| other.to_string())
        )),
    }
}
