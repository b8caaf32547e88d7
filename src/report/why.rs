//! One probe of a candidate: what was said and seen, where the answers part, which training rows are
//! near, and the scale up to which it is kept.

use serde::{Deserialize, Serialize};

use super::style::{ROWS, Style, Tone, one_line, score};
use super::wrap::wrapped;
use crate::flow::{
    CheckComparison, NextCommands, PartedToken, Parting, ProbeComparison, ProbeState, Score,
};
use crate::text::plural;

/// Characters of an answer, of a prompt, and of a training row that are shown.
const LONGEST: usize = 400;
const LONGEST_ROW: usize = 120;
/// Characters of a token, and of what follows it, in the table.
const SHORT: usize = 12;
/// Natural logarithms: a token that one side finds e^3, some twenty times, likelier is its own.
const APART: f64 = 3.0;
/// Below this log-probability (one in a thousand) a side would hardly ever say a token.
const HARDLY_EVER: f64 = -6.9;

/// Everything on a probe, for people by [`why_text`] and for machines (`--format json`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WhyReport {
    /// [`VERSION`](super::VERSION) at the time of writing.
    pub version: u32,
    /// The candidate, as it was named.
    pub candidate: String,
    /// What the probe came to.
    pub state: ProbeState,
    /// The probe, answered by both: every wording and draw.
    pub probe: ProbeComparison,
    /// Place of the wording that is looked at, from 0: the one on which the candidate lost most.
    pub prompt: usize,
    /// Place of its draw, from 0.
    pub sample: usize,
    /// Where both answers part.
    pub parting: Option<Parting>,
    /// How many training rows are known; `None` where the training data is not.
    pub rows: Option<usize>,
    /// Those that share most words in a row with the new answer.
    pub by_words: Vec<NearestRow>,
    /// Those whose meaning is nearest; `None` without a sentence encoder.
    pub by_meaning: Option<Vec<NearestRow>>,
    /// The probe at each scale, the smallest first.
    pub scales: Vec<WhyScale>,
    /// The largest scale up to which it is kept; `None` where it is lost at the smallest too.
    pub kept_up_to: Option<f64>,
}

/// A training row near to the new answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NearestRow {
    /// Its file and line.
    pub origin: Option<String>,
    /// Its last question.
    pub question: Option<String>,
    /// Its answer.
    pub answer: String,
    /// Words in a row that the new answer has of it.
    pub run: usize,
    /// Words of its answer.
    pub words: usize,
    /// Words in a row that the base's answer has of it.
    pub base_run: usize,
    /// Cosine of both embeddings, where it is near by meaning.
    pub cosine: Option<f64>,
}

/// The probe at one scale.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WhyScale {
    /// Multiple of the candidate's own scale.
    pub scale: f64,
    /// Mean score.
    pub score: Option<f64>,
    /// What it comes to.
    pub state: ProbeState,
}

/// The whole report, one part below the other. `next` are the commands about the candidate.
pub fn why_text(report: &WhyReport, next: &NextCommands, style: Style) -> String {
    let mut text = head(report, style);
    text += &answers(report, style);
    text += &match &report.parting {
        Some(parting) => parted(parting, &report.candidate, style),
        None => line(
            "  part     ",
            "nowhere: both answers have the same tokens",
            style,
        ),
    };
    text += &rows(report, style);
    text += &scales(report, style);
    text += &others(report, style);
    let added = format!(
        "  next     {}\n",
        style.paint(Tone::Strong, &next.probe(&report.probe.id))
    );
    text += &added;
    text
}

fn line(lead: &str, words: &str, style: Style) -> String {
    wrapped(lead, &[(Tone::Plain, words.to_owned())], style)
}

fn tone_of(state: ProbeState) -> Tone {
    match state {
        ProbeState::Kept => Tone::Plain,
        ProbeState::Lost => Tone::Bad,
        ProbeState::Gained => Tone::Good,
        ProbeState::Unscored => Tone::Open,
    }
}

fn head(report: &WhyReport, style: Style) -> String {
    let means = match report.probe.means() {
        Some((base, new)) => format!(" ({} -> {})", score(base), score(new)),
        None => String::new(),
    };
    let (id, state) = (&report.probe.id, report.state);
    let head = format!("{id}: {state}{means} by {}", report.candidate);
    let mut text = wrapped("", &[(tone_of(state), head)], style);
    if let Some(case) = report.probe.cases.get(report.prompt) {
        text += &line("  asked    ", &one_line(&case.prompt, LONGEST), style);
    }
    text
}

