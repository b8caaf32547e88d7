//! `qeval adapter scale`: the largest scale at which an adapter may ship, and the folder of it.

use std::path::{Path, PathBuf};

use crate::exit::Outcome;
use crate::lora::{LoraError, write_scaled};
use crate::project::{Project, ProjectError, ScaleFound, ScaleSearch};
use crate::report::{ScaleReport, ScaleRow, scale_table, verdict_block};
use crate::run::RunError;

use super::ablate::ablate;
use super::args::{AdapterAction, AdapterArgs, AdapterScaleArgs, OutputFormat};
use super::error::CliError;
use super::outcome::outcome_of;
use super::output::Screen;

/// `qeval adapter ...`
///
/// # Errors
/// Whatever stops it.
pub fn adapter(args: &AdapterArgs, screen: &Screen) -> Result<Outcome, CliError> {
    match &args.action {
        AdapterAction::Scale(args) => scale(args, screen),
        AdapterAction::Ablate(args) => ablate(args, screen),
    }
}

fn scale(args: &AdapterScaleArgs, screen: &Screen) -> Result<Outcome, CliError> {
    let project = screen.open(args.measure.overrides())?;
    if let Some(out) = &args.out {
        refuse_what_is_there(out)?;
    }
    let search = ScaleSearch {
        subject: args.subject.clone(),
        tolerance: args.tolerance,
    };
    let found = project.largest_passing_scale(&search, &mut |look| {
        screen.notice(format!(
            "{} of at most {}: at {}: {}",
            look.candidate.subject.name,
            search.looks(),
            look.scale,
            look.candidate.verdict.sentence
        ));
    })?;
    // An adapter that passes as it is needs no copy, unless one is asked for.
    let folder = match (found.scale, &args.out) {
        (Some(scale), Some(out)) => Some((scale, out.clone())),
        (Some(scale), None) if scale < 1.0 => Some((scale, default_folder(&found.folder, scale))),
        _ => None,
    };
    let written = folder.map(|(scale, folder)| {
        let own = own_scale(&found, scale);
        write_scaled(&found.folder, &folder, own).map(|()| folder)
    });
    let written = match written.transpose() {
        Ok(folder) => Ok(folder),
        // What was measured is shown all the same.
        Err(error @ LoraError::NotScalable { .. }) => Err(error.to_string()),
        Err(error) => return Err(ProjectError::from(RunError::from(error)).into()),
    };
    show(args, (screen, &project), &found, written)?;
    // What keeps enough may have been turned down until it has learned too little.
    Ok(match found.look() {
        Some(look) => outcome_of(&look.candidate.verdict),
        None => Outcome::Regression,
    })
}

/// The factor on the folder's own alpha: the subject may have been named at a scale.
fn own_scale(found: &ScaleFound, scale: f64) -> f64 {
    let adapter = found
        .look()
        .and_then(|l| l.candidate.subject.adapter.as_ref());
    adapter.map_or(scale, |adapter| adapter.scale)
}

/// `adapters/mine` at 0.62 is written to `adapters/mine-at-0.62`.
fn default_folder(folder: &Path, scale: f64) -> PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    folder.with_file_name(format!("{name}-at-{scale}"))
}

/// A folder that the user names is never emptied.
pub(super) fn refuse_what_is_there(out: &Path) -> Result<(), CliError> {
    let empty = match std::fs::read_dir(out) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    match empty {
        true => Ok(()),
        false => Err(CliError::FolderThere {
            path: out.into(),
            example: "adapters",
        }),
    }
}

fn show(
    args: &AdapterScaleArgs,
    (screen, project): (&Screen, &Project),
    found: &ScaleFound,
    written: Result<Option<PathBuf>, String>,
) -> Result<(), CliError> {
    let rows: Vec<ScaleRow<'_>> = found
        .looks
        .iter()
        .map(|look| ScaleRow {
            scale: look.scale,
            verdict: &look.candidate.verdict,
        })
        .collect();
    if screen.format == OutputFormat::Json {
        let folder = written.ok().flatten();
        let report = ScaleReport::new(&args.subject, &rows, found.scale, folder);
        return screen.print_json(&report);
    }
    screen.print(&scale_table(&rows, found.scale, screen.style))?;
    let Some(look) = found.look() else {
        let least = found.looks.last().map_or(1.0, |look| look.scale);
        return screen.print(&format!(
            "{}: passes at no scale down to {least}: do not ship\n",
            args.subject
        ));
    };
    let candidate = &look.candidate;
    let name = &candidate.subject.name;
    let next = match &written {
        Ok(Some(folder)) => project.next(&folder.display().to_string()),
        Ok(None) => project.next(&args.subject),
        Err(_) => project.next(name),
    };
    let next = next.gate();
    let block = verdict_block(
        name,
        &candidate.verdict,
        &candidate.causes,
        &next,
        screen.style,
    );
    screen.print(&block)?;
    match written {
        Ok(Some(folder)) => screen.print(&format!("  wrote    {}\n", folder.display())),
        Ok(None) => screen.print("  wrote    nothing: it passes as it is\n"),
        Err(reason) => screen.print(&format!("  wrote    nothing: {reason}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_something_in_it_is_not_written_to() {
        let folder = tempfile::tempdir().unwrap();
        assert!(refuse_what_is_there(folder.path()).is_ok(), "an empty one");
        assert!(refuse_what_is_there(&folder.path().join("new")).is_ok());
        let file = folder.path().join("mine.txt");
        std::fs::write(&file, "mine").unwrap();
        let refused = refuse_what_is_there(folder.path()).unwrap_err().to_string();
        let refused = refused.replace(&folder.path().display().to_string(), "[out]");
        insta::assert_snapshot!(refused, @"
        [out]: nothing was written, because something is there already
          Name another folder (`--out adapters/NAME`), or move it away.
        ");
        assert!(refuse_what_is_there(&file).is_err());
    }

    #[test]
    fn a_copy_lies_beside_its_adapter() {
        let copy = default_folder(Path::new("adapters/mine"), 0.625);
        assert_eq!(copy, Path::new("adapters/mine-at-0.625"));
    }
}
