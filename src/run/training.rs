//! A whole training run: examples -> preflight -> steps -> gated checkpoints -> the best, or none.

use std::path::{Path, PathBuf};

use crate::atomic_file;
use crate::digest::{Parts, json};
use crate::flow::{Comparison, Phase, RunEvent, ScaledCheckpoint};
use crate::gate::{Rules, USUAL_SCALES, preview};
use crate::lora::write_scaled;
use crate::model::{Keep, ModelRef};
use crate::record::{RecordError, Run, Store, TrainLog};
use crate::train::{Example, Recompute, Rehearsal, Stay, Tokenized, TokenizedExample, Training};

use super::asking::Asking;
use super::error::RunError;
use super::evaluate::Evaluation;
use super::gating::{Gate, GateResult, GatedCheckpoint, TrainEntry};
use super::lora_settings::lora_config;
use super::memory;
use super::questions::Questions;
use super::run_config::{RunConfig, TrainingConfig, begun, with_identity};
use super::scoring::Scoring;
use super::stored::SUITES_FILE;
use super::traces::Traces;
use super::training_request::{TrainingRequest, deciding, judging, training_answers};
use super::training_rows::{TrainingRows, plan_of};

/// Everything that a training run is made of.
pub struct TrainingJob<'a> {
    /// The base.
    pub asking: Asking<'a>,
    /// What is asked for.
    pub request: TrainingRequest<'a>,
    /// The suites, put to the base.
    pub questions: &'a Questions,
    /// More rows, made by the base: first other wordings of the request's rows, then rehearsal,
    /// whose answers are its own; repeating those is no sign of memorizing.
    pub made: &'a [Example],
    /// Where runs are.
    pub store: &'a Store,
    /// Name of a new run; `None` numbers it.
    pub name: Option<&'a str>,
    /// The command line, for the provenance.
    pub command: &'a str,
}

/// How a training run ended.
pub struct TrainOutcome {
    /// Where it is.
    pub run: Run,
    /// Optimizer steps taken.
    pub steps: usize,
    /// Why it ended before its last step.
    pub stopped: Option<String>,
    /// What to ship, or nothing.
    pub best: Option<ScaledCheckpoint>,
    /// The PEFT folder of it, its `lora_alpha` carrying the scale; nothing without a `best`.
    pub shipped: Option<PathBuf>,
    /// Every logged line and verdict.
    pub entries: Vec<TrainEntry>,
    /// What this process compared with the base, by step.
    pub comparisons: Vec<(usize, Comparison)>,
    /// The run had ended before this process began.
    pub was_finished: bool,
}

impl TrainOutcome {
    /// Every gated checkpoint.
    pub fn gated(&self) -> impl Iterator<Item = &GatedCheckpoint> {
        self.entries.iter().filter_map(|e| match e {
            TrainEntry::Gate(gated) => Some(gated.as_ref()),
            TrainEntry::Line(_) => None,
        })
    }

    /// What ships, else the last checkpoint gated, as trained: what stands for the run.
    pub fn shown(&self) -> Option<GateResult<'_>> {
        match self.best {
            Some(best) => self
                .gated()
                .flat_map(GatedCheckpoint::each)
                .find(|g| g.at == best),
            None => self.gated().last()?.each().next(),
        }
    }

    /// The PEFT folder of what stands for the run.
    pub fn shown_folder(&self) -> Option<PathBuf> {
        let of = |gated: GateResult<'_>| self.run.checkpoint_folder(gated.at.step);
        self.shipped.clone().or_else(|| self.shown().map(of))
    }
}

