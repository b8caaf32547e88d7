//! One suite by its own test, or all of them pooled: how often is a loss proven, and excluded?
//!
//! It is tested at the level that it has before any other loss is proven, so a proof elsewhere can
//! only make it likelier to be found than is said here.

use std::num::NonZero;
use std::thread;

use super::answers::{GRID, Histogram, Seen, Source, broken, least_common_multiple, mean_of};
use super::memo::Memo;
use super::model::SuiteModel;
use crate::gate::rule::Kind;
use crate::gate::rules::Rules;
use crate::random::{Philox, Purpose};

/// Twenty times as many probes are no advice to anyone.
const MOST_TIMES: usize = 20;

/// Suites that are judged as one group.
#[derive(Debug, Clone)]
pub(super) struct GroupModel {
    pub(super) kind: Kind,
    pub(super) suites: Vec<SuiteModel>,
    pub(super) margin: f64,
    /// The level at which a loss is tested.
    pub(super) level: f64,
}

/// Shares of all comparisons.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct GroupRates {
    /// Regression.
    pub(super) alarms: f64,
    /// Pass.
    pub(super) passes: f64,
}

impl GroupModel {
    pub(super) fn probes(&self) -> usize {
        self.suites.iter().map(SuiteModel::probes).sum()
    }

    /// Mean score of the base: no larger loss is possible.
    pub(super) fn can_lose(&self) -> f64 {
        mean_of(&self.suites)
    }

    /// What the rule says where its mean is truly lower by `loss`.
    pub(super) fn rates(
        &self,
        loss: f64,
        rules: &Rules,
        comparisons: u64,
        seed: u64,
    ) -> GroupRates {
        self.shares(loss, rules, comparisons, seed, true)
    }

    /// How often a loss is a regression.
    fn alarms(&self, loss: f64, rules: &Rules, comparisons: u64, seed: u64) -> f64 {
        self.shares(loss, rules, comparisons, seed, false).alarms
    }

    fn shares(
        &self,
        loss: f64,
        rules: &Rules,
        comparisons: u64,
        seed: u64,
        passes: bool,
    ) -> GroupRates {
        let broken = broken(&self.suites, loss);
        let sources: Vec<Source> = self.suites.iter().map(|s| Source::new(s, broken)).collect();
        let threads = thread::available_parallelism().map_or(1, NonZero::get) as u64;
        let threads = threads.min(comparisons.max(1));
        let part = |first: u64| {
            let which = (first..comparisons).step_by(threads as usize);
            self.count(&sources, rules, which, seed, passes)
        };
        let (alarms, passes) = thread::scope(|scope| {
            let part = &part;
            let parts: Vec<_> = (0..threads).map(|t| scope.spawn(move || part(t))).collect();
            parts
                .into_iter()
                .fold((0, 0), |(alarms, passes), part| match part.join() {
                    Ok((a, p)) => (alarms + a, passes + p),
                    Err(panic) => std::panic::resume_unwind(panic),
                })
        });
        GroupRates {
            alarms: alarms as f64 / comparisons.max(1) as f64,
            passes: passes as f64 / comparisons.max(1) as f64,
        }
    }

    fn count(
        &self,
        sources: &[Source],
        rules: &Rules,
        which: impl Iterator<Item = u64>,
        seed: u64,
        with_passes: bool,
    ) -> (u64, u64) {
        let unit = sources
            .iter()
            .fold(1, |unit, source| least_common_multiple(unit, source.unit()));
        let unit = if GRID % unit == 0 { unit } else { GRID };
        let mut pooled = (Histogram::new(unit), Histogram::new(unit));
        let mut seen: Vec<Seen> = sources.iter().map(Source::nothing).collect();
        let mut memo = Memo::default();
        let (mut alarms, mut passes) = (0, 0);
        for i in which {
            let mut dice = Philox::new(seed).draws(Purpose::Simulation, i);
            pooled.0.clear();
            pooled.1.clear();
            for (source, seen) in sources.iter().zip(&mut seen) {
                let mut asking = source.ask(&mut dice);
                source.look(&mut asking, None, None, &mut dice, seen);
                pooled.0.add_all(&seen.differences);
                pooled.1.add_all(&seen.at_worst);
            }
            let at_worst = with_passes.then_some(&pooled.1);
            let evidence = memo.evidence(self.kind, &pooled.0, at_worst, self.margin, rules);
            match evidence.is_loss(evidence.p_loss <= self.level) {
                true => alarms += 1,
                false => passes += u64::from(evidence.excluded),
            }
        }
        (alarms, passes)
    }

