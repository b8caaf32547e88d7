//! `trainer_state.json`: what Hugging Face's `Trainer` leaves in a checkpoint of how training went.
//!
//! Programs that plot a run or pick a checkpoint read it. The names are those of
//! `transformers.TrainerState`, which refuses others; what is not measured here (`total_flos`,
//! `num_input_tokens_seen`) is left out, and takes its default there.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::RecordError;
use crate::atomic_file::{self, FileError};

/// Name of the file in a checkpoint's folder.
pub const TRAINER_STATE: &str = "trainer_state.json";

/// How training went until a checkpoint. Steps are optimizer steps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainerStateFile {
    /// Step of the best checkpoint so far.
    pub best_global_step: Option<usize>,
    /// Its score.
    pub best_metric: Option<f64>,
    /// Its folder.
    pub best_model_checkpoint: Option<String>,
    /// Passes over the examples.
    pub epoch: f64,
    /// Steps between two validations.
    pub eval_steps: usize,
    /// Steps taken.
    pub global_step: usize,
    /// Always false: a setting that was tried has no `Trainer` around it.
    pub is_hyper_param_search: bool,
    /// Always true: one process trains.
    pub is_local_process_zero: bool,
    /// Always true.
    pub is_world_process_zero: bool,
    /// Everything logged, in order: objects of numbers with `step` and `epoch`.
    pub log_history: Vec<Map<String, Value>>,
    /// Steps between two logged ones.
    pub logging_steps: usize,
    /// Steps that the run plans.
    pub max_steps: usize,
    /// Passes that the run plans, rounded up.
    pub num_train_epochs: usize,
    /// Steps between two checkpoints.
    pub save_steps: usize,
    /// Examples of a micro-batch, by the settings' name for it.
    pub train_batch_size: usize,
    /// Always none.
    pub trial_name: Option<String>,
    /// Always none.
    pub trial_params: Option<Map<String, Value>>,
}

impl TrainerStateFile {
    /// Writes it into a checkpoint's folder, as `Trainer` does: sorted, indented by two.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, checkpoint: &Path) -> Result<(), RecordError> {
        let path = checkpoint.join(TRAINER_STATE);
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| FileError::at("write", &path)(error.into()))?;
        Ok(atomic_file::write(&path, text + "\n")?)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_sorted_and_none_is_of_our_own() {
        let folder = tempfile::tempdir().unwrap();
        let history = json!({"loss": 2.5, "step": 1, "epoch": 0.5});
        let state = TrainerStateFile {
            epoch: 0.5,
            global_step: 1,
            max_steps: 2,
            num_train_epochs: 1,
            is_local_process_zero: true,
            is_world_process_zero: true,
            log_history: vec![history.as_object().unwrap().clone()],
            ..TrainerStateFile::default()
        };
        state.write(folder.path()).unwrap();
        let text = std::fs::read_to_string(folder.path().join(TRAINER_STATE)).unwrap();
        assert_eq!(
            serde_json::from_str::<TrainerStateFile>(&text).unwrap(),
            state
        );
        let names: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("  \"")?.split('"').next())
            .collect();
        assert!(names.is_sorted(), "{names:?}");
        insta::assert_snapshot!(names.join(" "), @"best_global_step best_metric best_model_checkpoint epoch eval_steps global_step is_hyper_param_search is_local_process_zero is_world_process_zero log_history logging_steps max_steps num_train_epochs save_steps train_batch_size trial_name trial_params");
    }
}
