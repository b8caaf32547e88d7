//! Tuning: settings are tried by successive halving on one loaded base, and one is chosen.
//!
//! Every setting trains to the end of a rung, all adapters of the rung answer in one batch beside the
//! base, each at several scales, and the better half goes on from its checkpoints. What is finished
//! is on disk, so that the same request goes on where it was. Looks choose and decide nothing: the
//! probes that they ask are a part of those that the gate of a full run asks.

mod halving;
mod look;
mod prices;
mod rung;
mod space;

use serde::{Deserialize, Serialize};

use crate::atomic_file::{self, FileError};
use crate::config::TuneSection;
use crate::digest::{Parts, json};
use crate::flow::{RunEvent, TUNING_VERSION, TuneChoice, TunePlan, TunePoint, TuneSetting, Tuning};
use crate::record::{RecordError, Run, RunLock};
use crate::text::plural;
use crate::train::{DataSection, LoraSection, TrainSection};

use super::error::RunError;
use super::lora_settings::lora_config;
use super::run_config::{RunConfig, begun, with_identity};
use super::scoring::Scoring;
use super::training::TrainingJob;
use super::training_request::TrainingRequest;
use super::training_rows::{TrainingRows, plan_of};

pub use look::unseen;
pub use space::Setting;

use halving::{LEAST_PROBES, Prices};
use look::Pool;
use rung::RungWork;

/// File of a tuning run with its [`Tuning`].
const TUNING_FILE: &str = "tuning.json";

/// What tuning may take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TuneBudget {
    /// So many full training runs with their gates.
    Runs(f64),
    /// So many minutes.
    Minutes(f64),
}

/// What a tuning run was asked to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TuningConfig {
    /// Digest of all that decides the result: a run of the same one goes on where it was.
    pub identity: String,
    /// As [`super::TrainingConfig::asked`], of the configured setting.
    #[serde(default)]
    pub asked: String,
    /// `[lora]`, as configured.
    pub lora: LoraSection,
    /// `[data]`.
    pub data: DataSection,
    /// `[train]`, as configured.
    pub train: TrainSection,
    /// `[tune]`.
    pub tune: TuneSection,
}

/// Everything that tuning is made of.
pub struct TuningJob<'a> {
    /// A training run of the configured setting.
    pub job: &'a TrainingJob<'a>,
    /// `[tune]`.
    pub asked: &'a TuneSection,
    /// What it may take.
    pub budget: TuneBudget,
}

/// How tuning ended.
pub struct TuneOutcome {
    /// Where it is.
    pub run: Run,
    /// What was seen and chosen.
    pub tuning: Tuning,
    /// The setting that was chosen.
    pub chosen: Option<Setting>,
}

