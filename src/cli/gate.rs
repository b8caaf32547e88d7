//! `qeval gate`: one candidate judged against the base, for CI.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::atomic_file;
use crate::exit::Outcome;
use crate::flow::{Comparison, NextCommands, Preview};
use crate::project::{GatedCandidate, Order};
use crate::report::{
    Report, Style, all_tests, baseline_lines, exam_lines, junit, markdown, preview_lines,
    suite_table, verdict_block,
};

use super::args::{GateArgs, OutputFormat};
use super::error::CliError;
use super::outcome::outcome_of;
use super::output::Screen;
use super::page;

/// Names the file that GitHub shows on the page of a job.
const STEP_SUMMARY: &str = "GITHUB_STEP_SUMMARY";

/// Runs the command.
///
/// # Errors
/// Whatever stops it; finished answers are on disk.
pub fn gate(args: &GateArgs, screen: &Screen) -> Result<Outcome, CliError> {
    let project = screen.open(args.overrides())?;
    let name = project.candidate(args.candidate.as_deref())?;
    let next = project.next(&name);
    let order = Order::new(&project, &["base", &name])?;
    let before = order.preview()?;
    let gated = project.gate(&order)?;
    show(screen, &gated, &before, &name, &next)?;
    let accepted = gated.snapshots.folder().is_dir();
    if accepted {
        leave_for_review(screen, &gated)?;
    }
    let Some(candidate) = gated.candidate() else {
        return Ok(Outcome::CouldNotMeasure);
    };
    if let Some(file) = &args.junit {
        let tests = all_tests(&gated.comparison, candidate, &next);
        atomic_file::write(file, junit("qeval", &tests)?)?;
    }
    let summary = std::env::var_os(STEP_SUMMARY).filter(|file| !file.is_empty());
    if args.markdown.is_some() || summary.is_some() {
        let changed = match accepted {
            true => Some(gated.changed_snapshots()?),
            false => None,
        };
        let text = markdown(&gated.comparison, candidate, changed.as_deref(), &next);
        if let Some(file) = &args.markdown {
            atomic_file::write(file, &text)?;
        }
        // The verdict is what CI waits for, not its summary.
        if let Some(file) = summary.map(PathBuf::from)
            && let Err(error) = append(&file, &text)
        {
            let file = file.display();
            screen.notice(format!("{STEP_SUMMARY} was not written: {file}: {error}"));
        }
    }
    if let Some(file) = &args.html {
        let next = |_: &str| next.diff();
        let parts = page::of_comparison(&gated.comparison, &order.suites, &[&name], next);
        page::write(file, parts)?;
    }
    Ok(outcome_of(&candidate.verdict))
}

/// Adds a report to a file that other steps of a job may have written to.
fn append(file: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(file)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")
}

fn show(
    screen: &Screen,
    gated: &GatedCandidate,
    before: &Preview,
    name: &str,
    next: &NextCommands,
) -> Result<(), CliError> {
    if screen.format == OutputFormat::Json {
        return screen.print_json(&Report::new(&gated.comparison, Some(before)));
    }
    screen.print(&text_of(
        &gated.comparison,
        before,
        (name, next),
        screen.style,
    ))
}

/// The report for people.
fn text_of(
    comparison: &Comparison,
    before: &Preview,
    (name, next): (&str, &NextCommands),
    style: Style,
) -> String {
    let mut text = exam_lines(comparison.exam.as_ref(), style);
    text += &preview_lines(before, style);
    text += &suite_table(comparison, style);
    text += &baseline_lines(comparison.baseline.as_ref(), style);
    let next = next.diff();
    for candidate in &comparison.candidates {
        text += &verdict_block(name, &candidate.verdict, &candidate.causes, &next, style);
    }
    text
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::testing::Small;
    use crate::run::testing::adapter_folder;

    #[test]
    fn text_json_markdown_and_junit_tell_of_the_same_verdict() {
        let small = Small::with_model();
        let project = small.open();
        let name = adapter_folder("harmful").display().to_string();
        let order = Order::new(&project, &["base", &name]).unwrap();
        let gated = project.gate(&order).unwrap();
        let candidate = gated.candidate().unwrap();
        let decision = candidate.verdict.decision.to_string();
        let before = order.preview().unwrap();
        let next = project.next(&name);
        let text = text_of(
            &gated.comparison,
            &before,
            (&name, &next),
            Style::plain(400),
        );
        assert!(text.contains(&format!("{name}: {decision}")), "{text}");
        assert!(text.contains(&format!("qeval diff base {name}")), "{text}");
        // A verdict for CI: what was said is for `diff`.
        assert!(!text.contains("Tell me who you are."), "{text}");
        let report = serde_json::to_value(Report::new(&gated.comparison, Some(&before))).unwrap();
        assert_eq!(
            report["candidates"][0]["verdict"]["decision"],
            decision.as_str()
        );
        let comment = markdown(&gated.comparison, candidate, None, &next);
        assert!(comment.contains(&decision), "{comment}");
        let tests = all_tests(&gated.comparison, candidate, &next);
        let names: Vec<&str> = tests.iter().map(|t| t.name.as_str()).collect();
        assert_eq!(names[..2], ["sum", "who"], "{names:?}");
        let failed = tests.iter().any(|t| t.failure.is_some());
        assert_eq!(failed, decision != "pass", "{tests:?}");
        // The second time nothing is measured: the record is shown.
        let again = project.gate(&order).unwrap();
        assert_eq!(again.comparison, gated.comparison);
    }
}
