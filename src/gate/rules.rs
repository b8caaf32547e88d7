//! The gate's settings.

use serde::{Deserialize, Serialize};

use crate::flow::{LearnRule, ProbeId, SignRule};

use super::early::{EarlyStop, LookPart};
use super::error::GateError;
use super::sequence::Look;

/// Shares of a look's false-alarm budget.
const CRITICAL_SHARE: f64 = 0.2;
const SCORE_SHARE: f64 = 0.8;

/// How a comparison is judged. All probabilities and margins are shares, not percent.
///
/// ```
/// use qeval::gate::Rules;
///
/// let rules = Rules { margin: 0.05, ..Rules::default() };
/// assert!(rules.problems().is_empty());
/// assert_eq!((rules.suite_margin, rules.confidence), (0.15, 0.95));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// Largest tolerated loss of the mean over all `keep` probes, in (0, 1]. Default 0.03.
    pub margin: f64,
    /// Largest tolerated loss of one `keep` suite that sets none itself, in (0, 1]. Default 0.15.
    pub suite_margin: f64,
    /// Confidence of a pass, and one minus the false-alarm budget of a run; in [0.5, 1).
    /// Default 0.95.
    pub confidence: f64,
    /// A `keep` suite of at least this many probes has to exclude its margin by itself; a smaller
    /// one may stay inconclusive. Default 60.
    pub min_suite_probes: usize,
    /// Which look at the candidate this is. Default: a comparison by itself.
    pub look: Look,
    /// How many checkpoints, compared on these same probes, the candidate was picked from; a pass
    /// is claimed at the error rate divided by it. At least 1. Default 1.
    pub chosen_from: usize,
    /// A suite with a larger share of scores missing could not be measured, in [0, 1].
    /// Default 0.1.
    pub max_unscored_share: f64,
    /// Mean that a `learn` suite has to reach when it sets none itself, in (0, 1]. Default 0.8.
    pub target: f64,
    /// What it means that a `learn` suite misses its target. Default: the candidate does not ship.
    #[serde(default, skip_serializing_if = "LearnRule::is_usual")]
    pub learn: LearnRule,
    /// What it means that more answers show a sign. Default: that is a loss like any other.
    #[serde(default, skip_serializing_if = "SignRule::is_usual")]
    pub signs: SignRule,
    /// Which candidates may be decided before they were asked everything. Default: none.
    #[serde(default, skip_serializing_if = "EarlyStop::is_never")]
    pub early_stop: EarlyStop,
    /// The part of the error rates that this look at a candidate may spend, of several that may decide
    /// it early. Default: the whole.
    #[serde(skip)]
    pub part: LookPart,
    /// Probes that stand in the training data. In a `learn` suite they are left out, in a `keep`
    /// suite a gain on them counts as none: what was trained on shows no improvement. Default:
    /// none.
    #[serde(default)]
    pub leaked: Vec<ProbeId>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            margin: 0.03,
            suite_margin: 0.15,
            confidence: 0.95,
            min_suite_probes: 60,
            look: Look::Single,
            chosen_from: 1,
            max_unscored_share: 0.1,
            target: 0.8,
            learn: LearnRule::Require,
            signs: SignRule::Judge,
            early_stop: EarlyStop::Never,
            part: LookPart::WHOLE,
            leaked: Vec::new(),
        }
    }
}

impl Rules {
    /// Error rate of a claimed pass.
    ///
    /// ```
    /// use qeval::gate::Rules;
    ///
    /// let best_of_four = Rules { chosen_from: 4, ..Rules::default() };
    /// assert!((best_of_four.pass_level() - 0.0125).abs() < 1e-12);
    /// ```
    pub fn pass_level(&self) -> f64 {
        self.part.pass * (1.0 - self.confidence) / self.chosen_from.max(1) as f64
    }

