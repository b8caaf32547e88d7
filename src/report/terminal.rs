//! The comparison as tables and sentences: suites, verdict, and what to type next.

use super::style::{ROWS, Style, Tone, interval, one_line, score};
use super::wrap::wrapped;
use crate::flow::{
    Candidate, Comparison, Decision, Estimate, Goal, Preview, PreviewLine, SuiteState,
    SuiteVerdict, Verdict,
};

/// The tone of a decision.
pub(super) fn decision_tone(decision: Decision) -> Tone {
    match decision {
        Decision::Pass => Tone::Good,
        Decision::Regression => Tone::Bad,
        Decision::Inconclusive => Tone::Open,
    }
}

/// The tone of a verdict's headline.
pub(super) fn verdict_tone(verdict: &Verdict) -> Tone {
    match verdict.learned_enough() {
        true => decision_tone(verdict.decision),
        false => Tone::Bad,
    }
}

/// The way out, where a required target is all that was missed.
const SOFTEN: &str = "`learn = \"warn\"` under [gate] lets it ship all the same; for a checkpoint of a \
    run add `--config qeval.toml`";

pub(super) fn state_tone(state: SuiteState) -> Tone {
    match state {
        SuiteState::Pass | SuiteState::Reached => Tone::Good,
        SuiteState::Regression => Tone::Bad,
        SuiteState::Inconclusive | SuiteState::Missed | SuiteState::NotMeasured => Tone::Open,
    }
}

/// Narrower terminals get one short table a candidate.
const WIDE: usize = 110;

/// One row a suite and candidate, the pooled `keep` score last: means, paired difference with its
/// one-sided ends, and what the suite came to.
pub fn suite_table(comparison: &Comparison, style: Style) -> String {
    if style.width < WIDE {
        return narrow_tables(comparison, style);
    }
    let several = comparison.candidates.len() > 1;
    let alone = comparison
        .candidates
        .first()
        .map_or("candidate", |c| c.subject.name.as_str());
    let mut heads = vec!["suite", "goal", "probes", comparison.base.name.as_str()];
    if several {
        heads.extend(["candidate", "score"]);
    } else {
        heads.push(alone);
    }
    heads.push("difference");
    if !comparison.noise.is_empty() {
        heads.push("noise");
    }
    heads.push("verdict");
    let mut table = style.table(ROWS, &heads);
    let count = |c: &Candidate| rows(&c.verdict).count();
    for index in 0..comparison.candidates.iter().map(count).max().unwrap_or(0) {
        let mut above: Vec<(Tone, String)> = Vec::new();
        for candidate in &comparison.candidates {
            let Some(suite) = rows(&candidate.verdict).nth(index) else {
                continue;
            };
            let name = several.then_some(candidate.subject.name.as_str());
            let cells = suite_cells(comparison, &candidate.verdict, suite, name);
            // What is said of the suite and the base once need not be said again.
            table.add_row(cells.iter().enumerate().map(|(column, cell)| {
                let repeated = column < SHARED_COLUMNS && above.get(column) == Some(cell);
                style.cell(cell.0, if repeated { "" } else { &cell.1 })
            }));
            above = cells;
        }
    }
    style.rendered(&table)
}

/// The suites in their order, then the pooled score when there is one.
fn rows(verdict: &Verdict) -> impl Iterator<Item = &SuiteVerdict> {
    let pooled = Some(&verdict.pooled).filter(|pooled| pooled.estimate.is_some());
    verdict.suites.iter().chain(pooled)
}

fn narrow_tables(comparison: &Comparison, style: Style) -> String {
    let mut text = String::new();
    for candidate in &comparison.candidates {
        let title = format!("{} against {}", candidate.subject, comparison.base);
        text.push_str(&wrapped("", &[(Tone::Strong, title)], style));
        let mut heads = vec!["suite", "probes", "base", "candidate", "difference"];
        if !comparison.noise.is_empty() {
            heads.push("noise");
        }
        heads.push("verdict");
        let mut table = style.table(ROWS, &heads);
        for suite in rows(&candidate.verdict) {
            let mut cells = suite_cells(comparison, &candidate.verdict, suite, None);
            cells.remove(GOAL_COLUMN);
            if let Some(last) = cells.last_mut() {
                last.1 = suite.state.to_string();
            }
            table.add_row(cells.iter().map(|(tone, text)| style.cell(*tone, text)));
        }
        text.push_str(&style.rendered(&table));
    }
    text
}

