//! The trainer's hook: every checkpoint is judged beside the base at several scales, logged, and can
//! end the run.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::digest;
use crate::flow::{
    AdapterRef, Candidate, Comparison, Decision, Phase, RunEvent, ScaledCheckpoint, Subject,
    Verdict,
};
use crate::gate::{Look, Rules, select_best, select_leading};
use crate::lora::LoadedAdapter;
use crate::record::{Run, TrainLog};
use crate::text::plural;
use crate::train::{CheckpointHook, CheckpointView, StopOnRegression, TrainLine};

use super::early::judge_checkpoint;
use super::error::RunError;
use super::evaluate::{Evaluation, LoadedSubject};
use super::traces::Traces;

/// A line of `train.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrainEntry {
    /// A logged step or a validation.
    Line(TrainLine),
    /// A checkpoint's verdict.
    Gate(Box<GatedCheckpoint>),
}

impl TrainEntry {
    /// Optimizer steps taken when it was written.
    pub fn step(&self) -> usize {
        match self {
            TrainEntry::Line(line) => line.step,
            TrainEntry::Gate(gated) => gated.step,
        }
    }
}

/// A checkpoint and its verdicts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GatedCheckpoint {
    /// Optimizer steps taken.
    pub step: usize,
    /// Its verdict against the base, as it was trained.
    pub verdict: Verdict,
    /// Signs beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// The same matrices at other scales; none in logs of versions that judged one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scaled: Vec<GatedScale>,
}

/// A checkpoint's verdict at another scale than it was trained at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GatedScale {
    /// Multiplies the adapter's own scale.
    pub scale: f64,
    /// Its verdict against the base.
    pub verdict: Verdict,
    /// Signs beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
}

/// One verdict of a run: a checkpoint at one scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GateResult<'a> {
    /// What was judged.
    pub at: ScaledCheckpoint,
    /// Its verdict against the base.
    pub verdict: &'a Verdict,
    /// Signs beside it.
    pub causes: &'a [String],
}

impl GatedCheckpoint {
    /// Its verdicts, as trained first.
    pub fn each(&self) -> impl Iterator<Item = GateResult<'_>> {
        let at = |scale| ScaledCheckpoint {
            step: self.step,
            scale,
        };
        let trained = GateResult {
            at: at(1.0),
            verdict: &self.verdict,
            causes: &self.causes,
        };
        let scaled = self.scaled.iter().map(move |other| GateResult {
            at: at(other.scale),
            verdict: &other.verdict,
            causes: &other.causes,
        });
        std::iter::once(trained).chain(scaled)
    }

    /// Whether a loss is proven at every scale.
    fn is_lost(&self) -> bool {
        self.each()
            .all(|gated| gated.verdict.decision == Decision::Regression)
    }
}

/// How often candidates of a run were judged, each checkpoint at each scale: a pick among them is
/// claimed at an error rate divided by it. At least 1.
///
/// # Errors
/// The log or the folder cannot be read.
pub fn looks(run: &Run) -> Result<usize, RunError> {
    let log: Vec<TrainEntry> = TrainLog::read(&run.train_log())?;
    let logged = log.iter().map(|entry| match entry {
        TrainEntry::Gate(gated) => 1 + gated.scaled.len(),
        TrainEntry::Line(_) => 0,
    });
    Ok(logged.sum::<usize>().max(run.checkpoints()?.len()).max(1))
}

/// The trainer's hook.
pub(super) struct Gate<'a, 'e> {
    pub evaluation: &'a Evaluation<'a>,
    pub rules: &'a Rules,
    /// Checkpoints that the run plans.
    pub planned: usize,
    /// Scales below or above 1 at which each checkpoint is judged besides.
    pub scales: &'a [f64],
    /// When a proven loss ends the run.
    pub stop_on_regression: StopOnRegression,
    /// Gates without a better checkpoint after which the run ends.
    pub patience: Option<usize>,
    /// Most checkpoints kept on disk.
    pub limit: Option<usize>,
    /// Log every so many steps.
    pub logging_steps: usize,
    pub log: &'a TrainLog,
    /// The same for other programs.
    pub traces: Traces<'a>,
    pub on_event: &'e mut dyn FnMut(RunEvent),
    /// Every line and verdict so far, those of earlier processes first.
    pub entries: Vec<TrainEntry>,
    /// What this process compared, by step.
    pub comparisons: Vec<(usize, Comparison)>,
    /// What ended the run for another reason than the gate's.
    pub failure: Option<RunError>,
}

