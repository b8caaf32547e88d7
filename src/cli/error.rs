//! Why a command could not do its work. Every text comes from the stage that failed.

use std::path::PathBuf;

use thiserror::Error;

use crate::atomic_file::FileError;
use crate::config::ConfigErrors;
use crate::import::ImportError;
use crate::project::ProjectError;
use crate::results::ResultsError;
use crate::run::RunError;
use crate::snapshot::SnapshotError;
use crate::suite::SuiteErrors;
use crate::train::DataErrors;

use super::init::InitError;

/// Why a command could not do its work.
#[derive(Debug, Error)]
pub enum CliError {
    /// The project could not do what was asked of it.
    #[error(transparent)]
    Project(#[from] ProjectError),
    /// A run could not measure.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The demo's configuration.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// Built-in suites.
    #[error(transparent)]
    Suites(#[from] SuiteErrors),
    /// Another program's file.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// A suite would be overwritten.
    #[error(
        "{}: nothing was written, because this file is there already\n  \
         Name another one (`--out suites/NAME.toml`), or move it away.",
        path.display()
    )]
    SuiteThere {
        /// The file.
        path: PathBuf,
    },
    /// A folder would be written over something.
    #[error(
        "{}: nothing was written, because something is there already\n  \
         Name another folder (`--out {example}/NAME`), or move it away.",
        path.display()
    )]
    FolderThere {
        /// The folder.
        path: PathBuf,
        /// Where such folders may go.
        example: &'static str,
    },
    /// A table.
    #[error("cannot write the table: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// Another program's results.
    #[error(transparent)]
    Results(Box<ResultsError>),
    /// Snapshots.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// JUnit XML.
    #[error("cannot write the JUnit report: {0}")]
    Junit(#[from] quick_junit::SerializeError),
    /// Training data.
    #[error(transparent)]
    Data(#[from] DataErrors),
    /// `init`.
    #[error(transparent)]
    Init(#[from] InitError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// `history --suite` of a suite that no verdict asked.
    #[error(
        "no verdict on record asked a suite {suite:?}{}\n  {}",
        nearest.as_ref().map(|name| format!("; nearest: `{name}`")).unwrap_or_default(),
        match known.is_empty() {
            true => "Nothing is on record here yet: `qeval gate` leaves a verdict.".to_owned(),
            false => format!("There are {}.", known.join(", ")),
        }
    )]
    NoVerdictOn {
        /// As typed.
        suite: String,
        /// The one that is probably meant.
        nearest: Option<String>,
        /// Those that were asked.
        known: Vec<String>,
    },
    /// `ask` without a question.
    #[error(
        "no question: give one (`qeval ask \"Who are you?\"`), pipe some in, one a line, or start \
         `qeval ask` on a terminal without `--format json` for a conversation"
    )]
    NoQuestion,
    /// Questions on standard input.
    #[error("cannot read the questions from standard input: {0}")]
    Input(std::io::Error),
    /// `bench` knows no such shape.
    #[error(
        "no shape {name:?}; `--shape` is qwen2.5-32b, qwen2.5-14b, qwen2.5-7b, 0.5b, or smollm2"
    )]
    NoShape {
        /// As written.
        name: String,
    },
    /// `help` knows no such page.
    #[error(
        "no page {topic:?}{}: the pages of the guide are {known}; commands have a help of their own",
        nearest.as_ref().map_or(String::new(), |n| format!(" (nearest: `{n}`)"))
    )]
    NoTopic {
        /// As written.
        topic: String,
        /// The page that was probably meant.
        nearest: Option<String>,
        /// Names of the pages.
        known: String,
    },
    /// JSON output.
    #[error("cannot write the report as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Standard output.
    #[error("cannot print the report: {0}")]
    Print(std::io::Error),
}
impl From<ResultsError> for CliError {
    fn from(error: ResultsError) -> Self {
        // It names two files and what differs, more than any other error.
        CliError::Results(Box::new(error))
    }
}
