//! Colours, widths, and rounding of everything that people read.

use std::io::IsTerminal;

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, TableStyle, presets};
use serde::{Deserialize, Serialize};

use crate::flow::Estimate;
use crate::text::harmless;

/// Width of a report that nobody's terminal limits.
const USUAL_WIDTH: usize = 100;
/// Below this, tables are unreadable whatever is done.
const LEAST_WIDTH: usize = 40;

/// How to write for the reader at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Write ANSI colours.
    pub color: bool,
    /// Columns of the terminal.
    pub width: usize,
    /// Draw with the characters of ASCII: the terminal shows no others.
    pub ascii: bool,
}

/// What a colour says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tone {
    /// As it is.
    Plain,
    /// A pass, a gain, added text.
    Good,
    /// A regression, a loss, removed text.
    Bad,
    /// Undecided, or worth a look.
    Open,
    /// Of less interest.
    Dim,
    /// A heading.
    Strong,
}

impl Style {
    /// No colours, this wide.
    pub fn plain(width: usize) -> Self {
        Style {
            color: false,
            width: width.max(LEAST_WIDTH),
            ascii: false,
        }
    }

    /// For standard output: colours when it is a terminal and `NO_COLOR` is unset or empty
    /// (<https://no-color.org>), the terminal's width, 100 where there is none.
    pub fn for_stdout() -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let terminal = std::io::stdout().is_terminal();
        let width = if terminal { Table::new().width() } else { None };
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        // The first of them that is set holds: POSIX, 8.2, Internationalization Variables.
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .into_iter()
            .find_map(variable);
        Style {
            ascii: terminal && shows_ascii_alone(variable("TERM").as_deref(), locale.as_deref()),
            ..Self::choose(no_color, terminal, width.map(usize::from))
        }
    }

    fn choose(no_color: bool, terminal: bool, width: Option<usize>) -> Self {
        Style {
            color: terminal && !no_color,
            ..Style::plain(width.unwrap_or(USUAL_WIDTH))
        }
    }

    /// What stands for text that is left out.
    pub(super) fn left_out(self) -> &'static str {
        match self.ascii {
            true => "...",
            false => "…",
        }
    }

    /// The text in the tone's colour.
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            _ if !self.color || text.is_empty() => return text.to_string(),
            Tone::Plain => return text.to_string(),
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Open => "33",
            Tone::Dim => "2",
            Tone::Strong => "1",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// A table in this style, its columns as wide as their content and the terminal allow.
    pub(super) fn table(&self, preset: TableStyle, heads: &[&str]) -> Table {
        let mut table = Table::new();
        table.load_style(preset);
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(u16::try_from(self.width).unwrap_or(u16::MAX));
        table.set_truncation_indicator("…");
        if self.color {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table.set_header(heads.iter().map(|head| self.cell(Tone::Strong, head)));
        table
    }

    /// A table's lines, without the blanks that fill the last column.
    pub(super) fn rendered(&self, table: &Table) -> String {
        let lines: Vec<String> = table
            .lines()
            .map(|line| line.trim_end().to_string())
            .collect();
        lines.join("\n") + "\n"
    }

    /// A cell in the tone's colour.
    pub(super) fn cell(&self, tone: Tone, text: &str) -> Cell {
        let cell = Cell::new(text);
        match tone {
            _ if !self.color => cell,
            Tone::Plain => cell,
            Tone::Good => cell.fg(Color::Green),
            Tone::Bad => cell.fg(Color::Red),
            Tone::Open => cell.fg(Color::Yellow),
            Tone::Dim => cell.add_attribute(Attribute::Dim),
            Tone::Strong => cell.add_attribute(Attribute::Bold),
        }
    }
}

/// Whether a terminal is one that says it shows nothing else. Without a locale, as in many
/// containers, it says nothing.
fn shows_ascii_alone(term: Option<&str>, locale: Option<&str>) -> bool {
    let utf8 = |locale: &str| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    };
    term == Some("dumb") || locale.is_some_and(|locale| !utf8(locale))
}

