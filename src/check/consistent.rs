//! `consistent`: the answers to the other wordings of a probe say the same.
//!
//! Each answer is judged by how many of the others agree with it, so that one deviating answer
//! among five lowers its own score to 0 and that of the rest to 3/4. It says nothing of being
//! right: a model that is always wrong in the same way is consistent.

use crate::flow::Score;
use crate::text::{bare, ellipsize, find, normalize, plural};

use super::error::CheckError;
use super::evidence::{Check, Evidence, Needs};
use super::number::last_number;
use super::params::Params;

/// `consistent`.
///
/// | parameter | default | |
/// |---|---|---|
/// | `by` | `"text"` | what has to agree: `"text"` (as in `equals`), `"number"` (the last one), or `"values"` |
/// | `values` | none | with `by = "values"`: which of these texts stand in the answer as words, case and a plural s ignored |
///
/// The value is the share of the probe's other wordings whose answer agrees, for the same
/// sample. An answer without anything to compare (no number, none of the values) agrees with
/// nothing. With one wording, or none of the others answered, it is unscored; a probe with one
/// prompt is refused at load.
#[derive(Debug)]
struct Consistent {
    by: &'static str,
    values: Vec<String>,
}

/// Builds `consistent`.
pub(super) fn build(mut params: Params<'_>) -> Result<Box<dyn Check>, CheckError> {
    let by = params.word("by", &["text", "number", "values"]);
    let values = params.opt_strings("values");
    let rule = "`values` goes with `by` = \"values\", and the other way round";
    if (by == "values") != params.has("values") {
        let what = if by == "values" {
            "is missing"
        } else {
            "has no use"
        };
        params.refuse("values", what, rule);
    }
    params.finish()?;
    let values = values.iter().map(|v| normalize(v)).collect();
    Ok(Box::new(Consistent { by, values }))
}

impl Consistent {
    /// What of an answer is compared; `None` when it has nothing of the kind.
    fn essence(&self, text: &str) -> Option<String> {
        match self.by {
            "number" => last_number(text).map(|n| n.to_string()),
            "values" => {
                let said = normalize(text);
                let found: Vec<&str> = self
                    .values
                    .iter()
                    .filter(|v| stands_in(&said, v))
                    .map(String::as_str)
                    .collect();
                (!found.is_empty()).then(|| found.join(", "))
            }
            _ => Some(bare(text)).filter(|t| !t.is_empty()),
        }
    }
}

/// Whether a value stands in a text as a word, in the plural too.
fn stands_in(said: &str, value: &str) -> bool {
    ["", "s", "es"]
        .iter()
        .any(|ending| find(said, &format!("{value}{ending}"), true).is_some())
}

impl Check for Consistent {
    fn needs(&self) -> Needs {
        Needs {
            siblings: true,
            ..Needs::answer()
        }
    }

