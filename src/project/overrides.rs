//! What is asked for beside `qeval.toml`, by arguments or by a test: plain data, no clap.

use std::path::PathBuf;

use crate::model::DeviceChoice;
use crate::suite::Shard;
use crate::text::shell_word;

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
    /// The largest tolerated loss over all `keep` probes; `None` is that of the run or the
    /// configuration.
    pub margin: Option<f64>,
    /// The folder of runs; `None` is `output_dir` of the configuration.
    pub runs: Option<PathBuf>,
    /// The git revision whose suites and rules hold; `None` is the working tree.
    pub suites_from: Option<String>,
}

impl Overrides {
    /// The arguments that a command needs to ask and judge as this one did, each with a blank in
    /// front; without the patterns over probes, see [`Overrides::probe_options`]. What changes no
    /// result is left out.
    ///
    /// ```
    /// use qeval::project::Overrides;
    ///
    /// let overrides = Overrides {
    ///     suites: vec!["my suites/five.toml".into()],
    ///     runs: Some("out".into()),
    ///     ..Overrides::default()
    /// };
    /// assert_eq!(overrides.options(), " --suite 'my suites/five.toml' --runs out");
    /// ```
    pub fn options(&self) -> String {
        let path = |path: &PathBuf| path.display().to_string();
        let mut given: Vec<(&str, String)> = Vec::new();
        given.extend(self.config.as_ref().map(|file| ("config", path(file))));
        given.extend(self.model.clone().map(|model| ("model", model)));
        given.extend(self.suites.iter().map(|suite| ("suite", suite.clone())));
        given.extend(self.tags.iter().map(|tag| ("tag", tag.clone())));
        given.extend(self.prompts.map(|n| ("prompts", n.to_string())));
        given.extend(self.shard.map(|shard| ("shard", shard.to_string())));
        given.extend(self.margin.map(|margin| ("margin", margin.to_string())));
        given.extend(self.seed.map(|seed| ("seed", seed.to_string())));
        let from = self.suites_from.clone();
        given.extend(from.map(|revision| ("suites-from", revision)));
        given.extend(self.runs.as_ref().map(|folder| ("runs", path(folder))));
        written(&given)
    }

    /// The patterns over probes as arguments, each with a blank in front.
    pub fn probe_options(&self) -> String {
        let patterns = self.probes.iter().map(|pattern| ("probe", pattern.clone()));
        written(&patterns.collect::<Vec<_>>())
    }
}

fn written(options: &[(&str, String)]) -> String {
    let each = options
        .iter()
        .map(|(name, value)| format!(" --{name} {}", shell_word(value)));
    each.collect()
}
