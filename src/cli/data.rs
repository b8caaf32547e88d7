//! `qeval data show`: what a training run would be made of, before its first step.

use crate::exit::Outcome;
use crate::project::PreparedTraining;
use crate::report::data_text;

use super::args::{DataAction, DataArgs, DataShowArgs, OutputFormat};
use super::error::CliError;
use super::output::Screen;

/// `qeval data ...`
///
/// # Errors
/// Whatever stops it.
pub fn data(args: &DataArgs, screen: &Screen) -> Result<Outcome, CliError> {
    match &args.action {
        DataAction::Show(args) => show(args, screen),
    }
}

/// `qeval data show`
///
/// # Errors
/// Data, suites, or a model that cannot be read.
fn show(args: &DataShowArgs, screen: &Screen) -> Result<Outcome, CliError> {
    let project = screen.open(args.train.overrides())?;
    let overview = PreparedTraining::prepare(&project)?.overview(args.base)?;
    match screen.format {
        OutputFormat::Text => screen.print(&data_text(&overview, args.rows, screen.style))?,
        OutputFormat::Json => screen.print_json(&overview)?,
    }
    Ok(Outcome::Pass)
}
