//! Why a command could not do its work. Every text comes from the stage that failed.

use std::path::PathBuf;

use thiserror::Error;

use crate::atomic_file::FileError;
use crate::config::ConfigErrors;
use crate::gate::GateError;
use crate::import::ImportError;
use crate::record::RecordError;
use crate::run::RunError;
use crate::snapshot::SnapshotError;
use crate::suite::{SelectError, SuiteErrors};
use crate::train::DataErrors;

use super::init::InitError;

/// Why a command could not do its work.
#[derive(Debug, Error)]
pub enum CliError {
    /// A run could not measure.
    #[error(transparent)]
    Run(#[from] RunError),
    /// `qeval.toml`.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// Suites.
    #[error(transparent)]
    Suites(#[from] SuiteErrors),
    /// The selection of probes.
    #[error(transparent)]
    Select(#[from] SelectError),
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
    /// Records.
    #[error(transparent)]
    Record(#[from] RecordError),
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
    /// The gate's settings.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Gate(Vec<GateError>),
    /// `bench` knows no such shape.
    #[error("no shape {name:?}; `--shape` is qwen2.5-7b, 0.5b, or smollm2")]
    NoShape {
        /// As written.
        name: String,
    },
    /// A suite that is neither a path nor built in.
    #[error(
        "no suite {name:?}: it is no file or folder ({}), and the built-in suites are {known}",
        path.display()
    )]
    NoSuite {
        /// As written.
        name: String,
        /// Where it was looked for.
        path: PathBuf,
        /// Names of the built-in suites.
        known: String,
    },
    /// `gate` without a candidate.
    #[error(
        "no candidate: name one (`qeval gate ckpt-40`), set `candidate` under [gate] in qeval.toml, or \
         train one (`qeval train`)"
    )]
    NoCandidate,
    /// The test harness without a project.
    #[error(
        "no project to gate: there is no {}; write one (`qeval init` does), or name one in \
         QEVAL_CONFIG", path.display()
    )]
    NoProject {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// JSON output.
    #[error("cannot write the report as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Standard output.
    #[error("cannot print the report: {0}")]
    Print(std::io::Error),
}
