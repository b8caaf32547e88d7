//! What verdicts mean for the exit code.

use crate::exit::Outcome;
use crate::flow::{Decision, Verdict};

/// What a verdict means.
pub fn outcome_of(verdict: &Verdict) -> Outcome {
    match verdict.decision {
        Decision::Regression => Outcome::Regression,
        _ if !verdict.could_not_measure.is_empty() => Outcome::CouldNotMeasure,
        Decision::Pass => Outcome::Pass,
        Decision::Inconclusive => Outcome::Inconclusive,
    }
}

/// The worst of several verdicts: a regression, then what could not be measured, then inconclusive.
pub fn worst(verdicts: &[&Verdict]) -> Outcome {
    let outcomes: Vec<Outcome> = verdicts.iter().map(|v| outcome_of(v)).collect();
    worst_of(&outcomes)
}

fn worst_of(outcomes: &[Outcome]) -> Outcome {
    [
        Outcome::Regression,
        Outcome::CouldNotMeasure,
        Outcome::Inconclusive,
    ]
    .into_iter()
    .find(|o| outcomes.contains(o))
    .unwrap_or(Outcome::Pass)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regression_hides_behind_nothing() {
        use Outcome::{CouldNotMeasure, Inconclusive, Pass, Regression};
        for (outcomes, worst) in [
            (&[][..], Pass),
            (&[Pass, Pass], Pass),
            (&[Pass, Inconclusive], Inconclusive),
            (&[CouldNotMeasure, Inconclusive], CouldNotMeasure),
            (&[CouldNotMeasure, Pass, Regression], Regression),
        ] {
            assert_eq!(worst_of(outcomes), worst, "{outcomes:?}");
        }
    }
}
