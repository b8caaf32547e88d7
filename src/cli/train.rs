//! `qeval train`: trains with the gate as stopping rule.

use crate::exit::Outcome;
use crate::project::PreparedTraining;
use crate::report::{CheckpointRow, TrainReport, checkpoint_table, preview_lines, verdict_block};
use crate::run::{TrainEntry, TrainOutcome, loss_cause};

use super::args::{OutputFormat, TrainArgs};
use super::error::CliError;
use super::output::Screen;

/// Runs the command.
///
/// # Errors
/// Whatever stops it; finished checkpoints and answers are on disk.
pub fn train(args: &TrainArgs, screen: &Screen) -> Result<Outcome, CliError> {
    let project = screen.open(args.overrides())?;
    let training = PreparedTraining::prepare(&project)?;
    screen.print_text(&training.data_report()?.to_string())?;
    screen.print_text(&preview_lines(&training.preview, screen.style))?;
    let command = std::env::args().collect::<Vec<_>>().join(" ");
    let outcome = training.run(&command)?;
    report(screen, &outcome)?;
    Ok(exit_outcome(&outcome, project.suites()?.is_empty()))
}

/// Rows of the checkpoint table.
pub fn checkpoint_rows(outcome: &TrainOutcome) -> Vec<CheckpointRow<'_>> {
    let mut rows: Vec<CheckpointRow<'_>> = Vec::new();
    let (mut losses, mut drift, mut validation) = (Vec::new(), Vec::new(), None);
    for entry in &outcome.entries {
        match entry {
            TrainEntry::Line(line) => {
                losses.extend(line.loss);
                drift.extend(line.rehearsal_kl);
                validation = line.eval_loss.or(validation);
            }
            TrainEntry::Gate(gated) => {
                let mean = |all: &[f64]| {
                    (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64)
                };
                rows.push(CheckpointRow {
                    step: gated.step,
                    train_loss: mean(&losses),
                    validation_loss: validation.take(),
                    verdict: &gated.verdict,
                    kl_to_base: mean(&drift),
                    causes: gated.causes.clone(),
                });
                losses.clear();
                drift.clear();
            }
        }
    }
    let series: Vec<(usize, f64)> = rows
        .iter()
        .filter_map(|r| Some((r.step, r.validation_loss?)))
        .collect();
    if let (Some(cause), Some(last)) = (loss_cause(&series), rows.last_mut()) {
        last.causes.push(cause);
    }
    rows
}

fn report(screen: &Screen, outcome: &TrainOutcome) -> Result<(), CliError> {
    let rows = checkpoint_rows(outcome);
    if screen.format == OutputFormat::Json {
        return screen.print_json(&TrainReport::new(&rows, outcome.best));
    }
    screen.print(&checkpoint_table(&rows, outcome.best, screen.style))?;
    let run = outcome.run.id();
    if let Some(reason) = &outcome.stopped {
        screen.print(&format!(
            "\nStopped after step {}: {reason}.\n",
            outcome.steps
        ))?;
    }
    let Some(shown) = outcome.shown() else {
        return screen.print(&format!(
            "\nNo suite was asked, so nothing was judged. Checkpoints are in {}.\n",
            outcome.run.folder().display()
        ));
    };
    let (name, next) = match outcome.best {
        Some(best) => (
            format!("{run}/ckpt-{best}"),
            format!("qeval diff base {run}/ckpt-{best}"),
        ),
        None => {
            let last = shown.step;
            (
                format!("none: do not ship ({run}/ckpt-{last})"),
                format!("qeval diff base {run}/ckpt-{last}"),
            )
        }
    };
    screen.print(&verdict_block(
        &name,
        &shown.verdict,
        &shown.causes,
        &next,
        screen.style,
    ))
}

/// The best checkpoint ships; without one it is a regression, or inconclusive when nothing was
/// proven. Nothing may ship either way.
fn exit_outcome(outcome: &TrainOutcome, without_suites: bool) -> Outcome {
    match outcome.best {
        Some(_) => Outcome::Pass,
        None if without_suites => Outcome::Pass,
        None => Outcome::Regression,
    }
}
