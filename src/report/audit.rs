//! What a test of the suites found, as tables for people.

use comfy_table::ColumnConstraint;

use super::style::{ROWS, Style, Tone, one_line, score};
use super::wrap::wrapped;
use crate::flow::{FindingKind, Goal, SuiteAudit};
use crate::text::plural;

/// Findings of a kind, and golden answers, that are shown.
const SHOWN: usize = 12;
/// Precision or recall below which a check is marked.
const GOOD: f64 = 0.95;

/// The whole audit.
pub fn audit_text(audit: &SuiteAudit, style: Style) -> String {
    let mut text = suite_lines(audit, style);
    text.push_str(&kind_lines(audit, style));
    if let Some(judge) = &audit.judge {
        let tone = if judge.is_accepted() {
            Tone::Plain
        } else {
            Tone::Open
        };
        text.push_str(&wrapped("", &[(tone, judge.to_string())], style));
    }
    text.push_str(&misjudged_lines(audit, style));
    text.push_str(&finding_lines(audit, style));
    let (tone, said) = if audit.is_clean() {
        (Tone::Good, "suites: clean")
    } else {
        (Tone::Bad, "suites: to be mended")
    };
    text.push_str(&style.paint(tone, said));
    text.push('\n');
    text
}

fn suite_lines(audit: &SuiteAudit, style: Style) -> String {
    let based = audit.suites.iter().any(|s| s.base.is_some());
    let mut heads = vec![
        "suite",
        "goal",
        "probes",
        "one pass",
        "golden",
        "wrong caught",
        "excludes",
    ];
    if based {
        heads.extend(["base", "always fails", "can lose"]);
    }
    let mut table = style.table(ROWS, &heads);
    if let Some(names) = table.column_mut(0) {
        names.set_constraint(ColumnConstraint::ContentWidth);
    }
    let percent = |part: f64| format!("{:.0}%", 100.0 * part);
    for line in &audit.suites {
        let goal = match line.goal {
            Goal::Keep => "keep",
            Goal::Learn => "learn",
        };
        let likelihood = percent(line.likelihoods as f64 / line.probes.max(1) as f64);
        let mut cells = vec![
            (Tone::Plain, line.suite.clone()),
            (Tone::Dim, goal.into()),
            (Tone::Plain, line.probes.to_string()),
            (Tone::Plain, likelihood),
            (Tone::Plain, line.goldens.to_string()),
            (
                Tone::Plain,
                line.wrong_caught.map_or_else(|| "-".into(), percent),
            ),
            (Tone::Plain, format!("{:.3}", line.smallest_provable_loss)),
        ];
        if let Some(base) = line.base {
            let of_scored = |n: usize| percent(n as f64 / base.scored.max(1) as f64);
            cells.extend([
                (Tone::Plain, score(base.mean)),
                (Tone::Plain, of_scored(base.always_failed)),
                (Tone::Plain, of_scored(base.can_lose)),
            ]);
        } else if based {
            cells.extend(["-", "-", "-"].map(|s| (Tone::Plain, s.to_owned())));
        }
        table.add_row(cells.iter().map(|(tone, text)| style.cell(*tone, text)));
    }
    style.rendered(&table)
}

fn kind_lines(audit: &SuiteAudit, style: Style) -> String {
    if audit.kinds.is_empty() {
        return String::new();
    }
    let heads = ["check", "pass", "fail", "precision", "recall", "not judged"];
    let mut table = style.table(ROWS, &heads);
    for line in &audit.kinds {
        let share = |value: Option<f64>| match value {
            None => (Tone::Plain, "-".to_owned()),
            Some(value) if value < GOOD => (Tone::Open, format!("{value:.3}")),
            Some(value) => (Tone::Plain, format!("{value:.3}")),
        };
        let cells = [
            (Tone::Plain, line.kind.clone()),
            (Tone::Plain, line.pass.to_string()),
            (Tone::Plain, line.fail.to_string()),
            share(line.precision()),
            share(line.recall()),
            (Tone::Plain, line.not_judged.to_string()),
        ];
        table.add_row(cells.iter().map(|(tone, text)| style.cell(*tone, text)));
    }
    style.rendered(&table)
}

fn misjudged_lines(audit: &SuiteAudit, style: Style) -> String {
    let mut text = String::new();
    if audit.misjudged.is_empty() {
        return text;
    }
    let head = format!(
        "{} judged otherwise than expected",
        plural(audit.misjudged.len(), "golden answer")
    );
    text.push_str(&style.paint(Tone::Bad, &head));
    text.push('\n');
    for miss in audit.misjudged.iter().take(SHOWN) {
        let said = format!(
            "\"{}\" should {}; the checks say {}",
            one_line(&miss.answer, 120),
            miss.expected,
            one_line(&miss.says, 300)
        );
        text.push_str(&wrapped(
            &format!("  {} ", miss.probe),
            &[(Tone::Plain, said)],
            style,
        ));
    }
    text.push_str(&and_more(audit.misjudged.len()));
    text
}

