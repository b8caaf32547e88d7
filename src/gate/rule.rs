//! The rule by itself: what the probes of each group say -> states and decision, without a sentence.
//!
//! [`decide()`](super::decide()) writes its verdict around it, and a simulation asks it thousands of
//! times, so nothing is computed here that only a reader wants: an interval's end takes a search that
//! costs ten to twenty times what the one p-value costs by which a loss of the margin is excluded.
//!
//! *Regression*: the exact sign-flip test proves a loss at this look's share of the false-alarm
//! budget (weighted Holm over all hypotheses; critical probes have a share of their own) and the
//! observed loss is at least half the margin, so that a tiny but certain loss does not alarm. *Pass*:
//! the worst-case-probe bound excludes a loss of the margin, for the pooled score and for every suite
//! that is large enough to be asked; all of these proofs have to hold (Berger 1982), so they need no
//! correction for their number. *Inconclusive*: neither.

use super::holm::{Tested, Weighted, weighted_holm};
use super::interval::p_not_worse;
use super::permutation::sign_flip;
use super::reduce::mean;
use super::rules::Rules;
use crate::flow::{Decision, SuiteState};

/// What a group of probes is. Each kind has a share of what the scores may spend, and all groups of
/// one kind divide it equally; the share of a kind that is absent goes to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// All `keep` probes together.
    Pooled,
    /// One `keep` suite.
    Suite,
    /// One sign over all answers.
    Sign,
}

/// The signs' share of what scores may spend: many answers show a sign, so a small one finds it. It is
/// taken from the suites, which leaves the power of the pooled score as it is; measured by
/// `fixtures/reference/signs_in_holm.py`.
const SIGNS: f64 = 0.125;

impl Kind {
    fn weight(self, signs: bool) -> f64 {
        match self {
            Kind::Pooled => 0.5,
            Kind::Suite if signs => 0.5 - SIGNS,
            Kind::Suite => 0.5,
            Kind::Sign => SIGNS,
        }
    }
}

/// The level at which a group of this kind is tested before any loss is proven, one of `count` of
/// its kind, beside the pooled score or the suites.
pub(super) fn first_level(kind: Kind, count: usize, rules: &Rules) -> f64 {
    rules.score_budget() * kind.weight(false) / count.max(1) as f64
}

/// The same where signs are tested too, and have kept their share.
pub(super) fn level_beside_signs(kind: Kind, count: usize, rules: &Rules) -> f64 {
    rules.score_budget() * kind.weight(true) / count.max(1) as f64
}

/// What the probes of one group say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Evidence {
    pub(super) kind: Kind,
    /// Probes that both sides have a score for.
    pub(super) probes: usize,
    /// Mean of candidate minus base over them; 0 without any.
    pub(super) mean: f64,
    /// Largest tolerated loss.
    pub(super) margin: f64,
    /// p-value of a loss.
    pub(super) p_loss: f64,
    /// A loss of the margin is excluded.
    pub(super) excluded: bool,
}

impl Evidence {
    /// `differences`: candidate minus base, one a probe that both have a score for. `at_worst`: the
    /// same for every probe that the base has a score for, with what the candidate left unscored
    /// counted as lost.
    pub(super) fn of(
        kind: Kind,
        differences: &[f64],
        at_worst: &[f64],
        margin: f64,
        rules: &Rules,
    ) -> Self {
        Evidence {
            kind,
            probes: differences.len(),
            mean: mean(differences.iter().copied()).unwrap_or(0.0),
            margin,
            p_loss: sign_flip(differences),
            excluded: p_not_worse(at_worst, margin) < rules.pass_level(),
        }
    }

    /// Signs of which nothing is seen: they keep their share of the budget, and alarm never.
    pub(super) fn silent_signs() -> Self {
        Evidence {
            kind: Kind::Sign,
            probes: 0,
            mean: 0.0,
            margin: 1.0,
            p_loss: 1.0,
            excluded: false,
        }
    }

    /// Whether a proven loss is large enough to be a regression.
    pub(super) fn is_loss(&self, proven: bool) -> bool {
        proven && -self.mean >= self.margin / 2.0 - 1e-9
    }

    fn state(&self, proven: bool) -> SuiteState {
        match (self.is_loss(proven), self.excluded) {
            (true, _) => SuiteState::Regression,
            (false, true) => SuiteState::Pass,
            (false, false) => SuiteState::Inconclusive,
        }
    }

    /// Whether an open question here leaves the whole comparison open.
    fn has_to_pass(&self, rules: &Rules) -> bool {
        match self.kind {
            Kind::Pooled => true,
            Kind::Suite => self.probes >= rules.min_suite_probes,
            Kind::Sign => false,
        }
    }
}

/// What else takes part in the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Beside {
    /// The loss of a critical probe is proven.
    pub(super) critical_proven: bool,
    /// A critical probe is lost, though so few draws prove nothing.
    pub(super) critical_lost: bool,
    /// A `keep` suite could not be measured.
    pub(super) not_measured: bool,
}

