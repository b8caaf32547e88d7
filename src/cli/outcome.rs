//! What verdicts mean for the exit code.

use crate::exit::Outcome;
use crate::flow::{Decision, Verdict};

/// What a verdict means. A required target that was missed is certain whatever else is open: the
/// candidate may not ship.
pub fn outcome_of(verdict: &Verdict) -> Outcome {
    match verdict.decision {
        Decision::Regression => Outcome::Regression,
        _ if !verdict.learned_enough() => Outcome::Regression,
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
    use crate::flow::LearnRule;
    use crate::run::testing::verdict;

    /// What is certain goes before what is open: too little was learned, whatever else there is.
    #[test]
    fn a_required_target_that_was_missed_fails() {
        use Outcome::{CouldNotMeasure, Inconclusive, Pass, Regression};
        for (kept, learned, rule, unmeasured, outcome) in [
            (90, 8, LearnRule::Require, false, Pass),
            (90, 7, LearnRule::Require, false, Regression),
            (88, 7, LearnRule::Require, false, Regression),
            (90, 7, LearnRule::Require, true, Regression),
            (90, 7, LearnRule::Warn, false, Pass),
            (90, 7, LearnRule::Warn, true, CouldNotMeasure),
            (88, 7, LearnRule::Warn, false, Inconclusive),
            (20, 7, LearnRule::Warn, false, Regression),
        ] {
            let mut verdict = verdict(kept, learned);
            verdict.learn_rule = rule;
            if unmeasured {
                verdict.could_not_measure.push("`zh`: no probes".into());
            }
            let what = (kept, learned, rule, unmeasured);
            assert_eq!(outcome_of(&verdict), outcome, "{what:?}");
        }
    }

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
