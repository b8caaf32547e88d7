//! The gate as a test binary: one test a probe, named `suite::probe`, one a suite's verdict, and
//! one for all of them.
//!
//! ```no_run
//! // tests/probes.rs, with `harness = false` in Cargo.toml
//! fn main() -> std::process::ExitCode {
//!     qeval::harness::main()
//! }
//! ```
//!
//! Filters, `--list`, and `--exact` are those of `cargo test`, and nextest runs it as it runs any
//! other. Answers are generated once: the first test that needs the record measures, other tests
//! of the process and other processes wait for it, and a second run reads what the first stored.
//! `--junit FILE` writes what ran as JUnit XML. Where `QEVAL_SUITES_FROM` names a git revision, suites
//! and rules are read from there, as by `qeval gate --suites-from`.
//!
//! A test of a probe fails when the probe is lost in a suite, or in a whole, that is a proven
//! regression, and when its answer is not the accepted one (see [`crate::snapshot`]). A loss
//! within the margin of a passing verdict is no failure by itself: the snapshot shows it to a
//! reviewer.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use libtest_mimic::{Arguments, Failed, Trial};
use similar::{ChangeTag, TextDiff};
use thiserror::Error;

use crate::atomic_file::FileError;
use crate::check::run_worker_if_asked;
use crate::exit::Outcome;
use crate::flow::{Candidate, Decision, NextCommands, ProbeComparison, ProbeId, SuiteVerdict};
use crate::project::{GatedCandidate, Order, Overrides, Project, ProjectError, snapshot_context};
use crate::report::{
    Progress, Style, TestResult, VERDICT, exam_lines, junit, probe_changes, probe_failure,
    probe_numbers, suite_failure, suite_numbers, verdict_failure,
};
use crate::snapshot::{Asserted, Snapshots, Update};
use crate::text::harmless;

/// Names the git revision whose suites and rules hold.
const SUITES_FROM: &str = "QEVAL_SUITES_FROM";
/// Lines around a change of a snapshot that are shown.
const CONTEXT_LINES: usize = 2;

/// Gates the project of the test's crate: that of `QEVAL_CONFIG`, else of the `qeval.toml` beside
/// its Cargo.toml.
///
/// ```no_run
/// // tests/probes.rs, with `harness = false` in Cargo.toml
/// fn main() -> std::process::ExitCode {
///     qeval::harness::main()
/// }
/// ```
pub fn main() -> ExitCode {
    Harness::default().main()
}

/// A harness with more than one project.
///
/// ```no_run
/// // Gates the adapter that ships, and proves that the gate still catches one that must not.
/// fn main() -> std::process::ExitCode {
///     qeval::harness::Harness::default()
///         .otherwise("gates/good.toml")
///         .must_fail("gates/harmful.toml")
///         .main()
/// }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Harness {
    otherwise: Option<PathBuf>,
    must_fail: Vec<PathBuf>,
}

impl Harness {
    /// Where there is neither `QEVAL_CONFIG` nor a `qeval.toml`, gates the project of this file,
    /// relative to the crate's folder.
    ///
    /// ```
    /// use qeval::harness::Harness;
    ///
    /// // Nothing is read before `main`.
    /// let harness = Harness::default().otherwise("gates/good.toml");
    /// assert!(format!("{harness:?}").contains("gates/good.toml"));
    /// ```
    #[must_use]
    pub fn otherwise(mut self, config: impl Into<PathBuf>) -> Self {
        self.otherwise = Some(config.into());
        self
    }

    /// Adds a test that passes only if the candidate of this project is a proven regression; run
    /// together with [`Harness::otherwise`]'s project.
    ///
    /// ```
    /// use qeval::harness::Harness;
    ///
    /// let harness = Harness::default()
    ///     .must_fail("gates/harmful.toml")
    ///     .must_fail("gates/parrot.toml");
    /// assert!(format!("{harness:?}").contains("gates/parrot.toml"));
    /// ```
    #[must_use]
    pub fn must_fail(mut self, config: impl Into<PathBuf>) -> Self {
        self.must_fail.push(config.into());
        self
    }

    /// Runs the tests that the arguments ask for. A process that was started to run an answer's
    /// code does only that.
    ///
    /// ```no_run
    /// fn main() -> std::process::ExitCode {
    ///     qeval::harness::Harness::default().main()
    /// }
    /// ```
    pub fn main(self) -> ExitCode {
        if let Some(code) = run_worker_if_asked() {
            return code;
        }
        match self.run() {
            Ok(code) => code,
            Err(error) => {
                say(&format!("error: {error}\n"));
                Outcome::CouldNotMeasure.into()
            }
        }
    }

