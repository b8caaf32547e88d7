//! `qeval watch`: another trainer's checkpoints, judged as they are finished.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::exit::Outcome;
use crate::flow::{ScaledCheckpoint, Verdict};
use crate::gate::select_best;
use crate::project::{CheckpointVerdict, Left, WatchEnd, WatchEvent, WatchOrder, Watched};
use crate::report::{CheckpointRow, Style, checkpoint_table, preview_lines};
use crate::text::plural;

use super::args::{OutputFormat, WatchArgs};
use super::error::CliError;
use super::outcome::worst;
use super::output::Screen;
use super::train::verdict_text;

/// Runs the command.
///
/// # Errors
/// Whatever stops it; finished answers and verdicts are on disk.
pub fn watch(args: &WatchArgs, screen: &Screen) -> Result<Outcome, CliError> {
    let project = screen.open(args.overrides())?;
    let order = WatchOrder {
        folder: args.folder.clone(),
        poll: Duration::from_secs_f64(args.poll),
        once: args.once,
        until_idle: args.until_idle.map(|m| Duration::from_secs_f64(m * 60.0)),
        stop_file: args.stop_file.clone(),
        post: args.post.clone(),
        keep_best: args.keep_best.clone(),
        trust_base: args.trust_base,
    };
    // What is heard cannot fail; what could not be printed is told at the end.
    let mut printed = Ok(());
    let watched = project.watch(&order, &mut |event| {
        let said = show(screen, &order, args.verbose, &event);
        if printed.is_ok() {
            printed = said;
        }
    })?;
    printed?;
    show_end(screen, &watched)?;
    Ok(outcome(&watched, args.keep_best.is_some()))
}

fn show(
    screen: &Screen,
    order: &WatchOrder,
    verbose: bool,
    event: &WatchEvent<'_>,
) -> Result<(), CliError> {
    if screen.format == OutputFormat::Json {
        return match json_of(event) {
            Some(line) => screen.print(&format!("{line}\n")),
            None => Ok(()),
        };
    }
    match event {
        WatchEvent::Begins { preview, judged } => {
            screen.print(&preview_lines(preview, screen.style))?;
            for line in beginning(order, *judged) {
                screen.notice(line);
            }
            Ok(())
        }
        WatchEvent::Judged { judgement, next } => screen.print(&verdict_text(
            &judgement.folder.display().to_string(),
            (&judgement.verdict, &judgement.causes),
            &next.diff(),
            verbose,
            screen.style,
        )),
        other => {
            screen.notice(sentence(other));
            Ok(())
        }
    }
}

fn beginning(order: &WatchOrder, judged: usize) -> Vec<String> {
    let folder = order.folder.display();
    let mut lines = Vec::new();
    if judged > 0 {
        lines.push(format!("judged before: {}", plural(judged, "checkpoint")));
    }
    if !order.once {
        let seconds = order.poll.as_secs_f64();
        lines.push(format!(
            "watching {folder}, a look every {seconds} s; Ctrl-C ends it"
        ));
    }
    lines
}

/// An event that has a sentence of its own.
fn sentence(event: &WatchEvent<'_>) -> String {
    match event {
        WatchEvent::Refused { path, why } => format!("{}: not judged: {why}", path.display()),
        WatchEvent::Removed { path, judged: true } => {
            format!(
                "{}: removed by its trainer; its verdict is kept",
                path.display()
            )
        }
        WatchEvent::Removed {
            path,
            judged: false,
        } => format!(
            "{}: removed by its trainer before it was judged; a larger `save_total_limit` there \
             keeps it long enough",
            path.display()
        ),
        WatchEvent::Stopped { file, reason } => {
            format!("{} is written: {reason}", file.display())
        }
        WatchEvent::Linked { link, to: Some(to) } => {
            format!("{} leads to {} now", link.display(), to.display())
        }
        WatchEvent::Linked { link, to: None } => format!(
            "{} is removed: what it led to is gone, and nothing else may ship",
            link.display()
        ),
        WatchEvent::Begins { .. } | WatchEvent::Judged { .. } => String::new(),
    }
}

/// An event as a line of JSON, under one key that names it.
fn json_of(event: &WatchEvent<'_>) -> Option<serde_json::Value> {
    Some(match event {
        WatchEvent::Begins { .. } => return None,
        WatchEvent::Judged { judgement, .. } => json!({ "judged": judgement }),
        WatchEvent::Refused { path, why } => json!({ "refused": { "folder": path, "why": why } }),
        WatchEvent::Removed { path, judged } => {
            json!({ "removed": { "folder": path, "judged": judged } })
        }
        WatchEvent::Stopped { file, reason } => {
            json!({ "stopped": { "file": file, "reason": reason } })
        }
        WatchEvent::Linked { link, to } => json!({ "linked": { "link": link, "to": to } }),
    })
}

