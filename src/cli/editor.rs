//! `qeval schema` and `qeval completions`: what an editor and a shell need to know.

use clap::CommandFactory;

use crate::exit::Outcome;
use crate::{config, suite};

use super::args::{Cli, CompletionsArgs, SchemaArgs, SchemaOf};
use super::error::CliError;
use super::output::Screen;

/// Prints a JSON Schema (draft 7).
///
/// # Errors
/// Standard output cannot be written.
pub fn schema(args: &SchemaArgs, screen: &Screen) -> Result<Outcome, CliError> {
    screen.print(match args.of {
        SchemaOf::Config => config::SCHEMA,
        SchemaOf::Suite => suite::SCHEMA,
    })?;
    Ok(Outcome::Pass)
}

/// Prints a shell's completions.
///
/// # Errors
/// Standard output cannot be written.
pub fn completions(args: &CompletionsArgs, screen: &Screen) -> Result<Outcome, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "qeval", &mut script);
    screen.print(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::Pass)
}
