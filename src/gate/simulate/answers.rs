//! One comparison's answers: the base's once, the candidate's anew at every look.

use super::model::{Answers, SuiteModel};
use super::rates::{Rates, threshold};
use crate::random::Draws;

/// Differences are counted in steps of this part of 1, the grid of the sign-flip test.
pub(super) const GRID: i64 = 240;

/// How many probes had which difference.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Histogram {
    /// Steps in 1.
    unit: i64,
    counts: Vec<u32>,
}

impl Histogram {
    pub(super) fn new(unit: i64) -> Self {
        Histogram {
            unit,
            counts: vec![0; 2 * unit as usize + 1],
        }
    }

    pub(super) fn clear(&mut self) {
        self.counts.fill(0);
    }

    fn add(&mut self, steps: i64) {
        self.counts[(steps + self.unit) as usize] += 1;
    }

    /// Adds all of another, whose unit divides this one's.
    pub(super) fn add_all(&mut self, other: &Histogram) {
        let times = self.unit / other.unit;
        for (steps, count) in other.present() {
            self.counts[(steps * times + self.unit) as usize] += count;
        }
    }

    /// Each difference that some probe had, in steps, with how many.
    pub(super) fn present(&self) -> impl Iterator<Item = (i64, u32)> {
        let counts = self.counts.iter().enumerate();
        counts
            .filter(|(_, count)| **count > 0)
            .map(|(i, &count)| (i as i64 - self.unit, count))
    }

    pub(super) fn unit(&self) -> i64 {
        self.unit
    }

    pub(super) fn len(&self) -> usize {
        self.counts.iter().map(|&count| count as usize).sum()
    }
}

/// The differences of one suite at one look.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// Of probes that both sides have a score for.
    pub(super) differences: Histogram,
    /// Of all that the base has a score for; what the candidate left unscored is lost.
    pub(super) at_worst: Histogram,
    /// Share of its probes that a side has no score for.
    pub(super) missing: f64,
    /// Passes of base and candidate, and draws, of each critical probe.
    pub(super) critical: Vec<(usize, usize, usize)>,
}

/// What all comparisons of a suite share.
pub(super) struct Source<'a> {
    model: &'a SuiteModel,
    rates: Rates,
    unit: i64,
    /// An answer repeats its subject's common one.
    repeats: u64,
    unscored: u64,
    /// A probe of which the candidate fails every answer.
    broken: u64,
}

/// One probe, as far as it stays from look to look.
struct Asked {
    draws: usize,
    rate: u64,
    /// Of draws, or in steps of the grid for a likelihood.
    base: i64,
    likelihood: bool,
    base_scored: bool,
    broken: bool,
    candidate: i64,
    candidate_scored: bool,
}

/// The probes of one suite in one comparison.
pub(super) struct Asking(Vec<Asked>);

/// Groups of probes whose differences lean to one side together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Together {
    /// Probes in a group, at least 1.
    pub size: usize,
    /// Correlation of the signs of two differences in one group, in [0, 1].
    pub correlation: f64,
}

impl<'a> Source<'a> {
    /// `broken`: share of its probes of which the candidate fails every answer.
    pub(super) fn new(model: &'a SuiteModel, broken: f64) -> Self {
        let unit = model.parts.iter().fold(1, |unit, part| match part.answers {
            Answers::Drawn(draws) => least_common_multiple(unit, draws as i64),
            Answers::Known(_) => GRID,
        });
        Source {
            rates: Rates::new(model.rate, model.correlation),
            unit: if GRID % unit == 0 { unit } else { GRID },
            repeats: threshold(model.within.clamp(0.0, 1.0).sqrt()),
            unscored: threshold(model.unscored),
            broken: threshold(broken),
            model,
        }
    }

    pub(super) fn unit(&self) -> i64 {
        self.unit
    }

    pub(super) fn nothing(&self) -> Seen {
        Seen {
            differences: Histogram::new(self.unit),
            at_worst: Histogram::new(self.unit),
            missing: 0.0,
            critical: Vec::new(),
        }
    }

