//! The first bad checkpoint of a run, with the way to it and what that cost.

use serde::{Deserialize, Serialize};

use super::style::{ROWS, Style, Tone, interval, score};
use super::terminal::decision_tone;
use super::wrap::wrapped;
use crate::flow::{NextCommands, Verdict};
use crate::text::plural;

/// A search, for people by [`bisect_text`] and for machines (`--format json`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BisectReport {
    /// [`VERSION`](super::VERSION) at the time of writing.
    pub version: u32,
    /// The run, as it was named.
    pub run: String,
    /// The scale at which every checkpoint was judged.
    pub scale: f64,
    /// Every verdict that was used, by step.
    pub looks: Vec<BisectRow>,
    /// The steps that were judged now, in their order.
    pub path: Vec<usize>,
    /// The first checkpoint that may not be kept, by step.
    pub first_bad: Option<usize>,
    /// The last before it that may be kept.
    pub last_good: Option<usize>,
    /// Steps after the first bad one that may be kept: harm did not stay.
    pub good_after: Vec<usize>,
    /// Steps whose folders are gone.
    pub gone: Vec<usize>,
    /// Answers that were asked for.
    pub asked: u64,
    /// Answers that judging every checkpoint which is there would have asked for, with those of the
    /// base; `None` where none was judged now.
    pub asked_for_all: Option<u64>,
}

/// A checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BisectRow {
    /// Optimizer steps taken.
    pub step: usize,
    /// As a subject is named.
    pub name: String,
    /// It may be kept.
    pub good: bool,
    /// Its verdict stood in the run's log.
    pub recorded: bool,
    /// Its verdict against the base.
    pub verdict: Verdict,
}

/// The answer, a table of verdicts, what the first bad one lost, and what it cost. `next` are the
/// commands about the first bad checkpoint.
pub fn bisect_text(report: &BisectReport, next: &NextCommands, style: Style) -> String {
    let look = |step: Option<usize>| report.looks.iter().find(|look| Some(look.step) == step);
    let bad = look(report.first_bad);
    let (tone, head) = match bad {
        Some(bad) => (
            Tone::Bad,
            format!("{}: the first that may not be kept", bad.name),
        ),
        None => (
            Tone::Good,
            format!(
                "{}: no checkpoint is bad, every one may be kept",
                report.run
            ),
        ),
    };
    let mut text = style.paint(tone, &head) + "\n";
    text += &table(report, style);
    let mut say = |lead: &str, words: String| {
        text += &wrapped(lead, &[(Tone::Plain, words)], style);
    };
    if let Some(bad) = bad {
        say("  verdict  ", bad.verdict.sentence.clone());
        match look(report.last_good) {
            Some(good) => say("  before   ", format!("{} may be kept", good.name)),
            None => say(
                "  before   ",
                "the base: nothing earlier may be kept".to_owned(),
            ),
        }
    }
    say("  asked    ", asked(report));
    match &report.good_after[..] {
        [] => say(
            "  taken    ",
            "that harm stays once it is there: what was not judged is not known".to_owned(),
        ),
        steps => say(
            "  but      ",
            format!(
                "harm did not stay: {} may be kept, so there may be another first bad one",
                names(steps)
            ),
        ),
    }
    if !report.gone.is_empty() {
        let verb = match report.gone.len() {
            1 => "is",
            _ => "are",
        };
        say(
            "  gone     ",
            format!(
                "{} {verb} no longer there, and known by verdict alone",
                names(&report.gone)
            ),
        );
    }
    if bad.is_some() {
        let added = format!("  next     {}\n", style.paint(Tone::Strong, &next.diff()));
        text += &added;
    }
    text
}

fn names(steps: &[usize]) -> String {
    let names: Vec<String> = steps.iter().map(|step| format!("ckpt-{step}")).collect();
    crate::text::all_of(&names)
}

fn asked(report: &BisectReport) -> String {
    let answers = |n: u64| plural(usize::try_from(n).unwrap_or(usize::MAX), "answer");
    let Some(all) = report.asked_for_all else {
        return "nothing: every verdict stood in the log of the run".to_owned();
    };
    let path: Vec<String> = report
        .path
        .iter()
        .map(|step| format!("ckpt-{step}"))
        .collect();
    format!(
        "{} for {} ({}); judging all would have asked for {all}",
        answers(report.asked),
        plural(path.len(), "checkpoint"),
        path.join(", then ")
    )
}