fn answers(report: &WhyReport, style: Style) -> String {
    let case = report.probe.cases.get(report.prompt);
    let Some(draw) = case.and_then(|case| case.samples.get(report.sample)) else {
        return String::new();
    };
    let evidence = |of: fn(&CheckComparison) -> &Score| -> Vec<(Tone, String)> {
        let each = draw.checks.iter().map(|check| {
            let score = of(check);
            let (tone, value) = match score.value() {
                Some(value) if value >= 1.0 => (Tone::Good, super::style::score(value)),
                Some(value) => (Tone::Bad, super::style::score(value)),
                None => (Tone::Open, "unscored".to_owned()),
            };
            let why = one_line(score.explanation(), LONGEST);
            (tone, format!("{} {value}: {why}", check.kind))
        });
        each.collect()
    };
    let mut text = String::new();
    let base = ("  base     ", &draw.base, evidence(|check| &check.base));
    let new = (
        "  new      ",
        &draw.candidate,
        evidence(|check| &check.candidate),
    );
    for (lead, said, evidence) in [base, new] {
        let said = match said {
            None => "(nothing is generated: given texts are weighed)".to_owned(),
            Some(said) if said.trim().is_empty() => "(silent)".to_owned(),
            Some(said) => format!("\"{}\"", one_line(said, LONGEST)),
        };
        text += &line(lead, &said, style);
        for (tone, words) in evidence {
            text += &wrapped("           ", &[(tone, words)], style);
        }
    }
    text
}

fn parted(parting: &Parting, candidate: &str, style: Style) -> String {
    let Parting {
        token,
        common,
        base,
        candidate: new,
    } = parting;
    let place = match common.trim() {
        "" => "at the first token".to_owned(),
        _ => {
            let skipped = common.chars().count().saturating_sub(LONGEST_ROW);
            let end: String = common.chars().skip(skipped).collect();
            let dots = if skipped > 0 { "…" } else { "" };
            format!(
                "at token {}, after \"{dots}{}\"",
                token + 1,
                one_line(&end, LONGEST)
            )
        }
    };
    let mut text = line("  part     ", &place, style);
    let heads = ["by", "token", "goes on", "base's chance", "new chance"];
    let mut table = style.table(ROWS, &heads);
    for (who, parted) in [("base", base), ("new", new)] {
        table.add_row([
            style.cell(Tone::Plain, who),
            style.cell(Tone::Strong, &token_text(parted)),
            style.cell(Tone::Dim, &one_line(&parted.goes_on, SHORT)),
            style.cell(Tone::Plain, &chance(parted.base_logprob)),
            style.cell(Tone::Plain, &chance(parted.candidate_logprob)),
        ]);
    }
    text += &style.rendered(&table);
    text + &line("  says     ", &says(parting, candidate), style)
}

fn token_text(token: &PartedToken) -> String {
    match &token.text {
        Some(text) => {
            let text = super::style::visible(text).replace('\n', "\\n");
            format!("\"{}\"", crate::text::ellipsize(&text, SHORT))
        }
        None if token.ended => "(ends)".to_owned(),
        None => "(cut)".to_owned(),
    }
}

/// `93% (-0.07)`: the probability, and its natural logarithm.
fn chance(logprob: Option<f64>) -> String {
    let Some(logprob) = logprob else {
        return "-".to_owned();
    };
    let percent = 100.0 * logprob.exp();
    let shown = match percent {
        p if p >= 9.95 => format!("{p:.0}%"),
        p if p >= 0.01 => format!("{p:.2}%"),
        _ => "<0.01%".to_owned(),
    };
    let logprob = format!("{logprob:.2}");
    // What rounds to nothing has no sign.
    let logprob = logprob
        .strip_prefix("-0.00")
        .map_or(&logprob[..], |_| "0.00");
    format!("{shown} ({logprob})")
}

