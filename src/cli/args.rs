//! What the user types: clap types only, every default stated in the help.
//!
//! Nothing is looked up here. Options that also stand in `qeval.toml` are `None` when they were
//! not typed, so that the command that reads the file decides.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::exit::EXIT_CODES;
use crate::model::{DeviceChoice, Dtype, Format, GpuSet};
use crate::project::Overrides;
use crate::suite::Shard;

mod answering;
mod cause;
mod export;
mod nested;
mod watch;

pub use answering::{AskArgs, DiffArgs, GateArgs, HistoryArgs};
pub use cause::{AblateBy, AdapterAblateArgs, BisectArgs, WhyArgs};
pub use export::{CompareArgs, ExportArgs, ExportFormat};
pub use nested::{
    AdapterAction, AdapterArgs, AdapterScaleArgs, DataAction, DataArgs, DataShowArgs,
    SnapshotAction, SnapshotArgs, SuiteAction, SuiteArgs, SuiteCheckArgs, SuiteImportArgs,
};
pub use watch::WatchArgs;

const SUBJECTS: &str = "\
Subjects:
  base               the base model, every adapter off
  ckpt-40            a checkpoint of the latest run that trained
  run-0001/ckpt-40   a checkpoint of that run
  path/to/adapter    a PEFT folder of any trainer
  ckpt-40@0.5        any adapter, at half its scale
  http://host:8000/v1#name   a model behind a server: `qeval help servers`";

/// The whole command line.
#[derive(Debug, Clone, PartialEq, Parser)]
#[command(
    name = "qeval",
    version,
    about = "Trains LoRA adapters and gates every checkpoint against the base model",
    after_help = EXIT_CODES,
    max_term_width = 100,
    disable_help_subcommand = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How to show it.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// The commands. Details stand behind the options: in front of them (`long_about`) they would make