    /// New probes, and the base's answers to them.
    pub(super) fn ask(&self, dice: &mut Draws) -> Asking {
        let mut asked = Vec::with_capacity(self.model.probes());
        for part in &self.model.parts {
            for _ in 0..part.probes {
                let broken = self.broken > 0 && u64::from(dice.word()) < self.broken;
                let base_scored = self.is_scored(dice);
                let mut probe = Asked {
                    draws: 1,
                    rate: 0,
                    base: 0,
                    likelihood: false,
                    base_scored,
                    broken,
                    candidate: 0,
                    candidate_scored: true,
                };
                match &part.answers {
                    Answers::Drawn(draws) => {
                        probe.draws = *draws;
                        probe.rate = self.rates.pick(dice.word());
                        probe.base = self.passes(&probe, dice);
                    }
                    Answers::Known(scores) => {
                        let score = scores[dice.below(scores.len() as u32) as usize];
                        probe.likelihood = true;
                        probe.base = (score * self.unit as f64).round() as i64;
                    }
                }
                asked.push(probe);
            }
        }
        Asking(asked)
    }

    /// The candidate's answers at one look. `kept`: an answer is the one of the look before.
    pub(super) fn look(
        &self,
        asking: &mut Asking,
        kept: Option<u64>,
        together: Option<Together>,
        dice: &mut Draws,
        seen: &mut Seen,
    ) {
        seen.differences.clear();
        seen.at_worst.clear();
        seen.critical.clear();
        let mut missing = 0usize;
        let aligned = together.map(|t| threshold(t.correlation.max(0.0).sqrt()));
        let mut falls = false;
        for (place, probe) in asking.0.iter_mut().enumerate() {
            let same = kept.is_some_and(|kept| u64::from(dice.word()) < kept);
            if !same {
                probe.candidate_scored = self.is_scored(dice);
                probe.candidate = match (probe.broken, probe.likelihood) {
                    (true, _) => 0,
                    (false, true) => probe.base,
                    (false, false) => self.passes(probe, dice),
                };
            }
            if !probe.base_scored || !probe.candidate_scored {
                missing += 1;
            }
            // Of a harmless candidate base and candidate may change places.
            let (mut base, mut candidate) = (probe.base, probe.candidate);
            if let (Some(together), Some(aligned)) = (together, aligned) {
                if place % together.size.max(1) == 0 {
                    falls = dice.word().is_multiple_of(2);
                }
                if !probe.broken && u64::from(dice.word()) < aligned && (candidate < base) != falls
                {
                    std::mem::swap(&mut base, &mut candidate);
                }
            }
            let steps = |answers: i64| match probe.likelihood {
                true => answers,
                false => answers * self.unit / probe.draws as i64,
            };
            let (base, candidate) = (steps(base), steps(candidate));
            if place < self.model.critical && probe.base_scored && probe.candidate_scored {
                let passes = |answers: i64, score: i64| match probe.likelihood {
                    true => usize::from(2 * score >= self.unit),
                    false => answers as usize,
                };
                let base = passes(probe.base, base);
                let candidate = passes(probe.candidate, candidate);
                seen.critical.push((base, candidate, probe.draws));
            }
            if !probe.base_scored {
                continue;
            }
            if probe.candidate_scored {
                seen.differences.add(candidate - base);
                seen.at_worst.add(candidate - base);
            } else {
                seen.at_worst.add(-base);
            }
        }
        seen.missing = missing as f64 / asking.0.len().max(1) as f64;
    }

    fn is_scored(&self, dice: &mut Draws) -> bool {
        self.unscored == 0 || u64::from(dice.word()) >= self.unscored
    }

    fn passes(&self, probe: &Asked, dice: &mut Draws) -> i64 {
        let mut answer = || i64::from(u64::from(dice.word()) < probe.rate);
        if probe.draws == 1 || self.repeats == 0 {
            return (0..probe.draws).map(|_| answer()).sum();
        }
        let common = i64::from(u64::from(dice.word()) < probe.rate);
        (0..probe.draws)
            .map(|_| match u64::from(dice.word()) < self.repeats {
                true => common,
                false => i64::from(u64::from(dice.word()) < probe.rate),
            })
            .sum()
    }
}

