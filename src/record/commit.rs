//! The commit that a folder is checked out at.

use std::path::Path;

use crate::child_process::git;
use crate::flow::Commit;

/// The commit of a folder's working tree; `None` where there is no git, no repository, or no commit
/// yet. Nothing depends on it but what people are told.
pub fn commit_of(folder: &Path) -> Option<Commit> {
    let folder = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    let said = |arguments: &[&str]| git(folder, arguments).ok()?.ok();
    let text = said(&["log", "-1", "--no-show-signature", "--format=%H%n%ct%n%s"])?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let mut lines = text.lines();
    let hash = lines.next().filter(|hash| !hash.is_empty())?.to_owned();
    let unix_s = lines.next()?.parse().ok()?;
    let subject = lines.next().unwrap_or_default().to_owned();
    let changed = said(&["status", "--porcelain", "--untracked-files=no"]);
    Some(Commit {
        hash,
        subject,
        unix_s,
        changed: changed.is_some_and(|files| !files.is_empty()),
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_commit_is_that_of_the_folder_with_what_was_changed_since() {
        let folder = tempfile::tempdir().unwrap();
        let git = |arguments: &[&str]| {
            let mut command = Command::new("git");
            command.arg("-C").arg(folder.path());
            command.args(["-c", "user.name=A", "-c", "user.email=a@example.org"]);
            command.args(["-c", "commit.gpgsign=false"]).args(arguments);
            assert!(command.output().unwrap().status.success(), "{arguments:?}");
        };
        git(&["init", "-q"]);
        assert_eq!(commit_of(folder.path()), None, "no commit yet");
        std::fs::write(folder.path().join("a"), "1").unwrap();
        git(&["add", "-A"]);
        git(&["commit", "-q", "-m", "Begin | \u{4f60}\u{597d}\n\nMore."]);
        let commit = commit_of(folder.path()).unwrap();
        assert_eq!(commit.subject, "Begin | \u{4f60}\u{597d}");
        assert_eq!((commit.hash.len(), commit.changed), (40, false));
        std::fs::write(folder.path().join("b"), "untracked").unwrap();
        assert_eq!(commit_of(folder.path()), Some(commit.clone()));
        std::fs::write(folder.path().join("a"), "2").unwrap();
        let changed = commit_of(folder.path()).unwrap();
        assert!(changed.short().ends_with('+') && !commit.short().ends_with('+'));
    }
}