/// clap spread every option over several lines.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum Command {
    /// Write a commented qeval.toml, the built-in suites, and sample data into a folder
    #[command(after_help = after(
        "No file is overwritten: if one is there, nothing is written.",
        &["qeval init", "qeval init my-project"],
    ))]
    Init(InitArgs),
    /// Show the whole loop on a real small model, with no other set-up
    #[command(after_help = after(
        "Trains one careless and one careful adapter, gates every checkpoint of both, and prints \
         what each of them answers. Exits 0 when both verdicts are as they should be.",
        &["qeval demo", "qeval demo --model qwen2.5-coder-0.5b"],
    ))]
    Demo(DemoArgs),
    /// Train; every checkpoint goes through the suites
    #[command(after_help = after(
        "Judges each checkpoint at several scales, stops when two in a row are lost at each or when \
         patience runs out, and writes the best that passes to RUN/best. Goes on from the last \
         checkpoint after a crash. Exits 1 when nothing may ship.",
        &["qeval train", "qeval train --model Qwen2.5-7B-Instruct --device gpu"],
    ))]
    Train(TrainCommandArgs),
    /// Choose settings of training: the most learned of what keeps
    #[command(after_help = after(
        "Tries settings by successive halving on one loaded base: all train for a short while, the \
         better half for twice as long, and so on. The plan is shown first, with its time and \
         memory, and refused where they do not hold it. [tune] in qeval.toml says what is tried. \
         Writes the chosen setting beside the configuration (qeval.tuned.toml), and a picture of \
         what was learned against what was kept. Looks choose and decide nothing: `--confirm`, or \
         `qeval train qeval.tuned.toml`, does. Goes on where a killed command ended. Exits 1 when \
         nothing is chosen.",
        &["qeval tune", "qeval tune --confirm"],
    ))]
    Tune(TuneArgs),
    /// Answer the suites, score the answers, and store the records
    #[command(after_help = after(&format!(
        "Goes on where a killed run ended, and never repeats finished work.\n\n{SUBJECTS}"
    ),
        &["qeval run base ckpt-40", "qeval run path/to/adapter --tag smoke"],
    ))]
    Run(RunArgs),
    /// Show what a subject answered, with scores and reasons; nothing is compared
    #[command(after_help = after(&format!(
        "Answers that no record has are asked for first.\n\n{SUBJECTS}"
    ),
        &["qeval show ckpt-40", "qeval show base 'code::*'"],
    ))]
    Show(ShowArgs),
    /// List the suites and probes as they would be asked
    #[command(after_help = after(
        "No model is loaded. What tags, languages, or a shard leave out whole is named.",
        &["qeval list --suites-alone", "qeval list --suite code --tag smoke"],
    ))]
    List(ListArgs),
    /// Ask a question, or hold a conversation, and see the answers beside each other
    #[command(after_help = after(&format!(
        "The base answers first, then each subject, all in one batch. Without a question a terminal \
         gets a conversation in which each subject has its own history, and a pipe is read as one \
         question a line. A first word that names a subject is one: `qeval ask ckpt-40` begins a \
         conversation with it. Nothing is recorded.\n\n{SUBJECTS}"
    ),
        &["qeval ask 'Who are you?' ckpt-40", "qeval ask ckpt-40"],
    ))]
    Ask(AskArgs),
    /// Compare subjects with a base, probe by probe
    #[command(after_help = after(&format!(
        "Prints a table per suite, the changed answers with what changed in them, and the \
         verdict.\n\n{SUBJECTS}"
    ),
        &["qeval diff base ckpt-40", "qeval diff base ckpt-40 --probe 'code::*'"],
    ))]
    Diff(DiffArgs),
    /// Print the verdict alone, for CI
    #[command(after_help = after(
        SUBJECTS,
        &[
            "qeval gate",
            "qeval gate path/to/adapter --margin 0.05 --junit gate.xml",
            "qeval gate path/to/adapter --suites-from origin/main",
        ],
    ))]
    Gate(GateArgs),
    /// Show why a probe was lost
    #[command(after_help = after(&format!(
        "Shows both answers with what the checks saw, the first token that parts them with the chance \
         that base and candidate give it, the training rows that share most words and meaning with \
         the new answer, and the probe at each tenth of the scale. Of several wordings the one that \
         lost most is looked at. Exits 0 whatever it shows.\n\n{SUBJECTS}"
    ),
        &["qeval why code::quicksort", "qeval why general::capital ckpt-40"],
    ))]
    Why(WhyArgs),
    /// Find the first bad checkpoint of a run with the fewest answers
    #[command(after_help = after(
        "Verdicts in the log of the run cost nothing; what they leave open is halved, and each \
         checkpoint that is judged has its share of the error rate. Harm is taken to stay once it is \
         there. Exits 0 when every checkpoint may be kept, else as the verdict of the first bad one.",
        &["qeval bisect run-0001", "qeval bisect output/checkpoints --model Qwen2.5-7B-Instruct"],
    ))]
    Bisect(BisectArgs),
    /// Show the verdicts so far, over runs and commits
    #[command(after_help = after(
        "The newest is last. `keep` is the difference of all `keep` suites with its ends, `learn` the mean \
         of all `learn` suites. Where the questions or the base changed, the table says so and the line \
         of bars is cut: such numbers are not to be compared. A run that cannot be read is named and \
         left out.",
        &["qeval history", "qeval history --suite code --limit 50", "qeval history --format json"],
    ))]
    History(HistoryArgs),
    /// Judge each checkpoint that another trainer writes, as it is finished
    #[command(after_help = after(
        "Finds folders checkpoint-STEP of Hugging Face's Trainer, ms-swift, LLaMA-Factory, axolotl, \
         unsloth, and TRL, in DIR and five levels below, and judges each once when its last file is \
         whole. Base, system prompt, and data are taken from what the trainer wrote, unless they are \
         told. Nothing of the trainer's is changed. Goes on where a killed command ended. `qeval help \
         trainers` has the callback that obeys --stop-file.",
        &[
            "qeval watch output",
            "qeval watch output --stop-file output/stop --keep-best best",
            "qeval watch output --once --format json",
            "qeval watch output --until-idle 30 --post http://127.0.0.1:8080/verdict",
        ],
    ))]
    Watch(WatchArgs),
    /// Judge two result files of lm-eval, Inspect, or evalscope
    #[command(after_help = export::compare_help())]
    Compare(CompareArgs),
    /// Write what is recorded as files that other programs read
    #[command(after_help = export::export_help())]
    Export(ExportArgs),
    /// Review changed answers: list, show, accept, or reject
    #[command(after_help = after(
        "The same files that `cargo insta review` shows: snapshots/answers/SUITE/PROBE.snap.new. \
         Written by `cargo test`, and by `qeval gate` where the folder snapshots/answers is.",
        &["qeval snapshot list", "qeval snapshot accept 'code/*'"],
    ))]
    Snapshot(SnapshotArgs),
    /// Show what a training run would be made of
    Data(DataArgs),
    /// Test the suites themselves
    Suite(SuiteArgs),
    /// Turn an adapter down until it passes, or find which parts of it do harm
    Adapter(AdapterArgs),
    /// Print a page of the guide, or name them all
    #[command(after_help = after(
        "Pages are Markdown, the same as in the repository.",
        &["qeval help", "qeval help verdict"],
    ))]
    Help(HelpArgs),
    /// Measure how fast this machine answers and trains, beside what its hardware allows
    #[command(after_help = after(
        "The floor of a measurement is the longer of two times: the bytes that must be read over \
         the rate of a copy, and the operations over the rate of a large product, both measured \
         at start.",
        &["qeval bench"],
    ))]
    Bench(BenchArgs),
    /// Print the JSON Schema of qeval.toml or of a suite, for editors
    #[command(after_help = after(
        "An editor that knows TOML (Taplo, Even Better TOML, Zed, Helix) then completes keys and \
         marks what qeval would refuse. It finds it by the first line of a suite: \
         #:schema ../suite.schema.json",
        &["qeval schema suite > suite.schema.json"],
    ))]
    Schema(SchemaArgs),
    /// Print completions for a shell
    #[command(after_help = after(
        "The shell reads them when it starts the next time.",
        &[
            "qeval completions bash > ~/.local/share/bash-completion/completions/qeval",
            "qeval completions fish > ~/.config/fish/completions/qeval.fish",
        ],
    ))]
    Completions(CompletionsArgs),
}

