//! What is asked for beside `qeval.toml`, by arguments or by a test: plain data, no clap.

use std::path::PathBuf;

use crate::model::DeviceChoice;
use crate::suite::Shard;

/// What replaces a configured value, and what no configuration says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overrides {
    /// The configuration; `None` is `qeval.toml` where there is one.
    pub config: Option<PathBuf>,
    /// The base model; `None` is the configured one.
    pub model: Option<String>,
    /// Suite files, folders, or built-in names; none are the configured ones.
    pub suites: Vec<String>,
    /// Tags that a probe needs; none are the configured ones.
    pub tags: Vec<String>,
    /// Patterns over `suite::probe`; none is every probe.
    pub probes: Vec<String>,
    /// Only the first so many prompts of each probe; `None` is what is configured.
    pub prompts: Option<usize>,
    /// A part of the probes.
    pub shard: Option<Shard>,
    /// Where the model runs.
    pub device: DeviceChoice,
    /// Answers in work at once; 0 is as many as suit the device.
    pub slots: usize,
    /// Worker threads; `None` is one a core.
    pub threads: Option<usize>,
    /// The seed of every random draw; `None` is that of the run or the configuration.
    pub seed: Option<u64>,
    /// The folder of runs; `None` is `output_dir` of the configuration.
    pub runs: Option<PathBuf>,
}
