//! Why a folder cannot be watched.

use std::path::PathBuf;

use thiserror::Error;

use crate::atomic_file::FileError;

/// Why a folder cannot be watched. Every text says where, what, and the way out.
#[derive(Debug, Error)]
pub enum WatchError {
    /// The folder is not there, or cannot be listed.
    #[error(
        "{}: cannot be watched: {problem}\n  \
         Name the folder that the trainer writes to (`output_dir`); where it is not made yet, make it \
         (`mkdir -p`).",
        path.display()
    )]
    Folder {
        /// As named.
        path: PathBuf,
        /// What the system says.
        problem: String,
    },
    /// Another process watches it, by the same settings.
    #[error(
        "{}: another qeval{} watches it by the same settings\n  \
         Two would judge every checkpoint twice. End that one, or wait for it.",
        path.display(),
        process.map_or(String::new(), |id| format!(" (process {id})"))
    )]
    InUse {
        /// The folder.
        path: PathBuf,
        /// Who watches it.
        process: Option<u32>,
    },
    /// No base is named, here or there.
    #[error(
        "{}: which base it was trained on is not known{named}\n  \
         Name it: `--model PATH`, or `path` under [model] in qeval.toml.",
        path.display()
    )]
    NoBase {
        /// The checkpoint.
        path: PathBuf,
        /// What was named and is not here.
        named: String,
    },
    /// There is nothing to judge, and nothing is waited for.
    #[error(
        "{}: no checkpoint is there\n  \
         A checkpoint is a folder checkpoint-STEP with trainer_state.json, at most five levels below. \
         {hint}",
        path.display()
    )]
    Nothing {
        /// The folder.
        path: PathBuf,
        /// What to do instead.
        hint: String,
    },
    /// A file would be written where no folder is.
    #[error("{option} {}: its folder is not there\n  Make it, or name another path.", path.display())]
    NoFolder {
        /// The option.
        option: &'static str,
        /// As typed.
        path: PathBuf,
    },
    /// Something else stands where the link should.
    #[error(
        "--keep-best {}: something is there that is no link, and is left as it is\n  \
         Name another path, or move it away.",
        path.display()
    )]
    LinkThere {
        /// As typed.
        path: PathBuf,
    },
    /// An address that nothing can be sent to.
    #[error("--post: {problem}\n  Give a whole address, such as `http://127.0.0.1:8080/verdict`.")]
    Address {
        /// What is wrong with it.
        problem: String,
    },
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
}