/// What stands behind the options: details, commands to type, and what the exit code says.
fn after(details: &str, examples: &[&str]) -> String {
    let examples = examples.join("\n  ");
    format!("{details}\n\nExamples:\n  {examples}\n\n{EXIT_CODES}")
}

/// Arguments of `help`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct HelpArgs {
    /// A page of the guide, or a command [default: name the pages]
    #[arg(value_name = "TOPIC")]
    pub topic: Option<String>,
}

/// Arguments of `schema`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct SchemaArgs {
    /// Of which file
    #[arg(value_name = "FILE")]
    pub of: SchemaOf,
}

/// The files that have a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// qeval.toml
    Config,
    /// A suite
    Suite,
}

/// Arguments of `completions`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

/// Arguments of `init`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct InitArgs {
    /// The folder; it is made if need be
    #[arg(value_name = "DIR", default_value = ".")]
    pub folder: PathBuf,
}

/// Arguments of `demo`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct DemoArgs {
    /// The base model: a Hugging Face folder or id, a GGUF file, smollm2-135m, or
    /// qwen2.5-coder-0.5b [default: smollm2-135m, fetched when it is not there]
    #[arg(long, value_name = "MODEL", help_heading = "Model")]
    pub model: Option<String>,
    /// Where the page to look at is written [default: demo.html in the folder of runs]
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub html: Option<PathBuf>,
    /// How to compute.
    #[command(flatten)]
    pub compute: ComputeArgs,
    /// Where to store.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Arguments of `train`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct TrainCommandArgs {
    /// Print every reason, cause, and note of the verdict [default: the page of `qeval gate`]
    #[arg(long, help_heading = "Reports")]
    pub verbose: bool,
    /// Also write a page to look at: the curve of the checkpoints, and every answer side by side
    /// [default: no]
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub html: Option<PathBuf>,
    /// What is trained.
    #[command(flatten)]
    pub train: TrainArgs,
}

