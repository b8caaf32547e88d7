//! Arguments of the commands that have commands of their own: `snapshot`, `data`, `suite`, `adapter`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{AdapterAblateArgs, MeasureArgs, SUBJECTS, TrainArgs, after};

/// Arguments of `snapshot`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct SnapshotArgs {
    /// What to do; on a terminal without it, each pending change is shown and asked about
    #[command(subcommand)]
    pub action: Option<SnapshotAction>,
    /// The configuration; the default may be missing, a named one may not [default: qeval.toml]
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
}

/// What `snapshot` does.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum SnapshotAction {
    /// Name the pending changes
    List,
    /// Show the pending changes, or those named
    Show {
        /// SUITE/PROBE, `*` for any characters
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Accept the pending changes, or those named
    Accept {
        /// SUITE/PROBE, `*` for any characters
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Keep what was accepted, and accept the change as one more variant
        #[arg(long)]
        variant: bool,
    },
    /// Reject the pending changes, or those named: what was accepted stays
    Reject {
        /// SUITE/PROBE, `*` for any characters
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Name the snapshots of probes that no suite has any more
    Orphans {
        /// Remove them
        #[arg(long)]
        remove: bool,
    },
}

/// Arguments of `data`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct DataArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: DataAction,
}

/// What `data` does.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum DataAction {
    /// Show the rows with their sides, what was left out and why, and what is rehearsed
    #[command(after_help = after(
        "Nothing is trained. The base is loaded only with --base: then it makes the wordings that \
         `paraphrase` asks for, which the next `train` finds, answers the rehearsal prompts, and rows \
         are measured in its tokens.",
        &["qeval data show", "qeval data show --base"],
    ))]
    Show(DataShowArgs),
}

/// Arguments of `data show`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct DataShowArgs {
    /// Ask the base too: more wordings, answers to rehearsal prompts, tokens [default: no]
    #[arg(long, help_heading = "Model")]
    pub base: bool,
    /// Rows of each part that are shown; 0 shows all. JSON has all of them
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub rows: usize,
    /// What it shares with `train`.
    #[command(flatten)]
    pub train: TrainArgs,
}

/// Arguments of `suite`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct SuiteArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: SuiteAction,
}

/// What `suite` does.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum SuiteAction {
    /// Put golden answers to their checks, find probes that leak, repeat, or can show no loss
    #[command(after_help = after(
        "Exits 1 when something makes a verdict wrong: a golden answer judged otherwise, a probe in \
         the training data, one that is asked twice, or one that no answer fails. With --mutants it \
         exits 1 when a harmful mutant is not told a regression, or a harmless one is.",
        &[
            "qeval suite check",
            "qeval suite check --suite code",
            "qeval suite check --mutants run-0001/ckpt-40",
            "qeval suite check --simulate",
        ],
    ))]
    Check(Box<SuiteCheckArgs>),
    /// Make a suite of a promptfoo configuration or an lm-evaluation-harness task
    #[command(after_help = after(
        "What a suite cannot say is named, in the report and at the top of the file. No file is \
         overwritten, and no program that the file names is run. Exits 3 when nothing could be \
         imported.",
        &[
            "qeval suite import promptfooconfig.yaml",
            "qeval suite import task.yaml --docs docs.jsonl",
        ],
    ))]
    Import(SuiteImportArgs),
}

/// Arguments of `adapter`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct AdapterArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: AdapterAction,
}

