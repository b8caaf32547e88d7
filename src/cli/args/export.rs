//! Arguments of `export` and `compare`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::project::Overrides;
use crate::results::Metric;

use super::{ComputeArgs, SelectArgs, StoreArgs, after, overrides, share};

/// Arguments of `export`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct ExportArgs {
    /// A run, RUN/SUBJECT, or a subject of the newest run that has it; may be repeated [default: the
    /// newest run that has answers]
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// The format: lm-eval, inspect, evalscope, junit, markdown, csv, or parquet; several as a,b
    #[arg(
        long,
        value_name = "FORMAT",
        value_enum,
        value_delimiter = ',',
        hide_possible_values = true,
        required = true,
        help_heading = "Files"
    )]
    pub to: Vec<ExportFormat>,
    /// The folder to write, which must not be there or be empty; of several formats each has its own
    /// below it
    #[arg(long, value_name = "DIR", help_heading = "Files")]
    pub out: PathBuf,
    /// For junit and markdown the largest tolerated loss over all `keep` probes, above 0 and at most 1
    /// [default: that of the run or the configuration, else 0.03]
    #[arg(long, value_name = "X", value_parser = share, help_heading = "Judging")]
    pub margin: Option<f64>,
    /// The configuration; the default may be missing, a named one may not [default: qeval.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What was asked.
    #[command(flatten)]
    pub select: SelectArgs,
    /// Where it is stored.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// A format that other programs read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum ExportFormat {
    /// lm-evaluation-harness: results and samples.
    LmEval,
    /// Inspect: a log a suite.
    Inspect,
    /// evalscope: a report a suite.
    Evalscope,
    /// JUnit XML of each candidate's verdict.
    Junit,
    /// Markdown of each candidate's verdict.
    Markdown,
    /// A table, one row an answer.
    Csv,
    /// The same with types.
    Parquet,
}

impl ExportFormat {
    /// As it is written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            ExportFormat::LmEval => "lm-eval",
            ExportFormat::Inspect => "inspect",
            ExportFormat::Evalscope => "evalscope",
            ExportFormat::Junit => "junit",
            ExportFormat::Markdown => "markdown",
            ExportFormat::Csv => "csv",
            ExportFormat::Parquet => "parquet",
        }
    }
}

/// Arguments of `compare`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct CompareArgs {
    /// The base's results: a file, or the folder of one evaluation
    #[arg(value_name = "BASE")]
    pub base: PathBuf,
    /// The candidate's results, of the same program
    #[arg(value_name = "CANDIDATE")]
    pub candidate: PathBuf,
    /// Only this task; may be repeated [default: every task]
    #[arg(long = "task", value_name = "TASK", help_heading = "Items")]
    pub tasks: Vec<String>,
    /// The metric that is judged: METRIC, METRIC,FILTER, or TASK=METRIC; may be repeated [default: the
    /// first of lm-eval's metrics and filters, Inspect's headline, evalscope's main score]
    #[arg(long = "metric", value_name = "METRIC", help_heading = "Items")]
    pub metrics: Vec<Metric>,
    /// The largest tolerated loss over all items, above 0 and at most 1 [default: that of the
    /// configuration, else 0.03]
    #[arg(long, value_name = "X", value_parser = share, help_heading = "Judging")]
    pub margin: Option<f64>,
    /// Also write the verdict as JUnit XML: a test an item, one a task, and one for all [default: no]
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub junit: Option<PathBuf>,
    /// Also write the verdict as Markdown for a comment on a pull request [default: no]
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub markdown: Option<PathBuf>,
    /// Print everything: what so many probes can prove, every reason, note, and suite [default: one page]
    #[arg(long, help_heading = "Reports")]
    pub verbose: bool,
    /// Also write a page to look at: the verdict, and every answer side by side [default: no]
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub html: Option<PathBuf>,
    /// The configuration whose margins hold; the default may be missing, a named one may not
    /// [default: qeval.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl ExportArgs {
    /// What a project is opened with.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            config: self.config.clone(),
            margin: self.margin,
            ..overrides(&self.select, &ComputeArgs::default(), &self.store)
        }
    }
}

impl CompareArgs {
    /// What a project is opened with.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            config: self.config.clone(),
            margin: self.margin,
            ..overrides(
                &SelectArgs::default(),
                &ComputeArgs::default(),
                &StoreArgs::default(),
            )
        }
    }
}

/// What stands behind the options of `export`.
pub(super) fn export_help() -> String {
    after(
        "No model is loaded, and nothing is measured. A name is a run, RUN/SUBJECT, or a subject of \
         the newest run that has it. `qeval help exports` says what each format holds, and what opens \
         it.",
        &[
            "qeval export --to inspect --out logs",
            "qeval export run-0001 --to csv,parquet --out tables",
            "qeval export run-0001/base run-0001/ckpt-40 --to lm-eval --out results",
        ],
    )
}

/// What stands behind the options of `compare`.
pub(super) fn compare_help() -> String {
    after(
        "Pairs what both were asked, item by item, one suite a task, and judges as `gate` does. Reads \
         lm-eval's samples_*.jsonl (or the folder of them), Inspect's .json logs, and evalscope's \
         reviews/*.jsonl. What only one side has is named and counts as missing. `qeval help exports` \
         says how a metric is chosen.",
        &[
            "qeval compare results/base results/tuned",
            "qeval compare base.json tuned.json --metric match --margin 0.05 --junit compare.xml",
        ],
    )
}
