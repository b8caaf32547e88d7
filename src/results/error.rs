//! Why result files cannot be read or compared. Each text names the file and line, and the way out.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why result files cannot be read or compared.
#[derive(Debug, Error)]
pub enum ResultsError {
    /// One file.
    #[error("{}{}: {kind}", file.display(), at(*line))]
    File {
        /// Which.
        file: PathBuf,
        /// The line, from 1; 0 where it has none.
        line: usize,
        /// Why.
        kind: Unreadable,
    },
    /// Two programs.
    #[error(
        "the base is of {base}, the candidate of {candidate}: both have to be of one program, since \
         no two ask alike"
    )]
    OtherProgram {
        /// Who wrote the base's.
        base: &'static str,
        /// Who wrote the candidate's.
        candidate: &'static str,
    },
    /// No task of one name.
    #[error(
        "no task is in both: the base has {base}, the candidate {candidate}\n  \
         Compare files of the same task."
    )]
    NoCommonTask {
        /// Names of the base's tasks.
        base: String,
        /// Names of the candidate's.
        candidate: String,
    },
    /// A task that `--task` or `--metric` names is not there.
    #[error("no task {name:?}; there are {known}")]
    NoTask {
        /// As written.
        name: String,
        /// Names of the tasks.
        known: String,
    },
    /// Two versions of one task.
    #[error(
        "task `{task}` is version {base} in the base and {candidate} in the candidate: their scores \
         cannot be compared\n  Evaluate both with one version."
    )]
    OtherVersion {
        /// The task.
        task: String,
        /// Of the base.
        base: String,
        /// Of the candidate.
        candidate: String,
    },
    /// The same items, asked otherwise.
    #[error(
        "task `{task}`: {count} of {all} items were {what} in base and candidate, the first of them \
         {first}\n  {way_out}"
    )]
    AskedOtherwise {
        /// The task.
        task: String,
        /// Items that differ.
        count: usize,
        /// Items of both.
        all: usize,
        /// `put otherwise`, `judged by other targets`.
        what: &'static str,
        /// The first item with both places.
        first: String,
        /// What to do.
        way_out: &'static str,
    },
    /// Nothing to pair.
    #[error(
        "task `{task}`: base ({base} items) and candidate ({candidate} items) have no item in \
         common\n  Evaluate both on the same data."
    )]
    NothingInCommon {
        /// The task.
        task: String,
        /// Items of the base.
        base: usize,
        /// Items of the candidate.
        candidate: usize,
    },
    /// A metric that is not there.
    #[error(
        "task `{task}` has no metric {name:?} in {}; it has {known}\n  \
         Choose one for this task alone: --metric TASK=METRIC",
        file.display()
    )]
    NoMetric {
        /// The task.
        task: String,
        /// As written.
        name: String,
        /// Whose file.
        file: PathBuf,
        /// What there is.
        known: String,
    },
    /// A metric that is no score.
    #[error(
        "{}{}: item {item}: `{metric}` is {value}, and a score that can be judged is a number from 0 \
         to 1\n  {others}",
        file.display(),
        at(*line)
    )]
    NoScore {
        /// The file.
        file: Box<Path>,
        /// The line; 0 where it has none.
        line: usize,
        /// The item.
        item: Box<str>,
        /// The metric.
        metric: Box<str>,
        /// What it is.
        value: Box<str>,
        /// Which other metrics there are.
        others: Box<str>,
    },
}

/// Why a file cannot be read.
#[derive(Debug, Error)]
pub enum Unreadable {
    /// The system says why.
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// It is no file and no folder.
    #[error("is neither a file nor a folder")]
    NoFile,
    /// A line that no program writes.
    #[error("a line of more than {0} is no result")]
    LongLine(String),
    /// No UTF-8.
    #[error("is no UTF-8 text")]
    NoText,
    /// Damaged.
    #[error("cannot be read: {0}\n  A file that was cut off has to be made again.")]
    Json(String),
    /// A key that its program always writes.
    #[error("has no {0}: not as its program writes it")]
    NoKey(&'static str),
    /// One item twice.
    #[error(
        "item {item} stands twice, first in line {first}\n  lm-eval appends to a file that is there \
         already: evaluate into an empty folder."
    )]
    Twice {
        /// The item.
        item: String,
        /// The line of the first.
        first: usize,
    },
    /// The same, in a file without lines.
    #[error("sample {item} stands twice")]
    SampleTwice {
        /// The sample and its epoch.
        item: String,
    },
    /// It is whole, and has nothing in it.
    #[error("has no item")]
    Empty,
    /// Inspect's packed logs.
    #[error(
        "is an .eval log of Inspect, whose layout is not fixed\n  Convert it: inspect log convert \
         --to json --output-dir logs {}",
        .0.display()
    )]
    EvalLog(PathBuf),
    /// Another version of the format.
    #[error("is version {found} of the format, and {known} is read")]
    Version {
        /// As written.
        found: String,
        /// What is read.
        known: &'static str,
    },
    /// lm-eval's summary without its samples.
    #[error(
        "has means and no items, and no samples_*.jsonl of the same date lies beside it\n  Evaluate \
         with --log_samples, and name the folder."
    )]
    NoSamples,
    /// evalscope's summary.
    #[error(
        "is a report of evalscope, which has means and no items\n  Name the folder of the run, or its \
         reviews/MODEL folder."
    )]
    Report,
    /// evalscope's answers.
    #[error(
        "holds answers of evalscope without scores\n  Name the folder of the run, or its reviews/MODEL \
         folder."
    )]
    Predictions,
    /// None of these.
    #[error(
        "is no result file that is known\n  Read are samples_*.jsonl of lm-eval (--log_samples), .json \
         logs of Inspect (--log-format json), and reviews/*.jsonl of evalscope, or a folder of them."
    )]
    Unknown,
    /// A folder without any.
    #[error(
        "has no result file\n  Read are samples_*.jsonl of lm-eval (--log_samples), .json logs of \
         Inspect (--log-format json), and reviews/*.jsonl of evalscope."
    )]
    NoResults,
    /// A folder with several.
    #[error(
        "has results of {task} more than once: {files}\n  Name one of the files, or the folder of one \
         evaluation."
    )]
    Several {
        /// The task.
        task: String,
        /// The files.
        files: String,
    },
    /// A folder of several programs.
    #[error("has results of {0}: name the folder of one program")]
    SeveralPrograms(String),
    /// Several models.
    #[error("has results of several models: {0}\n  Name the folder of one.")]
    SeveralModels(String),
}

fn at(line: usize) -> String {
    match line {
        0 => String::new(),
        line => format!(", line {line}"),
    }
}
