//! Coloured text in lines of the terminal's width, Chinese and English.

use super::style::{Style, Tone};
use crate::text::{display_width, is_cjk};

/// The spans in lines of `style.width` columns, the first after `lead`, the others indented as far.
/// Breaks stand after blanks and around CJK characters, or anywhere in a word that is wider than a
/// line. Every line ends with a line end and carries its own colours, so that a pager can cut.
pub(super) fn wrapped(lead: &str, spans: &[(Tone, String)], style: Style) -> String {
    let indent = text_width(lead).min(style.width / 2);
    let room = style.width.saturating_sub(indent).max(10);
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
    fn each_line_carries_its_own_colours() {
        let style = Style {
            color: true,
            width: 40,
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