/// One line a row, no lines between rows.
pub(super) const ROWS: TableStyle = presets::UTF8_FULL_CONDENSED;
/// Rows of several lines, with lines between them.
pub(super) const BLOCKS: TableStyle = presets::UTF8_FULL;

/// A score: two decimals.
pub(super) fn score(value: f64) -> String {
    format!("{:.2}", value + 0.0)
}

/// A difference: sign and two decimals, no sign on zero.
pub(super) fn difference(value: f64) -> String {
    let text = format!("{value:+.2}");
    if text.trim_start_matches(['+', '-']) == "0.00" {
        "0.00".into()
    } else {
        text
    }
}

/// A difference with its ends: `-0.02 [-0.05, +0.01]`.
pub(super) fn interval(estimate: &Estimate) -> String {
    let ends = [estimate.difference, estimate.lower, estimate.upper];
    let [mean, lower, upper] = ends.map(difference);
    format!("{mean} [{lower}, {upper}]")
}

/// A loss: four significant digits, which is what early and late training differ in.
pub(super) fn loss(value: f64) -> String {
    match value.abs() {
        x if x >= 100.0 => format!("{value:.1}"),
        x if x >= 0.1 => format!("{value:.3}"),
        _ => format!("{value:.4}"),
    }
}

/// A text on one line: white space folded, control characters shown as `�`, at most `most`
/// characters.
pub(super) fn one_line(text: &str, most: usize) -> String {
    let folded: Vec<&str> = text.split_whitespace().collect();
    crate::text::ellipsize(&visible(&folded.join(" ")), most)
}

/// As [`harmless`]: a model's answer may hold any character.
pub(super) fn visible(text: &str) -> String {
    harmless(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_need_a_terminal_and_no_objection() {
        assert!(Style::choose(false, true, Some(80)).color);
        assert!(!Style::choose(true, true, Some(80)).color);
        assert!(!Style::choose(false, false, None).color);
        assert_eq!(Style::choose(false, false, None).width, 100);
        assert_eq!(Style::choose(false, true, Some(3)).width, 40);
    }

    #[test]
    fn a_terminal_that_names_another_character_set_gets_ascii() {
        for (term, locale, ascii) in [
            (Some("xterm-256color"), Some("en_US.UTF-8"), false),
            (Some("xterm"), Some("C.utf8"), false),
            (Some("xterm"), Some("C"), true),
            (Some("xterm"), Some("de_DE.ISO-8859-1"), true),
            (Some("dumb"), Some("en_US.UTF-8"), true),
            (None, None, false),
        ] {
            assert_eq!(
                shows_ascii_alone(term, locale),
                ascii,
                "{term:?} {locale:?}"
            );
        }
    }

    #[test]
    fn paint_is_text_without_colours() {
        assert_eq!(Style::plain(80).paint(Tone::Bad, "lost"), "lost");
        let style = Style {
            color: true,
            ..Style::plain(80)
        };
        assert_eq!(style.paint(Tone::Bad, "lost"), "\u{1b}[31mlost\u{1b}[0m");
        assert_eq!(style.paint(Tone::Plain, "lost"), "lost");
        assert_eq!(style.paint(Tone::Bad, ""), "");
    }

    #[test]
    fn zero_has_no_sign() {
        assert_eq!([difference(-0.001), difference(0.004)], ["0.00", "0.00"]);
        assert_eq!([difference(-0.126), difference(0.5)], ["-0.13", "+0.50"]);
        assert_eq!(score(-0.0), "0.00");
    }

    #[test]
    fn losses_keep_the_digits_that_matter() {
        assert_eq!(
            [loss(2.34567), loss(0.00213), loss(123.4)],
            ["2.346", "0.0021", "123.4"]
        );
    }

    #[test]
    fn an_answer_cannot_steer_the_terminal() {
        assert_eq!(one_line("a\u{1b}[31m\r\n  b\u{7}", 80), "a�[31m b�");
        assert_eq!(visible("x\r\ny\tz\u{0}"), "x\ny\tz�");
    }
}