impl TuningJob<'_> {
    /// Plans, shows the plan to `on_plan`, and, if that returns true, tries. A tuning of the same
    /// request that was cut short goes on, by the plan that it had.
    ///
    /// # Errors
    /// Nothing to learn or to keep, a space of one setting, a setting that cannot be trained, a
    /// budget or a memory that does not hold it; a record that cannot be written, an interrupt.
    pub fn run(
        &self,
        scoring: &Scoring,
        on_plan: &mut dyn FnMut(&Tuning) -> bool,
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Result<Option<TuneOutcome>, RunError> {
        let job = self.job;
        let seed = job.request.train.seed;
        let pool = Pool::new(&job.questions.suites, &job.request.rules.leaked, seed);
        refuse_without_goals(&pool)?;
        let rows = job.rows()?;
        let configured = Setting {
            lora: job.request.lora.clone(),
            train: job.request.train.clone(),
        };
        let rehearses = rows.examples.iter().any(|e| e.rehearsal.is_some());
        let settings = space::settings(self.asked, &configured, rehearses, seed)?;
        for (place, setting) in settings.iter().enumerate() {
            self.check(place + 1, setting, &rows, rehearses)?;
        }
        let identity = self.identity(&rows, &settings);
        let found = with_identity(job.store.list()?, &identity)?;
        let mut lock = found.as_ref().map(Run::lock).transpose()?;
        let stored = found.as_ref().map(read).transpose()?.flatten();
        let mut tuning = match stored {
            Some(tuning) => tuning,
            None => Tuning::of(self.plan(&settings, &rows, &pool, rehearses, on_event)?),
        };
        if !on_plan(&tuning) {
            return Ok(None);
        }
        let run = match found {
            Some(run) => run,
            None => self.create(&identity)?,
        };
        let lock = match lock.take() {
            Some(lock) => lock,
            None => run.lock()?,
        };
        write(&lock, &tuning)?;
        let work = RungWork {
            tuning_job: self,
            rows: &rows,
            settings: &settings,
            pool: &pool,
            scoring,
            lock: &lock,
        };
        while !tuning.is_finished() {
            work.rung(&mut tuning, on_event)?;
            tuning.finished += 1;
            tuning.choice = chosen(&tuning);
            write(&lock, &tuning)?;
        }
        let chosen = tuning.choice.map(|c| settings[c.setting - 1].clone());
        Ok(Some(TuneOutcome {
            run: run.clone(),
            tuning,
            chosen,
        }))
    }

    /// The job of training a setting.
    fn job_of<'s>(&'s self, setting: &'s Setting) -> TrainingJob<'s> {
        TrainingJob {
            asking: self.job.asking,
            request: TrainingRequest {
                lora: &setting.lora,
                train: &setting.train,
                ..self.job.request
            },
            questions: self.job.questions,
            made: self.job.made,
            store: self.job.store,
            name: None,
            command: self.job.command,
        }
    }

    /// Refuses a setting whose full run would be refused, before anything is computed.
    fn check(
        &self,
        number: usize,
        setting: &Setting,
        rows: &TrainingRows,
        rehearses: bool,
    ) -> Result<(), RunError> {
        let config = self.job.asking.session.decoder.config();
        let named = |error: &dyn std::fmt::Display| {
            let label = self.described(number, setting, rows, rehearses).label();
            RunError::Tune(format!(
                "setting {number} of [tune] ({label}) cannot be trained: {error}"
            ))
        };
        lora_config(&setting.lora)
            .targets(config, true)
            .map_err(|e| named(&e))?;
        self.job_of(setting).preflight(rows).map_err(|e| named(&e))
    }

    fn described(
        &self,
        number: usize,
        setting: &Setting,
        rows: &TrainingRows,
        rehearses: bool,
    ) -> TuneSetting {
        TuneSetting {
            number,
            learning_rate: setting.train.learning_rate,
            rank: setting.lora.rank,
            alpha: setting.lora.alpha,
            modules: space::short(&setting.lora.target_modules),
            rehearsal_weight: rehearses.then_some(setting.train.rehearsal_weight),
            num_train_epochs: setting.train.num_train_epochs,
            steps: plan_of(&rows.examples, &setting.train).total_steps(),
        }
    }

    /// What is going to be done, by what a step and an answer take here.
    fn plan(
        &self,
        settings: &[Setting],
        rows: &TrainingRows,
        pool: &Pool,
        rehearses: bool,
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Result<TunePlan, RunError> {
        on_event(RunEvent::Notice("measuring a step and an answer".into()));
        let described: Vec<TuneSetting> = settings
            .iter()
            .enumerate()
            .map(|(place, setting)| self.described(place + 1, setting, rows, rehearses))
            .collect();
        let scales = self.job.request.scales;
        let probes = pool.first(pool.len().min(LEAST_PROBES));
        let prices = Prices {
            step: self.step_seconds(rows)?,
            answer: self.answer_seconds(&probes)?,
            scales: scales.len(),
        };
        let questions = self.job.questions;
        let gate: usize = questions.all.iter().map(|q| questions.samples(q)).sum();
        let full_steps = described[0].steps;
        let gates = self.job.request.train.gate_every().times(full_steps).len();
        let judged = 1 + self.job.judged_scales(gates, &mut |_| {}).len();
        // The base answers once, each checkpoint at each scale.
        let full_answers = (gates * judged + 1) * gate;
        let full_seconds = full_steps as f64 * prices.step + full_answers as f64 * prices.answer;
        let budget = match self.budget {
            TuneBudget::Runs(runs) => runs * full_seconds,
            TuneBudget::Minutes(minutes) => minutes * 60.0,
        };
        let totals: Vec<usize> = described.iter().map(|s| s.steps).collect();
        let rungs = halving::plan(&totals, pool.len(), &prices, budget)
            .map_err(|least| self.beyond(least, &totals, pool, &prices, budget, full_seconds))?;
        let (memory, memory_free) = (self.memory(settings)?, self.free_memory());
        if let Some(free) = memory_free.filter(|free| memory > *free) {
            return Err(RunError::Tune(format!(
                "the largest of these settings takes {} beside the model, and {} is free\n  Give \
                 smaller values of `rank` or fewer modules under [tune], or close other programs.",
                crate::text::bytes(memory),
                crate::text::bytes(free),
            )));
        }
        Ok(TunePlan {
            settings: described,
            scales: scales.to_vec(),
            chosen_on: pool.first(rungs.last().map_or(0, |last| last.probes)),
            probes: questions.suites.iter().map(|s| s.probes.len()).sum(),
            margin: self.job.request.rules.margin,
            step_seconds: prices.step,
            answer_seconds: prices.answer,
            answers: halving::answers(&rungs, prices.scales),
            full_steps,
            full_answers,
            budget_seconds: budget,
            memory,
            memory_free,
            rungs,
        })
    }

    /// Why a budget does not hold it, and what would do.
    fn beyond(
        &self,
        least: Option<f64>,
        totals: &[usize],
        pool: &Pool,
        prices: &Prices,
        budget: f64,
        full_seconds: f64,
    ) -> RunError {
        let Some(least) = least else {
            let steps = totals.iter().min().copied().unwrap_or(0);
            return RunError::Tune(format!(
                "a run of {} is too short to be halved: the first rung would have less than two\n  \
                 Raise num_train_epochs, under [tune] too, or lower gradient_accumulation_steps.",
                plural(steps, "step"),
            ));
        };
        let asked = match self.budget {
            TuneBudget::Runs(runs) => format!(
                "{runs} full runs of {} are {}",
                crate::text::duration(full_seconds),
                crate::text::duration(budget)
            ),
            TuneBudget::Minutes(_) => format!("{} are allowed", crate::text::duration(budget)),
        };
        let fewer = (2..totals.len())
            .rev()
            .find(|&n| halving::plan(&totals[..n], pool.len(), prices, budget).is_ok());
        let fewer = fewer.map_or(String::new(), |n| format!("take `--settings {n}`, or "));
        let more = match self.budget {
            TuneBudget::Runs(_) => format!(
                "--full-runs {:.1}",
                (least / full_seconds * 10.0).ceil() / 10.0
            ),
            TuneBudget::Minutes(_) => format!("--minutes {}", (least / 60.0).ceil()),
        };
        RunError::Tune(format!(
            "{} take {} at least, and {asked}\n  A step takes {:.2} s and an answer {:.2} s here.\n  \
             Way out: {fewer}give more time (`{more}`).",
            plural(totals.len(), "setting"),
            crate::text::duration(least),
            prices.step,
            prices.answer,
        ))
    }

    /// Digest of all that decides the result.
    fn identity(&self, rows: &TrainingRows, settings: &[Setting]) -> String {
        let budget = match self.budget {
            TuneBudget::Runs(runs) => format!("{runs} runs"),
            TuneBudget::Minutes(minutes) => format!("{minutes} minutes"),
        };
        let mut parts = Parts::new("tuning")
            .part("configured", self.job.identity(&rows.tokenized))
            .part("budget", budget)
            .part("scales", json(&self.job.request.scales));
        for setting in settings {
            parts = parts.part("lora", json(&setting.lora)).part(
                "train",
                json(&super::training_request::deciding(&setting.train)),
            );
        }
        parts.finish()
    }

    /// A new run: `tune-0001`, `tune-0002`, ..
    fn create(&self, identity: &str) -> Result<Run, RunError> {
        let (job, session) = (self.job, self.job.asking.session);
        let config = RunConfig::Tuning(Box::new(TuningConfig {
            identity: identity.to_owned(),
            asked: job.request.digest(session),
            lora: job.request.lora.clone(),
            data: job.request.data.clone(),
            train: job.request.train.clone(),
            tune: self.asked.clone(),
        }));
        let suites = &job.questions.suites;
        let provenance = begun(job.command, session, suites, job.request.train.seed, config);
        for number in 1.. {
            let name = format!("tune-{number:04}");
            match job.store.create(Some(&name), &provenance) {
                Err(RecordError::RunExists { .. }) => {}
                made => return Ok(made?),
            }
        }
        unreachable!("there are more numbers than folders")
    }
}

fn refuse_without_goals(pool: &Pool) -> Result<(), RunError> {
    let text = match pool.goals() {
        (true, true) => return Ok(()),
        (false, _) => {
            "there is nothing to learn: no suite that is asked has `goal = \"learn\"`, or all its \
             probes stand in the training data\n  Tuning maximizes the score of such suites. Write \
             one, or name one with `--suite` beside the others: `qeval help suites`."
        }
        (true, false) => {
            "there is nothing to keep: no suite that is asked has `goal = \"keep\"`, so that the \
             loudest setting would win\n  Take the built-in suites, or name one with `--suite`."
        }
    };
    Err(RunError::Tune(text.into()))
}

/// The best candidate of the last rung that keeps and has learned something.
fn chosen(tuning: &Tuning) -> Option<TuneChoice> {
    let last = tuning.plan.rungs.len().checked_sub(1)?;
    let margin = tuning.plan.margin;
    let fit = |p: &&TunePoint| p.rung == last && p.keeps(margin) && p.has_learned();
    let points = tuning.points.iter().filter(fit);
    let best = points.min_by(|a, b| halving::better(a, b, margin))?;
    Some(TuneChoice {
        setting: best.setting,
        scale: best.scale,
        step: best.step,
    })
}

fn write(lock: &RunLock, tuning: &Tuning) -> Result<(), RunError> {
    let path = lock.run().folder().join(TUNING_FILE);
    let text = serde_json::to_string_pretty(tuning).unwrap_or_default();
    Ok(atomic_file::write(&path, text + "\n").map_err(RecordError::from)?)
}

/// What a tuning run has on disk; `None` where it was killed before its plan was.
fn read(run: &Run) -> Result<Option<Tuning>, RunError> {
    let path = run.folder().join(TUNING_FILE);
    let bytes = match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes
            .map_err(FileError::at("read", &path))
            .map_err(RecordError::from)?,
    };
    let bad = |problem: String| {
        RunError::Tune(format!(
            "{}: {problem}\n  Move the folder of {} away; the same command then begins anew.",
            path.display(),
            run.id()
        ))
    };
    let tuning: Tuning = serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
    if tuning.version != TUNING_VERSION {
        return Err(bad(format!(
            "its version is {}, this qeval reads {TUNING_VERSION}",
            tuning.version
        )));
    }
    Ok(Some(tuning))
}