impl Gate<'_, '_> {
    /// Every gated checkpoint so far.
    pub fn gated(&self) -> Vec<&GatedCheckpoint> {
        self.entries
            .iter()
            .filter_map(|e| match e {
                TrainEntry::Gate(gated) => Some(gated.as_ref()),
                TrainEntry::Line(_) => None,
            })
            .collect()
    }

    /// The best so far by the selection rule.
    pub fn best(&self) -> Option<ScaledCheckpoint> {
        select_best(&self.judged())
    }

    /// What is to be beaten: the best, or the nearest to one. Learning less early in training is no
    /// reason to stop, nor to remove a checkpoint.
    fn leading(&self) -> Option<ScaledCheckpoint> {
        select_leading(&self.judged())
    }

    fn judged(&self) -> Vec<(ScaledCheckpoint, &Verdict)> {
        let gated = self.gated().into_iter();
        gated
            .flat_map(GatedCheckpoint::each)
            .map(|g| (g.at, g.verdict))
            .collect()
    }

    fn gate(&mut self, checkpoint: &CheckpointView<'_>) -> Result<Option<String>, RunError> {
        let config = self.evaluation.asking.session.decoder.config();
        let digest = digest::adapter_folder(checkpoint.folder)
            .map_err(crate::atomic_file::FileError::at("read", checkpoint.folder))
            .map_err(crate::record::RecordError::from)?;
        let scales = std::iter::once(1.0).chain(self.scales.iter().copied());
        let subjects = scales.map(|scale| {
            let at = ScaledCheckpoint {
                step: checkpoint.step,
                scale,
            };
            LoadedSubject {
                subject: Subject {
                    name: at.to_string(),
                    adapter: Some(AdapterRef {
                        path: checkpoint.folder.to_path_buf(),
                        digest: digest.clone(),
                        scale,
                        step: Some(at.step),
                    }),
                    server: None,
                },
                adapter: Some(LoadedAdapter::new(checkpoint.adapter, config, scale as f32)),
            }
        });
        let looks = 1 + self.scales.len();
        let index = self.gated().len() + 1;
        let planned = self.planned.max(index) * looks;
        // Every look of a run has the same share, so that one rule judges all scales.
        let rules = Rules {
            look: Look::Checkpoint {
                index: index * looks,
                planned: Some(planned),
            },
            chosen_from: planned,
            ..self.rules.clone()
        };
        let comparison =
            judge_checkpoint(self.evaluation, subjects.collect(), &rules, self.on_event)?;
        let Some((trained, others)) = comparison.candidates.split_first() else {
            return Ok(None);
        };
        (self.on_event)(RunEvent::Notice(told(trained, others)));
        let scaled = others.iter().zip(self.scales);
        let entry = GatedCheckpoint {
            step: checkpoint.step,
            verdict: trained.verdict.clone(),
            causes: trained.causes.clone(),
            scaled: scaled
                .map(|(candidate, &scale)| GatedScale {
                    scale,
                    verdict: candidate.verdict.clone(),
                    causes: candidate.causes.clone(),
                })
                .collect(),
        };
        self.log(TrainEntry::Gate(Box::new(entry)))?;
        self.traces
            .leave_state(checkpoint, &self.entries, self.best())?;
        self.comparisons.push((checkpoint.step, comparison));
        self.prune(checkpoint)?;
        Ok(self.stop(checkpoint))
    }

    /// Logs an entry, for other programs first: a log that ends with a gate says that all was told.
    fn log(&mut self, entry: TrainEntry) -> Result<(), RunError> {
        if let Some(notice) = self.traces.tell(&entry) {
            (self.on_event)(RunEvent::Notice(notice));
        }
        self.log.append(&entry)?;
        self.entries.push(entry);
        Ok(())
    }

