//! Differences and scores as bars of characters, so that a reader sees at once on which side of which
//! mark an interval lies.
//!
//! All intervals of a table share one axis in *margins*: 0 is no change and -1 the largest loss that a
//! row tolerates, whatever its margin, so that both marks are straight lines down the table. What is
//! certain may not look otherwise: an end beyond a mark is drawn beyond it, however little it is.

use super::style::{Style, Tone};
use crate::flow::{Estimate, SuiteVerdict};

/// Lengths of the axis below zero, in margins. The first that reaches every row's difference holds; what
/// lies beyond the last is drawn as an arrow.
const REACHES: [f64; 3] = [3.0, 6.0, 12.0];

/// Narrower, the numbers above a bar run into each other.
const LEAST_COLUMNS: usize = 16;

/// The characters of a bar.
struct Pen {
    line: char,
    crossing: char,
    point: char,
    /// The largest tolerated loss, or the target.
    mark: char,
    zero: char,
    /// What is drawn goes on to the left, to the right.
    beyond: [char; 2],
}

const DRAWN: Pen = Pen {
    line: '━',
    crossing: '┿',
    point: '●',
    mark: '╎',
    zero: '│',
    beyond: ['◂', '▸'],
};

const TYPED: Pen = Pen {
    line: '=',
    crossing: '+',
    point: 'o',
    mark: ':',
    zero: '|',
    beyond: ['<', '>'],
};

impl Pen {
    fn of(style: Style) -> &'static Pen {
        match style.ascii {
            true => &TYPED,
            false => &DRAWN,
        }
    }
}

/// The axis that the intervals of a table share, a quarter of it above zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axis {
    /// Margins from its left end to zero.
    reach: f64,
    columns: usize,
}

impl Axis {
    /// One on which these rows' differences can be seen.
    pub(super) fn of<'a>(rows: impl IntoIterator<Item = &'a SuiteVerdict>, columns: usize) -> Axis {
        let lost = |row: &SuiteVerdict| Some(-row.estimate.as_ref()?.difference / row.margin?);
        let most = rows.into_iter().filter_map(lost).fold(0.0, f64::max);
        let reach = REACHES.into_iter().find(|reach| most <= *reach);
        Axis {
            reach: reach.unwrap_or(REACHES[REACHES.len() - 1]),
            columns: columns.max(LEAST_COLUMNS),
        }
    }

    fn zero(self) -> usize {
        self.columns * 3 / 4
    }

    /// Where the margin's mark stands, so that at least one column lies between it and zero.
    fn margin(self) -> usize {
        let at = self.place(-1.0).max(0.0) as usize;
        at.min(self.zero() - 2)
    }

    /// The column of a number of margins, which may lie beyond the ends.
    fn place(self, margins: f64) -> f64 {
        let zero = self.zero() as f64;
        (zero + margins * zero / self.reach).round()
    }

    /// The column of an end of an interval: on a mark's own column only where it is the mark.
    fn end(self, margins: f64) -> f64 {
        let at = self.place(margins);
        let (zero, margin) = (self.zero() as f64, self.margin() as f64);
        match margins {
            m if m > 0.0 => at.max(zero + 1.0),
            0.0 => zero,
            m if m > -1.0 => at.clamp(margin + 1.0, zero - 1.0),
            -1.0 => margin,
            _ => at.min(margin - 1.0),
        }
    }

    /// The numbers above the bars: the ends, the margin, and zero.
    pub(super) fn head(self) -> String {
        let zero = self.zero();
        let mut head = vec![' '; self.columns];
        let mut write = |text: String, from: usize| {
            for (place, letter) in head[from..].iter_mut().zip(text.chars()) {
                *place = letter;
            }
        };
        write("0".into(), zero);
        write(format!("-{}", self.reach), 0);
        let right = (self.columns - 1 - zero) as f64 * self.reach / zero as f64;
        let right = format!("+{}", right.round());
        write(right.clone(), self.columns - right.len());
        write("-1".into(), self.margin() - 1);
        head.into_iter().collect()
    }
}

