//! The checkpoints of a training run: loss, learn score, what was kept, and which one to take.

use super::style::{ROWS, Style, Tone, interval, loss, score};
use super::terminal::decision_tone;
use super::wrap::wrapped;
use crate::flow::{Decision, ScaledCheckpoint, SuiteState, Verdict};

/// One checkpoint, with what was measured of it.
#[derive(Debug, Clone)]
pub struct CheckpointRow<'a> {
    /// Its optimizer step, and the scale that it was judged at.
    pub at: ScaledCheckpoint,
    /// Mean training loss since the checkpoint before, in nats per token.
    pub train_loss: Option<f64>,
    /// Validation loss, in nats per token.
    pub validation_loss: Option<f64>,
    /// What its gate said.
    pub verdict: &'a Verdict,
    /// Mean KL divergence from the base over the rehearsal rows since the checkpoint before, in nats
    /// per token.
    pub kl_to_base: Option<f64>,
    /// Signs beside the verdict, such as repeated training answers.
    pub causes: Vec<String>,
}

/// One row a checkpoint and scale, then the causes of each. `best` is what to ship; `None` says that
/// nothing may.
pub fn checkpoint_table(
    rows: &[CheckpointRow],
    best: Option<ScaledCheckpoint>,
    style: Style,
) -> String {
    let some = |has: fn(&CheckpointRow) -> bool| rows.iter().any(has);
    let (validated, diverged) = (
        some(|r| r.validation_loss.is_some()),
        some(|r| r.kl_to_base.is_some()),
    );
    let mut heads = vec!["step", "loss"];
    if validated {
        heads.push("validation");
    }
    heads.extend(["learn score", "keep difference"]);
    if diverged {
        heads.push("KL to base");
    }
    heads.push("verdict");
    let mut table = style.table(ROWS, &heads);
    for row in rows {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        let mut cells = vec![
            (Tone::Plain, place(row.at)),
            (Tone::Plain, or_none(row.train_loss.map(loss))),
        ];
        if validated {
            cells.push((Tone::Plain, or_none(row.validation_loss.map(loss))));
        }
        cells.push((
            Tone::Plain,
            or_none(row.verdict.learn.as_ref().map(|l| score(l.mean))),
        ));
        let kept = row.verdict.pooled.estimate.as_ref();
        cells.push((Tone::Plain, or_none(kept.map(interval))));
        if diverged {
            cells.push((
                Tone::Plain,
                or_none(row.kl_to_base.map(|kl| format!("{kl:.3}"))),
            ));
        }
        let mark = if best == Some(row.at) { " (best)" } else { "" };
        let (tone, said) = said_of(row.verdict);
        cells.push((tone, said + mark));
        table.add_row(cells.iter().map(|(tone, text)| style.cell(*tone, text)));
    }
    let mut text = style.rendered(&table);
    for row in rows {
        for cause in &row.causes {
            let lead = format!("step {}: ", place(row.at));
            text.push_str(&wrapped(&lead, &[(Tone::Plain, cause.clone())], style));
        }
    }
    text.push_str(&match best {
        Some(at) => style.paint(Tone::Good, &format!("best: step {}", place(at))),
        None => style.paint(Tone::Bad, "none: do not ship"),
    });
    text.push('\n');
    text
}

/// A checkpoint's verdict in a few words.
pub(super) fn said_of(verdict: &Verdict) -> (Tone, String) {
    // Learning less early in training is no alarm.
    let tone = match verdict.learned_enough() {
        false if verdict.decision == Decision::Pass => Tone::Open,
        _ => decision_tone(verdict.decision),
    };
    (tone, verdict.headline().to_owned() + &lost_suites(verdict))
}

/// `40`, `40@0.7`.
pub(super) fn place(at: ScaledCheckpoint) -> String {
    match at.scale {
        1.0 => at.step.to_string(),
        scale => format!("{}@{scale}", at.step),
    }
}

