//! An adapter with its parts switched off: what each carries of the harm and of the learning, and the
//! way out.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::style::{ROWS, Style, Tone, difference, interval, score};
use super::wrap::wrapped;
use crate::flow::Estimate;
use crate::text::{plural, shell_word};

/// An ablation, for people by [`ablation_text`] and for machines (`--format json`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AblationReport {
    /// [`VERSION`](super::VERSION) at the time of writing.
    pub version: u32,
    /// The adapter, as it was named.
    pub subject: String,
    /// What was asked.
    pub probes: AskedProbes,
    /// `keep`: the whole adapter against the base.
    pub whole: Option<Estimate>,
    /// `learn`: mean score of the base.
    pub learned_by_base: Option<f64>,
    /// `learn`: mean score of the whole adapter.
    pub learned: Option<f64>,
    /// What carries most of the loss first.
    pub parts: Vec<AblatedRow>,
    /// The part to do something about, as `--without` takes it; `None` where none is shown to carry
    /// any of the loss.
    pub worst: Option<String>,
    /// The PEFT folder that was written, and the part that it has not.
    pub written: Option<WrittenWithout>,
}

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedProbes {
    /// Every probe was asked; else the lost ones, and as many of those that were kept.
    pub all: bool,
    /// `keep` probes that the adapter loses against the base.
    pub lost: usize,
    /// Other `keep` probes that were asked.
    pub others: usize,
    /// `learn` probes.
    pub learn: usize,
    /// `keep` probes in all.
    pub keep_in_all: usize,
}

/// The adapter without one part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AblatedRow {
    /// `layers 20-24`, `q_proj`.
    pub part: String,
    /// The same as `--without` takes it.
    pub typed: String,
    /// Its share of the squared length of the low-rank update, in [0, 1].
    pub share: Option<f64>,
    /// `keep`: without it, against the base.
    pub kept: Option<Estimate>,
    /// `keep`: without it, against the whole adapter.
    pub back: Option<Estimate>,
    /// `learn`: mean score without it.
    pub learned: Option<f64>,
    /// The loss is shown to come back without it.
    pub carries_harm: bool,
    /// A tenth of what was learned, or more, goes with it.
    pub carries_learning: bool,
    /// The key under `[lora]` that trains without it.
    pub train_without: Option<String>,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WrittenWithout {
    /// The PEFT folder.
    pub folder: PathBuf,
    /// The part that it has not.
    pub part: String,
}

impl AblatedRow {
    fn carries(&self) -> (Tone, &'static str) {
        match (self.carries_harm, self.carries_learning) {
            (true, false) => (Tone::Bad, "harm"),
            (true, true) => (Tone::Open, "both"),
            (false, true) => (Tone::Good, "learning"),
            (false, false) => (Tone::Dim, "-"),
        }
    }
}

impl AblationReport {
    fn loss(&self) -> f64 {
        self.whole.as_ref().map_or(0.0, |whole| -whole.difference)
    }

    fn worst(&self) -> Option<&AblatedRow> {
        let worst = self.worst.as_ref()?;
        self.parts.iter().find(|part| part.typed == *worst)
    }
}

/// What was asked, a table with the whole adapter on top, what it says, and what to do. `options` are
/// what has to be typed again behind a command.
pub fn ablation_text(report: &AblationReport, options: &str, style: Style) -> String {
    let mut text = asked(report, style);
    let subject = &report.subject;
    let named = shell_word(subject);
    if report.parts.is_empty() {
        return text
            + &line(
                "",
                &format!(
                    "{subject} loses none of {}: there is no harm to look for. What carries the \
                     learning is shown by `qeval adapter ablate {named} --all{options}`.",
                    plural(report.probes.keep_in_all, "`keep` probe")
                ),
                style,
            );
    }
    text += &table(report, style);
    match report.worst() {
        Some(worst) => {
            text += &line("", &told(report, worst), style);
            text += &way_out(worst, &named, options, style);
        }
        None => {
            text += &line(
                "",
                &format!(
                    "No part by itself is shown to carry the loss of {}: it is spread over them, or \
                     these probes are too few.",
                    score(report.loss())
                ),
                style,
            );
            let scale = format!("`qeval adapter scale {named}{options}`");
            let way = match report.probes.all {
                true => format!("{scale} turns all of it down"),
                false => format!("`--all` asks every probe; {scale} turns all of it down"),
            };
            text += &line("  way out  ", &way, style);
        }
    }
    if let Some(written) = &report.written {
        let WrittenWithout { folder, part } = written;
        let words = format!("{}, the adapter without {part}", folder.display());
        text += &line("  wrote    ", &words, style);
    }
    text
}

fn line(lead: &str, words: &str, style: Style) -> String {
    wrapped(lead, &[(Tone::Plain, words.to_owned())], style)
}

