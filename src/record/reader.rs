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
    let mut record = SubjectRecord::new(first_line(&mut lines)?);
    while let Some(line) = lines.next_line()? {
        match line {
            Line::Header(_) => return Err(lines.corrupt("a second header".to_owned())),
            line => record.take(line),
        }
    }
    Ok(record)
}

/// Reads who a record is about and nothing more.
///
/// # Errors
/// As [`read_record`], for the first line.
pub fn read_header(path: &Path) -> Result<Header, RecordError> {
    first_line(&mut WholeLines::open(path)?)
}

fn first_line(lines: &mut WholeLines<'_>) -> Result<Header, RecordError> {
    let not_a_record = |reason: &str| RecordError::NotARecord {
        path: lines.path.to_path_buf(),
        reason: reason.to_owned(),
    };
    let no_header = not_a_record("its first line is no header");
    let empty = not_a_record("it has no whole line");
    match lines.next_line() {
        Ok(Some(Line::Header(header))) => Ok(header),
        Ok(Some(_)) | Err(RecordError::CorruptLine { .. }) => Err(no_header),
        Ok(None) => Err(empty),
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
        Ok(WholeLines { path, file: BufReader::new(file), bytes: Vec::new(), number: 0 })
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
        let Some(text) = self.next_text()? else { return Ok(None) };
        let parsed = parse_line(text);
        let number = self.number;
        match parsed {
            Ok(line) => Ok(Some(line)),
            Err(Refused::Newer(format)) => {
                Err(RecordError::Newer { path: path.to_path_buf(), format, supported: FORMAT })
            }
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
            format!("a line of unknown kind {kind:?}; the kinds are {}", Line::KINDS.join(", "))
        }
        _ => error.to_string(),
    })
}

fn corrupt(path: &Path, line: usize, reason: String) -> RecordError {
    RecordError::CorruptLine { path: path.to_path_buf(), line, reason }
}