    fn run(self) -> Result<ExitCode, HarnessError> {
        let (arguments, junit_file) = arguments();
        let crate_folder = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(
            || PathBuf::from("."),
            |folder| relative_to_here(Path::new(&folder)),
        );
        let beside = crate_folder.join("qeval.toml");
        let (config, fallback) = match std::env::var_os("QEVAL_CONFIG") {
            Some(config) => (PathBuf::from(config), false),
            None if beside.is_file() => (beside, false),
            None => match &self.otherwise {
                Some(config) => (crate_folder.join(config), true),
                None => return Err(HarnessError::NoProject { path: beside }),
            },
        };
        let project = Arc::new(Tested::open(&config)?);
        say(&exam_lines(project.project.exam(), Style::for_stdout()));
        let results = Arc::new(Mutex::new(Vec::new()));
        let mut trials = project_trials(&project, &results)?;
        if fallback {
            for config in &self.must_fail {
                let project = Tested::open(&crate_folder.join(config))?;
                trials.push(must_fail(project, &results));
            }
        }
        let conclusion = libtest_mimic::run(&arguments, trials);
        if let Some(file) = junit_file {
            let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
            results.sort_by(|a, b| (&a.suite, &a.name).cmp(&(&b.suite, &b.name)));
            let xml = junit("qeval", &results)?;
            crate::atomic_file::write(&file, xml)?;
        }
        Ok(conclusion.exit_code())
    }
}

/// Writes to standard error: where even that is closed, nothing can be done.
fn say(text: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), harmless(text).as_bytes());
}

/// Why no test could be run.
#[derive(Debug, Error)]
enum HarnessError {
    #[error(
        "no project to gate: there is no {}; write one (`qeval init` does), or name one in \
         QEVAL_CONFIG", path.display()
    )]
    NoProject {
        /// Where it was looked for.
        path: PathBuf,
    },
    #[error(transparent)]
    Project(#[from] ProjectError),
    #[error("cannot write the JUnit report: {0}")]
    Junit(#[from] quick_junit::SerializeError),
    #[error(transparent)]
    File(#[from] FileError),
}

/// The arguments of libtest, and the one that is ours.
fn arguments() -> (Arguments, Option<PathBuf>) {
    let mut junit = None;
    let mut rest: Vec<OsString> = Vec::new();
    let mut all = std::env::args_os();
    while let Some(argument) = all.next() {
        match argument.to_str() {
            Some("--junit") => junit = all.next().map(PathBuf::from),
            Some(text) if text.starts_with("--junit=") => {
                junit = Some(PathBuf::from(&text["--junit=".len()..]));
            }
            _ => rest.push(argument),
        }
    }
    (Arguments::from_iter(rest), junit)
}

/// A path as short as it can be said from here: tests run in their crate's folder.
fn relative_to_here(path: &Path) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    match path.strip_prefix(&here) {
        Ok(rest) => rest.to_owned(),
        Err(_) => path.to_owned(),
    }
}

/// A project whose candidate is gated, measured when the first test asks.
struct Tested {
    config: PathBuf,
    project: Project,
    gated: OnceLock<Result<(GatedCandidate, NextCommands), String>>,
}

impl Tested {
    /// A configuration that is wrong is told once, and not by every test.
    fn open(config: &Path) -> Result<Self, HarnessError> {
        let overrides = Overrides {
            config: Some(config.to_owned()),
            suites_from: std::env::var(SUITES_FROM).ok().filter(|r| !r.is_empty()),
            ..Overrides::default()
        };
        // Progress is shown on a terminal, and nothing else is.
        let progress = Progress::new(!std::io::stderr().is_terminal());
        let project = Project::open(overrides, Box::new(move |event| progress.hear(event)))?;
        Ok(Tested {
            config: config.to_owned(),
            project,
            gated: OnceLock::new(),
        })
    }

    /// The candidate, judged by whoever asks first.
    fn gated(&self) -> Result<Gated<'_>, String> {
        let made = self.gated.get_or_init(|| {
            let make = || {
                let name = self.project.candidate(None)?;
                let order = Order::new(&self.project, &["base", &name])?;
                Ok((self.project.gate(&order)?, self.project.next(&name)))
            };
            make().map_err(|error: ProjectError| error.to_string())
        });
        let (record, next) = made.as_ref().map_err(Clone::clone)?;
        let candidate = record.candidate().ok_or("the record has no candidate")?;
        Ok(Gated {
            record,
            candidate,
            next,
        })
    }
}

/// A candidate that was judged.
struct Gated<'a> {
    record: &'a GatedCandidate,
    candidate: &'a Candidate,
    /// What to type about it.
    next: &'a NextCommands,
}

type Results = Arc<Mutex<Vec<TestResult>>>;

/// A test that notes what came of it.
fn trial(
    suite: &str,
    name: &str,
    results: &Results,
    test: impl FnOnce(&mut Vec<(String, String)>) -> Result<(), String> + Send + 'static,
) -> Trial {
    let (suite, short) = (suite.to_owned(), name.to_owned());
    let results = results.clone();
    Trial::test(format!("{suite}::{short}"), move || {
        let started = Instant::now();
        let mut properties = Vec::new();
        let outcome = test(&mut properties);
        let result = TestResult {
            suite,
            name: short,
            failure: outcome.as_ref().err().cloned(),
            output: None,
            properties,
            took: started.elapsed(),
        };
        results
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(result);
        outcome.map_err(Failed::from)
    })
}

