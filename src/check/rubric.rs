//! `llm-rubric`: a judge model says whether a statement about the answer is true.
//!
//! The judge is asked twice, with its two replies in either order, because small judges favour the
//! reply that is named first (Zheng et al. 2023, "Judging LLM-as-a-Judge", section 3.3). Who judges,
//! and whether it may, is the run's matter: it is measured on golden answers first and refused
//! below a stated accuracy.

use crate::flow::Score;
use crate::text::{ellipsize, fold};

use super::error::CheckError;
use super::evidence::{Check, Evidence, Needs};
use super::params::Params;

/// `llm-rubric`.
///
/// | parameter | default | |
/// |---|---|---|
/// | `value` | required | a statement that is true of a good answer: "The answer names a base case." |
/// | `min` | `0.5` | smallest probability of "yes" against "no" that counts as yes, in (0, 1) |
///
/// Passes when the judge says yes in both orders and fails when it says no in both. A judge whose
/// reply depends on the order has no opinion: the answer is unscored, as it is without a judge or
/// with one that is not accurate enough. An empty answer fails without being judged.
#[derive(Debug)]
struct Rubric {
    value: String,
    min: f64,
}

/// Builds `llm-rubric`.
pub(super) fn build(mut params: Params<'_>) -> Result<Box<dyn Check>, CheckError> {
    let value = params.string("value");
    let min = params.number_in("min", 0.01, 0.99, 0.5);
    params.finish()?;
    Ok(Box::new(Rubric { value, min }))
}

impl Check for Rubric {
    fn needs(&self) -> Needs {
        Needs {
            answer: true,
            rubrics: vec![self.value.clone()],
            ..Needs::default()
        }
    }

    fn score(&self, evidence: &Evidence<'_>) -> Score {
        let Some(answer) = evidence.answer else {
            return Score::unscored("no answer");
        };
        if fold(&answer.text).is_empty() {
            return Score::fail("the answer is empty");
        }
        let judgement = evidence.judgements.and_then(|all| all.get(&self.value));
        let Some(judgement) = judgement else {
            return Score::unscored("no judge was at hand, or none that is accurate enough");
        };
        let (first, second) = (judgement.yes_first, judgement.no_first);
        let said = format!(
            "the judge says yes with {first:.2} and, asked in the other order, {second:.2} to \"{}\"",
            ellipsize(&self.value, 80)
        );
        match (first >= self.min, second >= self.min) {
            (true, true) => Score::pass(said),
            (false, false) => Score::fail(said),
            _ => Score::unscored(format!("{said}: the order decides, not the answer")),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::check::golden::tests::{answer, check, refused};
    use crate::check::{Evidence, Judgement, Judgements};
    use crate::flow::Score;

    const PARAMS: &str = r#"{"value": "The answer names a base case."}"#;

    fn judged(params: &str, text: &str, judgement: Option<(f64, f64)>) -> Score {
        let answer = answer(text);
        let check = check("llm-rubric", params);
        let judgements: Option<Judgements> = judgement.map(|(yes_first, no_first)| {
            let judgement = Judgement {
                yes_first,
                no_first,
            };
            check
                .needs()
                .rubrics
                .into_iter()
                .map(|r| (r, judgement))
                .collect()
        });
        check.score(&Evidence {
            answer: Some(&answer),
            judgements: judgements.as_ref(),
            ..Evidence::default()
        })
    }

    #[test]
    fn both_orders_have_to_agree() {
        let value = |judgement| judged(PARAMS, "n == 0 ends it", judgement).value();
        assert_eq!(value(Some((0.9, 0.6))), Some(1.0));
        assert_eq!(value(Some((0.4, 0.1))), Some(0.0));
        assert_eq!(value(Some((0.9, 0.1))), None);
        assert_eq!(value(None), None);
        let strict = r#"{"value": "x", "min": 0.8}"#;
        assert_eq!(judged(strict, "a", Some((0.9, 0.7))).value(), None);
    }

    #[test]
    fn a_silent_answer_needs_no_judge() {
        assert_eq!(judged(PARAMS, " \n", None).value(), Some(0.0));
    }

    #[test]
    fn evidence_and_errors() {
        insta::assert_snapshot!(
            [
                judged(PARAMS, "x", Some((0.9, 0.6))).explanation().to_owned(),
                judged(PARAMS, "x", Some((0.9, 0.1))).explanation().to_owned(),
                refused("llm-rubric", "{}"),
                refused("llm-rubric", r#"{"value": "x", "min": 1}"#),
            ]
            .join("\n"),
            @r#"
        the judge says yes with 0.90 and, asked in the other order, 0.60 to "The answer names a base case."
        the judge says yes with 0.90 and, asked in the other order, 0.10 to "The answer names a base case.": the order decides, not the answer
        check `llm-rubric`: missing parameter `value` (`value` wants a string)
        check `llm-rubric`: `min` is 1 (`min` wants a number between 0.01 and 0.99)
        "#
        );
    }
}
