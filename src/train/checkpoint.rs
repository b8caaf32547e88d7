//! A checkpoint on disk: a PEFT folder, and beside it what an exact resume needs.
//!
//! `qeval_state.json` has the step and what the run is made of; `qeval_state.safetensors` the
//! optimizer's moments. Data order and dropout are functions of seed and step, so no generator
//! has a state. A checkpoint is written aside and renamed into place: a folder of this name is
//! whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::atomic_file::{self, FileError};
use crate::lora::{Adapter, Trainable};

use super::error::TrainError;
use super::optim::{AdamW, Moments};

const STATE: &str = "qeval_state.json";
const MOMENTS: &str = "qeval_state.safetensors";
const FORMAT: u32 = 1;

/// What a checkpoint says of its run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointState {
    format: u32,
    /// Optimizer steps taken.
    pub step: usize,
    /// Optimizer updates taken.
    pub updates: u64,
    /// Digest of data, settings, and base: a run resumes only its own checkpoints.
    pub identity: String,
    /// Tokens of the assistant seen so far.
    pub labelled_tokens: u64,
}

/// Writes `folder` at once: adapter, moments, state.
///
/// # Errors
/// A step of writing failed; nothing of that name exists then.
pub fn save(
    folder: &Path,
    adapter: &Adapter,
    base_name: Option<&str>,
    optimizer: &AdamW,
    trainable: &Trainable,
    mut state: CheckpointState,
) -> Result<(), TrainError> {
    state.format = FORMAT;
    atomic_file::write_folder(folder, |aside| {
        adapter.write(aside, base_name)?;
        let path = aside.join(MOMENTS);
        let bytes =
            moments_bytes(optimizer, trainable).map_err(|problem| TrainError::BadState {
                path: path.clone(),
                problem,
            })?;
        std::fs::write(&path, bytes).map_err(FileError::at("write", &path))?;
        let path = aside.join(STATE);
        let text = serde_json::to_string_pretty(&state).unwrap_or_default();
        std::fs::write(&path, text + "\n").map_err(FileError::at("write", &path))?;
        Ok(())
    })
}

impl CheckpointState {
    /// The state of a run after `step` steps.
    pub fn new(step: usize, updates: u64, identity: &str, labelled_tokens: u64) -> Self {
        CheckpointState {
            format: FORMAT,
            step,
            updates,
            identity: identity.to_owned(),
            labelled_tokens,
        }
    }

    /// Reads the state of a checkpoint; `None` when the folder is none of ours.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn read(folder: &Path) -> Result<Option<Self>, TrainError> {
        let path = folder.join(STATE);
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(FileError::at("read", &path))?,
        };
        let bad = |problem: String| TrainError::BadState {
            path: folder.to_path_buf(),
            problem,
        };
        let state: CheckpointState =
            serde_json::from_slice(&bytes).map_err(|e| bad(format!("{STATE}: {e}")))?;
        if state.format != FORMAT {
            return Err(bad(format!(
                "its format is {}, this qeval reads {FORMAT}",
                state.format
            )));
        }
        Ok(Some(state))
    }
}

/// The newest checkpoint of a run's folder that can be resumed, with its step.
///
/// # Errors
/// The folder cannot be listed.
pub fn newest(folder: &Path) -> Result<Option<(usize, PathBuf)>, TrainError> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        entries => entries.map_err(FileError::at("list", folder))?,
    };
    let mut newest = None;
    for entry in entries {
        let path = entry.map_err(FileError::at("list", folder))?.path();
        let name = path
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default();
        let Some(step) = name
            .strip_prefix("checkpoint-")
            .and_then(|s| s.parse::<usize>().ok())
        else {
            continue;
        };
        if path.join(STATE).is_file() && newest.as_ref().is_none_or(|(best, _)| *best < step) {
            newest = Some((step, path));
        }
    }
    Ok(newest)
}

/// Reads the optimizer's moments of a checkpoint into `optimizer`.
///
/// # Errors
/// The file cannot be read, or is of other matrices.
pub fn load_moments(
    folder: &Path,
    optimizer: &mut AdamW,
    trainable: &Trainable,
) -> Result<(), TrainError> {
    let path = folder.join(MOMENTS);
    let bad = |problem: String| TrainError::BadState {
        path: folder.to_path_buf(),
        problem: format!("{MOMENTS}: {problem}"),
    };
    let bytes = std::fs::read(&path).map_err(FileError::at("read", &path))?;
    let file = safetensors::SafeTensors::deserialize(&bytes).map_err(|e| bad(e.to_string()))?;
    let read = |name: &str, len: usize| {
        let tensor = file.tensor(name).map_err(|e| bad(e.to_string()))?;
        let data = tensor.data();
        if tensor.dtype() != safetensors::Dtype::F32 || data.len() != 4 * len {
            return Err(bad(format!("{name} is not of {len} F32 numbers")));
        }
        Ok(data
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect::<Vec<f32>>())
    };
    let mut moments = Vec::new();
    for (name, matrix) in trainable.matrices() {
        let len = matrix.value.len();
        moments.push(Moments {
            first: read(&format!("{name}.m"), len)?,
            second: read(&format!("{name}.v"), len)?,
        });
    }
    optimizer.moments = moments;
    Ok(())
}

fn moments_bytes(optimizer: &AdamW, trainable: &Trainable) -> Result<Vec<u8>, String> {
    let bytes = |x: &[f32]| x.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let mut data = BTreeMap::new();
    for ((name, _), moments) in trainable.matrices().zip(&optimizer.moments) {
        data.insert(format!("{name}.m"), bytes(&moments.first));
        data.insert(format!("{name}.v"), bytes(&moments.second));
    }
    let views: Result<BTreeMap<&str, _>, _> = data
        .iter()
        .map(|(name, bytes)| {
            let view = safetensors::tensor::TensorView::new(
                safetensors::Dtype::F32,
                vec![bytes.len() / 4],
                bytes,
            );
            view.map(|v| (name.as_str(), v))
        })
        .collect();
    let views = views.map_err(|e| e.to_string())?;
    safetensors::serialize(views, None).map_err(|e| e.to_string())
}
