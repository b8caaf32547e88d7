//! What commands hand to the page that people look at (`--html`).

use std::path::Path;

use crate::atomic_file;
use crate::flow::{Candidate, Comparison, ScaledCheckpoint, Suite};
use crate::report::{
    PageBase, PageParts, PageRun, PageSubject, RunLosses, baseline_notes, exam_notes, html, page,
};
use crate::run::{GatedCheckpoint, TrainEntry, TrainOutcome};

use super::error::CliError;
use super::train::checkpoint_rows;

/// Writes a page.
///
/// # Errors
/// The file cannot be written.
pub fn write(file: &Path, parts: PageParts<'_>) -> Result<(), CliError> {
    Ok(atomic_file::write(file, html(&page(parts))?)?)
}

/// The page of a comparison. `names` are the candidates as the user called them, `next` what to type
/// about each.
pub fn of_comparison<'a>(
    comparison: &'a Comparison,
    suites: &'a [Suite],
    names: &[&str],
    next: impl Fn(&str) -> String,
) -> PageParts<'a> {
    let name = |i: usize| names.get(i).copied().unwrap_or_default();
    let mut subjects = PageSubject::all_of(comparison, |i| next(name(i)));
    for (i, subject) in subjects.iter_mut().enumerate() {
        name(i).clone_into(&mut subject.name);
    }
    PageParts {
        base: PageBase::of(comparison),
        subjects,
        runs: Vec::new(),
        suites,
        notes: [
            exam_notes(comparison.exam.as_ref()),
            baseline_notes(comparison.baseline.as_ref()),
        ]
        .concat(),
    }
}

/// The page of a training run: what stands for it, and the others as trained. At each scale a
/// checkpoint has a row in the table; the answers of all would make a page of a hundred megabytes.
/// `model` is what the base is called where no comparison says it.
pub fn of_run<'a>(
    outcome: &'a TrainOutcome,
    suites: &'a [Suite],
    model: &str,
    next: impl Fn(&str) -> String,
) -> PageParts<'a> {
    let shown = outcome.shown();
    let others = outcome.gated().flat_map(GatedCheckpoint::each);
    let others = others.filter(|g| Some(g.at) != shown.map(|s| s.at) && g.at.scale == 1.0);
    let mut places: Vec<ScaledCheckpoint> = Vec::new();
    let mut subjects: Vec<PageSubject<'a>> = Vec::new();
    for gated in shown.into_iter().chain(others) {
        let said = said_at(outcome, gated.at);
        let featured = subjects.is_empty();
        // A verdict without answers has its row in the table.
        if !featured && said.is_none() {
            continue;
        }
        let name = gated.at.to_string();
        places.push(gated.at);
        subjects.push(PageSubject {
            label: said.map_or_else(|| name.clone(), |(_, c)| c.subject.label()),
            verdict: gated.verdict,
            causes: gated.causes,
            comparison: said.map(|(comparison, _)| comparison),
            probes: said.map_or(&[][..], |(_, candidate)| &candidate.probes),
            featured,
            next: next(&format!("{}/{name}", outcome.run.id())),
            name,
        });
    }
    let with_answers = |at| {
        let place = places.iter().position(|place| *place == at)?;
        (!subjects[place].probes.is_empty()).then_some(place)
    };
    let run = run(outcome, outcome.run.id(), with_answers);
    let notes = match (&shown, subjects.first()) {
        (None, _) => vec!["No suite was asked, so nothing was judged.".to_owned()],
        (Some(_), Some(first)) if first.probes.is_empty() => vec![format!(
            "What `{}` answered was heard by an earlier command: `{} --html FILE` shows it.",
            first.name, first.next
        )],
        _ => Vec::new(),
    };
    let base = outcome.comparisons.first().map(|(_, c)| PageBase::of(c));
    PageParts {
        base: base.unwrap_or_else(|| PageBase {
            name: "base".into(),
            label: model.to_owned(),
        }),
        subjects,
        runs: vec![run],
        suites,
        notes,
    }
}

/// The curve of a run. `candidate` finds a checkpoint among the candidates of the page.
pub fn run(
    outcome: &TrainOutcome,
    name: &str,
    candidate: impl Fn(ScaledCheckpoint) -> Option<usize>,
) -> PageRun {
    let mut losses = RunLosses::default();
    for entry in &outcome.entries {
        if let TrainEntry::Line(line) = entry {
            losses
                .training
                .extend(line.loss.map(|loss| (line.step, loss)));
            let validated = line.eval_loss.map(|loss| (line.step, loss));
            losses.validation.extend(validated);
        }
    }
    let rows = checkpoint_rows(outcome);
    PageRun {
        stopped: outcome.stopped.clone(),
        ..PageRun::new(name, &rows, outcome.best, &losses, candidate)
    }
}

/// What a checkpoint said, where this process heard it.
fn said_at(outcome: &TrainOutcome, at: ScaledCheckpoint) -> Option<(&Comparison, &Candidate)> {
    let mut of_step = outcome
        .comparisons
        .iter()
        .filter(|(step, _)| *step == at.step);
    let name = at.to_string();
    of_step.find_map(|(_, comparison)| {
        let mut candidates = comparison.candidates.iter();
        let candidate = candidates.find(|c| c.subject.name == name)?;
        Some((comparison, candidate))
    })
}
