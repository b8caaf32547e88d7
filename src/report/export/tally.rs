//! How many of a suite's answers were judged, and what they scored together.

use crate::flow::{Recorded, Suite};

/// The numbers of a suite's answers.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Tally {
    /// Answers with a score.
    pub scored: usize,
    /// Answers without one.
    pub unscored: usize,
    /// Mean score; 0 without any, as there is no number for none in other programs' files.
    pub mean: f64,
    /// Standard error of the mean of independent scores; `None` for less than two.
    pub stderr: Option<f64>,
}

impl Tally {
    /// Of all answers of a suite.
    pub fn of(recorded: &Recorded, suite: &Suite) -> Self {
        let scores: Vec<Option<f64>> = recorded.answers(suite).map(|a| a.score.value()).collect();
        Self::of_scores(&scores)
    }

    /// Of these.
    pub fn of_scores(scores: &[Option<f64>]) -> Self {
        let known: Vec<f64> = scores.iter().copied().flatten().collect();
        let count = known.len() as f64;
        let mean = match known.is_empty() {
            true => 0.0,
            false => known.iter().sum::<f64>() / count,
        };
        let squares = known.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
        let stderr = (known.len() > 1).then(|| (squares / (count - 1.0) / count).sqrt());
        Tally {
            scored: known.len(),
            unscored: scores.len() - known.len(),
            mean,
            stderr,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `statistics.stdev([1, 0, 1, 1]) / 2` of Python prints 0.25.
    #[test]
    fn unscored_is_in_no_mean() {
        let tally = Tally::of_scores(&[Some(1.0), None, Some(0.0), Some(1.0), Some(1.0)]);
        assert_eq!((tally.scored, tally.unscored), (4, 1));
        assert_eq!((tally.mean, tally.stderr), (0.75, Some(0.25)));
        let none = Tally::of_scores(&[None]);
        assert_eq!((none.mean, none.stderr, none.unscored), (0.0, None, 1));
        assert_eq!(Tally::of_scores(&[Some(1.0)]).stderr, None);
    }
}
