//! The folder of snapshots: asserting, listing, accepting, rejecting, and removing.

use std::fs;
use std::path::{Path, PathBuf};

use insta::Snapshot;

use crate::atomic_file::{self, FileError};
use crate::flow::{ProbeComparison, ProbeId};

use super::compare::{Change, WithinNoise};
use super::error::SnapshotError;
use super::name::{MOST_VARIANTS, probe_of, snapshot_file};
use super::parse::SavedProbe;
use super::render::{Context, drift_text, render, text};
use super::update::Update;

/// The accepted answers of a project.
#[derive(Debug, Clone)]
pub struct Snapshots {
    folder: PathBuf,
}

/// What asserting one probe's snapshot came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Asserted {
    /// An accepted text agrees.
    Same(Change),
    /// The file was written, as `INSTA_UPDATE` asks.
    Updated(PathBuf),
    /// A reviewer has to look.
    Differs {
        /// What changed; for the first text, that there is none.
        why: String,
        /// The pending file; `None` where nothing is written (`CI`, `INSTA_UPDATE=no`).
        pending: Option<PathBuf>,
        /// `INSTA_FORCE_PASS` asks not to fail.
        forced: bool,
    },
}

/// A change that waits for a reviewer.
#[derive(Debug, Clone, PartialEq)]
pub struct Pending {
    /// The `.snap.new`.
    pub file: PathBuf,
    /// `suite/probe`, for people.
    pub name: String,
    /// The accepted text, when there is one.
    pub accepted: Option<String>,
    /// The new text.
    pub new: String,
    /// Where the answers part, as the file says.
    pub description: Option<String>,
}

impl Snapshots {
    /// The snapshots below `folder`, which is `snapshots/answers` beside a `qeval.toml`; it need
    /// not exist.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Snapshots {
            folder: folder.into(),
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The accepted texts of a probe, the variants in order.
    ///
    /// # Errors
    /// A file that is no snapshot.
    pub fn accepted(&self, probe: &ProbeId) -> Result<Vec<(PathBuf, String)>, SnapshotError> {
        let mut texts = Vec::new();
        for variant in 1..=MOST_VARIANTS {
            let path = self.folder.join(snapshot_file(probe, variant));
            // `max-2.snap` may be another probe's, but then its text has other prompts.
            if path.is_file() {
                let text = read(&path)?.0;
                texts.push((path, text));
            }
        }
        Ok(texts)
    }

    /// What was accepted for a probe, if anything; of several variants the first.
    ///
    /// # Errors
    /// As [`Snapshots::accepted`].
    pub fn saved(&self, probe: &ProbeId) -> Result<Option<SavedProbe>, SnapshotError> {
        let texts = self.accepted(probe)?;
        Ok(texts.first().and_then(|(_, text)| SavedProbe::parse(text)))
    }

    /// How a probe differs from what was accepted for it, by the variant that agrees, else by the
    /// first; `None` when nothing was accepted yet. Writes nothing.
    ///
    /// # Errors
    /// A file that is no snapshot.
    pub fn change(&self, probe: &ProbeComparison) -> Result<Option<Change>, SnapshotError> {
        self.compare(probe, &text(probe), false)
    }

    fn compare(
        &self,
        probe: &ProbeComparison,
        new: &str,
        full_match: bool,
    ) -> Result<Option<Change>, SnapshotError> {
        let comparator = WithinNoise { noise: probe.noise };
        let mut first = None;
        for (_, text) in &self.accepted(&probe.id)? {
            let change = if full_match && text.trim_end() != new.trim_end() {
                Change::Beyond {
                    why: "the text is not the same, and INSTA_REQUIRE_FULL_MATCH is set".into(),
                }
            } else {
                comparator.change(text, new)
            };
            if change.is_accepted() {
                return Ok(Some(change));
            }
            first = first.or(Some(change));
        }
        Ok(first)
    }

    /// Compares a probe with its accepted texts, and writes what `update` says.
    ///
    /// # Errors
    /// A file that cannot be read or written.
    pub fn assert(
        &self,
        probe: &ProbeComparison,
        context: &Context,
        update: Update,
    ) -> Result<Asserted, SnapshotError> {
        let first = self.folder.join(snapshot_file(&probe.id, 1));
        let pending = pending_path(&first);
        let new = text(probe);
        let why = match self.compare(probe, &new, update.full_match())? {
            None => None,
            Some(Change::Beyond { why }) => Some(why),
            Some(accepted) => {
                remove_if_there(&pending)?;
                return Ok(Asserted::Same(accepted));
            }
        };
        let unseen = why.is_none();
        let file = render(probe, context);
        if update.in_place(unseen) {
            write(&first, &file)?;
            remove_if_there(&pending)?;
            return Ok(Asserted::Updated(first));
        }
        if update.pending() {
            write(&pending, &file)?;
        }
        let drift = probe.cases.iter().find_map(|case| case.drift.as_ref());
        let drift = drift.map_or_else(String::new, |d| format!("; {}", drift_text(d)));
        Ok(Asserted::Differs {
            why: why.map_or_else(
                || "no snapshot was accepted yet".to_owned(),
                |why| why + &drift,
            ),
            pending: update.pending().then_some(pending),
            forced: update.force_pass(),
        })
    }

