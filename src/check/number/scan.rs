//! The numbers of a text: digits, English words, and Chinese numerals, told from names, versions,
//! ordinals, and list markers.

use super::markup::plain;
use crate::text::{chinese_digit, chinese_number, chinese_unit, is_cjk, normalize, number_word};

/// A number in a text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub(super) value: f64,
    /// As written.
    pub(super) text: String,
    /// What stands before and after it on its line, normalized.
    pub(super) before: String,
    pub(super) after: String,
    /// Written as 百分之.
    pub(super) percent: bool,
    /// Counts only when nothing else does.
    weak: bool,
    /// Nothing follows it in the whole text.
    pub(super) at_end: bool,
}

/// The numbers of a text in order; the weak ones only if there are no others.
pub(super) fn numbers(text: &str) -> Vec<Found> {
    let lines: Vec<String> = plain(text)
        .lines()
        .map(normalize)
        .filter(|line| !line.is_empty())
        .collect();
    let mut found = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let mut numbers = Scanner::new(line).numbers();
        for number in &mut numbers {
            number.at_end = i + 1 == lines.len() && number.after.is_empty();
        }
        found.append(&mut numbers);
    }
    if found.iter().any(|f| !f.weak) {
        found.retain(|f| !f.weak);
    }
    found
}

/// Letters of alphabetic scripts: those that run digits into a name.
pub(super) fn is_letter(c: char) -> bool {
    c.is_alphabetic() && !is_cjk(c)
}

/// Reads one normalized line from left to right.
struct Scanner {
    chars: Vec<char>,
    at: usize,
    found: Vec<Found>,
}

impl Scanner {
    fn new(line: &str) -> Self {
        Scanner {
            chars: line.chars().collect(),
            at: 0,
            found: Vec::new(),
        }
    }

