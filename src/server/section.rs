//! `[server]` of `qeval.toml`: how servers are asked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::ServerError;

/// Who renders a conversation into the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rendered {
    /// The server, from the turns: `/chat/completions`.
    There,
    /// This program, by the template of `tokenizer`: text to `/completions`.
    Here,
}

impl Rendered {
    /// As written in `qeval.toml`.
    pub const WORDS: [(&'static str, Self); 2] = [("there", Self::There), ("here", Self::Here)];

    /// As written in `qeval.toml`.
    pub fn word(self) -> &'static str {
        match self {
            Rendered::There => "there",
            Rendered::Here => "here",
        }
    }
}

/// `[server]`: how models behind a server are asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerSection {
    /// Most requests in flight, at least 1. Default 32.
    pub concurrency: usize,
    /// Seconds for one request, from its first byte to the reply's last. Default 300.
    pub timeout_s: usize,
    /// Tries of one request that may succeed later, at least 1. The pause between two doubles, from a
    /// quarter of a second to 30 seconds. Default 8.
    pub tries: usize,
    /// Seconds that a server which is still loading its model is waited for. Default 600.
    pub wait_s: usize,
    /// Environment variable with the key; a server without one needs none.
    /// Default `"QEVAL_SERVER_KEY"`.
    pub api_key_env: String,
    /// A file with the key alone, relative to the folder of `qeval.toml`, read where the variable is
    /// not set. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_file: Option<String>,
    /// `"there"`, the server renders conversations, or `"here"`. Default `"there"`.
    pub template: Rendered,
    /// The folder or GGUF file of the model that is served, for its tokenizer and chat template.
    /// `template = "here"` needs it; with `"there"` the server's count of each prompt is compared
    /// with it. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
}

impl Default for ServerSection {
    fn default() -> Self {
        ServerSection {
            concurrency: 32,
            timeout_s: 300,
            tries: 8,
            wait_s: 600,
            api_key_env: "QEVAL_SERVER_KEY".into(),
            api_key_file: None,
            template: Rendered::There,
            tokenizer: None,
        }
    }
}

impl ServerSection {
    pub(super) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s as u64)
    }

    /// The key, from the environment, else from the file; paths start from `folder`.
    pub(super) fn key(&self, folder: &Path) -> Result<Option<Key>, ServerError> {
        let set = std::env::var(&self.api_key_env).ok();
        if let Some(key) = set.filter(|key| !key.trim().is_empty()) {
            return Ok(Some(Key(key.trim().to_owned())));
        }
        let Some(file) = &self.api_key_file else {
            return Ok(None);
        };
        let path: PathBuf = folder.join(file);
        let text = std::fs::read_to_string(&path).map_err(|error| ServerError::KeyFile {
            path: path.clone(),
            why: error.to_string(),
        })?;
        let key = text.trim();
        if key.is_empty() || key.lines().count() > 1 {
            let why = "it is not one line with a key".to_owned();
            return Err(ServerError::KeyFile { path, why });
        }
        Ok(Some(Key(key.to_owned())))
    }
}

/// A key. It is sent and never shown.
#[derive(Clone)]
pub(super) struct Key(String);

impl Key {
    pub(super) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// What a server said, without the key that it may repeat.
    pub(super) fn taken_out_of(&self, text: String) -> String {
        match text.contains(&self.0) {
            true => text.replace(&self.0, "[key]"),
            false => text,
        }
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[key]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_line_of_a_file_and_is_shown_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let section = ServerSection {
            api_key_env: "QEVAL_TEST_NO_SUCH_VARIABLE".into(),
            api_key_file: Some("key.txt".into()),
            ..ServerSection::default()
        };
        let read = || section.key(folder.path());
        assert!(matches!(read(), Err(ServerError::KeyFile { .. })));
        std::fs::write(folder.path().join("key.txt"), "sk-1\nsk-2\n").unwrap();
        let said = read().unwrap_err().to_string();
        assert!(!said.contains("sk-1"), "{said}");
        std::fs::write(folder.path().join("key.txt"), " sk-12345\n").unwrap();
        let key = read().unwrap().unwrap();
        assert_eq!(key.header(), "Bearer sk-12345");
        assert_eq!(format!("{key:?}"), "[key]");
        assert_eq!(
            key.taken_out_of("Incorrect API key: sk-12345.".into()),
            "Incorrect API key: [key]."
        );
        let none = ServerSection {
            api_key_file: None,
            ..section
        };
        assert!(none.key(folder.path()).unwrap().is_none());
    }
}
