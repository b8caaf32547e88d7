//! A `keep` suite, or all of them pooled: its tests, its state, and the sentence that explains it.

use super::estimate::estimate;
use super::interval::p_not_worse;
use super::permutation::sign_flip;
use super::power::{probes_like_these, probes_to_pass, probes_to_prove, smallest_margin};
use super::reduce::ProbeMeans;
use super::rules::Rules;
use super::wording::{p_value, score};
use crate::flow::{Estimate, Goal, SuiteState, SuiteVerdict};
use crate::text::plural;

/// A `keep` suite, or all of them pooled, on its way to a verdict.
pub(super) struct Comparison {
    name: String,
    margin: f64,
    estimate: Option<Estimate>,
    differences: Vec<f64>,
    at_worst: Vec<f64>,
    pub(super) p_loss: f64,
    excluded: bool,
    pub(super) state: SuiteState,
    pub(super) reasons: Vec<String>,
}

impl Comparison {
    pub(super) fn new(name: &str, probes: &[&ProbeMeans], margin: f64, rules: &Rules) -> Self {
        let differences: Vec<f64> = probes
            .iter()
            .filter_map(|p| p.both)
            .map(|(base, candidate)| candidate - base)
            .collect();
        let at_worst: Vec<f64> = probes.iter().filter_map(|p| p.at_worst).collect();
        Comparison {
            name: name.to_string(),
            margin,
            estimate: estimate(probes, rules.pass_level()),
            p_loss: sign_flip(&differences),
            excluded: p_not_worse(&at_worst, margin) < rules.pass_level(),
            differences,
            at_worst,
            state: SuiteState::Inconclusive,
            reasons: Vec::new(),
        }
    }

    pub(super) fn n(&self) -> usize {
        self.differences.len()
    }

    pub(super) fn mean(&self) -> f64 {
        self.estimate.as_ref().map_or(0.0, |e| e.difference)
    }

    pub(super) fn label(&self) -> String {
        if self.name == "pooled" {
            "all `keep` suites".into()
        } else {
            format!("`{}`", self.name)
        }
    }

    pub(super) fn proven_loss(&self) -> String {
        let base = self.estimate.as_ref().map_or(0.0, |e| e.base_mean);
        let (lost, p) = (score(-self.mean()), p_value(self.p_loss));
        format!("{} lost {lost} of {} ({p})", self.label(), score(base))
    }

    /// `proven`: the sign-flip test rejected at `level`.
    pub(super) fn decide(&mut self, proven: bool, level: f64, rules: &Rules) {
        let half_margin = -self.mean() >= self.margin / 2.0 - 1e-9;
        self.state = match (proven && half_margin, self.excluded) {
            (true, _) => SuiteState::Regression,
            (false, true) => SuiteState::Pass,
            (false, false) => SuiteState::Inconclusive,
        };
        self.reasons = vec![match self.state {
            SuiteState::Regression => self.proven_loss(),
            SuiteState::Pass => self.excluded_loss(),
            _ => self.open_question(level, rules),
        }];
    }

    fn lower(&self) -> f64 {
        self.estimate.as_ref().map_or(-1.0, |e| e.lower)
    }

    fn excluded_loss(&self) -> String {
        format!(
            "a loss of {} is excluded ({}, difference {}, at worst {})",
            score(self.margin),
            plural(self.n(), "probe"),
            signed(self.mean()),
            signed(self.lower()),
        )
    }

    fn open_question(&self, level: f64, rules: &Rules) -> String {
        if self.n() == 0 {
            return "no probe was scored by both base and candidate".into();
        }
        let pass_level = rules.pass_level();
        let what = format!(
            "a loss of {} is not excluded and the margin is {} ({}, difference {})",
            score(-self.lower()),
            score(self.margin),
            plural(self.n(), "probe"),
            signed(self.mean()),
        );
        let fewest = probes_to_pass(self.margin, pass_level, 0).unwrap_or(usize::MAX);
        let like_these = probes_like_these(&self.at_worst, self.margin, pass_level);
        let way_out = if let Some(needed) = like_these {
            let at_best = if fewest > self.n() {
                let best = smallest_margin(self.n(), pass_level);
                format!("so few can exclude {} at best; ", score(best))
            } else {
                String::new()
            };
            let needed = plural(round_up(needed.max(fewest)), "probe");
            format!("{at_best}about {needed} like these would exclude it")
        } else if -self.mean() >= self.margin / 2.0
            && let Some(needed) = probes_to_prove(&self.differences, level)
        {
            let p = p_value(self.p_loss);
            // Many suites share one budget of false alarms.
            let level = p_value(level).replace('=', "<");
            format!(
                "the observed loss is not proven ({p}, and {level} would prove it); about {} like these would decide, \
                 or more draws of each",
                plural(round_up(needed), "probe")
            )
        } else {
            "the probes that changed leave too much open; more draws of each would sharpen them"
                .into()
        };
        format!("{what}; {way_out}")
    }

    /// A loss that is proven and yet no regression.
    pub(super) fn note(&self, proven: bool) -> Option<String> {
        (proven && self.state != SuiteState::Regression).then(|| {
            format!(
                "{}: a proven loss, below half the margin of {}",
                self.proven_loss(),
                score(self.margin)
            )
        })
    }

    pub(super) fn into_verdict(self, rules: &Rules) -> SuiteVerdict {
        let n = self.n();
        SuiteVerdict {
            suite: self.name,
            goal: Goal::Keep,
            state: self.state,
            estimate: self.estimate,
            margin: Some(self.margin),
            target: None,
            p_loss: (n > 0).then_some(self.p_loss),
            smallest_provable_loss: (n > 0).then(|| smallest_margin(n, rules.pass_level())),
            reasons: self.reasons,
        }
    }
}

fn signed(difference: f64) -> String {
    let text = score(difference);
    if difference > 0.0 && !text.trim_matches(['0', '.']).is_empty() {
        format!("+{text}")
    } else {
        text
    }
}

/// Two digits are all that an extrapolation is worth.
fn round_up(probes: usize) -> usize {
    let step = 10usize.pow(probes.max(1).ilog10().saturating_sub(1));
    probes.div_ceil(step) * step
}
