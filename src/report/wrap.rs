//! Coloured text in lines of the terminal's width, Chinese and English.

use super::style::{Style, Tone};
use crate::text::{display_width, is_cjk};

/// The spans in lines of `style.width` columns, the first after `lead`, the others indented as far.
/// Breaks stand after blanks and around CJK characters, or anywhere in a word that is wider than a
/// line. Every line ends with a line end and carries its own colours, so that a pager can cut.
pub(super) fn wrapped(lead: &str, spans: &[(Tone, String)], style: Style) -> String {
    wrapped_in(usize::MAX, lead, spans, style)
}

/// As [`wrapped`], in at most so many lines; a mark stands for what is left out.
pub(super) fn wrapped_in(
    most: usize,
    lead: &str,
    spans: &[(Tone, String)],
    style: Style,
) -> String {
    let indent = text_width(lead).min(style.width / 2);
    let room = style.width.saturating_sub(indent).max(10);
    let mut lines = broken(spans, room);
    if lines.len() > most {
        lines.truncate(most);
        if let Some(line) = lines.last_mut() {
            shorten(line, room, style);
        }
    }
    let mut out = String::new();
    for (i, mut line) in lines.into_iter().enumerate() {
        if let Some((_, text)) = line.last_mut() {
            text.truncate(text.trim_end_matches(' ').len());
        }
        let text: String = line
            .iter()
            .map(|(tone, text)| style.paint(*tone, text))
            .collect();
        let lead = if i == 0 {
            lead.to_string()
        } else {
            " ".repeat(indent)
        };
        out.push_str(if text.is_empty() {
            lead.trim_end()
        } else {
            &lead
        });
        out.push_str(&text);
        out.push('\n');
    }
    out
}

/// The spans in lines of at most `room` columns.
fn broken(spans: &[(Tone, String)], room: usize) -> Vec<Vec<(Tone, String)>> {
    let mut lines: Vec<Vec<(Tone, String)>> = vec![Vec::new()];
    let mut used = 0;
    for (tone, piece) in spans
        .iter()
        .flat_map(|(tone, text)| pieces(text).map(|p| (*tone, p)))
    {
        if piece == "\n" {
            lines.push(Vec::new());
            used = 0;
            continue;
        }
        let width = text_width(piece.trim_end_matches(' '));
        if used > 0 && used + width > room {
            lines.push(Vec::new());
            used = 0;
        }
        for part in cut(piece, room) {
            if used > 0 && used + text_width(part.trim_end_matches(' ')) > room {
                lines.push(Vec::new());
                used = 0;
            }
            used += text_width(part);
            if let Some(line) = lines.last_mut() {
                match line.last_mut() {
                    Some((last, text)) if *last == tone => text.push_str(part),
                    _ => line.push((tone, part.to_string())),
                }
            }
        }
    }
    lines
}

/// Puts the mark of what is left out behind a line, which stays within `room` columns.
fn shorten(line: &mut Vec<(Tone, String)>, room: usize, style: Style) {
    let mark = style.left_out();
    let mut left = room.saturating_sub(text_width(mark));
    for (_, text) in line.iter_mut() {
        let kept = leading(text, left);
        left -= text_width(kept);
        text.truncate(kept.len());
    }
    line.retain(|(_, text)| !text.is_empty());
    match line.last_mut() {
        Some((_, text)) => {
            text.truncate(text.trim_end().len());
            text.push_str(mark);
        }
        None => line.push((Tone::Plain, mark.to_owned())),
    }
}

/// As much of a text's beginning as fits into so many columns.
fn leading(text: &str, columns: usize) -> &str {
    let mut used = 0;
    let end = text.char_indices().find(|(_, c)| {
        used += display_width(*c);
        used > columns
    });
    &text[..end.map_or(text.len(), |(at, _)| at)]
}

/// A text of one line in at most so many columns; a mark stands for what is left out.
pub(super) fn clipped(text: &str, columns: usize, style: Style) -> String {
    if text_width(text) <= columns {
        return text.to_owned();
    }
    let mark = style.left_out();
    let kept = leading(text, columns.saturating_sub(text_width(mark)));
    format!("{}{mark}", kept.trim_end())
}

/// A text with blanks behind it to this width.
pub(super) fn padded(text: &str, columns: usize) -> String {
    let blanks = columns.saturating_sub(text_width(text));
    format!("{text}{}", " ".repeat(blanks))
}

/// Columns that a text takes; a tab takes what [`cut`] writes for it.
pub(super) fn text_width(text: &str) -> usize {
    text.chars().map(display_width).sum()
}

