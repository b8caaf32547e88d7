//! What suites made of mutants, as tables for people.

use comfy_table::ColumnConstraint;

use super::style::{ROWS, Style, Tone, difference, one_line};
use super::wrap::wrapped;
use crate::flow::{Decision, MutantLine, MutantReport, MutantSuite, SuiteVerdict, Wanted};
use crate::text::{all_of, plural};

/// Names that one line shows.
const SHOWN: usize = 5;
/// Suites that stand in a mutant's row.
const KILLERS: usize = 2;
/// Characters of a verdict's sentence.
const SENTENCE: usize = 300;

/// The whole test.
pub fn mutants_text(report: &MutantReport, style: Style) -> String {
    let mut text = wrapped(
        "",
        &[(
            Tone::Strong,
            format!(
                "mutants of {} ({}) on {}",
                report.adapter, report.adapter_decision, report.model
            ),
        )],
        style,
    );
    text.push_str(&mutant_table(report, style));
    text.push_str(&suite_table(report, style));
    for (tone, said) in told(report) {
        text.push_str(&wrapped("", &[(tone, said)], style));
    }
    let ((killed, harmful), (stopped, harmless)) = (report.kills(), report.false_alarms());
    let tone = match report.is_clean() {
        true => Tone::Good,
        false => Tone::Bad,
    };
    let said = format!(
        "suites: {killed} of {} killed, {stopped} of {} stopped",
        plural(harmful, "harmful mutant"),
        plural(harmless, "harmless one"),
    );
    text.push_str(&style.paint(tone, &said));
    text.push('\n');
    text
}

