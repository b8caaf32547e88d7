//! `qeval run`, `qeval diff`, and `qeval gate`: answer, compare, judge.

use std::path::Path;

use crate::atomic_file;
use crate::exit::Outcome;
use crate::flow::Verdict;
use crate::gate::preview;
use crate::report::{
    Arm, Candidate, Report, View, all_tests, answer_causes, changed_answers, junit, markdown,
    preview_lines, suite_table, summary_lines, verdict_block,
};

use super::args::{DiffArgs, Format, GateArgs, MeasureArgs, OutputArgs, RunArgs};
use super::error::CliError;
use super::gated::Gating;
use super::measure::{Assignment, Measured, assign, measure, verdicts};
use super::setup::{Setup, load_config};
use super::train::outcome_of;

/// Changed answers that `diff` shows of a candidate.
const SHOWN: usize = 10;

/// `qeval run SUBJECT...`
///
/// # Errors
/// Whatever stops it; finished answers are on disk.
pub fn run(args: &RunArgs, output: &OutputArgs) -> Result<Outcome, CliError> {
    let setup = Setup::new(output, &args.measure.compute, &args.measure.store.runs)?;
    let specs = args
        .subjects
        .iter()
        .map(|s| setup.store.resolve(s))
        .collect::<Result<Vec<_>, _>>()?;
    let mut assignment = assign(&args.measure, &specs)?;
    // Nothing is compared here.
    assignment.noise = false;
    let measured = measure(&setup, &assignment, &specs)?;
    let summary = |(subject, measurement): (&crate::flow::Subject, &crate::run::Measurement)| {
        let values: Vec<f64> = measurement
            .scores
            .values()
            .filter_map(|s| s.value())
            .collect();
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        let unscored = measurement.scores.len() - values.len();
        format!(
            "{subject}: {} scored, mean {mean:.2}, {unscored} unscored\n",
            values.len()
        )
    };
    let text: String = measured
        .subjects
        .iter()
        .zip(&measured.measurements)
        .map(summary)
        .collect();
    match setup.format {
        Format::Text => setup.print(&text)?,
        Format::Json => {
            let subjects: Vec<_> = measured
                .subjects
                .iter()
                .zip(&measured.measurements)
                .map(|(s, m)| {
                    let scores: Vec<_> = m
                        .scores
                        .iter()
                        .map(|((case, sample), score)| serde_json::json!({ "case": case.to_string(), "sample": sample, "score": score }))
                        .collect();
                    serde_json::json!({ "subject": s, "scores": scores })
                })
                .collect();
            let report = serde_json::json!({ "version": 1, "subjects": subjects });
            setup.print(&(serde_json::to_string_pretty(&report)? + "\n"))?;
        }
    }
    Ok(Outcome::Pass)
}

/// `qeval diff BASE CANDIDATE...`
///
/// # Errors
/// As [`run`].
pub fn diff(args: &DiffArgs, output: &OutputArgs) -> Result<Outcome, CliError> {
    let setup = Setup::new(output, &args.measure.compute, &args.measure.store.runs)?;
    let names: Vec<&String> = std::iter::once(&args.base)
        .chain(&args.candidates)
        .collect();
    compare(&setup, &args.measure, &names, SHOWN, Reports::default())
}

/// `qeval gate [CANDIDATE]`
///
/// # Errors
/// As [`run`].
pub fn gate(args: &GateArgs, output: &OutputArgs) -> Result<Outcome, CliError> {
    let setup = Setup::new(output, &args.measure.compute, &args.measure.store.runs)?;
    let (config, _) = load_config(args.measure.model.config.as_deref())?;
    let candidate = candidate(&setup, args.candidate.as_deref(), &config)?;
    let reports = Reports {
        junit: args.junit.as_deref(),
        markdown: args.markdown.as_deref(),
        snapshots: true,
    };
    let names = [&"base".to_owned(), &candidate];
    compare(&setup, &args.measure, &names, 0, reports)
}

/// The subject that is judged: the one named, else the configured one, else the newest checkpoint
/// of the latest run that trained.
///
/// # Errors
/// There is none of them.
pub fn candidate(
    setup: &Setup,
    named: Option<&str>,
    config: &crate::config::QevalConfig,
) -> Result<String, CliError> {
    let newest = || {
        let run = setup
            .store
            .list()
            .ok()?
            .into_iter()
            .rev()
            .find(|r| r.checkpoints().is_ok_and(|c| !c.is_empty()))?;
        let step = run.checkpoints().ok()?.iter().map(|c| c.step).max()?;
        Some(format!("{}/ckpt-{step}", run.id()))
    };
    // A folder is meant from where the configuration lies.
    let configured = config.gate.candidate.as_ref().map(|name| {
        let (folder, scale) = name.split_once('@').unwrap_or((name, ""));
        let path = config.resolve(folder);
        match (path.is_dir(), scale) {
            (true, "") => path.display().to_string(),
            (true, scale) => format!("{}@{scale}", path.display()),
            (false, _) => name.clone(),
        }
    });
    named
        .map(str::to_owned)
        .or(configured)
        .or_else(newest)
        .ok_or(CliError::NoCandidate)
}

