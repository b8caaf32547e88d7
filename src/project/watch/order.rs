//! What is watched, and what is heard of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::flow::{NextCommands, Preview};

use super::verdict::CheckpointVerdict;

/// What is watched, and what follows from a verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct WatchOrder {
    /// The folder that the trainer writes to.
    pub folder: PathBuf,
    /// Time from one look to the next.
    pub poll: Duration,
    /// Whether there is one look alone.
    pub once: bool,
    /// Time without anything new after which it ends; `None` ends when the trainer has.
    pub until_idle: Option<Duration>,
    /// Written when the newest checkpoints are proven losses, as `stop_on_regression` says.
    pub stop_file: Option<PathBuf>,
    /// Where each verdict is sent.
    pub post: Option<String>,
    /// A link to the best checkpoint that may ship.
    pub keep_best: Option<PathBuf>,
    /// Whether the base that is told is taken for the trainer's, whatever that is called.
    pub trust_base: bool,
}

/// What happens while a folder is watched.
#[derive(Debug)]
pub enum WatchEvent<'a> {
    /// What the probes can prove, before anything is asked.
    Begins {
        /// It.
        preview: &'a Preview,
        /// Checkpoints that the record has verdicts of.
        judged: usize,
    },
    /// A checkpoint was judged.
    Judged {
        /// The verdict.
        judgement: &'a CheckpointVerdict,
        /// What to type about it.
        next: NextCommands,
    },
    /// A checkpoint that cannot be judged, with the reason and a way out.
    Refused {
        /// Its folder.
        path: &'a Path,
        /// Why.
        why: &'a str,
    },
    /// The trainer has removed a checkpoint.
    Removed {
        /// Its folder.
        path: &'a Path,
        /// Whether it had been judged.
        judged: bool,
    },
    /// The stop file was written.
    Stopped {
        /// The file.
        file: &'a Path,
        /// Why.
        reason: &'a str,
    },
    /// The link points to another checkpoint now.
    Linked {
        /// The link.
        link: &'a Path,
        /// The checkpoint; `None`: it is gone, and the link was removed.
        to: Option<&'a Path>,
    },
}
