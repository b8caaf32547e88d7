//! How often the gate is right on a project's own suites, for people.

use comfy_table::ColumnConstraint;

use super::style::{ROWS, Style, Tone, score};
use super::wrap::wrapped;
use crate::flow::{FoundShare, SimulatedGroup, SimulatedRun, Simulation, share_error};
use crate::text::plural;

/// The loss whose power is told in words.
const TOLD: f64 = 0.10;
/// The same for all suites pooled, whose margin is smaller.
const TOLD_POOLED: f64 = 0.05;

/// The whole simulation.
pub fn simulation_text(simulation: &Simulation, style: Style) -> String {
    let mut text = line(
        Tone::Plain,
        &format!(
            "{} comparisons a setting, seed {}; a share's standard error is at most {:.1} of 100",
            simulation.comparisons,
            simulation.seed,
            100.0 * share_error(0.5, simulation.comparisons)
        ),
        style,
    );
    text += &groups(simulation, style);
    text += &line(
        Tone::Dim,
        "alarm: a harmless candidate is a regression; wrong: one that truly lost the margin passes; \
         then, how often a true loss of so much is a regression",
        style,
    );
    text += &sentences(simulation, style);
    text += &runs(simulation, style);
    for note in &simulation.notes {
        text += &line(Tone::Open, note, style);
    }
    text += &verdict(simulation, style);
    text
}

fn line(tone: Tone, text: &str, style: Style) -> String {
    wrapped("", &[(tone, text.to_owned())], style)
}

/// A share of 100, with a decimal below 10.
fn percent(share: f64) -> String {
    match 100.0 * share {
        0.0 => "0".into(),
        p if p < 0.05 => "<0.1".into(),
        p if p < 9.95 => format!("{p:.1}"),
        p => format!("{p:.0}"),
    }
}

fn or_dash(share: Option<f64>) -> String {
    share.map_or_else(|| "-".into(), percent)
}

/// More than is claimed, by more than chance.
fn is_broken(share: f64, simulation: &Simulation) -> bool {
    let claimed = simulation.claimed;
    share > claimed + 2.0 * share_error(claimed, simulation.comparisons)
}

fn groups(simulation: &Simulation, style: Style) -> String {
    let all: Vec<&SimulatedGroup> = std::iter::once(&simulation.pooled)
        .chain(&simulation.suites)
        .collect();
    let losses: Vec<String> = simulation
        .pooled
        .found
        .iter()
        .map(|f| score(f.loss))
        .collect();
    let mut heads = vec!["of 100", "probes", "base", "alarm", "wrong"];
    heads.extend(losses.iter().map(String::as_str));
    let mut table = style.table(ROWS, &heads);
    if let Some(names) = table.column_mut(0) {
        names.set_constraint(ColumnConstraint::ContentWidth);
    }
    for group in all {
        let marked = |share: f64| match is_broken(share, simulation) {
            true => (Tone::Bad, percent(share)),
            false => (Tone::Plain, percent(share)),
        };
        let mut cells = vec![
            (Tone::Plain, group.suite.clone()),
            (Tone::Plain, group.probes.to_string()),
            (Tone::Plain, score(group.base_mean)),
            marked(group.false_alarms),
            group
                .passes_at_margin
                .map_or_else(|| (Tone::Plain, "-".into()), marked),
        ];
        cells.extend(group.found.iter().map(|f| (Tone::Plain, or_dash(f.share))));
        table.add_row(cells.iter().map(|(tone, text)| style.cell(*tone, text)));
    }
    style.rendered(&table)
}

fn sentences(simulation: &Simulation, style: Style) -> String {
    let mut text = sentence(&simulation.pooled, TOLD_POOLED)
        .map(|said| line(Tone::Plain, &said, style))
        .unwrap_or_default();
    let mut well = Vec::new();
    for group in &simulation.suites {
        match sentence(group, TOLD) {
            Some(said) => text += &line(Tone::Plain, &said, style),
            None => well.push(format!("`{}`", group.suite)),
        }
    }
    if !well.is_empty() {
        let said = format!(
            "a true loss of {} is found in 95 of 100 runs or more in {}",
            score(TOLD),
            well.join(", ")
        );
        text += &line(Tone::Good, &said, style);
    }
    text
}

/// `a true loss of 0.10 in `code` is found in 83 of 100 runs; with 20 more probes in 95`; `None`
/// where it is found in 95 already.
fn sentence(group: &SimulatedGroup, loss: f64) -> Option<String> {
    let found = group.found.iter().find(|f| (f.loss - loss).abs() < 1e-9)?;
    let place = match group.suite.as_str() {
        "pooled" => "all suites together".to_owned(),
        suite => format!("`{suite}`"),
    };
    let Some(share) = found.share else {
        return Some(format!(
            "{place}: the base scores {}, so a loss of {} is not possible",
            score(group.base_mean),
            score(loss)
        ));
    };
    if share >= 0.95 {
        return None;
    }
    Some(format!(
        "a true loss of {} in {place} is found in {} of 100 runs; {}",
        score(loss),
        percent(share),
        way_out(found, share, group.margin)
    ))
}

