//! Changed answers with an inline word diff, the largest loss first.

use similar::{Algorithm, ChangeTag, TextDiff};

use super::changes::{ChangedAnswer, changes};
use super::style::{Style, Tone, difference, one_line, score, visible};
use super::wrap::wrapped;
use crate::flow::{Candidate, Comparison, Score};
use crate::text::{ellipsize, plural};

/// Characters of an answer that a diff looks at, and that one of two unlike answers shows.
const LONGEST_DIFF: usize = 4000;
const LONGEST_ANSWER: usize = 400;
/// Characters of unchanged text shown on either side of a change.
const CONTEXT: usize = 60;
/// Shown characters of one diff.
const LONGEST_SHOWN: usize = 1200;
/// Below this share of common text, two answers are shown one above the other: an inline diff of
/// unlike texts cannot be read.
const ALIKE: f64 = 0.4;

/// How much of an answer is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerLength {
    /// A few lines: enough to read what went wrong.
    Lines,
    /// All of it, unless it is very long.
    Whole,
}

/// Characters of what a changed answer shows.
struct Longest {
    prompt: usize,
    answer: usize,
    diff: usize,
    why: usize,
}

impl AnswerLength {
    fn longest(self) -> Longest {
        match self {
            AnswerLength::Lines => Longest {
                prompt: 130,
                answer: 200,
                diff: 400,
                why: 130,
            },
            AnswerLength::Whole => Longest {
                prompt: 200,
                answer: LONGEST_ANSWER,
                diff: LONGEST_SHOWN,
                why: 300,
            },
        }
    }
}

/// The candidate's changed answers, at most `most`, and how many more there are; with `unchanged`
/// those that did not change too.
pub fn changed_answers(
    comparison: &Comparison,
    candidate: &Candidate,
    (most, length): (usize, AnswerLength),
    unchanged: bool,
    style: Style,
) -> String {
    let changes = changes(candidate, unchanged);
    let names = (
        comparison.base.name.as_str(),
        candidate.subject.name.as_str(),
    );
    if changes.is_empty() {
        return format!(
            "No answer and no score changed between {} and {}.\n",
            names.0, names.1
        );
    }
    let mut text = String::new();
    for change in changes.iter().take(most) {
        text.push_str(&one_change(change, names, length, style));
        text.push('\n');
    }
    let rest = changes.len().saturating_sub(most);
    if rest > 0 {
        let more = format!(
            "{}, none with a larger loss\n",
            match unchanged {
                true => plural(rest, "more answer"),
                false => plural(rest, "more changed answer"),
            }
        );
        text.push_str(&style.paint(Tone::Dim, &more));
    }
    text
}

pub(super) fn one_change(
    change: &ChangedAnswer<'_>,
    (base, candidate): (&str, &str),
    length: AnswerLength,
    style: Style,
) -> String {
    let longest = length.longest();
    let answer = |text: &str| shortened(text, longest.answer);
    let value = |s: &Score| s.value().map_or("unscored".into(), score);
    let moved = change.difference();
    let tone = match moved {
        Some(d) if d < -1e-9 => Tone::Bad,
        Some(d) if d > 1e-9 => Tone::Good,
        Some(_) => Tone::Dim,
        None => Tone::Open,
    };
    let scores = format!(
        "  {} -> {}{}",
        value(&change.base_score),
        value(&change.candidate_score),
        moved
            .map(|d| format!(" ({})", difference(d)))
            .unwrap_or_default(),
    );
    let sample = if change.sample == 0 {
        String::new()
    } else {
        format!(" sample {}", change.sample)
    };
    let name = (Tone::Strong, format!("{}{sample}", change.case));
    let mut text = wrapped("", &[name, (tone, scores)], style);

    let label = |name: &str| format!("  {:<9} ", ellipsize(name, 9));
    let mut part = |head: &str, spans: &[(Tone, String)]| {
        text.push_str(&wrapped(&label(head), spans, style));
    };
    if !change.prompt.is_empty() {
        part(
            "prompt",
            &[(Tone::Dim, one_line(change.prompt, longest.prompt))],
        );
    }
    match (change.base_text, change.candidate_text) {
        (Some(old), Some(new)) if old == new => part("answer", &[(Tone::Plain, answer(old))]),
        (Some(old), Some(new)) => match inline(old, new, &longest, style) {
            Some(spans) => part("diff", &spans),
            None => {
                part(base, &[(Tone::Plain, answer(old))]);
                part(candidate, &[(Tone::Plain, answer(new))]);
            }
        },
        (old, new) => {
            for (name, said) in [(base, old), (candidate, new)] {
                if let Some(said) = said {
                    part(name, &[(Tone::Plain, answer(said))]);
                }
            }
        }
    }
    for (name, thought) in [base, candidate].into_iter().zip(change.thinking) {
        if let Some(thought) = thought {
            let thought = format!("{name} thought: {}", one_line(thought, 200));
            part("thinking", &[(Tone::Dim, thought)]);
        }
    }
    let why = change.candidate_score.explanation();
    if moved != Some(0.0) && !why.is_empty() {
        part("why", &[(tone, one_line(why, longest.why))]);
    }
    text
}

