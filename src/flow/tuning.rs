//! Settings that were tried, what each learned and kept, and which one was chosen: what `qeval tune`
//! shows, and what it keeps on disk.
//!
//! A setting is trained a rung at a time and looked at after each; a point is what a look saw of it
//! at one scale of its adapter. Looks choose and decide nothing.

use serde::{Deserialize, Serialize};

use super::{Estimate, ProbeId};

/// Layout of [`Tuning`] on disk.
pub const TUNING_VERSION: u32 = 1;

/// One setting of a training run. Number 1 is the configured one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TuneSetting {
    /// Its number, counted from 1.
    pub number: usize,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Rank.
    pub rank: usize,
    /// Alpha, by which alpha / rank stays as configured.
    pub alpha: f64,
    /// Which projections, in short: `all`, `mlp`, `attn`, `q,v`, or names.
    pub modules: String,
    /// Weight of rehearsal; `None` where nothing is rehearsed.
    pub rehearsal_weight: Option<f64>,
    /// Passes over the examples.
    pub num_train_epochs: f64,
    /// Optimizer steps of its whole run.
    pub steps: usize,
}

impl TuneSetting {
    /// `2.3e-4 r8 mlp w3 e2`: rate, rank, modules, weight of rehearsal, epochs.
    pub fn label(&self) -> String {
        let weight = self
            .rehearsal_weight
            .map_or(String::new(), |w| format!(" w{w}"));
        format!(
            "{:.1e} r{} {}{weight} e{}",
            self.learning_rate, self.rank, self.modules, self.num_train_epochs
        )
    }
}

/// A share of every setting's steps, after which the better settings go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TuneRung {
    /// Part of a setting's steps that are taken at its end, in (0, 1]; 1 for the last.
    pub share: f64,
    /// Most settings that take part.
    pub settings: usize,
    /// Most optimizer steps of all of them together.
    pub steps: usize,
    /// Probes that each is asked at its end, in one wording.
    pub probes: usize,
}

/// What tuning is going to do, known before it begins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TunePlan {
    /// What is tried, the configured setting first.
    pub settings: Vec<TuneSetting>,
    /// The rungs in order.
    pub rungs: Vec<TuneRung>,
    /// Scales at which every adapter is looked at.
    pub scales: Vec<f64>,
    /// The probes that choose; the others have no part in it.
    pub chosen_on: Vec<ProbeId>,
    /// All probes that are asked of a full run.
    pub probes: usize,
    /// Largest loss that a candidate may show.
    pub margin: f64,
    /// Seconds of an optimizer step, as measured on the configured setting.
    pub step_seconds: f64,
    /// Seconds of an answer, as measured on the base.
    pub answer_seconds: f64,
    /// Answers of all looks.
    pub answers: usize,
    /// Optimizer steps of a full run of the configured setting.
    pub full_steps: usize,
    /// Answers of the gates of a full run.
    pub full_answers: usize,
    /// Seconds that it may take.
    pub budget_seconds: f64,
    /// Bytes beyond those in use that it needs at most.
    pub memory: u64,
    /// Bytes that are free, where the system tells.
    pub memory_free: Option<u64>,
}

impl TunePlan {
    /// Optimizer steps of all rungs, at most.
    pub fn steps(&self) -> usize {
        self.rungs.iter().map(|r| r.steps).sum()
    }

    /// Seconds of all of it, estimated.
    pub fn seconds(&self) -> f64 {
        self.steps() as f64 * self.step_seconds + self.answers as f64 * self.answer_seconds
    }

    /// Seconds of a full training run with its gates, estimated.
    pub fn full_seconds(&self) -> f64 {
        self.full_steps as f64 * self.step_seconds + self.full_answers as f64 * self.answer_seconds
    }

    /// A setting by its number.
    pub fn setting(&self, number: usize) -> Option<&TuneSetting> {
        self.settings.iter().find(|s| s.number == number)
    }
}

