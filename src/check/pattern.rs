//! `regex`: a regular expression matches the answer, and what it captures is what is expected.
//!
//! The syntax is that of the `regex` crate: no look-around and no back references, hence time
//! linear in the answer. It runs on the answer as it is; `(?i)`, `(?m)`, and `(?s)` may stand in
//! front. Without `^` and `$` any part of the answer may match.

use regex::{Regex, RegexBuilder};

use crate::flow::Score;
use crate::text::{bare, ellipsize, fold, one_of};

use super::error::CheckError;
use super::evidence::{Check, Evidence, Needs};
use super::params::Params;

/// `regex`.
///
/// | parameter | default | |
/// |---|---|---|
/// | `value` | required | the expression |
/// | `expected` | none | what the captured text has to equal (as in `equals`), or a list |
/// | `capture` | `1` with `expected` | number or name of the group that is compared |
#[derive(Debug)]
struct Pattern {
    regex: Regex,
    expected: Vec<String>,
    capture: usize,
}

/// Builds `regex`.
pub(super) fn build(mut params: Params<'_>) -> Result<Box<dyn Check>, CheckError> {
    let source = params.string("value");
    let expected = params.opt_strings("expected");
    let compiled = RegexBuilder::new(&source).size_limit(1 << 20).build();
    let regex = match compiled {
        Ok(regex) => Some(regex),
        Err(error) => {
            let reason = error.to_string();
            let last = reason.lines().last().unwrap_or_default();
            let reason = last.trim().trim_start_matches("error: ");
            params.refuse(
                "value",
                format!("is no regular expression: {reason}"),
                "`value` wants the syntax of Rust's regex crate: no look-around, no back \
                 references; in TOML a literal string ('\\d+') needs no doubled backslashes",
            );
            None
        }
    };
    let capture = group(&mut params, regex.as_ref());
    if params.has("capture") && !params.has("expected") {
        let rule = "`capture` names the group that `expected` is compared with: give both";
        params.refuse("capture", "stands without `expected`", rule);
    }
    if params.has("expected")
        && !params.has("capture")
        && regex.as_ref().is_some_and(|r| r.captures_len() < 2)
    {
        let rule = "put the part that is compared in parentheses, or set `capture = 0`";
        params.refuse(
            "expected",
            "is given, but the expression has no group",
            rule,
        );
    }
    let regex = params.finish_with(regex)?;
    Ok(Box::new(Pattern {
        regex,
        expected,
        capture,
    }))
}

/// The group of `capture`, given by number or name.
fn group(params: &mut Params<'_>, regex: Option<&Regex>) -> usize {
    let Some(written) = params.opt_name_or_index("capture") else {
        return 1;
    };
    let Some(regex) = regex else { return 1 };
    let index = match written.parse::<usize>() {
        Ok(index) => (index < regex.captures_len()).then_some(index),
        Err(_) => regex
            .capture_names()
            .position(|n| n == Some(written.as_str())),
    };
    index.unwrap_or_else(|| {
        let names: Vec<String> = regex
            .capture_names()
            .enumerate()
            .map(|(i, name)| name.map_or_else(|| i.to_string(), |n| format!("{i} ({n})")))
            .collect();
        let rule = format!("the expression has group {}", one_of(&names));
        params.refuse(
            "capture",
            format!("is \"{written}\", which is no group"),
            rule,
        );
        1
    })
}

impl Pattern {
    /// The expression, as far as a line of a report has room for it.
    fn shown(&self) -> String {
        ellipsize(self.regex.as_str(), 60)
    }
}

impl Check for Pattern {
    fn needs(&self) -> Needs {
        Needs::answer()
    }

