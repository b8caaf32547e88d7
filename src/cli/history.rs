//! `qeval history`: verdicts over runs and commits. Nothing is loaded, and nothing asked.

use serde::Serialize;

use crate::exit::Outcome;
use crate::flow::PastVerdict;
use crate::report::{PastVerdicts, history_text};
use crate::text::nearest;

use super::args::{HistoryArgs, OutputFormat};
use super::error::CliError;
use super::output::Screen;

/// The JSON: a field may be added; removing or changing one raises the version.
#[derive(Serialize)]
struct Told<'a> {
    version: u32,
    verdicts: Vec<ToldVerdict<'a>>,
    older: usize,
    left_out: &'a [String],
}

#[derive(Serialize)]
struct ToldVerdict<'a> {
    #[serde(flatten)]
    verdict: &'a PastVerdict,
    /// What was asked otherwise than before it: its numbers are not to be compared with those.
    changes: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// No verdict asked the suite that is named, or the records cannot be listed.
pub fn history(args: &HistoryArgs, screen: &Screen) -> Result<Outcome, CliError> {
    let project = screen.open(args.overrides())?;
    let history = project.history()?;
    let verdicts = match &args.suite {
        None => history.verdicts,
        Some(suite) => of_suite(history.verdicts, suite)?,
    };
    let older = verdicts.len().saturating_sub(args.limit as usize);
    let shown = &verdicts[older..];
    if screen.format == OutputFormat::Json {
        let before = |i: usize| i.checked_sub(1).map(|i| &verdicts[older + i]);
        let told = shown.iter().enumerate().map(|(i, verdict)| ToldVerdict {
            verdict,
            changes: before(i).map_or_else(Vec::new, |before| verdict.changes_since(before)),
        });
        screen.print_json(&Told {
            version: 1,
            verdicts: told.collect(),
            older,
            left_out: &history.left_out,
        })?;
        return Ok(Outcome::Pass);
    }
    let past = PastVerdicts {
        verdicts: shown,
        older,
        left_out: &history.left_out,
    };
    screen.print(&history_text(&past, screen.style))?;
    Ok(Outcome::Pass)
}

/// Verdicts on one suite.
fn of_suite(verdicts: Vec<PastVerdict>, suite: &str) -> Result<Vec<PastVerdict>, CliError> {
    let found: Vec<PastVerdict> = verdicts.iter().filter_map(|v| v.of_suite(suite)).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let all = verdicts.iter().flat_map(|v| &v.suites);
    let mut known: Vec<String> = all.map(|s| s.suite.clone()).collect();
    known.sort();
    known.dedup();
    Err(CliError::NoVerdictOn {
        suite: suite.to_owned(),
        nearest: nearest(suite, known.iter().map(String::as_str)),
        known,
    })
}
