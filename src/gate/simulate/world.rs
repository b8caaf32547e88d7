//! Many comparisons of which the truth is known, and what the rule said of them.

use std::num::NonZero;
use std::thread;

use super::answers::{
    Asking, GRID, Histogram, Seen, Source, Together, broken, least_common_multiple,
};
use super::memo::Memo;
use super::model::SuiteModel;
use super::rates::threshold;
use crate::flow::{Decision, SuiteState};
use crate::gate::power::critical_drop;
use crate::gate::rule::{Beside, Evidence, Kind, rule};
use crate::gate::rules::Rules;
use crate::gate::sequence::Look;
use crate::random::{Draws, Philox, Purpose};

/// What is simulated: suites, how they are judged, and how often.
#[derive(Debug, Clone, PartialEq)]
pub struct World {
    /// The `keep` suites.
    pub suites: Vec<SuiteModel>,
    /// How a comparison is judged; its look and `chosen_from` are those of `looks`.
    pub rules: Rules,
    /// 1: one gate. More: so many looks at the checkpoints of a run, then the gate of the one that
    /// was chosen.
    pub looks: usize,
    /// Share of the candidate's answers that stay from one look to the next, in [0, 1]. 0 makes
    /// false alarms and lucky picks likeliest.
    pub kept: f64,
    /// Groups of probes that change together; `None`: each by itself, as the rule takes it.
    pub together: Option<Together>,
}

/// What is true of the candidate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Truth {
    /// It answers as the base would answer again.
    Harmless,
    /// The pooled mean is lower by so much, from the first look on: in every suite the same share of
    /// probes breaks.
    Loss(f64),
}

/// What the rule said, counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// Comparisons, each a run of all its looks.
    pub comparisons: u64,
    /// A regression at some look, or at the gate of the run's last checkpoint.
    pub run_alarms: u64,
    /// A regression at the gate of the run's last checkpoint; of one gate, at that.
    pub final_alarms: u64,
    /// The first look: pass.
    pub first_passes: u64,
    /// The first look: regression.
    pub first_alarms: u64,
    /// The pooled score was a regression at some look.
    pub pooled_alarms: u64,
    /// Each suite was a regression at some look.
    pub suite_alarms: Vec<u64>,
    /// A critical probe was a regression at some look.
    pub critical_alarms: u64,
    /// The checkpoint with the highest pooled mean passed the final gate.
    pub picked_passes: u64,
    /// A suite could not be measured at the first look.
    pub not_measured: u64,
}

impl Counts {
    fn new(suites: usize) -> Self {
        Counts {
            suite_alarms: vec![0; suites],
            ..Counts::default()
        }
    }

    fn add(&mut self, other: &Counts) {
        self.comparisons += other.comparisons;
        self.run_alarms += other.run_alarms;
        self.final_alarms += other.final_alarms;
        self.first_passes += other.first_passes;
        self.first_alarms += other.first_alarms;
        self.pooled_alarms += other.pooled_alarms;
        for (own, more) in self.suite_alarms.iter_mut().zip(&other.suite_alarms) {
            *own += more;
        }
        self.critical_alarms += other.critical_alarms;
        self.picked_passes += other.picked_passes;
        self.not_measured += other.not_measured;
    }

    /// A count as a share of all comparisons.
    pub fn share(&self, count: u64) -> f64 {
        count as f64 / self.comparisons.max(1) as f64
    }
}

impl World {
    /// One gate of these suites.
    pub fn of(suites: Vec<SuiteModel>, rules: Rules) -> Self {
        World {
            suites,
            rules,
            looks: 1,
            kept: 0.0,
            together: None,
        }
    }

    /// Judges `comparisons` of them, drawn by `seed`.
    pub fn simulate(&self, truth: Truth, comparisons: u64, seed: u64) -> Counts {
        let threads = thread::available_parallelism().map_or(1, NonZero::get) as u64;
        self.simulate_in(threads.min(comparisons.max(1)), truth, comparisons, seed)
    }