/// A text in pieces that may not be broken: words with the blanks after them, CJK characters, and
/// line ends.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let mut end = rest.len();
        if first == '\n' {
            end = 1;
        } else {
            let mut blank = first == ' ';
            for (at, c) in rest.char_indices().skip(1) {
                if c == '\n' || (blank && c != ' ') || is_cjk(c) || (is_cjk(first) && c != ' ') {
                    end = at;
                    break;
                }
                blank |= c == ' ';
            }
        }
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}

/// A piece in parts that fit into `room` columns.
fn cut(piece: &str, room: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut used) = (0, 0);
    for (at, c) in piece.char_indices() {
        let width = display_width(c);
        if used + width > room && c != ' ' {
            parts.push(&piece[start..at]);
            (start, used) = (at, 0);
        }
        used += width;
    }
    parts.push(&piece[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(lead: &str, text: &str, width: usize) -> String {
        wrapped(
            lead,
            &[(Tone::Plain, text.to_string())],
            Style::plain(width),
        )
    }

    #[test]
    fn lines_break_between_words_and_keep_the_indent() {
        insta::assert_snapshot!(plain("  note  ", "A function that calls itself is recursive.\nIt needs an end.", 40), @"
        note  A function that calls itself is
              recursive.
              It needs an end.
        ");
    }

    #[test]
    fn chinese_breaks_between_characters() {
        let text =
            "递归是一个函数调用自身的方法,例如阶乘。Python 里写 def f(n) 即可,别忘了终止条件。";
        let lines = plain("基础  ", text, 40);
        assert!(lines.lines().all(|line| text_width(line) <= 40), "{lines}");
        assert_eq!(
            lines.replace(['\n', ' '], ""),
            format!("基础{text}").replace(' ', "")
        );
        insta::assert_snapshot!(lines, @"
        基础  递归是一个函数调用自身的方法,例如
              阶乘。Python 里写 def f(n) 即可,别
              忘了终止条件。
        ");
    }

    #[test]
    fn a_word_wider_than_the_line_is_cut() {
        let lines = plain("> ", &"x".repeat(90), 40);
        assert_eq!(
            lines.lines().map(str::len).collect::<Vec<_>>(),
            [40, 40, 16]
        );
    }

    #[test]
    fn no_line_is_too_wide_and_nothing_is_lost() {
        let text = "a bb  ccc 中文字 dddd\n\n  e ".repeat(12) + &"长".repeat(70);
        for width in 40..60 {
            let lines = plain("lead ", &text, width);
            assert!(
                lines.lines().all(|line| text_width(line) <= width),
                "{width}: {lines}"
            );
            let kept: String = lines.chars().filter(|c| !c.is_whitespace()).collect();
            let sent: String = text.chars().filter(|c| !c.is_whitespace()).collect();
            assert_eq!(kept, format!("lead{sent}"));
        }
    }

    #[test]
    fn what_is_left_out_is_marked_and_stays_within_its_columns() {
        let text = "递归是函数 that calls itself, and it needs an end. ".repeat(6);
        for width in 40..50 {
            for (ascii, mark) in [(false, "…"), (true, "...")] {
                let style = Style {
                    ascii,
                    ..Style::plain(width)
                };
                let lines = wrapped_in(2, "lead ", &[(Tone::Plain, text.clone())], style);
                assert_eq!(lines.lines().count(), 2);
                assert!(lines.ends_with(&format!("{mark}\n")), "{lines}");
                assert!(lines.lines().all(|line| text_width(line) <= width));
                let line = clipped(&text, width, style);
                assert!(line.ends_with(mark) && text_width(&line) <= width, "{line}");
            }
        }
        let style = Style::plain(80);
        assert_eq!(clipped("递归", 4, style), "递归");
        assert_eq!(clipped("递归是", 5, style), "递归…");
        assert_eq!(
            wrapped_in(1, "", &[(Tone::Plain, "it fits".into())], style),
            "it fits\n"
        );
        assert_eq!(
            (padded("递归", 6), padded("long", 2)),
            ("递归  ".into(), "long".into())
        );
    }

    #[test]
    fn each_line_carries_its_own_colours() {
        let style = Style {
            color: true,
            ..Style::plain(40)
        };
        let spans = [
            (Tone::Plain, "kept ".to_string()),
            (Tone::Bad, "lost ".repeat(12)),
        ];
        let lines = wrapped("", &spans, style);
        assert_eq!(lines.lines().count(), 2);
        assert!(
            lines
                .lines()
                .all(|l| l.contains("\u{1b}[31mlost") && l.ends_with("\u{1b}[0m"))
        );
    }
}
