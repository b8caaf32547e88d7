//! The folder of runs: ids, listing, the latest, and what each run holds.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::subject::{SubjectSpec, resolve};
use super::writer::is_superseded;
use super::{Header, Provenance, RecordError, RunLock, commit_of, reader};
use crate::atomic_file::{self, FileError, remove_leftovers};

const PROVENANCE: &str = "provenance.json";
const ADAPTER: &str = "adapter_config.json";

/// The folder that holds all runs, `runs` unless `--runs` says otherwise.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    project: Option<PathBuf>,
}

/// A run's name, and what its provenance is, or why it cannot be read.
type EveryRun = (String, Run, Result<Provenance<IgnoredAny>, RecordError>);

/// One run's folder.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    id: String,
    folder: PathBuf,
}

/// A checkpoint of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Optimizer steps that made it.
    pub step: usize,
    /// The PEFT folder, `checkpoint-STEP`.
    pub folder: PathBuf,
}

/// A subject's record in a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordEntry {
    /// The file, for [`super::read_record`].
    pub path: PathBuf,
    /// Whose answers it holds.
    pub header: Header,
}

impl Store {
    /// The runs in a folder, which need not exist yet. What killed processes left half made is
    /// removed.
    ///
    /// # Errors
    /// The folder exists and cannot be listed or tidied up.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, RecordError> {
        let root = root.into();
        remove_leftovers(&root)?;
        Ok(Store {
            root,
            project: None,
        })
    }

    /// The same, of a project in this folder: the provenance of a new run names its commit.
    #[must_use]
    pub fn of_project(self, folder: impl Into<PathBuf>) -> Self {
        Store {
            project: Some(folder.into()),
            ..self
        }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Makes a run: under the next free id (`run-0001`, `run-0002`, ..), or under a name. It
    /// appears with its provenance or not at all.
    ///
    /// # Errors
    /// The name is not allowed or taken, or the folder cannot be written.
    pub fn create<C: Serialize>(
        &self,
        name: Option<&str>,
        provenance: &Provenance<C>,
    ) -> Result<Run, RecordError> {
        fs::create_dir_all(&self.root).map_err(FileError::at("create", &self.root))?;
        if let Some(name) = name {
            check_name(name)?;
            let run = self.at(name);
            return match self.place(&run, provenance)? {
                true => Ok(run),
                false => {
                    let runs = self.root.clone();
                    Err(RecordError::RunExists {
                        runs,
                        run: name.to_owned(),
                    })
                }
            };
        }
        let mut number = self
            .names()?
            .iter()
            .filter_map(|name| numbered(name))
            .max()
            .unwrap_or(0);
        loop {
            number += 1;
            let run = self.at(&format!("run-{number:04}"));
            if self.place(&run, provenance)? {
                return Ok(run);
            }
        }
    }

    /// Whether the run could be placed; `false` if its name is taken.
    fn place<C: Serialize>(
        &self,
        run: &Run,
        provenance: &Provenance<C>,
    ) -> Result<bool, RecordError> {
        let commit = || self.project.as_ref().and_then(|folder| commit_of(folder));
        let provenance = provenance.at_commit(commit);
        let placed = atomic_file::create_folder(&run.folder, |aside| {
            provenance.write(&aside.join(PROVENANCE))
        });
        match placed {
            Ok(()) => Ok(true),
            Err(RecordError::File(error))
                if error.source.kind() == std::io::ErrorKind::AlreadyExists =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// A run by its id.
    ///
    /// # Errors
    /// There is no such run; the text lists those that exist.
    pub fn run(&self, id: &str) -> Result<Run, RecordError> {
        self.find(id).ok_or_else(|| match self.list() {
            Ok(runs) => RecordError::NoRun {
                runs: self.root.clone(),
                run: id.to_owned(),
                known: runs.into_iter().map(|run| run.id).collect(),
            },
            Err(error) => error,
        })
    }

    /// A run by its id, if there is one.
    pub fn find(&self, id: &str) -> Option<Run> {
        let run = self.at(id);
        (check_name(id).is_ok() && run.folder.join(PROVENANCE).is_file()).then_some(run)
    }

    /// The run that began last.
    ///
    /// # Errors
    /// There is no run, or the folder cannot be listed.
    pub fn latest(&self) -> Result<Run, RecordError> {
        let none = || RecordError::NoRuns {
            runs: self.root.clone(),
        };
        self.list()?.pop().ok_or_else(none)
    }

    /// Every run whose provenance can be read, the one that began first in front. [`Store::damaged`]
    /// names the others: one of them keeps nobody from working with the rest.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn list(&self) -> Result<Vec<Run>, RecordError> {
        let mut runs = Vec::new();
        for (name, run, provenance) in self.every()? {
            if let Ok(provenance) = provenance {
                runs.push((provenance.created_unix_ms, numbered(&name), run));
            }
        }
        runs.sort_by(|a, b| (a.0, a.1, &a.2.id).cmp(&(b.0, b.1, &b.2.id)));
        Ok(runs.into_iter().map(|(_, _, run)| run).collect())
    }

    /// Why runs are not in [`Store::list`].
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn damaged(&self) -> Result<Vec<RecordError>, RecordError> {
        let every = self.every()?.into_iter();
        Ok(every.filter_map(|(_, _, read)| read.err()).collect())
    }

    fn every(&self) -> Result<Vec<EveryRun>, RecordError> {
        let all = self.names()?.into_iter().filter_map(|name| {
            let run = self.find(&name)?;
            let provenance = run.provenance();
            Some((name, run, provenance))
        });
        Ok(all.collect())
    }

    /// Folders that hold checkpoints or answers and are no run, and checkpoints that are no adapter,
    /// each with the reason: what a search goes past.
    ///
    /// # Errors
    /// A folder cannot be listed.
    pub fn passed_over(&self) -> Result<Vec<String>, RecordError> {
        let mut told = Vec::new();
        for name in self.names()?.into_iter().filter(|n| !n.starts_with('.')) {
            let folder = self.root.join(&name);
            let held = folder_names(&folder)?;
            let is_checkpoint =
                |n: &&String| n.starts_with("checkpoint-") && checkpoint_step(n).is_some();
            if self.find(&name).is_some() {
                for checkpoint in held.iter().filter(is_checkpoint) {
                    let path = folder.join(checkpoint);
                    if !path.join(ADAPTER).is_file() {
                        told.push(format!("{}: it has no {ADAPTER}", path.display()));
                    }
                }
            } else if held.iter().any(|n| n == "answers" || is_checkpoint(&n)) {
                let why = match folder.join(PROVENANCE).is_file() {
                    true => "a run cannot have this name".to_owned(),
                    false => format!("it has no {PROVENANCE}"),
                };
                told.push(format!("{}: {why}", folder.display()));
            }
        }
        Ok(told)
    }

    /// What a subject on the command line means: `base`, `ckpt-40` (of the latest run that has
    /// checkpoints), `RUN/ckpt-40`, or a PEFT folder, each adapter with an optional scale such as
    /// `@0.5`.
    ///
    /// # Errors
    /// Nothing has that name, the folder is no adapter, or the scale is no number; the text lists
    /// what exists.
    pub fn resolve(&self, spec: &str) -> Result<SubjectSpec, RecordError> {
        resolve(self, spec)
    }

    fn at(&self, id: &str) -> Run {
        Run {
            id: id.to_owned(),
            folder: self.root.join(id),
        }
    }

    fn names(&self) -> Result<Vec<String>, RecordError> {
        let mut names = folder_names(&self.root)?;
        names.sort();
        Ok(names)
    }
}

impl Run {
    /// Its name in the runs folder.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where its records lie.
    pub fn answers_folder(&self) -> PathBuf {
        self.folder.join("answers")
    }

    /// Where its training log lies, if it trains.
    pub fn train_log(&self) -> PathBuf {
        self.folder.join("train.jsonl")
    }

    /// Where the checkpoint of a step lies, whether or not it is there yet.
    pub fn checkpoint_folder(&self, step: usize) -> PathBuf {
        self.folder.join(format!("checkpoint-{step}"))
    }

    /// Where the adapter that ships lies, at its scale, once a training run has ended and one does.
    pub fn best_folder(&self) -> PathBuf {
        self.folder.join("best")
    }

    /// What made its numbers.
    ///
    /// # Errors
    /// The file cannot be read, or its configuration is of another kind than `C`.
    pub fn provenance<C: DeserializeOwned>(&self) -> Result<Provenance<C>, RecordError> {
        Provenance::read(&self.folder.join(PROVENANCE))
    }

    /// Replaces its provenance. The lock says that this process may.
    ///
    /// # Errors
    /// The file cannot be written; the old one is kept then.
    pub fn set_provenance<C: Serialize>(
        lock: &RunLock,
        provenance: &Provenance<C>,
    ) -> Result<(), RecordError> {
        provenance.write(&lock.run().folder.join(PROVENANCE))
    }

    /// Takes the right to write, and removes what a killed writer left half made.
    ///
    /// # Errors
    /// Another process has it, or the folder cannot be written.
    pub fn lock(&self) -> Result<RunLock, RecordError> {
        RunLock::take(self)
    }

    /// Its checkpoints, by step.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn checkpoints(&self) -> Result<Vec<Checkpoint>, RecordError> {
        let mut checkpoints: Vec<Checkpoint> = folder_names(&self.folder)?
            .iter()
            .filter_map(|name| name.strip_prefix("checkpoint-")?.parse().ok())
            .map(|step| Checkpoint {
                step,
                folder: self.checkpoint_folder(step),
            })
            .filter(|checkpoint| checkpoint.folder.join(ADAPTER).is_file())
            .collect();
        checkpoints.sort_by_key(|checkpoint| checkpoint.step);
        Ok(checkpoints)
    }

    /// The records of its subjects, by file name. A file without a whole first line is left out:
    /// nothing was finished for it.
    ///
    /// # Errors
    /// The folder cannot be listed, or a first line is no header.
    pub fn records(&self) -> Result<Vec<RecordEntry>, RecordError> {
        let mut records = Vec::new();
        for path in self.record_files()? {
            if !is_superseded(&path)
                && let Some(header) = reader::read_header(&path)?
            {
                records.push(RecordEntry { path, header });
            }
        }
        Ok(records)
    }

    /// The record of a subject, by the name in its header.
    ///
    /// # Errors
    /// As [`Self::records`].
    pub fn record_of(&self, subject: &str) -> Result<Option<RecordEntry>, RecordError> {
        Ok(self
            .records()?
            .into_iter()
            .find(|entry| entry.header.subject.name == subject))
    }

    /// Every file of answers, superseded ones too, by name.
    pub(super) fn record_files(&self) -> Result<Vec<PathBuf>, RecordError> {
        let folder = self.answers_folder();
        let mut files: Vec<PathBuf> = names(&folder)?
            .into_iter()
            .filter(|name| name.ends_with(".jsonl") && !name.starts_with('.'))
            .map(|name| folder.join(name))
            .collect();
        files.sort();
        Ok(files)
    }
}