/// Files that a comparison is also written to.
#[derive(Debug, Clone, Copy, Default)]
struct Reports<'a> {
    junit: Option<&'a Path>,
    markdown: Option<&'a Path>,
    /// Changed answers are left for a reviewer, where the project has accepted any.
    snapshots: bool,
}

fn compare(
    setup: &Setup,
    args: &MeasureArgs,
    names: &[&String],
    shown: usize,
    reports: Reports<'_>,
) -> Result<Outcome, CliError> {
    let specs = names
        .iter()
        .map(|s| setup.store.resolve(s))
        .collect::<Result<Vec<_>, _>>()?;
    let assignment = assign(args, &specs)?;
    let before = preview(&assignment.suites, &assignment.rules).map_err(CliError::Gate)?;
    let mut measured = measure(setup, &assignment, &specs)?;
    let verdicts = verdicts(&assignment, &measured);
    let causes: Vec<Vec<String>> = (1..measured.subjects.len())
        .map(|i| causes(&assignment, &measured, i))
        .collect();
    let view = view(&assignment.suites, &measured, &verdicts, &causes);
    if setup.format == Format::Json {
        setup.print(&Report::new(&view, Some(&before)).to_json()?)?;
    } else {
        setup.print(&preview_lines(&before, setup.style))?;
        setup.print(&suite_table(&view, setup.style))?;
        for (candidate, name) in view.candidates.iter().zip(&names[1..]) {
            if shown > 0 {
                setup.print(&changed_answers(&view, candidate, shown, setup.style))?;
            }
            let next = if shown > 0 {
                format!("qeval gate {name}")
            } else {
                format!("qeval diff {} {name}", names[0])
            };
            setup.print(&verdict_block(
                name,
                candidate.verdict,
                candidate.causes,
                &next,
                setup.style,
            ))?;
        }
        if view.candidates.len() > 1 {
            setup.print(&summary_lines(&view, setup.style))?;
        }
    }
    let accepted = assignment.snapshots.is_dir();
    let reviewed = reports.snapshots && accepted;
    if reports.junit.is_some() || reports.markdown.is_some() || reviewed {
        let gating = Gating::new(setup, args, names[1])?;
        let record = gating.keep(setup, &mut measured)?;
        if reviewed {
            let pending = gating.leave_for_review(&record)?;
            if pending > 0 {
                setup.notice(format!(
                    "{} not as accepted: review with `cargo insta review` or `qeval snapshot`",
                    match pending {
                        1 => "one answer is".to_owned(),
                        n => format!("{n} answers are"),
                    }
                ));
            }
        }
        if let Some(file) = reports.junit {
            atomic_file::write(file, junit("qeval", &all_tests(&record))?)?;
        }
        if let Some(file) = reports.markdown {
            let changed = match accepted {
                true => Some(gating.changed_snapshots(&record)?),
                false => None,
            };
            atomic_file::write(file, markdown(&record, changed.as_deref()))?;
        }
    }
    Ok(worst(&verdicts))
}

/// The worst of several verdicts: a regression, then what could not be measured, then inconclusive.
fn worst(verdicts: &[Verdict]) -> Outcome {
    let outcomes: Vec<Outcome> = verdicts.iter().map(outcome_of).collect();
    let has = |o: Outcome| outcomes.contains(&o);
    [
        Outcome::Regression,
        Outcome::CouldNotMeasure,
        Outcome::Inconclusive,
    ]
    .into_iter()
    .find(|o| has(*o))
    .unwrap_or(Outcome::Pass)
}

/// Signs beside the verdict of candidate `i`, over the answers of `keep` suites.
pub fn causes(assignment: &Assignment, measured: &Measured, i: usize) -> Vec<String> {
    let keep = |suite: &str| {
        assignment
            .suites
            .iter()
            .any(|s| s.name == suite && s.goal == crate::flow::Goal::Keep)
    };
    let (base, candidate) = (
        &measured.measurements[0].answers,
        &measured.measurements[i].answers,
    );
    let pairs: Vec<(&str, &str)> = base
        .iter()
        .filter(|((case, _), _)| keep(&case.suite))
        .filter_map(|(place, answer)| {
            Some((answer.text.as_str(), candidate.get(place)?.text.as_str()))
        })
        .collect();
    let training: Vec<&str> = assignment
        .training_answers
        .iter()
        .flatten()
        .map(String::as_str)
        .collect();
    answer_causes(&pairs, &training)
}

/// A view on subjects that were measured, the first as the base.
pub fn view<'a>(
    suites: &'a [crate::flow::Suite],
    measured: &'a Measured,
    verdicts: &'a [Verdict],
    causes: &'a [Vec<String>],
) -> View<'a> {
    let arm = |i: usize| Arm {
        subject: &measured.subjects[i],
        scores: &measured.measurements[i].scores,
        answers: &measured.measurements[i].answers,
    };
    let candidates = verdicts.iter().zip(causes).enumerate();
    View {
        suites,
        base: arm(0),
        candidates: candidates
            .map(|(i, (verdict, causes))| Candidate {
                arm: arm(i + 1),
                verdict,
                causes,
            })
            .collect(),
        noise: measured
            .noise
            .as_ref()
            .map(|noise| noise.suites.clone())
            .unwrap_or_default(),
    }
}
