//! A burst of checkpoints, judged: the base is loaded once and asked once, and all that is new
//! answers in one batch.

use std::path::Path;

use crate::digest;
use crate::flow::{Measurement, Preview};
use crate::gate::{GateError, Look, Rules, preview};
use crate::lora::Adapter;
use crate::record::{RecordError, SubjectSource, SubjectSpec};
use crate::run::{RunError, Session};
use crate::trainers::{CheckpointFolder, Claims, TrainerState};

use super::super::error::ProjectError;
use super::super::order::Order;
use super::order::WatchEvent;
use super::settled::{Settled, other_base};
use super::verdict::{CheckpointVerdict, VERSION};
use super::watching::{Status, Watching};

/// Adapters that are in memory at once.
const MOST_AT_ONCE: usize = 8;

/// A checkpoint that is whole and not judged.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    /// Its folder.
    pub at: CheckpointFolder,
    /// Its name below the folder that is watched.
    pub name: String,
    /// Digest of its adapter.
    pub digest: String,
    /// What its trainer says.
    pub state: TrainerState,
}

/// The base that is loaded, and the system prompt that it was loaded under.
pub(super) struct Loaded {
    pub model: String,
    pub system: Option<String>,
    pub session: Session,
}

/// What came of a batch.
enum Batch {
    /// One measurement a subject, the base first, and the rules' owner.
    Measured(
        Box<Order>,
        Vec<Measurement>,
        Option<crate::flow::NoiseFloor>,
    ),
    /// Something that passes: it is tried again at the next look.
    Later,
}

