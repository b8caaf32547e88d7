//! `qeval train`: trains with the gate as stopping rule.

use crate::exit::Outcome;
use crate::flow::{Decision, Verdict};
use crate::gate::{Rules, preview};
use crate::report::{
    CheckpointRow, TrainReport, checkpoint_table, loss_cause, preview_lines, verdict_block,
};
use crate::run::{Questions, Session, TrainEntry, TrainOutcome, TrainingJob, leaked, rehearse};
use crate::text::plural;
use crate::train::{DataError, DataErrors, Dataset, read_prompts};

use super::args::{Format, OutputArgs, TrainArgs};
use super::error::CliError;
use super::setup::{Setup, check_settings, load_config, load_suites, rules};

/// Runs the command.
///
/// # Errors
/// Whatever stops it; finished checkpoints and answers are on disk.
pub fn train(args: &TrainArgs, output: &OutputArgs) -> Result<Outcome, CliError> {
    let (mut config, _) = load_config(Some(&args.config))?;
    if let Some(model) = &args.model {
        config.model.path.clone_from(model);
    }
    if let Some(seed) = args.compute.seed {
        config.train.seed = seed;
    }
    let runs = match args.store.runs.to_str() {
        Some("runs") => config.resolve(&config.train.output_dir),
        _ => args.store.runs.clone(),
    };
    let setup = Setup::new(output, &args.compute, &runs)?;
    let suites = load_suites(&config, &args.select)?;
    let rules = rules(&config);
    let before = preview(&suites, &rules).map_err(CliError::Gate)?;
    let dataset = Dataset::load(&config.data, &config.folder, &config.vars)?;
    setup.print_text(&dataset.report.to_string())?;
    setup.print_text(&preview_lines(&before, setup.style))?;

    let mut on_event = setup.listener();
    let session = Session::open(
        &model_path(&config),
        config.train.system.clone(),
        setup.compute(config.model.dtype),
        &mut on_event,
    )?;
    session
        .notices
        .iter()
        .for_each(|n| setup.notice(n.as_str()));
    setup.notice(format!("system prompt: {}", session.effective_system));
    let prompts = rehearsal_prompts(&config)?;
    let rehearsal = rehearse(
        &session,
        &prompts,
        config.data.rehearsal_tokens,
        setup.slots,
        &setup.interrupt,
        &mut on_event,
    )?;
    let rules = Rules {
        leaked: leaked(&suites, &dataset.examples, &prompts),
        ..rules
    };
    if !rules.leaked.is_empty() {
        setup.notice(format!(
            "{} in the training data or its rehearsal can show no improvement: `qeval suite \
             check` names them",
            plural(rules.leaked.len(), "probe"),
        ));
    }
    let questions = Questions::new(&session, suites, config.train.seed)?;
    let command = std::env::args().collect::<Vec<_>>().join(" ");
    let job = TrainingJob {
        session: &session,
        questions: &questions,
        rules: &rules,
        lora: &config.lora,
        data: &config.data,
        train: &config.train,
        examples: &dataset.examples,
        rehearsal: &rehearsal,
        store: &setup.store,
        name: None,
        command: &command,
        slots: setup.slots,
        interrupt: &setup.interrupt,
    };
    let scoring = setup.scoring(Some(job.training_answers()), check_settings(&config));
    let outcome = job.run(&scoring, &mut on_event)?;
    scoring
        .take_notices()
        .into_iter()
        .for_each(|n| setup.notice(n));
    report(&setup, &outcome)?;
    Ok(exit_outcome(&outcome, questions.suites.is_empty()))
}

/// The prompts that `[data] rehearsal` names.
fn rehearsal_prompts(config: &crate::config::QevalConfig) -> Result<Vec<String>, CliError> {
    let Some(file) = &config.data.rehearsal else {
        return Ok(Vec::new());
    };
    let path = config.resolve(file);
    let one = |error| CliError::from(DataErrors(vec![error]));
    let bytes = std::fs::read(&path).map_err(|source| one(DataError::Read { path, source }))?;
    read_prompts(file, &bytes).map_err(one)
}

/// A configured path from the configuration's folder; a name or hub id as it is.
pub fn model_path(config: &crate::config::QevalConfig) -> String {
    let path = config.resolve(&config.model.path);
    if path.exists() {
        path.display().to_string()
    } else {
        config.model.path.clone()
    }
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
                    causes: Vec::new(),
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

fn report(setup: &Setup, outcome: &TrainOutcome) -> Result<(), CliError> {
    let rows = checkpoint_rows(outcome);
    if setup.format == Format::Json {
        return setup.print(&TrainReport::new(&rows, outcome.best).to_json()?);
    }
    setup.print(&checkpoint_table(&rows, outcome.best, setup.style))?;
    let run = outcome.run.id();
    if let Some(reason) = &outcome.stopped {
        setup.print(&format!(
            "\nStopped after step {}: {reason}.\n",
            outcome.steps
        ))?;
    }
    let Some(verdict) = outcome.verdict() else {
        return setup.print(&format!(
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
            let last = outcome.gated().last().map_or(0, |g| g.step);
            (
                format!("none: do not ship ({run}/ckpt-{last})"),
                format!("qeval diff base {run}/ckpt-{last}"),
            )
        }
    };
    setup.print(&verdict_block(&name, verdict, &[], &next, setup.style))
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

/// What a verdict means for the exit code.
pub fn outcome_of(verdict: &Verdict) -> Outcome {
    match verdict.decision {
        Decision::Regression => Outcome::Regression,
        _ if !verdict.could_not_measure.is_empty() => Outcome::CouldNotMeasure,
        Decision::Pass => Outcome::Pass,
        Decision::Inconclusive => Outcome::Inconclusive,
    }
}
