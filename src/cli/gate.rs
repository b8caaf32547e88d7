//! `qeval gate`: one candidate judged against the base, for CI.

use crate::atomic_file;
use crate::exit::Outcome;
use crate::flow::Preview;
use crate::project::{GatedCandidate, Order};
use crate::report::{
    Report, all_tests, junit, markdown, preview_lines, suite_table, verdict_block,
};

use super::args::{GateArgs, OutputFormat};
use super::error::CliError;
use super::outcome::outcome_of;
use super::output::Screen;

/// Runs the command.
///
/// # Errors
/// Whatever stops it; finished answers are on disk.
pub fn gate(args: &GateArgs, screen: &Screen) -> Result<Outcome, CliError> {
    let project = screen.open(args.measure.overrides())?;
    let name = project.candidate(args.candidate.as_deref())?;
    let order = Order::new(&project, &["base", &name])?;
    let before = order.preview()?;
    let gated = project.gate(&order)?;
    show(screen, &gated, &before, &name)?;
    let accepted = gated.snapshots.folder().is_dir();
    if accepted {
        leave_for_review(screen, &gated)?;
    }
    let Some(candidate) = gated.candidate() else {
        return Ok(Outcome::CouldNotMeasure);
    };
    if let Some(file) = &args.junit {
        let tests = all_tests(&gated.comparison, candidate);
        atomic_file::write(file, junit("qeval", &tests)?)?;
    }
    if let Some(file) = &args.markdown {
        let changed = match accepted {
            true => Some(gated.changed_snapshots()?),
            false => None,
        };
        let text = markdown(&gated.comparison, candidate, changed.as_deref());
        atomic_file::write(file, text)?;
    }
    Ok(outcome_of(&candidate.verdict))
}

fn show(
    screen: &Screen,
    gated: &GatedCandidate,
    before: &Preview,
    name: &str,
) -> Result<(), CliError> {
    if screen.format == OutputFormat::Json {
        return screen.print_json(&Report::new(&gated.comparison, Some(before)));
    }
    let style = screen.style;
    screen.print(&preview_lines(before, style))?;
    screen.print(&suite_table(&gated.comparison, style))?;
    let next = format!("qeval diff base {name}");
    for candidate in &gated.comparison.candidates {
        screen.print(&verdict_block(
            name,
            &candidate.verdict,
            &candidate.causes,
            &next,
            style,
        ))?;
    }
    Ok(())
}

/// Changed answers are left for a reviewer, where the project has accepted any.
fn leave_for_review(screen: &Screen, gated: &GatedCandidate) -> Result<(), CliError> {
    let which = match gated.leave_for_review()? {
        0 => return Ok(()),
        1 => "one answer is".to_owned(),
        n => format!("{n} answers are"),
    };
    screen.notice(format!(
        "{which} not as accepted: review with `cargo insta review` or `qeval snapshot`"
    ));
    Ok(())
}
