//! What tuning plans and what came of it, as text.

use super::style::{ROWS, Style, Tone, interval, score};
use super::terminal::decision_tone;
use super::wrap::wrapped;
use crate::flow::{TunePlan, TunePoint, Tuning, Verdict};
use crate::text::{bytes, duration, plural};

/// What is going to be tried, rung by rung, and what it takes.
pub fn tune_plan(plan: &TunePlan, style: Style) -> String {
    let heads = [
        "rung",
        "settings",
        "of their steps",
        "steps",
        "probes",
        "time",
    ];
    let mut table = style.table(ROWS, &heads);
    for (place, rung) in plan.rungs.iter().enumerate() {
        let answers = rung.settings * plan.scales.len() * rung.probes;
        let seconds = rung.steps as f64 * plan.step_seconds + answers as f64 * plan.answer_seconds;
        table.add_row([
            (place + 1).to_string(),
            rung.settings.to_string(),
            part(rung.share),
            rung.steps.to_string(),
            rung.probes.to_string(),
            duration(seconds),
        ]);
    }
    let scales: Vec<String> = plan.scales.iter().map(f64::to_string).collect();
    let memory = plan.memory_free.map_or(String::new(), |free| {
        format!(" of {} that are free", bytes(free))
    });
    let lines = [
        format!(
            "{}, the configured one among them, at most {}; every adapter answers at scales {}.",
            plural(plan.settings.len(), "setting"),
            plural(plan.steps(), "step"),
            scales.join(", "),
        ),
        format!(
            "Time: about {} of {} allowed, which is {:.1} full runs of {} each; a step takes {}, an \
             answer {}. Memory beside the model: {}{memory}.",
            duration(plan.seconds()),
            duration(plan.budget_seconds),
            plan.seconds() / plan.full_seconds(),
            duration(plan.full_seconds()),
            short_time(plan.step_seconds),
            short_time(plan.answer_seconds),
            bytes(plan.memory),
        ),
        format!(
            "{} of {} choose, in one wording each; the other {} have no part in the choice.",
            plan.chosen_on.len(),
            plural(plan.probes, "probe"),
            plan.probes - plan.chosen_on.len(),
        ),
    ];
    let mut text = style.rendered(&table);
    for line in lines {
        text += &wrapped("", &[(Tone::Plain, line)], style);
    }
    text
}

fn part(share: f64) -> String {
    match share {
        1.0 => "all".into(),
        share => format!("1/{:.0}", 1.0 / share),
    }
}

/// `0.42 s`: what is measured in hundredths.
fn short_time(seconds: f64) -> String {
    if seconds < 10.0 {
        format!("{seconds:.2} s")
    } else {
        duration(seconds)
    }
}

/// One row a setting, the best first: what its last look saw at the scale at which it counts.
/// `>` stands at the chosen one, `*` at what else is on the frontier, at whatever scale.
pub fn tune_table(tuning: &Tuning, style: Style) -> String {
    let frontier = tuning.frontier();
    let mut table = style.table(ROWS, &["", "setting", "learn", "keep difference", "steps"]);
    for point in shown(tuning) {
        let Some(setting) = tuning.plan.setting(point.setting) else {
            continue;
        };
        let chosen = tuning.choice.is_some_and(|c| c.setting == point.setting);
        let on_frontier = frontier.iter().any(|p| p.setting == point.setting);
        let mark = match (chosen, on_frontier) {
            (true, _) => ">",
            (false, true) => "*",
            (false, false) => "",
        };
        let tone = match () {
            () if chosen => Tone::Good,
            () if point.lost => Tone::Bad,
            () if !point.keeps(tuning.plan.margin) => Tone::Open,
            () => Tone::Plain,
        };
        let cells = [
            (tone, mark.to_owned()),
            (
                Tone::Plain,
                format!("{} {}", setting.number, setting.label()),
            ),
            (
                Tone::Plain,
                format!("{} @{}", score(point.learn), point.scale),
            ),
            (tone, kept(point)),
            (Tone::Plain, format!("{}/{}", point.step, setting.steps)),
        ];
        table.add_row(cells.iter().map(|(tone, text)| style.cell(*tone, text)));
    }
    let mut text = style.rendered(&table);
    text += &wrapped(
        "",
        &[(
            Tone::Dim,
            "> chosen. * on the frontier: none learned more and kept as much. Setting 1 is the \
             configured one; r rank, w weight of rehearsal, e epochs; @ scale of the adapter. \
             Interval: 95 percent at each end."
                .into(),
        )],
        style,
    );
    for failure in &tuning.failures {
        let label = tuning
            .plan
            .setting(failure.setting)
            .map_or(String::new(), |s| s.label());
        let line = format!(
            "setting {} ({label}) left out: {}",
            failure.setting, failure.reason
        );
        text += &wrapped("", &[(Tone::Bad, line)], style);
    }
    text
}

