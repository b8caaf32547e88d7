//! How the suites stand, as a table of bars in which only what is no plain pass takes room.

use super::bars::{Axis, interval_bar, legend, score_bar, score_head};
use super::style::{Style, Tone, difference, interval, one_line, score};
use super::terminal::state_tone;
use super::wrap::{clipped, padded, text_width, wrapped};
use crate::flow::{Goal, SuiteState, SuiteVerdict, Verdict};
use crate::text::plural;

/// From this width on a row also has its probes and the numbers of its interval.
const WIDE: usize = 112;
/// Below this width a row has no bar, and below the next no scores either.
const BARS: usize = 78;
const SCORES: usize = 52;
/// Columns of a bar, and of one of a wide table.
const BAR: usize = 25;
const WIDE_BAR: usize = 37;
/// Columns of the shortest and the longest column of names.
const NAMES: [usize; 2] = [12, 20];
/// Columns of the others: `1.00 -> 0.00`, `of 0.80`, `-0.66 [-0.75, -0.55]`, `inconclusive`.
const PROBES: usize = 6;
const SCORE: usize = 12;
const CHANGE: usize = 7;
const INTERVAL: usize = 20;
const STATE: usize = 12;

/// One row a suite, the worst first, in at most `most` rows; what is left out is counted. The row of
/// all `keep` suites, the heads, and a line that explains the bars come on top of them. Empty without
/// a suite.
pub(super) fn standing(verdict: &Verdict, most: usize, style: Style) -> String {
    let kept = by_urgency(verdict, Goal::Keep);
    let learned = by_urgency(verdict, Goal::Learn);
    let pooled = Some(&verdict.pooled).filter(|pooled| pooled.estimate.is_some());
    // What is to be learned is few suites mostly; they leave room for the others.
    let learned_rows = learned.len().min(most.div_ceil(3));
    let (kept_shown, kept_rest) = split(&kept, most - learned_rows);
    let (learned_shown, learned_rest) = split(&learned, learned_rows);
    let names = kept_shown
        .iter()
        .chain(learned_shown)
        .map(|row| row.suite.as_str());
    let longest = names.map(text_width).max().unwrap_or(0);
    let table = Table {
        name: longest.clamp(NAMES[0], NAMES[1]).min(room_of_names(style)),
        axis: Axis::of(kept_shown.iter().copied().chain(pooled), bar_columns(style)),
        style,
    };
    let mut text = String::new();
    if !kept.is_empty() || pooled.is_some() {
        text += &table.head("keep", "change", table.axis.head());
        for row in kept_shown {
            text += &table.kept(row);
        }
        text += &table.rest(kept_rest);
        if let Some(row) = pooled {
            text += &table.kept(row);
        }
    }
    if !learned.is_empty() {
        text += &table.head("learn", "target", score_head(bar_columns(style)));
        for row in learned_shown {
            text += &table.learned(row);
        }
        text += &table.rest(learned_rest);
    }
    if !text.is_empty() && style.width >= BARS {
        let legend = format!("  {}", clipped(&legend(style), style.width - 2, style));
        text += &(style.paint(Tone::Dim, &legend) + "\n");
    }
    text
}

/// A goal's suites, the worst first, of equal ones in their order.
fn by_urgency(verdict: &Verdict, goal: Goal) -> Vec<&SuiteVerdict> {
    let mut rows: Vec<&SuiteVerdict> = verdict.suites.iter().filter(|s| s.goal == goal).collect();
    let rank = |row: &SuiteVerdict| match row.state {
        SuiteState::Regression => 0,
        SuiteState::NotMeasured => 1,
        SuiteState::Missed => 2,
        SuiteState::Inconclusive => 3,
        SuiteState::Pass | SuiteState::Reached => 4,
    };
    // How far it may have fallen, in what it may lose; of what is learned, how far it got.
    let worst = |row: &SuiteVerdict| match (&row.estimate, row.margin) {
        (Some(estimate), Some(margin)) => estimate.lower / margin,
        (Some(estimate), None) => estimate.candidate_mean,
        (None, _) => f64::NEG_INFINITY,
    };
    rows.sort_by(|a, b| rank(a).cmp(&rank(b)).then(worst(a).total_cmp(&worst(b))));
    rows
}

/// The rows that are shown, at most so many, and those that are only counted. One alone is not counted:
/// the line that counts it would take its place.
fn split<'a, 'b>(
    rows: &'b [&'a SuiteVerdict],
    most: usize,
) -> (&'b [&'a SuiteVerdict], &'b [&'a SuiteVerdict]) {
    match rows.len() > most {
        true => rows.split_at(most.saturating_sub(1)),
        false => (rows, &[]),
    }
}

