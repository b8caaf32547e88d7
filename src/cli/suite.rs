//! `qeval suite check` tests the suites themselves, `qeval suite import` makes one of another
//! program's file.

use std::path::{Path, PathBuf};

use crate::atomic_file;
use crate::exit::Outcome;
use crate::flow::Measurement;
use crate::import::{ImportSource, Imported, import as import_suite};
use crate::project::{Order, Project};
use crate::report::audit_text;
use crate::run::{BuiltChecks, JUDGES, Judge, RunError, Session, audit, questions_of};
use crate::text::plural;
use crate::train::{DataSection, Dataset, Source};

use super::args::{OutputFormat, SuiteAction, SuiteArgs, SuiteCheckArgs, SuiteImportArgs};
use super::error::CliError;
use super::output::Screen;

/// `qeval suite ...`
///
/// # Errors
/// Whatever stops it.
pub fn suite(args: &SuiteArgs, screen: &Screen) -> Result<Outcome, CliError> {
    match &args.action {
        SuiteAction::Check(args) => check(args, screen),
        SuiteAction::Import(args) => import(args, screen),
    }
}

/// `qeval suite check`
///
/// # Errors
/// Suites, data, or a model that cannot be read.
fn check(args: &SuiteCheckArgs, screen: &Screen) -> Result<Outcome, CliError> {
    let project = screen.open(args.measure.overrides())?;
    let suites = project.unjudged_suites()?;
    let questions = training_questions(&args.data, &project)?;
    let scoring = project.scoring(None, project.check_settings())?;
    let (base, session) = match args.base {
        true => {
            let (measurement, session) = ask_base(&project)?;
            (Some(measurement), Some(session))
        }
        false => (None, None),
    };
    let mut on_event = project.listener();
    let checks = BuiltChecks::of(&suites).map_err(RunError::from)?;
    let judge = match &session {
        Some(session) if checks.wants_judge() => Some(Judge::calibrated(
            project.asking(session)?,
            &scoring.settings.judge,
            &suites,
            &project.store.root().join(JUDGES),
            &mut on_event,
        )?),
        _ => None,
    };
    let audit = audit(
        &suites,
        &questions,
        &scoring,
        judge.as_ref(),
        base.as_ref(),
        &mut on_event,
    )?;
    project.pass_on_notices(&scoring);
    match screen.format {
        OutputFormat::Text => screen.print(&audit_text(&audit, screen.style))?,
        OutputFormat::Json => screen.print_json(&audit)?,
    }
    Ok(if audit.is_clean() {
        Outcome::Pass
    } else {
        Outcome::Regression
    })
}

/// `qeval suite import`
///
/// # Errors
/// Nothing could be imported, or the file is there already or cannot be written.
fn import(args: &SuiteImportArgs, screen: &Screen) -> Result<Outcome, CliError> {
    let stem = args.out.as_ref().and_then(|out| out.file_stem());
    let imported = import_suite(&ImportSource {
        file: args.file.clone(),
        docs: args.docs.clone(),
        name: stem.map(|stem| stem.to_string_lossy().into_owned()),
    })?;
    let named = || Path::new("suites").join(format!("{}.toml", imported.name));
    let path: PathBuf = args.out.clone().unwrap_or_else(named);
    // `symlink_metadata` sees a dangling link too, which writing would replace.
    if std::fs::symlink_metadata(&path).is_ok() {
        return Err(CliError::SuiteThere { path });
    }
    if let Some(folder) = path.parent().filter(|f| !f.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(atomic_file::FileError::at("create", folder))?;
    }
    atomic_file::write(&path, &imported.toml)?;
    match screen.format {
        OutputFormat::Text => screen.print(&imported_text(&imported, &path))?,
        OutputFormat::Json => screen.print_json(&serde_json::json!({
            "file": path,
            "suite": imported.name,
            "probes": imported.probes,
            "not_carried": imported.not_carried,
        }))?,
    }
    Ok(Outcome::Pass)
}

fn imported_text(imported: &Imported, path: &Path) -> String {
    let probes = plural(imported.probes, "probe");
    let mut lines = vec![format!("wrote {}: {probes}", path.display())];
    if !imported.not_carried.is_empty() {
        lines.push("not carried over:".into());
        let notes = imported.not_carried.iter();
        lines.extend(notes.map(|note| format!("  - {note}")));
    }
    lines.push(format!(
        "next: `qeval suite check --suite {}` tests its checks; write golden answers first\n",
        path.display()
    ));
    lines.join("\n")
}

/// What the user turns of the training data say: of the files named, else of the configured ones.
fn training_questions(named: &[String], project: &Project) -> Result<Vec<String>, CliError> {
    if named.is_empty() {
        if project.config.data.sources.is_empty() {
            return Ok(Vec::new());
        }
        return Ok(questions_of(&project.dataset()?.examples));
    }
    let section = DataSection {
        sources: named.iter().map(|name| Source::parse(name)).collect(),
        ..DataSection::default()
    };
    let dataset = Dataset::load(&section, Path::new(""), &project.config.vars)?;
    Ok(questions_of(&dataset.examples))
}

/// What the base says to every suite, and the base itself.
fn ask_base(project: &Project) -> Result<(Measurement, Session), CliError> {
    let order = Order {
        noise: false,
        ..Order::new(project, &["base"])?
    };
    let mut measured = project.measure(&order)?;
    let session = match measured.session {
        Some(session) => session,
        None => project.session(&order.model, order.system.clone())?,
    };
    Ok((measured.measurements.swap_remove(0), session))
}