    fn resized(&self, probes: usize) -> Self {
        let before = self.probes().max(1);
        let resize = |s: &SuiteModel| s.resized((s.probes() * probes).div_ceil(before));
        GroupModel {
            suites: self.suites.iter().map(resize).collect(),
            ..self.clone()
        }
    }

    /// How many probes more find a loss in this share of comparisons, to two digits; `None` where
    /// twenty times as many do not.
    pub(super) fn more_to_find(
        &self,
        loss: f64,
        share: f64,
        rules: &Rules,
        comparisons: u64,
        seed: u64,
    ) -> Option<usize> {
        let now = self.probes();
        let enough = |more: usize| {
            let larger = self.resized(now + more);
            larger.alarms(loss, rules, comparisons, seed) >= share
        };
        let mut high = now.div_ceil(8).max(4);
        let most = now.saturating_mul(MOST_TIMES).max(400);
        let mut low = 0;
        while !enough(high) {
            low = high;
            high *= 2;
            if high > most {
                return None;
            }
        }
        while high - low > (high / 25).max(1) {
            let middle = low + (high - low) / 2;
            match enough(middle) {
                true => high = middle,
                false => low = middle,
            }
        }
        Some(two_digits(high))
    }
}

/// Two digits are all that an extrapolation is worth.
pub(super) fn two_digits(probes: usize) -> usize {
    let step = 10usize.pow(probes.max(1).ilog10().saturating_sub(1));
    probes.div_ceil(step) * step
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(probes: usize, rate: f64, correlation: f64) -> GroupModel {
        GroupModel {
            kind: Kind::Suite,
            suites: vec![SuiteModel::alike("code", probes, rate, correlation)],
            margin: 0.15,
            level: 0.02,
        }
    }

    // Without noise a loss of 0.1 is Bin(100, 0.1) losses and no gain: proven from 6 losses on
    // (2^-6 < 0.02), a regression from 7.5 points on: P(Bin(100, 0.1) >= 8) = 0.79395,
    // scipy.stats.binom.sf(7, 100, 0.1). Excluded up to the losses k with
    // P(Bin(100, 0.15) <= k) < 0.05, k = 8: P(Bin(100, 0.05) <= 7), passes below that.
    #[test]
    fn matches_a_binomial_where_only_losses_are() {
        let rates = group(100, 1.0, 1.0).rates(0.1, &Rules::default(), 20_000, 1);
        assert!((rates.alarms - 0.79395).abs() < 0.012, "{rates:?}");
        let rates = group(100, 1.0, 1.0).rates(0.05, &Rules::default(), 20_000, 1);
        // scipy.stats.binom.cdf(7, 100, 0.05)
        assert!((rates.passes - 0.87204).abs() < 0.01, "{rates:?}");
    }

    #[test]
    fn so_many_more_probes_are_enough_and_not_much_too_many() {
        let group = group(60, 0.8, 0.9);
        let rules = Rules::default();
        let more = group.more_to_find(0.1, 0.8, &rules, 2000, 1).unwrap();
        let share = |probes| group.resized(probes).rates(0.1, &rules, 4000, 2).alarms;
        assert!(share(60 + more) > 0.76, "{more}: {}", share(60 + more));
        assert!(share(60 + more / 3) < 0.8, "{more}");
        assert_eq!(
            group.more_to_find(0.02, 0.8, &rules, 200, 1),
            None,
            "below half the margin"
        );
    }
}
