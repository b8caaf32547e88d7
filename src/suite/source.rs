//! Where suites come from: files and folders, and texts that are at hand.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use crate::toml_file::{Place, text};

use super::error::{SuiteError, SuiteErrorKind};

/// Largest suite file, in bytes: what is larger is no suite.
const LARGEST_FILE: u64 = 64 << 20;

/// A suite file's name and content; a file that could not be read is an error of `load`, told
/// together with the errors of the others.
#[derive(Debug, Clone, PartialEq)]
pub struct SuiteSource {
    /// The name that errors show: a path, or `built-in/identity.toml`.
    pub name: String,
    content: Result<Vec<u8>, String>,
    /// Its golden answers hold for the names that it was tested with; those of a user can turn
    /// one of them, and are no fault of the suite.
    pub(super) tested: bool,
}

impl SuiteSource {
    /// A file with this content.
    pub fn new(name: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        SuiteSource {
            name: name.into(),
            content: Ok(content.into()),
            tested: false,
        }
    }

    /// A suite that comes with qeval: its golden answers are judged in qeval's own tests.
    pub fn built_in(name: &str, content: &str) -> Self {
        SuiteSource {
            tested: true,
            ..SuiteSource::new(format!("built-in/{name}"), content)
        }
    }

    /// Its text.
    ///
    /// # Errors
    /// It could not be read, or is not UTF-8.
    pub(super) fn text(&self) -> Result<Cow<'_, str>, Box<SuiteError>> {
        let bytes = self.content.as_ref().map_err(|reason| {
            Box::new(SuiteError {
                place: Place::file(&self.name),
                kind: SuiteErrorKind::Unreadable(reason.clone()),
            })
        })?;
        text(&self.name, bytes).map_err(|error| {
            let (place, mistake) = *error;
            Box::new(SuiteError {
                place,
                kind: mistake.into(),
            })
        })
    }

    /// A file that is there and could not be read, with the reason.
    pub fn unread(name: impl Into<String>, reason: impl Into<String>) -> Self {
        SuiteSource {
            name: name.into(),
            content: Err(reason.into()),
            tested: false,
        }
    }

    fn unreadable(path: &Path, reason: impl Into<String>) -> Self {
        SuiteSource::unread(path.display().to_string(), reason)
    }
}

/// Reads suite files, and the `*.toml` files of folders in the order of their names.
pub fn read(paths: &[PathBuf]) -> Vec<SuiteSource> {
    let mut sources = Vec::new();
    for path in paths {
        if !path.is_dir() {
            sources.push(read_file(path));
            continue;
        }
        match toml_files(path) {
            Ok(files) if files.is_empty() => {
                sources.push(SuiteSource::unreadable(
                    path,
                    "the folder has no *.toml file",
                ));
            }
            Ok(files) => sources.extend(files.iter().map(|file| read_file(file))),
            Err(error) => sources.push(SuiteSource::unreadable(path, error.to_string())),
        }
    }
    sources
}

fn toml_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read_file(path: &Path) -> SuiteSource {
    let read = || -> Result<Vec<u8>, String> {
        let size = fs::metadata(path).map_err(|e| e.to_string())?.len();
        if size > LARGEST_FILE {
            return Err(format!(
                "{size} bytes, and a suite has at most {LARGEST_FILE}"
            ));
        }
        fs::read(path).map_err(|e| e.to_string())
    };
    SuiteSource {
        name: path.display().to_string(),
        content: read(),
        tested: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreadable_paths_are_told_with_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let sources = read(&[folder.path().to_owned(), folder.path().join("none.toml")]);
        let told: Vec<String> = sources
            .iter()
            .map(|source| source.text().unwrap_err().to_string())
            .collect();
        let of_folder = format!("{}: cannot be read", folder.path().display());
        assert!(told[0].starts_with(&of_folder), "{}", told[0]);
        assert!(told[0].contains("no *.toml file"), "{}", told[0]);
        assert!(told[1].contains("none.toml: cannot be read"), "{}", told[1]);
        assert!(
            told.iter().all(|text| text.contains("\n  rule: ")),
            "{told:?}"
        );
    }

    #[test]
    fn files_of_a_folder_come_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.toml", "a.toml", "notes.md"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let sources = read(&[folder.path().to_owned()]);
        let texts: Vec<Cow<'_, str>> = sources.iter().map(|s| s.text().unwrap()).collect();
        assert_eq!(texts, ["a.toml", "b.toml"]);
    }
}
