//! Training examples: one conversation each, with the place that it came from.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::chat::Conversation;

use super::config::{BadRows, DataSection, Source};
use super::data::{RawRow, fill_placeholders, mix, parse_row, read_rows};
use super::error::{DataError, DataErrors, RowProblem};

/// File and line of a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    /// The file as the configuration names it.
    pub file: String,
    /// The line at which the row begins, from 1.
    pub line: usize,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// One conversation to train on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// The turns; the last one is an answer. Its system turn is the row's own, if any.
    pub conversation: Conversation,
    /// Rows of one group are paraphrases of each other and are never split between training and
    /// validation: the row's `group`, else its first question, normalised.
    pub group: String,
    /// Where it came from.
    pub origin: Origin,
}

impl Example {
    /// An example from elsewhere than a file; its group is its first question, normalised.
    pub fn new(conversation: Conversation, origin: Origin) -> Self {
        let group = super::data::question_group(&conversation);
        Example { conversation, group, origin }
    }
}

/// What became of the rows of one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceReport {
    /// The file as the configuration names it.
    pub file: String,
    /// Rows read.
    pub rows: usize,
    /// Rows that are examples now.
    pub used: usize,
    /// Rows left out by `path#N`.
    pub not_taken: usize,
    /// Rows left out by the shares.
    pub not_shared: usize,
    /// Rows left out because they cannot be trained on.
    pub dropped: usize,
    /// Rows left out because they repeat an earlier one.
    pub duplicates: usize,
}

/// A row that repeats an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duplicate {
    /// Which row.
    pub origin: Origin,
    /// What it repeats.
    pub of: Origin,
}

/// What became of every row: nothing is left out without being counted and named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataReport {
    /// One a source, in order.
    pub sources: Vec<SourceReport>,
    /// Rows that cannot be trained on and were dropped.
    pub dropped: Vec<RowProblem>,
    /// Rows that repeat an earlier one and were left out.
    pub duplicates: Vec<Duplicate>,
    /// Keys that no form knows, with the number of rows that have them.
    pub ignored_keys: BTreeMap<String, usize>,
}

impl fmt::Display for DataReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for s in &self.sources {
            write!(f, "{}: {} of {} rows", s.file, s.used, s.rows)?;
            let left_out = [
                (s.not_taken, "not taken"),
                (s.not_shared, "left out by the shares"),
                (s.dropped, "dropped"),
                (s.duplicates, "duplicates"),
            ];
            for (count, what) in left_out.iter().filter(|(count, _)| *count > 0) {
                write!(f, ", {count} {what}")?;
            }
            writeln!(f)?;
        }
        for problem in &self.dropped {
            writeln!(f, "dropped {problem}")?;
        }
        for duplicate in &self.duplicates {
            writeln!(f, "left out {}: repeats {}", duplicate.origin, duplicate.of)?;
        }
        for (key, rows) in &self.ignored_keys {
            let plural = if *rows == 1 { "" } else { "s" };
            writeln!(f, "ignored key `{key}` in {rows} row{plural}")?;
        }
        Ok(())
    }
}

/// The examples of a run, with the report on how they came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// In the order of sources and rows.
    pub examples: Vec<Example>,
    /// What became of every row.
    pub report: DataReport,
}

impl Dataset {
    /// Reads every source. Paths are relative to `folder`; `vars` fill `{{name}}` and its like.
    ///
    /// Errors: all of them at once, see [`DataError`].
    pub fn load(
        data: &DataSection,
        folder: &Path,
        vars: &BTreeMap<String, String>,
    ) -> Result<Self, DataErrors> {
        Self::from_sources(data, vars, |source| {
            let path = folder.join(&source.path);
            std::fs::read(&path).map_err(|source| DataError::Read { path, source })
        })
    }

