//! Verdicts of the past as a table of 80 columns, and as a line of small bars. Numbers of other
//! questions or of another base are never joined: the line is cut there, and the table says why.

use std::fmt::Write as _;

use super::style::{Style, Tone, difference, one_line, score};
use super::terminal::decision_tone;
use super::wrap::wrapped;
use crate::flow::PastVerdict;
use crate::text::{date, display_width, plural};

/// From low to high.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Where the line is cut.
const CUT: char = '│';
/// Columns of date, commit, verdict, difference with its ends, and learn score.
const FIXED: [usize; 5] = [10, 7, 12, 20, 5];
/// Blanks between two columns.
const GAP: usize = 2;
/// Fewest and most columns of a subject.
const SUBJECT: (usize, usize) = (12, 40);
/// Fewest columns of a commit's message.
const MESSAGE: usize = 16;

/// The verdicts, the oldest first, with what is left out.
pub struct PastVerdicts<'a> {
    /// What is shown.
    pub verdicts: &'a [PastVerdict],
    /// How many older ones there are.
    pub older: usize,
    /// What could not be read.
    pub left_out: &'a [String],
}

/// Table and line.
pub fn history_text(past: &PastVerdicts<'_>, style: Style) -> String {
    let mut text = String::new();
    if past.verdicts.is_empty() {
        let none = "no verdict is on record here: `qeval gate`, `qeval train`, and `qeval watch` leave some";
        text += &wrapped("", &[(Tone::Plain, none.to_owned())], style);
    } else {
        text += &table(past.verdicts, style);
        text += &lines(past.verdicts, style);
    }
    if past.older > 0 {
        let older = plural(past.older, "older verdict");
        let said = format!("{older} left out: `--limit N` shows more");
        text += &wrapped("note: ", &[(Tone::Dim, said)], style);
    }
    for why in past.left_out {
        text += &wrapped("left out: ", &[(Tone::Open, why.clone())], style);
    }
    text
}

fn table(verdicts: &[PastVerdict], style: Style) -> String {
    let fixed = FIXED.iter().sum::<usize>() + FIXED.len() * GAP;
    let room = style.width.saturating_sub(fixed);
    let subject = room.clamp(SUBJECT.0, SUBJECT.1);
    let message = Some(room.saturating_sub(subject + GAP)).filter(|room| *room >= MESSAGE);
    let [day, commit, word, keep, learn] = FIXED;
    let row = |cells: [&str; 6], tones: [Tone; 6], said: Option<&str>| {
        let widths = [day, commit, subject, word, keep, learn];
        let mut cells: Vec<String> = (0..6)
            .map(|i| style.paint(tones[i], &fitted(cells[i], widths[i], i == 2)))
            .collect();
        if let (Some(width), Some(said)) = (message, said) {
            cells.push(style.paint(Tone::Dim, &fitted(said, width, false)));
        }
        cells.join(&" ".repeat(GAP)).trim_end().to_owned() + "\n"
    };
    let heads = ["date", "commit", "subject", "verdict", "keep", "learn"];
    let mut text = row(heads, [Tone::Strong; 6], Some("message"));
    let mut before: Option<&PastVerdict> = None;
    for verdict in verdicts {
        let changes = before.map_or_else(Vec::new, |before| verdict.changes_since(before));
        if !changes.is_empty() {
            let said = format!("other questions: {}", one_line(&changes.join(", "), 300));
            text += &wrapped("  ── ", &[(Tone::Open, said)], style);
        }
        before = Some(verdict);
        let short = verdict.commit.as_ref().map(|c| c.short());
        let kept = verdict.keep.map(|k| {
            let (lower, upper) = (difference(k.lower), difference(k.upper));
            format!("{} [{lower}, {upper}]", difference(k.difference))
        });
        let cells = [
            &date(verdict.unix_ms / 1000),
            short.as_deref().unwrap_or("-"),
            &verdict.subject,
            verdict.word(),
            kept.as_deref().unwrap_or("-"),
            &verdict.learn.map_or_else(|| "-".to_owned(), score),
        ];
        let tones = [
            Tone::Plain,
            Tone::Dim,
            Tone::Plain,
            tone(verdict),
            Tone::Plain,
            Tone::Plain,
        ];
        let message = verdict.commit.as_ref().map(|c| c.subject.as_str());
        text += &row(cells, tones, message);
    }
    text
}

fn tone(verdict: &PastVerdict) -> Tone {
    match verdict.word() {
        "too little" => Tone::Bad,
        "not measured" => Tone::Open,
        _ => decision_tone(verdict.decision),
    }
}

