//! Who answers: the base, the base with an adapter at a scale, or a model behind a server.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::digest;

/// Who answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subject {
    /// As the user named it and as reports show it: `base`, `ckpt-40`, `ckpt-40@0.5`.
    pub name: String,
    /// `None` for the base.
    pub adapter: Option<AdapterRef>,
    /// The server that answers; `None` where the model is loaded here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServedModel>,
}

/// A model behind an OpenAI-compatible server. It never holds a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedModel {
    /// Where the API is: `http://host:8000/v1`, without a slash at its end.
    pub url: String,
    /// The model's name there.
    pub model: String,
}

impl fmt::Display for ServedModel {
    /// As a subject is written: `http://host:8000/v1#model`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.url, self.model)
    }
}

/// An adapter on disk, at a scale.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdapterRef {
    /// The PEFT folder.
    pub path: PathBuf,
    /// Hex digest of its config and weights.
    pub digest: String,
    /// Multiplies the adapter's own scale; 1 unless written after `@`.
    pub scale: f64,
    /// The optimizer step that made it, when it is a checkpoint.
    pub step: Option<usize>,
}

/// A checkpoint of a training run at a scale: what is judged there, and what ships.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ScaledCheckpoint {
    /// Optimizer steps taken.
    pub step: usize,
    /// Multiplies the adapter's own scale; 1 is the checkpoint as it was trained.
    pub scale: f64,
}

impl fmt::Display for ScaledCheckpoint {
    /// As a subject is named: `ckpt-40`, `ckpt-40@0.7`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scale {
            1.0 => write!(f, "ckpt-{}", self.step),
            scale => write!(f, "ckpt-{}@{scale}", self.step),
        }
    }
}

impl Subject {
    /// The base: every adapter off.
    pub fn base() -> Self {
        Subject {
            name: "base".into(),
            adapter: None,
            server: None,
        }
    }

    /// An adapter's name with what identifies it, its digest cut short and its scale: `ckpt-40
    /// c0ffee12 at 0.5`. The base is called by its name.
    pub fn label(&self) -> String {
        match &self.adapter {
            None => self.name.clone(),
            Some(adapter) => {
                let scale = match adapter.scale {
                    1.0 => String::new(),
                    scale => format!(" at {scale}"),
                };
                format!("{} {}{scale}", self.name, digest::short(&adapter.digest))
            }
        }
    }

    /// Whether this is the base.
    pub fn is_base(&self) -> bool {
        self.adapter.is_none()
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