    fn score(&self, evidence: &Evidence<'_>) -> Score {
        let Some(answer) = evidence.answer else {
            return Score::unscored("no answer");
        };
        if evidence.siblings.is_empty() {
            return Score::unscored("no other wording of the probe was answered");
        }
        let Some(own) = self.essence(&answer.text) else {
            return Score::fail(format!(
                "nothing to compare in \"{}\"",
                ellipsize(&answer.text, 60)
            ));
        };
        let others: Vec<Option<String>> = evidence
            .siblings
            .iter()
            .map(|text| self.essence(text))
            .collect();
        let agree = others.iter().filter(|o| o.as_deref() == Some(&own)).count();
        let against = others.iter().find(|o| o.as_deref() != Some(&own));
        let against = match against {
            None => String::new(),
            Some(None) => "; another has nothing to compare".into(),
            Some(Some(other)) => format!("; another says \"{}\"", ellipsize(other, 40)),
        };
        Score::Scored {
            value: agree as f64 / others.len() as f64,
            evidence: format!(
                "\"{}\": {agree} of {} agree{against}",
                ellipsize(&own, 40),
                plural(others.len(), "other wording")
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::golden::tests::{answer, check, refused};

    fn judged(params: &str, text: &str, siblings: &[&str]) -> Score {
        let said = answer(text);
        check("consistent", params).score(&Evidence {
            answer: Some(&said),
            siblings,
            ..Evidence::default()
        })
    }

    const NUMBER: &str = r#"{"by": "number"}"#;
    const VALUES: &str = r#"{"by": "values", "values": ["yes", "no", "是", "不是"]}"#;

    #[test]
    fn golden_answers() {
        let agree = [
            (NUMBER, "It is 12.", "12"),
            (NUMBER, "twelve", "3 times 4 is 12"),
            (NUMBER, "1,000 m", "one thousand"),
            (NUMBER, "答案是十二", "12个"),
            (NUMBER, "0.5", "1/2"),
            (NUMBER, "-3", "minus three"),
            (NUMBER, "2 + 3 = 5", "5 apples"),
            (VALUES, "Yes, it is.", "yes"),
            (VALUES, "No.", "The answer is no, of course"),
            (VALUES, "**Yes**", "YES!"),
            ("{}", "Paris", "paris."),
            ("{}", "**Paris**", "\"Paris\""),
            ("{}", "巴黎。", "巴黎"),
            ("{}", "a b", "A  B"),
            (
                r#"{"by": "values", "values": ["Paris", "Lyon"]}"#,
                "It is Paris.",
                "Paris, France",
            ),
            (
                r#"{"by": "values", "values": ["巴黎", "里昂"]}"#,
                "是巴黎。",
                "巴黎",
            ),
            (
                r#"{"by": "values", "values": ["red", "blue"]}"#,
                "red and blue",
                "blue, red",
            ),
            (NUMBER, "25%", "It is 25%"),
            (NUMBER, "三百", "300"),
            ("{}", "Recursion", "recursion"),
        ];
        let differ = [
            (NUMBER, "It is 12.", "13"),
            (NUMBER, "twelve", "twenty"),
            (NUMBER, "no idea", "12"),
            (NUMBER, "12", "no idea"),
            (NUMBER, "十二", "二十"),
            (NUMBER, "2 + 3 = 5", "2 + 3 = 6"),
            (VALUES, "Yes", "No"),
            (VALUES, "nothing", "No"),
            (VALUES, "Maybe", "Maybe"),
            ("{}", "Paris", "Lyon"),
            ("{}", "Paris", "It is Paris"),
            ("{}", "巴黎", "里昂"),
            ("{}", "", ""),
            (
                r#"{"by": "values", "values": ["Paris", "Lyon"]}"#,
                "It is Paris.",
                "Lyon, France",
            ),
            (
                r#"{"by": "values", "values": ["Paris", "Lyon"]}"#,
                "Paris",
                "Paris or Lyon",
            ),
            (
                r#"{"by": "values", "values": ["巴黎", "里昂"]}"#,
                "巴黎",
                "里昂",
            ),
            (
                r#"{"by": "values", "values": ["red", "blue"]}"#,
                "redder",
                "red",
            ),
            (NUMBER, "-3", "3"),
            (NUMBER, "3.14", "3.15"),
            ("{}", "yes", "no"),
        ];
        for (params, one, other) in agree {
            assert_eq!(
                judged(params, one, &[other]).value(),
                Some(1.0),
                "{one} {other}"
            );
        }
        for (params, one, other) in differ {
            assert_eq!(
                judged(params, one, &[other]).value(),
                Some(0.0),
                "{one} {other}"
            );
        }
    }

    #[test]
    fn the_value_is_the_share_that_agrees() {
        assert_eq!(
            judged(NUMBER, "4", &["4", "5", "four", "4"]).value(),
            Some(0.75)
        );
        assert_eq!(judged(NUMBER, "4", &[]).value(), None);
    }

    #[test]
    fn evidence_and_errors() {
        insta::assert_snapshot!(
            [
                judged(NUMBER, "It is 4.", &["4", "5"]).explanation().to_owned(),
                judged(NUMBER, "It is 4.", &["none"]).explanation().to_owned(),
                judged(NUMBER, "I do not know", &["4"]).explanation().to_owned(),
                refused("consistent", r#"{"by": "values"}"#),
                refused("consistent", r#"{"by": "number", "values": ["a"]}"#),
                refused("consistent", r#"{"by": "meaning"}"#),
            ]
            .join("\n"),
            @r#"
        "4": 1 of 2 other wordings agree; another says "5"
        "4": 0 of 1 other wording agree; another has nothing to compare
        nothing to compare in "I do not know"
        check `consistent`: `values` is missing (`values` goes with `by` = "values", and the other way round)
        check `consistent`: `values` has no use (`values` goes with `by` = "values", and the other way round)
        check `consistent`: `by` is "meaning" (`by` is one of "text", "number", "values")
        "#
        );
    }
}
