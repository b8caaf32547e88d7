//! `qeval train`: trains with the gate as stopping rule.

use std::path::Path;

use crate::exit::Outcome;
use crate::flow::Verdict;
use crate::project::{PreparedTraining, Project, model_path};
use crate::report::{
    CheckpointRow, Glance, Style, TrainReport, checkpoint_table, preview_lines, verdict_block,
};
use crate::run::{TrainEntry, TrainOutcome, loss_cause};

use super::args::{OutputFormat, TrainArgs, TrainCommandArgs};
use super::error::CliError;
use super::output::Screen;
use super::page;

/// Rows of suites below a table of checkpoints.
const ROWS: usize = 6;

/// Runs the command.
///
/// # Errors
/// Whatever stops it; finished checkpoints and answers are on disk.
pub fn train(args: &TrainCommandArgs, screen: &Screen) -> Result<Outcome, CliError> {
    let (outcome, exit) = trained(&args.train, args.html.as_deref(), args.verbose, screen)?;
    if screen.format == OutputFormat::Json {
        screen.print_json(&report_json(&outcome))?;
    }
    Ok(exit)
}

/// As [`train`], with what the run came to, for a caller that prints one JSON document of it and
/// more. The page is written to `html`; `verbose` prints all that is said of the verdict.
///
/// # Errors
/// As [`train`].
pub fn trained(
    args: &TrainArgs,
    html: Option<&Path>,
    verbose: bool,
    screen: &Screen,
) -> Result<(TrainOutcome, Outcome), CliError> {
    let project = screen.open(args.overrides())?;
    let training = PreparedTraining::prepare(&project)?;
    screen.print_text(&training.data_report()?.to_string())?;
    screen.print_text(&preview_lines(&training.preview, screen.style))?;
    let command = std::env::args().collect::<Vec<_>>().join(" ");
    let outcome = training.run(&command)?;
    if screen.format == OutputFormat::Text {
        report(screen, &project, &outcome, verbose)?;
    }
    let suites = project.suites()?;
    if let Some(file) = html {
        let model = args.model.clone();
        let model = model.unwrap_or_else(|| model_path(&project.config));
        let next = |place: &str| project.next_of_run(place).diff();
        page::write(file, page::of_run(&outcome, suites, &model, next))?;
    }
    let exit = exit_outcome(&outcome, suites.is_empty());
    Ok((outcome, exit))
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
                // What was logged is of the checkpoint as trained.
                rows.extend(gated.each().map(|g| CheckpointRow {
                    at: g.at,
                    train_loss: None,
                    validation_loss: None,
                    verdict: g.verdict,
                    kl_to_base: None,
                    causes: g.causes.to_vec(),
                }));
                let trained = rows.len() - 1 - gated.scaled.len();
                rows[trained].train_loss = mean(&losses);
                rows[trained].validation_loss = validation.take();
                rows[trained].kl_to_base = mean(&drift);
                losses.clear();
                drift.clear();
            }
        }
    }
    let series: Vec<(usize, f64)> = rows
        .iter()
        .filter_map(|r| Some((r.at.step, r.validation_loss?)))
        .collect();
    if let (Some(cause), Some(last)) = (loss_cause(&series), rows.last_mut()) {
        last.causes.push(cause);
    }
    rows
}

/// What `--format json` says of a run.
pub fn report_json(outcome: &TrainOutcome) -> serde_json::Value {
    let rows = checkpoint_rows(outcome);
    let report = TrainReport::new(&rows, outcome.best, outcome.shipped.clone());
    serde_json::json!(report)
}

fn report(
    screen: &Screen,
    project: &Project,
    outcome: &TrainOutcome,
    verbose: bool,
) -> Result<(), CliError> {
    let rows = checkpoint_rows(outcome);
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
    let place = format!("{run}/{}", shown.at);
    let name = match outcome.best {
        Some(_) => place.clone(),
        None => format!("none: do not ship ({place})"),
    };
    let next = project.next_of_run(&place).diff();
    screen.print(&verdict_text(
        &name,
        (shown.verdict, shown.causes),
        &next,
        verbose,
        screen.style,
    ))?;
    match &outcome.shipped {
        Some(folder) => screen.print(&format!("  ships    {}\n", folder.display())),
        None => Ok(()),
    }
}

