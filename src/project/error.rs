//! Why a project could not be opened, ordered, or measured. Every text comes from the stage that
//! failed.

use std::path::PathBuf;

use thiserror::Error;

use crate::atomic_file::FileError;
use crate::config::ConfigErrors;
use crate::gate::GateError;
use crate::record::RecordError;
use crate::run::RunError;
use crate::snapshot::SnapshotError;
use crate::suite::{SelectError, SuiteErrors};
use crate::text::shell_word;
use crate::train::DataErrors;

use super::exam::ExamError;
use super::mutants::MutantsError;
use super::watch::WatchError;

/// Why a project could not do what was asked of it.
#[derive(Debug, Error)]
pub enum ProjectError {
    /// A run could not measure.
    #[error(transparent)]
    Run(#[from] RunError),
    /// `qeval.toml`.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// What a key of `qeval.toml` names cannot be had.
    #[error("{error}\n  {place}: `{key}` under [{section}] names it")]
    Named {
        /// Why.
        error: Box<ProjectError>,
        /// Where the key's value stands: file, line, column.
        place: String,
        /// The section's name.
        section: &'static str,
        /// The key.
        key: &'static str,
    },
    /// No program is found by the name of `[checks] python`.
    #[error(
        "no program {name:?} to run answers' code: it is no file, and in no folder of PATH\n  \
         Install it, name another, or leave `python` out: then code that the embedded interpreter \
         lacks stays unscored."
    )]
    NoPython {
        /// As written.
        name: String,
    },
    /// Suites.
    #[error(transparent)]
    Suites(#[from] SuiteErrors),
    /// The selection of probes.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// Records.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Snapshots.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// Training data.
    #[error(transparent)]
    Data(#[from] DataErrors),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The exam of a revision.
    #[error(transparent)]
    Exam(#[from] ExamError),
    /// A folder that is watched.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// A test of the suites with mutants.
    #[error(transparent)]
    Mutants(#[from] MutantsError),
    /// The gate's settings.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Gate(Vec<GateError>),
    /// A simulation without a base to simulate.
    #[error(
        "nothing to simulate: the base has no score on any probe of a `keep` suite\n  \
         Way out: name a `keep` suite under `[gate] suites` whose answers can be scored; \
         `qeval suite check --base` shows what the base says."
    )]
    NothingToSimulate,
    /// A subject that has no matrices to scale.
    #[error(
        "{subject:?} is no adapter: only an adapter can be scaled\n  \
         Name a checkpoint (`ckpt-40`, `run-0001/ckpt-40`) or a PEFT folder."
    )]
    NoAdapter {
        /// As written.
        subject: String,
    },
    /// A subject of which something is asked that only an adapter has.
    #[error(
        "{subject:?} is no adapter: {what}\n  \
         Name a checkpoint (`ckpt-40`, `run-0001/ckpt-40`) or a PEFT folder."
    )]
    NoAdapterFor {
        /// As written.
        subject: String,
        /// What cannot be asked of it.
        what: &'static str,
    },
    /// A part that an adapter does not have.
    #[error(
        "{subject} has nothing on {part}\n  It changes {}.",
        parts_there(layers, kinds)
    )]
    NoSuchPart {
        /// The adapter, as written.
        subject: String,
        /// The part.
        part: String,
        /// The layers that it changes.
        layers: Vec<usize>,
        /// The kinds of modules that it changes.
        kinds: Vec<String>,
    },
    /// A run of which no checkpoint is left, or none was written.
    #[error(
        "{} has no checkpoint: there is nothing to search through\n  \
         Name a run that trained (`qeval bisect run-0001`), or a folder with checkpoint-STEP folders \
         in it.{}",
        path.display(),
        known_runs(known)
    )]
    NoCheckpointsIn {
        /// The folder.
        path: PathBuf,
        /// Runs that have some.
        known: Vec<String>,
    },
    /// A pattern that names several probes where one is wanted.
    #[error(
        "{pattern:?} names {}: {}\n  Name one of them whole, as `SUITE::PROBE`.",
        crate::text::plural(probes.len(), "probe"),
        shortened(probes)
    )]
    SeveralProbes {
        /// As written.
        pattern: String,
        /// What it names.
        probes: Vec<String>,
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
    /// Prompts are to be rendered here, and nobody said by which template.
    #[error(
        "`template = \"here\"` under [server] needs `tokenizer` there: the folder or GGUF file of the \
         model that is served, for its tokenizer and chat template"
    )]
    NoTokenizer,
    /// `gate` without a candidate.
    #[error(
        "no candidate: name one (`qeval gate ckpt-40`), set `candidate` under [gate] in qeval.toml, or \
         train one (`qeval train`)"
    )]
    NoCandidate,
    /// A run that cannot say how its checkpoints were judged.
    #[error(
        "{error}\n  Without its rules no checkpoint can be judged as it was in training. To judge by a \
         configuration of yours, name it: `--config qeval.toml`."
    )]
    RunConfig {
        /// What cannot be read.
        error: RecordError,
    },
    /// No record is of that name.
    #[error(
        "nothing is recorded{} in {}{}\n  \
         Name a run, RUN/SUBJECT, or a subject that was measured; `qeval run SUBJECT` measures one.",
        name.as_ref().map_or(String::new(), |name| format!(" of {name:?}")),
        runs.display(),
        known_records(known)
    )]
    NoRecord {
        /// As written; `None` where nothing was named.
        name: Option<String>,
        /// The folder of runs.
        runs: PathBuf,
        /// What is recorded, as RUN/SUBJECT.
        known: Vec<String>,
    },
    /// A record is of suites that nobody knows any more.
    #[error(
        "{record} holds no answer of the suites as they are now: {why}\n  \
         Name them as they were asked (--suite, --config), or measure again: `qeval run {}`.",
        shell_word(subject)
    )]
    OtherSuites {
        /// As RUN/SUBJECT.
        record: String,
        /// The subject.
        subject: String,
        /// What it holds.
        why: String,
    },
    /// A verdict of one subject alone.
    #[error(
        "{}: a verdict compares a candidate with the base of its run, and {missing}\n  \
         `qeval gate CANDIDATE` measures both.",
        names.join(", ")
    )]
    NothingToCompare {
        /// What is exported, as RUN/SUBJECT.
        names: Vec<String>,
        /// What is not there.
        missing: String,
    },
    /// What was measured, as JSON.
    #[error("cannot write the record of a gate: {0}")]
    Json(#[from] serde_json::Error),
}

/// The records that are there, the last ones: they are the newest.
fn known_records(known: &[String]) -> String {
    const SHOWN: usize = 12;
    match known.len() {
        0 => ": no run has answers".to_owned(),
        n if n <= SHOWN => format!("; there are {}", known.join(", ")),
        n => format!(
            "; there are {}, and {} more",
            known[n - SHOWN..].join(", "),
            n - SHOWN
        ),
    }
}

/// The runs that have checkpoints, the newest ones.
fn known_runs(known: &[String]) -> String {
    match known {
        [] => String::new(),
        _ => format!(" Runs with checkpoints: {}.", shortened(known)),
    }
}

/// The first of some names, and how many more there are.
fn shortened(names: &[String]) -> String {
    const SHOWN: usize = 8;
    match names.len() {
        n if n <= SHOWN => names.join(", "),
        n => format!("{}, and {} more", names[..SHOWN].join(", "), n - SHOWN),
    }
}

/// What an adapter changes.
fn parts_there(layers: &[usize], kinds: &[String]) -> String {
    let kinds = crate::text::all_of(kinds);
    match layers {
        [] => kinds,
        [only] => format!("{kinds} on layer {only}"),
        [first, .., last] => format!("{kinds} on layers {first} to {last}"),
    }
}
