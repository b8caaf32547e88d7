//! Arguments of what answers or judges subjects: `ask`, `diff`, `gate`, `history`.

use std::path::PathBuf;

use clap::Args;

use super::{ComputeArgs, MeasureArgs, ModelArgs, StoreArgs, share, temperature};

/// Arguments of `ask`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct AskArgs {
    /// What to ask [default: on a terminal a conversation, else one question a line of standard
    /// input]
    #[arg(value_name = "QUESTION")]
    pub question: Option<String>,
    /// Who answers beside the base [default: what the configuration says, else the best checkpoint
    /// of the latest run that trained, else its newest, else nobody]
    #[arg(value_name = "SUBJECT")]
    pub subjects: Vec<String>,
    /// The system prompt; "" is an empty one [default: that of the checkpoint's run or the
    /// configuration, else the chat template's own]
    #[arg(long, value_name = "TEXT", help_heading = "Answers")]
    pub system: Option<String>,
    /// Most tokens of an answer; one that is cut says so
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Answers")]
    pub max_new_tokens: u32,
    /// How much chance there is in an answer; 0 always takes the likeliest token
    #[arg(long, value_name = "T", default_value_t = 0.0, value_parser = temperature, help_heading = "Answers")]
    pub temperature: f64,
    /// The base model's settings.
    #[command(flatten)]
    pub model: ModelArgs,
    /// How to compute.
    #[command(flatten)]
    pub compute: ComputeArgs,
    /// Where runs are.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Arguments of `diff`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct DiffArgs {
    /// What to compare with, mostly `base`
    #[arg(value_name = "BASE")]
    pub base: String,
    /// What to compare
    #[arg(value_name = "CANDIDATE", required = true)]
    pub candidates: Vec<String>,
    /// Show every answer that changed, not the ten largest losses alone [default: no]
    #[arg(long, help_heading = "Answers")]
    pub all: bool,
    /// Print everything: what so many probes can prove, every reason, note, and suite with its noise, and
    /// how old the base's answers are [default: one page]
    #[arg(long, help_heading = "Reports")]
    pub verbose: bool,
    /// Also write a page to look at: the verdict, and every answer side by side [default: no]
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub html: Option<PathBuf>,
    /// The largest tolerated loss over all `keep` probes, above 0 and at most 1 [default: that of
    /// the run or the configuration, else 0.03]
    #[arg(long, value_name = "X", value_parser = share, help_heading = "Judging")]
    pub margin: Option<f64>,
    /// Suites, margins, and whatever else asks and judges as they are at a revision of git, such as
    /// origin/main: a pull request cannot loosen its own exam [default: the working tree's]
    #[arg(long, value_name = "REV", help_heading = "Judging")]
    pub suites_from: Option<String>,
    /// What they share with other commands.
    #[command(flatten)]
    pub measure: MeasureArgs,
}

/// Arguments of `gate`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct GateArgs {
    /// What to judge against the base [default: what the configuration says, else the best
    /// checkpoint of the latest run that trained, else its newest]
    #[arg(value_name = "CANDIDATE")]
    pub candidate: Option<String>,
    /// The largest tolerated loss over all `keep` probes, above 0 and at most 1 [default: that of
    /// the run or the configuration, else 0.03]
    #[arg(long, value_name = "X", value_parser = share, help_heading = "Judging")]
    pub margin: Option<f64>,
    /// Suites, margins, and whatever else asks and judges as they are at a revision of git, such as
    /// origin/main: a pull request cannot loosen its own exam [default: the working tree's]
    #[arg(long, value_name = "REV", help_heading = "Judging")]
    pub suites_from: Option<String>,
    /// Also write the verdict as JUnit XML: a test a probe, one a suite, and one for all
    /// [default: no]
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub junit: Option<PathBuf>,
    /// Also write the verdict as Markdown for a comment on a pull request [default: no]
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub markdown: Option<PathBuf>,
    /// Print everything: what so many probes can prove, every reason, note, and suite with its noise, and
    /// how old the base's answers are [default: one page]
    #[arg(long, help_heading = "Reports")]
    pub verbose: bool,
    /// Also write a page to look at: the verdict, and every answer side by side [default: no]
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub html: Option<PathBuf>,
    /// What they share with other commands.
    #[command(flatten)]
    pub measure: MeasureArgs,
}

/// Arguments of `history`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct HistoryArgs {
    /// Only what one suite came to [default: all suites together]
    #[arg(long, value_name = "NAME")]
    pub suite: Option<String>,
    /// Only the newest N verdicts
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// The configuration; the default may be missing, a named one may not [default: qeval.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where runs are.
    #[command(flatten)]
    pub store: StoreArgs,
}