    fn stop(&self, checkpoint: &CheckpointView<'_>) -> Option<String> {
        let gated = self.gated();
        let lost = gated.iter().rev().take_while(|g| g.is_lost()).count();
        let allowed = self.stop_on_regression.in_a_row();
        if let Some(allowed) = allowed.filter(|allowed| lost >= *allowed) {
            let newest: Vec<String> = gated[gated.len() - allowed..]
                .iter()
                .map(|g| format!("ckpt-{}", g.step))
                .collect();
            let everywhere = match self.scales {
                [] => "",
                _ => " at every scale",
            };
            return Some(match newest.as_slice() {
                [one] => format!("{one} is a regression{everywhere}"),
                several => format!("{} are regressions{everywhere}", several.join(" and ")),
            });
        }
        let patience = self.patience?;
        let best = self.leading();
        // Gates since the best was written; none yet counts from the start.
        let since = gated
            .iter()
            .rev()
            .take_while(|g| Some(g.step) != best.map(|best| best.step))
            .count();
        let gates = plural(since, "gate");
        (since >= patience && !checkpoint.last).then(|| match best {
            Some(best) => format!("{gates} without a better checkpoint than {best}"),
            None => format!("{gates} without a checkpoint that may ship"),
        })
    }

    /// Removes the oldest checkpoints over the limit; the best and the newest stay.
    fn prune(&self, newest: &CheckpointView<'_>) -> Result<(), RunError> {
        let Some(limit) = self.limit else {
            return Ok(());
        };
        let best = self.leading().map(|best| best.step);
        let mut kept = self.evaluation.run.run().checkpoints()?;
        kept.sort_by_key(|c| c.step);
        let mut over = kept.len().saturating_sub(limit.max(1));
        for old in kept {
            if over > 0 && Some(old.step) != best && old.step != newest.step {
                std::fs::remove_dir_all(&old.folder)
                    .map_err(crate::atomic_file::FileError::at("remove", &old.folder))
                    .map_err(crate::record::RecordError::from)?;
                over -= 1;
            }
        }
        Ok(())
    }
}

/// What stands beside the bar: the first of these that a line has. A step of rehearsal alone has no
/// loss.
fn note_of(line: &TrainLine) -> Option<String> {
    let numbers = [
        ("loss", line.loss),
        ("validation loss", line.eval_loss),
        ("rehearsal loss", line.rehearsal_loss),
        ("rehearsal drift", line.rehearsal_kl),
    ];
    let mut known = numbers.into_iter();
    known.find_map(|(name, number)| Some(format!("{name} {:.3}", number?)))
}

/// What is said of a checkpoint when it was judged: its verdict as trained in full, at other scales
/// in a word.
fn told(trained: &Candidate, others: &[Candidate]) -> String {
    let of = |c: &Candidate| format!("{} {}", c.subject.name, c.verdict.decision);
    let mut text = format!("{}: {}", trained.subject.name, trained.verdict.sentence);
    if !others.is_empty() {
        let others: Vec<String> = others.iter().map(of).collect();
        text.push_str("; ");
        text.push_str(&others.join(", "));
    }
    text
}

impl CheckpointHook for Gate<'_, '_> {
    fn at_checkpoint(&mut self, checkpoint: &CheckpointView<'_>) -> ControlFlow<String> {
        match self.gate(checkpoint) {
            Ok(None) => ControlFlow::Continue(()),
            Ok(Some(reason)) => ControlFlow::Break(reason),
            Err(error) => {
                let reason = error.to_string();
                self.failure = Some(error);
                ControlFlow::Break(reason)
            }
        }
    }

    fn at_notice(&mut self, text: &str) {
        (self.on_event)(RunEvent::Notice(text.to_owned()));
    }