/// What a training run is asked for, by whatever command.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct TrainArgs {
    /// The configuration
    #[arg(value_name = "CONFIG", default_value = "qeval.toml")]
    pub config: PathBuf,
    /// The base model [default: what the configuration says]
    #[arg(long, value_name = "MODEL", help_heading = "Model")]
    pub model: Option<String>,
    /// What to ask.
    #[command(flatten)]
    pub select: SelectArgs,
    /// How to compute.
    #[command(flatten)]
    pub compute: ComputeArgs,
    /// Where to store.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Arguments of `tune`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct TuneArgs {
    /// What a training run has.
    #[command(flatten)]
    pub train: TrainArgs,
    /// How many settings are tried, the configured one among them [default: what the
    /// configuration says, else 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=1024), help_heading = "Tuning")]
    pub settings: Option<u32>,
    /// What tuning may take, in full training runs with their gates [default: what the
    /// configuration says, else 6]
    #[arg(long, value_name = "X", value_parser = above_zero, help_heading = "Tuning")]
    pub full_runs: Option<f64>,
    /// What tuning may take, in minutes instead [default: see --full-runs]
    #[arg(long, value_name = "M", value_parser = above_zero, conflicts_with = "full_runs", help_heading = "Tuning")]
    pub minutes: Option<f64>,
    /// Show the plan, and try nothing [default: no]
    #[arg(long, help_heading = "Tuning")]
    pub plan: bool,
    /// Train the chosen setting to its end, through the ordinary gate [default: no]
    #[arg(long, conflicts_with = "plan", help_heading = "Tuning")]
    pub confirm: bool,
}

/// Arguments of `run`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct RunArgs {
    /// Who answers; several share one loaded base
    #[arg(value_name = "SUBJECT", required = true)]
    pub subjects: Vec<String>,
    /// What they share with other commands.
    #[command(flatten)]
    pub measure: MeasureArgs,
}

/// Arguments of `show`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct ShowArgs {
    /// Who answered
    #[arg(value_name = "SUBJECT")]
    pub subject: String,
    /// Only probes whose suite::id matches, as in 'code::*' [default: every probe]
    #[arg(value_name = "PROBE")]
    pub probe: Option<String>,
    /// What it shares with other commands.
    #[command(flatten)]
    pub measure: MeasureArgs,
}

/// Arguments of `list`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct ListArgs {
    /// A line a suite, without its probes [default: no]
    #[arg(long)]
    pub suites_alone: bool,
    /// The configuration; the default may be missing, a named one may not [default: qeval.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to ask.
    #[command(flatten)]
    pub select: SelectArgs,
}

/// Arguments of `bench`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct BenchArgs {
    /// Random weights of a shape: qwen2.5-32b, qwen2.5-14b, qwen2.5-7b, 0.5b, or smollm2
    #[arg(
        long,
        value_name = "SHAPE",
        default_value = "smollm2",
        help_heading = "Model"
    )]
    pub shape: String,
    /// A real model instead: a Hugging Face folder or id, or a GGUF file [default: random weights]
    #[arg(long, value_name = "MODEL", help_heading = "Model")]
    pub model: Option<String>,
    /// How random weights are held: f32 (16 bits on a GPU), bf16, q8_0, q6_k, q5_k, q5_1, q5_0, q4_k,
    /// q4_1, q4_0, or nf4 [default: f32]
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "f32",
        hide_default_value = true,
        value_parser = format_named,
        conflicts_with = "model",
        help_heading = "Model"
    )]
    pub weights: Format,
    /// Only say what the model takes in memory, by format; nothing is loaded [default: measure]
    #[arg(long)]
    pub plan: bool,
    /// What a GPU computes in: auto, bfloat16, or float16 [default: as a real model is stored;
    /// bfloat16 for random weights]
    #[arg(
        long,
        value_name = "DTYPE",
        default_value = "auto",
        hide_default_value = true,
        help_heading = "Model"
    )]
    pub dtype: Dtype,
    /// Only these measurements; may be repeated [default: all]
    #[arg(
        long,
        value_name = "decode|prefill|train",
        hide_possible_values = true,
        value_enum,
        value_delimiter = ','
    )]
    pub only: Vec<BenchPart>,
    /// How to compute.
    #[command(flatten)]
    pub compute: ComputeArgs,
}

fn format_named(name: &str) -> Result<Format, String> {
    let found = Format::NAMED.iter().find(|(known, _)| *known == name);
    let known = || Format::NAMED.map(|(known, _)| known).join(", ");
    found
        .map(|(_, format)| *format)
        .ok_or_else(|| format!("give one of {}", known()))
}

/// A kind of measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum BenchPart {
    /// Tokens of many answers.
    Decode,
    /// Prompts.
    Prefill,
    /// Steps of training.
    Train,
}

