//! What became of every row of the data.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::RowProblem;
use super::example::Origin;

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

impl SourceReport {
    /// How many rows are no examples, and why.
    pub fn left_out(&self) -> Vec<(usize, &'static str)> {
        let all = [
            (self.not_taken, "not taken"),
            (self.not_shared, "left out by the shares"),
            (self.dropped, "dropped"),
            (self.duplicates, "repeated"),
        ];
        all.into_iter().filter(|(count, _)| *count > 0).collect()
    }
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

impl DataReport {
    /// Each key that was passed over, in a sentence.
    pub fn ignored(&self) -> impl Iterator<Item = String> + '_ {
        self.ignored_keys.iter().map(|(key, rows)| {
            let plural = if *rows == 1 { "" } else { "s" };
            format!("ignored key `{key}` in {rows} row{plural}")
        })
    }
}

impl fmt::Display for DataReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for s in &self.sources {
            write!(f, "{}: {} of {} rows", s.file, s.used, s.rows)?;
            for (count, what) in s.left_out() {
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
        for ignored in self.ignored() {
            writeln!(f, "{ignored}")?;
        }
        Ok(())
    }
}
