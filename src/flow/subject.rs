//! Who answers: the base, or the base with an adapter at a scale.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Who answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subject {
    /// As the user named it and as reports show it: `base`, `ckpt-40`, `ckpt-40@0.5`.
    pub name: String,
    /// `None` for the base.
    pub adapter: Option<AdapterRef>,
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

impl Subject {
    /// The base: every adapter off.
    pub fn base() -> Self {
        Subject {
            name: "base".into(),
            adapter: None,
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