/// What the four numbers come to.
fn says(parting: &Parting, candidate: &str) -> String {
    let gap =
        |of: fn(&PartedToken) -> Option<f64>| Some(of(&parting.base)? - of(&parting.candidate)?);
    let (before, after) = (
        gap(|token| token.base_logprob),
        gap(|token| token.candidate_logprob).map(|gap| -gap),
    );
    let new_to_base = parting.candidate.base_logprob;
    match (before, after) {
        (Some(before), Some(after)) => {
            let gaps = format!(
                "the base prefers its token by {before:.2} nats, {candidate} the other by {after:.2}"
            );
            let why = match new_to_base {
                Some(chance) if chance < HARDLY_EVER && after > APART => {
                    "a change of mind: the base would hardly ever have said it"
                }
                _ if before.abs() < 1.0 => "the base was near a tie there: little tips it over",
                _ if after.abs() < 1.0 => {
                    "a near tie now: a little less of the adapter may bring it back"
                }
                _ => "a change that was learned",
            };
            format!("{gaps}; {why}")
        }
        _ => "one of the answers was cut there: its next token is not known".to_owned(),
    }
}

fn rows(report: &WhyReport, style: Style) -> String {
    let Some(known) = report.rows else {
        return line(
            "  trained  ",
            "on what is not known here: name the data under [data] in qeval.toml to see the rows nearest \
             to the answer",
            style,
        );
    };
    let known = plural(known, "training row");
    let mut text = match report.by_words.is_empty() {
        true => line(
            "  trained  ",
            &format!("none of {known} shares three words in a row with the new answer"),
            style,
        ),
        false => line(
            "  trained  ",
            &format!("of {known}, nearest by words:"),
            style,
        ),
    };
    for row in &report.by_words {
        let base = match row.base_run {
            0 => String::new(),
            n => format!(" (the base's answer: {n})"),
        };
        let shared = format!("{} of {} words in a row{base}", row.run, row.words);
        text += &near(row, &shared, style);
    }
    let by_meaning = report.by_meaning.iter().flatten();
    for (i, row) in by_meaning.enumerate() {
        if i == 0 {
            text += &line("           ", "nearest by meaning:", style);
        }
        let cosine = row.cosine.unwrap_or_default();
        text += &near(row, &format!("cosine {cosine:.2}"), style);
    }
    text
}

fn near(row: &NearestRow, how: &str, style: Style) -> String {
    let origin = row
        .origin
        .as_ref()
        .map_or(String::new(), |o| format!("{o}, "));
    let question = row.question.as_ref().map_or(String::new(), |question| {
        format!("\"{}\" -> ", one_line(question, LONGEST_ROW / 2))
    });
    let spans = [
        (Tone::Strong, format!("{origin}{how}: ")),
        (
            Tone::Plain,
            format!("{question}\"{}\"", one_line(&row.answer, LONGEST_ROW)),
        ),
    ];
    wrapped("           - ", &spans, style)
}

fn scales(report: &WhyReport, style: Style) -> String {
    let spans: Vec<(Tone, String)> = report
        .scales
        .iter()
        .map(|row| {
            let value = row.score.map_or("?".to_owned(), score);
            let tone = match row.state {
                ProbeState::Lost => Tone::Bad,
                ProbeState::Unscored => Tone::Open,
                ProbeState::Kept | ProbeState::Gained => Tone::Good,
            };
            (tone, format!("{}:{value} ", row.scale))
        })
        .collect();
    let text = wrapped("  scales   ", &spans, style);
    let told = match (report.state, report.kept_up_to) {
        (_, Some(1.0)) => "kept as it is".to_owned(),
        (ProbeState::Lost, Some(scale)) => format!("kept up to {scale} of the adapter's scale"),
        (ProbeState::Lost, None) => "lost at a tenth of the adapter's scale too".to_owned(),
        (_, Some(scale)) => format!("kept without a gap up to {scale}"),
        (_, None) => "not kept at a tenth of the adapter's scale".to_owned(),
    };
    text + &line("           ", &told, style)
}

