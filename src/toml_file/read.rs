//! From the bytes of a file to what stands in it, every mistake noted on the way.

use std::borrow::Cow;

use toml::de::DeTable;

use crate::file_text::{NotTextKind, decode};

use super::mistake::{Issue, Mistake};
use super::place::{Lines, Place};
use super::table::{Notes, Table};

/// What was read of a file.
#[derive(Debug)]
pub struct Read<T> {
    /// `None` for a file that is no TOML: what could be rescued of it would only repeat its
    /// mistakes.
    pub value: Option<T>,
    /// In no order.
    pub mistakes: Vec<Issue<Mistake>>,
}

/// The text of a file, as [`decode`] reads every file.
///
/// # Errors
/// Bytes that are no UTF-8.
pub fn text<'b>(file: &str, bytes: &'b [u8]) -> Result<Cow<'b, str>, Box<(Place, Mistake)>> {
    decode(bytes).map_err(|problem| {
        let way_out = problem.way_out(file);
        let what = problem.problem();
        let place = match problem.kind {
            NotTextKind::Known { .. } => Place::file(file),
            NotTextKind::Encoding { offset, .. } => {
                // Everything before the first wrong byte is the same in the lossy text.
                let shown = String::from_utf8_lossy(bytes);
                Place::at(file, &shown, &(offset..offset + '\u{FFFD}'.len_utf8()))
            }
        };
        Box::new((place, Mistake::NotText { what, way_out }))
    })
}

/// Reads a file's text. `top` names its top table in messages; `foreign` are keys of other
/// programs, each with what to write here instead.
pub fn read<T>(
    text: &str,
    top: &str,
    foreign: &'static [(&'static str, &'static str)],
    keys: impl FnOnce(Table<'_, '_>) -> T,
) -> Read<T> {
    let (tree, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let syntax = errors.iter().map(|error| {
            let message = error.message().replace('\n', ", ");
            (error.span().unwrap_or(0..0), Mistake::Syntax(message))
        });
        return Read {
            value: None,
            mistakes: syntax.collect(),
        };
    }
    let mut notes = Notes::new(foreign);
    let value = keys(Table::top(top, &tree, &mut notes));
    Read {
        value: Some(value),
        mistakes: notes.mistakes,
    }
}

/// Issues in the order of a file, each with its place.
pub fn in_order<K>(
    file: &str,
    text: &str,
    mut issues: Vec<Issue<K>>,
) -> impl Iterator<Item = (Place, K)> {
    issues.sort_by_key(|(span, _)| span.start);
    let lines = Lines::of(text);
    issues
        .into_iter()
        .map(move |(span, kind)| (Place::among(&lines, file, text, &span), kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every mistake of a file with one key, `name`.
    fn mistakes(bytes: &[u8]) -> Vec<(usize, usize, String)> {
        let of =
            |(place, mistake): (Place, Mistake)| (place.line, place.column, mistake.to_string());
        match text("f.toml", bytes) {
            Err(error) => vec![of(*error)],
            Ok(text) => {
                let read = read(&text, "f.toml", &[], |mut top| {
                    top.string("name");
                    top.finish();
                });
                in_order("f.toml", &text, read.mistakes).map(of).collect()
            }
        }
    }

    #[test]
    fn byte_order_mark_and_windows_line_ends_move_nothing() {
        assert_eq!(mistakes(b"\xEF\xBB\xBFname = \"x\"\r\n"), []);
        let found = mistakes(b"\xEF\xBB\xBFnmae = 1\r\nname = 3\r\n");
        let places: Vec<(usize, usize)> = found
            .iter()
            .map(|(line, column, _)| (*line, *column))
            .collect();
        assert_eq!(places, [(1, 1), (2, 8)]);
    }

    #[test]
    fn bytes_that_are_no_utf8_have_their_place() {
        let found = mistakes(b"a = 1\r\nb = \"caf\xe9\"\r\n");
        assert_eq!((found[0].0, found[0].1), (2, 9));
        insta::assert_snapshot!(found[0].2, @r#"not UTF-8: the byte at offset 15 (0xe9) belongs to no character; as WINDOWS-1252 it reads `b = "café"`"#);
    }

    #[test]
    fn broken_toml_is_told_alone_and_whole() {
        let found = mistakes(b"a = \nunknown = 1\nunknown = 2\n[b\n");
        let places: Vec<(usize, usize)> = found
            .iter()
            .map(|(line, column, _)| (*line, *column))
            .collect();
        assert_eq!(places, [(1, 5), (3, 1), (4, 3)], "{found:?}");
    }

    #[test]
    fn mistake_at_the_end_of_the_file_is_shown_on_its_last_line() {
        for text in ["name = [1,", "name = [1,\n", "name = [1,\r\n"] {
            let found = mistakes(text.as_bytes());
            assert_eq!((found[0].0, found[0].1), (1, 11), "{text:?}: {found:?}");
        }
    }

    #[test]
    fn empty_file_has_no_mistakes() {
        assert_eq!(mistakes(b""), []);
        assert_eq!(mistakes(b"\xEF\xBB\xBF\r\n"), []);
    }
}
