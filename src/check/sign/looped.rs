//! Repetition loops: the end of an answer says the same thing again and again.
//!
//! Units are words, and single characters of Chinese, Japanese, and Korean. A loop is the longest end
//! in which each unit equals the one a period before it: four times the unit at least, and 40 percent
//! of the answer. Numbers of a list do not count as units, so that a list whose items repeat is a loop;
//! other numbers do, so a multiplication table is none. Code, tables, and markup repeat by nature and
//! take three times as much. `fixtures/reference/signs_ref.py` is the same in Python, and
//! `fixtures/signs/loops.jsonl` has the cases that both keep.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use crate::text::is_cjk;

/// Longest unit that is looked for.
const LONGEST_PERIOD: usize = 80;
/// Share of the answer that the repetitions have to cover.
const SHARE: f64 = 0.4;
/// Units that may follow a loop: a tenth of the answer, and so many at most.
const MOST_AFTER: usize = 12;
/// Last units that are looked at: an answer is as much of a loop by them.
const LOOKED_AT: usize = 4000;
/// Share of marks from which a text is code.
const CODE_SHARE: f64 = 0.06;
/// Marks of code, tables, and markup.
const CODE_MARKS: &str = "{}[]();=<>|\\_`";

/// Numbers of items and steps at the start of a line or a sentence. Group 1 stands before them.
static MARKERS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?im)(^\s*|[.!?。！？:：]\s+)",
        r"(?:[-*•]\s+|(?:(?:step|question|item|day|no\.?)\s*)?\d{1,3}\s*[.):、：]",
        r"|（\d{1,3}）|第\d{1,3}步[：:]?)\s*",
    ))
    .ok()
});

/// A word or character, and where it stands.
struct Unit {
    text: String,
    place: Range<usize>,
}

/// Whether an answer ends in a loop.
pub(super) fn ends_in_a_loop(answer: &str) -> bool {
    loop_of_words(answer) || loop_of_letters(answer)
}

fn loop_of_words(answer: &str) -> bool {
    let mut units = units(answer);
    units.drain(..units.len().saturating_sub(LOOKED_AT));
    let fenced = fenced(answer);
    (0..=usize::min(MOST_AFTER, units.len() / 10)).any(|after| {
        let end = units.len() - after;
        (1..=usize::min(LONGEST_PERIOD, end / 4)).any(|period| {
            let mut start = end - period;
            while start > 0 && units[start - 1].text == units[start - 1 + period].text {
                start -= 1;
            }
            let unit = &units[end - period..end];
            let letters = || unit.iter().flat_map(|u| u.text.chars());
            if !letters().any(char::is_alphabetic) {
                return false;
            }
            // Laughter is one character over and over.
            let first = letters().next();
            let one = period == 1 || letters().all(|c| Some(c) == first);
            let place = units[start].place.start..units[end - 1].place.end;
            let (times, least) = match (is_code(answer, &place, &fenced), one) {
                (true, _) => (12, 60),
                (false, true) => (4, 30),
                (false, false) => (4, 20),
            };
            let length = end - start;
            length >= times * period
                && length >= least
                && length as f64 >= SHARE * units.len() as f64
        })
    })
}

/// The words and characters of an answer, without the numbers of its lists.
fn units(answer: &str) -> Vec<Unit> {
    let numbers = markers(answer);
    let mut units: Vec<Unit> = Vec::new();
    let mut word: Option<Unit> = None;
    for (at, c) in answer.char_indices() {
        let place = at..at + c.len_utf8();
        let number = numbers.iter().any(|n| n.contains(&at));
        let alone = is_cjk(c) || matches!(c, '\u{3040}'..='\u{30FF}' | '\u{AC00}'..='\u{D7AF}');
        let goes_on = matches!(c, '\'' | '\u{2019}') && word.is_some();
        if number || !(c.is_alphanumeric() || goes_on) || alone {
            units.extend(word.take());
        }
        if number || (!c.is_alphanumeric() && !goes_on) {
            continue;
        }
        if alone {
            let text = c.to_string();
            units.push(Unit { text, place });
            continue;
        }
        let own = word.get_or_insert(Unit {
            text: String::new(),
            place: place.clone(),
        });
        own.text.extend(c.to_lowercase());
        own.place.end = place.end;
    }
    units.extend(word);
    units
}

