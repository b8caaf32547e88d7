//! `qeval tune`: tries settings of a training run, and writes the one that learns most of those that
//! keep.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::atomic_file;
use crate::exit::Outcome;
use crate::flow::Tuning;
use crate::project::{Overrides, PreparedTraining, Tuned};
use crate::report::{
    frontier_svg, preview_lines, tune_plan, tune_summary, tune_table, unseen_lines,
};
use crate::run::TuneBudget;
use crate::text::shell_word;

use super::args::{OutputFormat, TrainArgs, TuneArgs};
use super::error::CliError;
use super::output::Screen;
use super::train::{report_json, trained};

/// The picture, in the folder of the run.
const PICTURE: &str = "frontier.svg";

/// Runs the command.
///
/// # Errors
/// Whatever stops it; finished rungs, checkpoints, and answers are on disk.
pub fn tune(args: &TuneArgs, screen: &Screen) -> Result<Outcome, CliError> {
    let project = screen.open(args.train.overrides())?;
    let training = PreparedTraining::prepare(&project)?;
    screen.print_text(&training.data_report()?.to_string())?;
    screen.print_text(&preview_lines(&training.preview, screen.style))?;
    let mut asked = project.config.tune.clone();
    if let Some(settings) = args.settings {
        asked.settings = settings as usize;
    }
    let budget = match (args.minutes, args.full_runs) {
        (Some(minutes), _) => TuneBudget::Minutes(minutes),
        (None, runs) => TuneBudget::Runs(runs.unwrap_or(asked.budget_runs)),
    };
    let command = std::env::args().collect::<Vec<_>>().join(" ");
    let mut shown = Ok(());
    let tuned = training.tune(&command, &asked, budget, &mut |tuning| {
        shown = show_plan(tuning, args.plan, screen);
        shown.is_ok() && !args.plan
    })?;
    shown?;
    let Some(tuned) = tuned else {
        return Ok(Outcome::Pass);
    };
    let picture = tuned.run.folder().join(PICTURE);
    let title = format!(
        "What was learned against what was kept ({})",
        tuned.run.id()
    );
    atomic_file::write(&picture, frontier_svg(&tuned.tuning, &title))?;
    let mut told = told(&tuned, &picture);
    if screen.format == OutputFormat::Text {
        report(&tuned, &picture, args, screen)?;
    }
    let exit = match tuned.file {
        None => Outcome::Regression,
        Some(file) if args.confirm => confirm(file, &tuned.tuning, args, screen, &mut told)?,
        Some(_) => Outcome::Pass,
    };
    if screen.format == OutputFormat::Json {
        screen.print_json(&told)?;
    }
    Ok(exit)
}

fn show_plan(tuning: &Tuning, alone: bool, screen: &Screen) -> Result<(), CliError> {
    if screen.format == OutputFormat::Json {
        return match alone {
            true => screen.print_json(&json!({ "version": 1, "plan": tuning.plan })),
            false => Ok(()),
        };
    }
    screen.print(&tune_plan(&tuning.plan, screen.style))?;
    if tuning.finished > 0 {
        screen.print(&format!(
            "Goes on after rung {} of {}.\n",
            tuning.finished,
            tuning.plan.rungs.len()
        ))?;
    }
    Ok(())
}

/// The one document of `--format json`.
fn told(tuned: &Tuned, picture: &Path) -> serde_json::Value {
    json!({
        "version": 1,
        "run": tuned.run.id(),
        "tuning": tuned.tuning,
        "frontier": tuned.tuning.frontier(),
        "full_runs": tuned.tuning.full_runs(),
        "picture": picture,
        "file": tuned.file,
    })
}

fn report(tuned: &Tuned, picture: &Path, args: &TuneArgs, screen: &Screen) -> Result<(), CliError> {
    let tuning = &tuned.tuning;
    screen.print(&format!("\n{}", tune_table(tuning, screen.style)))?;
    screen.print(&tune_summary(tuning, screen.style))?;
    screen.print(&format!("Picture: {}\n", picture.display()))?;
    match &tuned.file {
        Some(file) if args.confirm => screen.print(&format!("Confirming {}:\n\n", file.display())),
        Some(file) => screen.print(&format!("Next:\n  {}\n", next(file, &args.train))),
        None => screen.print(
            "Next: lower rates or other modules under [tune], more rehearsal, or more rows.\n",
        ),
    }
}

/// Trains what was chosen, as it was asked here.
fn next(file: &Path, args: &TrainArgs) -> String {
    let overrides = Overrides {
        config: None,
        ..args.overrides()
    };
    let file = shell_word(&file.display().to_string());
    let (probes, options) = (overrides.probe_options(), overrides.options());
    format!("qeval train {file}{probes}{options}")
}

/// A full run of the written file through the ordinary gate, and what it comes to on the probes that
/// did not choose it; both are added to what is `told` in JSON.
fn confirm(
    file: PathBuf,
    tuning: &Tuning,
    args: &TuneArgs,
    screen: &Screen,
    told: &mut serde_json::Value,
) -> Result<Outcome, CliError> {
    let train = TrainArgs {
        config: file,
        ..args.train.clone()
    };
    let (outcome, exit) = trained(&train, None, false, screen)?;
    told["confirmed"] = report_json(&outcome);
    let project = screen.open(train.overrides())?;
    let training = PreparedTraining::prepare(&project)?;
    if let Some(verdict) = training.unseen(&outcome, tuning)? {
        let asked = tuning.plan.chosen_on.len();
        screen.print_text(&unseen_lines(&verdict, asked, screen.style))?;
        told["unseen"] = json!(verdict);
    }
    Ok(exit)
}
