//! `qeval suite check` tests the suites themselves, `qeval suite import` makes one of another
//! program's file.

mod mutants;

use std::path::{Path, PathBuf};

use crate::atomic_file;
use crate::exit::Outcome;
use crate::flow::Measurement;
use crate::import::{ImportSource, Imported, import as import_suite};
use crate::project::{Order, Project};
use crate::report::{audit_text, grid_text, simulation_text};
use crate::run::{BuiltChecks, JUDGES, Judge, RunError, Session, audit, questions_of};
use crate::text::{plural, shell_word};
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
    if let Some(adapter) = &args.mutants {
        return mutants::check_mutants(&project, adapter.as_deref(), screen);
    }
    if args.simulate {
        return simulate(args, &project, screen);
    }
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
            Some(project.asking(session)?),
            project.interrupt()?,
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
        OutputFormat::Text => {
            let left_out = project.left_out().map(|line| format!("note: {line}\n"));
            let text = left_out.unwrap_or_default() + &audit_text(&audit, screen.style);
            screen.print(&text)?;
        }
        OutputFormat::Json => screen.print_json(&audit)?,
    }
    Ok(if audit.is_clean() {
        Outcome::Pass
    } else {
        Outcome::Regression
    })
}

/// `qeval suite check --simulate`
fn simulate(
    args: &SuiteCheckArgs,
    project: &Project,
    screen: &Screen,
) -> Result<Outcome, CliError> {
    if args.grid {
        let grid = project.simulate_grid(args.comparisons)?;
        match screen.format {
            OutputFormat::Text => screen.print(&grid_text(&grid, screen.style))?,
            OutputFormat::Json => screen.print_json(&grid)?,
        }
        return Ok(Outcome::Pass);
    }
    let simulated = project.simulate(args.comparisons, args.looks)?;
    match screen.format {
        OutputFormat::Text => screen.print(&simulation_text(&simulated, screen.style))?,
        OutputFormat::Json => screen.print_json(&simulated)?,
    }
    Ok(Outcome::Pass)
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
        shell_word(&path.display().to_string())
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
        None => project.session_of(&order)?,
    };
    Ok((measured.measurements.swap_remove(0), session))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Color, OutputArgs};
    use crate::project::testing::Small;

    const ROWS: &str = "{\"instruction\": \"Who are you?\", \"output\": \"Aurora.\"}\n";

    #[test]
    fn files_that_are_named_stand_for_the_configured_ones() {
        let small = Small::new("[data]\nsources = [\"rows.jsonl\"]\n");
        small.write("rows.jsonl", ROWS);
        small.write("other.jsonl", &ROWS.replace("Who are you?", "Your name?"));
        let project = small.open();
        let asked = |named: &[String]| training_questions(named, &project).unwrap();
        assert_eq!(asked(&[]), ["Who are you?"]);
        let other = small.path("other.jsonl").display().to_string();
        assert_eq!(asked(&[other]), ["Your name?"]);
    }

    #[test]
    fn a_project_without_data_has_no_question_that_could_leak() {
        let project = Small::new("").open();
        assert_eq!(
            training_questions(&[], &project).unwrap(),
            Vec::<String>::new()
        );
        let nowhere = ["nowhere.jsonl".to_owned()];
        assert!(
            training_questions(&nowhere, &project).is_err(),
            "named, and not there"
        );
    }

    const PROMPTFOO: &str = "prompts: ['{{q}}']\nproviders: [x]\ntests:\n  - vars: {q: 'Capital of Peru?'}\n    \
                             assert:\n      - {type: contains, value: Lima}\n      - {type: latency, threshold: 9}\n";

    /// Imports a promptfoo file to `suites/mine.toml`.
    fn imported(small: &Small) -> Result<Outcome, CliError> {
        small.write("promptfoo.yaml", PROMPTFOO);
        let screen = Screen::new(&OutputArgs {
            format: OutputFormat::Text,
            color: Color::Never,
            quiet: true,
        });
        let args = SuiteImportArgs {
            file: small.path("promptfoo.yaml"),
            docs: None,
            out: Some(small.path("suites/mine.toml")),
        };
        import(&args, &screen)
    }

    #[test]
    fn an_import_makes_its_folder_and_a_suite_that_loads() {
        let small = Small::new("[gate]\nsuites = [\"suites\"]\n");
        assert_eq!(imported(&small).unwrap(), Outcome::Pass);
        let project = small.open();
        let suites = project.suites().unwrap();
        assert_eq!(
            (suites[0].name.as_str(), suites[0].probes.len()),
            ("mine", 1)
        );
    }

    #[test]
    fn an_import_overwrites_nothing() {
        let small = Small::new("");
        small.write("suites/mine.toml", "mine");
        assert!(matches!(imported(&small), Err(CliError::SuiteThere { .. })));
        let kept = std::fs::read_to_string(small.path("suites/mine.toml")).unwrap();
        assert_eq!(kept, "mine");
    }

    /// A link that points nowhere would be replaced by the file.
    #[cfg(unix)]
    #[test]
    fn an_import_leaves_a_dangling_link_alone() {
        let small = Small::new("");
        std::fs::create_dir(small.path("suites")).unwrap();
        std::os::unix::fs::symlink("gone", small.path("suites/mine.toml")).unwrap();
        assert!(matches!(imported(&small), Err(CliError::SuiteThere { .. })));
        assert!(small.path("suites/mine.toml").is_symlink());
    }

    #[test]
    fn what_was_not_carried_over_is_named_before_the_next_command() {
        let small = Small::new("");
        small.write("promptfoo.yaml", PROMPTFOO);
        let source = ImportSource {
            file: small.path("promptfoo.yaml"),
            docs: None,
            name: Some("mine".into()),
        };
        let imported = import_suite(&source).unwrap();
        let text = imported_text(&imported, Path::new("suites/mine.toml"));
        assert!(
            text.starts_with("wrote suites/mine.toml: 1 probe\nnot carried over:\n  - "),
            "{text}"
        );
        assert!(text.contains("latency"), "{text}");
        let all = Imported {
            not_carried: Vec::new(),
            ..imported
        };
        insta::assert_snapshot!(imported_text(&all, Path::new("suites/mine.toml")), @"
        wrote suites/mine.toml: 1 probe
        next: `qeval suite check --suite suites/mine.toml` tests its checks; write golden answers first
        ");
    }
}
