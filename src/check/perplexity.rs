//! `perplexity`: how surprised the model was by its own answer.

use crate::flow::Score;

use super::error::CheckError;
use super::evidence::{Check, Evidence, Needs};
use super::params::Params;

/// `perplexity`.
///
/// | parameter | default | |
/// |---|---|---|
/// | `max` | required | largest perplexity that passes, at least 1 |
///
/// With log-probabilities l_1..l_n of the answer's tokens (nats, temperature 1, end of turn not
/// counted) the perplexity is `exp(-(l_1 + .. + l_n) / n)`: 1 is certainty. It says how sure the
/// subject was, not whether it was right. An empty answer is unscored.
#[derive(Debug)]
struct Perplexity {
    max: f64,
}

/// Builds `perplexity`.
pub(super) fn build(mut params: Params<'_>) -> Result<Box<dyn Check>, CheckError> {
    params.number("max");
    let max = params.number_in("max", 1.0, f64::MAX, 1.0);
    params.finish()?;
    Ok(Box::new(Perplexity { max }))
}

impl Check for Perplexity {
    fn needs(&self) -> Needs {
        Needs::answer()
    }

    fn score(&self, evidence: &Evidence<'_>) -> Score {
        let Some(answer) = evidence.answer else {
            return Score::unscored("no answer");
        };
        let logprobs = answer.said_logprobs();
        if logprobs.is_empty() {
            return Score::unscored("the answer has no tokens");
        }
        let total: f64 = logprobs.iter().map(|&l| f64::from(l)).sum();
        let perplexity = (-total / logprobs.len() as f64).exp();
        if perplexity.is_nan() {
            return Score::unscored("a token's log-probability is not a number");
        }
        Score::of(
            perplexity <= self.max,
            format!("perplexity {perplexity:.3} (at most {})", self.max),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::golden::tests::{answer, check, refused};

    fn judged(params: &str, logprobs: &[f32]) -> Score {
        let mut said = answer("x");
        said.logprobs = logprobs.to_vec();
        check("perplexity", params).score(&Evidence {
            answer: Some(&said),
            ..Evidence::default()
        })
    }

    // python3 -c "import math; print(math.exp(1), math.exp(0.5), math.exp(2.302585))"
    #[test]
    fn golden_answers() {
        let at_most_two = [
            vec![0.0],
            vec![-0.69],
            vec![-0.1, -0.2, -0.3],
            vec![-1.3, 0.0],
            vec![-0.5; 40],
            vec![-2.0, 0.0, 0.0],
            vec![-0.001],
            vec![-0.6, -0.7],
            vec![0.0; 100],
            vec![-1.0, -0.2, -0.2, -0.2],
        ];
        let above = [
            vec![-0.70],
            vec![-1.0],
            vec![-5.0, 0.0],
            vec![-0.5, -1.0],
            vec![-3.0; 40],
            vec![-2.0, -2.0, 0.0],
            vec![f32::NEG_INFINITY],
            vec![-0.69, -0.72],
            vec![-100.0, 0.0],
            vec![-0.8; 3],
        ];
        for (all, value) in [(at_most_two, 1.0), (above, 0.0)] {
            for logprobs in all {
                let score = judged(r#"{"max": 2}"#, &logprobs);
                assert_eq!(score.value(), Some(value), "{logprobs:?}: {score:?}");
            }
        }
    }

    #[test]
    fn nothing_said_is_unscored() {
        assert_eq!(judged(r#"{"max": 2}"#, &[]).value(), None);
        assert_eq!(judged(r#"{"max": 2}"#, &[f32::NAN]).value(), None);
    }

    #[test]
    fn evidence_and_errors() {
        insta::assert_snapshot!(
            [
                judged(r#"{"max": 2.5}"#, &[-0.5, -1.5]).explanation().to_owned(),
                refused("perplexity", "{}"),
                refused("perplexity", r#"{"max": 0.5}"#),
            ]
            .join("\n"),
            @"
        perplexity 2.718 (at most 2.5)
        check `perplexity`: missing parameter `max` (`max` wants a number)
        check `perplexity`: `max` is 0.5 (`max` wants a number of at least 1)
        "
        );
    }
}
