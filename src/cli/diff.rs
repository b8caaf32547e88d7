//! `qeval diff`: candidates against a base, with the answers that changed.

use crate::exit::Outcome;
use crate::flow::{Comparison, Preview, Verdict};
use crate::project::Order;
use crate::report::{
    Report, changed_answers, preview_lines, suite_table, summary_lines, verdict_block,
};

use super::args::{DiffArgs, OutputFormat};
use super::error::CliError;
use super::outcome::worst;
use super::output::Screen;

/// Changed answers that are shown of a candidate.
const SHOWN: usize = 10;

/// Runs the command.
///
/// # Errors
/// Whatever stops it; finished answers are on disk.
pub fn diff(args: &DiffArgs, screen: &Screen) -> Result<Outcome, CliError> {
    let project = screen.open(args.measure.overrides())?;
    let names: Vec<&String> = std::iter::once(&args.base)
        .chain(&args.candidates)
        .collect();
    let order = Order::new(&project, &names)?;
    let before = order.preview()?;
    let measured = project.measure(&order)?;
    let comparison = order.compare(&measured.measurements, measured.noise.as_ref());
    show(screen, &comparison, &before, &names)?;
    let verdicts: Vec<&Verdict> = comparison.candidates.iter().map(|c| &c.verdict).collect();
    Ok(worst(&verdicts))
}

/// `names` are what the user called the base and the candidates.
fn show(
    screen: &Screen,
    comparison: &Comparison,
    before: &Preview,
    names: &[&String],
) -> Result<(), CliError> {
    if screen.format == OutputFormat::Json {
        return screen.print_json(&Report::new(comparison, Some(before)));
    }
    let style = screen.style;
    screen.print(&preview_lines(before, style))?;
    screen.print(&suite_table(comparison, style))?;
    for (candidate, name) in comparison.candidates.iter().zip(&names[1..]) {
        screen.print(&changed_answers(comparison, candidate, SHOWN, style))?;
        let next = format!("qeval gate {name}");
        screen.print(&verdict_block(
            name,
            &candidate.verdict,
            &candidate.causes,
            &next,
            style,
        ))?;
    }
    if comparison.candidates.len() > 1 {
        screen.print(&summary_lines(comparison, style))?;
    }
    Ok(())
}