/// Columns that the candidates of a suite usually have in common: suite, goal, probes, base.
const SHARED_COLUMNS: usize = 4;
const GOAL_COLUMN: usize = 1;

fn suite_cells(
    comparison: &Comparison,
    verdict: &Verdict,
    suite: &SuiteVerdict,
    candidate: Option<&str>,
) -> Vec<(Tone, String)> {
    let name = if suite.is_pooled() {
        "all keep"
    } else {
        &suite.suite
    };
    let goal = aim(suite);
    let numbers = suite.estimate.as_ref();
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let probes = numbers.map(asked);
    let change = numbers.map(interval);
    let state = came_to(suite);
    let mut cells = vec![
        (Tone::Plain, name.to_string()),
        (Tone::Dim, goal),
        (Tone::Plain, or_none(probes)),
        (Tone::Plain, or_none(numbers.map(|e| score(e.base_mean)))),
    ];
    cells.extend(candidate.map(|name| (Tone::Plain, name.to_string())));
    cells.push((
        Tone::Plain,
        or_none(numbers.map(|e| score(e.candidate_mean))),
    ));
    cells.push((Tone::Plain, or_none(change)));
    if !comparison.noise.is_empty() {
        cells.push((
            Tone::Dim,
            or_none(comparison.noise_of(verdict, suite).map(score)),
        ));
    }
    cells.push((state_tone(suite.state), state));
    cells
}

/// What a suite wants: `keep -0.10`, `learn 0.80`.
pub(super) fn aim(suite: &SuiteVerdict) -> String {
    match (suite.goal, suite.margin, suite.target) {
        (Goal::Keep, Some(margin), _) => format!("keep -{margin:.2}"),
        (Goal::Learn, _, Some(target)) => format!("learn {target:.2}"),
        (Goal::Keep, ..) => "keep".into(),
        (Goal::Learn, ..) => "learn".into(),
    }
}

/// Probes in the means, and those that were left out of them.
pub(super) fn asked(estimate: &Estimate) -> String {
    match estimate.unscored {
        0 => estimate.probes.to_string(),
        unscored => format!("{} + {unscored} unscored", estimate.probes),
    }
}

/// What a suite came to, with the p-value of a regression.
pub(super) fn came_to(suite: &SuiteVerdict) -> String {
    let lost = suite.state == SuiteState::Regression;
    match suite.p_loss.filter(|_| lost) {
        Some(p) if p < 1e-4 => "regression, p < 0.0001".into(),
        Some(p) if p < 1e-3 => format!("regression, p = {p:.4}"),
        Some(p) => format!("regression, p = {p:.3}"),
        None => suite.state.to_string(),
    }
}

/// The verdict in one line, then its reasons, what the `learn` suites say, causes, notes, and the
/// command to type next.
pub fn verdict_block(
    candidate: &str,
    verdict: &Verdict,
    causes: &[String],
    next_command: &str,
    style: Style,
) -> String {
    let headline = style.paint(verdict_tone(verdict), verdict.headline());
    let mut block = format!("{candidate}: {headline}\n");
    let mut above = "";
    for line in verdict_lines(verdict, causes) {
        let head = if line.head == above { "" } else { line.head };
        above = line.head;
        let text = one_line(&line.text, 2000);
        block.push_str(&wrapped(
            &format!("  {head:<9}"),
            &[(line.tone, text)],
            style,
        ));
    }
    if !next_command.is_empty() {
        // On one line however long: a command that is broken into two cannot be copied.
        let next = style.paint(Tone::Strong, next_command);
        for part in ["  next     ", &next, "\n"] {
            block.push_str(part);
        }
    }
    block
}

/// A sentence beside a verdict.
pub(super) struct VerdictLine {
    /// What it is: `because`, `learned`, `note`.
    pub head: &'static str,
    /// How it is meant.
    pub tone: Tone,
    /// The sentence.
    pub text: String,
}

