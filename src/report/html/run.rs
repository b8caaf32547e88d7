//! The curve of a training run: what each checkpoint learned and kept at each scale, and the losses.

use serde::{Deserialize, Serialize};

use crate::flow::{Goal, ScaledCheckpoint};
use crate::report::checkpoints::{CheckpointRow, place, said_of};
use crate::report::style::{Tone, interval};

/// Points of a loss that are drawn: more than a screen has columns for.
const MOST_POINTS: usize = 1000;

/// A training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PageRun {
    /// Its name.
    pub name: String,
    /// Why it ended before its last step.
    pub stopped: Option<String>,
    /// Largest tolerated loss over all `keep` suites.
    pub margin: Option<f64>,
    /// What every `learn` suite has to reach, where that is one number.
    pub target: Option<f64>,
    /// Steps that a point of the training loss is the mean of.
    pub every: usize,
    /// In the order of their steps, each once a scale.
    pub checkpoints: Vec<PageCheckpoint>,
    /// Step and training loss, in nats per token.
    pub losses: Vec<(usize, f64)>,
    /// Step and validation loss, in nats per token.
    pub validation: Vec<(usize, f64)>,
}

/// A checkpoint at a scale.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PageCheckpoint {
    /// Optimizer step.
    pub step: usize,
    /// Multiple of its own scale.
    pub scale: f64,
    /// `40`, `40@0.7`.
    pub place: String,
    /// Its place among the candidates of the page, where its answers are there.
    pub candidate: Option<usize>,
    /// The verdict, and what it lost.
    pub headline: String,
    /// How that is meant.
    pub tone: Tone,
    /// Mean training loss since the checkpoint before.
    pub train_loss: Option<f64>,
    /// Validation loss.
    pub validation_loss: Option<f64>,
    /// Mean KL divergence from the base.
    pub kl_to_base: Option<f64>,
    /// Mean score on the `learn` suites.
    pub learn: Option<f64>,
    /// The difference on the `keep` suites with its ends, in words.
    pub change: Option<String>,
    /// That difference.
    pub difference: Option<f64>,
    /// Its lower end.
    pub lower: Option<f64>,
    /// Its upper end.
    pub upper: Option<f64>,
    /// It is what ships.
    pub best: bool,
    /// Signs beside the verdict.
    pub causes: Vec<String>,
}

/// What was logged of a run, by step, in nats per token.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunLosses {
    /// Of training.
    pub training: Vec<(usize, f64)>,
    /// Of validation.
    pub validation: Vec<(usize, f64)>,
}