fn kept(point: &TunePoint) -> String {
    point.keep.as_ref().map_or_else(|| "-".into(), interval)
}

/// Every setting at the best scale of its last look: the chosen one first, then those of later
/// rungs, and among those what keeps before what does not.
pub(super) fn shown(tuning: &Tuning) -> Vec<&TunePoint> {
    let margin = tuning.plan.margin;
    let mut points = tuning.last_points();
    let class = |p: &TunePoint| (p.lost, !p.keeps(margin));
    let is_chosen = |p: &TunePoint| {
        let chosen = tuning.choice.as_ref();
        chosen.is_some_and(|c| (c.setting, c.scale, c.step) == (p.setting, p.scale, p.step))
    };
    points.sort_by(|a, b| {
        is_chosen(b)
            .cmp(&is_chosen(a))
            .then(b.rung.cmp(&a.rung))
            .then(class(a).cmp(&class(b)))
            .then(b.learn.total_cmp(&a.learn))
            .then(b.kept().total_cmp(&a.kept()))
            .then(a.setting.cmp(&b.setting))
    });
    let mut shown: Vec<&TunePoint> = Vec::new();
    for point in points {
        if shown.iter().all(|p| p.setting != point.setting) {
            shown.push(point);
        }
    }
    shown
}

/// What was chosen and what it took, in sentences.
pub fn tune_summary(tuning: &Tuning, style: Style) -> String {
    let spent = &tuning.spent;
    let mut lines = Vec::new();
    let chosen = tuning.choice.and_then(|choice| {
        let setting = tuning.plan.setting(choice.setting)?;
        Some((choice, setting))
    });
    match chosen {
        Some((choice, setting)) => {
            let scale = match choice.scale {
                1.0 => String::new(),
                scale => format!(", at scale {scale} of its adapter"),
            };
            lines.push((
                Tone::Good,
                format!(
                    "chosen: setting {} ({}){scale}.",
                    setting.number,
                    setting.label()
                ),
            ));
        }
        None => lines.push((
            Tone::Bad,
            format!(
                "none is chosen: of what was trained to its end nothing learned more than the base \
                 within a loss of {}.",
                tuning.plan.margin
            ),
        )),
    }
    lines.push((
        Tone::Plain,
        format!(
            "{} in {} of planned {}: {} of at most {}, {} of {}. That is {:.1} full runs at the pace \
             of its own steps and answers.",
            plural(tuning.plan.settings.len(), "setting"),
            duration(spent.step_seconds + spent.answer_seconds),
            duration(tuning.plan.seconds()),
            plural(spent.steps, "step"),
            tuning.plan.steps(),
            plural(spent.answers, "answer"),
            tuning.plan.answers,
            tuning.full_runs(),
        ),
    ));
    let lines = lines.into_iter();
    lines.map(|line| wrapped("", &[line], style)).collect()
}

