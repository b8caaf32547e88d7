//! What the test harness shares with the commands: settings, suites, the candidate, and its
//! record.

pub use super::args::MeasureArgs;
pub use super::error::CliError;
pub use super::gated::{Gating, snapshot_context};
pub use super::judge::candidate;
pub use super::setup::{Setup, load_config};

use crate::flow::Suite;

/// The suites that a project asks, with the probes that it selects.
///
/// # Errors
/// No such suite, a wrong one, or a selection that leaves nothing.
pub fn suites(args: &MeasureArgs) -> Result<Vec<Suite>, CliError> {
    let (config, _) = load_config(args.model.config.as_deref())?;
    super::setup::load_suites(&config, &args.select)
}