/// What became of one group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ruled {
    pub(super) state: SuiteState,
    /// Its test for a loss.
    pub(super) test: Tested,
    /// It is open, and so the comparison is.
    pub(super) open: bool,
}

/// The rule. One answer a group, in their order, and what they come to together.
pub(super) fn rule(groups: &[Evidence], beside: Beside, rules: &Rules) -> (Vec<Ruled>, Decision) {
    let of_kind = |kind: Kind| groups.iter().filter(|g| g.kind == kind).count();
    let signs = of_kind(Kind::Sign) > 0;
    let hypotheses: Vec<Weighted> = groups
        .iter()
        .map(|group| Weighted {
            p: group.p_loss,
            weight: group.kind.weight(signs) / of_kind(group.kind) as f64,
        })
        .collect();
    let tested = weighted_holm(&hypotheses, rules.score_budget());
    let ruled: Vec<Ruled> = groups
        .iter()
        .zip(tested)
        .map(|(group, test)| {
            let state = group.state(test.rejected);
            let open = state == SuiteState::Inconclusive && group.has_to_pass(rules);
            Ruled { state, test, open }
        })
        .collect();
    let alarm = |r: &Ruled| r.state == SuiteState::Regression;
    let decision = if beside.critical_proven || ruled.iter().any(alarm) {
        Decision::Regression
    } else if beside.critical_lost || beside.not_measured || ruled.iter().any(|r| r.open) {
        Decision::Inconclusive
    } else {
        Decision::Pass
    };
    (ruled, decision)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(kind: Kind, p_loss: f64, mean: f64, excluded: bool) -> Evidence {
        Evidence {
            kind,
            probes: 60,
            mean,
            margin: 0.1,
            p_loss,
            excluded,
        }
    }

    fn decided(groups: &[Evidence], beside: Beside) -> (Vec<SuiteState>, Decision) {
        let (ruled, decision) = rule(groups, beside, &Rules::default());
        (ruled.iter().map(|r| r.state).collect(), decision)
    }

    #[test]
    fn a_proven_loss_alarms_from_half_the_margin_on() {
        use SuiteState::{Inconclusive, Pass, Regression};
        for (p, mean, excluded, state, decision) in [
            (0.03, -0.05, false, Regression, Decision::Regression),
            (0.03, -0.05, true, Regression, Decision::Regression),
            (0.03, -0.04, false, Inconclusive, Decision::Inconclusive),
            (0.03, -0.04, true, Pass, Decision::Pass),
            (0.05, -0.05, false, Inconclusive, Decision::Inconclusive),
        ] {
            let group = evidence(Kind::Pooled, p, mean, excluded);
            let what = (p, mean, excluded);
            // Alone, the pooled score has all that scores may spend: 4 of 5 points.
            assert_eq!(
                decided(&[group], Beside::default()),
                (vec![state], decision),
                "{what:?}"
            );
        }
    }

    #[test]
    fn suites_share_what_the_pooled_score_leaves() {
        let pooled = evidence(Kind::Pooled, 0.9, 0.0, true);
        let suite = |p| evidence(Kind::Suite, p, -0.2, false);
        let alarms = |suites: &[Evidence]| {
            let groups = [&[pooled], suites].concat();
            decided(&groups, Beside::default()).1 == Decision::Regression
        };
        assert!(alarms(&[suite(0.019)]) && !alarms(&[suite(0.021)]));
        assert!(alarms(&[suite(0.009), suite(0.5)]) && !alarms(&[suite(0.011), suite(0.5)]));
    }

    #[test]
    fn a_small_suite_leaves_nothing_open() {
        let pooled = evidence(Kind::Pooled, 0.9, 0.0, true);
        let mut suite = evidence(Kind::Suite, 0.9, 0.0, false);
        let decision = |suite| decided(&[pooled, suite], Beside::default()).1;
        assert_eq!(decision(suite), Decision::Inconclusive);
        suite.probes = 59;
        assert_eq!(decision(suite), Decision::Pass);
    }

    #[test]
    fn what_stands_beside_the_scores_takes_part() {
        let pooled = [evidence(Kind::Pooled, 0.9, 0.0, true)];
        let none = Beside::default();
        for (beside, decision) in [
            (none, Decision::Pass),
            (
                Beside {
                    critical_lost: true,
                    ..none
                },
                Decision::Inconclusive,
            ),
            (
                Beside {
                    not_measured: true,
                    ..none
                },
                Decision::Inconclusive,
            ),
            (
                Beside {
                    critical_proven: true,
                    not_measured: true,
                    ..none
                },
                Decision::Regression,
            ),
        ] {
            assert_eq!(decided(&pooled, beside).1, decision, "{beside:?}");
        }
    }
}