    /// Error rate of the intervals that are shown: that of a pass, or what it would be at the end where
    /// this look cannot pass anything.
    pub(super) fn interval_level(&self) -> f64 {
        let whole = Rules {
            part: LookPart::WHOLE,
            leaked: Vec::new(),
            ..self.clone()
        };
        match self.part.pass > 0.0 {
            true => self.pass_level(),
            false => whole.pass_level(),
        }
    }

    /// False-alarm budget of this look.
    ///
    /// ```
    /// use qeval::gate::{Look, Rules};
    ///
    /// let last = Rules { look: Look::Final, ..Rules::default() };
    /// assert!((last.budget() - 0.025).abs() < 1e-12);
    /// ```
    pub fn budget(&self) -> f64 {
        self.look.budget(1.0 - self.confidence)
    }

    /// The part of it that is for scores; the rest is for critical probes, which are asked once whatever
    /// the number of looks.
    pub(super) fn score_budget(&self) -> f64 {
        SCORE_SHARE * self.part.loss * self.budget()
    }

    /// The part that all critical probes share.
    pub(super) fn critical_budget(&self) -> f64 {
        CRITICAL_SHARE * self.budget()
    }

    /// Every value outside its range.
    pub fn problems(&self) -> Vec<GateError> {
        let share = |x: f64| x > 0.0 && x <= 1.0;
        let usual = Self::default();
        let (margin_rule, share_rule) = (
            "a margin is larger than 0 and at most 1",
            "a share is at least 0 and at most 1",
        );
        [
            (
                share(self.margin),
                "margin",
                self.margin,
                margin_rule,
                usual.margin,
            ),
            (
                share(self.suite_margin),
                "suite_margin",
                self.suite_margin,
                margin_rule,
                usual.suite_margin,
            ),
            (
                (0.5..1.0).contains(&self.confidence),
                "confidence",
                self.confidence,
                "the confidence is at least 0.5 and below 1",
                usual.confidence,
            ),
            (
                (0.0..=1.0).contains(&self.max_unscored_share),
                "max_unscored_share",
                self.max_unscored_share,
                share_rule,
                usual.max_unscored_share,
            ),
            (
                share(self.target),
                "target",
                self.target,
                "a target is larger than 0 and at most 1",
                usual.target,
            ),
        ]
        .into_iter()
        .filter(|(fine, ..)| !fine)
        .map(|(_, key, value, rule, default)| GateError::OutOfRange {
            key,
            value,
            rule,
            default,
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_have_no_problem() {
        assert!(Rules::default().problems().is_empty());
    }

    #[test]
    fn every_value_out_of_range_is_named_at_once() {
        let rules = Rules {
            margin: 0.0,
            suite_margin: 1.5,
            confidence: 95.0,
            max_unscored_share: f64::NAN,
            target: -1.0,
            ..Rules::default()
        };
        let texts: Vec<String> = rules.problems().iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(texts.join("\n"), @r"
        [gate] margin = 0: a margin is larger than 0 and at most 1
          Way out: leave the key out for its default, 0.03.
        [gate] suite_margin = 1.5: a margin is larger than 0 and at most 1
          Way out: leave the key out for its default, 0.15.
        [gate] confidence = 95: the confidence is at least 0.5 and below 1
          Way out: leave the key out for its default, 0.95.
        [gate] max_unscored_share = NaN: a share is at least 0 and at most 1
          Way out: leave the key out for its default, 0.1.
        [gate] target = -1: a target is larger than 0 and at most 1
          Way out: leave the key out for its default, 0.8.
        ");
    }

    #[test]
    fn a_pick_of_many_is_claimed_at_a_smaller_error_rate() {
        let rules = Rules {
            chosen_from: 20,
            ..Rules::default()
        };
        assert!((rules.pass_level() - 0.0025).abs() < 1e-12);
        assert!(
            (Rules {
                chosen_from: 0,
                ..rules
            }
            .pass_level()
                - 0.05)
                .abs()
                < 1e-12
        );
    }
}