/// Small bars of what was kept and learned.
fn lines(verdicts: &[PastVerdict], style: Style) -> String {
    if verdicts.len() < 2 {
        return String::new();
    }
    let kept = |verdict: &PastVerdict| verdict.keep.map(|keep| keep.difference);
    let learned = |verdict: &PastVerdict| verdict.learn;
    let mut text = "\n".to_owned();
    let all = [
        ("keep   ", line(verdicts, kept, difference, style)),
        ("learn  ", line(verdicts, learned, score, style)),
    ];
    let mut is_cut = false;
    for (head, line) in all {
        let Some((bars, ends)) = line else {
            continue;
        };
        is_cut |= bars.contains(CUT);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{head}{bars}   {}", style.paint(Tone::Dim, &ends));
    }
    if is_cut {
        let said = format!("{CUT} other questions or another base: not to be compared across");
        text += &wrapped("", &[(Tone::Dim, said)], style);
    }
    text
}

/// The bars, as many of the newest as fit, and what the lowest and the highest stand for.
fn line(
    verdicts: &[PastVerdict],
    value: impl Fn(&PastVerdict) -> Option<f64>,
    shown: impl Fn(f64) -> String,
    style: Style,
) -> Option<(String, String)> {
    let room = style.width.saturating_sub(40).max(10);
    let mut bars: Vec<(Option<f64>, bool)> = Vec::new();
    let mut before: Option<&PastVerdict> = None;
    for verdict in verdicts {
        let cut = before.is_some_and(|before| !verdict.changes_since(before).is_empty());
        bars.push((value(verdict), cut));
        before = Some(verdict);
    }
    let mut used = 0;
    let mut from = bars.len();
    while from > 0 && used + 1 + usize::from(bars[from - 1].1) <= room {
        from -= 1;
        used += 1 + usize::from(bars[from].1);
    }
    let values = || bars[from..].iter().filter_map(|(value, _)| *value);
    let low = values().reduce(f64::min)?;
    let high = values().reduce(f64::max)?;
    let mut text = String::new();
    for (i, (value, cut)) in bars[from..].iter().enumerate() {
        if *cut && i > 0 {
            text.push(CUT);
        }
        text.push(match value {
            None => '·',
            Some(_) if high - low < 1e-9 => BARS[4],
            Some(value) => {
                let share = (value - low) / (high - low);
                BARS[((share * 7.0).round() as usize).min(7)]
            }
        });
    }
    let ends = match high - low < 1e-9 {
        true => format!("{} throughout", shown(low)),
        false => format!("{} {} to {} {}", BARS[0], shown(low), BARS[7], shown(high)),
    };
    Some((text, ends))
}