/// What a checkpoint came to on the probes that did not choose its setting.
pub fn unseen_lines(verdict: &Verdict, chosen_on: usize, style: Style) -> String {
    let kept = verdict.pooled.estimate.as_ref().map_or_else(
        || "no `keep` probe is left".into(),
        |e| format!("keep {} on {}", interval(e), plural(e.probes, "probe")),
    );
    let learned = verdict.learn.as_ref().map_or_else(
        || "no `learn` probe is left".into(),
        |l| format!("learn {} on {}", score(l.mean), plural(l.probes, "probe")),
    );
    let text = format!(
        "Without the {} that chose it: {learned}, {kept}: {}. The verdict above is on all of them, \
         and the ones that chose favour what they chose.",
        plural(chosen_on, "probe"),
        verdict.decision,
    );
    wrapped("", &[(decision_tone(verdict.decision), text)], style)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::tuning_testing::{plan, tuning};

    #[test]
    fn a_plan_says_what_is_tried_and_what_it_takes() {
        let mut plan = plan(16);
        plan.rungs[0].share = 0.125;
        insta::assert_snapshot!(tune_plan(&plan, Style::plain(80)), @"
        ┌──────┬──────────┬────────────────┬───────┬────────┬───────┐
        │ rung ┆ settings ┆ of their steps ┆ steps ┆ probes ┆ time  │
        ╞══════╪══════════╪════════════════╪═══════╪════════╪═══════╡
        │ 1    ┆ 16       ┆ 1/8            ┆ 128   ┆ 40     ┆ 3 min │
        │ 2    ┆ 8        ┆ all            ┆ 64    ┆ 40     ┆ 96 s  │
        └──────┴──────────┴────────────────┴───────┴────────┴───────┘
        16 settings, the configured one among them, at most 192 steps; every adapter
        answers at scales 1, 0.7.
        Time: about 5 min of 5 min allowed, which is 5.8 full runs of 50 s each; a step
        takes 0.50 s, an answer 0.10 s. Memory beside the model: 300 MB of 8.0 GB that
        are free.
        40 of 100 probes choose, in one wording each; the other 60 have no part in the
        choice.
        ");
    }

    #[test]
    fn the_table_fits_80_columns_and_marks_the_chosen() {
        let mut tuning = tuning();
        tuning.plan.settings[3].learning_rate = 2.31e-4;
        tuning.plan.settings[3].rank = 16;
        tuning.plan.settings[3].rehearsal_weight = Some(0.3);
        let table = tune_table(&tuning, Style::plain(80));
        assert!(table.lines().all(|line| line.chars().count() <= 80));
        insta::assert_snapshot!(table, @"
        ┌───┬──────────────────────────┬───────────┬──────────────────────┬───────┐
        │   ┆ setting                  ┆ learn     ┆ keep difference      ┆ steps │
        ╞═══╪══════════════════════════╪═══════════╪══════════════════════╪═══════╡
        │ > ┆ 4 2.3e-4 r16 mlp w0.3 e2 ┆ 0.88 @0.7 ┆ -0.02 [-0.06, +0.01] ┆ 16/16 │
        │ * ┆ 2 2.0e-4 r8 mlp w3 e2    ┆ 0.62 @1   ┆ -0.01 [-0.05, +0.02] ┆ 16/16 │
        │   ┆ 1 1.0e-4 r8 all w3 e2    ┆ 0.25 @1   ┆ 0.00 [-0.04, +0.03]  ┆ 8/16  │
        └───┴──────────────────────────┴───────────┴──────────────────────┴───────┘
        > chosen. * on the frontier: none learned more and kept as much. Setting 1 is
        the configured one; r rank, w weight of rehearsal, e epochs; @ scale of the
        adapter. Interval: 95 percent at each end.
        setting 3 (3.0e-4 r8 all w3 e2) left out: step 5: the loss is NaN
        ");
    }

    #[test]
    fn what_was_chosen_is_told_with_what_it_took() {
        let mut tuning = tuning();
        let chosen = tune_summary(&tuning, Style::plain(80));
        tuning.choice = None;
        let none = tune_summary(&tuning, Style::plain(80));
        insta::assert_snapshot!(chosen + "--\n" + &none, @"
        chosen: setting 4 (4.0e-4 r8 mlp w3 e2), at scale 0.7 of its adapter.
        4 settings in 53 s of planned 76 s: 45 steps of at most 48, 300 answers of 520.
        That is 1.0 full runs at the pace of its own steps and answers.
        --
        none is chosen: of what was trained to its end nothing learned more than the
        base within a loss of 0.03.
        4 settings in 53 s of planned 76 s: 45 steps of at most 48, 300 answers of 520.
        That is 1.0 full runs at the pace of its own steps and answers.
        ");
    }

    #[test]
    fn what_did_not_choose_is_told_by_itself() {
        let verdict = crate::report::testing::careful();
        insta::assert_snapshot!(unseen_lines(&verdict, 120, Style::plain(80)), @"
        Without the 120 probes that chose it: learn 0.88 on 8 probes, keep -0.01 [-0.05,
        +0.03] on 100 probes: pass. The verdict above is on all of them, and the ones
        that chose favour what they chose.
        ");
    }

    #[test]
    fn a_setting_stands_once_at_the_scale_at_which_it_counts() {
        let tuning = tuning();
        let rows: Vec<(usize, f64)> = shown(&tuning)
            .iter()
            .map(|p| (p.setting, p.scale))
            .collect();
        // 4 at scale 1 learned more and lost too much.
        assert_eq!(rows, [(4, 0.7), (2, 1.0), (1, 1.0)]);
    }
}