/// `ckpt-40` -> 40, and the folder's own name `checkpoint-40` too.
pub(super) fn checkpoint_step(name: &str) -> Option<usize> {
    name.strip_prefix("ckpt-")
        .or_else(|| name.strip_prefix("checkpoint-"))?
        .parse()
        .ok()
}

fn numbered(name: &str) -> Option<u64> {
    name.strip_prefix("run-")?.parse().ok()
}

fn check_name(run: &str) -> Result<(), RecordError> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    let reason = if run == "base" || checkpoint_step(run).is_some() {
        "it already names a subject"
    } else if !run.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()) {
        "it does not start with a letter or digit"
    } else if !run.chars().all(allowed) {
        "it has a character that is not allowed"
    } else {
        return Ok(());
    };
    Err(RecordError::RunName {
        run: run.to_owned(),
        reason,
    })
}

fn folder_names(folder: &Path) -> Result<Vec<String>, RecordError> {
    let mut names = names(folder)?;
    names.retain(|name| folder.join(name).is_dir());
    Ok(names)
}

/// What lies in a folder; a folder that does not exist is empty. Names that are not UTF-8 are
/// none of ours.
fn names(folder: &Path) -> Result<Vec<String>, RecordError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(FileError::at("list", folder))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(FileError::at("list", folder))?;
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let runs = tempfile::tempdir().unwrap();
        let store = Store::open(runs.path()).unwrap();
        (runs, store)
    }

    fn at(created_unix_ms: u64) -> Provenance {
        Provenance {
            created_unix_ms,
            ..Provenance::started("run")
        }
    }

    #[test]
    fn ids_count_up_and_the_latest_began_last() {
        let (runs, store) = store();
        assert!(store.list().unwrap().is_empty());
        insta::assert_snapshot!(redacted(store.latest().unwrap_err(), &runs), @"
        [runs]: there is no run yet
          `qeval train` or `qeval run SUBJECT` makes one; --runs names another folder.
        ");
        assert_eq!(store.create(None, &at(10)).unwrap().id(), "run-0001");
        fs::create_dir(runs.path().join("run-0009")).unwrap();
        assert_eq!(store.create(None, &at(10)).unwrap().id(), "run-0010");
        assert_eq!(
            store.create(Some("careful"), &at(20)).unwrap().id(),
            "careful"
        );
        assert_eq!(store.latest().unwrap().id(), "careful");
        assert_eq!(store.create(None, &at(20)).unwrap().id(), "run-0011");
        let ids: Vec<String> = store
            .list()
            .unwrap()
            .into_iter()
            .map(|run| run.id)
            .collect();
        // A folder without provenance is no run.
        assert_eq!(ids, ["run-0001", "run-0010", "careful", "run-0011"]);
        insta::assert_snapshot!(redacted(store.run("run-0009").unwrap_err(), &runs), @r#"[runs]: there is no run "run-0009"; there are run-0001, run-0010, careful, run-0011"#);
    }

    #[test]
    fn ids_sort_as_numbers_past_four_digits() {
        let (_runs, store) = store();
        store.create(Some("run-9999"), &at(5)).unwrap();
        assert_eq!(store.create(None, &at(5)).unwrap().id(), "run-10000");
        assert_eq!(store.latest().unwrap().id(), "run-10000");
    }

    #[test]
    fn processes_that_begin_together_get_different_runs() {
        let (_runs, store) = store();
        let mut ids: Vec<String> = std::thread::scope(|scope| {
            let make = || store.create(None, &at(1)).unwrap().id;
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 8);
        assert_eq!(store.list().unwrap().len(), 8);
    }

    #[test]
    fn names_that_would_be_ambiguous_are_refused() {
        let (runs, store) = store();
        for name in [
            "base",
            "ckpt-4",
            "checkpoint-4",
            "",
            "..",
            "a/b",
            "a@0.5",
            "Aus",
            ".tmp-a-1.0",
        ] {
            assert!(
                matches!(
                    store.create(Some(name), &at(1)),
                    Err(RecordError::RunName { .. })
                ),
                "{name:?}"
            );
            assert!(store.find(name).is_none(), "{name:?}");
        }
        insta::assert_snapshot!(store.create(Some("ckpt-4"), &at(1)).unwrap_err(), @r#"
        run name "ckpt-4" cannot be used: it already names a subject
          A name is made of a-z, 0-9, `.`, `_`, and `-`, starts with a letter or digit, and is neither `base` nor `ckpt-N`.
        "#);
        store.create(Some("careful"), &at(1)).unwrap();
        let taken = store.create(Some("careful"), &at(2)).unwrap_err();
        insta::assert_snapshot!(redacted(taken, &runs), @"
        run careful exists already in [runs]
          Choose another name, or continue it.
        ");
        let kept: Provenance = store.run("careful").unwrap().provenance().unwrap();
        assert_eq!(kept.created_unix_ms, 1);
    }

    #[test]
    fn second_writer_of_a_run_is_refused_until_the_first_lets_go() {
        let (runs, store) = store();
        let run = store.create(None, &at(1)).unwrap();
        let lock = run.lock().unwrap();
        let refused = redacted(run.lock().unwrap_err(), &runs)
            .replace(&std::process::id().to_string(), "[id]");
        insta::assert_snapshot!(refused, @"
        run run-0001 is in use by another qeval process (process [id])
          Wait until it has ended, or choose another folder with --runs. (Its lock is [runs]/run-0001/.lock.)
        ");
        drop(lock);
        let lock = run.lock().unwrap();
        Run::set_provenance(&lock, &at(7)).unwrap();
        assert_eq!(run.provenance::<serde_json::Value>().unwrap(), at(7));
    }

    #[test]
    fn checkpoints_are_listed_by_step() {
        let (_runs, store) = store();
        let run = store.create(None, &at(1)).unwrap();
        for step in [100, 20, 3] {
            fs::create_dir(run.checkpoint_folder(step)).unwrap();
            if step != 3 {
                fs::write(
                    run.checkpoint_folder(step).join("adapter_config.json"),
                    "{}",
                )
                .unwrap();
            }
        }
        let steps: Vec<usize> = run.checkpoints().unwrap().iter().map(|c| c.step).collect();
        assert_eq!(steps, [20, 100]);
    }

    #[test]
    fn broken_provenance_names_file_and_way_out() {
        let (runs, store) = store();
        let run = store.create(None, &at(1)).unwrap();
        let path = run.folder().join(PROVENANCE);
        let shown = |text: &str| {
            fs::write(&path, text).unwrap();
            redacted(store.damaged().unwrap().remove(0), &runs)
        };
        insta::assert_snapshot!(shown("{\"format\": 1"), @"
        [runs]/run-0001/provenance.json: cannot be read: EOF while parsing an object at line 1 column 12
          Restore the file, or move the whole run folder out of the runs folder.
        ");
        insta::assert_snapshot!(shown("{\"format\": 1}"), @"
        [runs]/run-0001/provenance.json: cannot be read: missing field `qeval`
          Restore the file, or move the whole run folder out of the runs folder.
        ");
        insta::assert_snapshot!(shown("{\"format\": 2}"), @"
        [runs]/run-0001/provenance.json: format 2 was written by a newer qeval; this one reads formats up to 1
          Update qeval, or choose another folder with --runs.
        ");
    }

    /// Once it stopped every command that lists runs.
    #[test]
    fn a_damaged_run_keeps_nobody_from_the_others() {
        let (_runs, store) = store();
        let first = store.create(None, &at(1)).unwrap();
        let last = store.create(None, &at(2)).unwrap();
        assert!(store.damaged().unwrap().is_empty());
        fs::write(last.folder().join(PROVENANCE), b"\xff").unwrap();
        assert_eq!(store.latest().unwrap(), first);
        assert_eq!(store.damaged().unwrap().len(), 1);
        // Named by itself it is not passed over.
        let named = store.run(last.id()).unwrap();
        assert!(named.provenance::<serde_json::Value>().is_err());
        // Its number is taken.
        assert_eq!(store.create(None, &at(3)).unwrap().id(), "run-0003");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn folder_that_nobody_can_write_is_refused() {
        // Not even root makes folders there.
        let error = Store::open("/sys/runs")
            .unwrap()
            .create(None, &at(1))
            .unwrap_err();
        let shown = error.to_string();
        assert!(shown.starts_with("cannot create /sys/runs: "), "{shown}");
        assert!(
            shown.contains("Choose a folder that you may write to"),
            "{shown}"
        );
    }
}
