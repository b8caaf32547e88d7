//! The trainer's hook: every checkpoint is judged beside the base, logged, and can end the run.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::digest;
use crate::flow::{AdapterRef, Comparison, Decision, Phase, RunEvent, Subject, Verdict};
use crate::gate::{Look, Rules, select_best};
use crate::lora::LoadedAdapter;
use crate::record::TrainLog;
use crate::text::plural;
use crate::train::{CheckpointHook, CheckpointView, TrainLine};

use super::comparison::judge_checkpoint;
use super::error::RunError;
use super::evaluate::{Evaluation, LoadedSubject};

/// A line of `train.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrainEntry {
    /// A logged step or a validation.
    Line(TrainLine),
    /// A checkpoint's verdict.
    Gate(Box<GatedCheckpoint>),
}

impl TrainEntry {
    /// Optimizer steps taken when it was written.
    pub fn step(&self) -> usize {
        match self {
            TrainEntry::Line(line) => line.step,
            TrainEntry::Gate(gated) => gated.step,
        }
    }
}

/// A checkpoint and its verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GatedCheckpoint {
    /// Optimizer steps taken.
    pub step: usize,
    /// Its verdict against the base.
    pub verdict: Verdict,
    /// Signs beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
}

/// The trainer's hook.
pub(super) struct Gate<'a, 'e> {
    pub evaluation: &'a Evaluation<'a>,
    pub rules: &'a Rules,
    /// Checkpoints that the run plans.
    pub planned: usize,
    /// Gates without a better checkpoint after which the run ends.
    pub patience: Option<usize>,
    /// Most checkpoints kept on disk.
    pub limit: Option<usize>,
    /// Log every so many steps.
    pub logging_steps: usize,
    pub log: &'a TrainLog,
    pub on_event: &'e mut dyn FnMut(RunEvent),
    /// Every line and verdict so far, those of earlier processes first.
    pub entries: Vec<TrainEntry>,
    /// What this process compared, by step.
    pub comparisons: Vec<(usize, Comparison)>,
    /// What ended the run for another reason than the gate's.
    pub failure: Option<RunError>,
}

impl Gate<'_, '_> {
    /// Every gated checkpoint so far.
    pub fn gated(&self) -> Vec<&GatedCheckpoint> {
        self.entries
            .iter()
            .filter_map(|e| match e {
                TrainEntry::Gate(gated) => Some(gated.as_ref()),
                TrainEntry::Line(_) => None,
            })
            .collect()
    }

    /// The best checkpoint so far by the selection rule.
    pub fn best(&self) -> Option<usize> {
        let gated: Vec<(usize, &Verdict)> = self
            .gated()
            .into_iter()
            .map(|g| (g.step, &g.verdict))
            .collect();
        select_best(&gated)
    }

    fn gate(&mut self, checkpoint: &CheckpointView<'_>) -> Result<Option<String>, RunError> {
        let config = self.evaluation.asking.session.decoder.config();
        let adapter = AdapterRef {
            path: checkpoint.folder.to_path_buf(),
            digest: digest::adapter_folder(checkpoint.folder)
                .map_err(crate::atomic_file::FileError::at("read", checkpoint.folder))
                .map_err(crate::record::RecordError::from)?,
            scale: 1.0,
            step: Some(checkpoint.step),
        };
        let subject = Subject {
            name: format!("ckpt-{}", checkpoint.step),
            adapter: Some(adapter),
        };
        let checkpoint_loaded = LoadedSubject {
            subject,
            adapter: Some(LoadedAdapter::new(checkpoint.adapter, config, 1.0)),
        };
        let index = self.gated().len() + 1;
        let rules = Rules {
            look: Look::Checkpoint {
                index,
                planned: Some(self.planned.max(index)),
            },
            chosen_from: self.planned.max(1),
            ..self.rules.clone()
        };
        let comparison =
            judge_checkpoint(self.evaluation, checkpoint_loaded, &rules, self.on_event)?;
        let Some(candidate) = comparison.candidates.first() else {
            return Ok(None);
        };
        let verdict = candidate.verdict.clone();
        (self.on_event)(RunEvent::Notice(format!(
            "ckpt-{}: {}",
            checkpoint.step, verdict.sentence
        )));
        let entry = TrainEntry::Gate(Box::new(GatedCheckpoint {
            step: checkpoint.step,
            verdict: verdict.clone(),
            causes: candidate.causes.clone(),
        }));
        self.log.append(&entry)?;
        self.entries.push(entry);
        self.comparisons.push((checkpoint.step, comparison));
        self.prune(checkpoint)?;
        Ok(self.stop(&verdict, checkpoint))
    }