/// The reasons of a verdict, what the `learn` suites say, what is missing, causes, and notes.
pub(super) fn verdict_lines(verdict: &Verdict, causes: &[String]) -> Vec<VerdictLine> {
    let tone = verdict_tone(verdict);
    let decided = decision_tone(verdict.decision);
    let too_little = verdict.headline() != verdict.decision.to_string();
    let mut lines = Vec::new();
    let mut list = |head: &'static str, tone: Tone, items: &[String]| {
        lines.extend(items.iter().map(|item| VerdictLine {
            head,
            tone,
            text: item.clone(),
        }));
    };
    if too_little {
        let missed: Vec<String> = verdict.missed().map(SuiteVerdict::explained).collect();
        list("because", tone, &missed);
        let head = match verdict.decision {
            Decision::Pass => "kept",
            _ => "unproven",
        };
        list(head, decided, &verdict.reasons);
    } else {
        list("because", decided, &verdict.reasons);
    }
    let learned: Vec<String> = verdict
        .suites
        .iter()
        .filter(|s| s.goal == Goal::Learn && s.state != SuiteState::NotMeasured)
        .filter(|s| !(too_little && s.state == SuiteState::Missed))
        .map(SuiteVerdict::explained)
        .collect();
    list("learned", Tone::Plain, &learned);
    list("missing", Tone::Open, &verdict.could_not_measure);
    list("causes", Tone::Plain, causes);
    let passes = verdict.decision == Decision::Pass;
    let softened = (too_little && passes).then(|| SOFTEN.to_owned());
    let notes: Vec<String> = verdict.notes.iter().cloned().chain(softened).collect();
    list("note", Tone::Dim, &notes);
    lines
}

/// What the probes can prove, before anything is asked.
pub fn preview_lines(preview: &Preview, style: Style) -> String {
    let mut table = style.table(
        ROWS,
        &[
            "suite",
            "probes",
            "margin",
            "smallest loss it can exclude",
            "smallest loss it can prove",
        ],
    );
    let row = |line: &PreviewLine, name: &str| {
        [
            (Tone::Plain, name.to_string()),
            (Tone::Plain, line.probes.to_string()),
            (Tone::Plain, format!("{:.2}", line.margin)),
            (
                if line.smallest_provable_loss < line.margin {
                    Tone::Plain
                } else {
                    Tone::Open
                },
                format!("{:.3}", line.smallest_provable_loss),
            ),
            (
                Tone::Plain,
                line.smallest_detectable_loss
                    .map_or_else(|| "-".into(), |l| format!("{l:.3}")),
            ),
        ]
    };
    let pooled = preview.pooled.iter().map(|line| row(line, "all keep"));
    for cells in preview
        .suites
        .iter()
        .map(|line| row(line, &line.suite))
        .chain(pooled)
    {
        table.add_row(cells.iter().map(|(tone, text)| style.cell(*tone, text)));
    }
    let mut text = if preview.pooled.is_some() {
        style.rendered(&table)
    } else {
        String::new()
    };
    for note in &preview.notes {
        text.push_str(&wrapped("note: ", &[(Tone::Dim, note.clone())], style));
    }
    text
}

