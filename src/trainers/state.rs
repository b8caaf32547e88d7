//! `trainer_state.json`: how far a run is, and what it said of its losses.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::lenient_json::{Unread, read};

/// The file, which the Trainer writes when everything else of a checkpoint is there.
pub(super) const STATE: &str = "trainer_state.json";

/// What is read of it. Keys that are missing or of another type count as unknown.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct TrainerState {
    /// Optimizer steps taken.
    #[serde(deserialize_with = "number")]
    pub global_step: Option<f64>,
    /// Steps that the run will take.
    #[serde(deserialize_with = "number")]
    pub max_steps: Option<f64>,
    /// Steps from one checkpoint to the next, when it saves by steps.
    #[serde(deserialize_with = "number")]
    pub save_steps: Option<f64>,
    /// What was logged.
    pub log_history: Vec<Value>,
}

fn number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    Ok(Value::deserialize(deserializer)?.as_f64())
}

impl TrainerState {
    /// What a checkpoint's own file says.
    pub(super) fn read(folder: &Path) -> Result<Self, Unread> {
        let value = read(&folder.join(STATE))?;
        if !value.is_object() {
            return Err(Unread::Partial("is no object".into()));
        }
        Ok(serde_json::from_value(value).unwrap_or_default())
    }

    /// Whether the run ends with this checkpoint.
    pub fn is_last(&self) -> bool {
        match (self.global_step, self.max_steps) {
            (Some(step), Some(most)) => most > 0.0 && step >= most,
            _ => false,
        }
    }

    /// How many checkpoints the run writes, when it saves by steps. The file has a number of steps
    /// also of a run that saves by epochs; a checkpoint between two multiples of it tells.
    pub fn planned(&self) -> Option<usize> {
        let (step, most, every) = (self.global_step?, self.max_steps?, self.save_steps?);
        let by_steps = every >= 1.0 && every <= most && (step % every == 0.0 || step == most);
        by_steps.then(|| (most / every).ceil() as usize)
    }

    /// The mean training loss since the checkpoint before, which is of step `since`, in nats per
    /// token.
    pub fn train_loss(&self, since: usize) -> Option<f64> {
        let logged = self.logged("loss").filter(|(step, _)| *step > since as f64);
        let all: Vec<f64> = logged.map(|(_, loss)| loss).collect();
        (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64)
    }

    /// The newest validation loss, in nats per token.
    pub fn validation_loss(&self) -> Option<f64> {
        self.logged("eval_loss").last().map(|(_, loss)| loss)
    }

    fn logged<'a>(&'a self, key: &'a str) -> impl Iterator<Item = (f64, f64)> + 'a {
        self.log_history.iter().filter_map(move |entry| {
            let step = entry.get("step").and_then(Value::as_f64)?;
            Some((step, entry.get(key).and_then(Value::as_f64)?))
        })
    }
}

/// What is read of a log's end, in bytes.
const LOG_END: u64 = 64 << 10;

/// Whether a trainer has ended its run, by what it writes then: Hugging Face's scripts and
/// LLaMA-Factory the results and the state, ms-swift a last line of its log. What an earlier run left
/// there is older than the checkpoint.
pub fn has_ended(run: &Path, checkpoint: &Path) -> bool {
    let time = |path: &Path| fs::metadata(path).and_then(|meta| meta.modified()).ok();
    let Some(written) = time(&checkpoint.join(STATE)) else {
        return false;
    };
    ["train_results.json", "all_results.json", STATE]
        .iter()
        .any(|name| time(&run.join(name)).is_some_and(|end| end > written))
        || has_summary(&run.join("logging.jsonl")).unwrap_or(false)
}

/// ms-swift's last line has the whole history, whose last entry is the time that the run took.
fn has_summary(log: &Path) -> std::io::Result<bool> {
    if !fs::metadata(log)?.is_file() {
        return Ok(false);
    }
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_END)))?;
    let mut end = Vec::new();
    file.take(LOG_END).read_to_end(&mut end)?;
    Ok(String::from_utf8_lossy(&end).contains("\"train_runtime\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(text: &str) -> TrainerState {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(STATE), text).unwrap();
        TrainerState::read(folder.path()).unwrap()
    }

    #[test]
    fn losses_and_the_end_are_read() {
        let read = state(
            r#"{"global_step": 40, "max_steps": 40, "save_steps": 20, "log_history": [
                {"loss": 4.0, "step": 20}, {"eval_loss": 3.0, "step": 20}, {"loss": NaN, "step": 25},
                {"loss": 2.0, "step": 30}, {"loss": 1.0, "step": 40}, {"train_loss": 9.0, "step": 40}]}"#,
        );
        assert!(read.is_last());
        assert_eq!(read.planned(), Some(2));
        assert_eq!(read.train_loss(20), Some(1.5));
        assert_eq!(read.train_loss(40), None);
        assert_eq!(read.validation_loss(), Some(3.0));
    }

    #[test]
    fn the_number_of_checkpoints_is_known_of_runs_that_save_by_steps() {
        for (step, most, every, planned) in [
            (20, 40, "20", Some(2)),
            (40, 50, "20.0", Some(3)),
            (50, 50, "20", Some(3)),
            // Saved by epochs: the usual number of steps stands there all the same.
            (13, 39, "500", None),
            (13, 39, "5", None),
            (39, 39, "500", None),
            (20, 40, "0", None),
            (20, 40, "\"x\"", None),
            (20, -1, "20", None),
        ] {
            let text =
                format!(r#"{{"global_step": {step}, "max_steps": {most}, "save_steps": {every}}}"#);
            assert_eq!(state(&text).planned(), planned, "{text}");
        }
        assert!(!state("{}").is_last());
    }

    /// What each trainer leaves when it ends. Files of an earlier run say nothing of this one.
    #[test]
    fn a_run_has_ended_when_its_trainer_says_so_after_the_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path();
        let checkpoint = run.join("checkpoint-4");
        fs::create_dir(&checkpoint).unwrap();
        let write = |path: &Path, text: &str| {
            // Times of files may be no finer than this.
            std::thread::sleep(std::time::Duration::from_millis(20));
            fs::write(path, text).unwrap();
        };
        write(&run.join("all_results.json"), "{}");
        assert!(!has_ended(run, &checkpoint), "there is no checkpoint");
        write(&checkpoint.join(STATE), "{}");
        write(
            &run.join("logging.jsonl"),
            "{\"loss\": 1.0, \"memory(GiB)\": 0}\n",
        );
        assert!(!has_ended(run, &checkpoint));
        for name in ["train_results.json", "all_results.json", STATE] {
            write(&run.join(name), "{}");
            assert!(has_ended(run, &checkpoint), "{name}");
            fs::remove_file(run.join(name)).unwrap();
        }
        let summary = "{\"log_history\": [{\"train_runtime\": 0.2}], \"memory\": 0}\n";
        write(
            &run.join("logging.jsonl"),
            &format!("{}{summary}", " ".repeat(100_000)),
        );
        assert!(has_ended(run, &checkpoint));
    }
}
