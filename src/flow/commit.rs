//! A commit of the project: at which state of it something was made.

use serde::{Deserialize, Serialize};

/// Characters of a hash that are shown.
const SHORT: usize = 7;

/// A commit, as it was checked out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Its hash, in hex.
    pub hash: String,
    /// The first line of its message.
    pub subject: String,
    /// When it was committed, in seconds since 1970-01-01 UTC.
    pub unix_s: u64,
    /// Tracked files were not as they are in it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub changed: bool,
}

impl Commit {
    /// `1f2e3d4`, or `1f2e3d+` where tracked files were changed.
    pub fn short(&self) -> String {
        let first = |count: usize| self.hash.get(..count).unwrap_or(&self.hash);
        match self.changed {
            false => first(SHORT).to_owned(),
            true => format!("{}+", first(SHORT - 1)),
        }
    }
}