fn show_end(screen: &Screen, watched: &Watched) -> Result<(), CliError> {
    if screen.format == OutputFormat::Json {
        let best = watched.best.and_then(|place| watched.judged.get(place));
        let left = watched.left.iter();
        let left: Vec<_> = left
            .map(|left| json!({ "folder": left.path, "why": left.why }))
            .collect();
        let line = json!({ "ended": {
            "why": end_word(watched.end),
            "judged": watched.judged.len(),
            "best": best.map(|best| &best.folder),
            "not_judged": left,
        } });
        return screen.print(&format!("{line}\n"));
    }
    screen.print(&end_text(watched, screen.style))?;
    screen.notice(end_sentence(watched.end));
    Ok(())
}

/// A table a run, and what has no verdict.
fn end_text(watched: &Watched, style: Style) -> String {
    let mut text = String::new();
    let best = watched.best.and_then(|place| watched.judged.get(place));
    let mut left = watched.judged.as_slice();
    let mut runs = 0;
    while let Some(first) = left.first() {
        runs += 1;
        let count = left.iter().take_while(|j| j.run == first.run).count();
        let (own, rest) = left.split_at(count);
        left = rest;
        text += &run_table(own, best, style);
    }
    if let Some(best) = best.filter(|_| runs > 1) {
        let _ = writeln!(text, "best of all: {}", best.folder.display());
    }
    for Left { path, why, .. } in &watched.left {
        let _ = writeln!(text, "{}: no verdict: {why}", path.display());
    }
    text
}

fn run_table(own: &[CheckpointVerdict], best: Option<&CheckpointVerdict>, style: Style) -> String {
    let at = |judgement: &CheckpointVerdict| ScaledCheckpoint {
        step: judgement.step,
        scale: 1.0,
    };
    let rows: Vec<CheckpointRow<'_>> = own
        .iter()
        .map(|judgement| CheckpointRow {
            at: at(judgement),
            train_loss: judgement.train_loss,
            validation_loss: judgement.validation_loss,
            verdict: &judgement.verdict,
            kl_to_base: None,
            causes: judgement.causes.clone(),
        })
        .collect();
    // Of a run that has not the best of all, its own.
    let best = best.filter(|best| own.contains(best)).map(at);
    let best = best.or_else(|| {
        let each = own.iter().map(|j| (at(j), &j.verdict));
        select_best(&each.collect::<Vec<_>>())
    });
    let run = own
        .first()
        .map(|j| j.folder.parent().unwrap_or(Path::new(".")));
    let run = run.unwrap_or(Path::new("."));
    format!(
        "{}\n{}",
        run.display(),
        checkpoint_table(&rows, best, style)
    )
}

fn end_word(end: WatchEnd) -> &'static str {
    match end {
        WatchEnd::Once => "once",
        WatchEnd::Finished => "finished",
        WatchEnd::Stopped => "stopped",
        WatchEnd::Idle => "idle",
        WatchEnd::Asked => "asked",
    }
}

fn end_sentence(end: WatchEnd) -> &'static str {
    match end {
        WatchEnd::Once => "one look was asked for",
        WatchEnd::Finished => {
            "ended: the trainer has written its last checkpoint; `--until-idle MINUTES` would wait for \
             another run"
        }
        WatchEnd::Stopped => {
            "ended: the trainer was asked to stop, and has written nothing for twice the time between \
             two checkpoints"
        }
        WatchEnd::Idle => "ended: nothing new came for as long as `--until-idle` says",
        WatchEnd::Asked => "ended as asked; the same command goes on from here",
    }
}

