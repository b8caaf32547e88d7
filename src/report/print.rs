//! Writing a finished report to standard output.
//!
//! A report names files, folders, models, and keys of data rows, and any of them may hold what
//! steers a terminal. Nothing that steers gets past here but the choice of colours, and that only
//! where the report is painted itself.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::text::harmless;

/// Writes the text and flushes it; `color` says whether it was painted.
///
/// # Errors
/// What standard output says, except a closed pipe: a reader that has seen enough (`| head`) is no
/// failure.
pub fn print(text: &str, color: bool) -> io::Result<()> {
    let text = shown(text, color);
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// The text without what steers, but for colours where it was painted.
fn shown(text: &str, color: bool) -> Cow<'_, str> {
    if !color || !text.contains('\u{1b}') {
        return harmless(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\u{1b}') {
        shown += &harmless(&rest[..at]);
        let (painted, after) = rest[at..].split_at(colour_code(&rest[at..]).unwrap_or(0));
        shown += painted;
        rest = match painted.is_empty() {
            true => {
                shown.push('\u{fffd}');
                &after['\u{1b}'.len_utf8()..]
            }
            false => after,
        };
    }
    shown += &harmless(rest);
    Cow::Owned(shown)
}

/// Length of the code that a text begins with, if it chooses colours and nothing else:
/// `ESC [ 1 ; 31 m`.
fn colour_code(text: &str) -> Option<usize> {
    let numbers = text.strip_prefix("\u{1b}[")?;
    let end = numbers.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    numbers[end..].starts_with('m').then_some(2 + end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Style;
    use crate::report::style::Tone;

    #[test]
    fn nothing_but_colours_reaches_a_terminal() {
        let style = Style {
            color: true,
            ..Style::plain(80)
        };
        let painted = style.paint(Tone::Bad, "lost");
        assert_eq!(shown(&painted, true), painted);
        let name = "a\u{1b}]0;title\u{7}\u{1b}[2Jb\u{202e}c\u{1b}";
        let safe = "a\u{fffd}]0;title\u{fffd}\u{fffd}[2Jb\u{fffd}c\u{fffd}";
        assert_eq!(
            shown(&format!("{painted} {name}"), true),
            format!("{painted} {safe}")
        );
        assert_eq!(shown(name, false), safe);
        assert_eq!(shown(&painted, false), "\u{fffd}[31mlost\u{fffd}[0m");
    }
}