/// The share of probes that has to break for the mean over these suites to fall by `loss`; 1 where
/// they have less to lose.
pub(super) fn broken(suites: &[SuiteModel], loss: f64) -> f64 {
    match loss > 0.0 {
        true => (loss / mean_of(suites).max(1e-12)).min(1.0),
        false => 0.0,
    }
}

/// Mean score of the base over the probes of some suites.
pub(super) fn mean_of(suites: &[SuiteModel]) -> f64 {
    let probes: usize = suites.iter().map(SuiteModel::probes).sum();
    let sum: f64 = suites.iter().map(|s| s.mean() * s.probes() as f64).sum();
    sum / probes.max(1) as f64
}

pub(super) fn least_common_multiple(a: i64, b: i64) -> i64 {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    a / x * b
}

#[cfg(test)]
mod tests {
    use super::super::model::SuitePart;
    use super::*;
    use crate::random::{Philox, Purpose};

    /// Means over many comparisons: difference, its square, and the share of probes missing.
    fn moments(model: &SuiteModel, loss: f64, together: Option<Together>) -> (f64, f64, f64) {
        let source = Source::new(model, broken(std::slice::from_ref(model), loss));
        let mut seen = source.nothing();
        let (mut sum, mut square, mut missing, mut probes) = (0.0, 0.0, 0.0, 0.0);
        let comparisons = 400;
        for i in 0..comparisons {
            let mut dice = Philox::new(5).draws(Purpose::Simulation, i);
            let mut asking = source.ask(&mut dice);
            source.look(&mut asking, None, together, &mut dice, &mut seen);
            for (steps, count) in seen.differences.present() {
                let d = steps as f64 / source.unit() as f64;
                sum += d * f64::from(count);
                square += d * d * f64::from(count);
            }
            probes += seen.differences.len() as f64;
            missing += seen.missing;
        }
        (sum / probes, square / probes, missing / comparisons as f64)
    }

    #[test]
    fn a_harmless_candidate_changes_as_often_as_the_base() {
        let model = SuiteModel::alike("code", 200, 0.7, 0.6);
        let (mean, square, _) = moments(&model, 0.0, None);
        assert!(mean.abs() < 0.004, "{mean}");
        assert!(
            (square - model.flips()).abs() < 0.005,
            "{square} for {}",
            model.flips()
        );
    }

    #[test]
    fn several_wordings_sharpen_a_probe_unless_they_change_together() {
        let mut model = SuiteModel::alike("code", 200, 0.6, 0.5);
        model.parts[0].answers = Answers::Drawn(4);
        let (_, apart, _) = moments(&model, 0.0, None);
        assert!((apart - model.flips() / 4.0).abs() < 0.003, "{apart}");
        model.within = 0.5;
        let (_, half, _) = moments(&model, 0.0, None);
        // Variance of a mean of 4 with correlation 0.5: (1 + 3 x 0.5) / 4.
        assert!((half - model.flips() * 0.625).abs() < 0.006, "{half}");
    }

    #[test]
    fn a_loss_is_as_large_as_asked_for() {
        let mut model = SuiteModel::alike("code", 150, 0.6, 0.8);
        model.parts.push(SuitePart {
            probes: 50,
            answers: Answers::Known(vec![0.25, 0.75, 1.0]),
        });
        for loss in [0.03, 0.2] {
            let (mean, ..) = moments(&model, loss, None);
            assert!((mean + loss).abs() < 0.005, "{mean} for {loss}");
        }
    }

    #[test]
    fn unscored_answers_are_as_many_as_asked_for() {
        let mut model = SuiteModel::alike("code", 200, 0.7, 0.6);
        model.unscored = 0.05;
        let (mean, _, missing) = moments(&model, 0.0, None);
        assert!((missing - 0.0975).abs() < 0.005, "{missing}");
        assert!(mean.abs() < 0.004, "{mean}");
    }

    #[test]
    fn changes_that_lean_together_are_still_as_many() {
        let model = SuiteModel::alike("code", 200, 0.7, 0.6);
        let together = Together {
            size: 20,
            correlation: 0.8,
        };
        let (mean, square, _) = moments(&model, 0.0, Some(together));
        assert!(mean.abs() < 0.01, "{mean}");
        assert!((square - model.flips()).abs() < 0.006, "{square}");
    }
}
