//! What can go wrong with runs, records, and the names of subjects.

use std::io;
use std::path::PathBuf;

use crate::atomic_file::FileError;

/// A run, a record, or a subject that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A file or folder could not be written or read.
    #[error(transparent)]
    File(#[from] FileError),

    /// Written by a later qeval.
    #[error(
        "{}: format {format} was written by a newer qeval; this one reads formats up to {supported}\n  \
         Update qeval, or choose another folder with --runs.",
        .path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u64,
        /// The newest that can be read here.
        supported: u32,
    },

    /// The file does not begin as a record does.
    #[error(
        "{}: not a record of answers: {reason}\n  \
         Move the file away and run again; what other records hold is not generated again.",
        .path.display()
    )]
    NotARecord {
        /// The file.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },

    /// A line in the middle of a record cannot be read.
    #[error(
        "{}, line {line}: cannot be read: {reason}\n  \
         Only a torn last line is expected after a crash. Delete this line and run again: an answer \
         that it held is generated again.",
        .path.display()
    )]
    CorruptLine {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What the parser said.
        reason: String,
    },

    /// A line of the history.
    #[error(
        "{}, line {line}: cannot be read: {reason}\n  \
         It is one verdict of the past: delete the line, or leave it there. The others are shown.",
        .path.display()
    )]
    PastVerdict {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What the parser said.
        reason: String,
    },

    /// A file beside the records that is there and cannot be read.
    #[error(
        "{}: cannot be read: {reason}\n  \
         Restore the file, or move it away: what can be made again is then made again.",
        .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        reason: String,
    },

    /// A provenance that cannot be read.
    #[error(
        "{}: cannot be read: {reason}\n  \
         Restore the file, or move the whole run folder out of the runs folder.",
        .path.display()
    )]
    Provenance {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        reason: String,
    },

    /// JSON has no number for this.
    #[error(
        "{what} is not a finite number: nothing can be compared with it\n  \
         The model's weights or the adapter may hold NaN or infinite values. On a GPU in float16 \
         they may be beyond its\n  range: set dtype = \"bfloat16\" under [model]."
    )]
    NotFinite {
        /// Which value.
        what: String,
    },

    /// Another process writes to the run.
    #[error(
        "run {run} is in use by another qeval process{}\n  \
         Wait until it has ended, or choose another folder with --runs. (Its lock is {}.)",
        .process.map(|id| format!(" (process {id})")).unwrap_or_default(), .lock.display()
    )]
    InUse {
        /// The run.
        run: String,
        /// Who holds it, if the lock says so.
        process: Option<u32>,
        /// The lock file.
        lock: PathBuf,
    },

    /// No run at all.
    #[error(
        "{}: there is no run yet\n  \
         `qeval train` or `qeval run SUBJECT` makes one; --runs names another folder.",
        .runs.display()
    )]
    NoRuns {
        /// The runs folder.
        runs: PathBuf,
    },

    /// No run of that name.
    #[error("{}: there is no run {run:?}; there {}", .runs.display(), listed(.known))]
    NoRun {
        /// The runs folder.
        runs: PathBuf,
        /// The name asked for.
        run: String,
        /// The runs that exist.
        known: Vec<String>,
    },

    /// A run cannot have this name.
    #[error(
        "run name {run:?} cannot be used: {reason}\n  \
         A name is made of a-z, 0-9, `.`, `_`, and `-`, starts with a letter or digit, and is \
         neither `base` nor `ckpt-N`."
    )]
    RunName {
        /// The name.
        run: String,
        /// Which rule it breaks.
        reason: &'static str,
    },

    /// The name is taken.
    #[error("run {run} exists already in {}\n  Choose another name, or continue it.", .runs.display())]
    RunExists {
        /// The runs folder.
        runs: PathBuf,
        /// The run.
        run: String,
    },

    /// The run has no such checkpoint.
    #[error(
        "subject {spec:?}: run {run} has no checkpoint {step}; there {}{}",
        listed(.known), also_in(.elsewhere)
    )]
    NoCheckpoint {
        /// What the user wrote.
        spec: String,
        /// The run that was meant.
        run: String,
        /// The step asked for.
        step: usize,
        /// The run's checkpoints.
        known: Vec<String>,
        /// The same step in other runs.
        elsewhere: Vec<String>,
    },

    /// A checkpoint is asked for and no run has any.
    #[error(
        "subject {spec:?}: no run in {} has a checkpoint\n  \
         `qeval train` makes them; an adapter of another trainer is named by its folder.",
        .runs.display()
    )]
    NoCheckpoints {
        /// What the user wrote.
        spec: String,
        /// The runs folder.
        runs: PathBuf,
    },

    /// Neither a known name nor a folder.
    #[error(
        "subject {spec:?} is not known, and no such folder exists\n  \
         A subject is `base`, `ckpt-N` of the latest run that trained, `RUN/ckpt-N`, a PEFT \
         folder, each adapter with an optional scale such as `@0.5`, or \
         `http://HOST:PORT/v1#MODEL`. There {}",
        listed(.known)
    )]
    NoSubject {
        /// What the user wrote.
        spec: String,
        /// Every subject that exists in the runs folder.
        known: Vec<String>,
    },

    /// The path exists but is no adapter.
    #[error(
        "subject {spec:?}: {} is not an adapter: {reason}\n  \
         An adapter is a PEFT folder with adapter_config.json and adapter_model.safetensors.",
        .path.display()
    )]
    NotAnAdapter {
        /// What the user wrote.
        spec: String,
        /// The path it names.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// The part after `@` is no scale.
    #[error(
        "subject {spec:?}: {scale:?} is not a scale\n  \
         A scale after `@` is a number from 0 up that multiplies the adapter's own, such as `@0.5`."
    )]
    Scale {
        /// What the user wrote.
        spec: String,
        /// The part after `@`.
        scale: String,
    },

    /// The base has nothing to scale.
    #[error("subject {spec:?}: the base has no adapter to scale\n  Write `base` alone.")]
    ScaledBase {
        /// What the user wrote.
        spec: String,
    },
}

impl RecordError {
    /// Whether the cause is a file that does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, RecordError::File(error) if error.source.kind() == io::ErrorKind::NotFound)
    }
}

fn listed(known: &[String]) -> String {
    match known {
        [] => "is none".to_owned(),
        [one] => format!("is {one}"),
        many => format!("are {}", many.join(", ")),
    }
}

fn also_in(names: &[String]) -> String {
    match names {
        [] => String::new(),
        names => format!("\n  Another run has it: {}", names.join(", ")),
    }
}
