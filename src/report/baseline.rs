//! The age of the baseline beside a verdict: when the base answered, by what, and what speaks against
//! comparing with it.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use super::style::{Style, Tone, one_line};
use super::wrap::wrapped;
use crate::flow::Baseline;

/// Longest sentence, in characters.
const LONGEST: usize = 600;

fn now() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    since_1970.map_or(0, |since| since.as_secs())
}

/// The lines of a terminal; none where nothing is known.
pub fn baseline_lines(baseline: Option<&Baseline>, style: Style) -> String {
    lines_at(baseline, now(), style)
}

/// The sentence on its age, where the base answered so many days ago or more.
pub(super) fn told_when_old(baseline: &Baseline, days: u64) -> Option<String> {
    let now = now();
    let oldest = baseline.origin.oldest_unix_s?;
    let is_old = now.saturating_sub(oldest) >= days * 24 * 60 * 60;
    is_old.then(|| baseline.sentence(now))
}

fn lines_at(baseline: Option<&Baseline>, now_unix_s: u64, style: Style) -> String {
    let Some(baseline) = baseline else {
        return String::new();
    };
    let sentence = one_line(&baseline.sentence(now_unix_s), LONGEST);
    let mut text = wrapped("", &[(Tone::Dim, sentence)], style);
    for warning in &baseline.warnings {
        text += &wrapped(
            "warning: ",
            &[(Tone::Open, one_line(warning, LONGEST))],
            style,
        );
    }
    text
}

/// The same as Markdown; `plain` makes a text mean nothing there.
pub(super) fn baseline_markdown(
    baseline: Option<&Baseline>,
    plain: impl Fn(&str) -> String,
) -> String {
    let Some(baseline) = baseline else {
        return String::new();
    };
    let mut text = format!("\n<sub>{}</sub>\n", plain(&baseline.sentence(now())));
    for warning in &baseline.warnings {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n⚠️ {}", plain(warning));
    }
    text
}

/// The same as sentences of the page.
pub fn baseline_notes(baseline: Option<&Baseline>) -> Vec<String> {
    let Some(baseline) = baseline else {
        return Vec::new();
    };
    let sentence = std::iter::once(baseline.sentence(now()));
    let warnings = baseline.warnings.iter();
    sentence
        .chain(warnings.map(|warning| format!("Warning: {warning}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::AnswerOrigin;

    fn baseline() -> Baseline {
        let mut origin = AnswerOrigin::of("qeval 0.1.0 cpu f32", "c0ffee0123456789");
        origin.count(Some(1_796_040_000));
        let other = AnswerOrigin::of("qeval 0.2.0 cpu f32", "c0ffee0123456789");
        Baseline::of(&origin, &[other], false)
    }

    #[test]
    fn age_and_warning_stand_beside_a_verdict() {
        let text = lines_at(
            Some(&baseline()),
            1_796_040_000 + 3 * 86_400,
            Style::plain(80),
        );
        insta::assert_snapshot!(text, @"
        base answered 3 days ago (2026-11-30) by qeval 0.1.0 cpu f32 (c0ffee012345)
        warning: the base was answered by qeval 0.1.0 cpu f32, the candidate by qeval
                 0.2.0 cpu f32: answers of two engines can differ without an adapter;
                 `qeval run base` with the candidate's engine, in a folder of its own
                 (`--runs`), asks anew
        ");
        assert_eq!(lines_at(None, 0, Style::plain(80)), "");
        let notes = baseline_notes(Some(&baseline()));
        assert_eq!(notes.len(), 2, "{notes:?}");
        let comment = baseline_markdown(Some(&baseline()), str::to_owned);
        assert!(comment.contains("<sub>base answered ") && comment.contains("\n⚠️ the base was"));
    }
}
