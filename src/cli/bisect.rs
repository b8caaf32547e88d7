//! `qeval bisect`: the first checkpoint of a run that may not be kept, with the fewest answers.

use crate::exit::Outcome;
use crate::project::{BisectSearch, Bisected, VerdictSource};
use crate::report::{BisectReport, BisectRow, VERSION, bisect_text};

use super::args::{BisectArgs, OutputFormat};
use super::error::CliError;
use super::outcome::outcome_of;
use super::output::Screen;

/// Runs the command.
///
/// # Errors
/// Whatever stops it; finished answers are on disk.
pub fn bisect(args: &BisectArgs, screen: &Screen) -> Result<Outcome, CliError> {
    let project = screen.open(args.overrides())?;
    let search = BisectSearch {
        run: args.run.clone(),
        scale: args.scale,
    };
    let found = project.first_bad_checkpoint(&search, &mut |look| {
        screen.notice(format!("{}: {}", look.name, look.verdict.sentence));
    })?;
    let report = report(args, &found);
    if screen.format == OutputFormat::Json {
        screen.print_json(&report)?;
    } else {
        let bad = report
            .looks
            .iter()
            .find(|look| Some(look.step) == found.first_bad);
        let next = project.next(bad.map_or("base", |bad| &bad.name));
        screen.print(&bisect_text(&report, &next, screen.style))?;
    }
    let bad = found.first_bad.and_then(|step| found.look(step));
    Ok(match bad.map(|bad| outcome_of(&bad.verdict)) {
        None => Outcome::Pass,
        // What may not be kept is no pass, whatever else is said of it.
        Some(Outcome::Pass) => Outcome::Regression,
        Some(outcome) => outcome,
    })
}

fn report(args: &BisectArgs, found: &Bisected) -> BisectReport {
    let looks = found.looks.iter().map(|look| BisectRow {
        step: look.step,
        name: look.name.clone(),
        good: look.is_good(),
        recorded: look.by == VerdictSource::Recorded,
        verdict: look.verdict.clone(),
    });
    // The base answers once, whoever is compared with it.
    let all = found.answers_each as u64 * (found.there.len() as u64 + 1);
    BisectReport {
        version: VERSION,
        run: args.run.clone(),
        scale: args.scale,
        looks: looks.collect(),
        path: found.path.clone(),
        first_bad: found.first_bad,
        last_good: found.last_good,
        good_after: found.good_after.clone(),
        gone: found.gone.clone(),
        asked: found.asked(),
        asked_for_all: (!found.path.is_empty()).then_some(all),
    }
}