fn way_out(found: &FoundShare, share: f64, margin: f64) -> String {
    let with = |more: usize, goal: usize| format!("with {} in {goal}", plural(more, "more probe"));
    let mut ways = Vec::new();
    if share < 0.80 {
        ways.extend(found.more_for_80.map(|more| with(more, 80)));
    }
    ways.extend(found.more_for_95.map(|more| with(more, 95)));
    match ways.is_empty() {
        false => ways.join(", "),
        true if found.loss < margin / 2.0 + 1e-9 => format!(
            "more probes do not help: below half the margin of {} a loss is no regression",
            score(margin)
        ),
        true => "twenty times as many probes would not find it in 80".into(),
    }
}

fn runs(simulation: &Simulation, style: Style) -> String {
    let losses: Vec<String> = simulation
        .runs
        .first()
        .map(|run| run.found.iter().map(|f| score(f.loss)).collect())
        .unwrap_or_default();
    let mut heads = vec!["of 100", "unscored", "alarm", "passes", "wrong"];
    heads.extend(losses.iter().map(String::as_str));
    let mut table = style.table(ROWS, &heads);
    if let Some(names) = table.column_mut(0) {
        names.set_constraint(ColumnConstraint::ContentWidth);
    }
    for run in &simulation.runs {
        let alarms = match is_broken(run.false_alarms, simulation) {
            true => (Tone::Bad, percent(run.false_alarms)),
            false => (Tone::Plain, percent(run.false_alarms)),
        };
        let unscored = if run.unscored { "as the base" } else { "none" };
        let mut cells = vec![
            (Tone::Plain, name(run)),
            (Tone::Plain, unscored.to_owned()),
            alarms,
            (Tone::Plain, percent(run.passes)),
            (Tone::Plain, or_dash(run.passes_at_margin)),
        ];
        cells.extend(run.found.iter().map(|found| {
            let (first, all) = (percent(found.at_one_look), percent(found.in_the_run));
            let both = match run.looks {
                1 => first,
                _ => format!("{first}, {all}"),
            };
            (Tone::Plain, both)
        }));
        table.add_row(cells.iter().map(|(tone, text)| style.cell(*tone, text)));
    }
    let mut text = style.rendered(&table);
    if simulation.runs.iter().any(|run| run.looks > 1) {
        text += &line(
            Tone::Dim,
            "of a run: a loss of so much in all suites is found at one look, and by the end of the \
             run; a pass is that of the checkpoint that looks best",
            style,
        );
    }
    text
}

fn name(run: &SimulatedRun) -> String {
    match run.looks {
        1 => "one gate".into(),
        looks => format!("{looks} looks"),
    }
}

