//! Why the exam cannot be read from a revision.

use std::path::PathBuf;

use thiserror::Error;

/// Why suites and rules cannot be read from the revision that was asked for.
#[derive(Debug, Error)]
pub enum ExamError {
    /// There is no `git` here.
    #[error(
        "--suites-from {revision} needs `git`, which cannot be started: {source}\n  \
         Install git, or have PATH name its folder."
    )]
    NoGit {
        /// As asked for.
        revision: String,
        /// Why not.
        source: std::io::Error,
    },
    /// Not in a working tree of git.
    #[error(
        "--suites-from {revision}: {} is in no working tree of git: {said}\n  \
         Suites are read from the repository that qeval.toml lies in. Run it in a checkout, or leave \
         --suites-from out.", folder.display()
    )]
    NotARepository {
        /// As asked for.
        revision: String,
        /// Where git looked.
        folder: PathBuf,
        /// What git said.
        said: String,
    },
    /// The repository has no such revision.
    #[error("--suites-from {revision}: {} has no such revision{}\n  {way_out}", top.display(),
        if *shallow { ", and it is a shallow clone" } else { "" })]
    NoRevision {
        /// As asked for.
        revision: String,
        /// The repository.
        top: PathBuf,
        /// It holds the last commits alone.
        shallow: bool,
        /// What to type.
        way_out: String,
    },
    /// Only the working tree has a configuration.
    #[error(
        "{path} is not there at {revision}, so there are no rules to judge by\n  \
         Name a revision that has it; the change that brings it is judged without --suites-from."
    )]
    NoConfig {
        /// As asked for.
        revision: String,
        /// From the repository's root.
        path: String,
    },
    /// A path that is not of the repository.
    #[error(
        "{} lies outside of the repository {}, so it has no state at {revision}\n  \
         Move it into the repository, or leave --suites-from out.", path.display(), top.display()
    )]
    Outside {
        /// As asked for.
        revision: String,
        /// What lies outside.
        path: PathBuf,
        /// The repository.
        top: PathBuf,
    },
    /// A link or a submodule, whose content is not in the tree.
    #[error(
        "{path} is a {what} at {revision}: what it leads to is not read\n  \
         Name the file or folder itself under `suites`."
    )]
    NotAFile {
        /// As asked for.
        revision: String,
        /// From the repository's root.
        path: String,
        /// `symbolic link`, or `submodule`.
        what: &'static str,
    },
    /// What is judged by is too large to be read from a tree, and is not as it was there.
    #[error(
        "{path}, which `{key}` under [{section}] names, is not as it was at {revision} \
         ({files}), and weights are not read from there\n  \
         Judge that change by itself, without --suites-from; `git diff {revision} -- {path}` shows it."
    )]
    OtherFiles {
        /// As asked for.
        revision: String,
        /// The section.
        section: &'static str,
        /// The key.
        key: &'static str,
        /// From the repository's root.
        path: String,
        /// How many files, and the first of them.
        files: String,
    },
    /// Records that came with a checkout.
    #[error(
        "{path} is tracked by git, in the folder of records {}: a pull request could bring answers and \
         verdicts with it\n  \
         Name another folder for records, `--runs FOLDER`, and a checkpoint that is tracked by its \
         path.", runs.display()
    )]
    TrackedRecords {
        /// From the repository's root.
        path: String,
        /// The folder of records.
        runs: PathBuf,
    },
    /// Git cannot do what it was asked.
    #[error("`git {command}` in {}: {said}", folder.display())]
    Git {
        /// Its arguments.
        command: String,
        /// Where.
        folder: PathBuf,
        /// What it said.
        said: String,
    },
}
