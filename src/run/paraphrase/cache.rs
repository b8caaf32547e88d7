//! Paraphrases on disk, so that a second run of the same settings does not ask again.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::atomic_file;
use crate::record::{RecordError, damaged, read_kept};

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

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// What was made under a digest, if it is there.
///
/// # Errors
/// It is there and cannot be read.
pub(super) fn read(folder: &Path, digest: &str) -> Result<Option<Paraphrases>, RecordError> {
    let path = path(folder, digest);
    match read_kept::<Versioned>(&path)? {
        None => Ok(None),
        Some(Versioned { version: VERSION }) => {
            let file: Option<File> = read_kept(&path)?;
            Ok(file.map(|file| file.paraphrases))
        }
        Some(Versioned { version }) => Err(damaged(
            &path,
            format!("its version is {version}, this qeval reads {VERSION}"),
        )),
    }
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
    fn what_was_made_reads_back_and_what_is_damaged_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("paraphrases");
        assert_eq!(read(&folder, "ab").unwrap(), None);
        let made = Paraphrases {
            not_translated: Some("no".into()),
            ..Paraphrases::default()
        };
        write(&folder, "ab", &made).unwrap();
        assert_eq!(read(&folder, "ab").unwrap(), Some(made.clone()));
        assert_eq!(read(&folder, "cd").unwrap(), None);
        let text = std::fs::read_to_string(path(&folder, "ab")).unwrap();
        let later = text.replace("\"version\": 1", "\"version\": 2");
        std::fs::write(path(&folder, "ab"), later).unwrap();
        let error = read(&folder, "ab").unwrap_err().to_string();
        assert!(error.contains("its version is 2"), "{error}");
        std::fs::write(path(&folder, "ab"), &text[..9]).unwrap();
        let error = read(&folder, "ab").unwrap_err().to_string();
        assert!(error.contains("ab.json: cannot be read"), "{error}");
    }
}