fn project_trials(project: &Arc<Tested>, results: &Results) -> Result<Vec<Trial>, HarnessError> {
    let suites = project.project.suites()?;
    let mut trials = Vec::new();
    for suite in suites {
        for probe in &suite.probes {
            let id = suite.id_of(probe);
            let project = project.clone();
            trials.push(trial(&suite.name, &probe.id, results, move |properties| {
                probe_test(&project.gated()?, &id, properties)
            }));
        }
    }
    for suite in suites {
        let (project, name) = (project.clone(), suite.name.clone());
        trials.push(trial(VERDICT, &suite.name, results, move |properties| {
            suite_test(project.gated()?.candidate, &name, properties)
        }));
    }
    let project = project.clone();
    trials.push(trial(
        VERDICT,
        SuiteVerdict::POOLED,
        results,
        move |properties| pooled_test(&project.gated()?, properties),
    ));
    Ok(trials)
}

fn must_fail(project: Tested, results: &Results) -> Trial {
    let stem = project.config.file_stem().unwrap_or_default();
    let name = stem.to_string_lossy().into_owned();
    trial("must-fail", &name, results, move |_| {
        let candidate = project.gated()?.candidate;
        match candidate.verdict.decision {
            Decision::Regression => Ok(()),
            other => Err(format!(
                "{} is {other}, and should be a regression\n  {}",
                candidate.subject.label(),
                candidate.verdict.reasons.join("\n  ")
            )),
        }
    })
}

fn probe_test(
    gated: &Gated<'_>,
    id: &ProbeId,
    properties: &mut Vec<(String, String)>,
) -> Result<(), String> {
    let Gated {
        record,
        candidate,
        next,
    } = gated;
    let probe = candidate.probes.iter().find(|p| p.id == *id);
    let probe = probe.ok_or_else(|| format!("{id} was not measured; run the tests again"))?;
    *properties = probe_numbers(probe);
    let style = Style::for_stdout();
    if let Some(failure) = probe_failure(candidate, probe, next, style) {
        return Err(failure);
    }
    let update = Update::from_environment().map_err(|error| error.to_string())?;
    let context = snapshot_context(&record.comparison, candidate, &id.suite);
    let asserted = record
        .snapshots
        .assert(probe, &context, update)
        .map_err(|error| error.to_string())?;
    match asserted {
        Asserted::Same(_) | Asserted::Updated(_) | Asserted::Differs { forced: true, .. } => Ok(()),
        Asserted::Differs { why, pending, .. } => Err(snapshot_failure(
            &record.snapshots,
            probe,
            &why,
            pending.as_deref(),
            style,
        )),
    }
}

fn snapshot_failure(
    snapshots: &Snapshots,
    probe: &ProbeComparison,
    why: &str,
    pending: Option<&Path>,
    style: Style,
) -> String {
    let mut text = format!("the answer is not the accepted one: {why}\n");
    let accepted = snapshots.accepted(&probe.id).unwrap_or_default();
    match accepted.first() {
        None => text.push_str(&probe_changes(probe, ("base", "candidate"), style)),
        Some((_, old)) => text.push_str(&line_diff(old, &crate::snapshot::text(probe))),
    }
    match pending {
        // Writing to a string cannot fail.
        Some(file) => drop(writeln!(
            text,
            "pending: {}\nreview: cargo insta review, or qeval snapshot",
            file.display()
        )),
        None => text.push_str(
            "nothing is written where CI or INSTA_UPDATE=no is set: run the tests without them, \
             review, and commit\n",
        ),
    }
    text
}

/// The changed lines of two texts, with some around them.
fn line_diff(old: &str, new: &str) -> String {
    let diff = TextDiff::from_lines(old.trim_end(), new.trim_end());
    let mut text = String::new();
    for (i, group) in diff.grouped_ops(CONTEXT_LINES).iter().enumerate() {
        if i > 0 {
            text.push_str("    ...\n");
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            let _ = writeln!(text, "  {sign} {}", change.value().trim_end());
        }
    }
    text
}

fn suite_test(
    candidate: &Candidate,
    name: &str,
    properties: &mut Vec<(String, String)>,
) -> Result<(), String> {
    let suite = candidate.verdict.suites.iter().find(|s| s.suite == name);
    let suite = suite.ok_or_else(|| format!("suite {name} was not measured"))?;
    *properties = suite_numbers(suite);
    suite_failure(&candidate.verdict, suite).map_or(Ok(()), Err)
}

fn pooled_test(gated: &Gated<'_>, properties: &mut Vec<(String, String)>) -> Result<(), String> {
    *properties = suite_numbers(&gated.candidate.verdict.pooled);
    let comparison = &gated.record.comparison;
    verdict_failure(comparison, gated.candidate, gated.next).map_or(Ok(()), Err)
}