    fn score(&self, evidence: &Evidence<'_>) -> Score {
        let Some(answer) = evidence.answer else {
            return Score::unscored("no answer");
        };
        let text = answer.text.as_str();
        if self.expected.is_empty() {
            return match self.regex.find(text) {
                Some(found) => Score::pass(format!(
                    "`{}` matches \"{}\"",
                    self.shown(),
                    ellipsize(&fold(found.as_str()), 80)
                )),
                None => Score::fail(format!(
                    "`{}` matches nothing in \"{}\"",
                    self.shown(),
                    ellipsize(&fold(text), 80)
                )),
            };
        }
        let Some(captures) = self.regex.captures(text) else {
            return Score::fail(format!(
                "`{}` matches nothing in \"{}\"",
                self.shown(),
                ellipsize(&fold(text), 80)
            ));
        };
        let captured = captures.get(self.capture).map_or("", |m| m.as_str());
        let wanted: Vec<String> = self.expected.iter().map(|e| format!("\"{e}\"")).collect();
        let equal = self.expected.iter().any(|e| bare(e) == bare(captured));
        let says = if equal { "which is" } else { "not" };
        Score::of(
            equal,
            format!(
                "`{}` captures \"{}\", {says} {}",
                self.regex,
                ellipsize(&fold(captured), 60),
                one_of(&wanted)
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use crate::check::golden::tests::{judge, refused, table};

    #[test]
    fn golden_answers() {
        table(
            "regex",
            r#"{"value": "(?i)\\b(base|stopping) case\\b"}"#,
            &[
                "a base case",
                "the Stopping Case.",
                "base case!",
                "x base case y",
            ],
            &["database cases", "base", "", "basecase"],
        );
        table(
            "regex",
            r#"{"value": "递归|自己调用自己"}"#,
            &["这是递归", "函数自己调用自己"],
            &["循环", "递 归"],
        );
        table(
            "regex",
            r#"{"value": "^\\d+$"}"#,
            &["42", "007"],
            &["42.", "a 42", "4\n2"],
        );
        table(
            "regex",
            r#"{"value": "(?m)^\\d+$"}"#,
            &["a\n42\nb"],
            &["a 42"],
        );
    }

    #[test]
    fn captured_text_is_compared() {
        table(
            "regex",
            r#"{"value": "(?i)capital (?:of \\w+ )?is (?P<city>\\w+)", "capture": "city", "expected": ["Paris"]}"#,
            &["The capital is Paris.", "the capital of France is PARIS"],
            &[
                "The capital is Lyon, not Paris",
                "Paris is the capital",
                "",
                "capital is Parisian",
            ],
        );
        table(
            "regex",
            r#"{"value": "答案[是为](.{1,4}?)[。，]", "expected": "巴黎"}"#,
            &["答案是巴黎。", "答案为巴黎，法国"],
            &["答案是里昂。", "巴黎。"],
        );
        table(
            "regex",
            r#"{"value": "a(b)?c", "expected": "b"}"#,
            &["abc"],
            &["ac"],
        );
    }

    #[test]
    fn not_form_swaps() {
        table(
            "not-regex",
            r#"{"value": "(?i)as an ai"}"#,
            &["Paris", ""],
            &["As an AI I cannot"],
        );
    }

    #[test]
    fn evidence_names_the_captured_part() {
        let spec = r#"{"value": "is (\\w+)", "expected": "Paris"}"#;
        insta::assert_snapshot!(
            judge("regex", spec, "It is Lyon").explanation(),
            @r#"`is (\w+)` captures "Lyon", not "Paris""#
        );
        insta::assert_snapshot!(
            judge("regex", spec, "Lyon").explanation(),
            @r#"`is (\w+)` matches nothing in "Lyon""#
        );
    }

    #[test]
    fn bad_expressions_are_refused() {
        let shown: Vec<String> = [
            r#"{"value": "(unclosed"}"#,
            r#"{"value": "(?=x)"}"#,
            r#"{"value": "x", "expected": "x"}"#,
            r#"{"value": "(x)", "capture": 1}"#,
            r#"{"value": "(?P<a>x)", "capture": "b", "expected": "x"}"#,
            r#"{"value": "(x)", "capture": 2, "expected": "x"}"#,
            r#"{"value": "\\w{1000}{1000}"}"#,
        ]
        .iter()
        .map(|p| refused("regex", p))
        .collect();
        insta::assert_snapshot!(shown.join("\n"), @r#"
        check `regex`: `value` is no regular expression: unclosed group (`value` wants the syntax of Rust's regex crate: no look-around, no back references; in TOML a literal string ('\d+') needs no doubled backslashes)
        check `regex`: `value` is no regular expression: look-around, including look-ahead and look-behind, is not supported (`value` wants the syntax of Rust's regex crate: no look-around, no back references; in TOML a literal string ('\d+') needs no doubled backslashes)
        check `regex`: `expected` is given, but the expression has no group (put the part that is compared in parentheses, or set `capture = 0`)
        check `regex`: `capture` stands without `expected` (`capture` names the group that `expected` is compared with: give both)
        check `regex`: `capture` is "b", which is no group (the expression has group 0 or 1 (a))
        check `regex`: `capture` is "2", which is no group (the expression has group 0 or 1)
        check `regex`: `value` is no regular expression: Compiled regex exceeds size limit of 1048576 bytes. (`value` wants the syntax of Rust's regex crate: no look-around, no back references; in TOML a literal string ('\d+') needs no doubled backslashes)
        "#);
    }
}
