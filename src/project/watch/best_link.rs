//! A link to the best checkpoint, replaced in one step: who follows it sees the old one or the new.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::atomic_file::FileError;

use super::error::WatchError;

/// Refuses a path at which something stands that is no link.
pub(super) fn check(link: &Path) -> Result<(), WatchError> {
    match fs::symlink_metadata(link) {
        Ok(meta) if !meta.file_type().is_symlink() => Err(WatchError::LinkThere {
            path: link.to_path_buf(),
        }),
        _ => Ok(()),
    }
}

/// Points the link to a folder; whether it pointed elsewhere before.
pub(super) fn point(link: &Path, to: &Path) -> Result<bool, WatchError> {
    check(link)?;
    let to = fs::canonicalize(to).map_err(FileError::at("read", to))?;
    if fs::read_link(link).is_ok_and(|old| old == to) {
        return Ok(false);
    }
    // One name, so that what a killed process left is replaced.
    let aside = aside(link);
    match fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(FileError::at("remove", &aside)(error).into());
        }
        _ => {}
    }
    make(&to, &aside).map_err(FileError::at("create", &aside))?;
    fs::rename(&aside, link).map_err(FileError::at("replace", link))?;
    Ok(true)
}

/// Removes a link that leads to nothing any more; whether there was one.
pub(super) fn remove_dead(link: &Path) -> Result<bool, WatchError> {
    if fs::read_link(link).is_err() || link.exists() {
        return Ok(false);
    }
    fs::remove_file(link).map_err(FileError::at("remove", link))?;
    Ok(true)
}

fn aside(link: &Path) -> PathBuf {
    let name = link.file_name().unwrap_or_default().to_string_lossy();
    link.with_file_name(format!(".{name}.new"))
}

#[cfg(unix)]
fn make(to: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(to, link)
}

#[cfg(windows)]
fn make(to: &Path, link: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_dir(to, link)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_replaced_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["checkpoint-1", "checkpoint-2", "taken"] {
            fs::create_dir(at(name)).unwrap();
        }
        let link = at("best");
        assert!(point(&link, &at("checkpoint-1")).unwrap());
        assert!(!point(&link, &at("checkpoint-1")).unwrap(), "it is there");
        // What a killed process left.
        fs::write(at(".best.new"), "").unwrap();
        assert!(point(&link, &at("checkpoint-2")).unwrap());
        let real = fs::canonicalize(at("checkpoint-2")).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), real);
        assert!(!at(".best.new").exists());
        assert!(!remove_dead(&link).unwrap());
        fs::remove_dir(at("checkpoint-2")).unwrap();
        assert!(remove_dead(&link).unwrap() && !remove_dead(&link).unwrap());
        let error = point(&at("taken"), &at("checkpoint-1"))
            .unwrap_err()
            .to_string();
        let error = error.replace(&folder.path().display().to_string(), "[folder]");
        insta::assert_snapshot!(error, @"
        --keep-best [folder]/taken: something is there that is no link, and is left as it is
          Name another path, or move it away.
        ");
        assert!(at("taken").is_dir());
    }
}
