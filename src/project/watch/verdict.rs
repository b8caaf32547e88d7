//! One checkpoint's verdict, as the record keeps it and as it is sent.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::flow::Verdict;

/// The layout that this version writes.
pub(super) const VERSION: u32 = 1;

/// A checkpoint's verdict. This is the format of a line of the record, of `--post`, and of `--format
/// json`: a field may be added, and removing or changing one raises the version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointVerdict {
    /// 1.
    pub version: u32,
    /// The checkpoint below the folder that is watched, with `/`: `v0-20261130-120000/checkpoint-40`.
    pub checkpoint: String,
    /// Its folder, as it was found.
    pub folder: PathBuf,
    /// The run that it belongs to, below the folder that is watched.
    pub run: String,
    /// Optimizer steps taken.
    pub step: usize,
    /// Hex digest of the adapter's configuration and weights.
    pub digest: String,
    /// The base.
    pub base: String,
    /// Which checkpoint of its run it is, counted from 1: each is one look.
    pub look: usize,
    /// Checkpoints that the run plans, where they are known.
    pub planned: Option<usize>,
    /// Mean training loss since the checkpoint before, in nats per token, as the trainer says.
    pub train_loss: Option<f64>,
    /// Validation loss, in nats per token, as the trainer says.
    pub validation_loss: Option<f64>,
    /// Whether it may ship.
    pub may_ship: bool,
    /// The verdict against the base.
    pub verdict: Verdict,
    /// Signs beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
}