/// What the commands that answer suites have in common.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct MeasureArgs {
    /// The base model's settings.
    #[command(flatten)]
    pub model: ModelArgs,
    /// What to ask.
    #[command(flatten)]
    pub select: SelectArgs,
    /// How to compute.
    #[command(flatten)]
    pub compute: ComputeArgs,
    /// Where to store.
    #[command(flatten)]
    pub store: StoreArgs,
}

impl MeasureArgs {
    /// What a project is opened with.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            config: self.model.config.clone(),
            model: self.model.model.clone(),
            ..overrides(&self.select, &self.compute, &self.store)
        }
    }
}

impl DiffArgs {
    /// What a project is opened with.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            margin: self.margin,
            suites_from: self.suites_from.clone(),
            ..self.measure.overrides()
        }
    }
}

impl GateArgs {
    /// What a project is opened with.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            margin: self.margin,
            suites_from: self.suites_from.clone(),
            ..self.measure.overrides()
        }
    }
}

impl TrainArgs {
    /// What a project is opened with.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            config: Some(self.config.clone()),
            model: self.model.clone(),
            ..overrides(&self.select, &self.compute, &self.store)
        }
    }
}

impl AskArgs {
    /// What a project is opened with.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            config: self.model.config.clone(),
            model: self.model.model.clone(),
            ..overrides(&SelectArgs::default(), &self.compute, &self.store)
        }
    }
}

impl ListArgs {
    /// What a project is opened with.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            config: self.config.clone(),
            ..overrides(&self.select, &ComputeArgs::default(), &StoreArgs::default())
        }
    }
}

impl HistoryArgs {
    /// What its project is opened with.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            config: self.config.clone(),
            runs: self.store.runs.clone(),
            ..Overrides::default()
        }
    }
}

impl DemoArgs {
    /// What its project is opened with.
    pub fn overrides(&self) -> Overrides {
        overrides(&SelectArgs::default(), &self.compute, &self.store)
    }
}

fn overrides(select: &SelectArgs, compute: &ComputeArgs, store: &StoreArgs) -> Overrides {
    Overrides {
        config: None,
        model: None,
        suites: select.suites.clone(),
        tags: select.tags.clone(),
        probes: select.probes.clone(),
        prompts: select.prompts.map(Into::into),
        shard: select.shard,
        device: compute.device,
        slots: compute.slots.map_or(0, |n| n as usize),
        threads: compute.threads.map(|n| n as usize),
        seed: compute.seed,
        margin: None,
        runs: store.runs.clone(),
        suites_from: None,
    }
}

/// Configuration and base model.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// The configuration; the default may be missing, a named one may not [default: qeval.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The base model: a Hugging Face folder or id, a GGUF file, smollm2-135m, or
    /// qwen2.5-coder-0.5b [default: what the configuration says]
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
}

/// Which probes are asked.
#[derive(Debug, Clone, Default, PartialEq, Args)]
#[command(next_help_heading = "Probes")]
pub struct SelectArgs {
    /// A suite file, a folder of them, or the name of a built-in suite; may be repeated [default:
    /// what the configuration says, else the built-in suites]
    #[arg(long = "suite", value_name = "SUITE")]
    pub suites: Vec<String>,
    /// Only probes with this tag; may be repeated, a probe needs all, of a,b one will do. The sizes
    /// smoke, standard, and full are tags too, each with the smaller ones
    /// [default: what the configuration says, else every probe]
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// Only probes whose suite::id matches, as in 'code::*'; may be repeated, any of them will do
    /// [default: every probe]
    #[arg(long = "probe", value_name = "GLOB")]
    pub probes: Vec<String>,
    /// Only the first N prompts of each probe, for a quick look
    /// [default: what the configuration says, else every prompt]
    #[arg(long, value_name = "N")]
    pub prompts: Option<std::num::NonZeroUsize>,
    /// Only the K-th of N parts of the probes, as in 2/4 [default: 1/1]
    #[arg(long, value_name = "K/N")]
    pub shard: Option<Shard>,
}

