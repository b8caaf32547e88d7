//! How far a judge of `llm-rubric` checks can be trusted.

use serde::{Deserialize, Serialize};

/// What a judge said to golden answers, whose scores are known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Who judges.
    pub judge: String,
    /// Golden answers that have to pass.
    pub passes: usize,
    /// How many of them the judge passed.
    pub passed: usize,
    /// Golden answers that have to fail.
    pub fails: usize,
    /// How many of them the judge failed.
    pub failed: usize,
    /// Least [`Calibration::accuracy`] of a judge that is used.
    pub least: f64,
}

impl Calibration {
    /// Share of the good answers that the judge passes, in [0, 1].
    pub fn sensitivity(&self) -> f64 {
        self.passed as f64 / self.passes.max(1) as f64
    }

    /// Share of the bad answers that the judge fails, in [0, 1].
    pub fn specificity(&self) -> f64 {
        self.failed as f64 / self.fails.max(1) as f64
    }

    /// Balanced accuracy: the mean of both, so that a judge that always says yes has 0.5.
    pub fn accuracy(&self) -> f64 {
        (self.sensitivity() + self.specificity()) / 2.0
    }

    /// Accurate enough to be used.
    pub fn is_accepted(&self) -> bool {
        self.passes > 0 && self.fails > 0 && self.accuracy() >= self.least
    }
}

impl std::fmt::Display for Calibration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.passes + self.fails == 0 {
            return write!(
                f,
                "judge {}: no golden answer was judged, so every `llm-rubric` stays unscored",
                self.judge
            );
        }
        write!(
            f,
            "judge {}: sensitivity {:.2}, specificity {:.2} on {} golden answers",
            self.judge,
            self.sensitivity(),
            self.specificity(),
            self.passes + self.fails
        )?;
        if self.is_accepted() {
            Ok(())
        } else {
            write!(
                f,
                "; an accuracy of {:.2} is below {:.2}, so every `llm-rubric` stays unscored",
                self.accuracy(),
                self.least
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(passed: usize, failed: usize) -> Calibration {
        Calibration {
            judge: "base".into(),
            passes: 10,
            passed,
            fails: 20,
            failed,
            least: 0.8,
        }
    }

    #[test]
    fn a_judge_that_always_says_yes_is_refused() {
        let always = judged(10, 0);
        assert!(!always.is_accepted());
        insta::assert_snapshot!(always, @"judge base: sensitivity 1.00, specificity 0.00 on 30 golden answers; an accuracy of 0.50 is below 0.80, so every `llm-rubric` stays unscored");
    }

    #[test]
    fn a_good_judge_says_its_figures() {
        let good = judged(9, 16);
        assert!(good.is_accepted());
        insta::assert_snapshot!(good, @"judge base: sensitivity 0.90, specificity 0.80 on 30 golden answers");
    }

    #[test]
    fn without_golden_answers_no_judge_is_accepted() {
        let unknown = Calibration {
            passes: 0,
            passed: 0,
            fails: 0,
            failed: 0,
            least: 0.0,
            ..judged(0, 0)
        };
        assert!(!unknown.is_accepted());
        insta::assert_snapshot!(unknown, @"judge base: no golden answer was judged, so every `llm-rubric` stays unscored");
    }
}