    fn simulate_in(&self, threads: u64, truth: Truth, comparisons: u64, seed: u64) -> Counts {
        let share = match truth {
            Truth::Harmless => 0.0,
            Truth::Loss(loss) => broken(&self.suites, loss),
        };
        let sources: Vec<Source> = self
            .suites
            .iter()
            .map(|suite| Source::new(suite, share))
            .collect();
        let part = |first: u64| {
            let mut table = Table::new(self, &sources);
            for i in (first..comparisons).step_by(threads as usize) {
                table.play(&mut Philox::new(seed).draws(Purpose::Simulation, i));
            }
            table.counts
        };
        let mut all = Counts::new(self.suites.len());
        if threads <= 1 {
            all.add(&part(0));
            return all;
        }
        thread::scope(|scope| {
            let part = &part;
            let parts: Vec<_> = (0..threads)
                .map(|first| scope.spawn(move || part(first)))
                .collect();
            for part in parts {
                match part.join() {
                    Ok(counts) => all.add(&counts),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
        all
    }

    /// The rules of each look, then of the gate at the end of the run.
    fn looks(&self) -> (Vec<Rules>, Rules) {
        let rules = |look, chosen_from| Rules {
            look,
            chosen_from,
            ..self.rules.clone()
        };
        if self.looks <= 1 {
            return (vec![rules(Look::Single, 1)], rules(Look::Single, 1));
        }
        let each = (1..=self.looks).map(|index| {
            let planned = Some(self.looks);
            rules(Look::Checkpoint { index, planned }, self.looks)
        });
        (each.collect(), rules(Look::Final, self.looks))
    }
}

/// What one thread works with, used again for every comparison.
struct Table<'a> {
    world: &'a World,
    sources: &'a [Source<'a>],
    looks: Vec<Rules>,
    last: Rules,
    memo: Memo,
    seen: Vec<Seen>,
    pooled: (Histogram, Histogram),
    counts: Counts,
}

/// One look, judged.
struct Judged {
    decision: Decision,
    pooled: SuiteState,
    suites: Vec<(usize, SuiteState)>,
    critical: bool,
    not_measured: bool,
    mean: f64,
}

impl<'a> Table<'a> {
    fn new(world: &'a World, sources: &'a [Source<'a>]) -> Self {
        let unit = sources
            .iter()
            .fold(1, |unit, source| least_common_multiple(unit, source.unit()));
        let unit = if GRID % unit == 0 { unit } else { GRID };
        let (looks, last) = world.looks();
        Table {
            world,
            sources,
            looks,
            last,
            memo: Memo::default(),
            seen: sources.iter().map(Source::nothing).collect(),
            pooled: (Histogram::new(unit), Histogram::new(unit)),
            counts: Counts::new(sources.len()),
        }
    }

    /// One run: all its looks, and the gate at its end.
    fn play(&mut self, dice: &mut Draws) {
        let mut asking: Vec<Asking> = self.sources.iter().map(|s| s.ask(dice)).collect();
        let kept = threshold(self.world.kept);
        let looks = self.looks.len();
        let mut run_alarm = false;
        let mut pooled_alarm = false;
        let mut critical_alarm = false;
        let mut suite_alarms = vec![false; self.sources.len()];
        let mut best: Option<(f64, Vec<Seen>)> = None;
        for look in 0..looks {
            let kept = (look > 0 && kept > 0).then_some(kept);
            for ((source, asking), seen) in self.sources.iter().zip(&mut asking).zip(&mut self.seen)
            {
                source.look(asking, kept, self.world.together, dice, seen);
            }
            let rules = self.looks[look].clone();
            let judged = self.judge(&rules, look == 0);
            let red = |state| state == SuiteState::Regression;
            run_alarm |= judged.decision == Decision::Regression;
            pooled_alarm |= red(judged.pooled);
            critical_alarm |= judged.critical;
            for (suite, state) in judged.suites {
                suite_alarms[suite] |= red(state);
            }
            if look == 0 {
                self.counts.not_measured += u64::from(judged.not_measured);
                self.counts.first_passes += u64::from(judged.decision == Decision::Pass);
                self.counts.first_alarms += u64::from(judged.decision == Decision::Regression);
            }
            if looks > 1 && best.as_ref().is_none_or(|(mean, _)| judged.mean > *mean) {
                best = Some((judged.mean, self.seen.clone()));
            }
            if looks == 1 {
                self.counts.picked_passes += u64::from(judged.decision == Decision::Pass);
                self.counts.final_alarms += u64::from(judged.decision == Decision::Regression);
            }
        }
        if let Some((_, best)) = best {
            let last = self.last.clone();
            // Its answers are on record: the gate judges the same ones again.
            let alarm = self.judge(&last, false).decision == Decision::Regression;
            self.counts.final_alarms += u64::from(alarm);
            run_alarm |= alarm;
            self.seen = best;
            let passed = self.judge(&last, true).decision == Decision::Pass;
            self.counts.picked_passes += u64::from(passed);
        }
        self.counts.comparisons += 1;
        self.counts.run_alarms += u64::from(run_alarm);
        self.counts.pooled_alarms += u64::from(pooled_alarm);
        self.counts.critical_alarms += u64::from(critical_alarm);
        for (count, alarm) in self.counts.suite_alarms.iter_mut().zip(suite_alarms) {
            *count += u64::from(alarm);
        }
    }

    /// As [`crate::gate::decide()`] does, from counts; without `passes` an open question and a pass
    /// are not told apart.
    fn judge(&mut self, rules: &Rules, passes: bool) -> Judged {
        let scored =
            |seen: &Seen| seen.missing <= rules.max_unscored_share && seen.differences.len() > 0;
        let measured: Vec<usize> = (0..self.seen.len())
            .filter(|&i| scored(&self.seen[i]))
            .collect();
        self.pooled.0.clear();
        self.pooled.1.clear();
        for &i in &measured {
            self.pooled.0.add_all(&self.seen[i].differences);
            self.pooled.1.add_all(&self.seen[i].at_worst);
        }
        let (differences, at_worst) = (&self.pooled.0, passes.then_some(&self.pooled.1));
        let mut groups: Vec<Evidence> =
            vec![
                self.memo
                    .evidence(Kind::Pooled, differences, at_worst, rules.margin, rules),
            ];
        for &i in &measured {
            let (seen, margin) = (&self.seen[i], self.world.suites[i].margin(rules));
            let (differences, at_worst) = (&seen.differences, passes.then_some(&seen.at_worst));
            groups.push(
                self.memo
                    .evidence(Kind::Suite, differences, at_worst, margin, rules),
            );
        }
        groups.push(Evidence::silent_signs());
        let (proven, lost) = self.critical(&measured, rules);
        let not_measured = measured.len() < self.seen.len();
        let beside = Beside {
            critical_proven: proven,
            critical_lost: lost,
            not_measured,
        };
        let (ruled, decision) = rule(&groups, beside, rules);
        Judged {
            decision,
            pooled: ruled[0].state,
            suites: measured
                .into_iter()
                .zip(ruled[1..].iter().map(|r| r.state))
                .collect(),
            critical: proven,
            not_measured,
            mean: groups[0].mean,
        }
    }

    /// Whether the loss of a critical probe is proven, and whether one is lost.
    fn critical(&self, measured: &[usize], rules: &Rules) -> (bool, bool) {
        let all = || measured.iter().flat_map(|&i| &self.seen[i].critical);
        let count = all().count();
        let (mut proven, mut lost) = (false, false);
        for &(base, candidate, draws) in all() {
            if base <= candidate {
                continue;
            }
            lost |= base == draws && candidate == 0;
            proven |= critical_drop(draws, count, rules.critical_budget())
                .is_some_and(|needed| base - candidate >= needed);
        }
        (proven, lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(probes: usize) -> World {
        let suites = ["a", "b"].map(|name| SuiteModel::alike(name, probes, 0.7, 0.8));
        World::of(suites.to_vec(), Rules::default())
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let mut world = world(40);
        world.looks = 3;
        let one = world.simulate_in(1, Truth::Loss(0.1), 60, 9);
        assert_eq!(world.simulate_in(4, Truth::Loss(0.1), 60, 9), one);
        assert_eq!(one.comparisons, 60);
        assert_ne!(
            world.simulate_in(1, Truth::Loss(0.1), 60, 10),
            one,
            "the seed decides"
        );
    }

    #[test]
    fn a_large_loss_is_found_and_none_is_not() {
        let world = world(120);
        let harmed = world.simulate(Truth::Loss(0.2), 300, 1);
        assert!(harmed.share(harmed.first_alarms) > 0.99, "{harmed:?}");
        let harmless = world.simulate(Truth::Harmless, 2000, 1);
        assert!(harmless.share(harmless.run_alarms) <= 0.05, "{harmless:?}");
        assert_eq!(
            harmless.first_alarms, harmless.final_alarms,
            "there is one look"
        );
    }

    #[test]
    fn the_best_of_a_run_passes_no_more_often_than_it_may() {
        let mut world = world(100);
        world.looks = 10;
        let at_the_margin = world.simulate(Truth::Loss(0.03), 1000, 2);
        assert!(
            at_the_margin.share(at_the_margin.picked_passes) <= 0.05,
            "{at_the_margin:?}"
        );
    }

    #[test]
    fn suites_with_too_few_scores_are_not_measured_and_nothing_passes() {
        let mut world = world(100);
        world.suites[0].unscored = 0.2;
        let counts = world.simulate(Truth::Harmless, 100, 3);
        assert!(
            counts.not_measured > 95 && counts.first_passes == 0,
            "{counts:?}"
        );
    }

    #[test]
    fn a_critical_probe_that_breaks_alarms() {
        let mut world = world(60);
        world.suites[0].parts[0].answers = super::super::model::Answers::Drawn(8);
        world.suites[0].rate = 0.95;
        world.suites[0].critical = 1;
        let broken = world.simulate(Truth::Loss(0.95), 100, 4);
        assert!(broken.critical_alarms > 80, "{broken:?}");
        let harmless = world.simulate(Truth::Harmless, 1000, 4);
        assert!(harmless.critical_alarms <= 10, "{harmless:?}");
    }

    /// The same counts by a program that shares no code with this one:
    /// `fixtures/reference/simulate_ref.py write`.
    #[test]
    fn matches_the_reference() {
        let text = include_str!("../../../fixtures/expected/simulation.json");
        let expected: serde_json::Value = serde_json::from_str(text).unwrap();
        for cell in expected["cells"].as_array().unwrap() {
            let number = |key: &str| cell[key].as_f64().unwrap();
            let count = |key: &str| cell[key].as_u64().unwrap() as usize;
            let suite = |i: usize| SuiteModel {
                unscored: number("unscored_each_side"),
                ..SuiteModel::alike(
                    &format!("s{i}"),
                    count("probes") / count("suites"),
                    number("rate"),
                    number("correlation"),
                )
            };
            let rules = Rules {
                max_unscored_share: number("max_unscored"),
                ..Rules::default()
            };
            let world = World {
                looks: count("looks"),
                ..World::of((0..count("suites")).map(suite).collect(), rules)
            };
            let truth = match number("loss") {
                0.0 => Truth::Harmless,
                loss => Truth::Loss(loss),
            };
            let comparisons = if world.looks > 1 { 1000 } else { 4000 };
            let counts = world.simulate(truth, comparisons, 1);
            for (key, got) in [
                ("first_alarms", counts.first_alarms),
                ("first_passes", counts.first_passes),
                ("run_alarms", counts.run_alarms),
                ("final_alarms", counts.final_alarms),
                ("picked_passes", counts.picked_passes),
            ] {
                let (wanted, got) = (cell["shares"][key].as_f64().unwrap(), counts.share(got));
                let own = wanted * (1.0 - wanted) / comparisons as f64;
                let error = (own + cell["errors"][key].as_f64().unwrap().powi(2)).sqrt();
                // Of 55 shares none is four standard errors off by chance; one in a thousand is a
                // single comparison.
                let most = 4.0 * error + 1.0 / comparisons as f64;
                assert!(
                    (got - wanted).abs() <= most,
                    "{key} {got} for {wanted}: {cell}"
                );
            }
        }
    }
}
