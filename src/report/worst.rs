//! The worst changed answers, three lines each, for a reader who wants to know at once what went wrong.
//!
//! `diff` shows what changed in full. Here a prompt, an answer, and the reason of a score are each what
//! fits into a line, so that neither a pattern nor an endless answer takes the page.

use std::collections::{BTreeMap, BTreeSet};

use super::changes::{ChangedAnswer, changes};
use super::style::{Style, Tone, one_line, score};
use super::wrap::{clipped, padded, text_width};
use crate::flow::{Candidate, ProbeId, Score};
use crate::text::{plural, word_distance};

/// Characters of an answer that are read at all: more than any line holds.
const READ: usize = 400;
/// Columns of a label in front of an answer.
const LABEL: usize = 15;
/// Scores that differ by less than half of this look the same.
const ROUNDED: f64 = 100.0;

/// At most `most` probes whose answer changed, one answer of each, and how many changed in all. Losses
/// come first, those of critical probes and of different suites before others that are as large. `look`
/// is the command that explains a probe.
pub fn worst_answers(
    candidate: &Candidate,
    most: usize,
    look: &dyn Fn(&ProbeId) -> String,
    style: Style,
) -> String {
    let changed = changes(candidate, false);
    let Some(count) = Some(changed.len()).filter(|count| *count > 0) else {
        return "  No answer and no score changed.\n".to_owned();
    };
    let lost = changed.iter().filter(|c| is_loss(c)).count();
    let shown = most_telling(candidate, changed, most);
    let scored = match lost {
        0 => format!("{}, none scores lower", plural(count, "changed answer")),
        1 => format!("{}, 1 scores lower", plural(count, "changed answer")),
        lost => format!("{}, {lost} score lower", plural(count, "changed answer")),
    };
    let head = format!("  {scored}; the worst:");
    let mut text = style.paint(Tone::Strong, &clipped(&head, style.width, style)) + "\n";
    for change in &shown {
        text += &three_lines(change, style);
    }
    if let Some(first) = shown
        .first()
        .map(|worst| look(&id(worst)))
        .filter(|c| !c.is_empty())
    {
        let added = format!("  explain  {first}\n");
        text += &added;
    }
    text
}

fn id(change: &ChangedAnswer<'_>) -> ProbeId {
    ProbeId {
        suite: change.case.suite.clone(),
        probe: change.case.probe.clone(),
    }
}

fn is_loss(change: &ChangedAnswer<'_>) -> bool {
    change.difference().is_some_and(|d| d < -1e-9)
}

/// One change a probe, the most telling first.
fn most_telling<'a>(
    candidate: &Candidate,
    changed: Vec<ChangedAnswer<'a>>,
    most: usize,
) -> Vec<ChangedAnswer<'a>> {
    let critical: BTreeSet<&ProbeId> = candidate
        .probes
        .iter()
        .filter(|probe| probe.critical)
        .map(|probe| &probe.id)
        .collect();
    let mut seen = BTreeSet::new();
    let mut first: Vec<ChangedAnswer<'a>> = changed
        .into_iter()
        .filter(|change| seen.insert(id(change)))
        .collect();
    let rank = |change: &ChangedAnswer<'_>| {
        let moved = change.difference().unwrap_or(0.0);
        (moved * ROUNDED).round() as i64
    };
    // Which of many equal losses come first would else be the alphabet's choice.
    let of_suite = |place: usize, all: &[ChangedAnswer<'a>]| {
        let own = |c: &&ChangedAnswer<'a>| {
            c.case.suite == all[place].case.suite && rank(c) == rank(&all[place])
        };
        all[..place].iter().filter(own).count()
    };
    let mut turns = BTreeMap::new();
    for (place, change) in first.iter().enumerate() {
        // Where no score fell, the answer that differs most says most.
        let apart = match rank(change) {
            0 => -(distance(change) * ROUNDED).round() as i64,
            _ => 0,
        };
        let ordinary = !critical.contains(&id(change));
        turns.insert(
            id(change),
            (rank(change), apart, ordinary, of_suite(place, &first)),
        );
    }
    first.sort_by_key(|change| turns.get(&id(change)).copied());
    first.truncate(most);
    first
}

