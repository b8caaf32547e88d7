//! A place in a text file, and its line with carets beneath.

use std::fmt;
use std::ops::Range;

use crate::text::{display_width, steers};

/// Most columns of a line that are shown; a longer line is cut around the place.
const SHOWN_COLUMNS: usize = 96;

/// Where something stands in a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// The file as the user named it.
    pub file: String,
    /// Line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The line's text.
    pub source: String,
    /// Length in characters of what is meant, within the line; at least 1.
    pub length: usize,
}

impl Place {
    /// The file as a whole.
    pub fn file(file: &str) -> Self {
        Place {
            file: file.to_owned(),
            ..Place::default()
        }
    }

    /// The place of a byte range of the file's text. What is missing at the end of the file is
    /// missing after its last line with text.
    pub fn at(file: &str, text: &str, span: &Range<usize>) -> Self {
        Self::among(&Lines::of(text), file, text, span)
    }

    /// As [`Place::at`], for one of many places of a text.
    pub fn among(lines: &Lines, file: &str, text: &str, span: &Range<usize>) -> Self {
        let start = floor(text, span.start);
        let start = match text.get(lines.start_of(start)..) {
            Some(last) if last.trim().is_empty() && !text.trim().is_empty() => {
                start.min(text.trim_end().len())
            }
            _ => start,
        };
        let line_start = lines.start_of(start);
        let source = text[line_start..].lines().next().unwrap_or_default();
        let line_end = line_start + source.len();
        let end = floor(text, span.end).min(line_end).max(start);
        Place {
            file: file.to_owned(),
            line: lines.number_of(start),
            column: text[line_start..start].chars().count() + 1,
            source: source.to_owned(),
            length: text[start..end].chars().count().max(1),
        }
    }

    /// The line and one of carets under the place, each with a line break before it; nothing for
    /// the file as a whole.
    pub fn excerpt(&self) -> String {
        if self.line == 0 {
            return String::new();
        }
        let chars: Vec<char> = self.source.chars().map(shown).collect();
        let at = self.column.saturating_sub(1).min(chars.len());
        let (from, to) = window(&chars, at);
        let lead = if from > 0 { "…" } else { "" };
        let trail = if to < chars.len() { "…" } else { "" };
        let line: String = chars[from..to].iter().collect();
        let before = columns(&chars[from..at]) + lead.chars().count();
        let marked = columns(&chars[at..to.min(at + self.length).max(at)]).max(1);
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        format!(
            "\n{}\n  {margin} | {}{}",
            format!("  {number} | {lead}{line}{trail}").trim_end(),
            " ".repeat(before),
            "^".repeat(marked)
        )
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}:{}", self.file, self.column),
        }
    }
}