/// Where the numbers of lists and steps stand. A number that goes on, as in 3.14, is none.
fn markers(answer: &str) -> Vec<Range<usize>> {
    let Some(pattern) = MARKERS.as_ref() else {
        return Vec::new();
    };
    let found = pattern.captures_iter(answer).filter_map(|found| {
        let whole = found.get(0)?;
        let start = found.get(1).map_or(whole.start(), |before| before.end());
        let after = answer[whole.end()..].chars().next();
        let blank = answer[start..whole.end()].ends_with(char::is_whitespace);
        (blank || after.is_none_or(|c| !c.is_ascii_digit())).then_some(start..whole.end())
    });
    found.collect()
}

/// Blocks of code; one without an end goes to the end.
fn fenced(answer: &str) -> Vec<Range<usize>> {
    let fences: Vec<usize> = answer.match_indices("```").map(|(at, _)| at).collect();
    let block = |pair: &[usize]| pair[0]..pair.get(1).map_or(answer.len(), |end| end + 3);
    fences.chunks(2).map(block).collect()
}

fn is_code(answer: &str, place: &Range<usize>, fenced: &[Range<usize>]) -> bool {
    let inside = |block: &Range<usize>| block.start <= place.start && place.end <= block.end;
    if fenced.iter().any(inside) {
        return true;
    }
    let part = &answer[place.clone()];
    let marks = part.chars().filter(|c| CODE_MARKS.contains(*c)).count();
    marks as f64 > CODE_SHARE * part.chars().count() as f64
}

/// Without words: letters that repeat in a row, or one mark over and over. Digits are never a loop: a
/// fraction and a large number have many.
fn loop_of_letters(answer: &str) -> bool {
    let all: Vec<char> = answer.chars().filter(|c| !c.is_whitespace()).collect();
    let text = &all[all.len().saturating_sub(LOOKED_AT)..];
    let n = text.len();
    let letters = |period: usize| {
        if n < 60 || !text[n - period..].iter().any(|c| c.is_alphabetic()) {
            return false;
        }
        let mut start = n - period;
        while start > 0 && text[start - 1] == text[start - 1 + period] {
            start -= 1;
        }
        let length = n - start;
        length >= 60 && length >= 12 * period && length as f64 >= SHARE * n as f64
    };
    if (1..=10).any(letters) {
        return true;
    }
    let Some(&last) = text.last() else {
        return false;
    };
    let same = text.iter().filter(|c| **c == last).count();
    n >= 40 && !last.is_alphanumeric() && same as f64 >= 0.9 * n as f64
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Case {
        text: String,
        loops: bool,
        why: String,
    }

    #[test]
    fn loops_are_told_from_what_looks_alike() {
        let cases = include_str!("../../../fixtures/signs/loops.jsonl").lines();
        let cases: Vec<Case> = cases.map(|l| serde_json::from_str(l).unwrap()).collect();
        assert!(cases.iter().filter(|case| case.loops).count() >= 20);
        for Case { text, loops, why } in cases {
            assert_eq!(ends_in_a_loop(&text), loops, "{why}: {text}");
        }
    }

    #[test]
    fn any_text_can_be_looked_at() {
        for text in ["", "'", "```", "1.", "\u{301}\u{301}", "'s 's 's", "…………"] {
            assert!(!ends_in_a_loop(text), "{text}");
        }
        let long = "word ".repeat(20_000);
        assert!(ends_in_a_loop(&long));
    }
}
