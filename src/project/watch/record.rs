//! Which checkpoints of a folder were judged, and what followed.
//!
//! # Format 1
//! `watches/KEY.jsonl` in the folder of runs, one line a thing that happened: `{"judged": {..}}`, a
//! [`CheckpointVerdict`], and `{"done": {"what": "stop", "checkpoint": .., "digest": ..}}` for what followed
//! from one. KEY is a digest of the folder and of everything that can change a verdict: other suites
//! judge anew. A checkpoint is its path and the digest of its weights.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::atomic_file::{FileError, LineAppender};
use crate::record::TrainLog;

use super::super::error::ProjectError;
use super::error::WatchError;
use super::verdict::CheckpointVerdict;

/// Folder of the records, in that of the runs.
const FOLDER: &str = "watches";

/// What followed from a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Done {
    /// The stop file was written.
    Stop,
    /// The verdict was sent.
    Post,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Judged(Box<CheckpointVerdict>),
    Done {
        what: Done,
        checkpoint: String,
        digest: String,
    },
}

/// The record of a folder, held by this process.
pub(super) struct WatchRecord {
    lines: LineAppender,
    _lock: File,
    judged: Vec<CheckpointVerdict>,
    done: BTreeSet<(Done, String, String)>,
}

impl WatchRecord {
    /// Opens the record, made if need be; a torn last line is cut off.
    ///
    /// # Errors
    /// Another process has it, or it cannot be read or written.
    pub(super) fn open(runs: &Path, key: &str, watched: &Path) -> Result<Self, ProjectError> {
        let folder = runs.join(FOLDER);
        fs::create_dir_all(&folder).map_err(FileError::at("create", &folder))?;
        let lock = lock(&folder.join(format!("{key}.lock")), watched)?;
        let path = folder.join(format!("{key}.jsonl"));
        let lines = LineAppender::open(&path)?;
        let mut record = WatchRecord {
            lines,
            _lock: lock,
            judged: Vec::new(),
            done: BTreeSet::new(),
        };
        for line in TrainLog::read::<Line>(&path)? {
            match line {
                Line::Judged(judgement) => record.judged.push(*judgement),
                Line::Done {
                    what,
                    checkpoint,
                    digest,
                } => _ = record.done.insert((what, checkpoint, digest)),
            }
        }
        Ok(record)
    }

    /// Every verdict, in the order of judging.
    pub(super) fn judged(&self) -> &[CheckpointVerdict] {
        &self.judged
    }

    /// Whether a checkpoint was judged with these weights.
    pub(super) fn has(&self, checkpoint: &str, digest: &str) -> bool {
        let mut all = self.judged.iter();
        all.any(|j| j.checkpoint == checkpoint && j.digest == digest)
    }

    /// From now on the checkpoint is judged.
    pub(super) fn add(&mut self, judgement: CheckpointVerdict) -> Result<(), ProjectError> {
        self.append(&Line::Judged(Box::new(judgement.clone())))?;
        self.judged.push(judgement);
        Ok(())
    }

    /// Whether this followed already.
    pub(super) fn is_done(&self, what: Done, judgement: &CheckpointVerdict) -> bool {
        self.done.contains(&key_of(what, judgement))
    }

    /// From now on it has followed.
    pub(super) fn set_done(
        &mut self,
        what: Done,
        judgement: &CheckpointVerdict,
    ) -> Result<(), ProjectError> {
        let (what, checkpoint, digest) = key_of(what, judgement);
        self.append(&Line::Done {
            what,
            checkpoint: checkpoint.clone(),
            digest: digest.clone(),
        })?;
        self.done.insert((what, checkpoint, digest));
        Ok(())
    }

    fn append(&self, line: &Line) -> Result<(), ProjectError> {
        Ok(self.lines.append(&serde_json::to_string(line)?)?)
    }
}

fn key_of(what: Done, judgement: &CheckpointVerdict) -> (Done, String, String) {
    (what, judgement.checkpoint.clone(), judgement.digest.clone())
}

/// The system lets go of the lock when its holder ends, however it ends.
fn lock(path: &Path, watched: &Path) -> Result<File, ProjectError> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .map_err(FileError::at("open", path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // The holder's id is a help to the user, not needed to refuse.
            let read = file.read_to_string(&mut holder);
            return Err(WatchError::InUse {
                path: watched.to_path_buf(),
                process: read.ok().and_then(|_| holder.trim().parse().ok()),
            }
            .into());
        }
        Err(TryLockError::Error(error)) => return Err(FileError::at("lock", path)(error).into()),
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(FileError::at("write", path))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::testing::verdict;

    pub(crate) fn judgement(checkpoint: &str, digest: &str) -> CheckpointVerdict {
        CheckpointVerdict {
            version: 1,
            checkpoint: checkpoint.into(),
            folder: checkpoint.into(),
            run: String::new(),
            step: 4,
            digest: digest.into(),
            base: "model".into(),
            look: 1,
            planned: None,
            train_loss: Some(1.5),
            validation_loss: None,
            may_ship: true,
            verdict: verdict(90, 8),
            causes: Vec::new(),
        }
    }

    #[test]
    fn what_was_judged_and_what_followed_come_back() {
        let runs = tempfile::tempdir().unwrap();
        let open = || WatchRecord::open(runs.path(), "key", Path::new("out"));
        let mut record = open().unwrap();
        let (first, second) = (
            judgement("checkpoint-4", "a"),
            judgement("checkpoint-8", "b"),
        );
        record.add(first.clone()).unwrap();
        record.set_done(Done::Post, &first).unwrap();
        record.add(second.clone()).unwrap();
        drop(record);
        // A killed process tears its last line.
        let path = runs.path().join("watches/key.jsonl");
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 9]).unwrap();
        let mut record = open().unwrap();
        assert_eq!(record.judged(), std::slice::from_ref(&first));
        assert!(record.has("checkpoint-4", "a") && !record.has("checkpoint-8", "b"));
        // Rewritten, it is another; what followed is of one weight alone.
        assert!(!record.has("checkpoint-4", "c"));
        assert!(record.is_done(Done::Post, &first) && !record.is_done(Done::Stop, &first));
        assert!(!record.is_done(Done::Post, &judgement("checkpoint-4", "c")));
        record.add(second).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), whole);
    }

    #[test]
    fn one_process_watches_a_folder() {
        let runs = tempfile::tempdir().unwrap();
        let open = || WatchRecord::open(runs.path(), "key", Path::new("out"));
        let held = open().unwrap();
        let error = open().err().unwrap().to_string();
        let error = error.replace(&std::process::id().to_string(), "[id]");
        insta::assert_snapshot!(error, @"
        out: another qeval (process [id]) watches it by the same settings
          Two would judge every checkpoint twice. End that one, or wait for it.
        ");
        drop(held);
        assert!(open().is_ok());
    }
}
