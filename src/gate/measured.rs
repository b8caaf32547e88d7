//! A suite's scores on their way to a verdict: joined, averaged, and checked for gaps.

use super::estimate::estimate;
use super::paired::pair;
use super::reduce::{ProbeMeans, mean, reduce};
use super::rules::Rules;
use super::spread::Groups;
use super::wording::{score, some_of};
use crate::flow::{Goal, ScoreTable, Suite, SuiteState, SuiteVerdict, Verdict};

/// A suite with its probes' means, or with the reason why it could not be measured.
pub(super) struct Measured<'a> {
    pub(super) suite: &'a Suite,
    pub(super) probes: Vec<ProbeMeans>,
    /// Its differences, by what they have in common.
    pub(super) groups: Groups,
    pub(super) problem: Option<String>,
}

impl<'a> Measured<'a> {
    pub(super) fn new(
        suite: &'a Suite,
        base: &ScoreTable,
        candidate: &ScoreTable,
        rules: &Rules,
    ) -> Self {
        let paired = pair(suite, base, candidate);
        let groups = Groups::of(suite, &paired);
        let mut probes = reduce(paired);
        let leaked = |p: &ProbeMeans| rules.leaked.contains(&p.id);
        match suite.goal {
            Goal::Learn => probes.retain(|p| !leaked(p)),
            Goal::Keep => probes
                .iter_mut()
                .filter(|p| leaked(p))
                .for_each(ProbeMeans::without_gain),
        }
        // A `learn` suite is about the candidate; what the base says there is only shown.
        let missing = |p: &ProbeMeans| match suite.goal {
            Goal::Keep => p.missing,
            Goal::Learn => f64::from(u8::from(p.candidate.is_none())),
        };
        let share = mean(probes.iter().map(missing)).unwrap_or(1.0);
        let some = probes.iter().any(|p| match suite.goal {
            Goal::Keep => p.both.is_some(),
            Goal::Learn => p.candidate.is_some(),
        });
        let mut m = Measured {
            suite,
            probes,
            groups,
            problem: None,
        };
        if m.probes.is_empty() {
            m.problem = Some(format!("`{}`: no probes", suite.name));
        } else if share > rules.max_unscored_share || !some {
            m.problem = Some(format!(
                "`{}`: {:.0} percent of the scores are missing, at most {:.0} percent may be; {}",
                suite.name,
                (100.0 * share).ceil(),
                100.0 * rules.max_unscored_share,
                some_of(&m.missing_by_reason(), 3, "; "),
            ));
        }
        m
    }

    /// `candidate: unsupported syntax (quicksort, fibonacci)`, one entry a reason.
    fn missing_by_reason(&self) -> Vec<String> {
        let mut by_reason: Vec<(&str, Vec<String>)> = Vec::new();
        for probe in &self.probes {
            let Some(reason) = &probe.why_missing else {
                continue;
            };
            match by_reason.iter_mut().find(|(known, _)| known == reason) {
                Some((_, ids)) => ids.push(probe.id.probe.clone()),
                None => by_reason.push((reason, vec![probe.id.probe.clone()])),
            }
        }
        by_reason
            .into_iter()
            .map(|(reason, ids)| format!("{reason} ({})", some_of(&ids, 5, ", ")))
            .collect()
    }

    /// Names the scores that are missing in a suite that could be measured nevertheless.
    pub(super) fn left_out(&self) -> Option<String> {
        let affected = self
            .probes
            .iter()
            .filter(|p| p.why_missing.is_some())
            .count();
        let hidden = self
            .probes
            .iter()
            .any(|p| p.at_worst != p.both.map(|(b, c)| c - b));
        let bound = if hidden && self.suite.goal == Goal::Keep {
            "; what the candidate left unscored counts as lost in the lower end"
        } else {
            ""
        };
        (affected > 0).then(|| {
            let why = some_of(&self.missing_by_reason(), 3, "; ");
            Verdict::note_of_unscored(&self.suite.name, affected, &(why + bound))
        })
    }

    pub(super) fn not_measured(&self, rules: &Rules) -> SuiteVerdict {
        let probes: Vec<&ProbeMeans> = self.probes.iter().collect();
        let keep = self.suite.goal == Goal::Keep;
        SuiteVerdict {
            suite: self.suite.name.clone(),
            goal: self.suite.goal,
            state: SuiteState::NotMeasured,
            estimate: estimate(&probes, rules.interval_level()),
            margin: keep.then(|| self.suite.margin.unwrap_or(rules.suite_margin)),
            target: (!keep).then(|| self.suite.target.unwrap_or(rules.target)),
            p_loss: None,
            smallest_provable_loss: None,
            reasons: self.problem.iter().cloned().collect(),
            spread: None,
        }
    }

    /// The candidate's mean, the target, and whether it is reached.
    fn progress(&self, rules: &Rules) -> (f64, f64, bool) {
        let target = self.suite.target.unwrap_or(rules.target);
        let candidate = mean(self.probes.iter().filter_map(|p| p.candidate)).unwrap_or(0.0);
        (candidate, target, candidate >= target - 1e-9)
    }

    /// `` `identity` 0.35 of a target of 0.70 ``, where a `learn` suite missed it.
    pub(super) fn missed(&self, rules: &Rules) -> Option<String> {
        let (candidate, target, reached) = self.progress(rules);
        let missed = self.suite.goal == Goal::Learn && self.problem.is_none() && !reached;
        missed.then(|| {
            let (got, wanted) = (score(candidate), score(target));
            format!("`{}` {got} of a target of {wanted}", self.suite.name)
        })
    }

    pub(super) fn learned(&self, rules: &Rules) -> SuiteVerdict {
        let (candidate, target, reached) = self.progress(rules);
        let probes: Vec<&ProbeMeans> = self.probes.iter().collect();
        let base = match mean(self.probes.iter().filter_map(|p| p.base)) {
            Some(base) => format!(", the base {}", score(base)),
            None => String::new(),
        };
        SuiteVerdict {
            suite: self.suite.name.clone(),
            goal: Goal::Learn,
            state: if reached {
                SuiteState::Reached
            } else {
                SuiteState::Missed
            },
            estimate: estimate(&probes, rules.interval_level()),
            margin: None,
            target: Some(target),
            p_loss: None,
            smallest_provable_loss: None,
            reasons: vec![format!(
                "{} {} the target of {}{base}",
                score(candidate),
                if reached { "reaches" } else { "is below" },
                score(target),
            )],
            spread: None,
        }
    }
}