/// Base and candidates in one sentence each, for the end of a long output.
pub fn summary_lines(comparison: &Comparison, style: Style) -> String {
    let lines = comparison.candidates.iter().map(|candidate| {
        let verdict = &candidate.verdict;
        let lead = format!("{}: ", candidate.subject.name);
        let sentence = (verdict_tone(verdict), one_line(&verdict.sentence, 2000));
        wrapped(&lead, &[sentence], style)
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::LearnRule;
    use crate::report::testing::{careless, readable, too_little, two_candidates};
    use crate::report::wrap::text_width;

    #[test]
    fn one_candidate_has_a_column_of_its_own() {
        let mut comparison = two_candidates();
        comparison.candidates.truncate(1);
        let table = suite_table(&comparison, Style::plain(120));
        insta::assert_snapshot!(table, @"
        ┌──────────┬────────────┬──────────────────┬──────┬──────────┬──────────────────────┬────────────────────────┐
        │ suite    ┆ goal       ┆ probes           ┆ base ┆ careless ┆ difference           ┆ verdict                │
        ╞══════════╪════════════╪══════════════════╪══════╪══════════╪══════════════════════╪════════════════════════╡
        │ identity ┆ learn 0.80 ┆ 8                ┆ 0.00 ┆ 1.00     ┆ +1.00 [+0.20, +0.99] ┆ reached                │
        │ code     ┆ keep -0.15 ┆ 100 + 1 unscored ┆ 0.81 ┆ 0.15     ┆ -0.66 [-0.75, -0.55] ┆ regression, p = 0.0004 │
        │ all keep ┆ keep -0.10 ┆ 100 + 1 unscored ┆ 0.81 ┆ 0.15     ┆ -0.66 [-0.75, -0.55] ┆ regression, p < 0.0001 │
        └──────────┴────────────┴──────────────────┴──────┴──────────┴──────────────────────┴────────────────────────┘
        ");
    }

    #[test]
    fn several_candidates_share_the_rows_of_a_suite() {
        let view = two_candidates();
        insta::assert_snapshot!(suite_table(&view, Style::plain(120)), @"
        ┌──────────┬────────────┬──────────────────┬──────┬───────────┬───────┬──────────────────────┬────────────────────────┐
        │ suite    ┆ goal       ┆ probes           ┆ base ┆ candidate ┆ score ┆ difference           ┆ verdict                │
        ╞══════════╪════════════╪══════════════════╪══════╪═══════════╪═══════╪══════════════════════╪════════════════════════╡
        │ identity ┆ learn 0.80 ┆ 8                ┆ 0.00 ┆ careless  ┆ 1.00  ┆ +1.00 [+0.20, +0.99] ┆ reached                │
        │          ┆            ┆                  ┆      ┆ careful   ┆ 0.88  ┆ +0.88 [+0.20, +0.99] ┆ reached                │
        │ code     ┆ keep -0.15 ┆ 100 + 1 unscored ┆ 0.81 ┆ careless  ┆ 0.15  ┆ -0.66 [-0.75, -0.55] ┆ regression, p = 0.0004 │
        │          ┆            ┆ 100              ┆      ┆ careful   ┆ 0.80  ┆ -0.01 [-0.05, +0.03] ┆ pass                   │
        │ all keep ┆ keep -0.10 ┆ 100 + 1 unscored ┆ 0.81 ┆ careless  ┆ 0.15  ┆ -0.66 [-0.75, -0.55] ┆ regression, p < 0.0001 │
        │          ┆            ┆ 100              ┆      ┆ careful   ┆ 0.80  ┆ -0.01 [-0.05, +0.03] ┆ pass                   │
        └──────────┴────────────┴──────────────────┴──────┴───────────┴───────┴──────────────────────┴────────────────────────┘
        ");
        let narrow = suite_table(&view, Style::plain(80));
        assert!(
            narrow.lines().all(|line| text_width(line) <= 80),
            "{narrow}"
        );
    }

    #[test]
    fn colours_change_no_character() {
        let view = two_candidates();
        let colored = suite_table(
            &view,
            Style {
                color: true,
                ..Style::plain(120)
            },
        );
        let mut plain = String::new();
        let mut escape = false;
        for c in colored.chars() {
            match (escape, c) {
                (false, '\u{1b}') => escape = true,
                (true, 'm') => escape = false,
                (true, _) => {}
                (false, c) => plain.push(c),
            }
        }
        assert_eq!(plain, suite_table(&view, Style::plain(120)));
        assert!(
            readable(&colored).contains("<red> regression"),
            "{}",
            readable(&colored)
        );
    }

    #[test]
    fn a_verdict_ends_with_the_next_command() {
        let causes = ["repeats a training answer in 61 of 100 answers".to_string()];
        let next = "qeval diff base careless";
        let block = verdict_block("careless", &careless(), &causes, next, Style::plain(80));
        insta::assert_snapshot!(block, @"
        careless: regression
          because  `code` lost 0.66 of 0.81 (p < 0.0001)
          learned  `identity`: 1.00 reaches the target of 0.80, the base 0.00
          causes   repeats a training answer in 61 of 100 answers
          note     `code`: 1 probe with unscored draws, left out of the means: both:
                   unsupported syntax (p7); and a note that is long enough to need a
                   second line
          next     qeval diff base careless
        ");
        let style = Style {
            color: true,
            ..Style::plain(80)
        };
        let colored = verdict_block("careless", &careless(), &[], "", style);
        insta::assert_snapshot!(readable(&colored), @"
        careless: <red>regression</>
          because  <red>`code` lost 0.66 of 0.81 (p < 0.0001)</>
          learned  `identity`: 1.00 reaches the target of 0.80, the base 0.00
          note     <dim>`code`: 1 probe with unscored draws, left out of the means: both:</>
                   <dim>unsupported syntax (p7); and a note that is long enough to need a</>
                   <dim>second line</>
        ");
    }

    #[test]
    fn too_little_learned_is_said_first_with_what_was_kept_and_the_way_out() {
        let causes = ["this adapter changes nothing: every lora_B is zero".to_owned()];
        let mut verdict = too_little();
        let block = |verdict: &Verdict, causes: &[String], style| {
            verdict_block("ckpt-40", verdict, causes, "qeval diff base ckpt-40", style)
        };
        insta::assert_snapshot!(block(&verdict, &causes, Style::plain(80)), @r#"
        ckpt-40: learned too little
          because  `identity`: 0.35 is below the target of 0.80, the base 0.00
          kept     all `keep` suites: a loss of 0.10 is excluded (100 probes, difference
                   -0.01, at worst -0.047)
          causes   this adapter changes nothing: every lora_B is zero
          note     `learn = "warn"` under [gate] lets it ship all the same; for a
                   checkpoint of a run add `--config qeval.toml`
          next     qeval diff base ckpt-40
        "#);
        let style = Style {
            color: true,
            ..Style::plain(100)
        };
        verdict.decision = Decision::Inconclusive;
        verdict.reasons = vec!["all `keep` suites: a loss of 0.05 is not excluded".into()];
        insta::assert_snapshot!(readable(&block(&verdict, &[], style)), @"
        ckpt-40: <red>learned too little</>
          because  <red>`identity`: 0.35 is below the target of 0.80, the base 0.00</>
          unproven <yellow>all `keep` suites: a loss of 0.05 is not excluded</>
          next     <bold>qeval diff base ckpt-40</>
        ");
        verdict.learn_rule = LearnRule::Warn;
        insta::assert_snapshot!(readable(&block(&verdict, &[], style)), @"
        ckpt-40: <yellow>inconclusive</>
          because  <yellow>all `keep` suites: a loss of 0.05 is not excluded</>
          learned  `identity`: 0.35 is below the target of 0.80, the base 0.00
          next     <bold>qeval diff base ckpt-40</>
        ");
    }

    #[test]
    fn a_suite_that_could_not_be_measured_says_so() {
        let mut verdict = careless();
        verdict.suites[1].state = SuiteState::NotMeasured;
        verdict.suites[1].estimate = None;
        verdict
            .could_not_measure
            .push("`code`: 15 percent of the scores are missing".into());
        let cells = suite_cells(&two_candidates(), &verdict, &verdict.suites[1], None);
        let texts: Vec<&str> = cells.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "code",
                "keep -0.15",
                "-",
                "-",
                "-",
                "-",
                "could not measure"
            ]
        );
        let block = verdict_block("ckpt-40", &verdict, &[], "", Style::plain(80));
        assert!(block.contains("  missing  `code`: 15 percent"), "{block}");
    }

    #[test]
    fn preview_shows_both_smallest_losses() {
        let line = |suite: &str, probes, margin, excluded| PreviewLine {
            suite: suite.into(),
            probes,
            margin,
            smallest_provable_loss: excluded,
            smallest_detectable_loss: (probes > 5).then(|| 6.0 / probes as f64),
        };
        let preview = Preview {
            pooled: Some(line("pooled", 105, 0.1, 0.028)),
            suites: vec![
                line("code", 100, 0.15, 0.0295),
                line("gpt4", 5, 0.15, 0.451),
            ],
            notes: vec!["`gpt4` may stay inconclusive".into()],
        };
        insta::assert_snapshot!(preview_lines(&preview, Style::plain(100)), @"
        ┌──────────┬────────┬────────┬──────────────────────────────┬────────────────────────────┐
        │ suite    ┆ probes ┆ margin ┆ smallest loss it can exclude ┆ smallest loss it can prove │
        ╞══════════╪════════╪════════╪══════════════════════════════╪════════════════════════════╡
        │ code     ┆ 100    ┆ 0.15   ┆ 0.029                        ┆ 0.060                      │
        │ gpt4     ┆ 5      ┆ 0.15   ┆ 0.451                        ┆ -                          │
        │ all keep ┆ 105    ┆ 0.10   ┆ 0.028                        ┆ 0.057                      │
        └──────────┴────────┴────────┴──────────────────────────────┴────────────────────────────┘
        note: `gpt4` may stay inconclusive
        ");
    }

    #[test]
    fn a_summary_is_one_sentence_a_candidate() {
        insta::assert_snapshot!(summary_lines(&two_candidates(), Style::plain(100)), @"
        careless: regression: `code` lost 0.66 of 0.81 (p < 0.0001)
        careful: pass: all `keep` suites: a loss of 0.10 is excluded (100 probes, difference -0.01, at worst
                 -0.047)
        ");
    }
}