/// A text in exactly so many columns. Of a path the end says more than the beginning.
fn fitted(text: &str, width: usize, from_end: bool) -> String {
    let text = one_line(text, 400);
    let columns = |text: &str| text.chars().map(display_width).sum::<usize>();
    let mut fitted = text.clone();
    if columns(&text) > width {
        let mut kept: Vec<char> = Vec::new();
        let mut used = 1;
        let mut take = |c: char| {
            used += display_width(c);
            let fits = used <= width;
            fits.then(|| kept.push(c)).is_some()
        };
        if from_end {
            text.chars().rev().all(&mut take);
            kept.push('…');
            kept.reverse();
        } else {
            text.chars().all(&mut take);
            kept.push('…');
        }
        fitted = kept.into_iter().collect();
    }
    let blanks = width.saturating_sub(columns(&fitted));
    fitted + &" ".repeat(blanks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Commit, Decision, Goal, PastKeep, PastSuite, SuiteState};

    const DAY: u64 = 86_400_000;

    fn past(day: u64, subject: &str, word: &str, keep: Option<f64>, asked: &str) -> PastVerdict {
        let kept = keep.map(|difference| PastKeep {
            difference,
            lower: difference - 0.03,
            upper: difference + 0.02,
            probes: 100,
        });
        PastVerdict {
            unix_ms: 1_796_040_000_000 + day * DAY,
            qeval: "0.1.0".into(),
            command: "gate".into(),
            commit: (day > 0).then(|| Commit {
                hash: format!("{day}f2e3d4c5b6a"),
                subject: format!("Commit {day} 你好, which has a message"),
                unix_s: 1,
                changed: day == 2,
            }),
            subject: subject.into(),
            base: "models/base".into(),
            order: String::new(),
            decision: match word {
                "regression" => Decision::Regression,
                "inconclusive" => Decision::Inconclusive,
                _ => Decision::Pass,
            },
            learned_enough: word != "too little",
            measured: word != "not measured",
            sentence: String::new(),
            keep: kept,
            learn: keep.map(|keep| keep + 0.8),
            suites: vec![PastSuite {
                suite: "code".into(),
                goal: Goal::Keep,
                state: SuiteState::Pass,
                asked: asked.into(),
                keep: kept,
                learn: None,
            }],
            exam: None,
        }
    }

    fn five() -> Vec<PastVerdict> {
        vec![
            past(0, "adapters/candidate", "pass", Some(0.01), "1"),
            past(
                1,
                "a/very/long/path/to/an/adapter",
                "inconclusive",
                Some(-0.02),
                "1",
            ),
            past(
                2,
                "适配器/检查点一二三四五六",
                "regression",
                Some(-0.31),
                "1",
            ),
            past(3, "run-0002/ckpt-40", "too little", Some(0.0), "2"),
            past(4, "run-0002/ckpt-80", "not measured", None, "2"),
        ]
    }

    fn shown(verdicts: &[PastVerdict], width: usize) -> String {
        let past = PastVerdicts {
            verdicts,
            older: 3,
            left_out: &["runs/run-0007/provenance.json: cannot be read".to_owned()],
        };
        history_text(&past, Style::plain(width))
    }

    #[test]
    fn a_table_and_a_line_in_80_columns() {
        let text = shown(&five(), 80);
        insta::assert_snapshot!(text, @"
        date        commit   subject           verdict       keep                  learn
        2026-11-30  -        …pters/candidate  pass          +0.01 [-0.02, +0.03]  0.81
        2026-12-01  1f2e3d4  …h/to/an/adapter  inconclusive  -0.02 [-0.05, 0.00]   0.78
        2026-12-02  2f2e3d+  …点一二三四五六   regression    -0.31 [-0.34, -0.29]  0.49
          ── other questions: `code` changed
        2026-12-03  3f2e3d4  run-0002/ckpt-40  too little    0.00 [-0.03, +0.02]   0.80
        2026-12-04  4f2e3d4  run-0002/ckpt-80  not measured  -                     -

        keep   █▇▁│█·   ▁ -0.31 to █ +0.01
        learn  █▇▁│█·   ▁ 0.49 to █ 0.81
        │ other questions or another base: not to be compared across
        note: 3 older verdicts left out: `--limit N` shows more
        left out: runs/run-0007/provenance.json: cannot be read
        ");
        for line in text.lines() {
            let columns: usize = line.chars().map(display_width).sum();
            assert!(columns <= 80, "{columns}: {line}");
        }
    }

    #[test]
    fn a_wide_terminal_has_room_for_messages() {
        insta::assert_snapshot!(shown(&five()[..3], 140), @"
        date        commit   subject                                   verdict       keep                  learn  message
        2026-11-30  -        adapters/candidate                        pass          +0.01 [-0.02, +0.03]  0.81
        2026-12-01  1f2e3d4  a/very/long/path/to/an/adapter            inconclusive  -0.02 [-0.05, 0.00]   0.78   Commit 1 你好, which has a message
        2026-12-02  2f2e3d+  适配器/检查点一二三四五六                 regression    -0.31 [-0.34, -0.29]  0.49   Commit 2 你好, which has a message

        keep   █▇▁   ▁ -0.31 to █ +0.01
        learn  █▇▁   ▁ 0.49 to █ 0.81
        note: 3 older verdicts left out: `--limit N` shows more
        left out: runs/run-0007/provenance.json: cannot be read
        ");
    }

    /// Numbers of other questions are not to be compared.
    #[test]
    fn a_line_is_cut_where_the_questions_change() {
        let mut all = five();
        let bars = |all: &[PastVerdict]| {
            let text = shown(all, 80);
            let line = text.lines().find(|line| line.starts_with("keep ")).unwrap();
            line[7..].split("   ").next().unwrap().to_owned()
        };
        assert_eq!(bars(&all), "█▇▁│█·");
        all[3].suites[0].asked = "1".into();
        all[4].base = "another".into();
        assert_eq!(bars(&all), "█▇▁█│·");
        let same = vec![all[0].clone(), all[0].clone()];
        assert_eq!(bars(&same), "▅▅");
    }

    #[test]
    fn nothing_on_record_names_what_leaves_some() {
        insta::assert_snapshot!(shown(&[], 80), @"
        no verdict is on record here: `qeval gate`, `qeval train`, and `qeval watch`
        leave some
        note: 3 older verdicts left out: `--limit N` shows more
        left out: runs/run-0007/provenance.json: cannot be read
        ");
    }
}
