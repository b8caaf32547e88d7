//! `qeval init`: a commented `qeval.toml`, the built-in suites, and sample data in a folder.
//!
//! Nothing is ever overwritten: if any of the files is there, nothing at all is written and all
//! of those that are there are named.

use std::fs;
use std::path::{Path, PathBuf};

use crate::atomic_file::{self, FileError};
use crate::config::sample_toml;
use crate::exit::Outcome;
use crate::text::shell_word;

use super::args::{InitArgs, OutputFormat};
use super::demo::SAMPLE_DATA;
use super::error::CliError;
use super::output::Screen;

/// What git is to leave alone.
const IGNORED: &str = "\
# Records, checkpoints, and adapters of qeval: made again by `qeval train`.
/runs/
# Answers that wait for a review.
*.snap.new
";
/// Why the folder is there.
const ACCEPTED: &str = "\
Answers that a reviewer accepted, one file a probe. `qeval gate` compares with them and leaves what
changed beside them as `*.snap.new`; `qeval snapshot` reviews it. Commit them.
";

/// What [`init()`] writes. Texts, so that this file knows neither suites nor configuration.
#[derive(Debug, Clone, Copy)]
pub struct InitFiles<'a> {
    /// Text of `qeval.toml`.
    pub config: &'a str,
    /// Name (`code`) and text of each file in `suites/`.
    pub suites: &'a [(&'a str, &'a str)],
    /// File name (`examples.jsonl`) and text of each file in `data/`.
    pub data: &'a [(&'a str, &'a str)],
}

/// Why [`init()`] wrote nothing, or not everything.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// Files are there already.
    #[error(
        "{}: nothing was written, because there {} already:\n{}\n  \
         Choose an empty folder (`qeval init DIR`), or move {} away.",
        .folder.display(), if .existing.len() == 1 { "is" } else { "are" },
        listed(.existing), if .existing.len() == 1 { "it" } else { "them" },
    )]
    Exists {
        /// The folder.
        folder: PathBuf,
        /// The files, as paths inside it.
        existing: Vec<String>,
    },
    /// A file or folder could not be written.
    #[error(transparent)]
    File(#[from] FileError),
}