/// What the other columns of a row leave of the terminal's width.
fn room_of_names(style: Style) -> usize {
    let others = match style.width {
        WIDE.. => 2 + PROBES + 2 + SCORE + 2 + INTERVAL + 2 + WIDE_BAR,
        BARS.. => 2 + SCORE + 2 + CHANGE + 2 + BAR,
        SCORES.. => 2 + SCORE + 2 + CHANGE,
        _ => 2 + CHANGE,
    };
    style.width.saturating_sub(2 + others + 2 + STATE)
}

fn bar_columns(style: Style) -> usize {
    if style.width >= WIDE { WIDE_BAR } else { BAR }
}

/// The widths and the axis that the rows share.
struct Table {
    name: usize,
    axis: Axis,
    style: Style,
}

impl Table {
    fn is_wide(&self) -> bool {
        self.style.width >= WIDE
    }

    fn head(&self, goal: &str, moved: &str, bar: String) -> String {
        let moved = match self.is_wide() {
            true if moved == "change" => "change and interval",
            _ => moved,
        };
        let cells =
            [goal, "probes", "scores", moved].map(|cell| vec![(Tone::Dim, cell.to_owned())]);
        self.line(cells, vec![(Tone::Dim, bar)], (Tone::Dim, "verdict".into()))
    }

    fn kept(&self, row: &SuiteVerdict) -> String {
        let tone = state_tone(row.state);
        let moved = row.estimate.as_ref().map(|e| match self.is_wide() {
            true => interval(e),
            false => difference(e.difference),
        });
        let bar = match (&row.estimate, row.margin) {
            (Some(estimate), Some(margin)) => {
                interval_bar(estimate, margin, self.axis, tone, self.style)
            }
            _ => Vec::new(),
        };
        let name = if row.is_pooled() {
            "all keep"
        } else {
            &row.suite
        };
        self.row(row, name, moved, bar)
    }

    fn learned(&self, row: &SuiteVerdict) -> String {
        let tone = state_tone(row.state);
        let target = row.target.map(|target| format!("of {}", score(target)));
        let bar = match (&row.estimate, row.target) {
            (Some(estimate), Some(target)) => {
                let reached = row.state == SuiteState::Reached;
                let way = [estimate.candidate_mean, target];
                score_bar(way, reached, bar_columns(self.style), tone, self.style)
            }
            _ => Vec::new(),
        };
        self.row(row, &row.suite, target, bar)
    }

    fn row(
        &self,
        row: &SuiteVerdict,
        name: &str,
        moved: Option<String>,
        bar: Vec<(Tone, String)>,
    ) -> String {
        let tone = state_tone(row.state);
        let estimate = row.estimate.as_ref();
        let or_none =
            |text: Option<String>| vec![(Tone::Plain, text.unwrap_or_else(|| "-".into()))];
        let named = match row.is_pooled() {
            true => Tone::Strong,
            false => Tone::Plain,
        };
        let name = clipped(&one_line(name, 200), self.name, self.style);
        let scores =
            estimate.map(|e| format!("{} -> {}", score(e.base_mean), score(e.candidate_mean)));
        let cells = [
            vec![(named, name)],
            or_none(estimate.map(|e| e.probes.to_string())),
            or_none(scores),
            or_none(moved),
        ];
        let state = came_to(row.state);
        self.line(cells, bar, (tone, state))
    }

    /// Cells at their columns: name, probes, scores, change; the bar; the verdict.
    fn line(
        &self,
        [name, probes, scores, moved]: [Vec<(Tone, String)>; 4],
        bar: Vec<(Tone, String)>,
        state: (Tone, String),
    ) -> String {
        let wide = self.is_wide();
        let mut cells = vec![(name, self.name)];
        if wide {
            cells.push((probes, PROBES));
        }
        if self.style.width >= SCORES {
            cells.push((scores, SCORE));
        }
        cells.push((moved, if wide { INTERVAL } else { CHANGE }));
        if self.style.width >= BARS {
            cells.push((bar, bar_columns(self.style)));
        }
        let mut line = String::from("  ");
        for (cell, columns) in cells {
            let width: usize = cell.iter().map(|(_, text)| text_width(text)).sum();
            for (tone, text) in &cell {
                line += &self.style.paint(*tone, text);
            }
            line += &padded("", columns.saturating_sub(width) + 2);
        }
        line += &self.style.paint(state.0, &state.1);
        line.truncate(line.trim_end().len());
        line + "\n"
    }

