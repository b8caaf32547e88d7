//! Repetition loops: the end of an answer is one unit said over and over.
//!
//! A text ends in a period p where its last characters equal those p before them. The longest such
//! end is found for every p at once by the Z-function of the reversed text. A loop is an end that
//! fills much of the answer with at least four of one unit, and a unit says something: it has
//! letters. Rows of a table, a refrain that comes back, and a list whose items differ are none. Items
//! that differ in their numbers alone are a loop only where they are many, since a table of
//! multiplication looks like that too.

/// Times that a unit has to be said in a row.
const LEAST_TIMES: usize = 4;
/// Times where the units differ in their numbers.
const LEAST_NUMBERED: usize = 8;
/// Characters that all units together have to have, Chinese characters counting as three.
const LEAST_LENGTH: usize = 36;
/// Share of the answer that they have to fill.
const LEAST_SHARE: f64 = 0.4;
/// Letters that a unit has to have, where numbers are left out of it.
const LEAST_LETTERS: usize = 6;
/// Characters that are looked at: more are as good as these.
const LOOKED_AT: usize = 6000;

/// Whether an answer ends in a loop.
pub(super) fn ends_in_a_loop(answer: &str) -> bool {
    let plain = folded(answer);
    is_periodic(&plain, LEAST_TIMES) || is_numbered(&plain)
}

/// Case and blanks do not count.
fn folded(answer: &str) -> Vec<char> {
    let words: Vec<&str> = answer.split_whitespace().collect();
    let text = words.join(" ").to_lowercase();
    let skipped = text.chars().count().saturating_sub(LOOKED_AT);
    text.chars().skip(skipped).collect()
}

fn is_numbered(text: &[char]) -> bool {
    let mut numbers = Vec::new();
    for &c in text {
        let c = if c.is_ascii_digit() { '0' } else { c };
        if c != '0' || numbers.last() != Some(&'0') {
            numbers.push(c);
        }
    }
    numbers.len() < text.len() && is_periodic(&numbers, LEAST_NUMBERED)
}

fn is_periodic(text: &[char], times: usize) -> bool {
    let reversed: Vec<char> = text.iter().rev().copied().collect();
    let n = reversed.len();
    let z = z_function(&reversed);
    (1..=n / times).any(|period| {
        let end = period + z[period];
        let unit = &reversed[..period];
        end >= times * period
            && weight(&reversed[..end]) >= LEAST_LENGTH
            && end as f64 >= LEAST_SHARE * n as f64
            && says_something(unit, times)
    })
}

/// Length in Latin characters: a Chinese character says as much as three.
fn weight(text: &[char]) -> usize {
    text.iter()
        .map(|&c| if crate::text::is_cjk(c) { 3 } else { 1 })
        .sum()
}

fn says_something(unit: &[char], times: usize) -> bool {
    let letters = unit.iter().filter(|c| c.is_alphabetic());
    let letters: usize = letters
        .map(|&c| if crate::text::is_cjk(c) { 3 } else { 1 })
        .sum();
    match times {
        LEAST_NUMBERED.. => letters >= LEAST_LETTERS,
        _ => letters >= 1,
    }
}

/// z[i]: how many characters from i on equal those from the start.
fn z_function(text: &[char]) -> Vec<usize> {
    let n = text.len();
    let mut z = vec![0; n];
    let (mut left, mut right) = (0, 0);
    for i in 1..n {
        if i < right {
            z[i] = usize::min(right - i, z[i - left]);
        }
        while i + z[i] < n && text[z[i]] == text[i + z[i]] {
            z[i] += 1;
        }
        if i + z[i] > right {
            (left, right) = (i, i + z[i]);
        }
    }
    z
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_and_on_is_a_loop() {
        for text in [
            "La capitale de la France est Paris. ".repeat(6),
            format!("Paris is the capital. {}", "It is a city. ".repeat(9)),
            "\u{6211}\u{662f}\u{4e00}\u{4e2a}\u{52a9}\u{624b}\u{3002}".repeat(5),
            (1..30)
                .map(|i| format!("{i}. The capital of France is Paris\n"))
                .collect(),
            "I am a model. I am a model. I am a model. I am a model. I am a mo".to_owned(),
        ] {
            assert!(ends_in_a_loop(&text), "{text}");
        }
    }

    #[test]
    fn what_only_looks_alike_is_none() {
        for text in [
            String::new(),
            "4".to_owned(),
            "ha ha ha ha".to_owned(),
            "Paris. ".repeat(3),
            "0.3333333333333333333333333333333333333333".to_owned(),
            "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n| 5 | 6 |\n| 7 | 8 |\n".to_owned(),
            (1..13).map(|i| format!("{i} x 7 = {}\n", 7 * i)).collect(),
            "def f(n):\n    if n < 2:\n        return n\n    return f(n - 1) + f(n - 2)".to_owned(),
            format!(
                "{} {}",
                "A long explanation of many different things. ".repeat(1),
                "no no no no no"
            ),
        ] {
            assert!(!ends_in_a_loop(&text), "{text}");
        }
    }
}