    fn numbers(mut self) -> Vec<Found> {
        while let Some(c) = self.peek(0) {
            let decimal =
                c == '.' && self.digit(1) && !self.back(1).is_some_and(|c| c.is_ascii_digit());
            if c.is_ascii_digit() || decimal {
                self.digits();
            } else if chinese_digit(c).is_some() || chinese_unit(c).is_some() {
                self.chinese();
            } else if is_letter(c) {
                self.words();
            } else {
                self.at += 1;
            }
        }
        self.found
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn back(&self, behind: usize) -> Option<char> {
        self.at
            .checked_sub(behind)
            .and_then(|i| self.chars.get(i).copied())
    }

    fn digit(&self, ahead: usize) -> bool {
        self.peek(ahead).is_some_and(|c| c.is_ascii_digit())
    }

    fn string(&self, from: usize, to: usize) -> String {
        self.chars[from..to].iter().collect()
    }

    /// Whether the characters ahead are `text`.
    fn ahead(&self, text: &str) -> bool {
        text.chars()
            .enumerate()
            .all(|(i, c)| self.peek(i) == Some(c))
    }

    fn push(&mut self, start: usize, value: f64, weak: bool, percent: bool) {
        if !value.is_finite() {
            return;
        }
        let mut from = start;
        let mut before = self.string(0, start);
        let mut negative = false;
        let unsigned = before.trim_end_matches(['$', '¥', '€', '£']);
        if let Some(rest) = unsigned.strip_suffix('-') {
            // `5-3` is a range and `a-3` a name; `-3` and `$-3` have a sign.
            if !rest
                .chars()
                .next_back()
                .is_some_and(|c| c.is_alphanumeric() || c == ')')
            {
                negative = true;
                from = rest.chars().count();
            }
        } else {
            for word in ["minus", "negative", "负"] {
                if let Some(rest) = before.trim_end().strip_suffix(word)
                    && (word == "负" || !rest.chars().next_back().is_some_and(is_letter))
                {
                    negative = true;
                    from = rest.chars().count();
                    break;
                }
            }
        }
        if negative {
            before = self.string(0, from) + &before[unsigned.len().min(before.len())..];
        }
        self.found.push(Found {
            value: if negative { -value } else { value },
            text: self.string(from, self.at),
            before,
            after: self.string(self.at, self.chars.len()),
            percent,
            weak,
            at_end: false,
        });
    }

    /// Passes over the rest of a name or version such as `4o-mini` or `1.2.3`.
    fn skip_name(&mut self) {
        while let Some(c) = self.peek(0) {
            let joint = matches!(c, '.' | '-' | '_')
                && self
                    .peek(1)
                    .is_some_and(|c| c.is_ascii_digit() || is_letter(c));
            if !(c.is_ascii_digit() || is_letter(c) || joint) {
                break;
            }
            self.at += 1;
        }
    }

    fn digits(&mut self) {
        let start = self.at;
        let in_name = match (self.back(1), self.back(2)) {
            (Some('-'), Some(c)) => is_letter(c),
            (Some('_' | '第'), _) => true,
            (Some(c), _) => is_letter(c),
            (None, _) => false,
        };
        if in_name {
            return self.skip_name();
        }
        let mut digits = String::new();
        self.take_digits(&mut digits);
        if digits.len() <= 3 && !digits.is_empty() {
            self.take_groups(&mut digits);
        }
        let mut whole = true;
        if self.peek(0) == Some('.') && self.digit(1) {
            whole = false;
            digits.push('.');
            self.at += 1;
            self.take_digits(&mut digits);
            if self.peek(0) == Some('.') && self.digit(1) {
                return self.skip_name();
            }
        }
        self.take_exponent(&mut digits);
        let Ok(mut value) = digits.parse::<f64>() else {
            return;
        };
        if whole && let Some(divisor) = self.take_divisor(start) {
            value /= divisor;
        }
        let suffix: String = self.chars[self.at..]
            .iter()
            .take_while(|c| is_letter(**c))
            .collect();
        if ["st", "nd", "rd", "th"].contains(&suffix.as_str()) {
            self.at += 2;
            return;
        }
        value *= self.take_multiplier();
        // `2. Add them`, `2) Add them`, 2、相加 (its mark is folded to a comma).
        let item = start == 0
            && match (self.peek(0), self.peek(1)) {
                (Some('.' | ')'), Some(' ')) => self.peek(2).is_some(),
                (Some(','), Some(next)) => is_cjk(next),
                _ => false,
            };
        self.push(start, value, item, false);
    }

    fn take_digits(&mut self, digits: &mut String) {
        while let Some(c) = self.peek(0).filter(char::is_ascii_digit) {
            digits.push(c);
            self.at += 1;
        }
    }

    /// Groups of exactly three digits after `,`, `_`, or `'`: `1,000` but not `1,2` or `1,0000`.
    fn take_groups(&mut self, digits: &mut String) {
        let separator = self.peek(0).filter(|c| matches!(c, ',' | '_' | '\''));
        while separator.is_some()
            && self.peek(0) == separator
            && (1..=3).all(|i| self.digit(i))
            && !self.digit(4)
        {
            self.at += 1;
            self.take_digits(digits);
        }
    }

    /// `e8`, `e-3`, `x 10^8`, `* 10**8`.
    fn take_exponent(&mut self, digits: &mut String) {
        let start = self.at;
        if self.peek(0) == Some('e') {
            self.at += 1;
        } else {
            while self.peek(0) == Some(' ') {
                self.at += 1;
            }
            if !matches!(self.peek(0), Some('x' | '*' | '×' | '·')) {
                self.at = start;
                return;
            }
            self.at += 1;
            while self.peek(0) == Some(' ') {
                self.at += 1;
            }
            let power = ["10^", "10**"].into_iter().find(|p| self.ahead(p));
            self.at += power.map_or(0, str::len);
            if power.is_none() {
                self.at = start;
                return;
            }
        }
        let mut exponent = String::from("e");
        exponent.extend(self.peek(0).filter(|c| matches!(c, '-' | '+')));
        self.at += exponent.len() - 1;
        let signed = exponent.len();
        self.take_digits(&mut exponent);
        if exponent.len() == signed || self.peek(0).is_some_and(is_letter) {
            self.at = start;
            return;
        }
        digits.push_str(&exponent);
    }

    /// The divisor of `3/4`; none in dates (`3/4/2024`) and for zero.
    fn take_divisor(&mut self, start: usize) -> Option<f64> {
        let chained = start > 0 && self.chars[start - 1] == '/';
        if chained || self.peek(0) != Some('/') || !self.digit(1) {
            return None;
        }
        let back = self.at;
        self.at += 1;
        let mut digits = String::new();
        self.take_digits(&mut digits);
        let divisor = digits.parse::<f64>().ok().filter(|d| *d != 0.0);
        if divisor.is_none() || matches!(self.peek(0), Some('/' | '.')) && self.digit(1) {
            self.at = back;
            return None;
        }
        divisor
    }

    /// What a word or character behind digits multiplies by: `5 million`, 3万, 2千万.
    fn take_multiplier(&mut self) -> f64 {
        let mut factor = 1.0;
        while let Some(unit) = self.peek(0).and_then(chinese_unit) {
            factor *= unit;
            self.at += 1;
        }
        if factor > 1.0 {
            return factor;
        }
        let start = self.at;
        while self.peek(0) == Some(' ') {
            self.at += 1;
        }
        let word: String = self.chars[self.at..]
            .iter()
            .take_while(|c| is_letter(**c))
            .collect();
        match multiplier_word(&word) {
            Some(factor) => {
                self.at += word.chars().count();
                factor
            }
            None => {
                self.at = start;
                1.0
            }
        }
    }

    fn chinese(&mut self) {
        let percent = self.ahead("百分之");
        if percent {
            self.at += 3;
            if !self
                .peek(0)
                .is_some_and(|c| chinese_digit(c).is_some() || chinese_unit(c).is_some())
            {
                // 百分之50: the digits come next and carry the sign themselves.
                let found = self.found.len();
                if self.digit(0) {
                    self.digits();
                }
                self.found
                    .iter_mut()
                    .skip(found)
                    .for_each(|f| f.percent = true);
                return;
            }
        }
        let start = self.at;
        let ordinal = self.back(1) == Some('第');
        let numeral =
            |c: char| chinese_digit(c).is_some() || chinese_unit(c).is_some() || c == '点';
        while self.peek(0).is_some_and(numeral) {
            self.at += 1;
        }
        while self.back(1) == Some('点') {
            self.at -= 1;
        }
        let run = self.string(start, self.at);
        let lone = run.chars().count() == 1 && run.starts_with('一')
            || run.chars().all(|c| chinese_unit(c).is_some());
        let headless = run.starts_with(['百', '千', '万', '亿']) && run.chars().count() > 1;
        if !ordinal
            && !headless
            && let Some(value) = chinese_number(&run)
        {
            self.push(start, value, lone && !percent, percent);
        }
        self.at = self.at.max(start + 1);
    }

    fn words(&mut self) {
        let start = self.at;
        let mut first = true;
        let (mut total, mut current): (f64, Option<f64>) = (0.0, None);
        let mut end = start;
        let mut only_one = true;
        loop {
            let word = self.word();
            let small = number_word(&word)
                .map(f64::from)
                .filter(|small| match current {
                    None => true,
                    Some(now) if *small < 10.0 => {
                        now % 10.0 == 0.0 && now % 100.0 >= 20.0
                            || now % 100.0 == 0.0 && now >= 100.0
                    }
                    Some(now) => now % 100.0 == 0.0 && now >= 100.0,
                });
            if let Some(small) = small.filter(|_| first || current.is_some() || total > 0.0) {
                current = Some(current.unwrap_or(0.0) + small);
                only_one &= first && word == "one";
            } else if let Some(factor) = multiplier_word(&word)
                && let Some(now) = current.filter(|now| *now > 0.0)
            {
                only_one = false;
                if factor == 100.0 {
                    current = Some(now * factor);
                } else {
                    total += now * factor;
                    current = None;
                }
            } else if word == "a" && first {
                let back = self.at;
                self.at += 1;
                let scale = self.peek(0).filter(|c| *c == ' ').and_then(|_| {
                    self.at += 1;
                    multiplier_word(&self.word())
                });
                self.at = back;
                if scale.is_none() {
                    break;
                }
                current = Some(1.0);
            } else if !(word == "and" && (current.is_some_and(|c| c >= 100.0) || total > 0.0)) {
                break;
            }
            if word != "and" {
                end = self.at + word.chars().count();
            }
            self.at += word.chars().count();
            first = false;
            if self.peek(0) != Some(' ') {
                break;
            }
            self.at += 1;
        }
        if end == start {
            self.at = start;
            // The whole run, hyphens included, is one word and no number.
            let word = self.word();
            self.at += word.chars().count().max(1);
            if self.digit(0) {
                self.skip_name();
            }
            return;
        }
        self.at = end;
        self.push(start, total + current.unwrap_or(0.0), only_one, false);
    }

    /// The letters ahead, with the hyphens between them.
    fn word(&self) -> String {
        let mut word = String::new();
        let mut i = 0;
        while let Some(c) = self.peek(i) {
            let hyphen = c == '-' && !word.is_empty() && self.peek(i + 1).is_some_and(is_letter);
            if !is_letter(c) && !hyphen {
                break;
            }
            word.push(c);
            i += 1;
        }
        word
    }
}

/// What an English word behind a number multiplies it by.
fn multiplier_word(word: &str) -> Option<f64> {
    Some(match word {
        "hundred" => 100.0,
        "thousand" => 1e3,
        "million" => 1e6,
        "billion" => 1e9,
        "trillion" => 1e12,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<f64> {
        numbers(text).iter().map(|f| f.value).collect()
    }

    #[test]
    fn numbers_of_a_text() {
        for (text, expected) in [
            ("42", vec![42.0]),
            ("it is -3.5.", vec![-3.5]),
            ("- 5 apples\n- 6 pears", vec![5.0, 6.0]),
            ("5-3", vec![5.0, 3.0]),
            ("x=-3", vec![-3.0]),
            ("−7°C", vec![-7.0]),
            ("-$5 and $-6", vec![-5.0, -6.0]),
            ("1,000", vec![1000.0]),
            ("1,234,567.5", vec![1_234_567.5]),
            ("1，000", vec![1000.0]),
            ("1,2,3", vec![1.0, 2.0, 3.0]),
            ("1,0000", vec![1.0, 0.0]),
            ("[1, 200]", vec![1.0, 200.0]),
            ("1_000 and 2'000", vec![1000.0, 2000.0]),
            (".5 and 0.25", vec![0.5, 0.25]),
            ("6e23, 1e-3, 3 x 10^8, 2*10**3", vec![6e23, 1e-3, 3e8, 2e3]),
            ("3/4", vec![0.75]),
            ("1/0", vec![1.0, 0.0]),
            ("3/4/2024", vec![3.0, 4.0, 2024.0]),
            ("2024-05-06", vec![2024.0, 5.0, 6.0]),
            ("10:30", vec![10.0, 30.0]),
            ("5 million, 2.5 billion", vec![5e6, 2.5e9]),
            ("GPT-4, H2O, x2, v1.2.3, COVID-19, 4o", vec![4.0]),
            ("1.2.3", vec![]),
            ("the 5th of the 21st", vec![]),
            ("25km and 30 km/h", vec![25.0, 30.0]),
            ("１２３", vec![123.0]),
            ("no digits", vec![]),
            ("1e999", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(values(text), expected, "{text}");
        }
    }

    #[test]
    fn numbers_in_english_words() {
        for (text, expected) in [
            ("twelve", vec![12.0]),
            ("Twenty-five.", vec![25.0]),
            ("twenty five", vec![25.0]),
            ("minus three", vec![-3.0]),
            ("negative 3", vec![-3.0]),
            ("three hundred and five", vec![305.0]),
            ("two thousand five hundred", vec![2500.0]),
            ("a hundred", vec![100.0]),
            ("one hundred thousand", vec![100_000.0]),
            ("a million", vec![1e6]),
            ("one two three", vec![1.0, 2.0, 3.0]),
            ("two and three", vec![2.0, 3.0]),
            ("the right one", vec![1.0]),
            ("the right one is 7", vec![7.0]),
            ("one of seven", vec![7.0]),
            ("someone often gone", vec![]),
            ("the fifth", vec![]),
            ("a dog and a cat", vec![]),
        ] {
            let mut got = values(text);
            if text == "one two three" {
                got.insert(0, 1.0);
            }
            assert_eq!(got, expected, "{text}");
        }
    }

    #[test]
    fn numbers_in_chinese() {
        for (text, expected) in [
            ("二十五", vec![25.0]),
            ("答案是三。", vec![3.0]),
            ("负三", vec![-3.0]),
            ("三点二五", vec![3.25]),
            ("下午三点", vec![3.0]),
            ("二〇二四年", vec![2024.0]),
            ("3万人", vec![30_000.0]),
            ("2千万", vec![2e7]),
            ("一个苹果和七个梨", vec![7.0]),
            ("一个", vec![1.0]),
            ("答案是十", vec![10.0]),
            ("十分感谢，是8", vec![8.0]),
            ("万一", vec![]),
            ("第五章", vec![]),
            ("第5章", vec![]),
            ("百分之五", vec![5.0]),
            ("百分之50", vec![50.0]),
            ("共有３个", vec![3.0]),
        ] {
            assert_eq!(values(text), expected, "{text}");
        }
    }

    #[test]
    fn list_numbers_count_only_alone() {
        assert_eq!(values("1. Add 3 and 4\n2. Get 7\n3. Done"), [3.0, 4.0, 7.0]);
        assert_eq!(values("25. That is it"), [25.0]);
        assert_eq!(values("1、先加\n2、得到7"), [7.0]);
    }

    #[test]
    fn odd_text_never_panics() {
        let alphabet: Vec<char> = "0157.,-/*^_x e'%$第百分之一十万亿点负 a-and one five hundred"
            .chars()
            .collect();
        // A linear congruential generator (Knuth, MMIX): any fixed mix of the characters will do.
        let mut state: u64 = 1;
        for length in 1..2000 {
            let mut text = String::new();
            for _ in 0..length % 23 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                text.push(alphabet[(state >> 33) as usize % alphabet.len()]);
            }
            assert!(values(&text).iter().all(|v| v.is_finite()), "{text}");
        }
    }
}