/// `: code, recursion`, the suites that are a regression.
fn lost_suites(verdict: &Verdict) -> String {
    let lost: Vec<&str> = verdict
        .suites
        .iter()
        .filter(|s| s.state == SuiteState::Regression)
        .map(|s| s.suite.as_str())
        .collect();
    if lost.is_empty() {
        String::new()
    } else {
        format!(": {}", lost.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{careful, careless, readable, too_little};

    fn at(step: usize, scale: f64) -> ScaledCheckpoint {
        ScaledCheckpoint { step, scale }
    }

    fn row<'a>(step: usize, verdict: &'a Verdict, causes: &[&str]) -> CheckpointRow<'a> {
        CheckpointRow {
            at: at(step, 1.0),
            train_loss: Some(40.0 / (step * step) as f64),
            validation_loss: None,
            verdict,
            kl_to_base: None,
            causes: causes.iter().map(|c| c.to_string()).collect(),
        }
    }

    #[test]
    fn the_best_checkpoint_is_marked() {
        let (pass, lost) = (careful(), careless());
        let causes = ["repeats a training answer in 61 of 100 answers"];
        let rows = [
            row(20, &pass, &[]),
            row(40, &pass, &[]),
            row(60, &lost, &causes),
        ];
        let table = checkpoint_table(&rows, Some(at(40, 1.0)), Style::plain(100));
        insta::assert_snapshot!(table, @"
        ┌──────┬────────┬─────────────┬──────────────────────┬──────────────────┐
        │ step ┆ loss   ┆ learn score ┆ keep difference      ┆ verdict          │
        ╞══════╪════════╪═════════════╪══════════════════════╪══════════════════╡
        │ 20   ┆ 0.100  ┆ 0.88        ┆ -0.01 [-0.05, +0.03] ┆ pass             │
        │ 40   ┆ 0.0250 ┆ 0.88        ┆ -0.01 [-0.05, +0.03] ┆ pass (best)      │
        │ 60   ┆ 0.0111 ┆ 1.00        ┆ -0.66 [-0.75, -0.55] ┆ regression: code │
        └──────┴────────┴─────────────┴──────────────────────┴──────────────────┘
        step 60: repeats a training answer in 61 of 100 answers
        best: step 40
        ");
    }

    #[test]
    fn each_scale_has_a_row() {
        let (pass, lost) = (careful(), careless());
        let half = CheckpointRow {
            at: at(60, 0.5),
            train_loss: None,
            ..row(60, &pass, &[])
        };
        let rows = [row(60, &lost, &[]), half];
        let table = checkpoint_table(&rows, Some(at(60, 0.5)), Style::plain(100));
        insta::assert_snapshot!(table, @"
        ┌────────┬────────┬─────────────┬──────────────────────┬──────────────────┐
        │ step   ┆ loss   ┆ learn score ┆ keep difference      ┆ verdict          │
        ╞════════╪════════╪═════════════╪══════════════════════╪══════════════════╡
        │ 60     ┆ 0.0111 ┆ 1.00        ┆ -0.66 [-0.75, -0.55] ┆ regression: code │
        │ 60@0.5 ┆ -      ┆ 0.88        ┆ -0.01 [-0.05, +0.03] ┆ pass (best)      │
        └────────┴────────┴─────────────┴──────────────────────┴──────────────────┘
        best: step 60@0.5
        ");
    }

    #[test]
    fn a_checkpoint_that_learned_too_little_says_so() {
        let (early, mut lost) = (too_little(), careless());
        lost.suites[0].state = SuiteState::Missed;
        let rows = [row(20, &early, &[]), row(40, &lost, &[])];
        let style = Style {
            color: true,
            ..Style::plain(120)
        };
        insta::assert_snapshot!(readable(&checkpoint_table(&rows, None, style)), @"
        ┌──────┬────────┬─────────────┬──────────────────────┬────────────────────┐
        │<bold> step </>┆<bold> loss   </>┆<bold> learn score </>┆<bold> keep difference      </>┆<bold> verdict            </>│
        ╞══════╪════════╪═════════════╪══════════════════════╪════════════════════╡
        │ 20   ┆ 0.100  ┆ 0.35        ┆ -0.01 [-0.05, +0.03] ┆<yellow> learned too little </>│
        │ 40   ┆ 0.0250 ┆ 1.00        ┆ -0.66 [-0.75, -0.55] ┆<red> regression: code   </>│
        └──────┴────────┴─────────────┴──────────────────────┴────────────────────┘
        <red>none: do not ship</>
        ");
    }

    #[test]
    fn none_may_ship_and_what_was_measured_has_a_column() {
        let lost = careless();
        let mut row = row(20, &lost, &[]);
        row.validation_loss = Some(1.25);
        row.kl_to_base = Some(2.5);
        let style = Style {
            color: true,
            ..Style::plain(120)
        };
        insta::assert_snapshot!(readable(&checkpoint_table(&[row], None, style)), @"
        ┌──────┬───────┬────────────┬─────────────┬──────────────────────┬────────────┬──────────────────┐
        │<bold> step </>┆<bold> loss  </>┆<bold> validation </>┆<bold> learn score </>┆<bold> keep difference      </>┆<bold> KL to base </>┆<bold> verdict          </>│
        ╞══════╪═══════╪════════════╪═════════════╪══════════════════════╪════════════╪══════════════════╡
        │ 20   ┆ 0.100 ┆ 1.250      ┆ 1.00        ┆ -0.66 [-0.75, -0.55] ┆ 2.500      ┆<red> regression: code </>│
        └──────┴───────┴────────────┴─────────────┴──────────────────────┴────────────┴──────────────────┘
        <red>none: do not ship</>
        ");
    }
}
