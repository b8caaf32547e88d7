//! Why a model's files are not at hand. Every text says what was tried and how to go on.

use std::path::PathBuf;

use thiserror::Error;

/// Why a model's files are not at hand.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HubError {
    /// The text names nothing.
    #[error(
        "model `{model}`: there is no such file or folder, and it is no hub id{}; give a Hugging \
         Face folder, a .gguf file, a hub id like `org/name` or `org/name@revision`, `smollm2-135m`, \
         or `qwen2.5-coder-0.5b`",
        .nearest.as_ref().map(|n| format!(" (similar: `{n}`)")).unwrap_or_default()
    )]
    NoSuchModel {
        /// As written.
        model: String,
        /// The built-in name that was probably meant.
        nearest: Option<String>,
    },
    /// The path is there, but it is no model.
    #[error(
        "{} is not a model: {problem}",
        .path.display()
    )]
    NotAModel {
        /// What was given.
        path: PathBuf,
        /// Why it is none, and the way out.
        problem: String,
    },
    /// A file of known content has another.
    #[error(
        "{} is not the file it should be: it has {found}, not {expected}; delete it and start \
         again, or put the right file in its place",
        .path.display()
    )]
    WrongContent {
        /// Which file.
        path: PathBuf,
        /// Its size or digest.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// A built-in model is neither here nor to be had.
    #[error("{what} is not on this machine and could not be fetched\n{tried}\n{by_hand}")]
    Unavailable {
        /// The model or encoder.
        what: String,
        /// One line a source: why it did not work.
        tried: String,
        /// How to place the files by hand.
        by_hand: String,
    },
    /// A model of the hub could not be fetched.
    #[error("hub repository `{id}` at `{revision}`: {problem}")]
    Repository {
        /// `org/name`.
        id: String,
        /// Branch, tag, or commit.
        revision: String,
        /// What went wrong, and the way out.
        problem: String,
    },
    /// No folder to keep models in.
    #[error(
        "no folder to keep models in: neither QEVAL_CACHE nor XDG_CACHE_HOME nor HOME is set; set \
         QEVAL_CACHE to a folder with 500 MB of room"
    )]
    NoCacheFolder,
    /// A file or folder cannot be read or written.
    #[error("cannot use {}: {source}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}
