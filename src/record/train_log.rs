//! `train.jsonl`: what a training run says of its steps.
//!
//! The trainer decides what a line holds. After a crash it goes on from the last checkpoint and
//! says some steps a second time; the later line holds then.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::reader::WholeLines;
use super::{RecordError, RunLock};
use crate::atomic_file::{FileError, LineAppender};

/// Appends to a run's `train.jsonl`.
#[derive(Debug)]
pub struct TrainLog {
    lines: LineAppender,
}

impl TrainLog {
    /// Opens the log of a run; a torn last line is cut off.
    ///
    /// # Errors
    /// The file cannot be opened or repaired.
    pub fn open(lock: &RunLock) -> Result<Self, RecordError> {
        Ok(TrainLog { lines: LineAppender::open(&lock.run().train_log())? })
    }

    /// Appends an entry as one line.
    ///
    /// # Errors
    /// The entry cannot be written as JSON, or the file not be written.
    pub fn append(&self, entry: &impl Serialize) -> Result<(), RecordError> {
        let path = self.lines.path();
        let text = serde_json::to_string(entry)
            .map_err(|error| FileError::at("append to", path)(error.into()))?;
        Ok(self.lines.append(&text)?)
    }

    /// Reads every whole line of a `train.jsonl`; a file that does not exist has none.
    ///
    /// # Errors
    /// The file cannot be read, or a line before a torn last one is no such entry.
    pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, RecordError> {
        let mut lines = match WholeLines::open(path) {
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            lines => lines?,
        };
        let mut entries = Vec::new();
        while let Some(text) = lines.next_text()? {
            let parsed = serde_json::from_str(text);
            entries.push(parsed.map_err(|error| lines.corrupt(error.to_string()))?);
        }
        Ok(entries)
    }
}
