//! What made a run's numbers, so that they can be made again and are never compared by mistake
//! with numbers made otherwise.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{FORMAT, RecordError};
use crate::atomic_file::{self, FileError};
use crate::flow::Commit;

/// `provenance.json` of a run. Digests are SHA-256 in hex. `C` is what the run was asked to do: its
/// type belongs to those who make runs; who only looks for one need not know it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Provenance<C = serde_json::Value> {
    /// [`FORMAT`] of the writer.
    pub format: u32,
    /// Version of qeval.
    pub qeval: String,
    /// The command that made the run: `train`, `run`, `gate`, `demo`.
    pub command: String,
    /// When it began, in milliseconds since 1970-01-01 UTC.
    pub created_unix_ms: u64,
    /// The moment that its chat template was given, in seconds since 1970-01-01 UTC: a template may
    /// print the date, and a run keeps its own. `None` in runs of versions that kept none.
    #[serde(default)]
    pub moment_unix_s: Option<u64>,
    /// The commit of the project when it began, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<Commit>,
    /// The base model.
    pub base: BaseProvenance,
    /// The system prompt that every prompt was rendered with: configured, else what the template
    /// itself inserts; `None` if there is none.
    pub system: Option<String>,
    /// The suites that were asked.
    pub suites: Vec<SuiteProvenance>,
    /// Device, number format, and kernels, in words.
    pub device: String,
    /// Worker threads.
    pub threads: usize,
    /// The seed that all others are derived from.
    pub seed: u64,
    /// The resolved configuration, defaults filled in.
    pub config: C,
}

/// The base model of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BaseProvenance {
    /// As configured: a folder, a hub id, a GGUF file, a built-in name.
    pub name: String,
    /// Digest of config and weights.
    pub digest: String,
    /// Digest of the tokenizer.
    pub tokenizer: String,
    /// Digest of the chat template's text.
    pub template: String,
    /// Variables that the template was given, besides the conversation.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub template_kwargs: serde_json::Map<String, serde_json::Value>,
}

/// A suite of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SuiteProvenance {
    /// Its name.
    pub name: String,
    /// [`crate::flow::Suite::digest`].
    pub digest: String,
}

impl Provenance {
    /// A provenance with what is known at once and no configuration: format, version, command, and
    /// time. Everything else is empty and for the caller to fill in.
    pub fn started(command: &str) -> Self {
        Self::of(command, serde_json::Value::Null)
    }
}

impl<C> Provenance<C> {
    /// As [`Provenance::started`], of a run with this configuration.
    pub fn of(command: &str, config: C) -> Self {
        let since_1970 = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Provenance {
            format: FORMAT,
            qeval: env!("CARGO_PKG_VERSION").to_owned(),
            command: command.to_owned(),
            created_unix_ms: u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX),
            moment_unix_s: None,
            commit: None,
            base: BaseProvenance::default(),
            system: None,
            suites: Vec::new(),
            device: String::new(),
            threads: 0,
            seed: 0,
            config,
        }
    }

    /// The moment that its prompts were rendered at, in seconds since 1970.
    pub fn moment(&self) -> u64 {
        self.moment_unix_s.unwrap_or(self.created_unix_ms / 1000)
    }

    /// The same with the project's commit, where it has none yet.
    pub(super) fn at_commit(&self, commit: impl FnOnce() -> Option<Commit>) -> Provenance<&C> {
        Provenance {
            format: self.format,
            qeval: self.qeval.clone(),
            command: self.command.clone(),
            created_unix_ms: self.created_unix_ms,
            moment_unix_s: self.moment_unix_s,
            commit: self.commit.clone().or_else(commit),
            base: self.base.clone(),
            system: self.system.clone(),
            suites: self.suites.clone(),
            device: self.device.clone(),
            threads: self.threads,
            seed: self.seed,
            config: &self.config,
        }
    }

    pub(super) fn read(path: &Path) -> Result<Self, RecordError>
    where
        C: DeserializeOwned,
    {
        let text = std::fs::read_to_string(path).map_err(FileError::at("read", path))?;
        let unreadable = |error: serde_json::Error| RecordError::Provenance {
            path: path.to_path_buf(),
            reason: error.to_string(),
        };
        let value: serde_json::Value = serde_json::from_str(&text).map_err(unreadable)?;
        // The version first: a newer file may lack what this version would complain about.
        if let Some(format) = value.get("format").and_then(serde_json::Value::as_u64)
            && format > u64::from(FORMAT)
        {
            return Err(RecordError::Newer {
                path: path.to_path_buf(),
                format,
                supported: FORMAT,
            });
        }
        serde_json::from_value(value).map_err(unreadable)
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), RecordError>
    where
        C: Serialize,
    {
        let mut text =
            serde_json::to_string_pretty(self).map_err(|error| RecordError::Provenance {
                path: path.to_path_buf(),
                reason: error.to_string(),
            })?;
        text.push('\n');
        Ok(atomic_file::write(path, text)?)
    }
}
