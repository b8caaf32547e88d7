//! `number`: a number in the answer has the expected value.
//!
//! Read as numbers: `42`, `-3.5`, `1,000`, `1_000`, `.5`, `6e23`, `3 x 10^8`, `3/4`, `5 million`,
//! English words (`minus twenty-five`, `two hundred and five`), Chinese numerals (二十五, 负三,
//! 三点一四, 百分之五, 3万). Not read: digits inside names (`GPT-4`, `H2O`, `1.2.3`) and ordinals
//! (`5th`, 第五). LaTeX and Markdown around a number are looked through ([`markup`]). A lone `one`, 一, or 十, and the number of a list item (`2. `) are read only when
//! the answer has no other number, since they seldom are the answer.

mod markup;
mod scan;

use std::sync::LazyLock;

use regex::Regex;

use crate::flow::{Finish, Score};
use crate::text::{all_of, ellipsize, fold, normalize};

use super::error::CheckError;
use super::evidence::{Check, Evidence, Needs};
use super::params::Params;

use markup::BOXED;
use scan::{Found, is_letter, numbers};

/// `number`.
///
/// | parameter | default | |
/// |---|---|---|
/// | `value` | required | the expected value |
/// | `tolerance` | `0` | largest accepted difference, in the number's own unit |
/// | `which` | `"last"` | `"last"`, `"first"`, or `"only"`: with `"only"` another value fails |
/// | `unit` | none | only numbers with this unit count; a text or a list (`["km", "公里"]`) |
#[derive(Debug)]
struct Number {
    value: f64,
    tolerance: f64,
    which: &'static str,
    units: Vec<String>,
}

/// Builds `number`.
pub(super) fn build(mut params: Params<'_>) -> Result<Box<dyn Check>, CheckError> {
    let value = params.number("value");
    let tolerance = params.number_in("tolerance", 0.0, f64::MAX, 0.0);
    let which = params.word("which", &["last", "first", "only"]);
    let units = params
        .opt_strings("unit")
        .iter()
        .map(|u| normalize(u))
        .collect();
    params.finish()?;
    Ok(Box::new(Number {
        value,
        tolerance,
        which,
        units,
    }))
}

/// The value of the last number in a text.
pub(super) fn last_number(text: &str) -> Option<f64> {
    numbers(text).last().map(|found| found.value)
}

/// Whether what stands around a number on its line says that it is the result, and ends.
fn states_result(before: &str, after: &str) -> bool {
    static SAYS: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let says = r"(?:\b(?:answer|result|total|solution)\b(?: is| equals| to be|:)+|(?:答案|结果|得数|答)(?:是|为|等于|:)+)[^.!?;]{0,40}$";
        Regex::new(says).ok()
    });
    let says = SAYS.as_ref().is_some_and(|says| says.is_match(before));
    before.contains(BOXED) || says && after.contains(['.', '!', ';'])
}

impl Number {
    fn equals(&self, value: f64) -> bool {
        // Decimal fractions have no exact binary form: a relative 1e-9 is not a difference.
        let slack = 1e-9 * value.abs().max(self.value.abs());
        (value - self.value).abs() <= self.tolerance + slack
    }

    fn has_unit(&self, found: &Found) -> bool {
        self.units.is_empty()
            || self.units.iter().any(|unit| {
                let bounded = |rest: &str| {
                    let next = rest.chars().next();
                    let last = unit.chars().next_back();
                    !(last.is_some_and(is_letter) && next.is_some_and(is_letter))
                };
                found
                    .after
                    .trim_start()
                    .strip_prefix(unit.as_str())
                    .is_some_and(bounded)
                    || found.before.trim_end().ends_with(unit.as_str())
                    || (found.percent && unit == "%")
            })
    }
}

impl Check for Number {
    fn needs(&self) -> Needs {
        Needs::answer()
    }

    /// What follows may hold another number, so a last one is known only where the answer has
    /// stated its result: `\boxed{5}`, "the answer is 5.", 答案是 5。
    fn is_cut(&self, answer: &str) -> bool {
        let all = numbers(answer);
        let found: Vec<&Found> = all.iter().filter(|f| self.has_unit(f)).collect();
        let whole = |f: &Found| !f.at_end;
        match (self.which, found.first(), found.last()) {
            ("first", Some(first), _) => !whole(first),
            ("only", Some(_), Some(last))
                if found.iter().any(|f| whole(f) && f.value != last.value) =>
            {
                false
            }
            (_, _, Some(last)) => !(whole(last) && states_result(&last.before, &last.after)),
            _ => true,
        }
    }

