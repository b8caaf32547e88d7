//! `qeval help`: the guide, a page at a time, and what each command takes.

use clap::CommandFactory;

use crate::exit::Outcome;
use crate::guide::TOPICS;
use crate::text::{all_of, nearest};

use super::args::{Cli, HelpArgs, OutputFormat};
use super::error::CliError;
use super::output::Screen;

/// Runs the command.
///
/// # Errors
/// There is no such page and no such command.
pub fn help(args: &HelpArgs, screen: &Screen) -> Result<Outcome, CliError> {
    let text = match &args.topic {
        None => contents(),
        Some(topic) => page(topic)?,
    };
    match screen.format {
        OutputFormat::Text => screen.print(&text)?,
        OutputFormat::Json => screen.print_json(&serde_json::json!({
            "version": 1,
            "topics": TOPICS.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            "text": text,
        }))?,
    }
    Ok(Outcome::Pass)
}

/// Every page with its first line.
fn contents() -> String {
    let title = |text: &str| {
        let first = text.lines().next().unwrap_or_default();
        first.trim_start_matches('#').trim().to_owned()
    };
    let pages = TOPICS
        .iter()
        .map(|(name, text)| format!("  {name:<10} {}\n", title(text)));
    format!(
        "The guide:\n{}\nread one: qeval help verdict; what a command takes: qeval gate --help\n",
        pages.collect::<String>()
    )
}

fn page(topic: &str) -> Result<String, CliError> {
    if let Some((_, text)) = TOPICS.iter().find(|(name, _)| *name == topic) {
        return Ok((*text).to_owned());
    }
    if let Some(command) = Cli::command().find_subcommand_mut(topic) {
        return Ok(format!("{}\n", command.render_long_help()));
    }
    let names: Vec<&str> = TOPICS.iter().map(|(name, _)| *name).collect();
    Err(CliError::NoTopic {
        topic: topic.to_owned(),
        nearest: nearest(topic, names.iter().copied()),
        known: all_of(&names),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_is_named_and_read() {
        let contents = contents();
        for (name, text) in TOPICS {
            assert!(contents.contains(&format!("\n  {name} ")), "{name}");
            assert_eq!(page(name).unwrap(), *text);
        }
    }

    #[test]
    fn a_command_has_its_own_help() {
        assert!(page("gate").unwrap().contains("--markdown"));
        insta::assert_snapshot!(page("verdct").unwrap_err(), @r#"no page "verdct" (nearest: `verdict`): the pages of the guide are commands, verdict, why, error-rates, suites, checks, snapshots, ci, training, models, servers, ms-swift, trainers, exports, speed, and changes; commands have a help of their own"#);
    }
}
