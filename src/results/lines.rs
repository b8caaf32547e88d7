//! The lines of a JSONL file that another program wrote, each a JSON object.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::error::{ResultsError, Unreadable};
use crate::python_json::without_nan;
use crate::text::bytes;

/// Longest line that is read: no answer and no prompt is as long.
const LONGEST: u64 = 64 << 20;

/// A file's objects with their lines, read one at a time.
pub(super) struct Lines {
    file: PathBuf,
    reader: BufReader<File>,
    line: usize,
}

/// A line's number, from 1, and what stands there.
type NumberedObject = (usize, Map<String, Value>);

impl Lines {
    pub(super) fn open(file: &Path) -> Result<Self, ResultsError> {
        let opened = File::open(file).map_err(|error| failed(file, 0, error))?;
        Ok(Lines {
            file: file.to_owned(),
            reader: BufReader::new(opened),
            line: 0,
        })
    }

    /// The next object; `None` at the end. Empty lines are passed over.
    pub(super) fn next_object(&mut self) -> Result<Option<NumberedObject>, ResultsError> {
        let mut line = Vec::new();
        loop {
            line.clear();
            self.line += 1;
            let mut limited = (&mut self.reader).take(LONGEST);
            let read = limited.read_until(b'\n', &mut line);
            if read.map_err(|error| failed(&self.file, self.line, error))? == 0 {
                return Ok(None);
            }
            if line.len() as u64 >= LONGEST {
                let longest = Unreadable::LongLine(bytes(LONGEST));
                return Err(failed(&self.file, self.line, longest));
            }
            let mark = "\u{feff}".as_bytes();
            let text = line.strip_prefix(mark).unwrap_or(&line);
            let text = std::str::from_utf8(text)
                .map_err(|_| failed(&self.file, self.line, Unreadable::NoText))?;
            if text.trim().is_empty() {
                continue;
            }
            let object = serde_json::from_str(&without_nan(text.trim_end()))
                .map_err(|error| failed(&self.file, self.line, Unreadable::Json(told(&error))))?;
            return Ok(Some((self.line, object)));
        }
    }
}

/// An error of a place in a file.
pub(super) fn failed(file: &Path, line: usize, kind: impl Into<Unreadable>) -> ResultsError {
    ResultsError::File {
        file: file.to_owned(),
        line,
        kind: kind.into(),
    }
}

/// What is wrong in a line, with the column alone: the line is said before it.
fn told(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&place) {
        Some(what) => format!("{what} at column {}", error.column()),
        None => text,
    }
}

/// A value as text: a string as it is, anything else as JSON.
pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
