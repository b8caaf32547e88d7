//! `qeval list`: the suites and probes as they would be asked, without a model.

use serde_json::json;

use crate::exit::Outcome;
use crate::report::suite_list;

use super::args::{ListArgs, OutputFormat};
use super::error::CliError;
use super::output::Screen;

/// Runs the command.
///
/// # Errors
/// Suites that are wrong, or a selection that leaves nothing.
pub fn list(args: &ListArgs, screen: &Screen) -> Result<Outcome, CliError> {
    let project = screen.open(args.overrides())?;
    let suites = project.suites()?;
    if screen.format == OutputFormat::Json {
        let each = suites.iter().map(|suite| {
            json!({
                "suite": suite.name, "goal": suite.goal, "margin": suite.margin,
                "target": suite.target,
                "probes": suite.probes.iter().map(|probe| json!({
                    "probe": probe.id, "tags": probe.tags, "critical": probe.critical,
                    "prompts": probe.prompts,
                    "checks": probe.checks.iter().map(|c| c.written_kind()).collect::<Vec<_>>(),
                })).collect::<Vec<_>>(),
            })
        });
        screen.print_json(&json!({ "version": 1, "suites": each.collect::<Vec<_>>() }))?;
        return Ok(Outcome::Pass);
    }
    screen.print(&suite_list(suites, args.suites_alone, screen.style))?;
    if let Some(left_out) = project.left_out() {
        screen.print(&format!("note: {left_out}\n"))?;
    }
    Ok(Outcome::Pass)
}
