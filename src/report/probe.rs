//! One probe as the failure of a test: what both answered, which check failed and why, and what to
//! type next.

use std::fmt::Write as _;

use super::changes::ChangedAnswer;
use super::diff::{AnswerLength, one_change};
use super::style::{Style, one_line};
use crate::flow::{CaseId, ProbeComparison};

/// Shown wordings of a probe.
const MOST_CASES: usize = 3;

/// The wordings on which the candidate lost, else all, each with an inline diff and the failed
/// checks.
pub fn probe_changes(
    probe: &ProbeComparison,
    (base, candidate): (&str, &str),
    style: Style,
) -> String {
    let lost = |i: &usize| probe.cases[*i].may_have_lost();
    let mut shown: Vec<usize> = (0..probe.cases.len()).filter(lost).collect();
    if shown.is_empty() {
        shown = (0..probe.cases.len()).collect();
    }
    let more = shown.len().saturating_sub(MOST_CASES);
    let mut text = String::new();
    for i in shown.into_iter().take(MOST_CASES) {
        let case = &probe.cases[i];
        let id = CaseId {
            suite: probe.id.suite.clone(),
            probe: probe.id.probe.clone(),
            prompt: i,
        };
        let Some((sample, draw)) = case.shown() else {
            continue;
        };
        let change = ChangedAnswer::of(id, sample, &case.prompt, draw);
        text.push_str(&one_change(
            &change,
            (base, candidate),
            AnswerLength::Whole,
            style,
        ));
        for check in &draw.checks {
            if check.candidate.value() != Some(1.0) && draw.checks.len() > 1 {
                let why = one_line(check.candidate.explanation(), 300);
                // Writing to a string cannot fail.
                let _ = writeln!(text, "  {:<9} {why}", check.kind);
            }
        }
    }
    if more > 0 {
        let _ = writeln!(text, "  and {more} more wordings");
    }
    text
}