fn finding_lines(audit: &SuiteAudit, style: Style) -> String {
    let mut kinds: Vec<FindingKind> = audit.findings.iter().map(|f| f.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let mut text = String::new();
    for kind in kinds {
        let of_kind: Vec<_> = audit.findings.iter().filter(|f| f.kind == kind).collect();
        let tone = if kind.is_serious() {
            Tone::Bad
        } else {
            Tone::Open
        };
        let head = format!("{}: {}", plural(of_kind.len(), "probe"), kind.meaning());
        text.push_str(&style.paint(tone, &head));
        text.push('\n');
        for finding in of_kind.iter().take(SHOWN) {
            let detail = one_line(&finding.detail, 300);
            text.push_str(&wrapped(
                &format!("  {} ", finding.probe),
                &[(Tone::Plain, detail)],
                style,
            ));
        }
        text.push_str(&and_more(of_kind.len()));
    }
    text
}

fn and_more(all: usize) -> String {
    match all.saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!("  and {more} more (--format json has all)\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{BaseLine, Finding, KindLine, Misjudged, ProbeId, SuiteLine};

    fn id(probe: &str) -> ProbeId {
        ProbeId {
            suite: "code".into(),
            probe: probe.into(),
        }
    }

    fn audit() -> SuiteAudit {
        SuiteAudit {
            suites: vec![SuiteLine {
                suite: "code".into(),
                goal: Goal::Keep,
                probes: 80,
                prompts: 160,
                likelihoods: 30,
                goldens: 150,
                wrong_caught: Some(0.985),
                smallest_provable_loss: 0.0367,
                base: Some(BaseLine {
                    mean: 0.61,
                    scored: 80,
                    always_failed: 20,
                    can_lose: 60,
                }),
            }],
            kinds: vec![KindLine {
                kind: "number".into(),
                pass: 40,
                fail: 40,
                unscored: 0,
                true_passes: 36,
                judged_passes: 37,
                not_judged: 1,
            }],
            misjudged: vec![Misjudged {
                probe: id("add"),
                answer: "It is twelve.".into(),
                expected: "pass".into(),
                says: "fail: no number in \"It is twelve.\"".into(),
            }],
            findings: vec![
                Finding {
                    kind: FindingKind::AlwaysFailed,
                    probe: id("quicksort"),
                    detail: "0.00 on 2 prompts".into(),
                },
                Finding {
                    kind: FindingKind::Leak,
                    probe: id("who"),
                    detail: "\"Who are you?\" is trained on as \"who are you\"".into(),
                },
            ],
            judge: None,
        }
    }

    #[test]
    fn everything_is_said() {
        insta::assert_snapshot!(audit_text(&audit(), Style::plain(120)), @r#"
        ┌───────┬──────┬────────┬──────────┬────────┬──────────────┬──────────┬──────┬──────────────┬──────────┐
        │ suite ┆ goal ┆ probes ┆ one pass ┆ golden ┆ wrong caught ┆ excludes ┆ base ┆ always fails ┆ can lose │
        ╞═══════╪══════╪════════╪══════════╪════════╪══════════════╪══════════╪══════╪══════════════╪══════════╡
        │ code  ┆ keep ┆ 80     ┆ 38%      ┆ 150    ┆ 98%          ┆ 0.037    ┆ 0.61 ┆ 25%          ┆ 75%      │
        └───────┴──────┴────────┴──────────┴────────┴──────────────┴──────────┴──────┴──────────────┴──────────┘
        ┌────────┬──────┬──────┬───────────┬────────┬────────────┐
        │ check  ┆ pass ┆ fail ┆ precision ┆ recall ┆ not judged │
        ╞════════╪══════╪══════╪═══════════╪════════╪════════════╡
        │ number ┆ 40   ┆ 40   ┆ 0.973     ┆ 0.900  ┆ 1          │
        └────────┴──────┴──────┴───────────┴────────┴────────────┘
        1 golden answer judged otherwise than expected
          code::add "It is twelve." should pass; the checks say fail: no number in "It is twelve."
        1 probe: in the training data: a gain there shows nothing, and counts as none
          code::who "Who are you?" is trained on as "who are you"
        1 probe: the base always fails: it can show no loss
          code::quicksort 0.00 on 2 prompts
        suites: to be mended
        "#);
    }

    /// The counts stand in the JSON as they are; there a reader divides.
    #[test]
    fn a_share_of_nothing_is_a_dash_and_no_number() {
        let mut audit = audit();
        let mut one_sided = audit.kinds[0].clone();
        one_sided.kind = "refusal".into();
        (
            one_sided.pass,
            one_sided.true_passes,
            one_sided.judged_passes,
        ) = (0, 0, 0);
        audit.kinds = vec![one_sided];
        insta::assert_snapshot!(kind_lines(&audit, Style::plain(100)), @"
        ┌─────────┬──────┬──────┬───────────┬────────┬────────────┐
        │ check   ┆ pass ┆ fail ┆ precision ┆ recall ┆ not judged │
        ╞═════════╪══════╪══════╪═══════════╪════════╪════════════╡
        │ refusal ┆ 0    ┆ 40   ┆ -         ┆ -      ┆ 1          │
        └─────────┴──────┴──────┴───────────┴────────┴────────────┘
        ");
        let json = serde_json::to_value(&audit).unwrap();
        let expected = serde_json::json!({
            "kind": "refusal", "pass": 0, "fail": 40, "unscored": 0,
            "true_passes": 0, "judged_passes": 0, "not_judged": 1,
        });
        assert_eq!(json["kinds"][0], expected);
    }

    #[test]
    fn what_shows_no_loss_is_no_fault_of_the_suite() {
        let mut clean = audit();
        clean.misjudged.clear();
        clean.findings.truncate(1);
        assert!(clean.is_clean());
        assert!(audit_text(&clean, Style::plain(100)).ends_with("suites: clean\n"));
    }
}
