//! A `keep` suite, or all of them pooled: its tests, its state, and the sentence that explains it.

use super::estimate::estimate;
use super::power::{probes_like_these, probes_to_pass, probes_to_prove, smallest_margin};
use super::reduce::ProbeMeans;
use super::rule::{Evidence, Kind, Ruled};
use super::rules::Rules;
use super::wording::{p_value, score};
use crate::flow::{Alike, Estimate, Goal, Spread, SuiteState, SuiteVerdict};
use crate::text::plural;

/// The probes of a `keep` suite, or of all of them, and what they say.
pub(super) struct Group<'a> {
    name: &'a str,
    probes: Vec<&'a ProbeMeans>,
    differences: Vec<f64>,
    at_worst: Vec<f64>,
    pub(super) evidence: Evidence,
    spread: Option<Spread>,
}

impl<'a> Group<'a> {
    pub(super) fn new(
        kind: Kind,
        name: &'a str,
        probes: Vec<&'a ProbeMeans>,
        margin: f64,
        rules: &Rules,
    ) -> Self {
        let differences: Vec<f64> = probes
            .iter()
            .filter_map(|p| p.both)
            .map(|(base, candidate)| candidate - base)
            .collect();
        let at_worst: Vec<f64> = probes.iter().filter_map(|p| p.at_worst).collect();
        Group {
            evidence: Evidence::of(kind, &differences, &at_worst, margin, rules),
            name,
            probes,
            differences,
            at_worst,
            spread: None,
        }
    }

    /// The same with what is known of which differences move together.
    pub(super) fn with_spread(self, spread: Option<Spread>) -> Self {
        Group { spread, ..self }
    }
}

/// A group that was judged, with what a reader wants to know of it.
pub(super) struct Comparison<'a> {
    group: Group<'a>,
    ruled: Ruled,
    estimate: Option<Estimate>,
    reason: String,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(group: Group<'a>, ruled: Ruled, rules: &Rules) -> Self {
        let mut comparison = Comparison {
            estimate: estimate(&group.probes, rules.interval_level()),
            group,
            ruled,
            reason: String::new(),
        };
        comparison.reason = match ruled.state {
            SuiteState::Regression => comparison.proven_loss(),
            SuiteState::Pass => comparison.excluded_loss(),
            _ => comparison.open_question(ruled.test.level, rules),
        };
        comparison
    }

    fn n(&self) -> usize {
        self.group.evidence.probes
    }

    pub(super) fn mean(&self) -> f64 {
        self.group.evidence.mean
    }

    pub(super) fn is_regression(&self) -> bool {
        self.ruled.state == SuiteState::Regression
    }

    /// `` `code`: a loss of 0.05 is excluded ``.
    pub(super) fn explained(&self) -> String {
        format!("{}: {}", self.label(), self.reason)
    }

    /// What is open here and leaves the whole comparison open.
    pub(super) fn open(&self) -> Option<String> {
        self.ruled.open.then(|| self.explained())
    }

    fn label(&self) -> String {
        match self.group.evidence.kind {
            Kind::Pooled => "all `keep` suites".into(),
            Kind::Suite | Kind::Sign => format!("`{}`", self.group.name),
        }
    }

    pub(super) fn proven_loss(&self) -> String {
        let base = self.estimate.as_ref().map_or(0.0, |e| e.base_mean);
        let p = p_value(self.group.evidence.p_loss);
        let lost = score(-self.mean());
        format!("{} lost {lost} of {} ({p})", self.label(), score(base))
    }

    fn lower(&self) -> f64 {
        self.estimate.as_ref().map_or(-1.0, |e| e.lower)
    }

    fn excluded_loss(&self) -> String {
        format!(
            "a loss of {} is excluded ({}, difference {}, at worst {})",
            score(self.group.evidence.margin),
            plural(self.n(), "probe"),
            signed(self.mean()),
            signed(self.lower()),
        )
    }

    fn open_question(&self, level: f64, rules: &Rules) -> String {
        if self.n() == 0 {
            return "no probe was scored by both base and candidate".into();
        }
        let pass_level = rules.interval_level();
        let what = format!(
            "a loss of {} is not excluded and the margin is {} ({}, difference {})",
            score(-self.lower()),
            score(self.group.evidence.margin),
            plural(self.n(), "probe"),
            signed(self.mean()),
        );
        let fewest =
            probes_to_pass(self.group.evidence.margin, pass_level, 0).unwrap_or(usize::MAX);
        let like_these =
            probes_like_these(&self.group.at_worst, self.group.evidence.margin, pass_level);
        let way_out = if let Some(needed) = like_these {
            let at_best = if fewest > self.n() {
                let best = smallest_margin(self.n(), pass_level);
                format!("so few can exclude {} at best; ", score(best))
            } else {
                String::new()
            };
            let needed = plural(round_up(self.worth(needed.max(fewest))), "probe");
            format!("{at_best}about {needed} like these would exclude it")
        } else if -self.mean() >= self.group.evidence.margin / 2.0
            && let Some(needed) = probes_to_prove(&self.group.differences, level)
        {
            let p = p_value(self.group.evidence.p_loss);
            // Many suites share one budget of false alarms.
            let level = p_value(level).replace('=', "<");
            format!(
                "the observed loss is not proven ({p}, and {level} would prove it); about {} like these would decide, \
                 or more draws of each",
                plural(round_up(self.worth(needed)), "probe")
            )
        } else {
            "the probes that changed leave too much open; more draws of each would sharpen them"
                .into()
        };
        match self.together() {
            Some(alike) => format!(
                "{what}; {way_out}; probes with a tag in common change together here, so {} are \
                 worth {:.0}",
                alike.values, alike.effective
            ),
            None => format!("{what}; {way_out}"),
        }
    }

    /// How alike the probes of a tag are, where that costs a third of them or more.
    fn together(&self) -> Option<Alike> {
        let tags = self.group.spread?.tags?;
        (tags.clear && tags.design_effect >= 1.5).then_some(tags)
    }

    /// Probes that are worth so many independent ones.
    fn worth(&self, independent: usize) -> usize {
        let effect = self.together().map_or(1.0, |alike| alike.design_effect);
        (independent as f64 * effect).ceil() as usize
    }

    /// A loss that is proven and yet no regression.
    pub(super) fn note(&self) -> Option<String> {
        (self.ruled.test.rejected && !self.is_regression()).then(|| {
            format!(
                "{}: a proven loss, below half the margin of {}",
                self.proven_loss(),
                score(self.group.evidence.margin)
            )
        })
    }

    pub(super) fn into_verdict(self, rules: &Rules) -> SuiteVerdict {
        let n = self.n();
        let evidence = self.group.evidence;
        SuiteVerdict {
            suite: self.group.name.to_owned(),
            goal: Goal::Keep,
            state: self.ruled.state,
            estimate: self.estimate,
            margin: Some(evidence.margin),
            target: None,
            p_loss: (n > 0).then_some(evidence.p_loss),
            smallest_provable_loss: (n > 0).then(|| smallest_margin(n, rules.interval_level())),
            reasons: vec![self.reason],
            spread: self.group.spread,
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
