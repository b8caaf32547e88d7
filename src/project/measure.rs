//! An order carried out: records are read, and only what no record has is answered.

use crate::flow::{Measurement, NoiseFloor, Subject, Suite};
use crate::record::{Provenance, Run, SubjectSpec, SuiteProvenance};
use crate::run::{
    Evaluation, EvaluationConfig, LoadedSubject, Questions, RunConfig, RunProvenance, Session,
    asked_again, evaluation_run, noise_floor, recorded, second_base,
};

use super::error::ProjectError;
use super::open::Project;
use super::order::Order;

/// What the subjects of an order said and scored.
pub struct MeasuredOrder {
    /// One a subject, in their order.
    pub measurements: Vec<Measurement>,
    /// How far the base differs from itself, where that was asked for.
    pub noise: Option<NoiseFloor>,
    /// The base, when it had to be loaded.
    pub session: Option<Session>,
}

impl MeasuredOrder {
    fn of_records(
        measurements: Vec<Measurement>,
        again: Option<&[Suite]>,
        second: Option<&Measurement>,
    ) -> Self {
        MeasuredOrder {
            noise: floor(again, &measurements, second),
            measurements,
            session: None,
        }
    }
}

impl Project {
    /// Has every subject of an order answer what it has not answered yet.
    ///
    /// # Errors
    /// A model, adapter, or record that cannot be used, or an interrupt; finished answers are on
    /// disk.
    pub fn measure(&self, order: &Order) -> Result<MeasuredOrder, ProjectError> {
        let subjects: Vec<Subject> = order
            .subjects
            .iter()
            .map(SubjectSpec::subject)
            .collect::<Result<_, _>>()?;
        let again = order
            .noise
            .then(|| asked_again(&order.suites, &order.built));
        let again = again.as_deref();
        let mut whole = None;
        if let Some(run) = &order.run {
            let stored = self.all_recorded(run, &subjects, order)?;
            let second = match again {
                Some(again) => {
                    recorded(run, &second_base(), again, &order.built, &order.checks)?.map(Some)
                }
                None => Some(None),
            };
            match (stored, second) {
                (Some(all), Some(second)) => {
                    return Ok(MeasuredOrder::of_records(all, again, second.as_ref()));
                }
                (stored, _) => whole = stored,
            }
        }
        let mut session = match (self.session(&order.model, order.system.clone()), whole) {
            (Ok(session), _) => session,
            // Every answer that is judged is on disk; only the noise floor would need the model.
            (Err(error), Some(all)) => {
                self.notice(format!("the noise floor is not shown: {error}"));
                return Ok(MeasuredOrder::of_records(all, None, None));
            }
            (Err(error), None) => return Err(error),
        };
        let run = self.run_of(order, &mut session)?;
        let (measurements, second) = self.answer(order, &session, &run, &subjects, again)?;
        Ok(MeasuredOrder {
            noise: floor(again, &measurements, second.as_ref()),
            measurements,
            session: Some(session),
        })
    }

    fn all_recorded(
        &self,
        run: &Run,
        subjects: &[Subject],
        order: &Order,
    ) -> Result<Option<Vec<Measurement>>, ProjectError> {
        let each = subjects
            .iter()
            .map(|s| recorded(run, s, &order.suites, &order.built, &order.checks));
        Ok(each.collect::<Result<Option<Vec<_>>, _>>()?)
    }

    /// The run that answers go to: that of the checkpoint, else one per base and system prompt. The
    /// session then renders prompts as at the run's own moment.
    fn run_of(&self, order: &Order, session: &mut Session) -> Result<Run, ProjectError> {
        if let Some(run) = &order.run {
            let kept: Provenance = run.provenance()?;
            self.keep_moment(session, run, kept.moment())?;
            return Ok(run.clone());
        }
        let identity = crate::digest::Parts::new("evaluation")
            .part("base", &session.base.digest)
            .part("system", session.dateless_system()?)
            .finish();
        if let Some(run) = evaluation_run(&self.store, &identity)? {
            let kept: Provenance = run.provenance()?;
            self.keep_moment(session, &run, kept.moment())?;
            return Ok(run);
        }
        let suites = order.suites.iter().map(|s| SuiteProvenance {
            name: s.name.clone(),
            digest: s.digest.clone(),
        });
        let provenance = RunProvenance {
            base: session.base.clone(),
            system: Some(session.effective_system.text.clone()),
            suites: suites.collect(),
            device: session.engine_name(),
            threads: rayon::current_num_threads(),
            seed: order.seed,
            moment_unix_s: Some(session.template.moment()),
            ..Provenance::of("run", RunConfig::Evaluation(EvaluationConfig { identity }))
        };
        Ok(self.store.create(None, &provenance)?)
    }

    /// Has prompts rendered as at a run's own moment, and says so where it shows.
    pub(super) fn keep_moment(
        &self,
        session: &mut Session,
        run: &Run,
        moment: u64,
    ) -> Result<(), ProjectError> {
        if session.template.moment() != moment && session.keep_moment(moment)? {
            self.notice(format!(
                "the chat template prints the date; prompts keep that of {}, so that its answers \
                 stay comparable",
                run.id()
            ));
        }
        Ok(())
    }

    fn answer(
        &self,
        order: &Order,
        session: &Session,
        run: &Run,
        subjects: &[Subject],
        again: Option<&[Suite]>,
    ) -> Result<(Vec<Measurement>, Option<Measurement>), ProjectError> {
        let mut on_event = self.listener();
        let questions =
            Questions::with_checks(session, order.suites.clone(), &order.built, order.seed)?;
        let lock = run.lock()?;
        let mut loaded = Vec::new();
        for (spec, subject) in order.subjects.iter().zip(subjects) {
            loaded.push(LoadedSubject {
                subject: subject.clone(),
                adapter: self.adapter(session, spec)?,
            });
        }
        let scoring = self.scoring(order.training_answers.clone(), order.checks.clone())?;
        let evaluation = Evaluation {
            asking: self.asking(session)?,
            questions: &questions,
            store: &self.store,
            run: &lock,
            scoring: &scoring,
        };
        let measurements = evaluation.run(loaded, &mut on_event)?;
        let second = match again {
            None | Some([]) => None,
            Some(again) => {
                // Another seed: other draws than any answer that is judged.
                let seed = order.seed.wrapping_add(1);
                let questions =
                    Questions::with_checks(session, again.to_vec(), &order.built, seed)?;
                let evaluation = Evaluation {
                    questions: &questions,
                    ..evaluation
                };
                let base = LoadedSubject {
                    subject: second_base(),
                    adapter: None,
                };
                evaluation.run(vec![base], &mut on_event)?.pop()
            }
        };
        self.pass_on_notices(&scoring);
        Ok((measurements, second))
    }
}

/// The noise floor, when the base was asked twice.
fn floor(
    again: Option<&[Suite]>,
    measurements: &[Measurement],
    second: Option<&Measurement>,
) -> Option<NoiseFloor> {
    Some(noise_floor(again?, measurements.first()?, second?))
}