/// With a link to the best it is that which counts, as in training; else every verdict does. What
/// has none was not measured, unless its trainer is still at it.
fn outcome(watched: &Watched, best_counts: bool) -> Outcome {
    let all: Vec<&Verdict> = watched.judged.iter().map(|j| &j.verdict).collect();
    let outcome = match watched.best {
        _ if all.is_empty() => Outcome::CouldNotMeasure,
        Some(_) if best_counts => Outcome::Pass,
        _ => worst(&all),
    };
    let open = watched.end != WatchEnd::Asked;
    let unmeasured = watched.left.iter().any(|left| open || !left.is_unfinished);
    match outcome {
        Outcome::Regression => Outcome::Regression,
        _ if unmeasured => Outcome::CouldNotMeasure,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::testing::verdict;

    fn judged(run: &str, step: usize, kept: usize, learned: usize) -> CheckpointVerdict {
        let verdict = verdict(kept, learned);
        CheckpointVerdict {
            version: 1,
            checkpoint: format!("{run}/checkpoint-{step}"),
            folder: format!("out/{run}/checkpoint-{step}").into(),
            run: run.into(),
            step,
            digest: "c0ffee".into(),
            base: "model".into(),
            look: 1,
            planned: None,
            train_loss: (step == 20).then_some(1.5),
            validation_loss: None,
            may_ship: verdict.may_ship(),
            verdict,
            causes: Vec::new(),
        }
    }

    fn watched(
        judged: Vec<CheckpointVerdict>,
        best: Option<usize>,
        left: &[(&str, bool)],
    ) -> Watched {
        let left = left.iter().map(|(why, is_unfinished)| Left {
            path: "out/checkpoint-9".into(),
            why: (*why).to_owned(),
            is_unfinished: *is_unfinished,
        });
        Watched {
            judged,
            best,
            left: left.collect(),
            end: WatchEnd::Finished,
        }
    }

    #[test]
    fn each_run_has_a_table_and_what_has_no_verdict_a_line() {
        let all = vec![
            judged("v0", 20, 90, 5),
            judged("v0", 40, 90, 8),
            judged("v1", 20, 20, 9),
        ];
        let left = [("trainer_state.json is not there", true)];
        let text = end_text(&watched(all, Some(1), &left), Style::plain(100));
        insta::assert_snapshot!(text, @"
        out/v0
        ┌──────┬───────┬─────────────┬─────────────────────┬────────────────────┐
        │ step ┆ loss  ┆ learn score ┆ keep difference     ┆ verdict            │
        ╞══════╪═══════╪═════════════╪═════════════════════╪════════════════════╡
        │ 20   ┆ 1.500 ┆ 0.50        ┆ 0.00 [-0.03, +0.03] ┆ learned too little │
        │ 40   ┆ -     ┆ 0.80        ┆ 0.00 [-0.03, +0.03] ┆ pass (best)        │
        └──────┴───────┴─────────────┴─────────────────────┴────────────────────┘
        best: step 40
        out/v1
        ┌──────┬───────┬─────────────┬──────────────────────┬───────────────┐
        │ step ┆ loss  ┆ learn score ┆ keep difference      ┆ verdict       │
        ╞══════╪═══════╪═════════════╪══════════════════════╪═══════════════╡
        │ 20   ┆ 1.500 ┆ 0.90        ┆ -0.70 [-0.78, -0.60] ┆ regression: s │
        └──────┴───────┴─────────────┴──────────────────────┴───────────────┘
        none: do not ship
        best of all: out/v0/checkpoint-40
        out/checkpoint-9: no verdict: trainer_state.json is not there
        ");
    }

    #[test]
    fn every_verdict_counts_unless_the_best_is_kept() {
        let (passes, lost) = (judged("", 20, 90, 8), judged("", 40, 20, 8));
        let both = || vec![passes.clone(), lost.clone()];
        let refused = [("another base", false)];
        let writing = [("half", true)];
        use Outcome::{CouldNotMeasure, Pass, Regression};
        for (what, best_counts, expected) in [
            (watched(both(), Some(0), &[]), false, Regression),
            (watched(both(), Some(0), &[]), true, Pass),
            (watched(vec![lost.clone()], None, &[]), true, Regression),
            (
                watched(vec![passes.clone()], Some(0), &refused),
                true,
                CouldNotMeasure,
            ),
            (
                watched(vec![passes.clone()], Some(0), &writing),
                false,
                CouldNotMeasure,
            ),
            (
                watched(vec![lost.clone()], None, &refused),
                false,
                Regression,
            ),
            (watched(Vec::new(), None, &[]), false, CouldNotMeasure),
        ] {
            assert_eq!(outcome(&what, best_counts), expected, "{what:?}");
        }
        // Asked to end, what is being written is nobody's fault.
        let asked = Watched {
            end: WatchEnd::Asked,
            ..watched(vec![passes], Some(0), &writing)
        };
        assert_eq!(outcome(&asked, false), Pass);
    }

    #[test]
    fn what_happens_has_a_sentence() {
        let path = Path::new("out/checkpoint-20");
        let events = [
            WatchEvent::Refused {
                path,
                why: "it is a whole model",
            },
            WatchEvent::Removed { path, judged: true },
            WatchEvent::Removed {
                path,
                judged: false,
            },
            WatchEvent::Stopped {
                file: Path::new("stop"),
                reason: "checkpoint-20 and checkpoint-40 are regressions",
            },
            WatchEvent::Linked {
                link: Path::new("best"),
                to: Some(path),
            },
            WatchEvent::Linked {
                link: Path::new("best"),
                to: None,
            },
        ];
        let told: Vec<String> = events.iter().map(sentence).collect();
        insta::assert_snapshot!(told.join("\n"), @"
        out/checkpoint-20: not judged: it is a whole model
        out/checkpoint-20: removed by its trainer; its verdict is kept
        out/checkpoint-20: removed by its trainer before it was judged; a larger `save_total_limit` there keeps it long enough
        stop is written: checkpoint-20 and checkpoint-40 are regressions
        best leads to out/checkpoint-20 now
        best is removed: what it led to is gone, and nothing else may ship
        ");
        let lines = events
            .iter()
            .filter_map(json_of)
            .map(|line| line.to_string());
        insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @r#"
        {"refused":{"folder":"out/checkpoint-20","why":"it is a whole model"}}
        {"removed":{"folder":"out/checkpoint-20","judged":true}}
        {"removed":{"folder":"out/checkpoint-20","judged":false}}
        {"stopped":{"file":"stop","reason":"checkpoint-20 and checkpoint-40 are regressions"}}
        {"linked":{"link":"best","to":"out/checkpoint-20"}}
        {"linked":{"link":"best","to":null}}
        "#);
    }
}
