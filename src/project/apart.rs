//! Answers of subjects that nobody named, such as an adapter without a part: they lie in a store of
//! their own beside the runs, so that no report counts them, and none is asked twice.

use crate::flow::Measurement;
use crate::record::{Run, Store};
use crate::run::{
    Evaluation, EvaluationConfig, LoadedSubject, Questions, RunConfig, Session, begun,
    evaluation_run,
};

use super::error::ProjectError;
use super::open::Project;
use super::order::Order;

/// Where such answers lie.
pub(super) struct Apart {
    store: Store,
    run: Run,
}

impl Apart {
    /// The run of this identity in a store, begun by `command` where there is none.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub(super) fn open(
        store: Store,
        identity: String,
        command: &str,
        order: &Order,
        session: &Session,
    ) -> Result<Self, ProjectError> {
        let run = match evaluation_run(&store, &identity)? {
            Some(run) => run,
            None => {
                let config = RunConfig::Evaluation(EvaluationConfig { identity });
                let provenance = begun(command, session, &order.suites, order.seed, config);
                store.create(None, &provenance)?
            }
        };
        Ok(Apart { store, run })
    }
}

impl Project {
    /// Has subjects answer what an order asks, all in one batch. There is no base among them, so none
    /// is asked further. `training` is what they were trained to say, where that is known.
    ///
    /// # Errors
    /// Whatever stops a measurement; finished answers are on disk.
    pub(super) fn answers_apart(
        &self,
        apart: &Apart,
        order: &Order,
        session: &Session,
        training: Option<Vec<String>>,
        subjects: Vec<LoadedSubject>,
    ) -> Result<Vec<Measurement>, ProjectError> {
        let suites = order.suites.clone();
        let questions = Questions::with_checks(session, suites, &order.built, order.seed)?;
        let scoring = self.scoring(training, order.checks.clone())?;
        let lock = apart.run.lock()?;
        let evaluation = Evaluation {
            asking: self.asking(session)?,
            questions: &questions,
            store: &apart.store,
            run: &lock,
            scoring: &scoring,
        };
        let measured = evaluation.first_draws(subjects, &mut self.listener())?;
        self.pass_on_notices(&scoring);
        Ok(measured)
    }
}