fn listed(names: &[String]) -> String {
    names
        .iter()
        .map(|name| format!("    {name}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Runs the command.
///
/// # Errors
/// One of the files exists, or the folder cannot be written.
pub fn init(args: &InitArgs, screen: &Screen) -> Result<Outcome, CliError> {
    let suites: Vec<(&str, &str)> = crate::suite::builtin()
        .iter()
        .map(|(name, text)| (name.trim_end_matches(".toml"), *text))
        .collect();
    let files = InitFiles {
        config: &sample_toml(&["data/careful.jsonl"]),
        suites: &suites,
        data: SAMPLE_DATA,
    };
    let written = write_files(&args.folder, files)?;
    match screen.format {
        OutputFormat::Json => screen.print_json(&serde_json::json!({
            "version": 1,
            "folder": args.folder,
            "written": written,
        }))?,
        OutputFormat::Text => {
            let list: String = written.iter().map(|name| format!("  {name}\n")).collect();
            screen.print(&format!(
                "wrote to {}:\n{list}next: `{}` trains on the sample data; name yours in qeval.toml\n",
                args.folder.display(),
                next(&args.folder)
            ))?;
        }
    }
    Ok(Outcome::Pass)
}

/// Trains there: what `qeval.toml` names lies beside it, but runs are kept where it is.
fn next(folder: &Path) -> String {
    match folder == Path::new(".") {
        true => "qeval train".to_owned(),
        false => {
            let folder = shell_word(&folder.display().to_string());
            format!("cd {folder} && qeval train")
        }
    }
}

/// Writes the files into a folder, which is created if need be, and returns their paths inside
/// it in the order of writing: `qeval.toml` comes last, so that a folder with one is complete.
///
/// # Errors
/// One of the files exists, or the folder cannot be written.
fn write_files(folder: &Path, files: InitFiles<'_>) -> Result<Vec<String>, InitError> {
    let suites = files
        .suites
        .iter()
        .map(|(name, text)| (format!("suites/{name}.toml"), *text));
    let data = files
        .data
        .iter()
        .map(|(name, text)| (format!("data/{name}"), *text));
    let taken = |name: &str| fs::symlink_metadata(folder.join(name)).is_ok();
    // Runs are large and can be made again; accepted answers are reviewed, and belong to the project.
    // A repository has files of these names itself, which are no reason to write nothing.
    let beside = [
        (".gitignore".to_owned(), IGNORED),
        ("snapshots/answers/README.md".to_owned(), ACCEPTED),
    ];
    let beside = beside.into_iter().filter(|(name, _)| !taken(name));
    let config = ("qeval.toml".to_owned(), files.config);
    let all: Vec<(String, &str)> = suites.chain(data).chain(beside).chain([config]).collect();

    // `symlink_metadata` sees a dangling link too, which writing would replace.
    let existing: Vec<String> = all
        .iter()
        .filter(|(name, _)| taken(name))
        .map(|(name, _)| name.clone())
        .collect();
    if !existing.is_empty() {
        return Err(InitError::Exists {
            folder: folder.to_path_buf(),
            existing,
        });
    }
    for (name, text) in &all {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(FileError::at("create", parent))?;
        }
        atomic_file::write(&path, text)?;
    }
    Ok(all.into_iter().map(|(name, _)| name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: InitFiles<'_> = InitFiles {
        config: "[model]\n",
        suites: &[("code", "[suite]\n"), ("recursion", "[suite]\n")],
        data: &[("examples.jsonl", "{}\n")],
    };

    #[test]
    fn files_are_written_where_the_command_says() {
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path().join("new/project");
        let written = write_files(&project, FILES).unwrap();
        assert_eq!(
            written,
            [
                "suites/code.toml",
                "suites/recursion.toml",
                "data/examples.jsonl",
                ".gitignore",
                "snapshots/answers/README.md",
                "qeval.toml"
            ]
        );
        for name in written {
            assert!(project.join(&name).is_file(), "{name}");
        }
        assert_eq!(
            fs::read_to_string(project.join("qeval.toml")).unwrap(),
            "[model]\n"
        );
    }

    #[test]
    fn foreign_files_beside_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("Cargo.toml"), "mine").unwrap();
        write_files(folder.path(), FILES).unwrap();
        assert_eq!(
            fs::read_to_string(folder.path().join("Cargo.toml")).unwrap(),
            "mine"
        );
    }

    #[test]
    fn nothing_is_overwritten_and_everything_in_the_way_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let shown = |folder: &tempfile::TempDir| {
            let error = write_files(folder.path(), FILES).unwrap_err();
            error
                .to_string()
                .replace(&folder.path().display().to_string(), "[folder]")
        };
        fs::write(folder.path().join("qeval.toml"), "mine").unwrap();
        insta::assert_snapshot!(shown(&folder), @"
        [folder]: nothing was written, because there is already:
            qeval.toml
          Choose an empty folder (`qeval init DIR`), or move it away.
        ");
        fs::create_dir(folder.path().join("suites")).unwrap();
        fs::write(folder.path().join("suites/code.toml"), "mine").unwrap();
        insta::assert_snapshot!(shown(&folder), @"
        [folder]: nothing was written, because there are already:
            suites/code.toml
            qeval.toml
          Choose an empty folder (`qeval init DIR`), or move them away.
        ");
        assert_eq!(
            fs::read_to_string(folder.path().join("qeval.toml")).unwrap(),
            "mine"
        );
        assert!(!folder.path().join("data").exists());
        assert!(!folder.path().join("suites/recursion.toml").exists());
    }

    #[test]
    #[cfg(unix)]
    fn dangling_link_counts_as_a_file() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("qeval.toml")).unwrap();
        assert!(matches!(
            write_files(folder.path(), FILES),
            Err(InitError::Exists { .. })
        ));
    }
}
