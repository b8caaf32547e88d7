//! Learning rate by optimizer step, as transformers' `get_scheduler` makes it.
//!
//! A linear rise over the warmup steps, then half a cosine, a line, or nothing. As there, the
//! rate of the first step (step 0) is 0 when there is a warmup.
//!
//! [`Restarts`] puts several of them one after the other, for runs that are looked at before their
//! end.

use super::config::{SchedulerType, TrainSection};

/// The learning rates of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    kind: SchedulerType,
    peak: f64,
    warmup_steps: usize,
    total_steps: usize,
}

impl Schedule {
    /// The schedule of a run of `total_steps`; the warmup is `ceil(total_steps * warmup_ratio)`
    /// steps.
    pub fn new(train: &TrainSection, total_steps: usize) -> Self {
        Schedule {
            kind: train.lr_scheduler_type,
            peak: train.learning_rate,
            warmup_steps: (total_steps as f64 * train.warmup_ratio).ceil() as usize,
            total_steps,
        }
    }

    /// Optimizer steps until the highest rate.
    pub fn warmup_steps(&self) -> usize {
        self.warmup_steps
    }

    /// The rate of an optimizer step, counted from 0.
    pub fn learning_rate(&self, step: usize) -> f64 {
        self.peak * self.factor(step)
    }

    fn factor(&self, step: usize) -> f64 {
        if step < self.warmup_steps {
            return step as f64 / self.warmup_steps as f64;
        }
        let falling = self.total_steps.saturating_sub(self.warmup_steps).max(1) as f64;
        let progress = (step - self.warmup_steps) as f64 / falling;
        match self.kind {
            SchedulerType::Cosine => {
                (0.5 * (1.0 + (std::f64::consts::PI * progress).cos())).max(0.0)
            }
            SchedulerType::Linear => (1.0 - progress).max(0.0),
            SchedulerType::Constant => 1.0,
        }
    }
}

/// Schedules one after the other, each over steps of its own: what I. Loshchilov and F. Hutter call
/// warm restarts ("SGDR: stochastic gradient descent with warm restarts", ICLR 2017). At the end of
/// each the rate has fallen, so that a model can be looked at there as at the end of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Restarts {
    /// First step of each, and the schedule over its own steps.
    parts: Vec<(usize, Schedule)>,
}

impl Restarts {
    /// One schedule up to each of `ends`, which are steps in rising order; without any, one over
    /// all of `total_steps`.
    pub fn new(train: &TrainSection, total_steps: usize, ends: &[usize]) -> Self {
        let whole = [total_steps];
        let ends = if ends.is_empty() { &whole[..] } else { ends };
        let mut first = 0;
        let parts = ends.iter().map(|&end| {
            let part = (first, Schedule::new(train, end.saturating_sub(first)));
            first = end;
            part
        });
        Restarts {
            parts: parts.collect(),
        }
    }

    /// The rate of an optimizer step, counted from 0.
    pub fn learning_rate(&self, step: usize) -> f64 {
        let part = self.parts.iter().rev().find(|(first, _)| *first <= step);
        part.map_or(0.0, |(first, schedule)| {
            schedule.learning_rate(step - first)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(kind: SchedulerType, warmup_ratio: f64, total: usize) -> Schedule {
        let train = TrainSection {
            lr_scheduler_type: kind,
            warmup_ratio,
            learning_rate: 1e-3,
            ..TrainSection::default()
        };
        Schedule::new(&train, total)
    }

    fn assert_rates(schedule: Schedule, expected: &[f64]) {
        for (step, want) in expected.iter().enumerate() {
            let got = schedule.learning_rate(step);
            assert!(
                (got - want).abs() < 1e-15,
                "step {step}: {got} against {want}"
            );
        }
    }

    /// transformers' `_get_cosine_schedule_with_warmup_lr_lambda(k, num_warmup_steps=2,
    /// num_training_steps=10, num_cycles=0.5)` times 1e-3 for k in 0..10.
    #[test]
    fn cosine_is_that_of_transformers() {
        let rates = [
            0.0,
            0.0005,
            0.001,
            0.0009619397662556434,
            0.0008535533905932737,
            0.000691341716182545,
            0.0005,
            0.0003086582838174551,
            0.00014644660940672628,
            3.806023374435663e-05,
        ];
        assert_rates(schedule(SchedulerType::Cosine, 0.15, 10), &rates);
    }

    #[test]
    fn line_falls_to_zero_and_constant_stays() {
        assert_rates(
            schedule(SchedulerType::Linear, 0.0, 4),
            &[1e-3, 0.75e-3, 0.5e-3, 0.25e-3],
        );
        assert_rates(
            schedule(SchedulerType::Constant, 0.5, 4),
            &[0.0, 0.5e-3, 1e-3, 1e-3],
        );
    }

    #[test]
    fn one_step_without_warmup_trains_at_the_full_rate() {
        assert_rates(schedule(SchedulerType::Cosine, 0.0, 1), &[1e-3]);
    }

    #[test]
    fn every_restart_is_a_schedule_of_its_own() {
        let train = TrainSection {
            warmup_ratio: 0.25,
            learning_rate: 1e-3,
            ..TrainSection::default()
        };
        let restarts = Restarts::new(&train, 12, &[4, 12]);
        let (short, long) = (Schedule::new(&train, 4), Schedule::new(&train, 8));
        for step in 0..4 {
            assert_eq!(restarts.learning_rate(step), short.learning_rate(step));
        }
        for step in 4..12 {
            assert_eq!(restarts.learning_rate(step), long.learning_rate(step - 4));
        }
        let whole = Schedule::new(&train, 12);
        let one = Restarts::new(&train, 12, &[]);
        assert!((0..12).all(|step| one.learning_rate(step) == whole.learning_rate(step)));
    }
}