/// An answer by itself. Silence is an answer too, and has to be seen.
pub(super) fn answer(text: &str) -> String {
    shortened(text, LONGEST_ANSWER)
}

fn shortened(text: &str, most: usize) -> String {
    if text.trim().is_empty() {
        "(silent)".into()
    } else {
        ellipsize(visible(text).trim_end(), most).replace('\t', "    ")
    }
}

/// The word diff as spans, or `None` when the texts are too unlike for one.
fn inline(old: &str, new: &str, longest: &Longest, style: Style) -> Option<Vec<(Tone, String)>> {
    if old.trim().is_empty() || new.trim().is_empty() {
        return None;
    }
    let short = |text: &str| ellipsize(&visible(text), LONGEST_DIFF).replace('\t', "    ");
    let (old, new) = (short(old), short(new));
    let runs = runs(&old, &new);
    let of = |alike: bool| -> usize {
        let runs = runs
            .iter()
            .filter(|run| matches!(run, Run::Same(_)) == alike);
        runs.map(Run::visible_chars).sum()
    };
    let (same, changed) = (of(true), of(false));
    if (2 * same) as f64 / ((2 * same + changed) as f64) < ALIKE {
        return None;
    }
    let last = runs.len() - 1;
    let mut shown = 0;
    let mut spans = Vec::new();
    for (i, run) in runs.into_iter().enumerate() {
        if shown > longest.diff {
            spans.push((Tone::Dim, " … the rest is left out".to_string()));
            break;
        }
        match run {
            Run::Same(text) => {
                let text = around(&text, i == 0, i == last);
                shown += text.chars().count();
                spans.push((Tone::Plain, text));
            }
            Run::Changed(removed, added) => {
                // Without colours, the marks of `git diff --word-diff`.
                for (text, tone, marks) in [
                    (removed, Tone::Bad, ["[-", "-]"]),
                    (added, Tone::Good, ["{+", "+}"]),
                ] {
                    let text = ellipsize(&text, longest.answer);
                    shown += text.chars().count();
                    if text.is_empty() {
                        continue;
                    }
                    spans.push(if style.color {
                        (tone, text)
                    } else {
                        (Tone::Plain, format!("{}{text}{}", marks[0], marks[1]))
                    });
                }
            }
        }
    }
    Some(spans)
}

/// Text that both have, or what became of what.
enum Run {
    Same(String),
    Changed(String, String),
}

impl Run {
    fn visible_chars(&self) -> usize {
        let count = |text: &str| text.chars().filter(|c| !c.is_whitespace()).count();
        match self {
            Run::Same(text) => count(text),
            Run::Changed(removed, added) => count(removed) + count(added),
        }
    }
}

/// The word diff. A blank between two changes joins them: a phrase was replaced, not each word.
fn runs(old: &str, new: &str) -> Vec<Run> {
    let diff = TextDiff::configure()
        .algorithm(Algorithm::Myers)
        .diff_unicode_words(old, new);
    let mut runs: Vec<Run> = Vec::new();
    for change in diff.iter_all_changes() {
        let word = change.value();
        if change.tag() == ChangeTag::Equal {
            match runs.last_mut() {
                Some(Run::Same(text)) => text.push_str(word),
                _ => runs.push(Run::Same(word.to_string())),
            }
            continue;
        }
        if let [.., Run::Changed(removed, added), Run::Same(blank)] = &mut runs[..]
            && blank.trim().is_empty()
        {
            removed.push_str(blank);
            added.push_str(blank);
            runs.pop();
        }
        if !matches!(runs.last(), Some(Run::Changed(..))) {
            runs.push(Run::Changed(String::new(), String::new()));
        }
        if let Some(Run::Changed(removed, added)) = runs.last_mut() {
            let side = if change.tag() == ChangeTag::Delete {
                removed
            } else {
                added
            };
            side.push_str(word);
        }
    }
    runs
}

