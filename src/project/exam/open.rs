//! A project whose exam is that of a revision: what asks and judges is read from there, what is
//! examined from the working tree.

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::{self, QevalConfig};
use crate::flow::{Exam, Suite};
use crate::suite::{self, SuiteSource};
use crate::text::plural;
use crate::train::TrainSection;

use super::super::error::ProjectError;
use super::super::open::{CONFIG, Listener, Project};
use super::super::overrides::Overrides;
use super::differences;
use super::error::ExamError;
use super::git::Revision;

/// Parts of a run's folder that a change may bring: what is examined.
const EXAMINED: [&str; 2] = ["checkpoint-", "best"];

/// An exam that is open.
#[derive(Debug)]
pub(crate) struct OpenedExam {
    /// What reports tell of it.
    pub(crate) told: Exam,
    /// The names that the rows of the working tree are made with.
    pub(crate) vars_here: BTreeMap<String, String>,
    tree: Revision,
}

impl OpenedExam {
    /// Suites at a path of the revision; `None` where it has nothing there.
    ///
    /// # Errors
    /// The path is outside, a link, or a submodule.
    pub(crate) fn suites(&self, path: &Path) -> Result<Option<Vec<SuiteSource>>, ExamError> {
        self.tree.suites(path)
    }

    /// A path as messages name it.
    pub(crate) fn name_of(&self, path: &Path) -> String {
        let inside = self.tree.inside(path);
        let inside = inside.unwrap_or_else(|_| path.display().to_string());
        format!("{}:{inside}", self.tree.name)
    }
}

impl Project {
    /// As [`Project::open`], with the exam of a revision.
    ///
    /// # Errors
    /// As [`Project::open`], of either configuration; the revision or something of it cannot be read,
    /// or the working tree brings what would take part in the verdict.
    pub(crate) fn open_examined(
        revision: &str,
        overrides: Overrides,
        listener: Listener,
    ) -> Result<Self, ProjectError> {
        let path = overrides.config.clone();
        let path = path.unwrap_or_else(|| CONFIG.into());
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        let tree = Revision::open(&folder, revision)?;
        let there = match tree.file(&path)? {
            Some(bytes) => {
                let name = format!("{revision}:{}", tree.inside(&path)?);
                Some(config::read_bytes(&name, &bytes)?)
            }
            None => None,
        };
        // One that is named has to be somewhere.
        let here = match path.is_file() || (overrides.config.is_some() && there.is_none()) {
            true => Some(config::load(&path)?),
            false => None,
        };
        if there.is_none() && here.is_some() {
            let path = tree.inside(&path)?;
            let revision = revision.to_owned();
            return Err(ExamError::NoConfig { revision, path }.into());
        }
        let has_file = there.is_some();
        let of = |config: Option<QevalConfig>| QevalConfig {
            folder: folder.clone(),
            ..config.unwrap_or_default()
        };
        let (has_file_here, there, here) = (here.is_some(), of(there), of(here));
        let examined = examined(&there, &here);
        let settings = differences::settings(&there, &here);
        let vars_here = here.vars.clone();
        let silent = Box::new(|_: &_| {});
        let own = Overrides {
            suites_from: None,
            ..overrides.clone()
        };
        let suites_here = Project::with_config(here, has_file_here, own, silent)?.asked_suites();
        let mut project = Project::with_config(examined, has_file, overrides, listener)?;
        no_tracked_records(&tree, project.store.root())?;
        same_files(&tree, &project)?;
        let told = Exam {
            revision: revision.to_owned(),
            commit: tree.commit.clone(),
            settings,
            suites: Vec::new(),
            unreadable: None,
        };
        let exam = project.exam.insert(OpenedExam {
            told,
            vars_here,
            tree,
        });
        match suites_here {
            Ok(here) => {
                let there = project.asked_suites()?;
                let differing = differences::suites(&there, &here);
                project
                    .exam
                    .iter_mut()
                    .for_each(|exam| exam.told.suites.clone_from(&differing));
            }
            Err(error) => {
                exam.told.unreadable = error.to_string().lines().next().map(str::to_owned);
            }
        }
        Ok(project)
    }

    /// Every probe of the suites, golden answers not judged.
    fn asked_suites(&self) -> Result<Vec<Suite>, ProjectError> {
        self.read_suites(suite::load_unjudged)
    }
}

/// The settings of a verdict by the exam of one file on what another trains: whatever asks or judges is
/// there's, what is examined and where files lie is here's.
fn examined(there: &QevalConfig, here: &QevalConfig) -> QevalConfig {
    let mut gate = there.gate.clone();
    gate.candidate.clone_from(&here.gate.candidate);
    gate.snapshots.clone_from(&here.gate.snapshots);
    QevalConfig {
        model: there.model.clone(),
        train: TrainSection {
            system: there.train.system.clone(),
            // Among many seeds one may pass.
            seed: there.train.seed,
            ..here.train.clone()
        },
        gate,
        checks: there.checks.clone(),
        server: there.server.clone(),
        vars: there.vars.clone(),
        ..here.clone()
    }
}

/// Refuses records that a checkout brought: a change could bring answers and verdicts that nobody gave.
fn no_tracked_records(tree: &Revision, runs: &Path) -> Result<(), ExamError> {
    let Ok(inside) = tree.inside(runs) else {
        return Ok(());
    };
    let tracked = tree.tracked(&inside)?;
    let is_examined = |path: &&String| {
        let below = path.strip_prefix(&inside).unwrap_or(path);
        let mut parts = below.trim_start_matches('/').split('/').skip(1);
        parts
            .next()
            .is_some_and(|part| part == EXAMINED[1] || part.strip_prefix(EXAMINED[0]).is_some())
    };
    match tracked.iter().find(|path| !is_examined(path)) {
        None => Ok(()),
        Some(path) => Err(ExamError::TrackedRecords {
            path: path.clone(),
            runs: runs.to_owned(),
        }),
    }
}

/// Refuses weights and programs that judge or are compared with, where the working tree has others:
/// they are not read from a tree. One that is gone here could come from somewhere else by its name.
fn same_files(tree: &Revision, project: &Project) -> Result<(), ExamError> {
    let config = &project.config;
    let of = |name: &String| config.resolve(name);
    let mut named = vec![("checks", "encoder", of(&config.checks.encoder))];
    if project.overrides.model.is_none() {
        named.push(("model", "path", of(&config.model.path)));
    }
    let tokenizer = config.server.tokenizer.as_ref();
    named.extend(tokenizer.map(|path| ("server", "tokenizer", of(path))));
    // A program is meant from here.
    let python = config.checks.python.as_ref();
    named.extend(python.map(|path| ("checks", "python", path.into())));
    for (section, key, path) in named {
        // What lies outside is none of the repository's.
        let Ok(path) = tree.inside(&path) else {
            continue;
        };
        let changed = tree.changed(&path)?;
        if let Some(first) = changed.first() {
            let files = match changed.len() {
                1 => first.clone(),
                n => format!("{first} and {} more", plural(n - 1, "file")),
            };
            return Err(ExamError::OtherFiles {
                revision: tree.name.clone(),
                section,
                key,
                path,
                files,
            });
        }
    }
    Ok(())
}
