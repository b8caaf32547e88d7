//! The training loop: examples -> steps -> checkpoints, each shown to a hook that can end the run.
//!
//! Everything that decides the result is a function of the inputs and the step, so a run that was
//! killed at any moment and started again ends with the same bits: it takes up the newest whole
//! checkpoint, shows it to the hook again, and repeats the steps after it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::batch::{StepBatch, StepPlan};
use super::checkpoint::{self, CheckpointState};
use super::config::TrainSection;
use super::error::TrainError;
use super::labels::TokenizedExample;
use super::learner::{Learner, learner};
use super::optim::AdamW;
use super::schedule::Restarts;
use super::step::StepLoss;
use crate::lora::{Adapter, DropoutKey, LoraConfig, Trainable, TrainedOn};
use crate::model::{Keep, ModelRef};

/// One logged step, or a validation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainLine {
    /// Optimizer steps taken.
    pub step: usize,
    /// Passes over the examples.
    pub epoch: f64,
    /// Mean loss over the step's labelled tokens, in nats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Mean loss over the tokens of rehearsal that are learned as text, in nats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rehearsal_loss: Option<f64>,
    /// Mean KL(base || adapter) over the step's rows of rehearsal, in nats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rehearsal_kl: Option<f64>,
    /// Mean loss over the validation examples, in nats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_loss: Option<f64>,
    /// Norm of the gradients before clipping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grad_norm: Option<f64>,
    /// Of the update.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// Tokens of the step, prompts included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
}

impl TrainLine {
    /// Whether it is of a step, not of a validation. A step of rehearsal alone has no loss.
    pub fn is_step(&self) -> bool {
        self.tokens.is_some()
    }
}

/// A checkpoint as the hook sees it.
pub struct CheckpointView<'a> {
    /// Optimizer steps taken.
    pub step: usize,
    /// The PEFT folder.
    pub folder: &'a Path,
    /// The same matrices in memory.
    pub adapter: &'a Adapter,
    /// Whether it is the last of the run.
    pub last: bool,
}

/// What the trainer lends its checkpoints to. `run` gates them here.
pub trait CheckpointHook {
    /// Looks at a checkpoint that is on disk; a break ends the run with that reason.
    fn at_checkpoint(&mut self, checkpoint: &CheckpointView<'_>) -> ControlFlow<String>;

    /// Hears every logged step and validation; of `tokens` in `seconds`.
    fn at_line(&mut self, line: &TrainLine, seconds: f64) -> ControlFlow<String>;

    /// Hears what the user should know of how the run goes on.
    fn at_notice(&mut self, _: &str) {}
}

/// What a run is made of.
pub struct Training<'a> {
    /// The base.
    pub model: ModelRef<'a>,
    /// Examples to learn.
    pub examples: &'a [TokenizedExample],
    /// Examples to validate on; may be empty.
    pub validation: &'a [TokenizedExample],
    /// Settings.
    pub section: &'a TrainSection,
    /// Rank, alpha, target modules.
    pub lora: LoraConfig,
    /// How the base is named in the adapter's config; `None` when it has no name elsewhere.
    pub base_name: Option<String>,
    /// The base, for whoever loads the adapter over another one.
    pub trained_on: TrainedOn,
    /// Digest of all that decides the result.
    pub identity: String,
    /// Where checkpoints go.
    pub folder: PathBuf,
    /// What stays in memory between forward and backward.
    pub keep: Keep,
    /// Steps in rising order, the last one of all, at which a schedule of its own ends and a
    /// checkpoint is saved; the rate then rises again. Empty: one schedule, and checkpoints as
    /// `section` says.
    pub rungs: &'a [usize],
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainEnd {
    /// Optimizer steps taken.
    pub step: usize,
    /// The hook's reason, when it ended the run.
    pub stopped: Option<String>,
}

impl Training<'_> {
    /// The plan of steps.
    pub fn plan(&self) -> StepPlan {
        let section = self.section;
        StepPlan::new(
            self.examples,
            section.examples_per_step(),
            section.num_train_epochs,
            section.seed,
        )
    }

    /// Steps at which checkpoints are written, in order; the last step is always one.
    pub fn checkpoint_steps(&self) -> Vec<usize> {
        if !self.rungs.is_empty() {
            return self.rungs.to_vec();
        }
        let total = self.plan().total_steps();
        let every = self.section.gate_every().steps(total);
        (1..=total)
            .filter(|step| step % every == 0 || *step == total)
            .collect()
    }