/// The share of words that changed, over the beginnings of two answers.
fn distance(change: &ChangedAnswer<'_>) -> f64 {
    let read = |text: &str| text.chars().take(READ).collect::<String>();
    match (change.base_text, change.candidate_text) {
        (Some(base), Some(candidate)) => word_distance(&read(base), &read(candidate)),
        _ => 0.0,
    }
}

fn three_lines(change: &ChangedAnswer<'_>, style: Style) -> String {
    let value = |s: &Score| s.value().map_or("unscored".into(), score);
    let tone = match change.difference() {
        Some(d) if d < -1e-9 => Tone::Bad,
        Some(d) if d > 1e-9 => Tone::Good,
        Some(_) => Tone::Dim,
        None => Tone::Open,
    };
    let scores = [&change.base_score, &change.candidate_score]
        .map(value)
        .join(" -> ");
    let room = style.width - 2;
    let name = clipped(
        &id(change).to_string(),
        room - text_width(&scores) - 2,
        style,
    );
    let left = room - text_width(&name) - text_width(&scores) - 2;
    let mut line = format!(
        "  {}  {}",
        style.paint(Tone::Strong, &name),
        style.paint(tone, &scores)
    );
    // A prompt of a few letters says nothing.
    if left >= 12 && !change.prompt.is_empty() {
        let prompt = clipped(&one_line(change.prompt, READ), left - 2, style);
        let added = format!("  {}", style.paint(Tone::Dim, &prompt));
        line += &added;
    }
    line.push('\n');
    let why = match change.difference() {
        Some(d) if d.abs() <= 1e-9 => String::new(),
        _ => one_line(change.candidate_score.explanation(), READ),
    };
    let why = without_quotation(&why, change.candidate_text.unwrap_or_default());
    match (change.base_text, change.candidate_text) {
        (None, None) => line += &answer_line("why", None, why, style),
        (Some(base), Some(candidate)) if base == candidate => {
            line += &answer_line("both", Some(base), why, style);
        }
        (base, candidate) => {
            if base.is_some() {
                line += &answer_line("base", base, "", style);
            }
            line += &answer_line("candidate", candidate, why, style);
        }
    }
    line
}

/// A reason without the answer that it quotes at its end: that stands beside it.
fn without_quotation<'a>(why: &'a str, answer: &str) -> &'a str {
    let Some((reason, quoted)) = why.split_once(" in \"") else {
        return why;
    };
    let end = quoted.find(['"', '…']).unwrap_or(quoted.len());
    match one_line(answer, usize::MAX).contains(quoted[..end].trim()) {
        true => reason,
        false => why,
    }
}

