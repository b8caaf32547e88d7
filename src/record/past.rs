//! `history.jsonl` in the folder of runs: one line a verdict, appended when somebody is judged.
//!
//! # Format 1
//! `{"version": 1, "verdict": {..}}`, a [`PastVerdict`], one `write` call a line. The newest is last. A
//! line that cannot be read is left out and named: what came before and after it stays.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::reader::WholeLines;
use super::{RecordError, Store};
use crate::atomic_file::{FileError, LineAppender};
use crate::flow::PastVerdict;

const FILE: &str = "history.jsonl";
/// The layout that this version writes.
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    version: u32,
    verdict: PastVerdict,
}

/// The file of a folder of runs.
pub fn history_file(store: &Store) -> PathBuf {
    store.root().join(FILE)
}

/// Every verdict that was kept, and what could not be read.
///
/// # Errors
/// The file is there and cannot be read at all.
pub fn read_history(store: &Store) -> Result<(Vec<PastVerdict>, Vec<RecordError>), RecordError> {
    let path = history_file(store);
    let mut lines = match WholeLines::open(&path) {
        Err(error) if error.is_not_found() => return Ok((Vec::new(), Vec::new())),
        lines => lines?,
    };
    let (mut verdicts, mut errors) = (Vec::new(), Vec::new());
    let mut number = 0;
    loop {
        let read = match lines.next_text() {
            Ok(None) => break,
            Ok(Some(text)) => parsed(text),
            Err(RecordError::CorruptLine { reason, .. }) => Err(reason),
            Err(error) => return Err(error),
        };
        number += 1;
        match read {
            Ok(verdict) => verdicts.push(verdict),
            Err(reason) => errors.push(unreadable(&path, number, reason)),
        }
    }
    Ok((verdicts, errors))
}

fn unreadable(path: &Path, line: usize, reason: String) -> RecordError {
    RecordError::PastVerdict {
        path: path.to_path_buf(),
        line,
        reason,
    }
}

fn parsed(text: &str) -> Result<PastVerdict, String> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let versioned: Versioned = serde_json::from_str(text).map_err(|e| e.to_string())?;
    if versioned.version > VERSION {
        let version = versioned.version;
        return Err(format!(
            "its version is {version}, this qeval reads {VERSION}"
        ));
    }
    let line: Line = serde_json::from_str(text).map_err(|e| e.to_string())?;
    Ok(line.verdict)
}

/// Keeps a verdict, unless the same one was kept at the same commit. Processes wait for each other.
///
/// # Errors
/// The file cannot be read or written.
pub fn keep_verdict(store: &Store, verdict: PastVerdict) -> Result<(), RecordError> {
    let path = history_file(store);
    fs::create_dir_all(store.root()).map_err(FileError::at("create", store.root()))?;
    let lock = path.with_extension("lock");
    let held = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock)
        .map_err(FileError::at("open", &lock))?;
    held.lock().map_err(FileError::at("lock", &lock))?;
    let (kept, _) = read_history(store)?;
    let at = |verdict: &PastVerdict| {
        let commit = verdict.commit.as_ref();
        let commit = commit.map(|commit| (commit.hash.clone(), commit.changed));
        (verdict.order.clone(), verdict.subject.clone(), commit)
    };
    if kept.iter().any(|before| at(before) == at(&verdict)) {
        return Ok(());
    }
    let line = Line {
        version: VERSION,
        verdict,
    };
    let append = |path: &Path| -> Result<(), FileError> {
        let text = serde_json::to_string(&line);
        let text = text.map_err(|error| FileError::at("append to", path)(error.into()))?;
        LineAppender::open(path)?.append(&text)
    };
    Ok(append(&path)?)
}

#[cfg(test)]
mod tests {
    use super::super::testing::redacted;
    use super::*;
    use crate::flow::{Commit, Decision};

    fn verdict(order: &str, commit: &str) -> PastVerdict {
        PastVerdict {
            unix_ms: 1,
            qeval: "0.1.0".into(),
            command: "gate".into(),
            commit: Some(Commit {
                hash: commit.into(),
                subject: "s".into(),
                unix_s: 1,
                changed: false,
            }),
            subject: "ckpt-4".into(),
            base: "m".into(),
            order: order.into(),
            decision: Decision::Pass,
            learned_enough: true,
            measured: true,
            sentence: "pass".into(),
            keep: None,
            learn: Some(0.5),
            suites: Vec::new(),
            exam: None,
        }
    }

    #[test]
    fn one_verdict_is_kept_once_a_commit() {
        let runs = tempfile::tempdir().unwrap();
        let store = Store::open(runs.path().join("runs")).unwrap();
        assert_eq!(read_history(&store).unwrap().0, []);
        let all = [("a", "1"), ("a", "1"), ("a", "2"), ("b", "2"), ("a", "1")];
        for (order, commit) in all {
            keep_verdict(&store, verdict(order, commit)).unwrap();
        }
        let (kept, errors) = read_history(&store).unwrap();
        let expected = [("a", "1"), ("a", "2"), ("b", "2")].map(|(o, c)| verdict(o, c));
        assert_eq!(kept, expected);
        assert!(errors.is_empty());
    }

    #[test]
    fn a_damaged_line_is_named_and_the_others_are_read() {
        let runs = tempfile::tempdir().unwrap();
        let store = Store::open(runs.path()).unwrap();
        keep_verdict(&store, verdict("a", "1")).unwrap();
        let mut text = fs::read(history_file(&store)).unwrap();
        text.extend(b"{\"version\": 1}\n\xff\xfe\n{\"version\": 9, \"other\": 1}\n");
        fs::write(history_file(&store), text).unwrap();
        keep_verdict(&store, verdict("b", "1")).unwrap();
        let (kept, errors) = read_history(&store).unwrap();
        assert_eq!(kept.len(), 2);
        let said: Vec<String> = errors.into_iter().map(|e| redacted(e, &runs)).collect();
        insta::assert_snapshot!(said.join("\n"), @"
        [runs]/history.jsonl, line 2: cannot be read: missing field `verdict` at line 1 column 14
          It is one verdict of the past: delete the line, or leave it there. The others are shown.
        [runs]/history.jsonl, line 3: cannot be read: invalid utf-8 sequence of 1 bytes from index 0
          It is one verdict of the past: delete the line, or leave it there. The others are shown.
        [runs]/history.jsonl, line 4: cannot be read: its version is 9, this qeval reads 1
          It is one verdict of the past: delete the line, or leave it there. The others are shown.
        ");
    }
}