    /// The step of the newest checkpoint in the run's folder.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn newest(&self) -> Result<Option<usize>, TrainError> {
        Ok(checkpoint::newest(&self.folder)?.map(|(step, _)| step))
    }

    /// Trains to the end, from the newest checkpoint of this run if there is one.
    ///
    /// # Errors
    /// A loss that is no number, a matrix without gradient, a checkpoint of another run, a file
    /// that cannot be written.
    pub fn run(&self, hook: &mut dyn CheckpointHook) -> Result<TrainEnd, TrainError> {
        let plan = self.plan();
        let total = plan.total_steps();
        let schedule = Restarts::new(self.section, total, self.rungs);
        let saved = self.checkpoint_steps();
        let eval_every = self.section.eval_steps.steps(total);
        let validation: Vec<&TokenizedExample> = self.validation.iter().collect();
        let validation = StepBatch::pack(&validation, self.section.micro_batch_tokens);

        let (trainable, optimizer, mut state) = self.start()?;
        let mut proof = GradientProof::new(&trainable, state.step > 0);
        let mut learner = learner(self.model, trainable, optimizer, self.keep)?;
        let mut first = state.step;
        if first > 0 {
            let folder = self.checkpoint_folder(first);
            if let Some(end) = self.show(hook, learner.state().0, first, &folder, total)? {
                return Ok(end);
            }
        }
        while first < total {
            let started = Instant::now();
            let examples: Vec<&TokenizedExample> = plan
                .examples(first)
                .into_iter()
                .map(|i| &self.examples[i])
                .collect();
            let batch = StepBatch::pack(&examples, self.section.micro_batch_tokens);
            let key = DropoutKey {
                seed: self.section.seed,
                step: first as u32,
                micro_batch: 0,
            };
            let (step_loss, notice) =
                learner.accumulate(&batch, self.section.rehearsal_weight, key)?;
            if let Some(notice) = notice {
                hook.at_notice(&notice);
            }
            let StepLoss {
                loss,
                text,
                rehearsal,
            } = step_loss;
            let step = first + 1;
            if !loss.is_finite() {
                return Err(TrainError::NotFinite {
                    step,
                    what: "the loss".into(),
                    value: loss,
                });
            }
            let learning_rate = schedule.learning_rate(first);
            // At its start an adapter is the base, and rehearsal alone has no gradient there.
            if batch.labelled > 0 || batch.texts > 0 {
                proof.check(learner.as_mut(), step, learning_rate)?;
            }
            let norm = learner.update(self.section.max_grad_norm, learning_rate);
            if !norm.is_finite() {
                return Err(not_finite(learner.with_gradients(), step, norm));
            }
            state.labelled_tokens += batch.labelled as u64;
            let last = step == total;
            let line = TrainLine {
                step,
                epoch: step as f64 / plan.steps_per_epoch() as f64,
                loss: (batch.labelled > 0).then_some(loss),
                rehearsal_loss: text,
                rehearsal_kl: rehearsal,
                eval_loss: None,
                grad_norm: Some(norm),
                learning_rate: Some(learning_rate),
                tokens: Some(
                    batch
                        .micro_batches
                        .iter()
                        .map(|m| m.tokens.len() as u64)
                        .sum(),
                ),
            };
            if let ControlFlow::Break(reason) = hook.at_line(&line, started.elapsed().as_secs_f64())
            {
                return Ok(TrainEnd {
                    step: first,
                    stopped: Some(reason),
                });
            }
            first = step;
            if validation.labelled > 0 && (step % eval_every == 0 || last) {
                let started = Instant::now();
                let loss = learner.validate(&validation)?;
                let line = TrainLine {
                    loss: None,
                    rehearsal_loss: None,
                    rehearsal_kl: None,
                    eval_loss: Some(loss),
                    grad_norm: None,
                    learning_rate: None,
                    tokens: None,
                    ..line
                };
                if let ControlFlow::Break(reason) =
                    hook.at_line(&line, started.elapsed().as_secs_f64())
                {
                    return Ok(TrainEnd {
                        step,
                        stopped: Some(reason),
                    });
                }
            }
            if saved.contains(&step) {
                let folder = self.checkpoint_folder(step);
                let (trainable, optimizer) = learner.state();
                let adapter = self.adapter(trainable);
                let state = CheckpointState::new(
                    step,
                    optimizer.updates,
                    &self.identity,
                    state.labelled_tokens,
                );
                checkpoint::save(
                    &folder,
                    &adapter,
                    self.base_name.as_deref(),
                    optimizer,
                    trainable,
                    state,
                )?;
                if let Some(end) = self.show(hook, trainable, step, &folder, total)? {
                    return Ok(end);
                }
            }
        }
        Ok(TrainEnd {
            step: total,
            stopped: None,
        })
    }

    fn checkpoint_folder(&self, step: usize) -> PathBuf {
        self.folder.join(format!("checkpoint-{step}"))
    }

    fn adapter(&self, trainable: &Trainable) -> Adapter {
        let mut adapter = Adapter::new(self.lora.clone(), trainable.values());
        adapter.trained_on = Some(self.trained_on.clone());
        adapter
    }

    fn show(
        &self,
        hook: &mut dyn CheckpointHook,
        trainable: &Trainable,
        step: usize,
        folder: &Path,
        total: usize,
    ) -> Result<Option<TrainEnd>, TrainError> {
        let adapter = self.adapter(trainable);
        let view = CheckpointView {
            step,
            folder,
            adapter: &adapter,
            last: step == total,
        };
        Ok(match hook.at_checkpoint(&view) {
            ControlFlow::Continue(()) => None,
            ControlFlow::Break(reason) => Some(TrainEnd {
                step,
                stopped: Some(reason),
            }),
        })
    }

    /// First values, or those of the newest checkpoint.
    fn start(&self) -> Result<(Trainable, AdamW, CheckpointState), TrainError> {
        let config = self.model.config();
        let dropout = self.lora.dropout as f32;
        let Some((_, folder)) = checkpoint::newest(&self.folder)? else {
            let mut values = BTreeMap::new();
            for id in self.lora.targets(config, true)? {
                let (rank, scale) = self.lora.rank_and_scale(id)?;
                values.insert(
                    id,
                    Trainable::initial_values(config, id, rank, scale, self.section.seed),
                );
            }
            let trainable = Trainable::new(config, values, dropout);
            let optimizer = AdamW::new(self.section, &trainable);
            return Ok((
                trainable,
                optimizer,
                CheckpointState::new(0, 0, &self.identity, 0),
            ));
        };
        let state = CheckpointState::read(&folder)?
            .filter(|s| s.identity == self.identity)
            .ok_or_else(|| TrainError::OtherRun {
                path: folder.clone(),
            })?;
        let adapter = Adapter::read(&folder, config)?;
        let trainable = Trainable::new(config, adapter.modules, dropout);
        let mut optimizer = AdamW::new(self.section, &trainable);
        optimizer.updates = state.updates;
        checkpoint::load_moments(&folder, &mut optimizer, &trainable)?;
        Ok((trainable, optimizer, state))
    }
}

