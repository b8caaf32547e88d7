//! Files that are mapped, not read.

use std::fs::File;
use std::path::Path;

use memmap2::Mmap;

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
    unsafe { Mmap::map(&file) }.map_err(io)
}