/// The interval of a row's difference, its point, zero, and the margin: `columns` of the axis wide.
pub(super) fn interval_bar(
    estimate: &Estimate,
    margin: f64,
    axis: Axis,
    tone: Tone,
    style: Style,
) -> Vec<(Tone, String)> {
    let pen = Pen::of(style);
    let last = (axis.columns - 1) as f64;
    let [from, to] = [estimate.lower, estimate.upper].map(|end| axis.end(end / margin));
    let point = axis.end(estimate.difference / margin);
    let point = point.clamp(from.min(to), to.max(from));
    let mut cells = vec![(Tone::Plain, ' '); axis.columns];
    let marks = [(axis.margin(), pen.mark), (axis.zero(), pen.zero)];
    for (at, mark) in marks {
        cells[at] = (Tone::Dim, mark);
    }
    for (at, cell) in cells.iter_mut().enumerate() {
        if (from..=to).contains(&(at as f64)) {
            let crosses = marks.iter().any(|(mark, _)| *mark == at);
            *cell = (tone, if crosses { pen.crossing } else { pen.line });
        }
    }
    if (0.0..=last).contains(&point) {
        cells[point as usize] = (tone, pen.point);
    }
    if from < 0.0 {
        cells[0] = (tone, pen.beyond[0]);
    }
    if to > last {
        cells[axis.columns - 1] = (tone, pen.beyond[1]);
    }
    spans(cells)
}

/// The numbers above the bars of scores.
pub(super) fn score_head(columns: usize) -> String {
    format!("0{}1", " ".repeat(columns.saturating_sub(2)))
}

/// A score on its way from 0 to 1, with the target that it has to reach, and whether it does.
pub(super) fn score_bar(
    [score, target]: [f64; 2],
    reached: bool,
    columns: usize,
    tone: Tone,
    style: Style,
) -> Vec<(Tone, String)> {
    let pen = Pen::of(style);
    let last = columns.max(LEAST_COLUMNS) - 1;
    let place = |x: f64| (x.clamp(0.0, 1.0) * last as f64).round() as usize;
    // The mark needs a column below it, so that a score that misses it can be seen to.
    let mark = place(target).max(1);
    let point = match reached {
        true => place(score).max(mark),
        false => place(score).min(mark - 1),
    };
    let mut cells = vec![(Tone::Plain, ' '); last + 1];
    cells[mark] = (Tone::Dim, pen.mark);
    for (at, cell) in cells.iter_mut().enumerate().take(point) {
        *cell = (tone, if at == mark { pen.crossing } else { pen.line });
    }
    cells[point] = (tone, pen.point);
    spans(cells)
}

/// What the marks of the bars mean, as short as it can be said.
pub(super) fn legend(style: Style) -> String {
    let Pen {
        line,
        point,
        mark,
        zero,
        ..
    } = Pen::of(style);
    format!(
        "{line}{point}{line} change and its interval, in margins   {mark} margin or target   {zero} no \
         change"
    )
}

