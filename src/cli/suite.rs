//! `qeval suite check` tests the suites themselves, `qeval suite import` makes one of another
//! program's file.

use std::path::{Path, PathBuf};

use crate::atomic_file;
use crate::config::QevalConfig;
use crate::exit::Outcome;
use crate::flow::Suite;
use crate::import::{ImportSource, Imported, import as import_suite};
use crate::report::{audit_text, print};
use crate::run::{JUDGES, Judge, Measurement, Session, audit, questions_of};
use crate::text::plural;
use crate::train::{DataSection, Dataset, Source};

use super::args::{
    Format, MeasureArgs, OutputArgs, SuiteAction, SuiteArgs, SuiteCheckArgs, SuiteImportArgs,
};
use super::error::CliError;
use super::measure::{assign, measure, open};
use super::setup::{Setup, check_settings, load_config, load_unjudged_suites};

/// `qeval suite ...`
///
/// # Errors
/// Whatever stops it.
pub fn suite(args: &SuiteArgs, output: &OutputArgs) -> Result<Outcome, CliError> {
    match &args.action {
        SuiteAction::Check(args) => check(args, output),
        SuiteAction::Import(args) => import(args, output),
    }
}

/// `qeval suite check`
///
/// # Errors
/// Suites, data, or a model that cannot be read.
fn check(args: &SuiteCheckArgs, output: &OutputArgs) -> Result<Outcome, CliError> {
    let measure_args = &args.measure;
    let setup = Setup::new(output, &measure_args.compute, &measure_args.store.runs)?;
    let (config, _) = load_config(measure_args.model.config.as_deref())?;
    let suites = load_unjudged_suites(&config, &measure_args.select)?;
    let questions = training_questions(&args.data, &config)?;
    let scoring = setup.scoring(None, check_settings(&config));

    let (base, session) = match args.base {
        true => {
            let (measurement, session) = ask_base(&setup, measure_args)?;
            (Some(measurement), Some(session))
        }
        false => (None, None),
    };
    let judge = match &session {
        Some(session) if wants_judge(&suites) => Some(Judge::calibrated(
            session,
            setup.slots,
            &scoring.judge,
            &suites,
            &setup.store.root().join(JUDGES),
            &mut setup.listener(),
        )?),
        _ => None,
    };
    let audit = audit(
        &suites,
        &questions,
        &scoring,
        judge.as_ref(),
        base.as_ref(),
        &mut setup.listener(),
    )?;
    for notice in scoring.take_notices() {
        setup.notice(notice);
    }
    match setup.format {
        Format::Text => setup.print(&audit_text(&audit, setup.style))?,
        Format::Json => setup.print(&(serde_json::to_string_pretty(&audit)? + "\n"))?,
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
fn import(args: &SuiteImportArgs, output: &OutputArgs) -> Result<Outcome, CliError> {
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
    let text = match output.format {
        Format::Text => imported_text(&imported, &path),
        Format::Json => {
            let report = serde_json::json!({
                "file": path,
                "suite": imported.name,
                "probes": imported.probes,
                "not_carried": imported.not_carried,
            });
            serde_json::to_string_pretty(&report)? + "\n"
        }
    };
    print(&text).map_err(CliError::Print)?;
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

fn wants_judge(suites: &[Suite]) -> bool {
    let mut specs = suites
        .iter()
        .flat_map(|s| &s.probes)
        .flat_map(|p| &p.checks);
    specs.any(|spec| {
        crate::check::registry::build(spec).is_ok_and(|check| check.needs().rubric.is_some())
    })
}

/// What the user turns of the training data say: of the files named, else of the configured ones.
fn training_questions(named: &[String], config: &QevalConfig) -> Result<Vec<String>, CliError> {
    let (section, folder) = if named.is_empty() {
        (config.data.clone(), config.folder.clone())
    } else {
        let section = DataSection {
            sources: named.iter().map(|name| Source::parse(name)).collect(),
            ..DataSection::default()
        };
        (section, Path::new("").to_owned())
    };
    if section.sources.is_empty() {
        return Ok(Vec::new());
    }
    let dataset = Dataset::load(&section, &folder, &config.vars)?;
    Ok(questions_of(&dataset.examples))
}

fn ask_base(setup: &Setup, args: &MeasureArgs) -> Result<(Measurement, Session), CliError> {
    let specs = vec![setup.store.resolve("base")?];
    let mut assignment = assign(args, &specs)?;
    assignment.noise = false;
    let mut measured = measure(setup, &assignment, &specs)?;
    let measurement = measured.measurements.swap_remove(0);
    let session = match measured.session {
        Some(session) => session,
        None => open(setup, &assignment)?,
    };
    Ok((measurement, session))
}