impl Watching<'_> {
    /// What the probes can prove; refused where they cannot reach a margin.
    pub(super) fn preview(&self) -> Result<Preview, ProjectError> {
        Order::new(self.project, &["base"])?.preview()
    }

    /// Judges what is ready.
    ///
    /// # Errors
    /// Whatever stops a measurement; finished answers are on disk.
    pub(super) fn judge(&mut self, ready: Vec<Ready>) -> Result<(), ProjectError> {
        let mut rest = ready.into_iter().peekable();
        while let Some(first) = rest.next() {
            let settled = self.settled(&first)?;
            let mut batch = vec![first];
            while batch.len() < MOST_AT_ONCE
                && let Some(next) = rest.peek()
                && self.settled(&next.clone())? == settled
                && let Some(next) = rest.next()
            {
                batch.push(next);
            }
            self.judge_batch(batch, &settled)?;
        }
        Ok(())
    }

    /// What the run of a checkpoint is asked with; told once a run.
    fn settled(&mut self, ready: &Ready) -> Result<Settled, ProjectError> {
        if let Some(known) = self.settled.get(&ready.at.run) {
            return Ok(known.clone());
        }
        let claims = Claims::read(&ready.at);
        let suites = self.project.suites()?;
        let settled = Settled::of(self.project, &claims, &ready.at.path, suites)?;
        for line in &settled.lines {
            self.project
                .notice(format!("{}: {line}", ready.at.run.display()));
        }
        self.settled.insert(ready.at.run.clone(), settled.clone());
        Ok(settled)
    }

    fn judge_batch(&mut self, batch: Vec<Ready>, settled: &Settled) -> Result<(), ProjectError> {
        self.load(settled)?;
        let mut fit = Vec::new();
        for ready in batch {
            match self.refusal(&ready) {
                None => fit.push(ready),
                Some(_) if !ready.at.path.is_dir() => self.forget(&ready.at.path, false),
                Some(why) => self.refuse(&ready.at.path, why),
            }
        }
        if fit.is_empty() {
            return Ok(());
        }
        let Batch::Measured(order, measured, noise) = self.measure(&fit, settled)? else {
            return Ok(());
        };
        let mut all = measured.into_iter();
        let Some(base) = all.next() else {
            return Ok(());
        };
        for (ready, candidate) in fit.into_iter().zip(all) {
            // Written anew meanwhile: it is found again, as another.
            if is_other(&ready, &candidate) {
                self.seen.remove(&ready.at.path);
                continue;
            }
            let pair = [base.clone(), candidate];
            self.add(&ready, &order, &pair, noise.as_ref())?;
        }
        Ok(())
    }

    /// Has the base of these settings in memory.
    fn load(&mut self, settled: &Settled) -> Result<(), ProjectError> {
        let fits = |l: &Loaded| l.model == settled.model && l.system == settled.system;
        if self.loaded.as_ref().is_some_and(fits) {
            return Ok(());
        }
        self.loaded = None;
        let order = self.order_of(&[], settled)?;
        let session = self.project.session_of(&order)?;
        self.loaded = Some(Loaded {
            model: settled.model.clone(),
            system: settled.system.clone(),
            session,
        });
        Ok(())
    }

    /// Why an adapter cannot be judged beside the loaded base.
    fn refusal(&self, ready: &Ready) -> Option<String> {
        let session = &self.loaded.as_ref()?.session;
        if !self.order.trust_base {
            let claims = Claims::read(&ready.at);
            let other = other_base(&claims, &session.base.name, &session.known_as);
            if other.is_some() {
                return other;
            }
        }
        let stored = |name: &str, shape: &[usize]| session.stored(name, shape);
        let read = Adapter::read_on(&ready.at.path, session.decoder.config(), &stored);
        read.err().map(|error| error.to_string())
    }

    fn measure(&mut self, fit: &[Ready], settled: &Settled) -> Result<Batch, ProjectError> {
        let order = self.order_of(fit, settled)?;
        let session = self.loaded.take().map(|loaded| loaded.session);
        match self.project.measure_in(&order, session) {
            Ok(measured) => {
                self.loaded = measured.session.map(|session| Loaded {
                    model: settled.model.clone(),
                    system: settled.system.clone(),
                    session,
                });
                let noise = measured.noise;
                Ok(Batch::Measured(
                    Box::new(order),
                    measured.measurements,
                    noise,
                ))
            }
            Err(ProjectError::Record(error @ RecordError::InUse { .. })) if !self.order.once => {
                let error = error.to_string();
                let first = error.lines().next().unwrap_or_default();
                self.project.notice(format!("waits: {first}"));
                Ok(Batch::Later)
            }
            // A trainer removes old checkpoints, and some write into the same folder again.
            Err(error) if !is_interrupt(&error) && fit.iter().any(has_changed) => {
                for ready in fit.iter().filter(|ready| has_changed(ready)) {
                    self.seen.remove(&ready.at.path);
                }
                self.project
                    .notice(format!("a checkpoint changed while it was read: {error}"));
                Ok(Batch::Later)
            }
            Err(error) => Err(error),
        }
    }

    fn order_of(&self, fit: &[Ready], settled: &Settled) -> Result<Order, ProjectError> {
        let mut order = Order::new(self.project, &["base"])?;
        order.model.clone_from(&settled.model);
        order.system.clone_from(&settled.system);
        if let Some(taught) = &settled.taught {
            order.rules.leaked.clone_from(&taught.leaked);
            order.training_answers = Some(taught.answers.clone());
        }
        order.subjects.extend(fit.iter().map(|ready| SubjectSpec {
            name: ready.at.path.display().to_string(),
            source: SubjectSource::Folder {
                folder: ready.at.path.clone(),
            },
            scale: 1.0,
        }));
        Ok(order)
    }

    /// Judges one of a batch, as one look of its run, and has it in the record.
    fn add(
        &mut self,
        ready: &Ready,
        order: &Order,
        pair: &[Measurement],
        noise: Option<&crate::flow::NoiseFloor>,
    ) -> Result<(), ProjectError> {
        let run = self.name_of(&ready.at.run);
        let judged = self.record.judged().iter().filter(|j| j.run == run);
        let look = judged.count() + 1;
        let planned = ready.state.planned().map(|planned| planned.max(look));
        let rules = Rules {
            look: Look::Checkpoint {
                index: look,
                planned,
            },
            // A pass is claimed as the best of all.
            chosen_from: planned.unwrap_or(look),
            ..order.rules.clone()
        };
        self.tell_out_of_reach(order, &rules);
        let comparison = order.compare_by(&rules, pair, noise);
        if let Some(candidate) = comparison.candidates.first() {
            let judged = digest::Parts::new("watched")
                .part("rules", digest::json(&rules))
                .part("adapter", &ready.digest);
            let of = (&comparison, candidate);
            let judged = judged.finish();
            self.project.remember("watch", &judged, &ready.name, of);
        }
        let Some(candidate) = comparison.candidates.into_iter().next() else {
            return Ok(());
        };
        let before = self.record.judged().iter();
        let before = before.filter(|j| j.run == run && j.step < ready.at.step);
        let since = before.map(|j| j.step).max().unwrap_or(0);
        let judgement = CheckpointVerdict {
            version: VERSION,
            checkpoint: ready.name.clone(),
            folder: ready.at.path.clone(),
            run,
            step: ready.at.step,
            digest: ready.digest.clone(),
            base: order.model.clone(),
            look,
            planned,
            train_loss: ready.state.train_loss(since),
            validation_loss: ready.state.validation_loss(),
            may_ship: candidate.verdict.may_ship(),
            verdict: candidate.verdict,
            causes: candidate.causes,
        };
        self.record.add(judgement.clone())?;
        self.set_status(&ready.at.path, Status::Judged);
        self.judged_here = true;
        let next = self.next(&ready.at.path, &order.model);
        (self.on_event)(WatchEvent::Judged {
            judgement: &judgement,
            next,
        });
        Ok(())
    }

    /// Says once that so few probes cannot pass as the best of so many checkpoints.
    fn tell_out_of_reach(&mut self, order: &Order, rules: &Rules) {
        let reach = |errors: &[GateError]| {
            let mut all = errors.iter();
            all.any(|e| matches!(e, GateError::MarginOutOfReach { .. }))
        };
        if self.told_reach || !preview(&order.suites, rules).is_err_and(|e| reach(&e)) {
            return;
        }
        self.told_reach = true;
        self.project.notice(format!(
            "so few probes cannot prove a pass of the best of {} checkpoints: ask more of them, or \
             judge one alone with `qeval gate`",
            rules.chosen_from
        ));
    }
}

fn is_interrupt(error: &ProjectError) -> bool {
    matches!(error, ProjectError::Run(RunError::Interrupted))
}

/// Whether a folder is not what it was.
fn has_changed(ready: &Ready) -> bool {
    digest_of(&ready.at.path).as_ref() != Some(&ready.digest)
}

/// Digest of an adapter; `None` where it cannot be read, mostly since it is gone.
pub(super) fn digest_of(folder: &Path) -> Option<String> {
    digest::adapter_folder(folder).ok()
}

/// Whether what answered is not what was found, or the folder holds something else by now. One that
/// was removed since was read before.
fn is_other(ready: &Ready, candidate: &Measurement) -> bool {
    let adapter = candidate.subject.adapter.as_ref();
    let now = digest_of(&ready.at.path);
    adapter.is_none_or(|adapter| adapter.digest != ready.digest)
        || now.is_some_and(|now| now != ready.digest)
}
