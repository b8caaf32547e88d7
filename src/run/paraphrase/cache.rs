//! Paraphrases on disk, so that a second run of the same settings does not ask again.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::atomic_file;
use crate::record::RecordError;

use super::examples::Paraphrases;

/// The folder of made wordings, beside the runs: they belong to a base and rows, not to a run.
pub const PARAPHRASES: &str = "paraphrases";
/// Of the file. Another version is made again.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    paraphrases: Paraphrases,
}

/// What was made under a digest, if it is there and can be read.
pub(super) fn read(folder: &Path, digest: &str) -> Option<Paraphrases> {
    let bytes = std::fs::read(path(folder, digest)).ok()?;
    let file: File = serde_json::from_slice(&bytes).ok()?;
    (file.version == VERSION).then_some(file.paraphrases)
}

/// Keeps what was made.
///
/// # Errors
/// The file cannot be written.
pub(super) fn write(
    folder: &Path,
    digest: &str,
    paraphrases: &Paraphrases,
) -> Result<(), RecordError> {
    let file = File {
        version: VERSION,
        paraphrases: paraphrases.clone(),
    };
    std::fs::create_dir_all(folder).map_err(atomic_file::FileError::at("create", folder))?;
    let json = serde_json::to_vec_pretty(&file).unwrap_or_default();
    atomic_file::write(&path(folder, digest), json)?;
    Ok(())
}

fn path(folder: &Path, digest: &str) -> PathBuf {
    folder.join(format!("{digest}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_reads_back_and_what_is_damaged_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("paraphrases");
        assert_eq!(read(&folder, "ab"), None);
        let made = Paraphrases {
            not_translated: Some("no".into()),
            ..Paraphrases::default()
        };
        write(&folder, "ab", &made).unwrap();
        assert_eq!(read(&folder, "ab"), Some(made.clone()));
        assert_eq!(read(&folder, "cd"), None);
        let text = std::fs::read_to_string(path(&folder, "ab")).unwrap();
        let later = text.replace("\"version\": 1", "\"version\": 2");
        std::fs::write(path(&folder, "ab"), later).unwrap();
        assert_eq!(read(&folder, "ab"), None, "of a later version");
        std::fs::write(path(&folder, "ab"), &text[..9]).unwrap();
        assert_eq!(read(&folder, "ab"), None);
    }
}