fn mutant_table(report: &MutantReport, style: Style) -> String {
    let heads = ["mutant", "wanted", "verdict", "difference", "killed by"];
    let mut table = style.table(ROWS, &heads);
    for column in 0..4 {
        if let Some(column) = table.column_mut(column) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    for mutant in &report.mutants {
        let tone = match (mutant.wanted, mutant.is_wrong()) {
            (Wanted::Either, _) => Tone::Plain,
            (_, true) => Tone::Bad,
            (_, false) => Tone::Good,
        };
        let estimate = mutant.pooled.estimate.as_ref();
        let change = estimate.map_or_else(|| "-".into(), |e| difference(e.difference));
        let cells = [
            (Tone::Plain, mutant.name.clone()),
            (Tone::Dim, mutant.wanted.to_string()),
            (tone, mutant.decision.to_string()),
            (Tone::Plain, change),
            (Tone::Plain, killers(mutant)),
        ];
        table.add_row(cells.iter().map(|(tone, text)| style.cell(*tone, text)));
    }
    style.rendered(&table)
}

/// `pooled`, and the suites that are red by themselves.
fn killers(mutant: &MutantLine) -> String {
    if mutant.killed_by.is_empty() {
        return "-".into();
    }
    let is_pooled = |name: &&String| name.as_str() == SuiteVerdict::POOLED;
    let mut names: Vec<&str> = mutant.killed_by.iter().map(String::as_str).collect();
    // The row of all together comes first: it is what suites are compared with.
    if mutant.killed_by.iter().any(|name| is_pooled(&name)) {
        names.retain(|name| *name != SuiteVerdict::POOLED);
        names.insert(0, SuiteVerdict::POOLED);
    }
    let more = names.len().saturating_sub(1 + KILLERS);
    names.truncate(1 + KILLERS);
    let mut said = names.join(", ");
    if more > 0 {
        let more = format!(", +{more}");
        said.push_str(&more);
    }
    said
}

fn suite_table(report: &MutantReport, style: Style) -> String {
    let heads = [
        "suite",
        "probes",
        "base passes",
        "kills",
        "alone",
        "false",
        "silent",
    ];
    let mut table = style.table(ROWS, &heads);
    if let Some(names) = table.column_mut(0) {
        names.set_constraint(ColumnConstraint::ContentWidth);
    }
    let marked = |is_bad: bool| match is_bad {
        true => Tone::Open,
        false => Tone::Plain,
    };
    for suite in &report.suites {
        let kills = match suite.can_kill {
            true => suite.kills.to_string(),
            false => "cannot".into(),
        };
        let cells = [
            (Tone::Plain, suite.suite.clone()),
            (Tone::Plain, suite.probes.to_string()),
            (Tone::Plain, suite.passed.to_string()),
            (marked(suite.kills == 0), kills),
            (Tone::Plain, suite.alone.len().to_string()),
            (
                marked(suite.false_alarms > 0),
                suite.false_alarms.to_string(),
            ),
            (Tone::Plain, suite.silent.len().to_string()),
        ];
        table.add_row(cells.iter().map(|(tone, text)| style.cell(*tone, text)));
    }
    style.rendered(&table)
}

/// What is to be done, a sentence each.
fn told(report: &MutantReport) -> Vec<(Tone, String)> {
    let mut told = Vec::new();
    for mutant in report.mutants.iter().filter(|m| m.is_wrong()) {
        let what = match mutant.wanted {
            Wanted::Spared => "stopped, harmless as it is",
            _ => "not killed",
        };
        told.push((
            Tone::Bad,
            format!(
                "{what}: `{}` ({}): {}",
                mutant.name,
                mutant.made,
                one_line(&mutant.sentence, SENTENCE)
            ),
        ));
    }
    let undecided: Vec<&str> = report
        .of(Wanted::Spared)
        .filter(|m| m.decision == Decision::Inconclusive)
        .map(|m| m.name.as_str())
        .collect();
    if !undecided.is_empty() {
        told.push((
            Tone::Open,
            format!(
                "neither passed nor stopped, harmless as they are: {}; a gate would ask for more probes",
                some(&undecided)
            ),
        ));
    }
    let named = |which: &dyn Fn(&MutantSuite) -> bool| -> Vec<&str> {
        let suites = report.suites.iter().filter(|suite| which(suite));
        suites.map(|suite| suite.suite.as_str()).collect()
    };
    let idle = named(&|suite| suite.can_kill && suite.kills == 0);
    if !idle.is_empty() {
        told.push((
            Tone::Open,
            format!(
                "killed nothing: {}; prune such a suite, or grow it by probes that the base passes",
                some(&idle)
            ),
        ));
    }
    let unable = named(&|suite| !suite.can_kill);
    if !unable.is_empty() {
        told.push((
            Tone::Open,
            format!(
                "could kill nothing, not even an adapter that fails every probe: {}; the base passes too \
                 few of their probes",
                some(&unable)
            ),
        ));
    }
    let alone: Vec<String> = report
        .suites
        .iter()
        .filter(|suite| !suite.alone.is_empty())
        .map(|suite| format!("{} ({})", suite.suite, some(&suite.alone)))
        .collect();
    if !alone.is_empty() {
        told.push((
            Tone::Plain,
            format!("killed what nothing else did: {}", some(&alone)),
        ));
    }
    let by_signs: Vec<String> = report
        .of(Wanted::Killed)
        .filter(|m| m.killed_by == [MutantLine::SIGNS])
        .map(|m| format!("{} ({})", m.name, m.signs.join("; ")))
        .collect();
    if !by_signs.is_empty() {
        told.push((
            Tone::Plain,
            format!(
                "killed by signs over all answers alone: {}",
                some(&by_signs)
            ),
        ));
    }
    let lone: Vec<String> = report
        .lone
        .iter()
        .map(|lone| format!("{} ({})", lone.probe, some(&lone.mutants)))
        .collect();
    if !lone.is_empty() {
        told.push((
            Tone::Plain,
            format!("lost where no other probe was: {}", some(&lone)),
        ));
    }
    let silent: usize = report.suites.iter().map(|suite| suite.silent.len()).sum();
    if silent > 0 {
        told.push((
            Tone::Dim,
            format!(
                "{} that the base passes stayed passed by every harmful mutant (--format json names \
                 them)",
                plural(silent, "probe")
            ),
        ));
    }
    told.extend(report.notes.iter().map(|note| (Tone::Dim, note.clone())));
    told
}

/// The first few names, and how many there are besides.
fn some<S: AsRef<str>>(names: &[S]) -> String {
    let shown: Vec<&str> = names.iter().take(SHOWN).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(SHOWN) {
        0 => all_of(&shown),
        more => format!("{}, and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Estimate, Goal, LoneProbe, ProbeId, SuiteState};

    fn line(name: &str, wanted: Wanted, decision: Decision, killed_by: &[&str]) -> MutantLine {
        let estimate = Estimate {
            base_mean: 0.9,
            candidate_mean: 0.6,
            difference: match decision {
                Decision::Regression => -0.3,
                _ => -0.01,
            },
            lower: -0.4,
            upper: 0.0,
            confidence: 0.95,
            probes: 100,
            losses: 30,
            gains: 0,
            unscored: 0,
        };
        MutantLine {
            name: name.into(),
            made: "as it was made".into(),
            wanted,
            decision,
            sentence: format!("{decision}: a sentence of the gate"),
            pooled: SuiteVerdict {
                suite: "pooled".into(),
                goal: Goal::Keep,
                state: SuiteState::Pass,
                estimate: Some(estimate),
                margin: Some(0.03),
                target: None,
                p_loss: None,
                smallest_provable_loss: None,
                reasons: Vec::new(),
                spread: None,
            },
            killed_by: killed_by.iter().map(ToString::to_string).collect(),
            signs: Vec::new(),
            lost: Vec::new(),
            could_not_measure: Vec::new(),
        }
    }

    fn id(probe: &str) -> ProbeId {
        ProbeId {
            suite: "code".into(),
            probe: probe.into(),
        }
    }

    fn report() -> MutantReport {
        use Decision::{Inconclusive, Pass, Regression};
        use Wanted::{Either, Killed, Spared};
        let suite = |name: &str| MutantSuite {
            suite: name.into(),
            probes: 40,
            passed: 36,
            can_kill: true,
            kills: 3,
            alone: Vec::new(),
            false_alarms: 0,
            silent: Vec::new(),
        };
        MutantReport {
            model: "fixture".into(),
            adapter: "run-0001/ckpt-40".into(),
            adapter_decision: Pass,
            mutants: vec![
                line(
                    "scaled 8",
                    Killed,
                    Regression,
                    &["code", "facts", "knowledge-zh", "language", "pooled"],
                ),
                line("scaled 4", Killed, Inconclusive, &[]),
                line("identity by heart", Killed, Regression, &["code"]),
                MutantLine {
                    signs: vec!["declines in 31 of 412 answers".into()],
                    ..line("refusals", Killed, Regression, &["signs"])
                },
                line("crossed", Either, Regression, &["pooled"]),
                line("noise", Spared, Regression, &["facts"]),
                line("bf16", Spared, Inconclusive, &[]),
                line("scale 0", Spared, Pass, &[]),
            ],
            suites: vec![
                MutantSuite {
                    alone: vec!["identity by heart".into()],
                    silent: vec![id("a"), id("b")],
                    ..suite("code")
                },
                MutantSuite {
                    false_alarms: 1,
                    ..suite("facts")
                },
                MutantSuite {
                    kills: 0,
                    ..suite("language")
                },
                MutantSuite {
                    kills: 0,
                    passed: 2,
                    can_kill: false,
                    ..suite("reasoning-zh")
                },
            ],
            lone: vec![LoneProbe {
                probe: id("quicksort"),
                mutants: vec!["scaled 4".into()],
            }],
            notes: vec![
                "no mutant `shuffled` of mine: no two of its layers have matrices of one shape"
                    .into(),
            ],
        }
    }

    #[test]
    fn everything_that_is_to_be_done_is_named() {
        insta::assert_snapshot!(mutants_text(&report(), Style::plain(80)), @"
        mutants of run-0001/ckpt-40 (pass) on fixture
        ┌───────────────────┬────────┬──────────────┬────────────┬───────────────┐
        │ mutant            ┆ wanted ┆ verdict      ┆ difference ┆ killed by     │
        ╞═══════════════════╪════════╪══════════════╪════════════╪═══════════════╡
        │ scaled 8          ┆ killed ┆ regression   ┆ -0.30      ┆ pooled, code, │
        │                   ┆        ┆              ┆            ┆ facts, +2     │
        │ scaled 4          ┆ killed ┆ inconclusive ┆ -0.01      ┆ -             │
        │ identity by heart ┆ killed ┆ regression   ┆ -0.30      ┆ code          │
        │ refusals          ┆ killed ┆ regression   ┆ -0.30      ┆ signs         │
        │ crossed           ┆ either ┆ regression   ┆ -0.30      ┆ pooled        │
        │ noise             ┆ spared ┆ regression   ┆ -0.30      ┆ facts         │
        │ bf16              ┆ spared ┆ inconclusive ┆ -0.01      ┆ -             │
        │ scale 0           ┆ spared ┆ pass         ┆ -0.01      ┆ -             │
        └───────────────────┴────────┴──────────────┴────────────┴───────────────┘
        ┌──────────────┬────────┬─────────────┬────────┬───────┬───────┬────────┐
        │ suite        ┆ probes ┆ base passes ┆ kills  ┆ alone ┆ false ┆ silent │
        ╞══════════════╪════════╪═════════════╪════════╪═══════╪═══════╪════════╡
        │ code         ┆ 40     ┆ 36          ┆ 3      ┆ 1     ┆ 0     ┆ 2      │
        │ facts        ┆ 40     ┆ 36          ┆ 3      ┆ 0     ┆ 1     ┆ 0      │
        │ language     ┆ 40     ┆ 36          ┆ 0      ┆ 0     ┆ 0     ┆ 0      │
        │ reasoning-zh ┆ 40     ┆ 2           ┆ cannot ┆ 0     ┆ 0     ┆ 0      │
        └──────────────┴────────┴─────────────┴────────┴───────┴───────┴────────┘
        not killed: `scaled 4` (as it was made): inconclusive: a sentence of the gate
        stopped, harmless as it is: `noise` (as it was made): regression: a sentence of
        the gate
        neither passed nor stopped, harmless as they are: bf16; a gate would ask for
        more probes
        killed nothing: language; prune such a suite, or grow it by probes that the base
        passes
        could kill nothing, not even an adapter that fails every probe: reasoning-zh;
        the base passes too few of their probes
        killed what nothing else did: code (identity by heart)
        killed by signs over all answers alone: refusals (declines in 31 of 412 answers)
        lost where no other probe was: code::quicksort (scaled 4)
        2 probes that the base passes stayed passed by every harmful mutant (--format
        json names them)
        no mutant `shuffled` of mine: no two of its layers have matrices of one shape
        suites: 3 of 4 harmful mutants killed, 1 of 3 harmless ones stopped
        ");
    }

    #[test]
    fn a_clean_test_says_no_more_than_its_tables() {
        let mut report = report();
        report.mutants.retain(|m| !m.is_wrong() && m.name != "bf16");
        report.suites.truncate(2);
        for suite in &mut report.suites {
            suite.alone.clear();
            suite.silent.clear();
            suite.false_alarms = 0;
        }
        report.lone.clear();
        report.notes.clear();
        report.mutants.retain(|m| m.signs.is_empty());
        assert!(report.is_clean());
        insta::assert_snapshot!(mutants_text(&report, Style::plain(80)), @"
        mutants of run-0001/ckpt-40 (pass) on fixture
        ┌───────────────────┬────────┬────────────┬────────────┬───────────────────────┐
        │ mutant            ┆ wanted ┆ verdict    ┆ difference ┆ killed by             │
        ╞═══════════════════╪════════╪════════════╪════════════╪═══════════════════════╡
        │ scaled 8          ┆ killed ┆ regression ┆ -0.30      ┆ pooled, code, facts,  │
        │                   ┆        ┆            ┆            ┆ +2                    │
        │ identity by heart ┆ killed ┆ regression ┆ -0.30      ┆ code                  │
        │ crossed           ┆ either ┆ regression ┆ -0.30      ┆ pooled                │
        │ scale 0           ┆ spared ┆ pass       ┆ -0.01      ┆ -                     │
        └───────────────────┴────────┴────────────┴────────────┴───────────────────────┘
        ┌───────┬────────┬─────────────┬───────┬───────┬───────┬────────┐
        │ suite ┆ probes ┆ base passes ┆ kills ┆ alone ┆ false ┆ silent │
        ╞═══════╪════════╪═════════════╪═══════╪═══════╪═══════╪════════╡
        │ code  ┆ 40     ┆ 36          ┆ 3     ┆ 0     ┆ 0     ┆ 0      │
        │ facts ┆ 40     ┆ 36          ┆ 3     ┆ 0     ┆ 0     ┆ 0      │
        └───────┴────────┴─────────────┴───────┴───────┴───────┴────────┘
        suites: 2 of 2 harmful mutants killed, 0 of 1 harmless one stopped
        ");
    }

    #[test]
    fn a_report_reads_back_as_it_was_written() {
        let report = report();
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<MutantReport>(&text).unwrap(), report);
    }
}
