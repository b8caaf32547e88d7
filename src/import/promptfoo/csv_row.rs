//! A row of a table of tests (`src/csv.ts`): columns are variables, but for those that begin with
//! `__`, of which `__expected` holds an assertion as one text: `contains: Paris`,
//! `levenshtein(3): Paris`, or `Paris` alone, which is `equals`.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value, json};

use crate::import::pattern;

use super::assertion::comma_separated;

/// Kinds of assertions that promptfoo reads out of a text.
const KINDS: &str = "agent-rubric|answer-relevance|bleu|classifier|contains|contains-all|\
    contains-any|contains-html|contains-json|contains-sql|contains-xml|context-faithfulness|\
    context-recall|context-relevance|conversation-relevance|cost|equals|factuality|finish-reason|\
    g-eval|gleu|guardrails|icontains|icontains-all|icontains-any|is-html|is-json|is-refusal|is-sql|\
    is-valid-function-call|is-valid-openai-function-call|is-valid-openai-tools-call|is-xml|\
    javascript|latency|levenshtein|llm-rubric|pi|meteor|model-graded-closedqa|\
    model-graded-factuality|moderation|perplexity|perplexity-score|python|regex|rouge-n|ruby|\
    similar|similar:cosine|similar:dot|similar:euclidean|starts-with|tool-call-f1|skill-used|\
    trajectory:goal-success|trajectory:tool-args-match|trajectory:step-count|\
    trajectory:tool-sequence|trajectory:tool-used|trace-error-spans|trace-span-count|\
    trace-span-duration|search-rubric|webhook|word-count";
/// Kinds that get a threshold even where none is written.
const MEASURED: [&str; 12] = [
    "answer-relevance",
    "classifier",
    "context-faithfulness",
    "context-recall",
    "context-relevance",
    "cost",
    "latency",
    "levenshtein",
    "perplexity-score",
    "perplexity",
    "rouge-n",
    "starts-with",
];

static ASSERTION: LazyLock<Regex> = LazyLock::new(|| {
    pattern::constant(&format!(
        r"^(not-)?({KINDS})(?:\(([0-9]+(?:\.[0-9]+)?)\))?(?::((?s:.*)))?$"
    ))
});

static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
    pattern::constant(r"^[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$")
});

/// The test of a row, as a configuration would write it.
///
/// # Errors
/// promptfoo would refuse it.
pub(super) fn test(row: &Map<String, Value>, number: usize) -> Result<Map<String, Value>, String> {
    let mut test = Map::new();
    let (mut vars, mut options) = (Map::new(), Map::new());
    let mut asserts: Vec<Map<String, Value>> = Vec::new();
    let mut thresholds: Vec<(usize, f64)> = Vec::new();
    for (key, value) in row {
        let key = key.trim();
        let text = value.as_str();
        let wanted = || text.ok_or(format!("the column `{key}` has no text"));
        match key {
            _ if key.starts_with("__expected") => {
                let text = wanted()?.trim();
                if !text.is_empty() {
                    asserts.push(assertion(text)?);
                }
            }
            "__prefix" => {
                options.insert("prefix".into(), wanted()?.into());
            }
            "__suffix" => {
                options.insert("suffix".into(), wanted()?.into());
            }
            "__description" => {
                test.insert("description".into(), wanted()?.into());
            }
            "__providerOutput" if text != Some("") => {
                test.insert("providerOutput".into(), value.clone());
            }
            "__threshold" => {
                if let Some(threshold) = finite(wanted()?) {
                    test.insert("threshold".into(), threshold.into());
                }
            }
            "__providerOutput" | "__metric" | "__metadata" => {}
            _ if key.starts_with("__metadata:") => {}
            _ => match key.strip_prefix("__config:") {
                Some(config) => thresholds.extend(config_of(config, wanted()?)?),
                None => {
                    vars.insert(key.to_owned(), value.clone());
                }
            },
        }
    }
    for (index, threshold) in thresholds {
        if let Some(assert) = asserts.get_mut(index) {
            assert.insert("threshold".into(), threshold.into());
        }
    }
    let described = test.get("description").is_some_and(|text| text != "");
    if !described {
        test.insert("description".into(), format!("Row #{number}").into());
    }
    test.insert("vars".into(), Value::Object(vars));
    test.insert("options".into(), Value::Object(options));
    test.insert(
        "assert".into(),
        asserts.into_iter().map(Value::Object).collect(),
    );
    Ok(test)
}

