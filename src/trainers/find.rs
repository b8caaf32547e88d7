//! Checkpoints below a folder, told by their names.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Folders that are looked through at most: the folder of a trainer's output has a handful.
const MOST_FOLDERS: usize = 20_000;
/// How far below the folder that is named a checkpoint may lie: `output/MODEL/v0-DATE/checkpoint-N`
/// is the third.
const DEPTH: usize = 5;

/// A folder that is named like a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CheckpointFolder {
    /// The folder of the training run, in which it lies.
    pub run: PathBuf,
    /// Optimizer steps, as its name says.
    pub step: usize,
    /// The folder.
    pub path: PathBuf,
}

/// What lies below a folder.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// Run by run, each by step.
    pub checkpoints: Vec<CheckpointFolder>,
    /// Whether there were too many folders to look through them all.
    pub cut: bool,
}

/// Finds checkpoints in a folder and at most five levels below. Links are not followed: trainers
/// write `best` and `last` as links to a checkpoint. Neither are hidden folders, nor those of
/// `passed_over`. A folder below that cannot be listed is taken for empty: it may be gone by now.
///
/// # Errors
/// The folder itself cannot be listed.
pub fn find(root: &Path, passed_over: &[PathBuf]) -> io::Result<Found> {
    let mut found = Found::default();
    if let Some(own) = checkpoint(root) {
        found.checkpoints.push(own);
        return Ok(found);
    }
    let mut left = vec![(root.to_path_buf(), 0)];
    let mut seen = 0;
    while let Some((folder, depth)) = left.pop() {
        let entries = match fs::read_dir(&folder) {
            Err(error) if depth == 0 => return Err(error),
            Err(_) => continue,
            Ok(entries) => entries,
        };
        for entry in entries.flatten() {
            // Of the entry itself: a link is no folder here.
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let path = entry.path();
            if !is_folder || is_hidden(&path) || passed_over.contains(&path) {
                continue;
            }
            if let Some(own) = checkpoint(&path) {
                found.checkpoints.push(own);
            } else if depth + 1 < DEPTH {
                left.push((path, depth + 1));
                seen += 1;
            }
        }
        if seen > MOST_FOLDERS {
            found.cut = true;
            break;
        }
    }
    found.checkpoints.sort();
    Ok(found)
}

/// Whether a name is that of a checkpoint.
pub fn is_checkpoint_name(name: &str) -> bool {
    step_of(name).is_some()
}

fn checkpoint(path: &Path) -> Option<CheckpointFolder> {
    let step = step_of(path.file_name()?.to_str()?)?;
    Some(CheckpointFolder {
        run: path.parent().unwrap_or(Path::new(".")).to_path_buf(),
        step,
        path: path.to_path_buf(),
    })
}

/// `checkpoint-40` is of step 40; `tmp-checkpoint-40`, which becomes it, is none yet.
fn step_of(name: &str) -> Option<usize> {
    let digits = name.strip_prefix("checkpoint-")?;
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(root: &Path, passed_over: &[PathBuf]) -> Vec<String> {
        let found = find(root, passed_over).unwrap().checkpoints;
        let name = |c: &CheckpointFolder| {
            let below = c.path.strip_prefix(root).unwrap();
            format!("{} {}", below.display(), c.step)
        };
        found.iter().map(name).collect()
    }

    #[test]
    fn checkpoints_are_found_by_name_run_by_run_and_step_by_step() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for made in [
            "checkpoint-100",
            "checkpoint-20",
            "checkpoint-20/checkpoint-1",
            "tmp-checkpoint-30",
            "checkpoint-x",
            "checkpoint-",
            "checkpoint-+5",
            ".cache/checkpoint-1",
            "runs/run-0001/checkpoint-7",
            "model/v0-20261130-120000/checkpoint-4",
            "model/v1-20261130-130000/checkpoint-2",
            "a/b/c/d/checkpoint-9",
            "a/b/c/d/e/checkpoint-9",
        ] {
            fs::create_dir_all(root.join(made)).unwrap();
        }
        fs::write(root.join("checkpoint-5"), "a file").unwrap();
        let own = root.join("runs");
        assert_eq!(
            names(root, &[own]),
            [
                "checkpoint-20 20",
                "checkpoint-100 100",
                "a/b/c/d/checkpoint-9 9",
                "model/v0-20261130-120000/checkpoint-4 4",
                "model/v1-20261130-130000/checkpoint-2 2",
            ]
        );
        // One that is named itself is meant itself.
        let one = root.join("checkpoint-100");
        let found = find(&one, &[]).unwrap().checkpoints;
        assert_eq!((found.len(), found[0].step), (1, 100));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("v0/checkpoint-4")).unwrap();
        for (link, to) in [("v0/best", "checkpoint-4"), ("again", "v0"), ("loop", ".")] {
            std::os::unix::fs::symlink(to, root.join(link)).unwrap();
        }
        std::os::unix::fs::symlink("v0/checkpoint-4", root.join("checkpoint-9")).unwrap();
        assert_eq!(names(root, &[]), ["v0/checkpoint-4 4"]);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(find(&folder.path().join("gone"), &[]).is_err());
    }
}
