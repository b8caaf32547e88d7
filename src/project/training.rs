//! A training run of a project: what is asked for is prepared and shown before anything is
//! computed, then every checkpoint goes through the gate.

use crate::config::QevalConfig;
use crate::flow::{Preview, RunEvent};
use crate::gate::{Rules, preview};
use crate::run::{
    Asking, PARAPHRASES, ParaphrasePlan, Questions, RehearsalChoice, RehearsalFile, Scoring,
    Session, TrainOutcome, TrainingJob, TrainingRequest, choose_rehearsal, leaked, paraphrase,
    rehearse, training_run,
};
use crate::text::plural;
use crate::train::{BUILT_IN, DataError, DataErrors, DataReport, Example, read_prompts};

use super::error::ProjectError;
use super::open::Project;

/// A training run that was prepared: suites, rules, and rows are read, and go together.
pub struct PreparedTraining<'p> {
    pub(super) project: &'p Project,
    pub(super) rules: Rules,
    pub(super) rehearsal: RehearsalChoice,
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
        let mut preview = preview(suites, &rules).map_err(ProjectError::Gate)?;
        preview.notes.extend(project.left_out());
        let examples = &project.dataset()?.examples;
        let config = &project.config;
        let files = rehearsal_files(config)?;
        let rehearsal = choose_rehearsal(&config.data, &config.train, files, examples, suites);
        Ok(PreparedTraining {
            project,
            rules: Rules {
                leaked: leaked(suites, examples, &rehearsal.texts()),
                ..rules
            },
            rehearsal,
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
        self.with_job(command, |job, scoring, on_event| job.run(scoring, on_event))
    }

    /// Loads the base, has it answer what is rehearsed, and hands over the job of training, with
    /// what turns answers into scores and who hears of it.
    pub(super) fn with_job<T, E: Into<ProjectError>>(
        &self,
        command: &str,
        work: impl FnOnce(&TrainingJob, &Scoring, &mut dyn FnMut(RunEvent)) -> Result<T, E>,
    ) -> Result<T, ProjectError> {
        let project = self.project;
        let config = &project.config;
        let session = self.session()?;
        let request = self.request()?;
        let mut on_event = project.listener();
        let asking = project.asking(&session)?;
        let made = self.make(asking, &mut on_event)?;
        let notes = self.rehearsal.shortfalls().into_iter().chain(made.notes);
        notes.for_each(|note| project.notice(note));
        let rows = [made.wordings, made.rehearsal].concat();
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
            made: &rows,
            store: &project.store,
            name: None,
            command,
        };
        let answers = Some(job.training_answers());
        let scoring = project.scoring(answers, project.check_settings())?;
        let outcome = work(&job, &scoring, &mut on_event).map_err(Into::into)?;
        project.pass_on_notices(&scoring);
        Ok(outcome)
    }
}

/// What the base makes before step 1.
#[derive(Default)]
pub(super) struct Made {
    /// Other wordings of the rows.
    pub wordings: Vec<Example>,
    /// Its answers to the prompts of rehearsal.
    pub rehearsal: Vec<Example>,
    /// What the user should know of them.
    pub notes: Vec<String>,
}

impl PreparedTraining<'_> {
    /// The base, under the system prompt of training.
    fn load(&self) -> Result<Session, ProjectError> {
        let (project, config) = (self.project, &self.project.config);
        let model = project.overrides.model.clone();
        let model = model.unwrap_or_else(|| model_path(config));
        project.session_to_train(&model, config.train.system.clone())
    }

    fn request(&self) -> Result<TrainingRequest<'_>, ProjectError> {
        let config = &self.project.config;
        Ok(TrainingRequest {
            suites: self.project.suites()?,
            rules: &self.rules,
            scales: &config.gate.scales,
            lora: &config.lora,
            data: &config.data,
            train: &config.train,
            examples: &self.project.dataset()?.examples,
            prompts: &self.rehearsal.prompts,
        })
    }

    /// The base, with prompts rendered as at the moment of a run of the same request.
    ///
    /// # Errors
    /// It cannot be loaded, or the records cannot be read.
    pub(super) fn session(&self) -> Result<Session, ProjectError> {
        let mut session = self.load()?;
        let asked = self.request()?.digest(&session);
        self.project.resume_moment(&mut session, &asked)?;
        Ok(session)
    }

    /// Has the base make what the settings ask for.
    ///
    /// # Errors
    /// The base cannot be asked, what it made cannot be kept, or an interrupt.
    pub(super) fn make(
        &self,
        asking: Asking<'_>,
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Result<Made, ProjectError> {
        let (project, data) = (self.project, &self.project.config.data);
        let rows = &project.dataset()?.examples;
        let mut made = Made::default();
        if data.paraphrase > 0 {
            let plan = ParaphrasePlan {
                count: data.paraphrase,
                languages: &data.paraphrase_languages,
                seed: data.seed,
                rows,
                suites: project.suites()?,
                vars: &project.config.vars,
                folder: &project.store.root().join(PARAPHRASES),
            };
            let paraphrases = paraphrase(asking, plan, on_event)?;
            made.wordings = paraphrases.examples(rows);
            made.notes = paraphrases.lines();
        }
        let (prompts, tokens) = (&self.rehearsal.prompts, data.rehearsal_tokens);
        made.rehearsal = rehearse(asking, prompts, tokens, on_event)?;
        Ok(made)
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

/// The files that `[data] rehearsal` names. All that are wrong are told at once.
fn rehearsal_files(config: &QevalConfig) -> Result<Vec<RehearsalFile>, ProjectError> {
    let named = config.data.rehearsal.iter();
    let (mut files, mut errors) = (Vec::new(), Vec::new());
    for name in named.filter(|name| *name != BUILT_IN) {
        let path = config.resolve(name);
        let read = std::fs::read(&path).map_err(|source| DataError::Read { path, source });
        match read.and_then(|bytes| read_prompts(name, bytes)) {
            Ok(prompts) => files.push(RehearsalFile {
                name: name.clone(),
                prompts,
            }),
            Err(error) => errors.push(error),
        }
    }
    match errors.is_empty() {
        true => Ok(files),
        false => Err(DataErrors(errors).into()),
    }
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