fn verdict(simulation: &Simulation, style: Style) -> String {
    let highest = |of: fn(&SimulatedRun) -> f64| {
        let shares = simulation.runs.iter().map(of);
        shares.fold(0.0, f64::max)
    };
    let alarms = highest(|run| run.false_alarms);
    let wrong = highest(|run| run.passes_at_margin.unwrap_or(0.0));
    let claimed = percent(simulation.claimed);
    let held = !is_broken(alarms, simulation) && !is_broken(wrong, simulation);
    let said = format!(
        "false alarms: claimed at most {claimed} of 100 runs, simulated {}; a pass at a true loss of \
         the margin: claimed at most {claimed}, simulated {}",
        percent(alarms),
        percent(wrong)
    );
    line(if held { Tone::Good } else { Tone::Bad }, &said, style)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::FoundInRun;

    fn found(loss: f64, share: Option<f64>, more: [Option<usize>; 2]) -> FoundShare {
        FoundShare {
            loss,
            share,
            more_for_80: more[0],
            more_for_95: more[1],
        }
    }

    fn group(suite: &str, probes: usize, shares: [Option<f64>; 4]) -> SimulatedGroup {
        let losses = [0.03, 0.05, 0.10, 0.20];
        let found = losses.iter().zip(shares).map(|(&loss, share)| {
            let short = |goal| share.is_some_and(|share| share < goal && loss > 0.04);
            found(
                loss,
                share,
                [short(0.8).then_some(14), short(0.95).then_some(20)],
            )
        });
        SimulatedGroup {
            suite: suite.into(),
            probes,
            base_mean: 0.71,
            flips: 0.06,
            unscored: 0.01,
            margin: if suite == "pooled" { 0.03 } else { 0.15 },
            false_alarms: 0.0041,
            passes: 0.83,
            passes_at_margin: Some(0.0389),
            found: found.collect(),
            needs: None,
        }
    }

    fn run(looks: usize, false_alarms: f64) -> SimulatedRun {
        SimulatedRun {
            looks,
            unscored: true,
            false_alarms,
            pooled_alarms: 0.004,
            critical_alarms: 0.0,
            passes: 0.8,
            passes_at_margin: Some(0.031),
            found: vec![FoundInRun {
                loss: 0.05,
                at_one_look: 0.42,
                in_the_run: 0.97,
            }],
        }
    }

    fn simulation() -> Simulation {
        Simulation {
            comparisons: 10_000,
            seed: 42,
            claimed: 0.05,
            pooled: group(
                "pooled",
                120,
                [Some(0.21), Some(0.62), Some(1.0), Some(1.0)],
            ),
            suites: vec![
                group("code", 60, [Some(0.0), Some(0.01), Some(0.83), Some(1.0)]),
                group(
                    "instruction-zh",
                    56,
                    [Some(0.0), Some(0.02), Some(0.97), Some(1.0)],
                ),
                SimulatedGroup {
                    base_mean: 0.04,
                    passes_at_margin: None,
                    ..group("refusal", 4, [Some(0.0), None, None, None])
                },
            ],
            runs: vec![run(1, 0.012), run(12, 0.019)],
            notes: vec!["`refusal` cannot decide anything".into()],
        }
    }

    #[test]
    fn a_simulation_fits_a_terminal() {
        insta::assert_snapshot!(simulation_text(&simulation(), Style::plain(80)), @"
        10000 comparisons a setting, seed 42; a share's standard error is at most 0.5 of
        100
        ┌────────────────┬────────┬──────┬───────┬───────┬──────┬──────┬──────┬──────┐
        │ of 100         ┆ probes ┆ base ┆ alarm ┆ wrong ┆ 0.03 ┆ 0.05 ┆ 0.10 ┆ 0.20 │
        ╞════════════════╪════════╪══════╪═══════╪═══════╪══════╪══════╪══════╪══════╡
        │ pooled         ┆ 120    ┆ 0.71 ┆ 0.4   ┆ 3.9   ┆ 21   ┆ 62   ┆ 100  ┆ 100  │
        │ code           ┆ 60     ┆ 0.71 ┆ 0.4   ┆ 3.9   ┆ 0    ┆ 1.0  ┆ 83   ┆ 100  │
        │ instruction-zh ┆ 56     ┆ 0.71 ┆ 0.4   ┆ 3.9   ┆ 0    ┆ 2.0  ┆ 97   ┆ 100  │
        │ refusal        ┆ 4      ┆ 0.04 ┆ 0.4   ┆ -     ┆ 0    ┆ -    ┆ -    ┆ -    │
        └────────────────┴────────┴──────┴───────┴───────┴──────┴──────┴──────┴──────┘
        alarm: a harmless candidate is a regression; wrong: one that truly lost the
        margin passes; then, how often a true loss of so much is a regression
        a true loss of 0.05 in all suites together is found in 62 of 100 runs; with 14
        more probes in 80, with 20 more probes in 95
        a true loss of 0.10 in `code` is found in 83 of 100 runs; with 20 more probes in
        95
        `refusal`: the base scores 0.04, so a loss of 0.10 is not possible
        a true loss of 0.10 is found in 95 of 100 runs or more in `instruction-zh`
        ┌──────────┬─────────────┬───────┬────────┬───────┬────────┐
        │ of 100   ┆ unscored    ┆ alarm ┆ passes ┆ wrong ┆ 0.05   │
        ╞══════════╪═════════════╪═══════╪════════╪═══════╪════════╡
        │ one gate ┆ as the base ┆ 1.2   ┆ 80     ┆ 3.1   ┆ 42     │
        │ 12 looks ┆ as the base ┆ 1.9   ┆ 80     ┆ 3.1   ┆ 42, 97 │
        └──────────┴─────────────┴───────┴────────┴───────┴────────┘
        of a run: a loss of so much in all suites is found at one look, and by the end
        of the run; a pass is that of the checkpoint that looks best
        `refusal` cannot decide anything
        false alarms: claimed at most 5.0 of 100 runs, simulated 1.9; a pass at a true
        loss of the margin: claimed at most 5.0, simulated 3.1
        ");
    }

    #[test]
    fn more_alarms_than_claimed_are_marked() {
        let mut broken = simulation();
        broken.runs[1].false_alarms = 0.0544;
        assert!(is_broken(0.0544, &broken) && !is_broken(0.0543, &broken));
        let style = Style {
            color: true,
            ascii: false,
            width: 80,
        };
        let text = simulation_text(&broken, style);
        let last = text.lines().rev().take(2).collect::<String>();
        assert!(last.contains("\u{1b}[31m"), "{last:?}");
    }
}
