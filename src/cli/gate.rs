//! `qeval gate`: one candidate judged against the base, for CI.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::atomic_file;
use crate::exit::Outcome;
use crate::flow::{Candidate, Comparison, NextCommands, Preview, ProbeId};
use crate::project::{GatedCandidate, Order};
use crate::report::{
    Glance, Report, Style, all_tests, baseline_lines, exam_lines, junit, markdown, preview_lines,
    spread_lines, suite_table, verdict_block, worst_answers,
};

use super::args::{GateArgs, OutputFormat};
use super::error::CliError;
use super::outcome::outcome_of;
use super::output::Screen;
use super::page;

/// Names the file that GitHub shows on the page of a job.
const STEP_SUMMARY: &str = "GITHUB_STEP_SUMMARY";

/// Rows of suites, and changed answers, that fit on a page beside the verdict.
pub(super) const ROWS: usize = 8;
pub(super) const WORST: usize = 5;

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
    let shown = Shown {
        comparison: &gated.comparison,
        before: &before,
        asked: &order.notes,
        name: &name,
        next: &next,
    };
    if screen.format == OutputFormat::Json {
        screen.print_json(&Report::new(&gated.comparison, Some(&before)))?;
    } else {
        screen.print(&match args.verbose {
            true => shown.everything(screen.style),
            false => shown.page(screen.style),
        })?;
    }
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

/// What is shown to people.
struct Shown<'a> {
    comparison: &'a Comparison,
    before: &'a Preview,
    /// What a reader should know of what was asked.
    asked: &'a [String],
    /// What the user called the candidate.
    name: &'a str,
    next: &'a NextCommands,
}

impl Shown<'_> {
    fn page(&self, style: Style) -> String {
        let comparison = self.comparison;
        let look = |probe: &ProbeId| self.next.why(probe);
        let mut text = String::new();
        for candidate in &comparison.candidates {
            let glance = Glance {
                name: self.name,
                verdict: &candidate.verdict,
                causes: &candidate.causes,
                exam: comparison.exam.as_ref(),
                asked: self.asked,
                baseline: comparison.baseline.as_ref(),
                rows: ROWS,
                answers: &worst_answers(candidate, WORST, &look, style),
                next: &self.next.diff(),
            };
            text += &glance.text(style);
        }
        text
    }

    fn everything(&self, style: Style) -> String {
        let comparison = self.comparison;
        let mut text = exam_lines(comparison.exam.as_ref(), style);
        text += &preview_lines(self.before, style);
        text += &suite_table(comparison, style);
        text += &baseline_lines(comparison.baseline.as_ref(), style);
        let next = self.next.diff();
        for candidate in &comparison.candidates {
            let Candidate {
                verdict, causes, ..
            } = candidate;
            text += &spread_lines(verdict, &comparison.noise, style);
            text += &verdict_block(self.name, verdict, causes, &next, style);
        }
        text
    }
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
        let shown = Shown {
            comparison: &gated.comparison,
            before: &before,
            asked: &[],
            name: &name,
            next: &next,
        };
        let style = Style::plain(400);
        for text in [shown.page(style), shown.everything(style)] {
            assert!(text.contains(&format!("{name}: {decision}")), "{text}");
            assert!(text.contains(&format!("qeval diff base {name}")), "{text}");
        }
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
