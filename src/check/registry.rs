//! From a check's kind in TOML to the check.

use crate::flow::CheckSpec;
use crate::text::nearest;

use super::evidence::Check;
use super::negate::Negated;
use super::params::Params;
use super::{
    code, consistent, contains, exact, group, json, language, length, levenshtein, likelihood,
    memorized, number, pattern, perplexity, refusal, rouge, rubric, similarity,
};

pub use super::error::{CheckError, CheckProblem};
pub use super::golden::{contradiction, score_golden, score_of_text};

/// Every kind, in the order of the documentation; each can also be written `not-KIND`.
const KINDS: [&str; 27] = [
    "equals",
    "contains",
    "contains-any",
    "contains-all",
    "icontains",
    "icontains-any",
    "icontains-all",
    "starts-with",
    "regex",
    "number",
    "levenshtein",
    "rouge-n",
    "word-count",
    "is-json",
    "contains-json",
    "code",
    "language",
    "refusal",
    "similar",
    "consistent",
    "likelihood",
    "choice",
    "perplexity",
    "memorized",
    "llm-rubric",
    "all",
    "any",
];

/// Every kind, in the order of the documentation. Each can also be written `not-KIND`.
///
/// ```
/// assert!(qeval::check::registry::kinds().contains(&"icontains"));
/// ```
pub fn kinds() -> &'static [&'static str] {
    &KINDS
}