impl PageRun {
    /// A run from the rows of its table. `candidate` finds a checkpoint among the candidates whose
    /// answers the page has.
    pub fn new(
        name: &str,
        rows: &[CheckpointRow<'_>],
        best: Option<ScaledCheckpoint>,
        losses: &RunLosses,
        candidate: impl Fn(ScaledCheckpoint) -> Option<usize>,
    ) -> Self {
        let checkpoints = rows.iter().map(|row| {
            let kept = row.verdict.pooled.estimate.as_ref();
            let (tone, headline) = said_of(row.verdict);
            PageCheckpoint {
                step: row.at.step,
                scale: row.at.scale,
                place: place(row.at),
                candidate: candidate(row.at),
                headline,
                tone,
                train_loss: row.train_loss,
                validation_loss: row.validation_loss,
                kl_to_base: row.kl_to_base,
                learn: row.verdict.learn.as_ref().map(|learn| learn.mean),
                change: kept.map(interval),
                difference: kept.map(|e| e.difference),
                lower: kept.map(|e| e.lower),
                upper: kept.map(|e| e.upper),
                best: best == Some(row.at),
                causes: row.causes.clone(),
            }
        });
        let last = rows.last().map(|row| row.verdict);
        let (every, training) = thinned(&losses.training);
        PageRun {
            name: name.to_owned(),
            stopped: None,
            margin: last.and_then(|verdict| verdict.pooled.margin),
            target: last.and_then(|verdict| {
                let learned = verdict.suites.iter().filter(|s| s.goal == Goal::Learn);
                let mut targets: Vec<f64> = learned.filter_map(|s| s.target).collect();
                targets.dedup();
                <[f64; 1]>::try_from(targets).ok().map(|[target]| target)
            }),
            every,
            checkpoints: checkpoints.collect(),
            losses: training,
            validation: losses.validation.clone(),
        }
    }
}

/// Means of as many neighbours as leave at most [`MOST_POINTS`], each at its last step.
fn thinned(points: &[(usize, f64)]) -> (usize, Vec<(usize, f64)>) {
    let every = points.len().div_ceil(MOST_POINTS).max(1);
    let means = points.chunks(every).filter_map(|chunk| {
        let sum: f64 = chunk.iter().map(|(_, loss)| loss).sum();
        Some((chunk.last()?.0, sum / chunk.len() as f64))
    });
    (every, means.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{careful, careless};

    #[test]
    fn a_long_run_is_thinned_to_means_and_a_short_one_is_not() {
        let points = |n: usize| (1..=n).map(|step| (step, step as f64)).collect::<Vec<_>>();
        assert_eq!(thinned(&points(3)), (1, points(3)));
        assert_eq!(thinned(&[]), (1, Vec::new()));
        let (every, means) = thinned(&points(2500));
        assert_eq!((every, means.len()), (3, 834));
        assert_eq!(means[..2], [(3, 2.0), (6, 5.0)]);
        assert_eq!(means[833], (2500, 2500.0));
    }

    #[test]
    fn checkpoints_say_what_the_table_says() {
        let (pass, lost) = (careful(), careless());
        let row = |step, scale, verdict| CheckpointRow {
            at: ScaledCheckpoint { step, scale },
            train_loss: Some(0.5),
            validation_loss: None,
            verdict,
            kl_to_base: None,
            causes: Vec::new(),
        };
        let rows = [
            row(20, 1.0, &pass),
            row(40, 1.0, &lost),
            row(40, 0.5, &pass),
        ];
        let best = ScaledCheckpoint {
            step: 40,
            scale: 0.5,
        };
        let losses = RunLosses {
            training: vec![(1, 2.0)],
            validation: vec![(20, 1.5)],
        };
        let run = PageRun::new("run-0001", &rows, Some(best), &losses, |at| {
            (at == best).then_some(0)
        });
        let said: Vec<_> = run
            .checkpoints
            .iter()
            .map(|c| {
                (
                    c.place.as_str(),
                    c.headline.as_str(),
                    c.tone,
                    c.best,
                    c.candidate,
                )
            })
            .collect();
        assert_eq!(
            said,
            [
                ("20", "pass", Tone::Good, false, None),
                ("40", "regression: code", Tone::Bad, false, None),
                ("40@0.5", "pass", Tone::Good, true, Some(0)),
            ]
        );
        assert_eq!((run.margin, run.target), (Some(0.1), Some(0.8)));
        assert_eq!(
            (run.losses, run.validation),
            (losses.training, losses.validation)
        );
    }

    /// One line for a target would be wrong where suites have several.
    #[test]
    fn several_targets_have_no_line() {
        let mut verdict = careful();
        let mut other = verdict.suites[0].clone();
        other.goal = Goal::Learn;
        other.target = Some(0.5);
        verdict.suites.push(other);
        let row = CheckpointRow {
            at: ScaledCheckpoint {
                step: 1,
                scale: 1.0,
            },
            train_loss: None,
            validation_loss: None,
            verdict: &verdict,
            kl_to_base: None,
            causes: Vec::new(),
        };
        let run = PageRun::new("", &[row], None, &RunLosses::default(), |_| None);
        assert_eq!(run.target, None);
    }
}
