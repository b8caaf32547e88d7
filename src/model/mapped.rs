//! Files that are mapped, not read.

use std::fs::File;
use std::path::Path;

use memmap2::Mmap;

use crate::file_text::is_lfs_pointer;

use super::ModelError;

/// A file that is mapped for reading.
pub(super) struct Mapped(Mmap);

impl std::ops::Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Mapped {
    /// Gives the memory of these bytes of it back: they are read from the file when they are asked for
    /// again. Without it a file that was read once counts as the process's memory, beside what was
    /// made of it.
    #[cfg_attr(
        not(unix),
        expect(clippy::unused_self, reason = "there is no such call")
    )]
    pub fn release(&self, bytes: &[u8]) {
        #[cfg(unix)]
        {
            let at = (bytes.as_ptr() as usize).wrapping_sub(self.0.as_ptr() as usize);
            if at <= self.0.len() && bytes.len() <= self.0.len() - at {
                let advice = memmap2::UncheckedAdvice::DontNeed;
                // SAFETY: pages of a file that nobody writes come back as they were. Where the system
                // does not take the advice, more memory stays in use.
                let _ = unsafe { self.0.unchecked_advise_range(advice, at, bytes.len()) };
            }
        }
        #[cfg(not(unix))]
        let _ = bytes;
    }
}

/// Maps a file for reading.
pub(super) fn map(path: &Path) -> Result<Mapped, ModelError> {
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
        false => Ok(Mapped(map)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_were_released_are_there_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        let bytes: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let map = map(&path).unwrap();
        for part in [&map[..], &map[5000..70_000], &map[99_999..], &[1, 2, 3]] {
            map.release(part);
            assert!(*map == bytes[..]);
        }
    }

    #[test]
    fn a_pointer_of_git_lfs_is_not_called_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("adapter_model.safetensors");
        std::fs::write(
            &path,
            "version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
        )
        .unwrap();
        let error = map(&path).err().unwrap().to_string();
        let error = error.replace(&folder.path().display().to_string(), "ADAPTER");
        insta::assert_snapshot!(error, @"ADAPTER/adapter_model.safetensors is a pointer of Git LFS, not the file itself; fetch it: `git lfs pull` in its repository");
    }
}