/// How fast and from which seed.
#[derive(Debug, Clone, Default, PartialEq, Args)]
#[command(next_help_heading = "Computing")]
pub struct ComputeArgs {
    /// Where the model runs: auto, cpu, gpu, or gpu:N; auto is a GPU if there is one that can
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = device)]
    pub device: DeviceChoice,
    /// Answers in work at once; on the CPU an answer does not depend on it [default: 32, on a GPU
    /// 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub slots: Option<u32>,
    /// Worker threads; an answer does not depend on it [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
    /// The seed that every random draw is derived from [default: that of the run or the
    /// configuration, else 42]
    #[arg(long, value_name = "SEED")]
    pub seed: Option<u64>,
}

/// Where runs are kept.
#[derive(Debug, Clone, Default, PartialEq, Args)]
#[command(next_help_heading = "Records")]
pub struct StoreArgs {
    /// The folder of runs: records, checkpoints, and provenance [default: `output_dir` of the
    /// configuration, else runs]
    #[arg(long, value_name = "DIR")]
    pub runs: Option<PathBuf>,
}

/// Reads a margin.
///
/// # Errors
/// What it may be.
fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err("give a number above 0 and at most 1, such as 0.05".into()),
    }
}

/// Reads a number above 0.
///
/// # Errors
/// What it is not.
pub fn above_zero(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.parse().ok();
    let fits = number.filter(|n| n.is_finite() && *n > 0.0);
    fits.ok_or_else(|| "give a number above 0, such as 6 or 2.5".into())
}

/// Reads the name of a device.
///
/// # Errors
/// What it is not, and what it may be.
pub fn device(name: &str) -> Result<DeviceChoice, String> {
    match name {
        "auto" => Ok(DeviceChoice::Auto),
        "cpu" => Ok(DeviceChoice::Cpu),
        "gpu" => Ok(DeviceChoice::Gpu(0)),
        _ => gpus(name).ok_or_else(|| {
            "give auto, cpu, gpu, gpu:1 for the second GPU, or gpu:0,1 for two".into()
        }),
    }
}

fn gpus(name: &str) -> Option<DeviceChoice> {
    let ordinals = name.strip_prefix("gpu:")?.split(',');
    let ordinals: Vec<usize> = ordinals.map(|n| n.parse().ok()).collect::<Option<_>>()?;
    match ordinals[..] {
        [ordinal] => Some(DeviceChoice::Gpu(ordinal)),
        _ => GpuSet::new(&ordinals).map(DeviceChoice::Gpus),
    }
}

/// Reads a temperature.
///
/// # Errors
/// It is no number, or below 0.
fn temperature(text: &str) -> Result<f64, String> {
    let number = text.parse().ok();
    let number = number.filter(|t: &f64| t.is_finite() && *t >= 0.0);
    number.ok_or_else(|| "give a number, 0 or more, such as 0.7".into())
}

/// How results are shown; the same for every command.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Tables for people, or JSON for machines
    #[arg(long, value_name = "text|json", hide_possible_values = true, value_enum, default_value_t = OutputFormat::Text, global = true)]
    pub format: OutputFormat,
    /// Colours; auto means on a terminal, unless NO_COLOR is set
    #[arg(long, value_name = "auto|always|never", hide_possible_values = true, value_enum, default_value_t = Color::Auto, global = true)]
    pub color: Color,
    /// Neither progress nor notices; results and errors alone [default: progress on a terminal]
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

/// A form of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum OutputFormat {
    /// Tables for people.
    Text,
    /// JSON for machines.
    Json,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Even into a file.
    Always,
    /// Not even on a terminal.
    Never,
}

impl Color {
    /// Whether to colour what goes to stdout.
    pub fn on_stdout(self) -> bool {
        // https://no-color.org: set and not empty, whatever its value.
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        self.decide(std::io::stdout().is_terminal(), no_color)
    }

    fn decide(self, terminal: bool, no_color: bool) -> bool {
        match self {
            Color::Auto => terminal && !no_color,
            Color::Always => true,
            Color::Never => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_obey_no_color_unless_asked_for() {
        for (color, terminal, no_color, expected) in [
            (Color::Auto, true, false, true),
            (Color::Auto, true, true, false),
            (Color::Auto, false, false, false),
            (Color::Always, false, true, true),
            (Color::Never, true, false, false),
        ] {
            assert_eq!(
                color.decide(terminal, no_color),
                expected,
                "{color:?} {terminal} {no_color}"
            );
        }
    }
}
