//! Small JSON files that are kept beside records: what can be made again, or what only a run knows.
//!
//! A file that is not there and one that cannot be read are two things: from the second follows
//! work that is done twice, or a rule that nobody knows any more, and neither happens without a
//! word. Callers tell the error, as a notice where they go on without the file.

use std::path::Path;

use serde::de::DeserializeOwned;

use super::RecordError;
use crate::atomic_file::FileError;

/// What a file holds; `None` where there is none.
///
/// # Errors
/// It is there and cannot be read.
pub fn read_kept<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, RecordError> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(FileError::at("read", path))?,
    };
    let read = serde_json::from_slice(&bytes);
    read.map(Some)
        .map_err(|error| damaged(path, error.to_string()))
}

/// A file that is there and does not hold what it should.
pub fn damaged(path: &Path, reason: String) -> RecordError {
    RecordError::Damaged {
        path: path.to_path_buf(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_not_taken_for_absence() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept.json");
        assert_eq!(read_kept::<Vec<u32>>(&path).unwrap(), None);
        std::fs::write(&path, "[1, 2]").unwrap();
        assert_eq!(read_kept::<Vec<u32>>(&path).unwrap(), Some(vec![1, 2]));
        std::fs::write(&path, "[1, ").unwrap();
        let error = read_kept::<Vec<u32>>(&path).unwrap_err().to_string();
        let error = error.replace(&folder.path().display().to_string(), "[runs]");
        insta::assert_snapshot!(error, @"
        [runs]/kept.json: cannot be read: EOF while parsing a value at line 1 column 4
          Restore the file, or move it away: what can be made again is then made again.
        ");
    }
}
