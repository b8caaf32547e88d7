//! A training run of a project: what is asked for is prepared and shown before anything is
//! computed, then every checkpoint goes through the gate.

use crate::config::QevalConfig;
use crate::flow::Preview;
use crate::gate::{Rules, preview};
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
        let mut session = project.session_to_train(&model, config.train.system.clone())?;
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
            self.keep_moment(session, &run)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::testing::Small;

    const ROWS: &str = "{\"instruction\": \"what is 2 + 2\", \"output\": \"4\"}\n";

    /// A project that trains on [`ROWS`], with more lines under `[data]`.
    fn training(data: &str) -> Small {
        let small = Small::new(&format!(
            "[data]\nsources = [\"rows.jsonl\"]\n{data}[gate]\nmargin = 1.0\nsuites = [\"small.toml\"]\n"
        ));
        small.write("rows.jsonl", ROWS);
        small
    }

    fn leaked_probes(small: &Small) -> Vec<String> {
        let project = small.open();
        let prepared = PreparedTraining::prepare(&project).unwrap();
        prepared
            .rules
            .leaked
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn what_is_trained_on_or_rehearsed_can_show_no_improvement() {
        assert_eq!(leaked_probes(&training("")), ["small::sum"]);
        let small = training("rehearsal = \"prompts.jsonl\"\n");
        small.write("prompts.jsonl", "{\"prompt\": \"Tell me who you are.\"}\n");
        assert_eq!(leaked_probes(&small), ["small::sum", "small::who"]);
    }

    #[test]
    fn a_file_of_prompts_is_meant_from_the_settings_and_named_when_it_is_not_there() {
        let small = training("rehearsal = \"prompts.jsonl\"\n");
        let project = small.open();
        let refused = PreparedTraining::prepare(&project).err().unwrap();
        assert!(matches!(refused, ProjectError::Data(_)), "{refused}");
        let file = small.path("prompts.jsonl").display().to_string();
        assert!(refused.to_string().contains(&file), "{refused}");
    }

    /// Hours of training could end in nothing but "inconclusive".
    #[test]
    fn a_margin_out_of_reach_is_refused_before_anything_is_computed() {
        let small = training("");
        let settings = std::fs::read_to_string(small.path("qeval.toml")).unwrap();
        small.write(
            "qeval.toml",
            &settings.replace("margin = 1.0", "margin = 0.01"),
        );
        let project = small.open();
        let refused = PreparedTraining::prepare(&project).err();
        assert!(matches!(refused, Some(ProjectError::Gate(_))));
    }

    #[test]
    fn a_model_is_a_path_from_the_settings_else_a_name() {
        let small = Small::new("[model]\npath = \"org/model\"\n");
        let config = small.open().config;
        assert_eq!(model_path(&config), "org/model");
        std::fs::create_dir_all(small.path("org/model")).unwrap();
        let folder = small.path("org/model").display().to_string();
        assert_eq!(model_path(&config), folder);
    }
}
