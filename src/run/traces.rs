//! What other programs read of a training run while it goes on: a TensorBoard event file in its
//! folder, and `trainer_state.json` in each checkpoint. Both hold what `train.jsonl` does, under the
//! names of Hugging Face's `Trainer`; what a gate found stands there as an evaluation.
//!
//! `trainer_state.json` is the last file of a checkpoint: it is written when the checkpoint was
//! judged, and so holds its own verdict's numbers.

use serde_json::{Map, Value, json};

use crate::flow::{ScaledCheckpoint, Verdict};
use crate::record::{EventFile, RecordError, RunLock, TrainerStateFile};
use crate::train::{CheckpointView, TrainLine, TrainSection};

use super::gating::{GatedCheckpoint, TrainEntry};

/// The files that others read.
pub(super) struct Traces<'a> {
    section: &'a TrainSection,
    /// Steps that the run plans.
    total: usize,
    /// Steps of an epoch.
    steps_per_epoch: usize,
    /// `None` where a run that had ended is shown again, or the file could not be written.
    events: Option<EventFile>,
}

impl<'a> Traces<'a> {
    /// The files of a run that goes on after `entries`, the last of which are of step `resumed`. Where
    /// it `ended` before, its event file is whole.
    ///
    /// # Errors
    /// The run's folder cannot be listed, or the event file not be written.
    pub(super) fn begin(
        lock: &RunLock,
        section: &'a TrainSection,
        (total, steps_per_epoch): (usize, usize),
        entries: &[TrainEntry],
        (resumed, ended): (usize, bool),
    ) -> Result<Self, RecordError> {
        let told_before = EventFile::exists(lock)?;
        let events = match ended && told_before {
            true => None,
            false => {
                // What an older version logged without an event file is told now, else the step
                // whose gate is repeated: readers drop that step and all later ones.
                let from = told_before.then_some(resumed);
                let mut events = EventFile::next(lock, from)?;
                for entry in entries.iter().filter(|e| e.step() >= from.unwrap_or(0)) {
                    events.append(entry.step(), &tagged(entry))?;
                }
                Some(events)
            }
        };
        Ok(Traces {
            section,
            total,
            steps_per_epoch,
            events,
        })
    }

    /// Files of a test that looks at neither.
    #[cfg(test)]
    pub(super) fn none(section: &'a TrainSection) -> Self {
        Traces {
            section,
            total: 1,
            steps_per_epoch: 1,
            events: None,
        }
    }

    /// Adds an entry to the event file. Training goes on without it: the text says so, once.
    pub(super) fn tell(&mut self, entry: &TrainEntry) -> Option<String> {
        let events = self.events.as_mut()?;
        let error = events.append(entry.step(), &tagged(entry)).err()?;
        self.events = None;
        Some(format!(
            "TensorBoard is told nothing more of this run: {error}"
        ))
    }

    /// Writes `trainer_state.json` into a checkpoint that was judged. `best` is the best so far.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn leave_state(
        &self,
        checkpoint: &CheckpointView<'_>,
        entries: &[TrainEntry],
        best: Option<ScaledCheckpoint>,
    ) -> Result<(), RecordError> {
        let (section, step) = (self.section, checkpoint.step);
        let runs = checkpoint.folder.parent();
        let folder = |step| runs.map(|run| run.join(format!("checkpoint-{step}")));
        let state = TrainerStateFile {
            best_global_step: best.map(|best| best.step),
            best_metric: best.and_then(|best| metric_of(entries, best)),
            best_model_checkpoint: best
                .and_then(|best| folder(best.step))
                .map(|folder| folder.display().to_string()),
            epoch: self.epoch(step),
            eval_steps: section.eval_steps.steps(self.total),
            global_step: step,
            is_hyper_param_search: false,
            is_local_process_zero: true,
            is_world_process_zero: true,
            log_history: entries.iter().map(|e| self.logged(e)).collect(),
            logging_steps: section.logging_steps,
            max_steps: self.total,
            num_train_epochs: section.num_train_epochs.ceil() as usize,
            save_steps: section.gate_every().steps(self.total),
            train_batch_size: section.per_device_train_batch_size,
            trial_name: None,
            trial_params: None,
        };
        state.write(checkpoint.folder)
    }

    fn epoch(&self, step: usize) -> f64 {
        step as f64 / self.steps_per_epoch.max(1) as f64
    }

    /// An entry of `log_history`.
    fn logged(&self, entry: &TrainEntry) -> Map<String, Value> {
        let mut logged: Map<String, Value> = numbers(entry)
            .into_iter()
            .map(|(name, number)| (name, json!(number)))
            .collect();
        logged.insert("epoch".into(), json!(self.epoch(entry.step())));
        logged.insert("step".into(), json!(entry.step()));
        logged
    }
}