/// What a look saw of a setting's adapter at one scale.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TunePoint {
    /// Number of the setting.
    pub setting: usize,
    /// The rung, counted from 0.
    pub rung: usize,
    /// Optimizer steps taken.
    pub step: usize,
    /// Mean training loss over the second half of the rung's steps.
    pub loss: f64,
    /// Scale of the adapter.
    pub scale: f64,
    /// Mean over the `learn` probes of the look.
    pub learn: f64,
    /// The same of the base.
    pub base_learn: f64,
    /// Difference to the base over the `keep` probes of the look; `None` when none was scored.
    pub keep: Option<Estimate>,
    /// A loss is proven.
    pub lost: bool,
}

impl TunePoint {
    /// Difference to the base over the `keep` probes; 0 when none was scored. Rounded to
    /// thousandths: graded scores move a little with every weight, and a look sees no less.
    pub fn kept(&self) -> f64 {
        let difference = self.keep.as_ref().map_or(0.0, |e| e.difference);
        // Of -0 too it makes 0.
        (difference * 1e3).round() / 1e3 + 0.0
    }

    /// Whether more was learned than the base knows.
    pub fn has_learned(&self) -> bool {
        self.learn > self.base_learn
    }

    /// Whether no loss is proven and the one that was seen is allowed.
    pub fn keeps(&self, margin: f64) -> bool {
        !self.lost && self.keep.as_ref().is_some_and(|e| e.difference >= -margin)
    }
}

/// The training loss of a setting in a rung.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TuneLoss {
    /// Number of the setting.
    pub setting: usize,
    /// The rung, counted from 0.
    pub rung: usize,
    /// Mean over the second half of the rung's steps, in nats per token.
    pub loss: f64,
}

/// A setting whose training came to no number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TuneFailure {
    /// Number of the setting.
    pub setting: usize,
    /// What happened.
    pub reason: String,
}

/// What was spent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct TuneSpent {
    /// Optimizer steps taken.
    pub steps: usize,
    /// Seconds of them.
    pub step_seconds: f64,
    /// Answers given, those of the base with them.
    pub answers: usize,
    /// Seconds of them.
    pub answer_seconds: f64,
}

/// Which candidate was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TuneChoice {
    /// Number of the setting.
    pub setting: usize,
    /// Scale of its adapter at which it was chosen.
    pub scale: f64,
    /// Optimizer steps taken.
    pub step: usize,
}

/// Everything that tuning planned and saw: `tuning.json` of its run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tuning {
    /// [`TUNING_VERSION`] of the writer.
    pub version: u32,
    /// What was planned.
    pub plan: TunePlan,
    /// Rungs that are finished.
    pub finished: usize,
    /// How far training came, setting by setting.
    pub losses: Vec<TuneLoss>,
    /// What was seen, rung by rung.
    pub points: Vec<TunePoint>,
    /// Settings that came to no number.
    pub failures: Vec<TuneFailure>,
    /// What it took so far.
    pub spent: TuneSpent,
    /// What was chosen: `None` before the end, or when nothing learns and keeps.
    pub choice: Option<TuneChoice>,
}

impl Tuning {
    /// Nothing is tried yet.
    pub fn of(plan: TunePlan) -> Self {
        Tuning {
            version: TUNING_VERSION,
            plan,
            finished: 0,
            losses: Vec::new(),
            points: Vec::new(),
            failures: Vec::new(),
            spent: TuneSpent::default(),
            choice: None,
        }
    }

    /// Whether every rung is finished.
    pub fn is_finished(&self) -> bool {
        self.finished == self.plan.rungs.len()
    }

    /// What the last look at each setting saw, at every scale.
    pub fn last_points(&self) -> Vec<&TunePoint> {
        let last = |setting: usize| {
            let own = self.points.iter().filter(|p| p.setting == setting);
            own.map(|p| p.rung).max()
        };
        let points = self.points.iter();
        points.filter(|p| last(p.setting) == Some(p.rung)).collect()
    }

