//! Signs over all answers as hypotheses beside the scores: is there more of one than in the base?
//!
//! A sign that an answer is free of scores 1, one that it has 0, so that more of it is a loss like any
//! other and goes through the same rule. Only signs that one of the two shows are hypotheses; which
//! these are does not depend on who shows them, so under an identical candidate each keeps its level.

use super::comparison::Group;
use super::estimate::estimate;
use super::paired::pair;
use super::reduce::{ProbeMeans, reduce};
use super::rule::{Kind, Ruled};
use super::rules::Rules;
use super::wording::p_value;
use crate::flow::{
    Goal, Score, ScoreTable, Sign, SignNoise, SignRule, SignVerdict, Suite, SuiteState,
};

/// Largest margin of a sign, whatever that of the scores: a hundred loops in a thousand answers are no
/// small loss where a tenth of the score may go.
const LARGEST_MARGIN: f64 = 0.03;

/// One sign in the answers that both gave to `keep` suites: a score of 0 where it shows, 1 where not.
#[derive(Debug, Clone, PartialEq)]
pub struct SignScores {
    /// Which.
    pub sign: Sign,
    /// The base's answers.
    pub base: ScoreTable,
    /// The candidate's.
    pub candidate: ScoreTable,
    /// The base against itself, where that was measured.
    pub noise: Option<SignNoise>,
}

impl SignScores {
    /// Whether any answer shows it.
    pub fn is_shown(&self) -> bool {
        count(&self.base) + count(&self.candidate) > 0
    }
}

fn count(scores: &ScoreTable) -> usize {
    let values = scores.values().filter_map(Score::value);
    values.filter(|value| *value < 0.5).count()
}

/// A sign with its probes.
pub(super) struct ShownSign<'a> {
    scores: &'a SignScores,
    probes: Vec<ProbeMeans>,
    judged: bool,
}

impl<'a> ShownSign<'a> {
    pub(super) fn new(scores: &'a SignScores, suites: &[Suite], rules: &Rules) -> Self {
        let kept = suites.iter().filter(|suite| suite.goal == Goal::Keep);
        let probes = kept.flat_map(|suite| reduce(pair(suite, &scores.base, &scores.candidate)));
        ShownSign {
            scores,
            probes: probes.filter(|probe| probe.both.is_some()).collect(),
            judged: rules.signs == SignRule::Judge && scores.sign.is_a_loss(),
        }
    }

    /// Whether more of it can be a regression.
    pub(super) fn is_judged(&self) -> bool {
        self.judged
    }

    /// It as a hypothesis of the rule.
    pub(super) fn group(&self, rules: &Rules) -> Group<'_> {
        let probes = self.probes.iter().collect();
        let margin = rules.margin.min(LARGEST_MARGIN);
        Group::new(Kind::Sign, self.scores.sign.verb(), probes, margin, rules)
    }

    /// What it came to; `ruled` where it was judged.
    pub(super) fn verdict(&self, ruled: Option<&Ruled>, rules: &Rules) -> SignVerdict {
        let SignScores {
            sign,
            base,
            candidate,
            noise,
        } = self.scores;
        let probes: Vec<&ProbeMeans> = self.probes.iter().collect();
        SignVerdict {
            sign: *sign,
            base: count(base),
            candidate: count(candidate),
            answers: base.len(),
            estimate: estimate(&probes, rules.interval_level()),
            p_more: self.group(rules).evidence.p_loss,
            regression: ruled.is_some_and(|ruled| ruled.state == SuiteState::Regression),
            noise: *noise,
        }
    }
}

/// Why a sign is a regression: `ends in a loop in 31 of 412 answers (p < 0.0001)`.
pub(super) fn alarm(sign: &SignVerdict) -> String {
    format!("{} ({})", sign.counted(), p_value(sign.p_more))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Decision;
    use crate::gate::decide_with_signs;
    use crate::gate::testing::{numbered, passes};

    /// 200 probes that keep their scores; so many of them show a sign with the base and with the
    /// candidate.
    fn judged(sign: Sign, base: usize, candidate: usize, rule: SignRule) -> crate::flow::Verdict {
        let table = |count: usize| {
            passes("code", count, 200)
                .into_iter()
                .collect::<ScoreTable>()
        };
        let scores = SignScores {
            sign,
            // `passes` sets the first probes to 1, and a sign scores 0.
            base: table(200 - base),
            candidate: table(200 - candidate),
            noise: None,
        };
        let rules = Rules {
            signs: rule,
            ..Rules::default()
        };
        let same = table(150);
        decide_with_signs(&[numbered("code", 200)], &same, &same, &[scores], &rules)
    }

    #[test]
    fn more_of_a_sign_is_a_regression_where_it_is_proven() {
        let told = |base, candidate| judged(Sign::Loop, base, candidate, SignRule::Judge);
        let looped = told(2, 14);
        assert_eq!(looped.decision, Decision::Regression);
        assert!(!looped.may_keep());
        insta::assert_snapshot!(looped.sentence, @"regression: ends in a loop in 14 of 200 answers, the base in 2 (p = 0.0002)");
        let sign = &looped.signs[0];
        assert_eq!((sign.base, sign.candidate, sign.regression), (2, 14, true));
        for (base, candidate) in [(0, 0), (14, 2), (0, 3), (100, 105)] {
            assert_eq!(
                told(base, candidate).decision,
                Decision::Pass,
                "{base} {candidate}"
            );
        }
    }

    #[test]
    fn what_may_be_learned_or_is_only_told_is_no_regression() {
        let short = judged(Sign::Short, 0, 40, SignRule::Judge);
        assert_eq!(short.decision, Decision::Pass);
        assert!(short.signs[0].is_worth_telling());
        let told = judged(Sign::Loop, 0, 40, SignRule::Tell);
        assert_eq!(told.decision, Decision::Pass);
        assert!(told.signs[0].is_worth_telling());
        let few = judged(Sign::Loop, 0, 3, SignRule::Tell);
        assert!(!few.signs[0].is_worth_telling());
    }

    /// The pooled score keeps its half of what scores may spend; the suites give a quarter of theirs.
    #[test]
    fn signs_take_a_small_share() {
        let levels = |groups: &[Kind]| {
            let evidence = |kind: &Kind| crate::gate::rule::Evidence {
                kind: *kind,
                probes: 100,
                mean: 0.0,
                margin: 0.03,
                p_loss: 0.5,
                excluded: true,
            };
            let all: Vec<_> = groups.iter().map(evidence).collect();
            let beside = crate::gate::rule::Beside::default();
            let (ruled, _) = crate::gate::rule::rule(&all, beside, &Rules::default());
            ruled
                .iter()
                .map(|r| (r.test.level * 1e6).round())
                .collect::<Vec<_>>()
        };
        assert_eq!(levels(&[Kind::Pooled, Kind::Suite]), [20_000.0; 2]);
        assert_eq!(
            levels(&[Kind::Pooled, Kind::Suite, Kind::Sign, Kind::Sign]),
            [20_000.0, 15_000.0, 2_500.0, 2_500.0]
        );
    }
}
