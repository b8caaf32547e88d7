//! Files of a git revision, read by `git` as a child process: neither the working tree nor the index
//! has a part in them.

use std::path::{Component, Path, PathBuf};

use crate::child_process::git;
use crate::suite::SuiteSource;

use super::error::ExamError;

/// Largest file that is read, in bytes: what is larger is no suite.
const LARGEST_FILE: u64 = 64 << 20;

/// A revision of the repository that a folder lies in.
#[derive(Debug, Clone)]
pub(crate) struct Revision {
    /// As it was asked for.
    pub(super) name: String,
    /// Its commit, in hex.
    pub(super) commit: String,
    /// The root of the working tree.
    pub(super) top: PathBuf,
    /// The folder that paths start from, as it is seen from here, without links resolved.
    folder: PathBuf,
    /// The same from the root of the tree.
    folder_inside: PathBuf,
}

/// What stands at a path of the tree.
struct Entry {
    kind: Kind,
    object: String,
    size: u64,
    path: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    File,
    Folder,
    Link,
    Submodule,
}

impl Revision {
    /// Finds a revision in the repository of a folder, which need not be there any more.
    ///
    /// # Errors
    /// There is no git, no repository, or no such revision.
    pub(super) fn open(folder: &Path, name: &str) -> Result<Self, ExamError> {
        let folder = normal(&std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()));
        let there = folder.ancestors().find(|folder| folder.is_dir());
        let there = there.unwrap_or(Path::new("."));
        let started = |source| ExamError::NoGit {
            revision: name.to_owned(),
            source,
        };
        let asked = ["rev-parse", "--show-toplevel", "--show-prefix"];
        let place = git(there, &asked).map_err(started)?;
        let (top, prefix) = match &place {
            Ok(text) => {
                let text = String::from_utf8_lossy(text);
                let mut lines = text.lines();
                let mut next = || PathBuf::from(lines.next().unwrap_or_default());
                (next(), next())
            }
            Err(said) => {
                return Err(ExamError::NotARepository {
                    revision: name.to_owned(),
                    folder: there.to_owned(),
                    said: said.clone(),
                });
            }
        };
        // Without its links where that is in the repository: one that leads elsewhere in it is not
        // followed, or a change could have another file read.
        let folder_inside = match folder.strip_prefix(&top) {
            Ok(inside) => inside.to_owned(),
            Err(_) => prefix.join(folder.strip_prefix(there).unwrap_or(Path::new(""))),
        };
        let wanted = format!("{name}^{{commit}}");
        let found = match name.starts_with('-') {
            true => Err(String::new()),
            false => git(there, &["rev-parse", "--verify", "--quiet", &wanted]).map_err(started)?,
        };
        match found {
            Ok(commit) => Ok(Revision {
                name: name.to_owned(),
                commit: String::from_utf8_lossy(&commit).trim().to_owned(),
                top,
                folder,
                folder_inside,
            }),
            Err(_) => Err(no_revision(name, top)),
        }
    }

    /// A path as it is called in the tree: from its root, with `/`.
    ///
    /// # Errors
    /// It is not in the repository.
    pub(super) fn inside(&self, path: &Path) -> Result<String, ExamError> {
        let whole = normal(&std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
        let from_folder = whole.strip_prefix(&self.folder);
        let inside = match (whole.strip_prefix(&self.top), from_folder) {
            (Ok(inside), _) => inside.to_owned(),
            (_, Ok(rest)) => self.folder_inside.join(rest),
            _ => {
                return Err(ExamError::Outside {
                    revision: self.name.clone(),
                    path: path.to_owned(),
                    top: self.top.clone(),
                });
            }
        };
        let parts = inside.components();
        let parts: Vec<String> = parts
            .map(|part| part.as_os_str().to_string_lossy().into_owned())
            .collect();
        Ok(parts.join("/"))
    }

    /// A file's bytes; `None` where the revision has none of this name.
    ///
    /// # Errors
    /// It is outside, or no file.
    pub(super) fn file(&self, path: &Path) -> Result<Option<Vec<u8>>, ExamError> {
        let inside = self.inside(path)?;
        match self.entry(&inside)? {
            Some(entry) if entry.kind == Kind::File => {
                let content = self.output(&["cat-file", "blob", &entry.object])?;
                Ok(Some(content))
            }
            Some(Entry {
                kind: Kind::Folder, ..
            })
            | None => Ok(None),
            Some(entry) => Err(self.not_a_file(&entry)),
        }
    }

    /// Suites at a path: a file, or the `*.toml` files of a folder in the order of their names; `None`
    /// where the revision has nothing of this name.
    ///
    /// # Errors
    /// It is outside, a link, or a submodule.
    pub(super) fn suites(&self, path: &Path) -> Result<Option<Vec<SuiteSource>>, ExamError> {
        let inside = self.inside(path)?;
        let Some(entry) = self.entry(&inside)? else {
            return Ok(None);
        };
        match entry.kind {
            Kind::File => Ok(Some(vec![self.suite(&entry)?])),
            Kind::Folder => {
                let below = match inside.as_str() {
                    "" => String::new(),
                    inside => format!("{inside}/"),
                };
                let mut files = self.entries(&below)?;
                files.retain(|e| e.kind != Kind::Folder && e.path.ends_with(".toml"));
                if files.is_empty() {
                    let name = format!("{}:{inside}", self.name);
                    let why = "the folder has no *.toml file";
                    return Ok(Some(vec![SuiteSource::unread(name, why)]));
                }
                files.sort_by(|a, b| a.path.cmp(&b.path));
                let read = files.iter().map(|entry| match entry.kind {
                    Kind::File => self.suite(entry),
                    _ => Err(self.not_a_file(entry)),
                });
                Ok(Some(read.collect::<Result<_, _>>()?))
            }
            Kind::Link | Kind::Submodule => Err(self.not_a_file(&entry)),
        }
    }

    /// Tracked files at a path, from the root of the tree.
    ///
    /// # Errors
    /// Git cannot list them.
    pub(super) fn tracked(&self, inside: &str) -> Result<Vec<String>, ExamError> {
        self.names(&["ls-files", "-z", "--full-name", "--", or_all(inside)])
    }

    /// Tracked files at a path that are not as they were at the revision.
    ///
    /// # Errors
    /// Git cannot compare them.
    pub(super) fn changed(&self, inside: &str) -> Result<Vec<String>, ExamError> {
        self.names(&[
            "diff",
            "--name-only",
            "--no-ext-diff",
            "--no-textconv",
            "-z",
            &self.commit,
            "--",
            or_all(inside),
        ])
    }

    fn suite(&self, entry: &Entry) -> Result<SuiteSource, ExamError> {
        let name = format!("{}:{}", self.name, entry.path);
        if entry.size > LARGEST_FILE {
            let why = format!(
                "{} bytes, and a suite has at most {LARGEST_FILE}",
                entry.size
            );
            return Ok(SuiteSource::unread(name, why));
        }
        let content = self.output(&["cat-file", "blob", &entry.object])?;
        Ok(SuiteSource::new(name, content))
    }

    fn entry(&self, inside: &str) -> Result<Option<Entry>, ExamError> {
        if inside.is_empty() {
            return Ok(Some(Entry {
                kind: Kind::Folder,
                object: self.commit.clone(),
                size: 0,
                path: String::new(),
            }));
        }
        Ok(self.entries(inside)?.pop())
    }

    /// The entry of a path, or what is right below one that ends in `/`.
    fn entries(&self, inside: &str) -> Result<Vec<Entry>, ExamError> {
        let mut asked = vec!["ls-tree", "-z", "-l", "--full-tree", &self.commit];
        if !inside.is_empty() {
            asked.extend(["--", inside]);
        }
        Ok(texts(&self.output(&asked)?).filter_map(entry).collect())
    }

    fn names(&self, arguments: &[&str]) -> Result<Vec<String>, ExamError> {
        Ok(texts(&self.output(arguments)?).map(str::to_owned).collect())
    }

    fn output(&self, arguments: &[&str]) -> Result<Vec<u8>, ExamError> {
        let asked = git(&self.top, arguments).map_err(|source| ExamError::NoGit {
            revision: self.name.clone(),
            source,
        })?;
        asked.map_err(|said| ExamError::Git {
            command: arguments.join(" "),
            folder: self.top.clone(),
            said,
        })
    }

    fn not_a_file(&self, entry: &Entry) -> ExamError {
        ExamError::NotAFile {
            revision: self.name.clone(),
            path: entry.path.clone(),
            what: match entry.kind {
                Kind::Submodule => "submodule",
                _ => "symbolic link",
            },
        }
    }
}