    /// Of these points the ones than which none learns more and keeps as much, or keeps more and
    /// learns as much: the frontier, from the one that keeps most.
    pub fn frontier(&self) -> Vec<&TunePoint> {
        let points = self.last_points();
        let mut frontier: Vec<&TunePoint> = Vec::new();
        let mut sorted = points;
        sorted.sort_by(|a, b| {
            (b.kept().total_cmp(&a.kept()))
                .then(b.learn.total_cmp(&a.learn))
                .then(a.setting.cmp(&b.setting))
                .then(a.scale.total_cmp(&b.scale))
        });
        for point in sorted {
            if frontier.last().is_none_or(|best| point.learn > best.learn) {
                frontier.push(point);
            }
        }
        frontier
    }

    /// How many full training runs it took, by the seconds that its own steps and answers took.
    pub fn full_runs(&self) -> f64 {
        let spent = &self.spent;
        let each = |seconds: f64, count: usize, planned: f64| match count {
            0 => planned,
            count => seconds / count as f64,
        };
        let step = each(spent.step_seconds, spent.steps, self.plan.step_seconds);
        let answer = each(
            spent.answer_seconds,
            spent.answers,
            self.plan.answer_seconds,
        );
        let full = self.plan.full_steps as f64 * step + self.plan.full_answers as f64 * answer;
        if full > 0.0 {
            (spent.step_seconds + spent.answer_seconds) / full
        } else {
            0.0
        }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A point of a setting whose `keep` probes differ by `kept`.
    pub(crate) fn point(
        setting: usize,
        rung: usize,
        scale: f64,
        learn: f64,
        kept: f64,
    ) -> TunePoint {
        TunePoint {
            setting,
            rung,
            step: 8 << rung,
            loss: 1.0 / setting as f64,
            scale,
            learn,
            base_learn: 0.0,
            keep: Some(Estimate {
                base_mean: 0.8,
                candidate_mean: 0.8 + kept,
                difference: kept,
                lower: kept - 0.04,
                upper: kept + 0.03,
                confidence: 0.95,
                probes: 60,
                losses: 3,
                gains: 1,
                unscored: 0,
            }),
            lost: kept < -0.1,
        }
    }

    /// A plan of so many settings that are looked at after 8 and after 16 of their steps.
    pub(crate) fn plan(settings: usize) -> TunePlan {
        let setting = |number: usize| TuneSetting {
            number,
            learning_rate: 1e-4 * number as f64,
            rank: 8,
            alpha: 16.0,
            modules: if number % 2 == 1 { "all" } else { "mlp" }.into(),
            rehearsal_weight: Some(3.0),
            num_train_epochs: 2.0,
            steps: 16,
        };
        let probe = |name: &str| ProbeId {
            suite: "s".into(),
            probe: name.into(),
        };
        let rung = |share: f64, settings: usize| TuneRung {
            share,
            settings,
            steps: settings * 8,
            probes: 40,
        };
        TunePlan {
            settings: (1..=settings).map(setting).collect(),
            rungs: vec![rung(0.5, settings), rung(1.0, settings.div_ceil(2))],
            scales: vec![1.0, 0.7],
            chosen_on: (0..40).map(|i| probe(&format!("p{i}"))).collect(),
            probes: 100,
            margin: 0.03,
            step_seconds: 0.5,
            answer_seconds: 0.1,
            answers: (settings + settings.div_ceil(2)) * 2 * 40 + 40,
            full_steps: 16,
            full_answers: 420,
            budget_seconds: 300.0,
            memory: 300_000_000,
            memory_free: Some(8_000_000_000),
        }
    }

    /// A finished tuning of four settings: 2 and 4 went on, 4 was chosen at a smaller scale.
    pub(crate) fn tuning() -> Tuning {
        let points = vec![
            point(1, 0, 1.0, 0.25, 0.0),
            point(1, 0, 0.7, 0.125, 0.0),
            point(2, 0, 1.0, 0.5, -0.01),
            point(2, 0, 0.7, 0.375, 0.0),
            point(4, 0, 1.0, 0.75, -0.12),
            point(4, 0, 0.7, 0.625, -0.02),
            point(2, 1, 1.0, 0.625, -0.01),
            point(2, 1, 0.7, 0.5, 0.01),
            point(4, 1, 1.0, 0.9375, -0.12),
            point(4, 1, 0.7, 0.875, -0.02),
        ];
        Tuning {
            finished: 2,
            points,
            failures: vec![TuneFailure {
                setting: 3,
                reason: "step 5: the loss is NaN".into(),
            }],
            spent: TuneSpent {
                steps: 45,
                step_seconds: 20.0,
                answers: 300,
                answer_seconds: 33.0,
            },
            choice: Some(TuneChoice {
                setting: 4,
                scale: 0.7,
                step: 16,
            }),
            ..Tuning::of(plan(4))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{plan, point, tuning};
    use super::*;

    #[test]
    fn the_frontier_has_what_nothing_beats_in_both() {
        let tuning = tuning();
        let found: Vec<(usize, f64)> = tuning
            .frontier()
            .iter()
            .map(|p| (p.setting, p.scale))
            .collect();
        // Of setting 2 both scales: at 0.7 it keeps most, at 1 it learns more.
        assert_eq!(found, [(2, 0.7), (2, 1.0), (4, 0.7), (4, 1.0)]);
    }

    #[test]
    fn what_is_as_good_as_another_stands_once_and_early_looks_are_left_behind() {
        let mut tuning = Tuning::of(plan(2));
        tuning.points = vec![
            point(1, 0, 1.0, 0.9, 0.0),
            point(1, 1, 1.0, 0.5, -0.01),
            point(2, 0, 1.0, 0.5, -0.01),
            point(2, 0, 0.7, 0.4, -0.02),
        ];
        let found: Vec<usize> = tuning.frontier().iter().map(|p| p.setting).collect();
        assert_eq!(found, [1]);
    }

    /// A graded score that moved a little is no better keeper, and neither is the other zero.
    #[test]
    fn what_a_look_cannot_see_puts_nothing_on_the_frontier() {
        let mut tuning = Tuning::of(plan(3));
        tuning.points = vec![
            point(1, 0, 1.0, 0.0, 4e-4),
            point(2, 0, 1.0, 0.5, -0.0),
            point(3, 0, 1.0, 0.25, 0.0),
        ];
        let found: Vec<usize> = tuning.frontier().iter().map(|p| p.setting).collect();
        assert_eq!(found, [2]);
    }

    #[test]
    fn a_loss_that_was_seen_is_allowed_up_to_the_margin() {
        assert!(point(1, 0, 1.0, 0.5, -0.03).keeps(0.03));
        assert!(!point(1, 0, 1.0, 0.5, -0.04).keeps(0.03));
        let unscored = TunePoint {
            keep: None,
            ..point(1, 0, 1.0, 0.5, 0.0)
        };
        assert!(!unscored.keeps(0.03), "nothing is known");
    }

    #[test]
    fn a_tuning_reads_back_as_it_was_written() {
        let tuning = tuning();
        let text = serde_json::to_string(&tuning).unwrap();
        assert_eq!(serde_json::from_str::<Tuning>(&text).unwrap(), tuning);
    }

    /// 45 steps and 300 answers, beside 16 steps and 420 answers of a full run.
    #[test]
    fn what_it_took_is_counted_in_full_runs_by_its_own_rates() {
        let full = 16.0 * 20.0 / 45.0 + 420.0 * 33.0 / 300.0;
        assert!((tuning().full_runs() - 53.0 / full).abs() < 1e-12);
    }
}