fn table(report: &BisectReport, style: Style) -> String {
    let heads = ["checkpoint", "verdict", "keep difference", "learned", "by"];
    let mut table = style.table(ROWS, &heads);
    for look in &report.looks {
        let verdict = look.verdict.decision.to_string();
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        let kept = look.verdict.pooled.estimate.as_ref().map(interval);
        let learned = look.verdict.learn.as_ref().map(|learn| score(learn.mean));
        let by = match look.recorded {
            true => "log",
            false => "now",
        };
        let cells = [
            (Tone::Plain, format!("ckpt-{}", look.step)),
            (decision_tone(look.verdict.decision), verdict),
            (Tone::Plain, or_none(kept)),
            (Tone::Plain, or_none(learned)),
            (Tone::Dim, by.to_owned()),
        ];
        table.add_row(cells.iter().map(|(tone, text)| style.cell(*tone, text)));
    }
    style.rendered(&table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::VERSION;
    use crate::report::testing::{careful, careless};

    fn row(step: usize, good: bool, recorded: bool) -> BisectRow {
        BisectRow {
            step,
            name: format!("run-0001/ckpt-{step}"),
            good,
            recorded,
            verdict: if good { careful() } else { careless() },
        }
    }

    fn report(looks: Vec<BisectRow>) -> BisectReport {
        BisectReport {
            version: VERSION,
            run: "run-0001".into(),
            scale: 1.0,
            first_bad: looks.iter().find(|l| !l.good).map(|l| l.step),
            last_good: looks.iter().take_while(|l| l.good).last().map(|l| l.step),
            path: looks
                .iter()
                .filter(|l| !l.recorded)
                .map(|l| l.step)
                .collect(),
            looks,
            good_after: Vec::new(),
            gone: Vec::new(),
            asked: 2778,
            asked_for_all: Some(8334),
        }
    }

    fn text(report: &BisectReport) -> String {
        let next = NextCommands::new("run-0001/ckpt-30", String::new(), String::new());
        bisect_text(report, &next, Style::plain(80))
    }

    #[test]
    fn the_first_bad_one_is_told_with_its_neighbour_and_the_cost() {
        let mut report = report(vec![
            row(10, true, true),
            row(20, true, false),
            row(30, false, false),
        ]);
        insta::assert_snapshot!(text(&report), @"
        run-0001/ckpt-30: the first that may not be kept
        ┌────────────┬────────────┬──────────────────────┬─────────┬─────┐
        │ checkpoint ┆ verdict    ┆ keep difference      ┆ learned ┆ by  │
        ╞════════════╪════════════╪══════════════════════╪═════════╪═════╡
        │ ckpt-10    ┆ pass       ┆ -0.01 [-0.05, +0.03] ┆ 0.88    ┆ log │
        │ ckpt-20    ┆ pass       ┆ -0.01 [-0.05, +0.03] ┆ 0.88    ┆ now │
        │ ckpt-30    ┆ regression ┆ -0.66 [-0.75, -0.55] ┆ 1.00    ┆ now │
        └────────────┴────────────┴──────────────────────┴─────────┴─────┘
          verdict  regression: `code` lost 0.66 of 0.81 (p < 0.0001)
          before   run-0001/ckpt-20 may be kept
          asked    2778 answers for 2 checkpoints (ckpt-20, then ckpt-30); judging all
                   would have asked for 8334
          taken    that harm stays once it is there: what was not judged is not known
          next     qeval diff base run-0001/ckpt-30
        ");
        report.good_after = vec![40];
        report.gone = vec![5, 10];
        let lines = text(&report);
        let told: Vec<&str> = lines
            .lines()
            .filter(|l| l.starts_with("  but") || l.starts_with("  gone"))
            .collect();
        insta::assert_snapshot!(told.join("\n"), @"
          but      harm did not stay: ckpt-40 may be kept, so there may be another first
          gone     ckpt-5 and ckpt-10 are no longer there, and known by verdict alone
        ");
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<BisectReport>(&json).unwrap(), report);
    }

    #[test]
    fn a_run_without_a_bad_checkpoint_says_so() {
        let mut report = report(vec![row(10, true, true), row(20, true, true)]);
        report.asked_for_all = None;
        insta::assert_snapshot!(text(&report), @"
        run-0001: no checkpoint is bad, every one may be kept
        ┌────────────┬─────────┬──────────────────────┬─────────┬─────┐
        │ checkpoint ┆ verdict ┆ keep difference      ┆ learned ┆ by  │
        ╞════════════╪═════════╪══════════════════════╪═════════╪═════╡
        │ ckpt-10    ┆ pass    ┆ -0.01 [-0.05, +0.03] ┆ 0.88    ┆ log │
        │ ckpt-20    ┆ pass    ┆ -0.01 [-0.05, +0.03] ┆ 0.88    ┆ log │
        └────────────┴─────────┴──────────────────────┴─────────┴─────┘
          asked    nothing: every verdict stood in the log of the run
          taken    that harm stays once it is there: what was not judged is not known
        ");
    }
}
