//! One rung: its settings train to their share of steps, then all of their adapters are looked at.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::atomic_file::{self, FileError};
use crate::digest::{self, Parts, json};
use crate::flow::{AdapterRef, Phase, RunEvent, Subject, TuneFailure, TuneLoss, TunePoint, Tuning};
use crate::gate::{Look, Rules, decide};
use crate::lora::{Adapter, LoadedAdapter};
use crate::record::{RecordError, RunLock};
use crate::train::{CheckpointHook, CheckpointView, TrainError, TrainLine, Training};

use super::super::error::RunError;
use super::super::evaluate::{Evaluation, LoadedSubject};
use super::super::interrupt::Interrupt;
use super::super::lora_settings::lora_config;
use super::super::questions::Questions;
use super::super::scoring::Scoring;
use super::super::training_rows::TrainingRows;
use super::look::{self, Pool};
use super::space::Setting;
use super::{TuningJob, halving, write};

/// What every rung works with.
pub(super) struct RungWork<'a> {
    pub tuning_job: &'a TuningJob<'a>,
    pub rows: &'a TrainingRows,
    /// By number, which counts from 1.
    pub settings: &'a [Setting],
    pub pool: &'a Pool,
    pub scoring: &'a Scoring,
    pub lock: &'a RunLock,
}

