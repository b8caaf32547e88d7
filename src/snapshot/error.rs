//! What can go wrong with snapshot files.

use std::path::PathBuf;

use thiserror::Error;

use crate::atomic_file::FileError;

/// Why a snapshot cannot be read or written.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// A file or folder cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is there, and is no snapshot.
    #[error(
        "{path}: no snapshot: {reason}; a snapshot is a YAML header between two lines `---`, then \
         the text. Restore the file from version control, or remove it and run again"
    )]
    Broken {
        /// The file.
        path: PathBuf,
        /// What its parser says.
        reason: String,
    },
    /// `INSTA_UPDATE` has another value.
    #[error(
        "INSTA_UPDATE is `{0}`: it is auto, always, new, unseen, no, or force, as for insta's own \
         snapshots"
    )]
    Update(String),
    /// Nothing is pending under that name.
    #[error("no pending snapshot `{name}`; pending: {}", one_line(.pending))]
    NotPending {
        /// What was asked for.
        name: String,
        /// What there is.
        pending: Vec<String>,
    },
}

fn one_line(names: &[String]) -> String {
    if names.is_empty() {
        "none".into()
    } else {
        crate::text::all_of(names)
    }
}
