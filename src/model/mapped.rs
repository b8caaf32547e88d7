//! Files that are mapped, not read.

use std::fs::File;
use std::path::Path;

use memmap2::Mmap;

use crate::file_text::is_lfs_pointer;

use super::ModelError;

/// Maps a file for reading.
pub(super) fn map(path: &Path) -> Result<Mmap, ModelError> {
    let io = |source| ModelError::Io {
        path: path.to_path_buf(),
        source,
    };
    let file = File::open(path).map_err(io)?;
    if file.metadata().map_err(io)?.is_dir() {
        return Err(io(std::io::ErrorKind::IsADirectory.into()));
    }
    // SAFETY: the map is read-only and the bytes are only ever read as integers and floats, for
    // which every bit pattern is valid. A file that another process shortens meanwhile would end
    // this one with SIGBUS, as it would any reader that maps its weights.
    let map = unsafe { Mmap::map(&file) }.map_err(io)?;
    match is_lfs_pointer(&map) {
        true => Err(ModelError::LfsPointer {
            path: path.to_path_buf(),
        }),
        false => Ok(map),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_of_git_lfs_is_not_called_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("adapter_model.safetensors");
        std::fs::write(
            &path,
            "version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
        )
        .unwrap();
        let error = map(&path).unwrap_err().to_string();
        let error = error.replace(&folder.path().display().to_string(), "ADAPTER");
        insta::assert_snapshot!(error, @"ADAPTER/adapter_model.safetensors is a pointer of Git LFS, not the file itself; fetch it: `git lfs pull` in its repository");
    }
}