    /// What the rows that are left out came to.
    fn rest(&self, rest: &[&SuiteVerdict]) -> String {
        let states = [
            SuiteState::Regression,
            SuiteState::NotMeasured,
            SuiteState::Missed,
            SuiteState::Inconclusive,
            SuiteState::Reached,
            SuiteState::Pass,
        ];
        let count = |state: SuiteState| rest.iter().filter(|row| row.state == state).count();
        let counts: Vec<String> = states
            .into_iter()
            .filter(|state| count(*state) > 0)
            .map(|state| format!("{} {}", count(state), came_to(state)))
            .collect();
        let text = match (rest.len(), count(SuiteState::Pass)) {
            (0, _) => return String::new(),
            // One alone is never counted, so there are several.
            (all, passes) if all == passes => format!("{all} more suites pass"),
            (all, _) => format!("{}: {}", plural(all, "more suite"), counts.join(", ")),
        };
        let plain = rest.iter().all(|row| state_tone(row.state) == Tone::Good);
        let tone = if plain { Tone::Dim } else { Tone::Open };
        wrapped("  ", &[(tone, text)], self.style)
    }
}

/// What a suite came to, in the width of its column.
fn came_to(state: SuiteState) -> String {
    match state {
        SuiteState::NotMeasured => "not measured".to_owned(),
        state => state.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{careful, many_suites, readable};

    fn many() -> Verdict {
        many_suites().candidates.remove(0).verdict
    }

    #[test]
    fn what_is_no_plain_pass_takes_the_room() {
        insta::assert_snapshot!(standing(&many(), 10, Style::plain(80)), @"
        keep            scores        change   -6            -1  0    +2  verdict
        code            0.81 -> 0.43  -0.38            ━━●━━━ ╎  │        regression
        code-zh         0.75 -> 0.50  -0.25              ━━━●━┿━ │        regression
        reasoning       0.40 -> 0.40  0.00             ━━━━━━━┿━━●━━━━    not measured
        instruction-zh  0.50 -> 0.46  -0.04                  ━┿━●┿━━      inconclusive
        arithmetic-zh   0.62 -> 0.57  -0.05                  ━┿━●┿━━      inconclusive
        reasoning-zh    0.70 -> 0.70  0.00                    ╎━━●━       pass
        gpt4            0.70 -> 0.70  0.00                    ╎━━●━       pass
        7 more suites pass
        all keep        0.68 -> 0.59  -0.09          ━━━●━━━  ╎  │        regression
        learn           scores        target   0                       1  verdict
        identity-zh     0.00 -> 0.35  of 0.80  ━━━━━━━━●          ╎       not reached
        identity        0.02 -> 0.97  of 0.80  ━━━━━━━━━━━━━━━━━━━┿━━━●   reached
        ━●━ change and its interval, in margins   ╎ margin or target   │ no change
        ");
    }

    #[test]
    fn few_suites_are_all_there() {
        insta::assert_snapshot!(standing(&careful(), 10, Style::plain(80)), @"
        keep          scores        change   -3         -1     0    +1  verdict
        code          0.81 -> 0.80  -0.01                ╎   ━●┿━       pass
        all keep      0.81 -> 0.80  -0.01                ╎  ━━●┿━━      pass
        learn         scores        target   0                       1  verdict
        identity      0.00 -> 0.88  of 0.80  ━━━━━━━━━━━━━━━━━━━┿━●     reached
        ━●━ change and its interval, in margins   ╎ margin or target   │ no change
        ");
    }

    #[test]
    fn a_wide_terminal_has_the_numbers_too() {
        insta::assert_snapshot!(standing(&many(), 6, Style::plain(120)), @"
        keep          probes  scores        change and interval   -6                    -1   0       +2  verdict
        code          80      0.81 -> 0.43  -0.38 [-0.48, -0.27]               ━━━●━━━   ╎   │           regression
        code-zh       24      0.75 -> 0.50  -0.25 [-0.40, -0.08]                 ━━━━━●━━┿━━ │           regression
        reasoning     20      0.40 -> 0.40  0.00 [-0.50, +0.20]               ━━━━━━━━━━━┿━━━●━━━━━━     not measured
        11 more suites: 2 inconclusive, 9 pass
        all keep      747     0.68 -> 0.59  -0.09 [-0.12, -0.06]           ━━━━●━━━━━    ╎   │           regression
        learn         probes  scores        target                0                                   1  verdict
        identity-zh   18      0.00 -> 0.35  of 0.80               ━━━━━━━━━━━━━●               ╎         not reached
        identity      8       0.02 -> 0.97  of 0.80               ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┿━━━━━●   reached
        ━●━ change and its interval, in margins   ╎ margin or target   │ no change
        ");
    }

    #[test]
    fn a_narrow_terminal_has_no_bars_and_a_simple_one_draws_with_ascii() {
        insta::assert_snapshot!(standing(&many(), 6, Style::plain(60)), @"
        keep          scores        change   verdict
        code          0.81 -> 0.43  -0.38    regression
        code-zh       0.75 -> 0.50  -0.25    regression
        reasoning     0.40 -> 0.40  0.00     not measured
        11 more suites: 2 inconclusive, 9 pass
        all keep      0.68 -> 0.59  -0.09    regression
        learn         scores        target   verdict
        identity-zh   0.00 -> 0.35  of 0.80  not reached
        identity      0.02 -> 0.97  of 0.80  reached
        ");
        let ascii = Style {
            ascii: true,
            ..Style::plain(80)
        };
        let text = standing(&many(), 4, ascii);
        assert!(text.is_ascii(), "{text}");
        insta::assert_snapshot!(text, @"
        keep          scores        change   -6            -1  0    +2  verdict
        code          0.81 -> 0.43  -0.38            ==o=== :  |        regression
        13 more suites: 1 regression, 1 not measured, 2 inconclusive, 9 pass
        all keep      0.68 -> 0.59  -0.09          ===o===  :  |        regression
        learn         scores        target   0                       1  verdict
        identity-zh   0.00 -> 0.35  of 0.80  ========o          :       not reached
        identity      0.02 -> 0.97  of 0.80  ===================+===o   reached
        =o= change and its interval, in margins   : margin or target   | no change
        ");
    }

    /// A reader without colours sees the same, since every row says what it came to.
    #[test]
    fn colours_add_nothing_that_is_not_written() {
        let colored = Style {
            color: true,
            ..Style::plain(80)
        };
        let text = readable(&standing(&careful(), 10, colored));
        insta::assert_snapshot!(text, @"
          <dim>keep</>          <dim>scores</>        <dim>change</>   <dim>-3         -1     0    +1</>  <dim>verdict</>
          code          0.81 -> 0.80  -0.01                <dim>╎</>   <green>━●┿━</>       <green>pass</>
          <bold>all keep</>      0.81 -> 0.80  -0.01                <dim>╎</>  <green>━━●┿━━</>      <green>pass</>
          <dim>learn</>         <dim>scores</>        <dim>target</>   <dim>0                       1</>  <dim>verdict</>
          identity      0.00 -> 0.88  of 0.80  <green>━━━━━━━━━━━━━━━━━━━┿━●</>     <green>reached</>
        <dim>  ━●━ change and its interval, in margins   ╎ margin or target   │ no change</>
        ");
        let tags = ["</>", "<green>", "<red>", "<yellow>", "<dim>", "<bold>"];
        let bare = tags.iter().fold(text, |text, tag| text.replace(tag, ""));
        assert_eq!(bare, standing(&careful(), 10, Style::plain(80)));
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_every_suite_is_counted() {
        let verdict = many();
        for width in 40..140 {
            for most in [3, 6, 10, 30] {
                let text = standing(&verdict, most, Style::plain(width));
                let widest = text.lines().map(text_width).max().unwrap();
                assert!(widest <= width, "{widest} of {width}:\n{text}");
                let words: Vec<&str> = text.split_whitespace().collect();
                let more = words
                    .windows(3)
                    .filter(|w| w[1] == "more" && w[2].starts_with("suite"));
                let more: usize = more.map(|w| w[0].parse::<usize>().unwrap()).sum();
                let row = |line: &&str| line.contains("0.") && !line.contains("all keep");
                let rows = text.lines().filter(row).count();
                assert_eq!(rows + more, verdict.suites.len(), "{text}");
            }
        }
    }

    #[test]
    fn the_guide_shows_bars_as_they_are_printed() {
        let mut verdict = careful();
        let row = |suite: &str, state, difference: f64, ends: [f64; 2]| {
            let mut row = verdict.suites[1].clone();
            row.suite = suite.into();
            row.state = state;
            if let Some(estimate) = &mut row.estimate {
                estimate.candidate_mean = estimate.base_mean + difference;
                estimate.difference = difference;
                [estimate.lower, estimate.upper] = ends;
            }
            row
        };
        let rows = [
            row("code", SuiteState::Regression, -0.35, [-0.43, -0.24]),
            row("facts", SuiteState::Inconclusive, -0.1, [-0.24, 0.05]),
            row("reasoning", SuiteState::Pass, 0.0, [-0.06, 0.04]),
        ];
        let learned = verdict.suites.remove(0);
        verdict.suites = rows.into_iter().chain([learned]).collect();
        verdict.pooled.estimate = None;
        let printed = standing(&verdict, 8, Style::plain(80));
        let guide = include_str!("../guide/verdict.md");
        assert!(guide.contains(&printed), "{printed}");
    }

    #[test]
    fn nothing_is_no_table() {
        let mut verdict = careful();
        verdict.suites.clear();
        verdict.pooled.estimate = None;
        assert_eq!(standing(&verdict, 10, Style::plain(80)), "");
    }
}
