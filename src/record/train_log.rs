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
        Ok(TrainLog {
            lines: LineAppender::open(&lock.run().train_log())?,
        })
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::*;
    use super::*;

    #[test]
    fn entries_come_back_and_a_torn_one_is_cut() {
        let (runs, lock) = locked_run();
        let path = lock.run().train_log();
        assert_eq!(TrainLog::read::<Value>(&path).unwrap(), Vec::<Value>::new());
        let log = TrainLog::open(&lock).unwrap();
        log.append(&json!({"step": 1, "loss": 2.5})).unwrap();
        drop(log);
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{whole}{{\"step\": 2")).unwrap();
        assert_eq!(TrainLog::read::<Value>(&path).unwrap().len(), 1);
        TrainLog::open(&lock)
            .unwrap()
            .append(&json!({"step": 2, "loss": 1.5}))
            .unwrap();
        let entries: Vec<Value> = TrainLog::read(&path).unwrap();
        assert_eq!(entries[1], json!({"step": 2, "loss": 1.5}));

        std::fs::write(&path, format!("{whole}nonsense\n{whole}")).unwrap();
        let error = TrainLog::read::<Value>(&path).unwrap_err();
        insta::assert_snapshot!(redacted(error, &runs), @"
        [runs]/run-0001/train.jsonl, line 2: cannot be read: expected ident at line 1 column 2
          Only a torn last line is expected after a crash. Delete this line and run again: an answer that it held is generated again.
        ");
    }
}
