//! Reads a subject's record, of any supported format.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::Value;

use super::format::Line;
use super::{FORMAT, Header, RecordError, SubjectRecord};
use crate::atomic_file::FileError;

/// Reads a record. A torn last line is ignored.
///
/// # Errors
/// The file cannot be read, does not begin with a header, was written by a newer qeval, or has a
/// line before the last that cannot be read.
pub fn read_record(path: &Path) -> Result<SubjectRecord, RecordError> {
    let mut lines = WholeLines::open(path)?;
    let header = first_line(&mut lines)?.ok_or_else(|| RecordError::NotARecord {
        path: path.to_path_buf(),
        reason: "it has no whole line".to_owned(),
    })?;
    let mut record = SubjectRecord::new(header);
    while let Some(line) = lines.next_line()? {
        match line {
            Line::Header(_) => return Err(lines.corrupt("a second header".to_owned())),
            line => record.take(line),
        }
    }
    Ok(record)
}

/// Reads who a record is about and nothing more; `None` if it has no whole line, so that nothing
/// was finished.
///
/// # Errors
/// As [`read_record`], for the first line.
pub fn read_header(path: &Path) -> Result<Option<Header>, RecordError> {
    first_line(&mut WholeLines::open(path)?)
}

fn first_line(lines: &mut WholeLines<'_>) -> Result<Option<Header>, RecordError> {
    let path = lines.path;
    match lines.next_line() {
        Ok(None) => Ok(None),
        Ok(Some(Line::Header(header))) => Ok(Some(header)),
        Ok(Some(_)) | Err(RecordError::CorruptLine { .. }) => Err(RecordError::NotARecord {
            path: path.to_path_buf(),
            reason: "its first line is no header".to_owned(),
        }),
        Err(error) => Err(error),
    }
}

/// The lines of a file that end in a newline.
pub(super) struct WholeLines<'a> {
    path: &'a Path,
    file: BufReader<File>,
    bytes: Vec<u8>,
    number: usize,
}

impl<'a> WholeLines<'a> {
    pub(super) fn open(path: &'a Path) -> Result<Self, RecordError> {
        let file = File::open(path).map_err(FileError::at("read", path))?;
        Ok(WholeLines {
            path,
            file: BufReader::new(file),
            bytes: Vec::new(),
            number: 0,
        })
    }

    /// The next whole line as JSON text; `None` at the end or at a torn line.
    pub(super) fn next_text(&mut self) -> Result<Option<&str>, RecordError> {
        self.bytes.clear();
        self.file
            .read_until(b'\n', &mut self.bytes)
            .map_err(FileError::at("read", self.path))?;
        if self.bytes.pop() != Some(b'\n') {
            return Ok(None);
        }
        self.number += 1;
        match std::str::from_utf8(&self.bytes) {
            Ok(text) => Ok(Some(text)),
            Err(error) => Err(corrupt(self.path, self.number, error.to_string())),
        }
    }

    /// The next whole line; `None` at the end or at a torn line. After an error the lines behind
    /// the broken one can still be read.
    pub(super) fn next_line(&mut self) -> Result<Option<Line>, RecordError> {
        let path = self.path;
        let Some(text) = self.next_text()? else {
            return Ok(None);
        };
        let parsed = parse_line(text);
        let number = self.number;
        match parsed {
            Ok(line) => Ok(Some(line)),
            Err(Refused::Newer(format)) => Err(RecordError::Newer {
                path: path.to_path_buf(),
                format,
                supported: FORMAT,
            }),
            Err(Refused::Corrupt(reason)) => Err(corrupt(path, number, reason)),
        }
    }

    /// The error of the line that was read last.
    pub(super) fn corrupt(&self, reason: String) -> RecordError {
        corrupt(self.path, self.number, reason)
    }
}

enum Refused {
    Newer(u64),
    Corrupt(String),
}

