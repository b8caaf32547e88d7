//! Arguments of `watch`.

use std::path::PathBuf;

use clap::Args;

use crate::project::Overrides;

use super::{MeasureArgs, above_zero, share};

/// Arguments of `watch`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct WatchArgs {
    /// The folder that the trainer writes to, or one above it
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Seconds from one look to the next; looking works on network disks too
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = above_zero, help_heading = "Watching")]
    pub poll: f64,
    /// Judge what is there, and end [default: no]
    #[arg(long, help_heading = "Watching")]
    pub once: bool,
    /// End when nothing new came for so long, and not when the trainer has written its last checkpoint
    /// [default: end with the trainer]
    #[arg(long, value_name = "MINUTES", value_parser = above_zero, conflicts_with = "once", help_heading = "Watching")]
    pub until_idle: Option<f64>,
    /// Take the base that is told for the trainer's, whatever it is called there [default: refuse an
    /// adapter that names another]
    #[arg(long, help_heading = "Watching")]
    pub trust_base: bool,
    /// Write this file when the trainer should stop: the newest checkpoints are proven losses, as many
    /// as `stop_on_regression` says [default: no]
    #[arg(long, value_name = "PATH", help_heading = "Verdicts")]
    pub stop_file: Option<PathBuf>,
    /// Send each verdict as JSON to this address, and to no other: redirects are not followed
    /// [default: no]
    #[arg(long, value_name = "URL", help_heading = "Verdicts")]
    pub post: Option<String>,
    /// Keep a link to the best checkpoint that may ship; with one the exit code is 0 [default: no]
    #[arg(long, value_name = "LINK", help_heading = "Verdicts")]
    pub keep_best: Option<PathBuf>,
    /// Print every reason, cause, and note of a verdict [default: the page of `qeval gate`]
    #[arg(long, help_heading = "Verdicts")]
    pub verbose: bool,
    /// The largest tolerated loss over all `keep` probes, above 0 and at most 1 [default: that of
    /// the configuration, else 0.03]
    #[arg(long, value_name = "X", value_parser = share, help_heading = "Judging")]
    pub margin: Option<f64>,
    /// What it shares with other commands.
    #[command(flatten)]
    pub measure: MeasureArgs,
}

impl WatchArgs {
    /// What a project is opened with.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            margin: self.margin,
            ..self.measure.overrides()
        }
    }
}