    /// The same with the bytes of each source from elsewhere than the disk.
    pub fn from_sources(
        data: &DataSection,
        vars: &BTreeMap<String, String>,
        mut bytes_of: impl FnMut(&Source) -> Result<Vec<u8>, DataError>,
    ) -> Result<Self, DataErrors> {
        if data.sources.is_empty() {
            return Err(DataErrors(vec![DataError::NoSources]));
        }
        let mut reading = Reading::new(data, vars);
        for source in &data.sources {
            match bytes_of(source).and_then(|bytes| read_rows(&source.path, &bytes)) {
                Ok(rows) => reading.read_source(source, rows),
                Err(error) => reading.fail(source, error),
            }
        }
        reading.finish()
    }
}

/// Work in progress on the rows of all sources.
struct Reading<'a> {
    data: &'a DataSection,
    vars: &'a BTreeMap<String, String>,
    errors: Vec<DataError>,
    report: DataReport,
    /// Usable rows, one list a source.
    usable: Vec<Vec<Example>>,
    seen: HashMap<Conversation, Origin>,
}

impl<'a> Reading<'a> {
    fn new(data: &'a DataSection, vars: &'a BTreeMap<String, String>) -> Self {
        Reading {
            data,
            vars,
            errors: Vec::new(),
            report: DataReport::default(),
            usable: Vec::new(),
            seen: HashMap::new(),
        }
    }

    fn fail(&mut self, source: &Source, error: DataError) {
        self.errors.push(error);
        self.begin(source, 0);
    }

    fn begin(&mut self, source: &Source, rows: usize) {
        self.usable.push(Vec::new());
        self.report.sources.push(SourceReport {
            file: source.path.clone(),
            rows,
            used: 0,
            not_taken: 0,
            not_shared: 0,
            dropped: 0,
            duplicates: 0,
        });
    }

    fn read_source(&mut self, source: &Source, rows: Vec<RawRow>) {
        self.begin(source, rows.len());
        let place = self.usable.len() - 1;
        for row in rows {
            let parsed = match parse_row(&row.json, self.data.format) {
                Ok(parsed) => parsed,
                Err(reason) => {
                    self.report.sources[place].dropped += 1;
                    self.report.dropped.push(RowProblem { origin: row.origin, reason });
                    continue;
                }
            };
            for key in parsed.ignored_keys {
                *self.report.ignored_keys.entry(key).or_default() += 1;
            }
            let mut conversation = parsed.conversation;
            for message in &mut conversation.messages {
                match fill_placeholders(&message.content, self.vars) {
                    Ok(filled) => message.content = filled,
                    Err((placeholder, key)) => self.errors.push(DataError::Placeholder {
                        origin: row.origin.clone(),
                        placeholder,
                        key,
                    }),
                }
            }
            if self.data.drop_duplicates {
                if let Some(of) = self.seen.get(&conversation) {
                    self.report.sources[place].duplicates += 1;
                    let of = of.clone();
                    self.report.duplicates.push(Duplicate { origin: row.origin, of });
                    continue;
                }
                self.seen.insert(conversation.clone(), row.origin.clone());
            }
            let mut example = Example::new(conversation, row.origin);
            if let Some(group) = parsed.group {
                example.group = group;
            }
            self.usable[place].push(example);
        }
    }

    fn finish(mut self) -> Result<Dataset, DataErrors> {
        if self.data.bad_rows == BadRows::Refuse {
            self.errors.extend(self.report.dropped.iter().cloned().map(DataError::BadRow));
        }
        if !self.errors.is_empty() {
            return Err(DataErrors(self.errors));
        }
        let rows = self.report.sources.iter().map(|s| s.rows).sum();
        if self.usable.iter().all(Vec::is_empty) {
            let first = self.report.dropped.first().map_or(String::new(), |p| p.to_string());
            return Err(DataErrors(vec![DataError::NothingLeft {
                rows,
                dropped: self.report.dropped.len(),
                duplicates: self.report.duplicates.len(),
                first,
            }]));
        }
        let examples = mix(self.usable, self.data, &mut self.report).map_err(DataErrors)?;
        Ok(Dataset { examples, report: self.report })
    }
}
