//! `qeval export`: what is recorded, as files that other programs read. No model is loaded.

use std::path::{Path, PathBuf};

use crate::atomic_file::{self, FileError};
use crate::exit::Outcome;
use crate::flow::{NextCommands, Recorded};
use crate::project::Project;
use crate::report::{
    Exporter, PutFile, all_tests, csv, evalscope, file_name, inspect, junit, lm_eval, markdown,
    parquet,
};
use crate::text::plural;

use super::args::{ExportArgs, ExportFormat, OutputFormat};
use super::error::CliError;
use super::output::Screen;

/// Runs the command.
///
/// # Errors
/// Nothing is recorded of a name, or a folder that cannot be written; nothing is written then.
pub fn export(args: &ExportArgs, screen: &Screen) -> Result<Outcome, CliError> {
    let project = screen.open(args.overrides())?;
    let mut formats = args.to.clone();
    formats.sort_unstable();
    formats.dedup();
    let recorded = project.recorded(&args.names)?;
    let mut files = Vec::new();
    let above = args
        .out
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    if let Some(above) = above {
        std::fs::create_dir_all(above).map_err(FileError::at("create", above))?;
    }
    let written = atomic_file::create_folder(&args.out, |aside| {
        for format in &formats {
            let below = match formats.len() {
                1 => PathBuf::new(),
                _ => PathBuf::from(format.name()),
            };
            let mut put = |path: &Path, bytes: &[u8]| -> Result<(), CliError> {
                let path = below.join(path);
                write(&aside.join(&path), bytes)?;
                files.push(path);
                Ok(())
            };
            one_format(&project, *format, &recorded, &mut put)?;
        }
        Ok(())
    });
    written.map_err(|error| match error {
        CliError::File(error) if error.source.kind() == std::io::ErrorKind::AlreadyExists => {
            CliError::FolderThere {
                path: args.out.clone(),
                example: "exports",
            }
        }
        error => error,
    })?;
    if screen.format == OutputFormat::Json {
        let paths = files.iter().map(|file| args.out.join(file));
        let paths: Vec<String> = paths.map(|path| path.display().to_string()).collect();
        screen.print_json(&serde_json::json!({ "version": 1, "files": paths }))?;
    } else {
        screen.print(&told(&recorded, &files, &args.out))?;
    }
    Ok(Outcome::Pass)
}

fn one_format(
    project: &Project,
    format: ExportFormat,
    recorded: &[Recorded],
    put: PutFile<'_, CliError>,
) -> Result<(), CliError> {
    let each: Exporter<CliError> = match format {
        ExportFormat::LmEval => lm_eval,
        ExportFormat::Inspect => inspect,
        ExportFormat::Evalscope => evalscope,
        ExportFormat::Csv => csv,
        ExportFormat::Parquet => parquet,
        ExportFormat::Junit | ExportFormat::Markdown => {
            return verdicts(project, format, recorded, put);
        }
    };
    for (i, one) in recorded.iter().enumerate() {
        // Subjects of several runs may have one name.
        let is_same =
            |other: &Recorded| file_name(&other.subject().name) == file_name(&one.subject().name);
        let others = recorded.iter().enumerate();
        let shared = others
            .filter(|&(j, other)| i != j && is_same(other))
            .count()
            > 0;
        let folder = match shared {
            true => PathBuf::from(&one.run),
            false => PathBuf::new(),
        };
        each(one, &mut |path, bytes| put(&folder.join(path), bytes))?;
    }
    Ok(())
}

/// Each candidate's verdict against its base.
fn verdicts(
    project: &Project,
    format: ExportFormat,
    recorded: &[Recorded],
    put: PutFile<'_, CliError>,
) -> Result<(), CliError> {
    let candidates = recorded.iter().filter(|r| r.subject().name != "base");
    let comparisons = project.recorded_comparisons(recorded)?;
    for (one, comparison) in candidates.zip(&comparisons) {
        for candidate in &comparison.candidates {
            let next = next(project, one);
            let (text, ending) = match format {
                ExportFormat::Markdown => (markdown(comparison, candidate, None, &next), "md"),
                _ => {
                    let tests = all_tests(comparison, candidate, &next);
                    (junit("qeval", &tests)?, "xml")
                }
            };
            let name = format!("{}-{}.{ending}", one.run, file_name(&one.subject().name));
            put(Path::new(&name), text.as_bytes())?;
        }
    }
    Ok(())
}

/// What to type about a recorded candidate.
fn next(project: &Project, recorded: &Recorded) -> NextCommands {
    let subject = recorded.subject();
    let of_run = subject.name.starts_with("ckpt-");
    match of_run {
        true => project.next(&format!("{}/{}", recorded.run, subject.name)),
        false => project.next(&subject.name),
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(FileError::at("create", folder))?;
    }
    std::fs::write(path, bytes).map_err(FileError::at("write", path))
}

fn told(recorded: &[Recorded], files: &[PathBuf], out: &Path) -> String {
    let mut text = String::new();
    for one in recorded {
        let suites = one.suites.iter();
        let (mut answers, mut unscored) = (0, 0);
        for answer in suites.flat_map(|suite| one.answers(suite)) {
            answers += 1;
            unscored += usize::from(answer.score.value().is_none());
        }
        let unasked: usize = one.suites.iter().map(|suite| one.unasked(suite)).sum();
        let mut line = vec![format!(
            "{}/{}: {} of {}",
            one.run,
            one.subject().name,
            plural(answers, "answer"),
            plural(one.suites.len(), "suite")
        )];
        if unscored > 0 {
            line.push(format!("{unscored} unscored"));
        }
        if unasked > 0 {
            line.push(format!("{} not asked yet", plural(unasked, "wording")));
        }
        text += &line.join(", ");
        text.push('\n');
    }
    text + &format!(
        "wrote {} to {}\n",
        plural(files.len(), "file"),
        out.display()
    )
}