    fn score(&self, evidence: &Evidence<'_>) -> Score {
        let Some(answer) = evidence.answer else {
            return Score::unscored("no answer");
        };
        let all = numbers(&answer.text);
        let unit = match self.units.first() {
            Some(unit) => format!(" with the unit {unit}"),
            None => String::new(),
        };
        let found: Vec<&Found> = all.iter().filter(|f| self.has_unit(f)).collect();
        let (Some(first), Some(last)) = (found.first(), found.last()) else {
            let shown = ellipsize(&fold(&answer.text), 80);
            return Score::fail(format!("no number{unit} in \"{shown}\""));
        };
        if self.which == "only"
            && let Some(other) = found.iter().find(|f| f.value != last.value)
        {
            let both = all_of(&[&other.text, &last.text]);
            return Score::fail(format!("not one number{unit} but several: {both}"));
        }
        let taken = if self.which == "first" { first } else { last };
        if taken.at_end && answer.finish == Finish::Length {
            let within = format!("maybe within the number {}", taken.text);
            // An answer that was let go on had all the room there is, and came to no result.
            return match answer.continued {
                true => Score::fail(format!(
                    "no end after {} tokens, {within}",
                    answer.token_ids.len()
                )),
                false => Score::unscored(format!(
                    "the answer was cut at its longest length, {within}"
                )),
            };
        }
        let yes = self.equals(taken.value);
        let within = if self.tolerance > 0.0 {
            format!(" within {}", self.tolerance)
        } else {
            String::new()
        };
        let is = if yes { "is" } else { "is not" };
        Score::of(
            yes,
            format!(
                "the {} number{unit}, \"{}\", {is} {}{within}",
                self.which, taken.text, self.value
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use crate::check::golden::tests::{answer, check, judge, table, table_of};
    use crate::check::{Evidence, registry};
    use crate::flow::Finish;

    #[test]
    fn golden_answers() {
        table(
            "number",
            r#"{"value": 5}"#,
            &[
                "5",
                "It is 5.",
                "2 + 3 = 5",
                "five",
                "5.0",
                "答案是五。",
                "共５个",
                "**5**",
                r"\(2 + 3 = \boxed{5}\)",
                r"$x=5$",
                r"\frac{10}{2}",
                "| sum |\n|---|\n| 5 |",
                "Step 1: add 2.\n\nStep 2: add 3.\n\nSo the answer is `5`.",
            ],
            &[
                "25",
                "-5",
                "5 or 6",
                "0.5",
                "",
                "five hundred",
                "5,000",
                "五十",
                "many",
                "GPT-5",
                r"\(\boxed{50}\)",
                r"\frac{5}{2}",
                r"$x^5$ is $32$",
            ],
        );
        table(
            "number",
            r#"{"value": 1000}"#,
            &[
                "1,000",
                "1000",
                "1e3",
                "one thousand",
                "一千",
                "1 thousand",
                "$1,000.00",
                "1{,}000",
                r"\(1\,000\)",
            ],
            &["1", "1,00", "1.000", "1,000,000", "100"],
        );
        table(
            "number",
            r#"{"value": -7}"#,
            &["-7", "−7", "minus seven", "负七", "x = -7"],
            &["7", "3-7", "- 7"],
        );
    }

    #[test]
    fn tolerance_is_absolute() {
        table_of(
            "number",
            r#"{"value": 3.14159, "tolerance": 0.01}"#,
            &["3.14", "about 3.15", "三点一四"],
            &["3.2", "3", "22/8"],
        );
        table_of(
            "number",
            r#"{"value": 0.3}"#,
            &["0.30000000000000004", "3/10"],
            &["0.301"],
        );
    }

    #[test]
    fn which_number_is_taken() {
        let text = "There are 12 eggs, 5 are broken, so 7 are left.";
        table_of("number", r#"{"value": 7}"#, &[text], &[]);
        table_of(
            "number",
            r#"{"value": 12, "which": "first"}"#,
            &[text],
            &["7 of 12"],
        );
        table_of(
            "number",
            r#"{"value": 7, "which": "only"}"#,
            &["7", "7, yes, 7.0"],
            &[text],
        );
    }

    #[test]
    fn unit_selects_numbers() {
        table_of(
            "number",
            r#"{"value": 100, "unit": ["km", "kilometers", "公里"]}"#,
            &[
                "100 km, about 62 miles",
                "100km",
                "100公里",
                r"\(\boxed{100}\) km",
                r"\(100 \text{ km}\)",
                "**100** km",
                "100 Kilometers",
            ],
            &[
                "62 miles",
                "100 kmh",
                r"\(\boxed{10}\) km",
                "100",
                "10 km, 100 miles",
            ],
        );
        table_of(
            "number",
            r#"{"value": 5, "unit": "%"}"#,
            &["5%", "百分之五", "5 ％"],
            &["5", "50%"],
        );
        table_of(
            "number",
            r#"{"value": -5, "unit": "$"}"#,
            &["-$5", "$-5", r"\(-\$5\)"],
            &["$5", "-5"],
        );
    }

    #[test]
    fn number_at_the_cut_is_unscored() {
        let params = serde_json::from_str(r#"{"value": 12}"#).unwrap();
        let spec = crate::flow::CheckSpec {
            kind: "number".into(),
            negated: false,
            params,
        };
        let check = registry::build(&spec).unwrap();
        let mut cut = answer("The answer is 12");
        cut.finish = Finish::Length;
        let score = check.score(&Evidence {
            answer: Some(&cut),
            ..Evidence::default()
        });
        assert_eq!(score.value(), None);
        // It went on as long as it may, and counts still.
        cut.continued = true;
        let judged = check.score(&Evidence {
            answer: Some(&cut),
            ..Evidence::default()
        });
        assert_eq!(judged.value(), Some(0.0));
        insta::assert_snapshot!(
            [score.explanation(), judged.explanation()].join("\n"),
            @r"
        the answer was cut at its longest length, maybe within the number 12
        no end after 0 tokens, maybe within the number 12
        "
        );
        cut.text.push('.');
        let score = check.score(&Evidence {
            answer: Some(&cut),
            ..Evidence::default()
        });
        assert_eq!(score.value(), Some(1.0));
    }

    #[test]
    fn a_number_is_cut_until_the_answer_states_its_result() {
        let cut = |params: &str, text: &str| check("number", params).is_cut(text);
        let last = r#"{"value": 5}"#;
        for text in [
            "",
            "To find out how many apples",
            "Tom has 3 apples and gets 2 more. Therefore, the",
            "3 + 2 = 5. Let me check that:",
            "the answer is 5",
            "The answer is found in 2 steps. First, 3 + 2 is 5. Then",
            "树上有 7 只鸟。因此，",
            "答案是 5",
        ] {
            assert!(cut(last, text), "{text}");
        }
        for text in [
            r"Tom has \(\boxed{5}\) apples. He has",
            "The answer is **5**. I hope that",
            "So the final result is: 3 + 2 = 5.\nDo you",
            "答案是 5。因为",
            "答案：5 个苹果。这是",
        ] {
            assert!(!cut(last, text), "{text}");
        }
        let first = r#"{"value": 5, "which": "first"}"#;
        assert!(cut(first, "It is") && cut(first, "It is 5"));
        assert!(!cut(first, "It is 5 and not"));
        let only = r#"{"value": 5, "which": "only"}"#;
        assert!(cut(only, "It is 5, as 5 is"));
        assert!(!cut(only, "It is 5 or 6"));
        let unit = r#"{"value": 5, "unit": "km"}"#;
        assert!(cut(unit, "The answer is 7 miles. In km"));
        assert!(!cut(unit, "The answer is 5 km. In miles, 3."));
    }

    #[test]
    fn evidence_names_the_number() {
        let say = |params: &str, text: &str| judge("number", params, text).explanation().to_owned();
        insta::assert_snapshot!(say(r#"{"value": 5}"#, "It ends with 25."), @r#"the last number, "25", is not 5"#);
        insta::assert_snapshot!(
            say(r#"{"value": 5, "tolerance": 0.5}"#, "minus 5"),
            @r#"the last number, "minus 5", is not 5 within 0.5"#
        );
        insta::assert_snapshot!(
            say(r#"{"value": 5, "which": "only"}"#, "5 of 9"),
            @"not one number but several: 5 and 9"
        );
        insta::assert_snapshot!(
            say(r#"{"value": 5, "unit": "km"}"#, "5 miles"),
            @r#"no number with the unit km in "5 miles""#
        );
    }
}