impl RungWork<'_> {
    /// Trains and looks at the settings of the first rung that is not finished.
    ///
    /// # Errors
    /// A record that cannot be read or written, or an interrupt; what was finished is on disk.
    pub fn rung(
        &self,
        tuning: &mut Tuning,
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Result<(), RunError> {
        let rung = tuning.finished;
        let plan = &tuning.plan;
        let numbers = halving::taking_part(
            &plan.settings,
            &plan.rungs,
            &tuning.points,
            rung,
            plan.margin,
        );
        let mut trained = Vec::new();
        for number in numbers {
            if tuning.failures.iter().any(|f| f.setting == number) {
                continue;
            }
            match self.train(number, rung, tuning, on_event) {
                Ok(step) => trained.push((number, step)),
                // A rate that is too high for the model is one more thing that is now known.
                Err(RunError::Train(error @ TrainError::NotFinite { .. })) => {
                    tuning.failures.push(TuneFailure {
                        setting: number,
                        reason: error.to_string(),
                    });
                }
                Err(error) => return Err(error),
            }
            write(self.lock, tuning)?;
        }
        self.look(&trained, rung, tuning, on_event)
    }

    fn folder(&self, number: usize) -> PathBuf {
        self.lock
            .run()
            .folder()
            .join(format!("setting-{number:02}"))
    }

    /// Trains a setting to the end of a rung, from where it is. Returns its steps.
    fn train(
        &self,
        number: usize,
        rung: usize,
        tuning: &mut Tuning,
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Result<usize, RunError> {
        let setting = &self.settings[number - 1];
        let job = self.tuning_job.job_of(setting);
        let session = job.asking.session;
        let plan = &tuning.plan;
        let total = plan.setting(number).map_or(0, |s| s.steps);
        let ends = halving::ends(total, &plan.rungs);
        let folder = self.folder(number);
        std::fs::create_dir_all(&folder)
            .map_err(FileError::at("create", &folder))
            .and_then(|()| atomic_file::remove_leftovers(&folder))
            .map_err(RecordError::from)?;
        let training = Training {
            model: session.decoder.as_ref(),
            examples: &self.rows.examples,
            validation: &[],
            section: &setting.train,
            lora: lora_config(&setting.lora),
            base_name: session.hub_id.clone(),
            trained_on: session.trained_on(),
            identity: Parts::new("tuned setting")
                .part("training", job.identity(&self.rows.tokenized))
                .part("rungs", json(&ends))
                .finish(),
            folder,
            keep: job.keep(),
            rungs: &ends,
        };
        let until = ends[rung];
        let of_rung = |l: &TuneLoss| (l.setting, l.rung) == (number, rung);
        let mut done = training.newest()?.unwrap_or(0);
        if done >= until {
            if tuning.losses.iter().any(of_rung) {
                return Ok(until);
            }
            // Killed before its loss was written: these steps are taken again, with the same bits.
            let last = checkpoint_folder(&training.folder, done);
            std::fs::remove_dir_all(&last)
                .map_err(FileError::at("remove", &last))
                .map_err(RecordError::from)?;
            done = training.newest()?.unwrap_or(0);
        }
        let label = format!(
            "setting {number} of {}, rung {} of {}",
            plan.settings.len(),
            rung + 1,
            plan.rungs.len()
        );
        let phase = Phase::Training;
        on_event(RunEvent::Begin {
            phase,
            total: until as u64,
            done: done as u64,
            label,
        });
        let mut hook = RungHook {
            until,
            losses: Vec::new(),
            steps: 0,
            seconds: 0.0,
            interrupt: job.asking.interrupt,
            on_event,
        };
        let looks = job.asking.interrupt.glances();
        let end = training.run(&mut hook);
        drop(looks);
        let (steps, seconds) = (hook.steps, hook.seconds);
        let late = hook.losses.split_off(hook.losses.len() / 2);
        on_event(RunEvent::End { phase });
        tuning.spent.steps += steps;
        tuning.spent.step_seconds += seconds;
        let end = end?;
        if job.asking.interrupt.is_set() {
            return Err(RunError::Interrupted);
        }
        tuning.losses.retain(|l| !of_rung(l));
        tuning.losses.push(TuneLoss {
            setting: number,
            rung,
            loss: late.iter().sum::<f64>() / late.len().max(1) as f64,
        });
        Ok(end.step)
    }

    /// Has all adapters of a rung answer beside the base, each at every scale.
    fn look(
        &self,
        trained: &[(usize, usize)],
        rung: usize,
        tuning: &mut Tuning,
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Result<(), RunError> {
        let job = self.tuning_job.job;
        let probes = self.pool.first(tuning.plan.rungs[rung].probes);
        let suites = look::asked(&job.questions.suites, &probes);
        let session = job.asking.session;
        let built = job.questions.built();
        let seed = job.questions.seed;
        let questions = Questions::with_checks(session, suites.clone(), &built, seed)?;
        let evaluation = Evaluation {
            asking: job.asking,
            questions: &questions,
            store: job.store,
            run: self.lock,
            scoring: self.scoring,
        };
        // A probe whose texts are weighed is one answer, of several pieces.
        let pieces = questions.all.iter().map(|question| {
            let answers = usize::from(questions.checks[question.checks].answer);
            answers * questions.samples(question) + question.continuation_ids.len()
        });
        let pieces: usize = pieces.sum();
        let rules = Rules {
            look: Look::Single,
            chosen_from: 1,
            ..job.request.rules.clone()
        };
        let losses: BTreeMap<usize, f64> = tuning
            .losses
            .iter()
            .filter(|l| l.rung == rung)
            .map(|l| (l.setting, l.loss))
            .collect();
        let candidates: Vec<(usize, usize, f64)> = trained
            .iter()
            .flat_map(|&(number, step)| tuning.plan.scales.iter().map(move |&s| (number, step, s)))
            .collect();
        let at_once = self.tuning_job.adapters_at_once(self.settings)?;
        for candidates in candidates.chunks(at_once.min(candidates.len()).max(1)) {
            let mut subjects = vec![LoadedSubject::base()];
            for candidate in candidates {
                subjects.push(self.subject(*candidate)?);
            }
            let (started, mut answers) = (Instant::now(), 0);
            let mut counted = |event: RunEvent| {
                if let RunEvent::Progress {
                    phase: Phase::Answering,
                    more,
                    ..
                } = &event
                {
                    answers += *more as usize;
                }
                on_event(event);
            };
            let measured = evaluation.run(subjects, &mut counted)?;
            tuning.spent.answers += answers * probes.len() / pieces.max(1);
            if answers > 0 {
                tuning.spent.answer_seconds += started.elapsed().as_secs_f64();
            }
            let (base, others) = measured.split_at(1);
            for (&(setting, step, scale), other) in candidates.iter().zip(others) {
                let verdict = decide(&suites, &base[0].scores, &other.scores, &rules);
                let Some(learn) = &verdict.learn else {
                    continue;
                };
                tuning.points.push(TunePoint {
                    setting,
                    rung,
                    step,
                    loss: losses.get(&setting).copied().unwrap_or(f64::MAX),
                    scale,
                    learn: learn.mean,
                    base_learn: learn.base_mean.unwrap_or(0.0),
                    keep: verdict.pooled.estimate.clone(),
                    lost: verdict.decision == crate::flow::Decision::Regression,
                });
            }
        }
        Ok(())
    }

    /// A setting's checkpoint at a scale, as it answers.
    fn subject(
        &self,
        (number, step, scale): (usize, usize, f64),
    ) -> Result<LoadedSubject, RunError> {
        let folder = checkpoint_folder(&self.folder(number), step);
        let config = self.tuning_job.job.asking.session.decoder.config();
        let adapter = Adapter::read(&folder, config)?;
        let digest = digest::adapter_folder(&folder)
            .map_err(FileError::at("read", &folder))
            .map_err(RecordError::from)?;
        Ok(LoadedSubject {
            adapter: Some(LoadedAdapter::new(&adapter, config, scale as f32)),
            subject: Subject {
                name: format!("setting-{number:02}-ckpt-{step}@{scale}"),
                adapter: Some(AdapterRef {
                    path: folder,
                    digest,
                    scale,
                    step: Some(step),
                }),
                server: None,
            },
        })
    }
}

fn checkpoint_folder(setting: &Path, step: usize) -> PathBuf {
    setting.join(format!("checkpoint-{step}"))
}

/// Ends training at the end of a rung, or when the user wants to stop.
struct RungHook<'a> {
    until: usize,
    /// Taken in this process.
    steps: usize,
    /// Of those steps.
    seconds: f64,
    /// Of those steps that had labels.
    losses: Vec<f64>,
    interrupt: &'a Interrupt,
    on_event: &'a mut dyn FnMut(RunEvent),
}

impl CheckpointHook for RungHook<'_> {
    fn at_checkpoint(&mut self, checkpoint: &CheckpointView<'_>) -> ControlFlow<String> {
        match checkpoint.step >= self.until {
            true => ControlFlow::Break("the rung ends".into()),
            false => ControlFlow::Continue(()),
        }
    }

    fn at_notice(&mut self, text: &str) {
        (self.on_event)(RunEvent::Notice(text.to_owned()));
    }

    fn at_line(&mut self, line: &TrainLine, seconds: f64) -> ControlFlow<String> {
        self.steps += usize::from(line.is_step());
        self.seconds += seconds;
        self.losses.extend(line.loss);
        (self.on_event)(RunEvent::Progress {
            phase: Phase::Training,
            more: u64::from(line.is_step()),
            tokens: line.tokens.unwrap_or(0),
            note: line.loss.map(|loss| format!("loss {loss:.3}")),
        });
        match self.interrupt.is_set() {
            true => ControlFlow::Break("interrupted".into()),
            false => ControlFlow::Continue(()),
        }
    }
}
