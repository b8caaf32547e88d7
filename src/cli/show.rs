//! `qeval show`: what one subject answered, with scores and reasons. Nothing is compared, so no margin
//! has to be reached.

use crate::exit::Outcome;
use crate::project::{Order, Overrides};
use crate::report::said_by;

use super::args::{OutputFormat, ShowArgs};
use super::error::CliError;
use super::output::Screen;
use super::run::answers;

/// Runs the command.
///
/// # Errors
/// Whatever stops it; finished answers are on disk.
pub fn show(args: &ShowArgs, screen: &Screen) -> Result<Outcome, CliError> {
    let mut overrides: Overrides = args.measure.overrides();
    overrides.probes.extend(args.probe.clone());
    let project = screen.open(overrides)?;
    let order = Order {
        // Nothing is compared here.
        noise: false,
        ..Order::new(&project, &[&args.subject])?
    };
    order.notes.iter().for_each(|note| screen.notice(note));
    let measured = project.measure(&order)?.measurements;
    for measurement in &measured {
        match screen.format {
            OutputFormat::Text => {
                screen.print(&said_by(measurement, &order.suites, screen.style))?;
            }
            OutputFormat::Json => screen.print_json(&answers(measurement))?,
        }
    }
    Ok(Outcome::Pass)
}