/// The boundary of characters at or before an offset.
fn floor(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

/// Where the lines of a text begin, so that the place of each of many mistakes is found without
/// reading the text again.
#[derive(Debug)]
pub struct Lines(Vec<usize>);

impl Lines {
    /// Those of a text.
    pub fn of(text: &str) -> Self {
        let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Lines(std::iter::once(0).chain(breaks).collect())
    }

    /// The number, from 1, of the line that an offset is in.
    fn number_of(&self, offset: usize) -> usize {
        self.0.partition_point(|start| *start <= offset)
    }

    fn start_of(&self, offset: usize) -> usize {
        self.0[self.number_of(offset) - 1]
    }
}

/// A character as a line of a terminal can show it: what would move the cursor or turn the
/// direction of writing is a blank, one column like the caret's.
fn shown(c: char) -> char {
    match steers(c) || c.is_control() {
        true => ' ',
        false => c,
    }
}

fn columns(chars: &[char]) -> usize {
    chars.iter().map(|c| display_width(*c)).sum()
}

/// The characters that are shown of a line, with the one at `at` among them.
fn window(chars: &[char], at: usize) -> (usize, usize) {
    if columns(chars) <= SHOWN_COLUMNS {
        return (0, chars.len());
    }
    let fitting = |chars: &mut dyn Iterator<Item = &char>, most: usize| {
        let mut width = 0;
        chars
            .take_while(|c| {
                width += display_width(**c);
                width <= most
            })
            .count()
    };
    let from = at - fitting(&mut chars[..at].iter().rev(), SHOWN_COLUMNS / 3);
    (
        from,
        from + fitting(&mut chars[from..].iter(), SHOWN_COLUMNS),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The place of the first `part` of a text.
    fn of(text: &str, part: &str) -> Place {
        let start = text.find(part).unwrap();
        Place::at("f.toml", text, &(start..start + part.len()))
    }

    fn shown(text: &str, part: &str) -> String {
        let place = of(text, part);
        format!("{place}{}", place.excerpt())
    }

    #[test]
    fn caret_stands_under_wide_characters_and_after_tabs() {
        insta::assert_snapshot!(shown("a = 1\nn =\t[\"三亚\", \"e\u{301}\", 北京]", "北京"), @r#"
        f.toml:2:18
          2 | n = ["三亚", "é", 北京]
            |                   ^^^^
        "#);
    }

    #[test]
    fn windows_line_ends_are_no_part_of_a_line() {
        let place = of("a = 1\r\nb = x\r\nc = 2\r\n", "x\r\nc");
        assert_eq!((place.line, place.column, place.length), (2, 5, 1));
        assert_eq!(place.source, "b = x");
    }

    #[test]
    fn what_is_missing_at_the_end_is_missing_after_the_last_text() {
        for text in ["a = [1,", "a = [1,\n", "a = [1,\r\n\r\n  \n"] {
            let place = Place::at("f.toml", text, &(text.len()..text.len()));
            assert_eq!((place.line, place.column, place.length), (1, 8, 1));
            assert_eq!(place.source, "a = [1,", "{text:?}");
        }
        // Not so in the middle of a file.
        let place = Place::at("f.toml", "a\n\nb", &(2..2));
        assert_eq!((place.line, place.column), (2, 1));
    }

    #[test]
    fn empty_file_has_a_place() {
        for text in ["", "\n", " \r\n"] {
            let place = Place::at("f.toml", text, &(0..0));
            assert_eq!((place.line, place.column, place.length), (1, 1, 1));
            assert_eq!(place.excerpt(), "\n  1 |\n    | ^", "{text:?}");
        }
    }

    #[test]
    fn offsets_that_split_a_character_or_leave_the_text_are_moved() {
        let place = Place::at("f.toml", "三亚", &(1..4));
        assert_eq!((place.column, place.length), (1, 1));
        let place = Place::at("f.toml", "三亚", &(40..50));
        assert_eq!((place.column, place.length), (3, 1));
    }

    #[test]
    fn file_as_a_whole_has_no_line() {
        let place = Place::file("f.toml");
        assert_eq!(place.to_string() + &place.excerpt(), "f.toml");
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let line = format!("a = \"{}X{}\"", "一".repeat(200), "b".repeat(200));
        let place = of(&line, "X");
        let excerpt = place.excerpt();
        let mut lines = excerpt.lines().skip(1);
        let (line, carets) = (lines.next().unwrap(), lines.next().unwrap());
        let column = |text: &str, wanted: char| {
            let before: Vec<char> = text.chars().take_while(|c| *c != wanted).collect();
            columns(&before)
        };
        assert_eq!(column(line, 'X'), column(carets, '^'));
        assert!(line.contains('…') && line.ends_with('…'));
        assert!(columns(&line.chars().collect::<Vec<_>>()) <= SHOWN_COLUMNS + 8);
        // Carets end where the line does.
        assert!(of(&line.repeat(9), "一").excerpt().lines().count() == 3);
    }

    #[test]
    fn characters_that_move_the_cursor_are_blanks() {
        let text = "a\tb\u{1b}[31m \u{202e}x = 1";
        let place = of(text, "x");
        assert_eq!(
            place.excerpt(),
            "\n  1 | a b [31m  x = 1\n    |           ^"
        );
    }
}
