//! An order carried out: records are read, and only what no record has is answered.

use crate::flow::{Measurement, NoiseFloor, Subject, Suite};
use crate::record::{Provenance, Run, SubjectSpec};
use crate::run::{
    Evaluation, EvaluationConfig, Further, LoadedSubject, Questions, RunConfig, Session,
    asked_again, begun, evaluation_run, noise_floor, recorded, second_base,
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
    /// The base's second answers, where it was asked twice.
    pub again: Option<Measurement>,
    /// The base, when it had to be loaded.
    pub session: Option<Session>,
}

impl MeasuredOrder {
    fn of_records(
        order: &Order,
        measurements: Vec<Measurement>,
        again: Option<&[Suite]>,
        second: Option<Measurement>,
    ) -> Self {
        MeasuredOrder {
            noise: floor(order, again, &measurements, second.as_ref()),
            measurements,
            again: second,
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
        self.measure_in(order, None)
    }

    /// The same in a session that an order of the same base and system prompt has left.
    ///
    /// # Errors
    /// As [`Project::measure`].
    pub fn measure_in(
        &self,
        order: &Order,
        session: Option<Session>,
    ) -> Result<MeasuredOrder, ProjectError> {
        if order.is_served() {
            return self.measure_served(order, session);
        }
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
        if let Some(run) = &order.run
            && asked_alike(run, order)
        {
            let stored = self.all_recorded(run, &subjects, order)?;
            let stored = match stored {
                Some(stored) => self.with_further(run, stored, order)?,
                None => None,
            };
            let second = match again {
                Some(again) => {
                    recorded(run, &second_base(), again, &order.built, &order.checks)?.map(Some)
                }
                None => Some(None),
            };
            match (stored, second) {
                (Some(all), Some(second)) => {
                    return Ok(MeasuredOrder {
                        session,
                        ..MeasuredOrder::of_records(order, all, again, second)
                    });
                }
                (stored, _) => whole = stored,
            }
        }
        let session = match session {
            Some(session) => Ok(session),
            None => self.session_of(order),
        };
        let mut session = match (session, whole) {
            (Ok(session), _) => session,
            // Every answer that is judged is on disk; only the noise floor would need the model.
            (Err(error), Some(all)) => {
                self.notice(format!("the noise floor is not shown: {error}"));
                return Ok(MeasuredOrder::of_records(order, all, None, None));
            }
            (Err(error), None) => return Err(error),
        };
        let run = self.run_of(order, &mut session)?;
        let (measurements, second) = self.answer(order, &session, &run, &subjects, again)?;
        Ok(MeasuredOrder {
            noise: floor(order, again, &measurements, second.as_ref()),
            measurements,
            again: second,
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

    /// Adds what was recorded of further draws; `None` where some have to be asked.
    fn with_further(
        &self,
        run: &Run,
        mut measured: Vec<Measurement>,
        order: &Order,
    ) -> Result<Option<Vec<Measurement>>, ProjectError> {
        let Some(further) = Further::of(&order.suites, &order.built, &measured) else {
            return Ok(Some(measured));
        };
        let mut said = Vec::new();
        for place in further.places() {
            let subject = Further::subject(&measured[place].subject);
            let own = recorded(run, &subject, &further.suites, &order.built, &order.checks)?;
            match own {
                Some(own) => said.push(own),
                None => return Ok(None),
            }
        }
        further.join(&mut measured, said);
        Ok(Some(measured))
    }

    /// The run that answers go to: that of the checkpoint, else one per base, system prompt, and
    /// variables of the template. The session then renders prompts as at the run's own moment.
    pub(super) fn run_of(&self, order: &Order, session: &mut Session) -> Result<Run, ProjectError> {
        if let Some(run) = &order.run {
            self.keep_moment(session, run)?;
            return Ok(run.clone());
        }
        let mut identity = crate::digest::Parts::new("evaluation")
            .part("base", &session.base.digest)
            .part("system", session.dateless_system()?);
        if !session.base.template_kwargs.is_empty() {
            let kwargs = crate::digest::json(&session.base.template_kwargs);
            identity = identity.part("template", kwargs);
        }
        let identity = identity.finish();
        if let Some(run) = evaluation_run(&self.store, &identity)? {
            self.keep_moment(session, &run)?;
            return Ok(run);
        }
        let config = RunConfig::Evaluation(EvaluationConfig { identity });
        let provenance = begun("run", session, &order.suites, order.seed, config);
        Ok(self.store.create(None, &provenance)?)
    }

    /// The session that a measurement has left, else one that puts prompts as the order's run did.
    pub(super) fn session_left(
        &self,
        order: &Order,
        left: Option<Session>,
    ) -> Result<Session, ProjectError> {
        if let Some(session) = left {
            return Ok(session);
        }
        let mut session = self.session_of(order)?;
        if let Some(run) = &order.run {
            self.keep_moment(&mut session, run)?;
        }
        Ok(session)
    }

    /// Has prompts rendered as at a run's own moment, and says so where it shows.
    pub(super) fn keep_moment(&self, session: &mut Session, run: &Run) -> Result<(), ProjectError> {
        let kept: Provenance = run.provenance()?;
        let moment = kept.moment();
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

/// Whether the answers of a run were put to its base as the order wants it. Of a run that cannot be
/// read nothing else is known.
fn asked_alike(run: &Run, order: &Order) -> bool {
    let kept: Result<Provenance, _> = run.provenance();
    kept.map_or(true, |kept| {
        kept.base.template_kwargs == order.template_kwargs
    })
}

/// The noise floor, when the base was asked twice.
pub(super) fn floor(
    order: &Order,
    again: Option<&[Suite]>,
    measurements: &[Measurement],
    second: Option<&Measurement>,
) -> Option<NoiseFloor> {
    let taught = order.taught();
    Some(noise_floor(again?, &taught, measurements.first()?, second?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::Overrides;
    use crate::project::testing::Small;
    use crate::run::testing::adapter_folder;

    fn texts(measured: &Measurement) -> Vec<&str> {
        measured.answers.values().map(|a| a.text.as_str()).collect()
    }

    #[test]
    fn one_base_and_system_prompt_share_a_run() {
        let small = Small::with_model();
        let project = small.open();
        let good = adapter_folder("good").display().to_string();
        let order = Order::new(&project, &["base", &good]).unwrap();
        let measured = project.measure(&order).unwrap();
        let names: Vec<&str> = measured
            .measurements
            .iter()
            .map(|m| m.subject.name.as_str())
            .collect();
        assert_eq!(names, ["base", &good], "in their order");
        assert_eq!(texts(&measured.measurements[0])[..2], ["4", "3"]);
        assert!(measured.noise.is_none(), "it was not asked for");
        let again = project
            .measure(&Order::new(&project, &["base"]).unwrap())
            .unwrap();
        assert_eq!(again.measurements[0], measured.measurements[0]);
        assert_eq!(project.store.list().unwrap().len(), 1);
        let told = Order {
            system: Some("Be brief.".into()),
            ..order
        };
        project.measure(&told).unwrap();
        assert_eq!(project.store.list().unwrap().len(), 2);
    }

    #[test]
    fn the_noise_floor_is_of_the_base_beside_itself() {
        let small = Small::with_model();
        let project = small.open();
        let order = Order {
            noise: true,
            ..Order::new(&project, &["base"]).unwrap()
        };
        let noise = project.measure(&order).unwrap().noise.unwrap();
        assert_eq!(noise.suites["small"].probes, 2);
        let run = &project.store.list().unwrap()[0];
        assert!(run.record_of("base-again").unwrap().is_some());
    }

    /// A run whose base is gone is judged by its records.
    #[test]
    fn a_whole_record_needs_no_model_and_a_lost_noise_floor_is_told() {
        let small = Small::new("");
        small.copy("records/run-v1/runs", "runs");
        let measured = |small: &Small| {
            // No configuration is named: the run's own settings hold.
            let overrides = Overrides {
                model: Some(small.path("gone").display().to_string()),
                runs: Some(small.path("runs")),
                ..Overrides::default()
            };
            let project = Project::open(overrides, small.listener()).unwrap();
            let order = Order::new(&project, &["base", "run-0001/ckpt-42"]).unwrap();
            project.measure(&order)
        };
        let whole = measured(&small).unwrap();
        assert!(whole.session.is_none() && whole.noise.is_some());
        std::fs::remove_file(small.path("runs/run-0001/answers/base-again.jsonl")).unwrap();
        let without = measured(&small).unwrap();
        assert_eq!(without.measurements, whole.measurements);
        assert!(without.noise.is_none());
        assert!(
            small.notices().contains("the noise floor is not shown"),
            "{}",
            small.notices()
        );
        std::fs::remove_file(small.path("runs/run-0001/answers/ckpt-42.jsonl")).unwrap();
        assert!(
            measured(&small).is_err(),
            "now something has to be answered"
        );
    }

    /// The harmful adapter lost the only critical probe: eight draws prove it, and the record is as
    /// good as the model.
    #[test]
    fn a_lost_critical_probe_is_drawn_until_it_is_proven() {
        let small = Small::with_model();
        let critical =
            crate::project::testing::SUITE.replace("id = \"sum\"", "id = \"sum\"\ncritical = true");
        let critical = critical.replace(
            "\"What is 2 + 2?\", \"What is 1 + 2?\"",
            "\"What is 2 + 5?\"",
        );
        small.write("small.toml", &critical.replace("value = 4", "value = 7"));
        let project = small.open();
        let subject = |name: &str| adapter_folder(name).display().to_string();
        let judged = |name: &str, project: &Project| {
            let order = Order::new(project, &["base", &subject(name)]).unwrap();
            let measured = project.measure(&order).unwrap();
            let loaded = measured.session.is_some();
            let comparison = order.compare(&measured.measurements, None);
            (comparison.candidates[0].clone(), loaded)
        };
        let (lost, loaded) = judged("harmful", &project);
        assert!(loaded);
        let critical = &lost.verdict.critical[0];
        assert_eq!((critical.draws, critical.candidate_passes), (8, 0));
        assert!(critical.regression, "{}", lost.verdict.sentence);
        assert_eq!(lost.probes[0].cases[0].samples.len(), 8);
        assert_eq!(lost.probes[0].means(), Some((1.0, 0.0)));
        let (again, _) = judged("harmful", &small.open());
        assert_eq!(again, lost);
        let (kept, _) = judged("good", &project);
        assert_eq!(kept.verdict.critical[0].draws, 1, "nothing was lost");
    }
}
