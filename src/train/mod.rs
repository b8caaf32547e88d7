//! Examples to checkpoints.
//!
//! [`Dataset`] reads the rows, [`RehearsalPrompt`]s are chosen beside them, [`Tokenized`] renders them with their labels, [`StepPlan`] and
//! [`StepBatch`] put them in order and cut them into passes, [`Schedule`] sets the rate, and
//! [`Preflight`] refuses what would silently do nothing. [`Training`] runs the steps and shows each
//! checkpoint to a [`CheckpointHook`].

mod batch;
mod checkpoint;
mod config;
mod data;
mod error;
#[cfg(feature = "gpu")]
mod gpu;
mod labels;
mod learner;
mod optim;
mod preflight;
mod rehearsal;
mod schedule;
mod step;
mod trainer;

pub use batch::{AnchorRow, MicroBatch, StepBatch, StepPlan, TextRow, total_steps};
pub use checkpoint::CheckpointState;
pub use config::{
    BUILT_IN, BadRows, DataSection, Every, LoraSection, Recompute, RehearsalTarget, RowFormat,
    SchedulerType, Source, StopOnRegression, TargetSelection, TrainSection,
};
pub use data::{
    DataError, DataErrors, DataReport, Dataset, Duplicate, Example, Origin, Rehearsal, RowProblem,
    RowReason, SourceReport, Split, names_built_in, read_prompts, split,
};
pub use error::{PreflightError, PreflightFinding, TrainError};
#[cfg(feature = "gpu")]
pub use gpu::GpuAdamW;
pub use labels::{Tokenized, TokenizedExample};
pub(crate) use learner::learner;
pub use optim::{AdamW, Moments, UpdateNumbers, clip, gradient_norm};
pub use preflight::{Preflight, ProbeSystem};
#[cfg(test)]
pub(crate) use rehearsal::every_near_miss;
pub use rehearsal::{
    Language, PoolPrompt, PromptKind, RehearsalPrompt, Stay, near_misses, pool, take_pool,
};
pub use schedule::{Restarts, Schedule};
pub use step::{StepLoss, TrainedAdapter, accumulate, accumulate_in_room, validate};
pub use trainer::{CheckpointHook, CheckpointView, TrainEnd, TrainLine, Training};