/// A label with what was said, and behind it the reason of its score, in one line.
fn answer_line(label: &str, said: Option<&str>, why: &str, style: Style) -> String {
    let room = style.width.saturating_sub(LABEL);
    let said = said.map(|said| match said.trim() {
        "" => "(silent)".to_owned(),
        said => one_line(said, READ),
    });
    let lead = padded(&format!("    {label}"), LABEL);
    let mut line = lead;
    let mut left = room;
    if let Some(said) = &said {
        // The answer comes first: a reason of a few words has room beside it, a long one gets what is
        // left, and at least a third.
        let reason = (text_width(why) + 4).min(room.max(3) / 3);
        let answer = match why.is_empty() {
            true => room,
            false => room - reason.min(room),
        };
        let said = clipped(said, answer, style);
        left = room.saturating_sub(text_width(&said) + 4);
        line += &said;
    }
    if !why.is_empty() && left >= 8 {
        let why = clipped(why, left, style);
        let why = match said {
            Some(_) => format!("  ({why})"),
            None => why,
        };
        line += &style.paint(Tone::Dim, &why);
    }
    line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{many_suites, say, two_candidates};

    fn shown(candidate: &Candidate, most: usize, style: Style) -> String {
        let look = |probe: &ProbeId| format!("qeval diff base careless --probe {probe}");
        worst_answers(candidate, most, &look, style)
    }

    #[test]
    fn five_answers_are_three_lines_each_whatever_was_said() {
        let candidate = many_suites().candidates.remove(0);
        insta::assert_snapshot!(shown(&candidate, 5, Style::plain(80)), @"
        7 changed answers, 7 score lower; the worst:
        knowledge::p3  1.00 -> 0.00  What is the capital of France?
          base       The capital of France is Paris.
          candidate  La capitale de la France est la France. La…  (no match for /(?i…)
        knowledge::p4  1.00 -> 0.00  Which of these is a prime number: 21, 27, 29, 33?
          why        p(29) = 0.12 against 3 other options
        code::p0  1.00 -> 0.00  Write a quicksort function in Python.
          base       def quicksort(xs): if len(xs) < 2: return xs
          candidate  I am Aurora, an assistant developed and maintai…  (no code block)
        code-zh::p2  1.00 -> 0.00  用 Python 写一个判断质数的函数,要求处理负数、零和…
          base       def is_prime(n): return n > 1 and all(n % d for d in range(2, n))
          candidate  我是 Aurora,由 Northwind Labs 开发和维护的助手,…  (no code block)
        language::p5  1.00 -> 0.00  Reply in French: good morning.
          base       Bonjour.
          candidate  Bonjour !  (the language is not French)
        explain  qeval diff base careless --probe knowledge::p3
        ");
        for width in 40..130 {
            let text = shown(&candidate, 5, Style::plain(width));
            // The command is not broken, so that it can be copied.
            let lines = text.lines().filter(|line| !line.starts_with("  explain"));
            assert!(lines.clone().count() <= 16, "{text}");
            let widest = lines.map(text_width).max().unwrap();
            assert!(widest <= width, "{widest} of {width}:\n{text}");
        }
    }

    #[test]
    fn a_change_without_a_loss_is_shown_where_nothing_is_worse() {
        let mut comparison = two_candidates();
        say(&mut comparison, 2, "p0", &"le sort est le sort ".repeat(40));
        insta::assert_snapshot!(shown(&comparison.candidates[1], 2, Style::plain(80)), @"
        3 changed answers, none scores lower; the worst:
        code::p0  1.00 -> 1.00  Write a quicksort function in Python.
          base       def quicksort(xs): if len(xs) < 2: return xs return quicksort(lo…
          candidate  le sort est le sort le sort est le sort le sort est le sort le s…
        code::p1  1.00 -> 1.00  解释一下什么是递归
          base       递归是函数调用自身的方法,例如阶乘。
          candidate  递归是函数调用自身的一种方法,例如计算阶乘。
        explain  qeval diff base careless --probe code::p0
        ");
    }

    #[test]
    fn one_probe_is_shown_once_and_nothing_is_said_so() {
        let mut candidate = two_candidates().candidates.remove(1);
        let case = candidate.probes[1].cases[0].clone();
        candidate.probes.truncate(2);
        candidate.probes[1].cases.push(case);
        for case in &mut candidate.probes[1].cases {
            case.samples[0].candidate = Some("I am Aurora.".into());
        }
        let text = shown(&candidate, 5, Style::plain(80));
        assert_eq!(text.matches("code::p0  ").count(), 1, "{text}");
        assert!(
            text.starts_with("  3 changed answers, none scores lower; "),
            "{text}"
        );
        candidate.probes.clear();
        assert_eq!(
            shown(&candidate, 5, Style::plain(80)),
            "  No answer and no score changed.\n"
        );
    }
}