    /// Every change that waits, in the order of names.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn pending(&self) -> Result<Vec<Pending>, SnapshotError> {
        let mut found = Vec::new();
        for file in self.files(".snap.new")? {
            let (new, description) = read(&file)?;
            let accepted = match accepted_path(&file) {
                path if path.is_file() => Some(read(&path)?.0),
                _ => None,
            };
            found.push(Pending {
                name: self.name(&file),
                file,
                accepted,
                new,
                description,
            });
        }
        Ok(found)
    }

    /// The pending text becomes the accepted one.
    ///
    /// # Errors
    /// The file cannot be moved.
    pub fn accept(&self, pending: &Pending) -> Result<PathBuf, SnapshotError> {
        let path = accepted_path(&pending.file);
        fs::rename(&pending.file, &path).map_err(FileError::at("accept", &pending.file))?;
        Ok(path)
    }

    /// The pending text is accepted beside those that are.
    ///
    /// # Errors
    /// The file cannot be moved. With nine variants the last one is replaced.
    pub fn accept_variant(&self, pending: &Pending) -> Result<PathBuf, SnapshotError> {
        let first = accepted_path(&pending.file);
        let stem = first.with_extension("");
        let stem = stem.display();
        let numbered = |n: usize| match n {
            1 => first.clone(),
            n => PathBuf::from(format!("{stem}-{n}.snap")),
        };
        let free = (1..MOST_VARIANTS)
            .find(|n| !numbered(*n).exists())
            .unwrap_or(MOST_VARIANTS);
        let path = numbered(free);
        fs::rename(&pending.file, &path).map_err(FileError::at("accept", &pending.file))?;
        Ok(path)
    }

    /// The accepted text stays, the pending one goes.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn reject(&self, pending: &Pending) -> Result<(), SnapshotError> {
        remove_if_there(&pending.file)
    }

    /// Snapshots, accepted and pending, of probes that no suite has any more.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn orphans(
        &self,
        living: &dyn Fn(&ProbeId) -> bool,
    ) -> Result<Vec<PathBuf>, SnapshotError> {
        let mut files = self.files(".snap")?;
        files.extend(self.files(".snap.new")?);
        files.retain(|file| probe_of(file, living).is_none());
        files.sort();
        Ok(files)
    }

    /// Removes files, and folders that are empty then.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn remove(&self, files: &[PathBuf]) -> Result<(), SnapshotError> {
        for file in files {
            remove_if_there(file)?;
            if let Some(folder) = file.parent() {
                // A folder that still holds something stays.
                let _ = fs::remove_dir(folder);
            }
        }
        Ok(())
    }

    /// `SUITE/PROBE` of a file.
    fn name(&self, file: &Path) -> String {
        let shown = file.strip_prefix(&self.folder).unwrap_or(file);
        let shown = shown.to_string_lossy().replace('\\', "/");
        shown
            .trim_end_matches(".new")
            .trim_end_matches(".snap")
            .to_owned()
    }

    /// The files of the suites' folders whose names end so, sorted.
    fn files(&self, ending: &str) -> Result<Vec<PathBuf>, SnapshotError> {
        let mut found = Vec::new();
        for suite in list(&self.folder)? {
            if !suite.is_dir() {
                continue;
            }
            let ends = |path: &PathBuf| {
                path.file_name()
                    .is_some_and(|name| name.to_string_lossy().ends_with(ending))
            };
            found.extend(list(&suite)?.into_iter().filter(ends));
        }
        found.sort();
        Ok(found)
    }
}

/// What a folder holds; nothing where there is none.
fn list(folder: &Path) -> Result<Vec<PathBuf>, SnapshotError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(FileError::at("list", folder)(error).into()),
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(FileError::at("list", folder))?.path());
    }
    Ok(paths)
}

/// The text and the description of a snapshot file.
fn read(path: &Path) -> Result<(String, Option<String>), SnapshotError> {
    let broken = |reason: String| SnapshotError::Broken {
        path: path.to_owned(),
        reason,
    };
    // insta takes a file without a header for its oldest format, and warns on standard error.
    let start = fs::read(path).map_err(FileError::at("read", path))?;
    if !start.starts_with(b"---") {
        return Err(broken("it does not begin with `---`".into()));
    }
    let snapshot = Snapshot::from_file(path).map_err(|error| broken(error.to_string()))?;
    let text = snapshot
        .as_text()
        .ok_or_else(|| broken("it is binary".into()))?;
    let description = snapshot.metadata().description().map(str::to_owned);
    Ok((text.to_string(), description))
}

fn write(path: &Path, file: &str) -> Result<(), SnapshotError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(FileError::at("create", folder))?;
    }
    Ok(atomic_file::write(path, file)?)
}

fn remove_if_there(path: &Path) -> Result<(), SnapshotError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(FileError::at("remove", path)(error).into())
        }
        _ => Ok(()),
    }
}

fn pending_path(accepted: &Path) -> PathBuf {
    accepted.with_extension("snap.new")
}

fn accepted_path(pending: &Path) -> PathBuf {
    pending.with_extension("")
}