fn asked(report: &AblationReport, style: Style) -> String {
    let AskedProbes {
        all,
        lost,
        others,
        learn,
        keep_in_all,
    } = report.probes;
    let parts = plural(report.parts.len(), "part");
    let head = match report.parts.len() {
        0 => format!("{}: no part is switched off", report.subject),
        _ => format!("{}: {parts} switched off, one at a time", report.subject),
    };
    let mut text = style.paint(Tone::Strong, &head) + "\n";
    if report.parts.is_empty() {
        return text;
    }
    let learning = match learn {
        0 => String::new(),
        n => format!(", and {}", plural(n, "`learn` probe")),
    };
    let words = match all {
        true => format!("all {keep_in_all} `keep` probes, of which it lost {lost}{learning}"),
        false => format!(
            "the {} that it lost, {others} of {} that it did not lose{learning}. Probes that are \
             chosen for being lost come back a little by themselves: what counts is the distance from \
             the row of the whole adapter.",
            plural(lost, "`keep` probe"),
            keep_in_all - lost
        ),
    };
    text += &wrapped("  asked    ", &[(Tone::Dim, words)], style);
    text
}

fn table(report: &AblationReport, style: Style) -> String {
    let heads = ["off", "size", "keep", "comes back", "learned", "carries"];
    let mut table = style.table(ROWS, &heads);
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let kept = |kept: &Estimate| difference(kept.difference);
    let row = |cells: [(Tone, String); 6]| cells.map(|(tone, text)| style.cell(tone, &text));
    table.add_row(row([
        (Tone::Strong, "nothing".into()),
        (Tone::Plain, "100%".into()),
        (Tone::Plain, or_none(report.whole.as_ref().map(kept))),
        (Tone::Plain, "-".into()),
        (Tone::Plain, or_none(report.learned.map(score))),
        (Tone::Plain, String::new()),
    ]));
    for part in &report.parts {
        let (tone, carries) = part.carries();
        let size = part.share.map(|share| format!("{:.0}%", 100.0 * share));
        table.add_row(row([
            (Tone::Plain, part.part.clone()),
            (Tone::Plain, or_none(size)),
            (Tone::Plain, or_none(part.kept.as_ref().map(kept))),
            (Tone::Plain, or_none(part.back.as_ref().map(interval))),
            (Tone::Plain, or_none(part.learned.map(score))),
            (tone, carries.to_owned()),
        ]));
    }
    style.rendered(&table)
}

/// `layers 20-24 carry 0.31 of the 0.42 lost and 0.05 of the 0.90 learned.`
fn told(report: &AblationReport, worst: &AblatedRow) -> String {
    let carry = match worst.part.starts_with("layers") {
        true => "carry",
        false => "carries",
    };
    let back = worst.back.as_ref().map_or(0.0, |back| back.difference);
    let learned = match (report.learned, worst.learned) {
        (Some(whole), Some(without)) => {
            let gain = whole - report.learned_by_base.unwrap_or(0.0);
            let gone = difference(whole - without).replace('+', "");
            format!(" and {gone} of the {} learned", score(gain.max(0.0)))
        }
        _ => String::new(),
    };
    format!(
        "{} {carry} {} of the {} lost{learned}.",
        worst.part,
        score(back),
        score(report.loss())
    )
}