    fn at_line(&mut self, line: &TrainLine, _seconds: f64) -> ControlFlow<String> {
        (self.on_event)(RunEvent::Progress {
            phase: Phase::Training,
            more: u64::from(line.is_step()),
            tokens: line.tokens.unwrap_or(0),
            note: note_of(line),
        });
        let logged =
            line.eval_loss.is_some() || line.step.is_multiple_of(self.logging_steps.max(1));
        if logged && let Err(error) = self.log(TrainEntry::Line(line.clone())) {
            let reason = error.to_string();
            self.failure = Some(error);
            return ControlFlow::Break(reason);
        }
        if self.evaluation.asking.interrupt.is_set() {
            self.failure = Some(RunError::Interrupted);
            return ControlFlow::Break("interrupted".into());
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::lora::Adapter;
    use crate::record::RunLock;
    use crate::run::questions::Questions;
    use crate::run::scoring::Scoring;
    use crate::run::testing::{Heard, Stage, adapter_folder, verdict};
    use crate::train::TrainSection;

    fn entry(step: usize, kept: usize, learned: usize) -> TrainEntry {
        TrainEntry::Gate(Box::new(GatedCheckpoint {
            step,
            verdict: verdict(kept, learned),
            causes: Vec::new(),
            scaled: Vec::new(),
        }))
    }

    /// The same, with a verdict at half the scale.
    fn scaled(step: usize, trained: (usize, usize), half: (usize, usize)) -> TrainEntry {
        TrainEntry::Gate(Box::new(GatedCheckpoint {
            step,
            verdict: verdict(trained.0, trained.1),
            causes: Vec::new(),
            scaled: vec![GatedScale {
                scale: 0.5,
                verdict: verdict(half.0, half.1),
                causes: Vec::new(),
            }],
        }))
    }

    fn line(step: usize) -> TrainLine {
        TrainLine {
            step,
            epoch: 0.5,
            loss: Some(1.5),
            rehearsal_loss: None,
            rehearsal_kl: None,
            eval_loss: None,
            grad_norm: None,
            learning_rate: None,
            tokens: Some(100),
        }
    }

    fn line_entry(step: usize) -> TrainEntry {
        TrainEntry::Line(line(step))
    }

    /// Everything that a gate borrows.
    struct Ground {
        stage: Stage,
        lock: RunLock,
        questions: Questions,
        scoring: Scoring,
        log: TrainLog,
        rules: Rules,
        section: TrainSection,
        adapter: Adapter,
        heard: Heard,
    }

    impl Ground {
        fn new() -> Self {
            let stage = Stage::new();
            let lock = stage.run();
            let config = stage.session.decoder.config();
            Ground {
                questions: Questions::new(&stage.session, Vec::new(), 0).unwrap(),
                scoring: stage.scoring(),
                log: TrainLog::open(&lock).unwrap(),
                rules: Rules::default(),
                section: TrainSection::default(),
                adapter: Adapter::read(&adapter_folder("noop"), config).unwrap(),
                heard: Heard::default(),
                lock,
                stage,
            }
        }

        /// Looks at a gate that has these entries behind it.
        fn with<T>(
            &self,
            entries: Vec<TrainEntry>,
            look: impl FnOnce(&mut Gate<'_, '_>) -> T,
        ) -> T {
            let evaluation = Evaluation {
                asking: self.stage.asking(),
                questions: &self.questions,
                store: &self.stage.store,
                run: &self.lock,
                scoring: &self.scoring,
            };
            let mut gate = Gate {
                evaluation: &evaluation,
                rules: &self.rules,
                planned: 4,
                scales: &[],
                stop_on_regression: StopOnRegression::Once,
                patience: None,
                limit: None,
                logging_steps: 1,
                log: &self.log,
                traces: Traces::none(&self.section),
                on_event: &mut |event| self.heard.hear(event),
                entries,
                comparisons: Vec::new(),
                failure: None,
            };
            look(&mut gate)
        }

        fn view(&self, step: usize, last: bool) -> CheckpointView<'_> {
            CheckpointView {
                step,
                folder: Path::new("checkpoint"),
                adapter: &self.adapter,
                last,
            }
        }
    }

    /// Why a run with these gates and this patience ends at its newest one.
    fn stopped(
        gates: &[(usize, usize, usize)],
        patience: Option<usize>,
        last: bool,
    ) -> Option<String> {
        let ground = Ground::new();
        let entries = gates
            .iter()
            .map(|&(step, kept, learned)| entry(step, kept, learned));
        ground.with(entries.collect(), |gate| {
            gate.patience = patience;
            let step = gate.gated().last().map(|g| g.step);
            gate.stop(&ground.view(step.unwrap(), last))
        })
    }

    #[test]
    fn a_regression_ends_a_run_with_all_patience() {
        let gates = [(10, 90, 5), (20, 20, 10)];
        for patience in [None, Some(9)] {
            let reason = stopped(&gates, patience, false);
            assert_eq!(reason.as_deref(), Some("ckpt-20 is a regression"));
        }
        assert!(stopped(&gates, None, true).is_some(), "the last one too");
    }

    /// A rate at its peak looks worse in mid-run than the same run's end, and what is lost at full
    /// scale may ship turned down.
    #[test]
    fn a_run_goes_on_until_nothing_of_it_can_be_saved() {
        use StopOnRegression::{Never, Once, Twice};
        let (lost, kept) = ((20, 10), (90, 5));
        let stopped = |entries: Vec<TrainEntry>, policy| {
            Ground::new().with(entries, |gate| {
                (gate.stop_on_regression, gate.scales) = (policy, &[0.5]);
                let ground = Ground::new();
                gate.stop(&ground.view(20, false))
            })
        };
        let half_passes = || vec![scaled(10, lost, kept), scaled(20, lost, kept)];
        for policy in [Once, Twice, Never] {
            assert_eq!(stopped(half_passes(), policy), None);
        }
        let second = || vec![scaled(10, lost, kept), scaled(20, lost, lost)];
        let told = stopped(second(), Once);
        assert_eq!(
            told.as_deref(),
            Some("ckpt-20 is a regression at every scale")
        );
        assert_eq!(stopped(second(), Twice), None);
        let both = || vec![scaled(10, lost, lost), scaled(20, lost, lost)];
        let told = stopped(both(), Twice);
        let expected = "ckpt-10 and ckpt-20 are regressions at every scale";
        assert_eq!(told.as_deref(), Some(expected));
        assert_eq!(stopped(both(), Never), None);
        // Not in a row.
        let apart = vec![
            scaled(5, lost, lost),
            scaled(10, lost, kept),
            scaled(20, lost, lost),
        ];
        assert_eq!(stopped(apart, Twice), None);
    }

    #[test]
    fn every_scale_of_every_checkpoint_is_a_look() {
        let ground = Ground::new();
        let run = ground.lock.run();
        assert_eq!(looks(run).unwrap(), 1, "nothing was judged");
        for entry in [line_entry(1), entry(1, 90, 5), scaled(2, (20, 9), (90, 5))] {
            ground.log.append(&entry).unwrap();
        }
        assert_eq!(looks(run).unwrap(), 3);
    }

    /// A log of a version that judged one scale.
    #[test]
    fn a_gate_without_scales_reads_as_one_verdict() {
        let TrainEntry::Gate(gated) = entry(10, 90, 5) else {
            panic!("no gate");
        };
        let text = serde_json::to_string(&gated).unwrap();
        assert!(!text.contains("scaled"), "{text}");
        let read: GatedCheckpoint = serde_json::from_str(&text).unwrap();
        let each: Vec<String> = read.each().map(|g| g.at.to_string()).collect();
        assert_eq!(each, ["ckpt-10"]);
    }

    #[test]
    fn patience_counts_gates_since_the_best() {
        let gates = [(10, 90, 5), (20, 90, 8), (30, 90, 8), (40, 90, 6)];
        let best = "2 gates without a better checkpoint than ckpt-20";
        assert_eq!(stopped(&gates, Some(2), false).as_deref(), Some(best));
        assert_eq!(stopped(&gates, Some(3), false), None);
        assert_eq!(stopped(&gates[..3], Some(2), false), None);
        assert_eq!(stopped(&gates, None, false), None, "off");
        assert_eq!(stopped(&gates, Some(2), true), None, "it ends anyway");
    }

    /// A run that learns slowly is going on well: 0.8 is to be reached at its end.
    #[test]
    fn learning_less_early_is_no_reason_to_stop() {
        let slow = [(10, 90, 1), (20, 90, 3), (30, 90, 6)];
        assert_eq!(stopped(&slow, Some(1), false), None);
        let stuck = [(10, 90, 1), (20, 90, 3), (30, 90, 3), (40, 90, 2)];
        let reason = "2 gates without a better checkpoint than ckpt-20";
        assert_eq!(stopped(&stuck, Some(2), false).as_deref(), Some(reason));
    }

    /// The base is the first to beat: gates of which none may ship count from the start.
    #[test]
    fn patience_runs_out_where_nothing_may_ship() {
        let unproven = [(10, 88, 9), (20, 88, 9)];
        let none = "2 gates without a checkpoint that may ship";
        assert_eq!(stopped(&unproven, Some(2), false).as_deref(), Some(none));
        assert_eq!(stopped(&unproven[..1], Some(2), false), None);
    }

    #[test]
    fn pruning_keeps_the_best_and_the_newest() {
        for (limit, left) in [
            (None, vec![10, 20, 30, 40]),
            (Some(0), vec![20, 40]),
            (Some(1), vec![20, 40]),
            (Some(2), vec![20, 40]),
            (Some(3), vec![20, 30, 40]),
            (Some(9), vec![10, 20, 30, 40]),
        ] {
            let ground = Ground::new();
            let run = ground.lock.run();
            for step in [10, 20, 30, 40] {
                let folder = run.checkpoint_folder(step);
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(folder.join("adapter_config.json"), "{}").unwrap();
            }
            let entries = vec![
                entry(10, 90, 5),
                entry(20, 90, 8),
                entry(30, 90, 7),
                entry(40, 90, 6),
            ];
            ground.with(entries, |gate| {
                gate.limit = limit;
                gate.prune(&ground.view(40, true)).unwrap();
            });
            let kept: Vec<usize> = run.checkpoints().unwrap().iter().map(|c| c.step).collect();
            assert_eq!(kept, left, "{limit:?}");
        }
    }

    #[test]
    fn steps_between_logged_ones_move_the_bar_alone() {
        let ground = Ground::new();
        ground.with(Vec::new(), |gate| {
            gate.logging_steps = 3;
            for step in 1..=4 {
                assert!(gate.at_line(&line(step), 0.1).is_continue());
            }
            // A validation is logged whenever it is made.
            let validated = TrainLine {
                loss: None,
                tokens: None,
                eval_loss: Some(2.0),
                ..line(4)
            };
            assert!(gate.at_line(&validated, 0.1).is_continue());
        });
        let path = ground.lock.run().train_log();
        let logged: Vec<TrainEntry> = TrainLog::read(&path).unwrap();
        let steps: Vec<usize> = logged.iter().map(TrainEntry::step).collect();
        assert_eq!((steps, ground.heard.moved()), (vec![3, 4], 4));
    }

    #[test]
    fn a_step_of_rehearsal_alone_moves_the_bar_and_has_no_loss() {
        let ground = Ground::new();
        let rehearsed = TrainLine {
            loss: None,
            rehearsal_kl: Some(0.25),
            ..line(1)
        };
        assert_eq!(note_of(&rehearsed).unwrap(), "rehearsal drift 0.250");
        ground.with(Vec::new(), |gate| {
            assert!(gate.at_line(&rehearsed, 0.1).is_continue());
        });
        assert_eq!(ground.heard.moved(), 1);
    }

    #[test]
    fn an_interrupt_ends_the_run_after_the_step_is_logged() {
        let ground = Ground::new();
        ground.stage.interrupt.set();
        let (end, failure, logged) = ground.with(Vec::new(), |gate| {
            let end = gate.at_line(&line(1), 0.1);
            (end, gate.failure.take(), gate.entries.len())
        });
        assert!(end.is_break());
        assert!(matches!(failure, Some(RunError::Interrupted)));
        assert_eq!(logged, 1);
    }

    /// Versions before causes were kept wrote none.
    #[test]
    fn a_verdict_without_causes_is_read_and_written_as_it_was() {
        let old = serde_json::json!({ "gate": { "step": 20, "verdict": verdict(90, 8) } });
        let read: TrainEntry = serde_json::from_value(old.clone()).unwrap();
        assert_eq!(read, entry(20, 90, 8));
        assert_eq!(serde_json::to_value(&read).unwrap(), old);
    }
}