/// What `adapter` does.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum AdapterAction {
    /// Find the largest scale at which an adapter passes, and write the folder of it
    #[command(after_help = after(&format!(
        "The scale is halved and narrowed down over one loaded base. The folder has the same \
         matrices and an `lora_alpha` that carries the scale, so that vLLM, llama.cpp, and PEFT \
         apply it. Exits 1 when it passes at no scale.\n\n{SUBJECTS}"
    ),
        &["qeval adapter scale path/to/adapter"],
    ))]
    Scale(AdapterScaleArgs),
    /// Switch parts of an adapter off, one at a time: which carry the harm, which the learning?
    #[command(after_help = after(&format!(
        "Bands of layers and kinds of modules, all in one batch. To keep it cheap, the `keep` probes \
         that the adapter loses are asked, as many that it does not lose, and all `learn` probes. \
         Exits 0 whatever it shows.\n\n{SUBJECTS}"
    ),
        &[
            "qeval adapter ablate ckpt-40",
            "qeval adapter ablate path/to/adapter --by layers --layers 24",
            "qeval adapter ablate ckpt-40 --without 20-24 --out adapters/mended",
        ],
    ))]
    Ablate(AdapterAblateArgs),
}

/// Arguments of `adapter scale`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct AdapterScaleArgs {
    /// A PEFT folder or a checkpoint
    #[arg(value_name = "ADAPTER")]
    pub subject: String,
    /// Where the scaled adapter is written; nothing may be there [default: beside the adapter, as
    /// NAME-at-0.62]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// How closely the scale is found, above 0 and below 1
    #[arg(long, value_name = "STEP", default_value_t = 0.05, value_parser = part)]
    pub tolerance: f64,
    /// What it shares with other commands.
    #[command(flatten)]
    pub measure: MeasureArgs,
}

/// Reads a number between 0 and 1.
///
/// # Errors
/// What it may be.
fn part(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(part) if part > 0.0 && part < 1.0 => Ok(part),
        _ => Err("give a number above 0 and below 1, such as 0.05".into()),
    }
}

/// Arguments of `suite import`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct SuiteImportArgs {
    /// A promptfooconfig.yaml, or the YAML of one task
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The documents of a task, a JSON object a line [default: the local files that the task
    /// names]
    #[arg(long, value_name = "DOCS.jsonl")]
    pub docs: Option<PathBuf>,
    /// The suite file to write; the suite is named by it [default: suites/NAME.toml, named by the
    /// task or the configuration]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Arguments of `suite check`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct SuiteCheckArgs {
    /// Training data to compare with; may be repeated [default: what the configuration says]
    #[arg(long = "data", value_name = "FILE", help_heading = "Probes")]
    pub data: Vec<String>,
    /// Ask the base too: which probes can it lose? [default: no]
    #[arg(long, help_heading = "Model")]
    pub base: bool,
    /// Put the suites to adapters made bad and harmless on purpose, instead of testing their checks:
    /// changed copies of ADAPTER, and seven that are trained once and kept. A checkpoint or a PEFT
    /// folder [default: no; ADAPTER: the configured candidate, else the best checkpoint, else one that
    /// is trained for it]
    #[arg(long, value_name = "ADAPTER", num_args = 0..=1, conflicts_with_all = ["base", "data", "simulate"], help_heading = "Probes")]
    pub mutants: Option<Option<String>>,
    /// Instead: how often would the gate be right? Simulates it on these suites as the base answers
    /// them, twice [default: no]
    #[arg(long, conflicts_with_all = ["base", "data"], help_heading = "Simulation")]
    pub simulate: bool,
    /// Comparisons a setting, from 1000 to 1000000 [default: 10000]
    #[arg(
        long,
        value_name = "N",
        requires = "simulate",
        help_heading = "Simulation"
    )]
    pub comparisons: Option<u64>,
    /// Looks at the checkpoints of a run, each at each scale [default: as the configuration plans]
    #[arg(
        long,
        value_name = "N",
        requires = "simulate",
        conflicts_with = "grid",
        help_heading = "Simulation"
    )]
    pub looks: Option<usize>,
    /// The table of made-up suites of the guide's page on error rates; it asks no model, and takes
    /// minutes [default: no]
    #[arg(long, requires = "simulate", help_heading = "Simulation")]
    pub grid: bool,
    /// What it shares with other commands.
    #[command(flatten)]
    pub measure: MeasureArgs,
}
