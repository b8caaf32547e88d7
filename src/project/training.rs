//! A training run of a project: what is asked for is prepared and shown before anything is
//! computed, then every checkpoint goes through the gate.

use crate::config::QevalConfig;
use crate::flow::Preview;
use crate::gate::{Rules, preview};
use crate::record::Provenance;
use crate::run::{
    Questions, Session, TrainOutcome, TrainingJob, TrainingRequest, leaked, rehearse, training_run,
};
use crate::text::plural;
use crate::train::{DataError, DataErrors, DataReport, read_prompts};

use super::error::ProjectError;
use super::open::Project;

/// A training run that was prepared: suites, rules, and rows are read, and go together.
pub struct PreparedTraining<'p> {
    project: &'p Project,
    rules: Rules,
    prompts: Vec<String>,
    /// What the probes can prove.
    pub preview: Preview,
}

impl<'p> PreparedTraining<'p> {
    /// Reads what is asked for.
    ///
    /// # Errors
    /// Suites, data, or settings that are wrong, or a margin that the probes cannot reach.
    pub fn prepare(project: &'p Project) -> Result<Self, ProjectError> {
        let suites = project.suites()?;
        let rules = project.rules();
        let preview = preview(suites, &rules).map_err(ProjectError::Gate)?;
        let examples = &project.dataset()?.examples;
        let prompts = rehearsal_prompts(&project.config)?;
        Ok(PreparedTraining {
            project,
            rules: Rules {
                leaked: leaked(suites, examples, &prompts),
                ..rules
            },
            prompts,
            preview,
        })
    }

    /// What became of the rows that were read.
    ///
    /// # Errors
    /// None: the data was read before.
    pub fn data_report(&self) -> Result<&'p DataReport, ProjectError> {
        Ok(&self.project.dataset()?.report)
    }

    /// Trains. A run of the same settings that was cut short goes on.
    ///
    /// # Errors
    /// Whatever stops it; finished checkpoints and answers are on disk.
    pub fn run(&self, command: &str) -> Result<TrainOutcome, ProjectError> {
        let project = self.project;
        let config = &project.config;
        let model = project.overrides.model.clone();
        let model = model.unwrap_or_else(|| model_path(config));
        let mut session = project.session(&model, config.train.system.clone())?;
        let request = TrainingRequest {
            suites: project.suites()?,
            rules: &self.rules,
            lora: &config.lora,
            data: &config.data,
            train: &config.train,
            examples: &project.dataset()?.examples,
            prompts: &self.prompts,
        };
        let asked = request.digest(&session);
        project.resume_moment(&mut session, &asked)?;
        let mut on_event = project.listener();
        let asking = project.asking(&session)?;
        let tokens = config.data.rehearsal_tokens;
        let rehearsal = rehearse(asking, &self.prompts, tokens, &mut on_event)?;
        if !self.rules.leaked.is_empty() {
            project.notice(format!(
                "{} in the training data or its rehearsal can show no improvement: `qeval suite \
                 check` names them",
                plural(self.rules.leaked.len(), "probe"),
            ));
        }
        let questions = Questions::new(&session, request.suites.to_vec(), config.train.seed)?;
        let job = TrainingJob {
            asking,
            request,
            questions: &questions,
            rehearsal: &rehearsal,
            store: &project.store,
            name: None,
            command,
        };
        let answers = Some(request.training_answers());
        let scoring = project.scoring(answers, project.check_settings())?;
        let outcome = job.run(&scoring, &mut on_event)?;
        project.pass_on_notices(&scoring);
        Ok(outcome)
    }
}

impl Project {
    /// Where a run of the same request was begun, has prompts rendered as at its moment: it then
    /// goes on whatever the day.
    ///
    /// # Errors
    /// The records cannot be read.
    pub fn resume_moment(&self, session: &mut Session, asked: &str) -> Result<(), ProjectError> {
        if let Some(run) = training_run(&self.store, asked)? {
            let kept: Provenance = run.provenance()?;
            self.keep_moment(session, &run, kept.moment())?;
        }
        Ok(())
    }
}

/// The prompts that `[data] rehearsal` names.
fn rehearsal_prompts(config: &QevalConfig) -> Result<Vec<String>, ProjectError> {
    let Some(file) = &config.data.rehearsal else {
        return Ok(Vec::new());
    };
    let path = config.resolve(file);
    let one = |error| ProjectError::from(DataErrors(vec![error]));
    let bytes = std::fs::read(&path).map_err(|source| one(DataError::Read { path, source }))?;
    read_prompts(file, &bytes).map_err(one)
}

/// A configured path from the configuration's folder; a name or hub id as it is.
pub fn model_path(config: &QevalConfig) -> String {
    let path = config.resolve(&config.model.path);
    if path.exists() {
        path.display().to_string()
    } else {
        config.model.path.clone()
    }
}