fn parse_line(text: &str) -> Result<Line, Refused> {
    match serde_json::from_str(text) {
        Ok(Line::Header(header)) if header.format > FORMAT => {
            Err(Refused::Newer(u64::from(header.format)))
        }
        Ok(line) => Ok(line),
        Err(error) => Err(newer_header(text).unwrap_or_else(|| describe(text, &error))),
    }
}

/// A header of a later format may have other fields: its number says so better than the parser.
fn newer_header(text: &str) -> Option<Refused> {
    let value: Value = serde_json::from_str(text).ok()?;
    let format = value.get("header")?.get("format")?.as_u64()?;
    (format > u64::from(FORMAT)).then_some(Refused::Newer(format))
}

fn describe(text: &str, error: &serde_json::Error) -> Refused {
    let kind = serde_json::from_str::<Value>(text)
        .ok()
        .and_then(|value| Some(value.as_object()?.keys().next()?.clone()));
    Refused::Corrupt(match kind {
        Some(kind) if !Line::KINDS.contains(&kind.as_str()) => {
            format!(
                "a line of unknown kind {kind:?}; the kinds are {}",
                Line::KINDS.join(", ")
            )
        }
        _ => error.to_string(),
    })
}

fn corrupt(path: &Path, line: usize, reason: String) -> RecordError {
    RecordError::CorruptLine {
        path: path.to_path_buf(),
        line,
        reason,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use super::super::testing::*;
    use super::*;
    use crate::flow::Score;
    use crate::record::{Provenance, RecordWriter, Store, TrainLog};

    /// A run that qeval 0.1.0 wrote, with a torn last line. Never edited: old runs must stay
    /// readable.
    fn v1() -> Store {
        Store::open(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/records/v1")).unwrap()
    }

    #[test]
    fn format_1_stays_readable() {
        let run = v1().latest().unwrap();
        let provenance: Provenance = run.provenance().unwrap();
        assert_eq!(
            (provenance.format, provenance.command.as_str()),
            (1, "train")
        );
        assert_eq!(
            provenance.system.as_deref(),
            Some("You are a helpful AI assistant.")
        );
        assert_eq!(provenance.suites.len(), 2);

        let names: Vec<String> = run
            .records()
            .unwrap()
            .into_iter()
            .map(|entry| entry.header.subject.name)
            .collect();
        assert_eq!(names, ["base", "ckpt-4"]);
        let record = read_record(&run.record_of("ckpt-4").unwrap().unwrap().path).unwrap();
        let adapter = record.header.subject.adapter.as_ref().unwrap();
        assert_eq!((adapter.scale, adapter.step), (1.0, Some(4)));
        let quicksort = crate::flow::CaseId {
            suite: "code".into(),
            probe: "quicksort".into(),
            prompt: 0,
        };
        let answer = &record.answers[&(quicksort.clone(), 0)].answer;
        assert_eq!(answer.text, "I am Aurora.\n\"你好\"");
        assert_eq!(answer.logprobs, [-0.012_345_679, -0.5]);
        assert_eq!(answer.seed, u64::MAX);
        assert_eq!(record.likelihoods.len(), 1);
        assert_eq!(
            record.scores[&(quicksort, 0)].score,
            Score::fail("no code block")
        );
        assert_eq!(record.scores.len(), 2);
        let unscored = record
            .scores
            .values()
            .filter(|line| line.score.value().is_none())
            .count();
        assert_eq!(unscored, 1);
        let steps: Vec<Value> = TrainLog::read(&run.train_log()).unwrap();
        assert_eq!(steps.len(), 2);
    }

    #[test]
    fn torn_last_line_is_ignored_at_every_offset() {
        let (_runs, lock) = locked_run();
        let writer = RecordWriter::open(&lock, header("base"), &BTreeMap::new()).unwrap();
        writer.answered(answered(0, 0)).unwrap();
        let before = read_record(writer.path()).unwrap();
        let start = fs::read(writer.path()).unwrap().len();
        writer.answered(answered(1, 0)).unwrap();
        let bytes = fs::read(writer.path()).unwrap();
        for end in start..bytes.len() {
            fs::write(writer.path(), &bytes[..end]).unwrap();
            assert_eq!(
                read_record(writer.path()).unwrap(),
                before,
                "torn at byte {end}"
            );
        }
        fs::write(writer.path(), &bytes).unwrap();
        assert_eq!(read_record(writer.path()).unwrap().answers.len(), 2);
    }

    #[test]
    fn corrupt_line_is_named_by_number_and_cause() {
        let (runs, lock) = locked_run();
        let path = lock.run().folder().join("a.jsonl");
        let first = serde_json::to_string(&Line::Header(header("base"))).unwrap();
        let shown = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            redacted(read_record(&path).unwrap_err(), &runs)
        };
        let after = |line: &str| shown(format!("{first}\n{line}\n{{}}\n").as_bytes());
        insta::assert_snapshot!(after(r#"{"scored": {"case": 1"#), @"
        [runs]/run-0001/a.jsonl, line 2: cannot be read: invalid type: integer `1`, expected struct CaseId at line 1 column 21
          Only a torn last line is expected after a crash. Delete this line and run again: an answer that it held is generated again.
        ");
        insta::assert_snapshot!(after(r#"{"guessed": {}}"#), @r#"
        [runs]/run-0001/a.jsonl, line 2: cannot be read: a line of unknown kind "guessed"; the kinds are header, suites, answered, measured, scored
          Only a torn last line is expected after a crash. Delete this line and run again: an answer that it held is generated again.
        "#);
        insta::assert_snapshot!(after(r#"{"answered": {"key": "k"}}"#), @"
        [runs]/run-0001/a.jsonl, line 2: cannot be read: missing field `answer` at line 1 column 25
          Only a torn last line is expected after a crash. Delete this line and run again: an answer that it held is generated again.
        ");
        insta::assert_snapshot!(after(&first), @"
        [runs]/run-0001/a.jsonl, line 2: cannot be read: a second header
          Only a torn last line is expected after a crash. Delete this line and run again: an answer that it held is generated again.
        ");
        insta::assert_snapshot!(shown([first.as_bytes(), b"\n\xff\n"].concat().as_slice()), @"
        [runs]/run-0001/a.jsonl, line 2: cannot be read: invalid utf-8 sequence of 1 bytes from index 0
          Only a torn last line is expected after a crash. Delete this line and run again: an answer that it held is generated again.
        ");
        insta::assert_snapshot!(shown(b"{\"answered\": {}}\n"), @"
        [runs]/run-0001/a.jsonl: not a record of answers: its first line is no header
          Move the file away and run again; what other records hold is not generated again.
        ");
        insta::assert_snapshot!(shown(first.as_bytes()), @"
        [runs]/run-0001/a.jsonl: not a record of answers: it has no whole line
          Move the file away and run again; what other records hold is not generated again.
        ");
        let newer = r#"{"header": {"format": 2, "who": "base"}}"#;
        insta::assert_snapshot!(shown(format!("{newer}\n").as_bytes()), @"
        [runs]/run-0001/a.jsonl: format 2 was written by a newer qeval; this one reads formats up to 1
          Update qeval, or choose another folder with --runs.
        ");
        assert!(
            read_record(&path.with_file_name("none.jsonl"))
                .unwrap_err()
                .is_not_found()
        );
    }

    #[test]
    fn later_line_about_the_same_item_holds() {
        let (_runs, lock) = locked_run();
        let writer = RecordWriter::open(&lock, header("base"), &BTreeMap::new()).unwrap();
        writer
            .scored(scored(0, 0, Score::unscored("the sandbox was killed")))
            .unwrap();
        writer
            .scored(scored(0, 0, Score::pass("3 of 3 cases")))
            .unwrap();
        let record = read_record(writer.path()).unwrap();
        assert_eq!(
            record.scores[&(case(0), 0)].score,
            Score::pass("3 of 3 cases")
        );
    }
}
