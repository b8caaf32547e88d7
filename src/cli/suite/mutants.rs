//! `qeval suite check --mutants`: do the suites catch adapters that are known to be bad, and let
//! harmless ones pass?

use crate::cli::args::OutputFormat;
use crate::cli::error::CliError;
use crate::cli::output::Screen;
use crate::exit::Outcome;
use crate::project::Project;
use crate::report::mutants_text;

/// Puts the suites to mutants of the adapter named, else of the one that the project has.
///
/// # Errors
/// A base or an adapter that nothing can be told of, or whatever stops a measurement.
pub(super) fn check_mutants(
    project: &Project,
    adapter: Option<&str>,
    screen: &Screen,
) -> Result<Outcome, CliError> {
    let report = project.check_mutants(adapter)?;
    match screen.format {
        OutputFormat::Text => {
            let left_out = project.left_out().map(|line| format!("note: {line}\n"));
            let text = left_out.unwrap_or_default() + &mutants_text(&report, screen.style);
            screen.print(&text)?;
        }
        OutputFormat::Json => screen.print_json(&report)?,
    }
    Ok(match report.is_clean() {
        true => Outcome::Pass,
        false => Outcome::Regression,
    })
}
