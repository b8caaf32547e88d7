//! What a step, an answer, and an adapter take on this machine: measured or counted before anything
//! is tried.

use std::ops::ControlFlow;
use std::time::Instant;

use crate::flow::{Phase, ProbeId};
use crate::generate::{Request, Work};
use crate::model::ModelRef;
use crate::train::{CheckpointHook, CheckpointView, TrainLine, Training};

use super::super::asking::Bar;
use super::super::error::RunError;
use super::super::lora_settings::lora_config;
use super::super::memory;
use super::super::questions::Questions;
use super::super::session::sampling;
use super::super::training_rows::TrainingRows;
use super::space::Setting;
use super::{TuningJob, look};

/// Steps that are measured; the quicker one counts, since the first also warms caches.
const MEASURED_STEPS: usize = 2;
/// Bytes of a matrix element in training: value, gradient, and two moments, in F32.
const TRAINED_BYTES: u64 = 16;
/// Bytes of a matrix element that answers: as it was read, and laid out for the kernels.
const LOADED_BYTES: u64 = 8;

/// Listens to a few steps and ends before anything is written.
struct Stopwatch<'a> {
    wanted: usize,
    seconds: Vec<f64>,
    interrupted: &'a dyn Fn() -> bool,
}

impl CheckpointHook for Stopwatch<'_> {
    fn at_checkpoint(&mut self, _: &CheckpointView<'_>) -> ControlFlow<String> {
        ControlFlow::Break("measured".into())
    }

    fn at_line(&mut self, _: &TrainLine, seconds: f64) -> ControlFlow<String> {
        self.seconds.push(seconds);
        match self.seconds.len() >= self.wanted || (self.interrupted)() {
            true => ControlFlow::Break("measured".into()),
            false => ControlFlow::Continue(()),
        }
    }
}

impl TuningJob<'_> {
    /// Seconds of an optimizer step of the configured setting.
    pub(super) fn step_seconds(&self, rows: &TrainingRows) -> Result<f64, RunError> {
        let (job, session) = (self.job, self.job.asking.session);
        let training = Training {
            model: session.decoder.as_ref(),
            examples: &rows.examples,
            validation: &[],
            section: job.request.train,
            lora: lora_config(job.request.lora),
            base_name: None,
            trained_on: session.trained_on(),
            identity: String::new(),
            // Nothing is there, and nothing is written.
            folder: job.store.root().join("measured"),
            keep: job.keep(),
            rungs: &[],
        };
        let interrupted = || job.asking.interrupt.is_set();
        let mut watch = Stopwatch {
            wanted: MEASURED_STEPS.min(training.plan().total_steps()),
            seconds: Vec::new(),
            interrupted: &interrupted,
        };
        let _looks = job.asking.interrupt.glances();
        training.run(&mut watch)?;
        if interrupted() {
            return Err(RunError::Interrupted);
        }
        Ok(watch.seconds.into_iter().fold(f64::INFINITY, f64::min))
    }

    /// Seconds of an answer of the base to these probes, asked at once and recorded nowhere: what a
    /// record has would take no time.
    pub(super) fn answer_seconds(&self, probes: &[ProbeId]) -> Result<f64, RunError> {
        let job = self.job;
        let suites = look::asked(&job.questions.suites, probes);
        let built = job.questions.built();
        let session = job.asking.session;
        let questions = Questions::with_checks(session, suites, &built, job.questions.seed)?;
        let requests = questions.all.iter().map(|question| {
            let checks = &questions.checks[question.checks];
            let answer = checks.answer.then(|| Work::Generate {
                id: 0,
                sampling: sampling(&question.generation),
                max_new_tokens: question.generation.max_new_tokens,
                seed: questions.seed_of(&question.case, 0),
            });
            let texts = question.continuation_ids.iter();
            let texts = texts.map(|text| Work::Score {
                id: 0,
                text: text.clone(),
            });
            Request {
                adapter: None,
                prompt: question.ids.clone(),
                work: answer.into_iter().chain(texts).collect(),
            }
        });
        let requests: Vec<Request> = requests.filter(|r| !r.work.is_empty()).collect();
        let count = requests.len();
        let bar = Bar::new(Phase::Answering, "measuring", count);
        let started = Instant::now();
        job.asking
            .run(&[], requests, bar, &mut |_| {}, &mut |_| Ok(0))?;
        Ok(started.elapsed().as_secs_f64() / count.max(1) as f64)
    }

    /// Matrix elements of a setting's adapter.
    fn elements(&self, setting: &Setting) -> Result<u64, RunError> {
        let config = self.job.asking.session.decoder.config();
        let lora = lora_config(&setting.lora);
        let mut elements = 0;
        for id in lora.targets(config, true)? {
            let (rank, _) = lora.rank_and_scale(id)?;
            let sides = id.projection.in_features(config) + id.projection.out_features(config);
            elements += (sides * rank) as u64;
        }
        Ok(elements)
    }

    /// Bytes that the largest setting takes beside the model: while it trains, and while it answers
    /// at one scale.
    pub(super) fn memory(&self, settings: &[Setting]) -> Result<u64, RunError> {
        let mut most = 0;
        for setting in settings {
            most = most.max(self.elements(setting)?);
        }
        Ok(most * TRAINED_BYTES.max(LOADED_BYTES))
    }

    /// Adapters that may be in memory at once to answer, one at least.
    pub(super) fn adapters_at_once(&self, settings: &[Setting]) -> Result<usize, RunError> {
        let mut most = 1;
        for setting in settings {
            most = most.max(self.elements(setting)?);
        }
        // The rest is for caches of keys and values, which grow with the answers.
        let room = self
            .free_memory()
            .map(|free| free / 4 / (most * LOADED_BYTES));
        Ok(room.map_or(usize::MAX, |room| room.max(1) as usize))
    }

    /// Bytes that are free where the model is, if the system tells.
    pub(super) fn free_memory(&self) -> Option<u64> {
        match self.job.asking.session.decoder.as_ref() {
            ModelRef::Cpu(_) => memory::available(),
            #[cfg(feature = "gpu")]
            ModelRef::Gpu(decoder) => Some(decoder.device().memory().free as u64),
        }
    }
}