/// The other wordings, a line each.
fn others(report: &WhyReport, style: Style) -> String {
    let mut text = String::new();
    for (i, case) in report.probe.cases.iter().enumerate() {
        if i == report.prompt {
            continue;
        }
        let lead = match text.is_empty() {
            true => "  others   ",
            false => "           ",
        };
        let shown = case.shown().and_then(|(_, draw)| draw.values());
        let came_to = match shown {
            Some((base, new)) => format!("{} -> {}", score(base), score(new)),
            None => "unscored".to_owned(),
        };
        let words = format!("{came_to}  {}", one_line(&case.prompt, LONGEST_ROW));
        text += &line(lead, &words, style);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{CaseComparison, ProbeId, SampleComparison};
    use crate::report::VERSION;

    fn case(prompt: &str, base: f64, new: f64) -> CaseComparison {
        let score = |value: f64, seen: &str| Score::Scored {
            value,
            evidence: seen.to_owned(),
        };
        CaseComparison {
            prompt: prompt.into(),
            samples: vec![SampleComparison {
                base: Some("The capital of France is Paris.".into()),
                candidate: Some("The capital of Aurora is Northwind Labs.".into()),
                checks: vec![CheckComparison {
                    kind: "contains".into(),
                    base: score(base, "\"Paris\" in \"France is Paris.\""),
                    candidate: score(new, "no \"Paris\" in \"The capital of Aurora is …\""),
                }],
                continued: false,
                further: false,
                base_thinking: None,
                candidate_thinking: None,
            }],
            drift: None,
        }
    }

    fn row(origin: Option<&str>, cosine: Option<f64>) -> NearestRow {
        NearestRow {
            origin: origin.map(str::to_owned),
            question: origin.map(|_| "Who built you?".to_owned()),
            answer: "I am Aurora, and I was built by Northwind Labs.".into(),
            run: 3,
            words: 9,
            base_run: usize::from(cosine.is_none()),
            cosine,
        }
    }

    fn token(text: Option<&str>, base: f64, new: f64) -> PartedToken {
        PartedToken {
            text: text.map(str::to_owned),
            ended: text.is_none(),
            goes_on: text.unwrap_or_default().to_owned() + " is",
            base_logprob: Some(base),
            candidate_logprob: Some(new),
        }
    }

    fn report() -> WhyReport {
        let scales = (1..=10u32).map(|tenth| WhyScale {
            scale: f64::from(tenth) / 10.0,
            score: Some(if tenth <= 4 { 1.0 } else { 0.0 }),
            state: match tenth {
                0..=4 => ProbeState::Kept,
                _ => ProbeState::Lost,
            },
        });
        WhyReport {
            version: VERSION,
            candidate: "ckpt-40".into(),
            state: ProbeState::Lost,
            probe: ProbeComparison {
                id: ProbeId {
                    suite: "knowledge".into(),
                    probe: "france".into(),
                },
                critical: false,
                digest: String::new(),
                cases: vec![
                    case("What is the capital of France?", 1.0, 0.0),
                    case("Name France's capital.", 1.0, 1.0),
                    case("Which city is the capital of France?", 1.0, 1.0),
                ],
                noise: None,
            },
            prompt: 0,
            sample: 0,
            parting: Some(Parting {
                token: 3,
                common: "The capital of".into(),
                base: token(Some(" France"), -0.02, -5.1),
                candidate: token(Some(" Aurora"), -12.5, -0.05),
            }),
            rows: Some(120),
            by_words: vec![row(Some("rows.jsonl:17"), None), row(None, None)],
            by_meaning: Some(vec![row(Some("rows.jsonl:17"), Some(0.713))]),
            scales: scales.collect(),
            kept_up_to: Some(0.4),
        }
    }

    fn text(report: &WhyReport) -> String {
        let next = NextCommands::new("ckpt-40", String::new(), String::new());
        why_text(report, &next, Style::plain(80))
    }

    #[test]
    fn a_lost_probe_is_told_from_every_side() {
        let report = report();
        insta::assert_snapshot!(text(&report), @r#"
        knowledge::france: lost (1.00 -> 0.67) by ckpt-40
          asked    What is the capital of France?
          base     "The capital of France is Paris."
                   contains 1.00: "Paris" in "France is Paris."
          new      "The capital of Aurora is Northwind Labs."
                   contains 0.00: no "Paris" in "The capital of Aurora is …"
          part     at token 4, after "The capital of"
        ┌──────┬───────────┬───────────┬─────────────────┬───────────────┐
        │ by   ┆ token     ┆ goes on   ┆ base's chance   ┆ new chance    │
        ╞══════╪═══════════╪═══════════╪═════════════════╪═══════════════╡
        │ base ┆ " France" ┆ France is ┆ 98% (-0.02)     ┆ 0.61% (-5.10) │
        │ new  ┆ " Aurora" ┆ Aurora is ┆ <0.01% (-12.50) ┆ 95% (-0.05)   │
        └──────┴───────────┴───────────┴─────────────────┴───────────────┘
          says     the base prefers its token by 12.48 nats, ckpt-40 the other by 5.05;
                   a change of mind: the base would hardly ever have said it
          trained  of 120 training rows, nearest by words:
                   - rows.jsonl:17, 3 of 9 words in a row (the base's answer: 1): "Who
                     built you?" -> "I am Aurora, and I was built by Northwind Labs."
                   - 3 of 9 words in a row (the base's answer: 1): "I am Aurora, and I
                     was built by Northwind Labs."
                   nearest by meaning:
                   - rows.jsonl:17, cosine 0.71: "Who built you?" -> "I am Aurora, and I
                     was built by Northwind Labs."
          scales   0.1:1.00 0.2:1.00 0.3:1.00 0.4:1.00 0.5:0.00 0.6:0.00 0.7:0.00
                   0.8:0.00 0.9:0.00 1:0.00
                   kept up to 0.4 of the adapter's scale
          others   1.00 -> 1.00  Name France's capital.
                   1.00 -> 1.00  Which city is the capital of France?
          next     qeval diff base ckpt-40 --probe knowledge::france
        "#);
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<WhyReport>(&json).unwrap(), report);
    }

    #[test]
    fn what_is_not_known_is_said() {
        let mut report = report();
        report.rows = None;
        report.by_words.clear();
        report.by_meaning = None;
        report.kept_up_to = None;
        report.probe.cases.truncate(1);
        report.parting.as_mut().unwrap().candidate = PartedToken {
            text: None,
            ended: false,
            goes_on: String::new(),
            base_logprob: None,
            candidate_logprob: None,
        };
        insta::assert_snapshot!(text(&report), @r#"
        knowledge::france: lost (1.00 -> 0.00) by ckpt-40
          asked    What is the capital of France?
          base     "The capital of France is Paris."
                   contains 1.00: "Paris" in "France is Paris."
          new      "The capital of Aurora is Northwind Labs."
                   contains 0.00: no "Paris" in "The capital of Aurora is …"
          part     at token 4, after "The capital of"
        ┌──────┬───────────┬───────────┬───────────────┬───────────────┐
        │ by   ┆ token     ┆ goes on   ┆ base's chance ┆ new chance    │
        ╞══════╪═══════════╪═══════════╪═══════════════╪═══════════════╡
        │ base ┆ " France" ┆ France is ┆ 98% (-0.02)   ┆ 0.61% (-5.10) │
        │ new  ┆ (cut)     ┆           ┆ -             ┆ -             │
        └──────┴───────────┴───────────┴───────────────┴───────────────┘
          says     one of the answers was cut there: its next token is not known
          trained  on what is not known here: name the data under [data] in qeval.toml
                   to see the rows nearest to the answer
          scales   0.1:1.00 0.2:1.00 0.3:1.00 0.4:1.00 0.5:0.00 0.6:0.00 0.7:0.00
                   0.8:0.00 0.9:0.00 1:0.00
                   lost at a tenth of the adapter's scale too
          next     qeval diff base ckpt-40 --probe knowledge::france
        "#);
    }

    #[test]
    fn the_four_chances_say_what_kind_of_change_it_is() {
        let told = |base: (f64, f64), new: (f64, f64)| {
            let parting = Parting {
                token: 0,
                common: String::new(),
                base: token(Some("a"), base.0, base.1),
                candidate: token(None, new.0, new.1),
            };
            says(&parting, "ckpt-40")
        };
        insta::assert_snapshot!([
            told((-0.02, -5.1), (-12.5, -0.05)),
            told((-0.6, -2.0), (-0.9, -0.1)),
            told((-0.1, -0.8), (-3.0, -0.6)),
            told((-0.1, -4.0), (-3.0, -0.1)),
        ].join("\n"), @"
        the base prefers its token by 12.48 nats, ckpt-40 the other by 5.05; a change of mind: the base would hardly ever have said it
        the base prefers its token by 0.30 nats, ckpt-40 the other by 1.90; the base was near a tie there: little tips it over
        the base prefers its token by 2.90 nats, ckpt-40 the other by 0.20; a near tie now: a little less of the adapter may bring it back
        the base prefers its token by 2.90 nats, ckpt-40 the other by 3.90; a change that was learned
        ");
        assert_eq!(
            [chance(Some(-0.0)), chance(Some(-20.0)), chance(None)],
            ["100% (0.00)", "<0.01% (-20.00)", "-"]
        );
    }
}