/// `__expected2:threshold` of a `__config:` column: which assertion, and its threshold.
fn config_of(config: &str, value: &str) -> Result<Option<(usize, f64)>, String> {
    // promptfoo warns of another form and goes on.
    let Some((expected, key)) = config.split_once(':').filter(|(_, key)| !key.contains(':')) else {
        return Ok(None);
    };
    let index = match expected.strip_prefix("__expected") {
        Some("") => Some(1),
        Some(digits) => digits.parse::<usize>().ok().filter(|index| *index >= 1),
        None => None,
    };
    let refused = || format!("the column `__config:{config}` with \"{value}\" is not read");
    match (index, key, finite(value)) {
        (Some(index), "threshold", Some(threshold)) => Ok(Some((index - 1, threshold))),
        _ => Err(refused()),
    }
}

fn finite(text: &str) -> Option<f64> {
    let text = text.trim();
    let number = NUMBER
        .is_match(text)
        .then(|| text.parse::<f64>().ok())
        .flatten()?;
    number.is_finite().then_some(number)
}

/// An assertion that is written as one text (`assertionFromString`).
fn assertion(text: &str) -> Result<Map<String, Value>, String> {
    let made = |kind: &str, value: Value| {
        Map::from_iter([
            ("type".to_owned(), kind.into()),
            ("value".to_owned(), value),
        ])
    };
    for program in ["javascript:", "fn:", "eval:"] {
        if let Some(value) = text.strip_prefix(program) {
            return Ok(made("javascript", value.trim().into()));
        }
    }
    for judged in ["grade:", "llm-rubric:"] {
        if let Some(value) = text.strip_prefix(judged) {
            return Ok(made("llm-rubric", value.into()));
        }
    }
    if text.starts_with("python:") || (text.starts_with("file://") && super::is_program(text)) {
        return Ok(made("python", text.into()));
    }
    let Some(found) = ASSERTION.captures(text) else {
        return Ok(made("equals", text.into()));
    };
    let part = |n: usize| found.get(n).map(|part| part.as_str());
    let kind = part(2).unwrap_or_default();
    let whole = format!("{}{kind}", part(1).unwrap_or_default());
    let value = match kind {
        "contains-all" | "contains-any" | "icontains-all" | "icontains-any" => part(4)
            .map(|value| comma_separated(value).map(Value::from))
            .transpose()?,
        "is-json" | "contains-json" => part(4).map(Value::from),
        _ => part(4).map(|value| Value::from(value.trim())),
    };
    let mut assert = made(&whole, value.unwrap_or_default());
    let threshold = part(3).and_then(finite);
    let default = match kind {
        "similar" => Some(0.8),
        kind if MEASURED.contains(&kind) => Some(0.75),
        _ => None,
    };
    // Other kinds lose a threshold that is written.
    if let Some(default) = default {
        assert.insert("threshold".into(), json!(threshold.unwrap_or(default)));
    }
    Ok(assert)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(row: &Value) -> String {
        match test(row.as_object().unwrap(), 3) {
            Ok(test) => Value::Object(test).to_string(),
            Err(why) => why,
        }
    }

    #[test]
    fn columns_are_variables_assertions_and_options() {
        insta::assert_snapshot!(
            [
                read(&json!({"question": "Peru?", "__expected": "icontains: lima"})),
                read(&json!({"q ": "x", "__expected1": "Lima", "__expected2": "not-contains-any: a, \"b, c\"",
                    "__prefix": "> ", "__threshold": "0.5", "__description": "Peru", "__metric": "m"})),
                read(&json!({"__expected": "levenshtein(3): Lima", "__config:__expected:threshold": "2"})),
                read(&json!({"__expected": "levenshtein: Lima", "__expected2": "starts-with: L", "__expected3": "grade: good?"})),
                read(&json!({"__expected": "contains-any: \"a", "q": "x"})),
                read(&json!({"__config:__expected0:threshold": "2"})),
                read(&json!({"__expected": " ", "__metadata:a": "b"})),
            ]
            .join("\n"),
            @r#"
            {"description":"Row #3","vars":{"question":"Peru?"},"options":{},"assert":[{"type":"icontains","value":"lima"}]}
            {"threshold":0.5,"description":"Peru","vars":{"q":"x"},"options":{"prefix":"> "},"assert":[{"type":"equals","value":"Lima"},{"type":"not-contains-any","value":["a","b, c"]}]}
            {"description":"Row #3","vars":{},"options":{},"assert":[{"type":"levenshtein","value":"Lima","threshold":2.0}]}
            {"description":"Row #3","vars":{},"options":{},"assert":[{"type":"levenshtein","value":"Lima","threshold":0.75},{"type":"starts-with","value":"L","threshold":0.75},{"type":"llm-rubric","value":" good?"}]}
            a quote in its `value` is not closed, which promptfoo refuses
            the column `__config:__expected0:threshold` with "2" is not read
            {"description":"Row #3","vars":{},"options":{},"assert":[]}
            "#
        );
    }
}
