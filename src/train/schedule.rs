//! Learning rate by optimizer step, as transformers' `get_scheduler` makes it.
//!
//! A linear rise over the warmup steps, then half a cosine, a line, or nothing. As there, the
//! rate of the first step (step 0) is 0 when there is a warmup.

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
}