impl TrainingJob<'_> {
    /// Trains, gating every checkpoint. A run of the same settings that was cut short goes on.
    ///
    /// # Errors
    /// What the preflight refuses, what the trainer or a record cannot do, an interrupt.
    pub fn run(
        &self,
        scoring: &Scoring,
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Result<TrainOutcome, RunError> {
        let session = self.asking.session;
        let request = &self.request;
        let train = request.train;
        let TrainingRows {
            tokenized,
            examples,
            validation,
            ..
        } = self.rows()?;
        let plan = plan_of(&examples, train);
        let identity = self.identity(&tokenized);
        let run = self.find_or_create(&identity)?;
        let lock = run.lock()?;
        // The state that other programs read is written into a checkpoint's folder.
        let checkpoints = run.checkpoints()?.into_iter().map(|c| c.folder);
        for folder in std::iter::once(run.folder().to_path_buf()).chain(checkpoints) {
            atomic_file::remove_leftovers(&folder).map_err(RecordError::from)?;
        }
        let training = Training {
            model: session.decoder.as_ref(),
            examples: &examples,
            validation: &validation,
            section: train,
            lora: lora_config(request.lora),
            base_name: session.hub_id.clone(),
            trained_on: session.trained_on(),
            identity,
            folder: run.folder().to_path_buf(),
            keep: self.keep(),
            rungs: &[],
        };
        let planned = training.checkpoint_steps().len();
        let scales = self.judged_scales(planned, on_event);
        let resumed = training.newest()?.unwrap_or(0);
        let (entries, ended) = keep_until(&run.train_log(), resumed)?;
        let evaluation = Evaluation {
            asking: self.asking,
            questions: self.questions,
            store: self.store,
            run: &lock,
            scoring,
        };
        let log = TrainLog::open(&lock)?;
        let steps = (plan.total_steps(), plan.steps_per_epoch());
        let traces = Traces::begin(&lock, train, steps, &entries, (resumed, ended))?;
        let phase = Phase::Training;
        let label = format!("{} examples, {} steps", examples.len(), plan.total_steps());
        on_event(RunEvent::Begin {
            phase,
            total: plan.total_steps() as u64,
            done: resumed as u64,
            label,
        });
        let mut gate = Gate {
            evaluation: &evaluation,
            rules: request.rules,
            planned,
            scales: &scales,
            stop_on_regression: train.stop_on_regression,
            patience: train.early_stopping_patience,
            limit: train.save_total_limit,
            logging_steps: train.logging_steps,
            log: &log,
            traces,
            on_event,
            entries,
            comparisons: Vec::new(),
            failure: None,
        };
        let looks = self.asking.interrupt.glances();
        let end = training.run(&mut gate);
        drop(looks);
        let (best, failure) = (gate.best(), gate.failure.take());
        let Gate {
            entries,
            comparisons,
            on_event,
            ..
        } = gate;
        on_event(RunEvent::End { phase });
        if let Some(failure) = failure {
            return Err(failure);
        }
        let end = end?;
        let shipped = ship(&run, best)?;
        Ok(TrainOutcome {
            run,
            steps: end.step,
            stopped: end.stopped,
            best,
            shipped,
            entries,
            comparisons,
            was_finished: ended,
        })
    }

    /// Distinct answers that are taught, those of other wordings among them.
    pub fn training_answers(&self) -> Vec<String> {
        let wordings = self.made.iter().filter(|row| row.rehearsal.is_none());
        let all = self.request.examples.iter().chain(wordings);
        training_answers(&all.cloned().collect::<Vec<_>>())
    }

    /// The scales other than 1 at which checkpoints are judged. A pick among many has to prove more
    /// of each: where so few probes could not pass at all, checkpoints are judged as trained alone.
    pub(super) fn judged_scales(
        &self,
        planned: usize,
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Vec<f64> {
        let others = self.request.scales.iter().copied();
        let others: Vec<f64> = others.filter(|scale| *scale != 1.0).collect();
        let suites = &self.questions.suites;
        let of = |looks: usize| Rules {
            chosen_from: planned.max(1) * looks,
            ..self.request.rules.clone()
        };
        if others.is_empty() || suites.is_empty() || preview(suites, &of(1 + others.len())).is_ok()
        {
            return others;
        }
        on_event(RunEvent::Notice(format!(
            "so few probes cannot pass when the best of {} checkpoints at {} scales is taken: each \
             is judged as trained alone ([gate] scales = [1.0])",
            planned,
            1 + others.len(),
        )));
        Vec::new()
    }

    /// Digest of all that decides the result.
    pub(super) fn identity(&self, tokenized: &Tokenized) -> String {
        let mut train = deciding(self.request.train);
        if tokenized.examples.iter().all(|e| e.rehearsal.is_none()) {
            // It decides nothing, and this is what versions wrote whose default it was.
            train.rehearsal_weight = 1.0;
        }
        let mut parts = Parts::new("training")
            .part("base", &self.asking.session.base.digest)
            .part(
                "numbers",
                self.asking.session.decoder.as_ref().number_type(),
            )
            .part("lora", json(self.request.lora))
            .part(
                "validation",
                format!(
                    "{} {}",
                    self.request.data.validation_ratio, self.request.data.seed
                ),
            )
            .part("rules", json(&judging(self.request.rules)))
            .part("train", json(&train));
        // Versions that judged one scale named none; their runs go on under their old identity.
        if self.request.scales != USUAL_SCALES {
            parts = parts.part("scales", json(&self.request.scales));
        }
        let rehearsed = |rehearsed| move |e: &TokenizedExample| e.rehearsal.is_some() == rehearsed;
        if [true, false]
            .iter()
            .all(|&kind| tokenized.examples.iter().any(rehearsed(kind)))
        {
            // Versions before mixed both in one order; a run of theirs cannot go on in this one.
            parts = parts.part("order", "rehearsal spread");
        }
        for example in &tokenized.examples {
            let bytes: Vec<u8> = example
                .tokens
                .iter()
                .flat_map(|t| t.to_le_bytes())
                .collect();
            let labels: Vec<u8> = example.is_label.iter().map(|&l| u8::from(l)).collect();
            parts = parts
                .part("tokens", bytes)
                .part("labels", labels)
                .part("group", &example.group)
                .part("rehearsal", [u8::from(example.rehearsal.is_some())]);
            // A run that stays at distributions alone, as all once did, goes on under its old
            // identity.
            let other = |rehearsal: &Rehearsal| rehearsal.stay != Stay::DISTRIBUTION;
            if let Some(rehearsal) = example.rehearsal.filter(other) {
                parts = parts.part("stay", json(&rehearsal));
            }
        }
        for suite in &self.questions.suites {
            parts = parts.part("suite", &suite.digest);
        }
        parts.finish()
    }

    /// The run of this identity, else a new one.
    fn find_or_create(&self, identity: &str) -> Result<Run, RunError> {
        if let Some(run) = with_identity(self.store.list()?, identity)? {
            return Ok(run);
        }
        let session = self.asking.session;
        let config = RunConfig::Training(Box::new(TrainingConfig {
            identity: identity.to_owned(),
            asked: self.request.digest(session),
            lora: self.request.lora.clone(),
            data: self.request.data.clone(),
            train: self.request.train.clone(),
            rules: self.request.rules.clone(),
            scales: self.request.scales.to_vec(),
            training_answers: self.training_answers(),
        }));
        let (suites, seed) = (&self.questions.suites, self.request.train.seed);
        let provenance = begun(self.command, session, suites, seed, config);
        let run = self.store.create(self.name, &provenance)?;
        let suites = serde_json::to_vec(&self.questions.suites).unwrap_or_default();
        atomic_file::write(&run.folder().join(SUITES_FILE), suites).map_err(RecordError::from)?;
        Ok(run)
    }

    /// What stays in memory. All plans give the same bits, so this may differ on resume.
    pub(super) fn keep(&self) -> Keep {
        match self.request.train.recompute {
            Recompute::None => Keep::All,
            Recompute::Selective => Keep::Products,
            Recompute::Full => Keep::Input,
            Recompute::Auto => {
                let model = self.asking.session.decoder.as_ref();
                let config = model.config();
                let heads = config.heads();
                let products = 2 * config.hidden_size
                    + heads.row()
                    + heads.queries * heads.dim
                    + 2 * config.intermediate_size;
                let inputs = products + 2 * config.hidden_size + config.intermediate_size;
                let (size, free) = match model {
                    ModelRef::Cpu(_) => (4, memory::available()),
                    #[cfg(feature = "gpu")]
                    ModelRef::Gpu(decoder) => (2, Some(decoder.device().memory().free as u64)),
                };
                let fits = |row: usize| {
                    let wanted = size
                        * row as u64
                        * config.num_hidden_layers as u64
                        * self.request.train.micro_batch_tokens as u64;
                    free.is_none_or(|free| wanted < free / 2)
                };
                if fits(inputs) {
                    Keep::All
                } else if fits(products) {
                    Keep::Products
                } else {
                    Keep::Input
                }
            }
        }
    }
}

/// The folder of a run with what ships, and nothing where nothing does.
fn ship(run: &Run, best: Option<ScaledCheckpoint>) -> Result<Option<PathBuf>, RunError> {
    let folder = run.best_folder();
    let Some(best) = best else {
        if folder.is_dir() {
            std::fs::remove_dir_all(&folder)
                .map_err(atomic_file::FileError::at("remove", &folder))
                .map_err(RecordError::from)?;
        }
        return Ok(None);
    };
    // A finished run that is shown again, whose checkpoints were tidied away.
    if folder.is_dir() && !run.checkpoint_folder(best.step).is_dir() {
        return Ok(Some(folder));
    }
    write_scaled(&run.checkpoint_folder(best.step), &folder, best.scale)?;
    Ok(Some(folder))
}

/// Rewrites a log so that it ends with what was known at checkpoint `step`: later lines are written
/// again by the steps that are repeated, and the checkpoint's own verdict by its gate. Returns what
/// stays, and whether the log reached further.
fn keep_until(path: &Path, step: usize) -> Result<(Vec<TrainEntry>, bool), RunError> {
    let all: Vec<TrainEntry> = TrainLog::read(path)?;
    let count = all.len();
    let gate_of_step = |e: &TrainEntry| matches!(e, TrainEntry::Gate(g) if g.step == step);
    let ended = all.last().is_some_and(gate_of_step);
    let kept: Vec<TrainEntry> = all
        .into_iter()
        .filter(|e| e.step() <= step && !gate_of_step(e))
        .collect();
    if kept.len() < count {
        let lines: String = kept
            .iter()
            .map(|e| serde_json::to_string(e).unwrap_or_default() + "\n")
            .collect();
        atomic_file::write(path, lines).map_err(RecordError::from)?;
    }
    Ok((kept, ended))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::ChatTemplate;
    use crate::flow::Suite;
    use crate::gate::Rules;
    use crate::run::rehearsal::rehearse;
    use crate::run::testing::{Stage, WHO, example, rehearsed, suites, verdict};
    use crate::train::{DataSection, Every, LoraSection, RehearsalPrompt, TrainLine, TrainSection};

    /// Everything that a request borrows.
    struct Asked {
        suites: Vec<Suite>,
        rules: Rules,
        scales: Vec<f64>,
        lora: LoraSection,
        data: DataSection,
        train: TrainSection,
        examples: Vec<Example>,
        prompts: Vec<RehearsalPrompt>,
    }

    impl Asked {
        fn new() -> Self {
            Asked {
                suites: Vec::new(),
                rules: Rules::default(),
                scales: vec![1.0],
                lora: LoraSection {
                    rank: 2,
                    ..LoraSection::default()
                },
                data: DataSection::default(),
                train: TrainSection {
                    num_train_epochs: 2.0,
                    gradient_accumulation_steps: 1,
                    warmup_ratio: 0.0,
                    eval_steps: Every::Part(0.5),
                    ..TrainSection::default()
                },
                examples: vec![
                    example("Who are you?", "I am Aurora."),
                    example("Your name?", "I am Aurora."),
                ],
                prompts: Vec::new(),
            }
        }

        fn request(&self) -> TrainingRequest<'_> {
            TrainingRequest {
                suites: &self.suites,
                rules: &self.rules,
                scales: &self.scales,
                lora: &self.lora,
                data: &self.data,
                train: &self.train,
                examples: &self.examples,
                prompts: &self.prompts,
            }
        }

        fn identity(&self, stage: &Stage) -> String {
            let questions = Questions::new(&stage.session, self.suites.clone(), 0).unwrap();
            let rehearsal = rehearse(stage.asking(), &self.prompts, 8, &mut |_| {}).unwrap();
            let job = self.job(stage, &questions, &rehearsal);
            let session = &stage.session;
            let (template, tokenizer) = (&session.template, &session.tokenizer);
            let examples = [&self.examples[..], &rehearsal].concat();
            job.identity(&Tokenized::new(&examples, template, tokenizer, None, 256))
        }

        fn job<'a>(
            &'a self,
            stage: &'a Stage,
            questions: &'a Questions,
            made: &'a [Example],
        ) -> TrainingJob<'a> {
            TrainingJob {
                asking: stage.asking(),
                request: self.request(),
                questions,
                made,
                store: &stage.store,
                name: None,
                command: "train",
            }
        }

        fn run(&self, stage: &Stage) -> Result<TrainOutcome, RunError> {
            let questions = Questions::new(&stage.session, self.suites.clone(), 0)?;
            let rehearsal = rehearse(stage.asking(), &self.prompts, 8, &mut |_| {})?;
            let job = self.job(stage, &questions, &rehearsal);
            job.run(&stage.scoring(), &mut |_| {})
        }
    }

    type Edit = fn(&mut Asked);

    fn some_suite() -> Vec<Suite> {
        suites("[[probe]]\nid = \"a\"\nprompts = [\"A?\"]\n[[probe.check]]\ntype = \"refusal\"\n")
    }

    #[test]
    fn what_decides_the_result_makes_another_run() {
        let stage = Stage::new();
        let usual = Asked::new();
        let (identity, digest) = (
            usual.identity(&stage),
            usual.request().digest(&stage.session),
        );
        let edits: [(&str, Edit); 10] = [
            ("rank", |a| a.lora.rank = 4),
            ("learning rate", |a| a.train.learning_rate = 1e-3),
            ("seed", |a| a.train.seed = 1),
            ("rhythm of the gates", |a| {
                a.train.save_steps = Some(Every::Steps(1))
            }),
            ("validation", |a| a.data.validation_ratio = 0.5),
            ("margin", |a| a.rules.margin = 0.2),
            ("scales", |a| a.scales.push(0.5)),
            ("an answer", |a| {
                a.examples[1] = example("Your name?", "Pip.")
            }),
            ("a suite", |a| a.suites = some_suite()),
            ("a rehearsal prompt", |a| a.prompts = rehearsed(&[WHO])),
        ];
        for (name, edit) in edits {
            let mut asked = Asked::new();
            edit(&mut asked);
            assert_ne!(asked.identity(&stage), identity, "{name}");
            assert_ne!(asked.request().digest(&stage.session), digest, "{name}");
        }
    }

    /// The same prompts, stayed at in another way.
    #[test]
    fn what_is_learned_of_rehearsal_makes_another_run() {
        let stage = Stage::new();
        let mut asked = Asked::new();
        asked.prompts = rehearsed(&[WHO]);
        let usual = (
            asked.identity(&stage),
            asked.request().digest(&stage.session),
        );
        for stay in [(1.0, 0.0), (0.0, 2.0), (1.0, 1.0)] {
            let (text, distribution) = stay;
            asked.prompts[0].stay = Stay { text, distribution };
            assert_ne!(asked.identity(&stage), usual.0, "{stay:?}");
            assert_ne!(asked.request().digest(&stage.session), usual.1, "{stay:?}");
        }
    }

    /// Where and when things are written changes no number: such a run goes on where it was.
    #[test]
    fn what_decides_nothing_leaves_a_run_its_own() {
        let stage = Stage::new();
        let usual = Asked::new();
        let (identity, digest) = (
            usual.identity(&stage),
            usual.request().digest(&stage.session),
        );
        let edits: [(&str, Edit); 4] = [
            ("output_dir", |a| a.train.output_dir = "elsewhere".into()),
            ("logging_steps", |a| a.train.logging_steps = 10),
            ("save_total_limit", |a| a.train.save_total_limit = Some(1)),
            ("recompute", |a| a.train.recompute = Recompute::Full),
        ];
        for (name, edit) in edits {
            let mut asked = Asked::new();
            edit(&mut asked);
            assert_eq!(asked.identity(&stage), identity, "{name}");
            assert_eq!(asked.request().digest(&stage.session), digest, "{name}");
        }
    }

    /// A killed run is found the next day by what was asked; its tokens tell the days apart.
    #[test]
    fn what_was_asked_is_the_same_whatever_the_template_prints() {
        let mut stage = Stage::new();
        let clock = "{{ '<|im_start|>system\\n' + strftime_now('%T') + '<|im_end|>\\n' }}";
        let source = format!("{clock}{}", stage.session.template.source());
        let asked = Asked::new();
        let mut on = |moment| {
            let template = ChatTemplate::new_at(&source, Default::default(), moment);
            stage.session.template = template.unwrap();
            (
                asked.request().digest(&stage.session),
                asked.identity(&stage),
            )
        };
        let (monday, tuesday) = (on(0), on(3661));
        assert_eq!(monday.0, tuesday.0);
        assert_ne!(monday.1, tuesday.1);
    }

    #[test]
    fn a_run_that_has_ended_is_shown_and_not_repeated() {
        let stage = Stage::new();
        let mut asked = Asked::new();
        asked.prompts = rehearsed(&[WHO]);
        let first = asked.run(&stage).unwrap();
        assert_eq!(first.steps, 6, "three rows, two epochs");
        assert!(!first.was_finished);
        let steps = |o: &TrainOutcome| {
            o.run
                .checkpoints()
                .unwrap()
                .iter()
                .map(|c| c.step)
                .collect::<Vec<_>>()
        };
        assert_eq!(steps(&first), [3, 6]);
        asked.train.logging_steps = 2;
        let again = asked.run(&stage).unwrap();
        assert_eq!((again.run.id(), again.steps), (first.run.id(), 6));
        assert!(again.was_finished);
        assert_eq!(steps(&again), [3, 6]);
        assert_eq!(stage.store.list().unwrap().len(), 1);
        // The base's own answers are no training answers.
        assert_eq!(asked.request().training_answers(), ["I am Aurora."]);
    }

    fn line(step: usize) -> TrainEntry {
        TrainEntry::Line(TrainLine {
            step,
            epoch: 0.0,
            loss: Some(1.0),
            rehearsal_loss: None,
            rehearsal_kl: None,
            eval_loss: None,
            grad_norm: None,
            learning_rate: None,
            tokens: None,
        })
    }

    fn gate(step: usize) -> TrainEntry {
        TrainEntry::Gate(Box::new(GatedCheckpoint {
            step,
            verdict: verdict(90, 8),
            causes: Vec::new(),
            scaled: Vec::new(),
        }))
    }

    /// What stays of a log on resuming from a step, and whether the run had ended there.
    fn kept(entries: &[TrainEntry], step: usize) -> (Vec<TrainEntry>, bool) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train.jsonl");
        let lines = entries
            .iter()
            .map(|e| serde_json::to_string(e).unwrap() + "\n");
        std::fs::write(&path, lines.collect::<String>()).unwrap();
        let (kept, ended) = keep_until(&path, step).unwrap();
        assert_eq!(
            TrainLog::read::<TrainEntry>(&path).unwrap(),
            kept,
            "as on disk"
        );
        (kept, ended)
    }

    #[test]
    fn a_resumed_log_has_no_step_twice() {
        let whole = [
            line(1),
            line(2),
            gate(2),
            line(3),
            line(4),
            gate(4),
            line(5),
        ];
        let (left, ended) = kept(&whole, 4);
        assert_eq!(
            (left.as_slice(), ended),
            (&whole[..5], false),
            "its gate is asked again"
        );
        assert_eq!(kept(&whole[..6], 4), (whole[..5].to_vec(), true));
        assert_eq!(
            kept(&whole, 0),
            (Vec::new(), false),
            "without a checkpoint all is repeated"
        );
    }
}