/// What to say of gradients whose norm is no number.
fn not_finite(trainable: &Trainable, step: usize, norm: f64) -> TrainError {
    let bad = trainable.matrices().find_map(|(name, matrix)| {
        let bad = matrix.gradient.iter().find(|g| !g.is_finite())?;
        Some((format!("the gradient of {name}"), f64::from(*bad)))
    });
    let (what, value) = bad.unwrap_or(("the norm of the gradients".into(), norm));
    TrainError::NotFinite { step, what, value }
}

/// That every matrix learns: B has a gradient at the first step, A once B has moved from zero.
struct GradientProof {
    moved: bool,
    open: bool,
}

impl GradientProof {
    fn new(trainable: &Trainable, resumed: bool) -> Self {
        GradientProof {
            moved: resumed,
            open: trainable.parameters() > 0,
        }
    }

    fn check(
        &mut self,
        learner: &mut dyn Learner,
        step: usize,
        learning_rate: f64,
    ) -> Result<(), TrainError> {
        if !self.open {
            return Ok(());
        }
        let trainable = learner.with_gradients();
        for (name, matrix) in trainable.matrices() {
            let expected = self.moved || name.ends_with("lora_B");
            if expected && matrix.gradient.iter().all(|g| *g == 0.0) {
                return Err(TrainError::NoGradient { step, name });
            }
        }
        self.open &= !self.moved;
        self.moved |= learning_rate > 0.0;
        Ok(())
    }
}