/// The root as git takes it.
fn or_all(inside: &str) -> &str {
    match inside {
        "" => ".",
        inside => inside,
    }
}

/// `100644 blob 0fc3..  1234\tsuites/code.toml`.
fn entry(line: &str) -> Option<Entry> {
    let (meta, path) = line.split_once('\t')?;
    let mut words = meta.split_whitespace();
    let (mode, kind) = (words.next()?, words.next()?);
    let (object, size) = (words.next()?.to_owned(), words.next()?);
    Some(Entry {
        kind: match (mode, kind) {
            ("120000", _) => Kind::Link,
            (_, "tree") => Kind::Folder,
            (_, "commit") => Kind::Submodule,
            _ => Kind::File,
        },
        object,
        size: size.parse().unwrap_or(0),
        path: path.to_owned(),
    })
}

/// The texts of a list that ends each with a zero byte. A name that is not UTF-8 names no suite.
fn texts(bytes: &[u8]) -> impl Iterator<Item = &str> {
    let each = bytes.split(|byte| *byte == 0);
    each.filter_map(|text| std::str::from_utf8(text).ok().filter(|t| !t.is_empty()))
}

/// What to type where a revision is not there.
fn no_revision(name: &str, top: PathBuf) -> ExamError {
    let said = |arguments: &[&str]| match git(&top, arguments) {
        Ok(Ok(text)) => String::from_utf8_lossy(&text).trim().to_owned(),
        _ => String::new(),
    };
    let shallow = said(&["rev-parse", "--is-shallow-repository"]) == "true";
    let remotes = said(&["remote"]);
    let of_remote = name.split_once('/').filter(|(remote, branch)| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        remotes.lines().any(|r| r == *remote) && !branch.is_empty() && branch.chars().all(plain)
    });
    let way_out = match of_remote {
        Some((remote, branch)) => format!(
            "Fetch it: `git fetch --depth=1 {remote} +refs/heads/{branch}:refs/remotes/{remote}/{branch}`; \
             with actions/checkout `fetch-depth: 0` fetches all."
        ),
        None => "Name a branch, tag, or commit that `git rev-parse` knows, such as origin/main; one that \
                 was not fetched: `git fetch --depth=1 origin REVISION`, and then FETCH_HEAD."
            .to_owned(),
    };
    ExamError::NoRevision {
        revision: name.to_owned(),
        top,
        shallow,
        way_out,
    }
}

/// A path without `.` and `..`, by its text alone.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(normal.pop()),
            part => normal.push(part),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normal_by_their_text() {
        for (path, expected) in [
            ("/a/./b/../c", "/a/c"),
            ("/a/b/..", "/a"),
            ("/../a", "/a"),
            ("/a", "/a"),
        ] {
            assert_eq!(normal(Path::new(path)), Path::new(expected), "{path}");
        }
    }

    #[test]
    fn a_line_of_a_tree_is_an_entry() {
        let read = |line: &str| entry(line).map(|e| (e.kind, e.size, e.path));
        let object = "0fc3".repeat(10);
        let file = format!("100644 blob {object}    1234\tsuites/my code.toml");
        assert!(read(&file) == Some((Kind::File, 1234, "suites/my code.toml".into())));
        let kinds = [
            ("040000 tree", Kind::Folder),
            ("120000 blob", Kind::Link),
            ("160000 commit", Kind::Submodule),
        ];
        for (mode, kind) in kinds {
            assert!(read(&format!("{mode} {object}       -\tx")).unwrap().0 == kind);
        }
        assert!(read("100644 blob").is_none());
    }
}