/// Makes a check of its kind and parameters.
///
/// # Errors
/// Everything wrong with it at once: an unknown kind, and parameters that are missing, unknown,
/// of another type, or out of range.
///
/// # Examples
/// ```
/// use qeval::check::registry::build;
/// use qeval::flow::CheckSpec;
///
/// let spec = |kind: &str| CheckSpec {
///     kind: kind.into(),
///     negated: true,
///     params: Default::default(),
/// };
/// assert!(build(&spec("refusal")).is_ok(), "not-refusal takes no parameters");
/// let error = build(&spec("refusals")).err().ok_or("it was accepted")?;
/// assert_eq!(error.problems[0].nearest(), Some("not-refusal"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn build(spec: &CheckSpec) -> Result<Box<dyn Check>, CheckError> {
    let written = if spec.negated {
        format!("not-{}", spec.kind)
    } else {
        spec.kind.clone()
    };
    let params = Params::new(&written, &spec.params);
    let check = match spec.kind.as_str() {
        "equals" => exact::build(params),
        "contains" | "contains-any" | "contains-all" | "icontains" | "icontains-any"
        | "icontains-all" => contains::build(&spec.kind, params),
        "starts-with" => contains::build_starts_with(params),
        "regex" => pattern::build(params),
        "number" => number::build(params),
        "levenshtein" => levenshtein::build(params),
        "rouge-n" => rouge::build(params),
        "word-count" => length::build(params),
        "is-json" | "contains-json" => json::build(&spec.kind, params),
        "code" => code::build(params),
        "language" => language::build(params),
        "refusal" => refusal::build(params),
        "similar" => similarity::build(params),
        "consistent" => consistent::build(params),
        "likelihood" => likelihood::build(params),
        "choice" => likelihood::build_choice(params),
        "perplexity" => perplexity::build(params),
        "memorized" => memorized::build(params),
        "llm-rubric" => rubric::build(params),
        "all" | "any" => group::build(&spec.kind, params, build),
        other => Err(CheckError {
            kind: written.clone(),
            problems: vec![CheckProblem::UnknownKind {
                kind: written.clone(),
                nearest: nearest(other, KINDS).map(|kind| {
                    if spec.negated {
                        format!("not-{kind}")
                    } else {
                        kind
                    }
                }),
                known: KINDS.map(str::to_owned).to_vec(),
            }],
        }),
    }?;
    Ok(if spec.negated {
        Box::new(Negated(check))
    } else {
        check
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::golden::tests::{refused, spec};

    /// The least that each kind takes.
    fn smallest(kind: &str) -> &'static str {
        match kind {
            "code" => r#"{"entry": "f", "cases": [{"args": [], "returns": 1}]}"#,
            "number" => r#"{"value": 1}"#,
            "similar" => r#"{"accepted": ["a"], "rejected": ["b"]}"#,
            "likelihood" => r#"{"text": "a"}"#,
            "choice" => r#"{"options": ["a", "b"], "answer": "a"}"#,
            "memorized" | "is-json" | "contains-json" | "refusal" | "consistent" => "{}",
            "levenshtein" => r#"{"value": "abc", "max": 1}"#,
            "word-count" | "perplexity" => r#"{"max": 3}"#,
            "language" => r#"{"value": "en"}"#,
            "all" | "any" => r#"{"checks": [{"type": "contains", "value": "a"}]}"#,
            _ => r#"{"value": "a"}"#,
        }
    }

    #[test]
    fn every_kind_builds_and_asks_for_something() {
        for kind in kinds() {
            for written in [(*kind).to_owned(), format!("not-{kind}")] {
                let check = build(&spec(&written, smallest(kind)));
                let needs = check.map(|check| check.needs()).map_err(|e| e.to_string());
                assert_ne!(needs, Ok(crate::check::Needs::default()), "{written}");
                assert!(needs.is_ok(), "{needs:?}");
            }
        }
    }

    #[test]
    fn every_kind_is_a_legal_name() {
        for kind in kinds() {
            assert!(
                kind.chars().all(|c| c.is_ascii_lowercase() || c == '-'),
                "{kind}"
            );
            assert!(!kind.starts_with("not-"), "{kind}");
        }
    }

    #[test]
    fn every_kind_refuses_an_unknown_parameter() {
        for kind in kinds() {
            let params = smallest(kind).trim_end_matches('}').to_owned();
            let comma = if params == "{" { "" } else { ", " };
            let error = refused(kind, &format!("{params}{comma}\"colour\": 1}}"));
            assert!(
                error.contains("unknown parameter `colour`"),
                "{kind}: {error}"
            );
        }
    }

    #[test]
    fn refusals_name_the_key_the_rule_and_the_nearest() {
        let all: Vec<String> = [
            ("contian", "{}"),
            ("not-numbr", "{}"),
            ("banana", "{}"),
            ("contains", r#"{"valeu": "x", "whole_word": "yes"}"#),
            ("contains", r#"{"value": ["x"]}"#),
            ("contains-any", r#"{"value": []}"#),
            ("contains-all", r#"{"value": ["a", 3]}"#),
            ("icontains", r#"{"value": " "}"#),
            (
                "number",
                r#"{"value": "5", "tolerance": -1, "which": "middle"}"#,
            ),
            ("memorized", r#"{"overlap": 1.5, "min_words": 0}"#),
        ]
        .iter()
        .map(|(kind, params)| refused(kind, params))
        .collect();
        insta::assert_snapshot!(all.join("\n"), @r#"
        check `contian`: unknown check type `contian` (a check's type is equals, contains, contains-any, contains-all, icontains, icontains-any, icontains-all, starts-with, regex, number, levenshtein, rouge-n, word-count, is-json, contains-json, code, language, refusal, similar, consistent, likelihood, choice, perplexity, memorized, llm-rubric, all, or any, or one of these after `not-`; nearest: `contains`)
        check `not-numbr`: unknown check type `not-numbr` (a check's type is equals, contains, contains-any, contains-all, icontains, icontains-any, icontains-all, starts-with, regex, number, levenshtein, rouge-n, word-count, is-json, contains-json, code, language, refusal, similar, consistent, likelihood, choice, perplexity, memorized, llm-rubric, all, or any, or one of these after `not-`; nearest: `not-number`)
        check `banana`: unknown check type `banana` (a check's type is equals, contains, contains-any, contains-all, icontains, icontains-any, icontains-all, starts-with, regex, number, levenshtein, rouge-n, word-count, is-json, contains-json, code, language, refusal, similar, consistent, likelihood, choice, perplexity, memorized, llm-rubric, all, or any, or one of these after `not-`)
        check `contains`: 2 problems: `whole_word` is the string "yes" (`whole_word` wants true or false); unknown parameter `valeu` (this check takes value and whole_word; nearest: `value`)
        check `contains`: `value` is a list of strings (`value` wants a string)
        check `contains-any`: `value` is an empty list (`value` wants one or more texts, none empty)
        check `contains-all`: `value` is a list with the number 3 (`value` wants a list of strings)
        check `icontains`: `value` is empty (`value` wants text that can be found)
        check `number`: 3 problems: `value` is the string "5" (`value` wants a number); `tolerance` is -1 (`tolerance` wants a number of at least 0); `which` is "middle" (`which` is one of "last", "first", "only")
        check `memorized`: 2 problems: `overlap` is 1.5 (`overlap` wants a number between 0.01 and 1); `min_words` is 0 (`min_words` wants a whole number between 1 and 1000)
        "#);
    }
}