/// What to do about the part that carries most of the loss. What is to be copied stands in a line of
/// its own, however long.
fn way_out(worst: &AblatedRow, named: &str, options: &str, style: Style) -> String {
    let part = &worst.part;
    let copied = |text: &str| format!("             {}\n", style.paint(Tone::Strong, text));
    let scale = copied(&format!("qeval adapter scale {named}{options}"));
    if worst.carries_learning {
        let words = format!("what was learned goes with {part}: turn all of it down");
        return line("  way out  ", &words, style) + &scale;
    }
    let Some(key) = &worst.train_without else {
        return line("  way out  ", "turn all of it down", style) + &scale;
    };
    let typed = &worst.typed;
    let write = format!("qeval adapter ablate {named} --without {typed} --out DIR{options}");
    [
        line(
            "  way out  ",
            &format!("train without {part}, under [lora]:"),
            style,
        ),
        copied(key),
        line("  or       ", "take it out, and gate what is left:", style),
        copied(&write),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::VERSION;

    fn estimate(difference: f64) -> Estimate {
        Estimate {
            base_mean: 0.9,
            candidate_mean: 0.9 + difference,
            difference,
            lower: difference - 0.08,
            upper: difference + 0.07,
            confidence: 0.95,
            probes: 42,
            losses: 21,
            gains: 0,
            unscored: 0,
        }
    }

    /// A part by its name, what it brings back, what is learned without it, and what it carries.
    fn row(part: &str, back: f64, learned: f64, carries: (bool, bool)) -> AblatedRow {
        AblatedRow {
            part: part.into(),
            typed: part.trim_start_matches("layers ").into(),
            share: (part != "lm_head").then_some(0.234),
            kept: Some(estimate(back - 0.42)),
            back: Some(estimate(back)),
            learned: Some(learned),
            carries_harm: carries.0,
            carries_learning: carries.1,
            train_without: (part != "lm_head")
                .then(|| r"target_modules = ['.*\.layers\.([0-9]|1[0-9])\..*_proj']".into()),
        }
    }

    fn report(parts: Vec<AblatedRow>) -> AblationReport {
        AblationReport {
            version: VERSION,
            subject: "run-0001/ckpt-40".into(),
            probes: AskedProbes {
                all: false,
                lost: 21,
                others: 21,
                learn: 10,
                keep_in_all: 926,
            },
            whole: Some(estimate(-0.42)),
            learned_by_base: Some(0.05),
            learned: Some(0.95),
            worst: parts
                .iter()
                .find(|p| p.carries_harm)
                .map(|p| p.typed.clone()),
            parts,
            written: None,
        }
    }

    fn text(report: &AblationReport) -> String {
        ablation_text(report, "", Style::plain(80))
    }

    #[test]
    fn the_worst_part_stands_first_with_the_way_out() {
        let mut report = report(vec![
            row("layers 20-23", 0.31, 0.9, (true, false)),
            row("layers 4-7", 0.1, 0.1, (true, true)),
            row("v_proj", 0.02, 0.5, (false, true)),
            row("lm_head", 0.0, 0.95, (false, false)),
        ]);
        insta::assert_snapshot!(text(&report), @r#"
        run-0001/ckpt-40: 4 parts switched off, one at a time
          asked    the 21 `keep` probes that it lost, 21 of 905 that it did not lose,
                   and 10 `learn` probes. Probes that are chosen for being lost come
                   back a little by themselves: what counts is the distance from the row
                   of the whole adapter.
        ┌──────────────┬──────┬───────┬──────────────────────┬─────────┬──────────┐
        │ off          ┆ size ┆ keep  ┆ comes back           ┆ learned ┆ carries  │
        ╞══════════════╪══════╪═══════╪══════════════════════╪═════════╪══════════╡
        │ nothing      ┆ 100% ┆ -0.42 ┆ -                    ┆ 0.95    ┆          │
        │ layers 20-23 ┆ 23%  ┆ -0.11 ┆ +0.31 [+0.23, +0.38] ┆ 0.90    ┆ harm     │
        │ layers 4-7   ┆ 23%  ┆ -0.32 ┆ +0.10 [+0.02, +0.17] ┆ 0.10    ┆ both     │
        │ v_proj       ┆ 23%  ┆ -0.40 ┆ +0.02 [-0.06, +0.09] ┆ 0.50    ┆ learning │
        │ lm_head      ┆ -    ┆ -0.42 ┆ 0.00 [-0.08, +0.07]  ┆ 0.95    ┆ -        │
        └──────────────┴──────┴───────┴──────────────────────┴─────────┴──────────┘
        layers 20-23 carry 0.31 of the 0.42 lost and 0.05 of the 0.90 learned.
          way out  train without layers 20-23, under [lora]:
                     target_modules = ['.*\.layers\.([0-9]|1[0-9])\..*_proj']
          or       take it out, and gate what is left:
                     qeval adapter ablate run-0001/ckpt-40 --without 20-23 --out DIR
        "#);
        report.written = Some(WrittenWithout {
            folder: "adapters/mine".into(),
            part: "layers 20-23".into(),
        });
        assert!(
            text(&report).ends_with("  wrote    adapters/mine, the adapter without layers 20-23\n")
        );
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(
            serde_json::from_str::<AblationReport>(&json).unwrap(),
            report
        );
    }

    #[test]
    fn what_carries_both_is_turned_down() {
        let report = report(vec![row("layers 4-7", 0.3, 0.1, (true, true))]);
        let text = text(&report);
        let end: Vec<&str> = text.lines().skip(11).collect();
        insta::assert_snapshot!(end.join("\n"), @"
        layers 4-7 carry 0.30 of the 0.42 lost and 0.85 of the 0.90 learned.
          way out  what was learned goes with layers 4-7: turn all of it down
                     qeval adapter scale run-0001/ckpt-40
        ");
    }

    #[test]
    fn harm_that_is_spread_and_harm_that_is_not_there_are_told() {
        let mut report = report(vec![row("layers 4-7", 0.03, 0.9, (false, false))]);
        let spread = text(&report);
        let end: Vec<&str> = spread.lines().skip(11).collect();
        insta::assert_snapshot!(end.join("\n"), @"
        No part by itself is shown to carry the loss of 0.42: it is spread over them, or
        these probes are too few.
          way out  `--all` asks every probe; `qeval adapter scale run-0001/ckpt-40`
                   turns all of it down
        ");
        report.probes.lost = 0;
        report.parts.clear();
        insta::assert_snapshot!(text(&report), @"
        run-0001/ckpt-40: no part is switched off
        run-0001/ckpt-40 loses none of 926 `keep` probes: there is no harm to look for.
        What carries the learning is shown by `qeval adapter ablate run-0001/ckpt-40
        --all`.
        ");
    }
}