/// Neighbours of one tone as one span.
fn spans(cells: Vec<(Tone, char)>) -> Vec<(Tone, String)> {
    let mut spans: Vec<(Tone, String)> = Vec::new();
    for (tone, cell) in cells {
        match spans.last_mut() {
            Some((last, text)) if *last == tone => text.push(cell),
            _ => spans.push((tone, cell.into())),
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::careless;
    use crate::report::wrap::text_width;

    const COLUMNS: usize = 25;

    fn estimate(difference: f64, ends: [f64; 2]) -> Estimate {
        let numbers = careless().pooled.estimate.unwrap();
        Estimate {
            difference,
            lower: ends[0],
            upper: ends[1],
            ..numbers
        }
    }

    fn text(spans: Vec<(Tone, String)>) -> String {
        spans.into_iter().map(|(_, text)| text).collect()
    }

    /// A bar on the axis that its own difference needs.
    fn bar(difference: f64, ends: [f64; 2], margin: f64, style: Style) -> String {
        let mut row = careless().pooled;
        row.margin = Some(margin);
        row.estimate = Some(estimate(difference, ends));
        let axis = Axis::of([&row], COLUMNS);
        let bar = interval_bar(
            row.estimate.as_ref().unwrap(),
            margin,
            axis,
            Tone::Bad,
            style,
        );
        format!("{}\n{}|\n", axis.head(), text(bar))
    }

    #[test]
    fn a_bar_lies_beside_the_marks_as_its_interval_does() {
        let style = Style::plain(80);
        let all = [
            bar(0.0, [-0.03, 0.02], 0.1, style),
            bar(-0.08, [-0.14, -0.02], 0.1, style),
            bar(-0.66, [-0.75, -0.55], 0.15, style),
            bar(-0.42, [-0.5, -0.3], 0.03, style),
            bar(0.3, [0.05, 0.5], 0.1, style),
        ];
        insta::assert_snapshot!(all.concat(), @"
        -3         -1     0    +1
                    ╎   ━━●━     |
        -3         -1     0    +1
                  ━━┿●━━━━│      |
        -6            -1  0    +2
           ━━●━━       ╎  │      |
        -12            -1 0    +4
        ◂━━━            ╎ │      |
        -3         -1     0    +1
                    ╎     │  ━━━▸|
        ");
        let ascii = Style {
            ascii: true,
            ..style
        };
        let all = [
            bar(-0.08, [-0.14, 0.02], 0.1, ascii),
            bar(-0.42, [-0.5, -0.3], 0.03, ascii),
        ];
        insta::assert_snapshot!(all.concat(), @"
        -3         -1     0    +1
                  ==+o====+=     |
        -12            -1 0    +4
        <===            : |      |
        ");
    }

    /// However long the axis is, what is certain does not look open, nor the other way round.
    #[test]
    fn an_end_is_drawn_on_its_own_side_of_every_mark() {
        for reach in REACHES {
            for columns in [LEAST_COLUMNS, 25, 37] {
                let axis = Axis { reach, columns };
                let (zero, margin) = (axis.zero() as f64, axis.margin() as f64);
                assert!(margin < zero);
                for tenths in -200..=200 {
                    let value = f64::from(tenths) / 100.0;
                    let at = axis.end(value);
                    assert_eq!(at > zero, value > 0.0, "{value} on {axis:?}");
                    assert_eq!(at < margin, value < -1.0, "{value} on {axis:?}");
                    assert_eq!(at > margin, value > -1.0, "{value} on {axis:?}");
                    assert_eq!(at < zero, value < 0.0, "{value} on {axis:?}");
                }
                assert_eq!(text_width(&axis.head()), columns);
            }
        }
    }

    #[test]
    fn every_bar_is_as_wide_as_its_axis() {
        let axis = Axis {
            reach: 3.0,
            columns: COLUMNS,
        };
        for (difference, ends) in [
            (0.0, [0.0, 0.0]),
            (-1.0, [-1.0, -0.9]),
            (1.0, [0.9, 1.0]),
            (0.0, [-1.0, 1.0]),
            // What the candidate left unscored counts in the lower end alone.
            (-0.9, [-0.95, -0.97]),
        ] {
            for ascii in [false, true] {
                let style = Style {
                    ascii,
                    ..Style::plain(80)
                };
                let bar = interval_bar(&estimate(difference, ends), 0.1, axis, Tone::Good, style);
                assert_eq!(text_width(&text(bar)), COLUMNS, "{difference} {ends:?}");
            }
        }
    }

    #[test]
    fn a_score_is_below_its_target_unless_it_reaches_it() {
        let style = Style::plain(80);
        let bars: Vec<String> = [(0.0, 0.8), (0.35, 0.8), (0.79, 0.8), (0.8, 0.8), (1.0, 0.8)]
            .map(|(score, target)| {
                let bar = score_bar([score, target], score >= target, COLUMNS, Tone::Good, style);
                text(bar) + "|"
            })
            .to_vec();
        insta::assert_snapshot!(format!("{}\n{}", score_head(COLUMNS), bars.join("\n")), @"
        0                       1
        ●                  ╎     |
        ━━━━━━━━●          ╎     |
        ━━━━━━━━━━━━━━━━━━●╎     |
        ━━━━━━━━━━━━━━━━━━━●     |
        ━━━━━━━━━━━━━━━━━━━┿━━━━●|
        ");
        for target in [0.0, 0.01, 1.0] {
            for reached in [false, true] {
                let bar = score_bar([target, target], reached, COLUMNS, Tone::Good, style);
                assert_eq!(text_width(&text(bar)), COLUMNS);
            }
        }
    }
}