    fn stop(&self, verdict: &Verdict, checkpoint: &CheckpointView<'_>) -> Option<String> {
        if verdict.decision == Decision::Regression {
            return Some(format!("ckpt-{} is a regression", checkpoint.step));
        }
        let patience = self.patience?;
        let gated = self.gated();
        let best = self.best();
        // Gates since the best was written; none yet counts from the start.
        let since = gated
            .iter()
            .rev()
            .take_while(|g| Some(g.step) != best)
            .count();
        let gates = plural(since, "gate");
        (since >= patience && !checkpoint.last).then(|| match best {
            Some(best) => format!("{gates} without a better checkpoint than ckpt-{best}"),
            None => format!("{gates} without a checkpoint that may ship"),
        })
    }

    /// Removes the oldest checkpoints over the limit; the best and the newest stay.
    fn prune(&self, newest: &CheckpointView<'_>) -> Result<(), RunError> {
        let Some(limit) = self.limit else {
            return Ok(());
        };
        let best = self.best();
        let mut kept = self.evaluation.run.run().checkpoints()?;
        kept.sort_by_key(|c| c.step);
        let mut over = kept.len().saturating_sub(limit.max(1));
        for old in kept {
            if over > 0 && Some(old.step) != best && old.step != newest.step {
                std::fs::remove_dir_all(&old.folder)
                    .map_err(crate::atomic_file::FileError::at("remove", &old.folder))
                    .map_err(crate::record::RecordError::from)?;
                over -= 1;
            }
        }
        Ok(())
    }
}

impl CheckpointHook for Gate<'_, '_> {
    fn at_checkpoint(&mut self, checkpoint: &CheckpointView<'_>) -> ControlFlow<String> {
        match self.gate(checkpoint) {
            Ok(None) => ControlFlow::Continue(()),
            Ok(Some(reason)) => ControlFlow::Break(reason),
            Err(error) => {
                let reason = error.to_string();
                self.failure = Some(error);
                ControlFlow::Break(reason)
            }
        }
    }

    fn at_notice(&mut self, text: &str) {
        (self.on_event)(RunEvent::Notice(text.to_owned()));
    }

    fn at_line(&mut self, line: &TrainLine, _seconds: f64) -> ControlFlow<String> {
        let loss = line.loss.or(line.eval_loss).unwrap_or_default();
        let kind = if line.loss.is_some() {
            "loss"
        } else {
            "validation loss"
        };
        (self.on_event)(RunEvent::Progress {
            phase: Phase::Training,
            more: u64::from(line.loss.is_some()),
            tokens: line.tokens.unwrap_or(0),
            note: Some(format!("{kind} {loss:.3}")),
        });
        let logged =
            line.eval_loss.is_some() || line.step.is_multiple_of(self.logging_steps.max(1));
        if logged {
            let entry = TrainEntry::Line(line.clone());
            if let Err(error) = self.log.append(&entry) {
                let reason = error.to_string();
                self.failure = Some(error.into());
                return ControlFlow::Break(reason);
            }
            self.entries.push(entry);
        }
        if self.evaluation.asking.interrupt.is_set() {
            self.failure = Some(RunError::Interrupted);
            return ControlFlow::Break("interrupted".into());
        }
        ControlFlow::Continue(())
    }
}