/// A checkpoint's verdict for people: on a page without what was answered, or all that is said of it.
pub fn verdict_text(
    name: &str,
    (verdict, causes): (&Verdict, &[String]),
    next: &str,
    verbose: bool,
    style: Style,
) -> String {
    if verbose {
        return verdict_block(name, verdict, causes, next, style);
    }
    let glance = Glance {
        name,
        verdict,
        causes,
        exam: None,
        asked: &[],
        baseline: None,
        rows: ROWS,
        answers: "",
        next,
    };
    glance.text(style)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::ScaledCheckpoint;
    use crate::record::{Provenance, Store};
    use crate::run::GatedCheckpoint;
    use crate::run::testing::verdict;
    use crate::train::TrainLine;

    /// What was logged: a step with its losses, or a validation.
    fn line(step: usize, loss: Option<f64>, eval_loss: Option<f64>) -> TrainEntry {
        TrainEntry::Line(TrainLine {
            step,
            epoch: 0.0,
            loss,
            rehearsal_loss: None,
            rehearsal_kl: loss.map(|loss| loss / 10.0),
            eval_loss,
            grad_norm: None,
            learning_rate: None,
            tokens: None,
        })
    }

    fn gate(step: usize, kept: usize, learned: usize) -> TrainEntry {
        TrainEntry::Gate(Box::new(GatedCheckpoint {
            step,
            verdict: verdict(kept, learned),
            causes: vec![format!("of {step}")],
            scaled: Vec::new(),
        }))
    }

    fn outcome(entries: Vec<TrainEntry>, best: Option<usize>) -> TrainOutcome {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        TrainOutcome {
            run: store.create(None, &Provenance::started("train")).unwrap(),
            steps: 4,
            stopped: None,
            best: best.map(|step| ScaledCheckpoint { step, scale: 1.0 }),
            shipped: None,
            entries,
            comparisons: Vec::new(),
            was_finished: false,
        }
    }

    #[test]
    fn losses_are_means_over_the_steps_since_the_gate_before() {
        let outcome = outcome(
            vec![
                line(1, Some(3.0), None),
                line(2, Some(1.0), None),
                gate(2, 90, 5),
                line(3, Some(0.5), None),
                gate(3, 90, 6),
                gate(4, 90, 6),
            ],
            Some(3),
        );
        let rows = checkpoint_rows(&outcome);
        let losses: Vec<_> = rows.iter().map(|r| (r.at.step, r.train_loss)).collect();
        assert_eq!(losses, [(2, Some(2.0)), (3, Some(0.5)), (4, None)]);
        let drifts: Vec<_> = rows.iter().map(|r| r.kl_to_base).collect();
        assert_eq!(drifts, [Some(0.2), Some(0.05), None]);
        assert_eq!(rows[0].causes, ["of 2"]);
    }

    /// A validation belongs to the gate after it, and is not shown a second time.
    #[test]
    fn a_validation_loss_is_the_last_before_its_gate() {
        let outcome = outcome(
            vec![
                line(1, None, Some(9.0)),
                line(2, None, Some(2.0)),
                line(2, Some(1.0), None),
                gate(2, 90, 5),
                line(3, Some(1.0), None),
                gate(3, 90, 5),
            ],
            None,
        );
        let rows = checkpoint_rows(&outcome);
        let losses: Vec<_> = rows.iter().map(|r| r.validation_loss).collect();
        assert_eq!(losses, [Some(2.0), None]);
    }

    #[test]
    fn a_validation_loss_that_rose_is_a_cause_of_the_last_gate() {
        let mut entries = Vec::new();
        for (step, loss) in [(1, 2.0), (2, 1.0), (3, 1.5)] {
            entries.extend([line(step, None, Some(loss)), gate(step, 90, 5)]);
        }
        let outcome = outcome(entries, None);
        let causes: Vec<usize> = checkpoint_rows(&outcome)
            .iter()
            .map(|r| r.causes.len())
            .collect();
        assert_eq!(causes, [1, 1, 2]);
        let last = checkpoint_rows(&outcome).pop().unwrap();
        assert!(last.causes[1].contains("overfitting"), "{:?}", last.causes);
    }

    /// A run is shown by what may ship, and without that by where it ended.
    #[test]
    fn the_best_checkpoint_stands_for_a_run_else_the_last() {
        let gates = || vec![gate(1, 90, 5), gate(2, 90, 9), gate(3, 20, 10)];
        let shown = |best| outcome(gates(), best).shown().map(|g| g.at.step);
        assert_eq!((shown(Some(2)), shown(None)), (Some(2), Some(3)));
        assert!(outcome(Vec::new(), None).shown().is_none());
    }

    #[test]
    fn a_run_without_a_checkpoint_to_ship_fails() {
        let ended = |best| exit_outcome(&outcome(vec![gate(2, 88, 9)], best), false);
        assert_eq!(ended(Some(2)), Outcome::Pass);
        assert_eq!(
            ended(None),
            Outcome::Regression,
            "unproven may not ship either"
        );
        assert_eq!(
            exit_outcome(&outcome(Vec::new(), None), true),
            Outcome::Pass
        );
    }
}
