//! Text that is broken into lines while it comes: a word is held back until it is known to fit.

use crate::text::{display_width, is_cjk};

/// Breaks a text that comes in pieces between words, and around CJK characters.
#[derive(Debug, Default)]
pub(super) struct Flowing {
    /// Columns of a line; `None` breaks nothing and holds nothing back.
    width: Option<usize>,
    /// Columns used of the line under way.
    column: usize,
    /// The word under way.
    word: String,
}

impl Flowing {
    /// Lines of so many columns; `None` leaves them to the reader.
    pub fn new(width: Option<usize>) -> Self {
        Flowing {
            width,
            ..Flowing::default()
        }
    }

    /// More text; what can be shown of it now.
    pub fn push(&mut self, text: &str) -> String {
        let Some(width) = self.width else {
            return text.to_owned();
        };
        let mut out = String::new();
        for c in text.chars() {
            match c {
                '\n' => {
                    out += &self.finish();
                    out.push(c);
                    self.column = 0;
                }
                // A blank at the end of a full line is not seen.
                ' ' => {
                    out += &self.finish();
                    if self.column < width {
                        out.push(c);
                        self.column += 1;
                    }
                }
                c if is_cjk(c) => {
                    out += &self.finish();
                    self.word.push(c);
                    out += &self.finish();
                }
                c => self.word.push(c),
            }
        }
        out
    }

    /// The word under way, which nothing follows on its line.
    pub fn finish(&mut self) -> String {
        let word = std::mem::take(&mut self.word);
        let Some(width) = self.width.filter(|_| !word.is_empty()) else {
            return word;
        };
        let columns: usize = word.chars().map(display_width).sum();
        let breaks = self.column > 0 && self.column + columns > width;
        let start = if breaks { 0 } else { self.column };
        // The terminal breaks a word that is wider than a line.
        self.column = match start + columns {
            end if end > width => end % width,
            end => end,
        };
        format!("{}{word}", if breaks { "\n" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text that comes in pieces of so many characters.
    fn flown(text: &str, width: usize, at_once: usize) -> String {
        let mut flowing = Flowing::new(Some(width));
        let chars: Vec<char> = text.chars().collect();
        let pieces = chars
            .chunks(at_once)
            .map(|piece| piece.iter().collect::<String>());
        let shown: String = pieces.map(|piece| flowing.push(&piece)).collect();
        shown + &flowing.finish()
    }

    #[test]
    fn lines_are_broken_between_words_whatever_the_pieces() {
        let text = "Recursion is a function that calls itself.\n\n    def f(x):\n递归是函数调用自身的方法,like 5! = 120 或斐波那契数列。";
        let whole = flown(text, 24, 1000);
        for at_once in [1, 2, 7] {
            assert_eq!(flown(text, 24, at_once), whole);
        }
        for line in whole.lines() {
            let columns: usize = line.trim_end().chars().map(display_width).sum();
            assert!(columns <= 24, "{line}");
        }
        let all = |text: &str| -> String { text.chars().filter(|c| !c.is_whitespace()).collect() };
        assert_eq!(all(&whole), all(text), "nothing is lost");
        let shown: Vec<&str> = whole.lines().map(str::trim_end).collect();
        insta::assert_snapshot!(shown.join("\n"), @"
        Recursion is a function
        that calls itself.

            def f(x):
        递归是函数调用自身的方法
        ,like 5! = 120 或斐波那
        契数列。
        ");
    }

    #[test]
    fn a_word_is_shown_when_it_is_known_to_fit() {
        let mut flowing = Flowing::new(Some(10));
        let shown: Vec<String> = ["Hel", "lo wor", "ld, a", "gain", "\n"]
            .iter()
            .map(|piece| flowing.push(piece))
            .collect();
        assert_eq!(shown, ["", "Hello ", "\nworld, ", "", "\nagain\n"]);
        let mut plain = Flowing::new(None);
        assert_eq!(plain.push("Hel") + &plain.finish(), "Hel");
    }
}