/// What the best checkpoint scored: what it learned, and without a `learn` suite what it kept.
fn metric_of(entries: &[TrainEntry], best: ScaledCheckpoint) -> Option<f64> {
    let gates = entries.iter().filter_map(|entry| match entry {
        TrainEntry::Gate(gated) => Some(gated),
        TrainEntry::Line(_) => None,
    });
    let verdict = gates
        .flat_map(|gated| gated.each())
        .find(|gated| gated.at == best)?
        .verdict;
    let kept = verdict.pooled.estimate.as_ref();
    let learned = verdict.learn.as_ref().map(|learn| learn.mean);
    learned.or(kept.map(|kept| kept.candidate_mean))
}

/// An entry's numbers as TensorBoard has them: by `Trainer`'s own rule `eval_loss` is `eval/loss`
/// there, and `loss` is `train/loss`.
fn tagged(entry: &TrainEntry) -> Vec<(String, f64)> {
    let tag = |name: &str| match name.strip_prefix("eval_") {
        Some(name) => format!("eval/{name}"),
        None => format!("train/{name}"),
    };
    numbers(entry)
        .into_iter()
        .map(|(name, number)| (tag(&name), number))
        .collect()
}

/// An entry's numbers under the names of `Trainer`.
fn numbers(entry: &TrainEntry) -> Vec<(String, f64)> {
    match entry {
        TrainEntry::Line(line) => of_line(line),
        TrainEntry::Gate(gated) => of_gate(gated),
    }
}

fn of_line(line: &TrainLine) -> Vec<(String, f64)> {
    let named = [
        ("loss", line.loss),
        ("rehearsal_loss", line.rehearsal_loss),
        ("rehearsal_kl", line.rehearsal_kl),
        ("grad_norm", line.grad_norm),
        ("learning_rate", line.learning_rate),
        ("eval_loss", line.eval_loss),
    ];
    let known = named.into_iter();
    known
        .filter_map(|(name, number)| Some((name.to_owned(), number?)))
        .collect()
}

/// Of each scale what was kept, with the interval of its difference from the base, what was learned,
/// and each suite's mean; those of other scales than 1 end in it: `eval_keep@0.5`.
fn of_gate(gated: &GatedCheckpoint) -> Vec<(String, f64)> {
    let each = gated.each().flat_map(|at| {
        let scale = match at.at.scale {
            1.0 => String::new(),
            scale => format!("@{scale}"),
        };
        let numbers = of_verdict(at.verdict).into_iter();
        numbers.map(move |(name, number)| (format!("eval_{name}{scale}"), number))
    });
    each.collect()
}

fn of_verdict(verdict: &Verdict) -> Vec<(String, f64)> {
    let mut numbers = Vec::new();
    if let Some(kept) = &verdict.pooled.estimate {
        numbers.extend([
            ("keep".to_owned(), kept.candidate_mean),
            ("keep_difference".to_owned(), kept.difference),
            ("keep_lower".to_owned(), kept.lower),
            ("keep_upper".to_owned(), kept.upper),
        ]);
    }
    numbers.extend(verdict.learn.iter().map(|l| ("learn".to_owned(), l.mean)));
    numbers.push((
        "may_ship".to_owned(),
        f64::from(u8::from(verdict.may_ship())),
    ));
    let suites = verdict.suites.iter();
    numbers.extend(suites.filter_map(|suite| {
        let mean = suite.estimate.as_ref()?.candidate_mean;
        Some((format!("suite_{}", suite.suite), mean))
    }));
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::gating::GatedScale;
    use crate::run::testing::verdict;

    fn gate(step: usize) -> TrainEntry {
        TrainEntry::Gate(Box::new(GatedCheckpoint {
            step,
            verdict: verdict(90, 8),
            causes: Vec::new(),
            scaled: vec![GatedScale {
                scale: 0.5,
                verdict: verdict(88, 7),
                causes: Vec::new(),
            }],
        }))
    }

    #[test]
    fn tags_are_those_of_the_trainer() {
        let line = TrainEntry::Line(TrainLine {
            step: 1,
            epoch: 0.5,
            loss: Some(1.5),
            rehearsal_loss: None,
            rehearsal_kl: None,
            eval_loss: None,
            grad_norm: Some(2.0),
            learning_rate: Some(1e-4),
            tokens: Some(100),
        });
        let tags = |entry| {
            let tags: Vec<String> = tagged(entry).into_iter().map(|(tag, _)| tag).collect();
            tags.join(" ")
        };
        insta::assert_snapshot!(tags(&line), @"train/loss train/grad_norm train/learning_rate");
        insta::assert_snapshot!(tags(&gate(2)), @"eval/keep eval/keep_difference eval/keep_lower eval/keep_upper eval/learn eval/may_ship eval/suite_s eval/suite_learned eval/keep@0.5 eval/keep_difference@0.5 eval/keep_lower@0.5 eval/keep_upper@0.5 eval/learn@0.5 eval/may_ship@0.5 eval/suite_s@0.5 eval/suite_learned@0.5");
    }

    /// The best of a run is named with its scale's own score.
    #[test]
    fn the_metric_is_that_of_the_best_at_its_scale() {
        let entries = [gate(2)];
        let of = |scale| metric_of(&entries, ScaledCheckpoint { step: 2, scale });
        assert_eq!((of(1.0), of(0.5)), (Some(0.8), Some(0.7)));
        assert_eq!(of(0.25), None);
    }
}
