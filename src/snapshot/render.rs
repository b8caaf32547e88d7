//! A probe's comparison as the text that is reviewed, and the header above it.
//!
//! The text holds what a reviewer judges and nothing that changes by itself: prompts, answers,
//! scores with their reasons, and what the probe came to. Digests, intervals, and noise stand in
//! the header's `info`, which no comparison looks at.

use std::fmt::Write as _;

use crate::flow::{CaseComparison, Drift, ProbeComparison, ProbeNoise, Score};
use crate::text::ellipsize;

/// Longest reason of a check, in characters.
const LONGEST_REASON: usize = 200;
/// What stands in front of every line of a quoted text.
pub(super) const INDENT: &str = "    ";

/// What of the whole comparison stands in a probe's header.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Context {
    /// Name of the base with its digest.
    pub base: String,
    /// Name of the candidate with its digest and scale.
    pub candidate: String,
    /// The suite's paired difference with its interval, such as `-0.04 [-0.08, +0.00]`.
    pub interval: String,
}

/// A whole `.snap` file.
pub fn render(probe: &ProbeComparison, context: &Context) -> String {
    let mut file = String::from("---\n");
    let mut line = |indent: &str, key: &str, value: &str| {
        if !value.is_empty() {
            // A JSON string is a YAML string.
            let quoted = serde_json::Value::String(value.to_owned());
            // Writing to a string cannot fail.
            let _ = writeln!(file, "{indent}{key}: {quoted}");
        }
    };
    line("", "expression", &probe.id.to_string());
    let noise = probe.noise.map_or_else(String::new, noise_text);
    let drifts = drift_lines(probe);
    line("", "description", &drifts.join("; "));
    file.push_str("info:\n");
    let mut line = |key: &str, value: &str| {
        if !value.is_empty() {
            let quoted = serde_json::Value::String(value.to_owned());
            let _ = writeln!(file, "  {key}: {quoted}");
        }
    };
    line("base", &context.base);
    line("candidate", &context.candidate);
    line("probe", crate::digest::short(&probe.digest));
    line("suite_difference", &context.interval);
    line("noise", &noise);
    let mut first = probe.cases.iter().filter_map(|case| case.samples.first());
    if first.any(|draw| draw.continued) {
        line("continued", "an answer went on beyond max_new_tokens");
    }
    file.push_str("---\n");
    file.push_str(&text(probe));
    file
}

fn noise_text(noise: ProbeNoise) -> String {
    format!(
        "score {:.2}, {:.0}% of the words",
        noise.score,
        100.0 * noise.text
    )
}

/// Where answers part from the accepted ones, a sentence each.
fn drift_lines(probe: &ProbeComparison) -> Vec<String> {
    let several = probe.cases.len() > 1;
    let drifts = probe.cases.iter().enumerate();
    drifts
        .filter_map(|(i, case)| {
            let prompt = if several {
                format!("prompt {}, ", i + 1)
            } else {
                String::new()
            };
            Some(format!("{prompt}{}", drift_text(case.drift.as_ref()?)))
        })
        .collect()
}

/// One drift as a sentence.
pub(super) fn drift_text(drift: &Drift) -> String {
    let shown = |text: &str| {
        if text.is_empty() {
            "its end".to_owned()
        } else {
            format!("\"{}\"", ellipsize(text, 24))
        }
    };
    let gap = match drift.logit_gap {
        None => String::new(),
        Some(gap) if gap.abs() < 0.1 => format!(", a logit gap of {gap:.2}: a numeric tie"),
        Some(gap) => format!(", a logit gap of {gap:.2}"),
    };
    format!(
        "at token {} {} became {}{gap}",
        drift.token,
        shown(&drift.accepted),
        shown(&drift.new)
    )
}

/// The text below the header.
pub fn text(probe: &ProbeComparison) -> String {
    let mut text = String::new();
    for case in &probe.cases {
        case_text(case, &mut text);
    }
    let _ = writeln!(text, "Probe: {}", probe.state());
    text
}

fn case_text(case: &CaseComparison, text: &mut String) {
    block(text, "Prompt", &case.prompt);
    // A reviewer reads the first draw, which is greedy where the probe is.
    let Some(draw) = case.samples.first() else {
        text.push('\n');
        return;
    };
    if let Some(base) = &draw.base {
        block(text, "Base", base);
    }
    match (&draw.candidate, &draw.base) {
        (Some(candidate), base) if base.as_ref() == Some(candidate) => {
            text.push_str("Candidate: as the base\n");
        }
        (Some(candidate), _) => block(text, "Candidate", candidate),
        (None, _) => {}
    }
    text.push_str("Checks:\n");
    for check in &draw.checks {
        let reason = match &check.candidate {
            // What a graded check saw is full of digits that move with every weight.
            Score::Scored { value, .. } if is_graded(*value) => "",
            other => other.explanation(),
        };
        let reason: Vec<&str> = reason.split_whitespace().collect();
        let reason = ellipsize(&reason.join(" "), LONGEST_REASON);
        let _ = writeln!(
            text,
            "{INDENT}{}: {} -> {}{}{reason}",
            check.kind,
            value(&check.base),
            value(&check.candidate),
            if reason.is_empty() { "" } else { "  " }
        );
    }
    text.push('\n');
}

fn is_graded(value: f64) -> bool {
    value != 0.0 && value != 1.0
}

/// A score in words.
fn value(score: &Score) -> String {
    match score.value() {
        None => "unscored".into(),
        Some(1.0) => "pass".into(),
        Some(0.0) => "fail".into(),
        Some(value) => format!("{value:.2}"),
    }
}

/// A quoted text: every line indented, so that nothing in it reads as a heading.
fn block(text: &mut String, head: &str, quoted: &str) {
    if quoted.trim().is_empty() {
        let _ = writeln!(text, "{head}: (silent)");
        return;
    }
    let _ = writeln!(text, "{head}:");
    for line in quoted.trim_end().lines() {
        let line = line.trim_end();
        if line.is_empty() {
            text.push('\n');
        } else {
            // What a terminal or a diff would act on is shown by its name.
            let visible: String = line
                .chars()
                .map(|c| match c {
                    '\t' => "\t".into(),
                    c if c.is_control() => c.escape_unicode().to_string(),
                    c => c.to_string(),
                })
                .collect();
            let _ = writeln!(text, "{INDENT}{visible}");
        }
    }
}