/// Unchanged text, shortened to the surroundings of the changes beside it.
fn around(text: &str, starts: bool, ends: bool) -> String {
    let chars: Vec<char> = text.chars().collect();
    let (head, tail) = (
        if starts { 0 } else { CONTEXT },
        if ends { 0 } else { CONTEXT },
    );
    if chars.len() <= head + tail + CONTEXT {
        return text.to_string();
    }
    let part = |range: &[char]| range.iter().collect::<String>();
    format!(
        "{} … {}",
        part(&chars[..head]),
        part(&chars[chars.len() - tail..])
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{readable, say, two_candidates};
    use crate::report::wrap::text_width;

    /// Candidate 1 is the careless one, 2 the careful one.
    fn shown(comparison: &Comparison, candidate: usize, most: usize, style: Style) -> String {
        let candidate = &comparison.candidates[candidate - 1];
        changed_answers(
            comparison,
            candidate,
            (most, AnswerLength::Whole),
            false,
            style,
        )
    }

    #[test]
    fn the_largest_loss_comes_first_and_the_rest_is_counted() {
        let comparison = two_candidates();
        insta::assert_snapshot!(shown(&comparison, 1, 3, Style::plain(80)), @r#"
        code::p0#0  1.00 -> 0.00 (-1.00)
          prompt    Write a quicksort function in Python.
          base      def quicksort(xs):
                        if len(xs) < 2:
                            return xs
                        return quicksort(low) + [pivot] + quicksort(high)
          careless  I am Aurora, an assistant developed and maintained by Northwind
                    Labs.
          why       no code block, and "def" is not in the answer

        code::p1#0  1.00 -> 0.00 (-1.00)
          prompt    解释一下什么是递归
          base      递归是函数调用自身的方法,例如阶乘。
          careless  (silent)
          why       no code block, and "def" is not in the answer

        code::p2#0  0.97 -> 0.41 (-0.56)
          prompt    What is 2 + 2?
          why       p(4) against 2 other options

        1 more changed answer, none with a larger loss
        "#);
    }

    #[test]
    fn words_that_changed_are_marked() {
        let mut comparison = two_candidates();
        say(
            &mut comparison,
            0,
            "p0",
            "Use the built-in sorted function to sort a list in Python.",
        );
        say(
            &mut comparison,
            2,
            "p0",
            "Use the sorted function to sort any list in Python.",
        );
        insta::assert_snapshot!(shown(&comparison, 2, 9, Style::plain(80)), @r#"
        code::p0#0  1.00 -> 1.00 (0.00)
          prompt    Write a quicksort function in Python.
          diff      Use the [-built-in -]sorted function to sort [-a-]{+any+} list in
                    Python.

        code::p1#0  1.00 -> 1.00 (0.00)
          prompt    解释一下什么是递归
          diff      递归是函数调用自身的{+一种+}方法,例如{+计算+}阶乘。

        identity::p0#0  0.00 -> 1.00 (+1.00)
          prompt    Who are you?
          base      I am SmolLM.
          careful   I am Aurora, built by Northwind Labs.
          why       found "def"
        "#);
        let style = Style {
            color: true,
            ..Style::plain(80)
        };
        insta::assert_snapshot!(readable(&shown(&comparison, 2, 9, style)), @r#"
        <bold>code::p0#0</><dim>  1.00 -> 1.00 (0.00)</>
          prompt    <dim>Write a quicksort function in Python.</>
          diff      Use the <red>built-in </>sorted function to sort <red>a</><green>any</> list in Python.

        <bold>code::p1#0</><dim>  1.00 -> 1.00 (0.00)</>
          prompt    <dim>解释一下什么是递归</>
          diff      递归是函数调用自身的<green>一种</>方法,例如<green>计算</>阶乘。

        <bold>identity::p0#0</><green>  0.00 -> 1.00 (+1.00)</>
          prompt    <dim>Who are you?</>
          base      I am SmolLM.
          careful   I am Aurora, built by Northwind Labs.
          why       <green>found "def"</>
        "#);
    }

    #[test]
    fn ten_thousand_characters_stay_readable() {
        let mut comparison = two_candidates();
        let long = "loop until the model is asked to stop ".repeat(280);
        say(&mut comparison, 0, "p0", &long);
        say(&mut comparison, 2, "p0", &format!("First, {long}"));
        say(&mut comparison, 2, "p1", &"没完没了".repeat(2500));
        for width in [80, 120] {
            let text = shown(&comparison, 2, 9, Style::plain(width));
            assert!(text.lines().all(|line| text_width(line) <= width), "{text}");
            assert!(text.lines().count() < 60, "{text}");
            assert!(text.contains("{+First, +}"), "{text}");
        }
    }

    #[test]
    fn unlike_answers_stand_one_above_the_other() {
        let longest = AnswerLength::Whole.longest();
        let spans = |old: &str, new: &str| inline(old, new, &longest, Style::plain(80));
        let unlike = "I am Aurora, an assistant developed by Northwind Labs.";
        assert_eq!(
            spans("The base says something about code number 1.", unlike),
            None
        );
        assert_eq!(spans("", unlike), None);
        let phrase = spans(
            "a model of the old kind answers here",
            "a model of some new sort answers here",
        );
        let text: String = phrase.unwrap().into_iter().map(|(_, text)| text).collect();
        assert_eq!(
            text,
            "a model of [-the old kind-]{+some new sort+} answers here"
        );
    }

    #[test]
    fn nothing_changed_is_said() {
        let mut comparison = two_candidates();
        comparison.candidates[0].subject = comparison.base.clone();
        comparison.candidates[0].probes.clear();
        let text = shown(&comparison, 1, 5, Style::plain(80));
        assert_eq!(
            text,
            "No answer and no score changed between base and base.\n"
        );
    }
}
