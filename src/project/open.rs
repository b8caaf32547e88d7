//! A project that is open: its configuration read once, its records, and what children and Ctrl-C
//! need.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::chat::{ChatTemplate, Variables};
use crate::config::{self, QevalConfig};
use crate::exit::Outcome;
use crate::flow::{Exam, NextCommands, Phase, RunEvent, Suite};
use crate::gate::Rules;
use crate::lora::{Adapter, Inert, LoadedAdapter, same_base};
use crate::model::Compute;
use crate::record::{Store, SubjectSource, SubjectSpec};
use crate::run::{
    Asking, CheckSettings, Demand, Interrupt, JudgeSettings, Prompting, RunError, Scoring, Session,
};
use crate::train::{Dataset, Source, names_built_in};

use super::error::ProjectError;
use super::exam::OpenedExam;
use super::order::Order;
use super::overrides::Overrides;

/// The file that is read when no other is named.
pub(super) const CONFIG: &str = "qeval.toml";

/// Who hears what a project does: progress and notices.
pub type Listener = Box<dyn Fn(&RunEvent) + Send + Sync>;

/// A project that is open.
pub struct Project {
    /// The settings, defaults filled in.
    pub config: QevalConfig,
    /// Whether there is a file behind them.
    pub has_file: bool,
    /// What replaces them.
    pub overrides: Overrides,
    /// All records.
    pub store: Store,
    listener: Listener,
    workers: OnceLock<Workers>,
    pub(super) loaded_suites: OnceLock<Vec<Suite>>,
    /// The exam of another revision, where that is asked for.
    pub(super) exam: Option<OpenedExam>,
    loaded_data: OnceLock<Dataset>,
    /// Bases that adapters name, and that are not the one they are asked on: told once each.
    other_bases: Mutex<BTreeSet<String>>,
    pieces_asked: AtomicU64,
}

/// What starts children, and hears Ctrl-C.
struct Workers {
    runtime: tokio::runtime::Runtime,
    interrupt: Interrupt,
}

/// Has the whole program use so many worker threads; `None` is one a core.
pub fn use_threads(threads: Option<usize>) {
    if let Some(threads) = threads {
        // Fails only when the pool is in use already, and then its size is decided.
        let _ = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global();
    }
}

impl Project {
    /// Reads the configuration named, else `qeval.toml` here, else takes the defaults.
    ///
    /// # Errors
    /// The file named is not there, one is wrong, or the records' folder cannot be read; the revision
    /// of `suites_from` cannot be.
    pub fn open(overrides: Overrides, listener: Listener) -> Result<Self, ProjectError> {
        if let Some(revision) = overrides.suites_from.clone() {
            return Self::open_examined(&revision, overrides, listener);
        }
        let (config, has_file) = match &overrides.config {
            Some(path) => (config::load(path)?, true),
            None if Path::new(CONFIG).is_file() => (config::load(Path::new(CONFIG))?, true),
            None => (QevalConfig::default(), false),
        };
        Self::with_config(config, has_file, overrides, listener)
    }

    /// A project of settings that stand in no file.
    ///
    /// # Errors
    /// The records' folder cannot be read.
    pub fn with_config(
        mut config: QevalConfig,
        has_file: bool,
        overrides: Overrides,
        listener: Listener,
    ) -> Result<Self, ProjectError> {
        use_threads(overrides.threads);
        if let Some(seed) = overrides.seed {
            config.train.seed = seed;
        }
        let configured = || config.resolve(&config.train.output_dir);
        let runs: PathBuf = overrides.runs.clone().unwrap_or_else(configured);
        let store = Store::open(runs)?.of_project(&config.folder);
        for damaged in store.damaged()? {
            listener(&RunEvent::Notice(format!("passed over: {damaged}")));
        }
        Ok(Project {
            config,
            has_file,
            overrides,
            store,
            listener,
            workers: OnceLock::new(),
            loaded_suites: OnceLock::new(),
            exam: None,
            loaded_data: OnceLock::new(),
            other_bases: Mutex::default(),
            pieces_asked: AtomicU64::default(),
        })
    }

    /// The revision that is asked and judged by, where that is not the working tree.
    pub fn exam(&self) -> Option<&Exam> {
        self.exam.as_ref().map(|exam| &exam.told)
    }

    /// Where a model runs, and in what.
    pub fn compute(&self) -> Compute {
        Compute {
            device: self.overrides.device,
            dtype: self.config.model.dtype,
            storage: self.config.model.storage(),
        }
    }

    /// Hears events.
    pub fn listener(&self) -> impl FnMut(RunEvent) + use<'_> {
        |event| {
            if let RunEvent::Progress {
                phase: Phase::Answering,
                more,
                ..
            } = event
            {
                self.pieces_asked.fetch_add(more, Ordering::Relaxed);
            }
            (self.listener)(&event)
        }
    }

    /// Answers and likelihoods that were asked for since it was opened: what records held is not
    /// among them.
    pub fn pieces_asked(&self) -> u64 {
        self.pieces_asked.load(Ordering::Relaxed)
    }

    /// What to type about a candidate next, so that it is asked and judged as it was here.
    pub fn next(&self, candidate: &str) -> NextCommands {
        let overrides = &self.overrides;
        NextCommands::new(candidate, overrides.options(), overrides.probe_options())
    }

    /// What to type next about a checkpoint of a run that was trained here. A run is judged by its own
    /// settings, so that its folder is all that may have to be named; but where they stand in another
    /// file than the one that is read by itself, what checks may use stands there too.
    pub fn next_of_run(&self, checkpoint: &str) -> NextCommands {
        let (config, runs) = (&self.overrides.config, &self.overrides.runs);
        let is_usual = |file: &PathBuf| file == Path::new(CONFIG);
        let here = match config {
            Some(file) => is_usual(file),
            None => self.has_file || !Path::new(CONFIG).is_file(),
        };
        let own = Overrides {
            runs: match here {
                true => runs.clone(),
                false => Some(self.store.root().to_owned()),
            },
            ..Overrides::default()
        };
        let options = match config.as_ref().is_some_and(|file| !is_usual(file)) {
            true => self.overrides.options(),
            false => own.options(),
        };
        NextCommands::new(checkpoint, options, String::new())
    }

    /// Says something beside the progress.
    pub fn notice(&self, text: impl Into<String>) {
        (self.listener)(&RunEvent::Notice(text.into()));
    }

    /// Says what scoring noticed and has not said yet.
    pub fn pass_on_notices(&self, scoring: &Scoring) {
        for notice in scoring.take_notices() {
            self.notice(notice);
        }
    }

    fn workers(&self) -> Result<&Workers, RunError> {
        if let Some(workers) = self.workers.get() {
            return Ok(workers);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(RunError::Runtime)?;
        let second = i32::from(Outcome::CouldNotMeasure.code());
        let interrupt = Interrupt::listen(runtime.handle(), second);
        Ok(self.workers.get_or_init(|| Workers { runtime, interrupt }))
    }

    /// The user's wish to stop, heard from the first call on.
    ///
    /// # Errors
    /// The runtime cannot start.
    pub fn interrupt(&self) -> Result<&Interrupt, RunError> {
        Ok(&self.workers()?.interrupt)
    }

    /// A loaded base that can be asked.
    ///
    /// # Errors
    /// As [`Project::interrupt`].
    pub fn asking<'a>(&'a self, session: &'a Session) -> Result<Asking<'a>, RunError> {
        Ok(Asking {
            session,
            slots: self.overrides.slots,
            interrupt: self.interrupt()?,
        })
    }

    /// What turns answers into scores; programs run in children of this executable.
    ///
    /// # Errors
    /// As [`Project::interrupt`]; the Python that is to run them is not there.
    pub fn scoring(
        &self,
        training_answers: Option<Vec<String>>,
        settings: CheckSettings,
    ) -> Result<Scoring, ProjectError> {
        self.find_python(&settings)?;
        let executable = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("qeval"));
        let runtime = self.workers()?.runtime.handle().clone();
        Ok(Scoring::new(
            runtime,
            executable,
            training_answers,
            settings,
        ))
    }

    /// Loads a base, and says what the user should know of it.
    ///
    /// # Errors
    /// It cannot be found, fetched, or loaded.
    pub fn session(&self, model: &str, system: Option<String>) -> Result<Session, ProjectError> {
        self.loaded(model, self.prompting(system), self.demand())
    }

    /// As [`Project::session`], with conversations put to it as for an order.
    ///
    /// # Errors
    /// As [`Project::session`].
    pub fn session_of(&self, order: &Order) -> Result<Session, ProjectError> {
        let prompting = Prompting {
            variables: Variables::new(order.template_kwargs.clone()),
            ..self.prompting(order.system.clone())
        };
        self.loaded(&order.model, prompting, self.demand())
    }

    /// How conversations are put to a base as configured, under this system prompt.
    pub fn prompting(&self, system: Option<String>) -> Prompting {
        let model = &self.config.model;
        Prompting::new(system, &model.template_kwargs, model.thinking_budget)
    }

    /// As [`Project::session`], of a base that an adapter is trained on as the settings say: there
    /// must be memory for that too.
    ///
    /// # Errors
    /// As [`Project::session`].
    pub fn session_to_train(
        &self,
        model: &str,
        system: Option<String>,
    ) -> Result<Session, ProjectError> {
        let demand = Demand {
            training: Some((&self.config.lora, &self.config.train)),
            ..self.demand()
        };
        self.loaded(model, self.prompting(system), demand)
    }

    fn demand(&self) -> Demand<'_> {
        Demand {
            slots: self.overrides.slots,
            training: None,
        }
    }

    fn loaded(
        &self,
        model: &str,
        prompting: Prompting,
        demand: Demand<'_>,
    ) -> Result<Session, ProjectError> {
        // Ctrl-C is heard while a model is fetched or loaded too.
        self.interrupt()?;
        let mut listener = self.listener();
        let opened = Session::open_for(model, prompting, self.compute(), demand, &mut listener);
        let own = &self.config.model.path;
        let session = opened.map_err(|error| {
            let is_own = model == own || Path::new(model) == self.config.resolve(own);
            match is_own && self.overrides.model.is_none() && !Path::new(model).exists() {
                true => self.named_by("model", "path", error),
                // What is wrong with a model that is there names the model's own file.
                false => error.into(),
            }
        })?;
        session.notices.iter().for_each(|n| self.notice(n.as_str()));
        self.notice(format!("system prompt: {}", session.effective_system));
        Ok(session)
    }

    /// Reads a subject's adapter for a loaded base; tells when it was trained on another, or names
    /// another. `None` is the base.
    ///
    /// # Errors
    /// It cannot be read, or does not fit the base.
    pub fn adapter(
        &self,
        session: &Session,
        spec: &SubjectSpec,
    ) -> Result<Option<LoadedAdapter>, ProjectError> {
        if let SubjectSource::Server { address } = &spec.source {
            let model = address.clone();
            return Err(RunError::NotLoadedHere { model }.into());
        }
        let Some(folder) = spec.folder() else {
            return Ok(None);
        };
        let config = session.decoder.config();
        let (adapter, left_out) = matrices(session, folder)?;
        if !left_out.is_empty() {
            self.notice(format!("{}: left out: {}", spec.name, left_out.join("; "),));
        }
        if let (None, Some(named)) = (&adapter.trained_on, &adapter.config.base_model)
            && !same_base(named, &session.known_as)
        {
            let mut told = self
                .other_bases
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            self.notice(match told.insert(named.clone()) {
                true => format!(
                    "{} says that it was trained on `{named}` (`base_model_name_or_path`), and is \
                     asked on {}: if these are not the same weights, its answers and the verdict mean \
                     nothing; `--model` names another base",
                    spec.name, session.base.name,
                ),
                false => format!("{} says that it was trained on `{named}` too", spec.name),
            });
        }
        if let Some(home) = adapter
            .trained_on
            .as_ref()
            .filter(|home| home.base_digest != session.base.digest)
        {
            self.notice(format!(
                "{} was trained on {} ({}), and is asked on {} ({}): its effect may differ",
                spec.name,
                home.base_name,
                crate::digest::short(&home.base_digest),
                session.base.name,
                crate::digest::short(&session.base.digest),
            ));
        }
        if let Ok(own) = ChatTemplate::from_folder(folder)
            && !same_text(own.source(), session.template.source())
        {
            self.notice(format!(
                "{} brings another chat template than {}: it is asked with that of the base; where it \
                 was trained with its own, copy it over the base's",
                spec.name, session.base.name,
            ));
        }
        if let Some(inert) = Inert::of(folder, spec.scale).map_err(RunError::from)? {
            self.notice(format!("{} changes nothing: {inert}", spec.name));
        }
        let loaded = LoadedAdapter::new(&adapter, config, spec.scale as f32);
        Ok(Some(loaded))
    }

    /// As [`Project::adapter`], of an adapter of which everything was said when it was first read.
    ///
    /// # Errors
    /// As [`Project::adapter`].
    pub fn adapter_again(
        &self,
        session: &Session,
        spec: &SubjectSpec,
    ) -> Result<Option<LoadedAdapter>, ProjectError> {
        let Some(folder) = spec.folder() else {
            return Ok(None);
        };
        let config = session.decoder.config();
        let (adapter, _) = matrices(session, folder)?;
        Ok(Some(LoadedAdapter::new(
            &adapter,
            config,
            spec.scale as f32,
        )))
    }

    /// The configured training data, read once.
    ///
    /// # Errors
    /// A row or file that is wrong.
    pub fn dataset(&self) -> Result<&Dataset, ProjectError> {
        if let Some(dataset) = self.loaded_data.get() {
            return Ok(dataset);
        }
        let config = &self.config;
        // Rows are examined, and made with the names of who changed them.
        let vars = self.exam.as_ref().map_or(&config.vars, |e| &e.vars_here);
        let loaded = Dataset::load(&config.data, &config.folder, vars);
        let dataset = loaded.map_err(|errors| {
            let gone = |source: &Source| {
                !names_built_in(&source.path) && !config.resolve(&source.path).exists()
            };
            match config.data.sources.iter().any(gone) {
                true => self.named_by("data", "sources", errors),
                // The errors name the rows.
                false => errors.into(),
            }
        })?;
        Ok(self.loaded_data.get_or_init(|| dataset))
    }

    /// The configuration's file.
    fn file(&self) -> Option<&Path> {
        // What a key says was read from a revision: it has no place in the file that is here.
        if self.exam.is_some() {
            return None;
        }
        let named = self.overrides.config.as_deref();
        named.or_else(|| self.has_file.then_some(Path::new(CONFIG)))
    }

    /// An error of what a key of the configuration names, with the key's place where it is written.
    pub(super) fn named_by(
        &self,
        section: &'static str,
        key: &'static str,
        error: impl Into<ProjectError>,
    ) -> ProjectError {
        let place = self
            .file()
            .and_then(|file| config::place_of(file, section, key));
        match place {
            None => error.into(),
            Some(place) => ProjectError::Named {
                error: Box::new(error.into()),
                place: place.to_string(),
                section,
                key,
            },
        }
    }

    /// Refuses a `[checks] python` that is no program, before anything is asked.
    ///
    /// # Errors
    /// There is none of that name.
    fn find_python(&self, settings: &CheckSettings) -> Result<(), ProjectError> {
        let Some(name) = &settings.python else {
            return Ok(());
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        let there = Path::new(name).is_file()
            || std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
        match there {
            true => Ok(()),
            false => {
                let name = name.clone();
                Err(self.named_by("checks", "python", ProjectError::NoPython { name }))
            }
        }
    }

    /// What checks may use, as configured; an encoder's folder is meant from where the file lies.
    pub fn check_settings(&self) -> CheckSettings {
        let checks = &self.config.checks;
        let folder = self.config.resolve(&checks.encoder);
        CheckSettings {
            judge: JudgeSettings {
                judge: checks.judge.clone(),
                key_variable: checks.judge_key_variable.clone(),
                least: checks.judge_accuracy,
            },
            encoder: match folder.is_dir() {
                true => folder.display().to_string(),
                false => checks.encoder.clone(),
            },
            python: checks.python.clone(),
            names: ["name", "author"]
                .iter()
                .filter_map(|variable| self.config.vars.get(*variable).cloned())
                .collect(),
        }
    }

    /// The gate's rules as configured.
    pub fn rules(&self) -> Rules {
        let gate = &self.config.gate;
        Rules {
            margin: self.overrides.margin.unwrap_or(gate.margin),
            suite_margin: gate.suite_margin,
            max_unscored_share: gate.max_unscored,
            learn: gate.learn,
            signs: gate.signs,
            early_stop: gate.early_stop,
            ..Rules::default()
        }
    }
}

/// An adapter's matrices for a loaded base, with what of the folder is left out. Nothing is said.
pub(super) fn matrices(
    session: &Session,
    folder: &Path,
) -> Result<(Adapter, Vec<String>), RunError> {
    let stored = |name: &str, shape: &[usize]| session.stored(name, shape);
    Ok(Adapter::read_on(folder, session.decoder.config(), &stored)?)
}

/// Whether two templates are one, whatever their line ends and the blanks around them.
fn same_text(a: &str, b: &str) -> bool {
    let lines = |text: &str| text.trim().replace("\r\n", "\n");
    lines(a) == lines(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::testing::Small;
    use crate::run::testing::{adapter_folder, fixture};

    #[test]
    fn records_lie_where_arguments_then_the_file_say() {
        let small = Small::new("[train]\noutput_dir = \"out\"\n");
        assert_eq!(small.open().store.root(), small.path("out"));
        let elsewhere = Overrides {
            runs: Some("elsewhere".into()),
            ..Overrides::default()
        };
        let project = small.open_with(elsewhere).unwrap();
        assert_eq!(
            project.store.root(),
            Path::new("elsewhere"),
            "as typed, from here"
        );
        small.write("qeval.toml", "");
        assert_eq!(small.open().store.root(), small.path("runs"));
    }

    #[test]
    fn a_seed_that_is_asked_for_replaces_that_of_the_file() {
        let small = Small::new("[train]\nseed = 5\n");
        assert_eq!(small.open().config.train.seed, 5);
        let asked = Overrides {
            seed: Some(0),
            ..Overrides::default()
        };
        assert_eq!(small.open_with(asked).unwrap().config.train.seed, 0);
    }

    #[test]
    fn a_file_that_is_named_has_to_be_there() {
        let small = Small::new("");
        std::fs::remove_file(small.path("qeval.toml")).unwrap();
        let opened = small.open_with(Overrides::default());
        assert!(matches!(opened, Err(ProjectError::Config(_))));
    }

    #[test]
    fn an_encoder_is_a_folder_beside_the_file_else_a_name() {
        let small = Small::new("[checks]\nencoder = \"minilm\"\njudge_accuracy = 0.9\n");
        let project = small.open();
        let settings = project.check_settings();
        assert_eq!(
            (settings.encoder.as_str(), settings.judge.least),
            ("minilm", 0.9)
        );
        std::fs::create_dir(small.path("minilm")).unwrap();
        let folder = small.path("minilm").display().to_string();
        assert_eq!(project.check_settings().encoder, folder);
    }

    #[test]
    fn the_gates_rules_are_those_of_the_file() {
        let small = Small::new("[gate]\nmargin = 0.2\nsuite_margin = 0.3\nmax_unscored = 0.5\n");
        let rules = small.open().rules();
        assert_eq!(
            (rules.margin, rules.suite_margin, rules.max_unscored_share),
            (0.2, 0.3, 0.5)
        );
    }

    #[test]
    fn an_adapter_of_another_base_is_used_and_told() {
        let small = Small::with_model();
        let project = small.open();
        let model = fixture("models/fixture").display().to_string();
        let session = project.session(&model, None).unwrap();
        assert!(
            small.notices().contains("system prompt: none"),
            "{}",
            small.notices()
        );
        let adapter = |folder: &Path| {
            let spec = project
                .store
                .resolve(&folder.display().to_string())
                .unwrap();
            project.adapter(&session, &spec).unwrap()
        };
        let base = project.store.resolve("base").unwrap();
        assert!(project.adapter(&session, &base).unwrap().is_none());
        // PEFT writes nothing of the base: nothing is known, and nothing told.
        assert!(adapter(&adapter_folder("good")).is_some());
        assert!(
            !small.notices().contains("was trained on"),
            "{}",
            small.notices()
        );
        small.copy("adapters/fixture/good", "mine");
        small.write(
            "mine/qeval_adapter.json",
            r#"{"version": 1, "qeval": "0.1.0", "base_digest": "c0ffee", "base_name": "another"}"#,
        );
        assert!(adapter(&small.path("mine")).is_some());
        let told = small.notices();
        assert!(told.contains("was trained on another (c0ffee)"), "{told}");
    }

    #[test]
    fn notices_of_scoring_are_passed_on_once() {
        let small = Small::new("");
        let project = small.open();
        let scoring = project.scoring(None, CheckSettings::default()).unwrap();
        scoring.notice("no encoder".into());
        scoring.notice("no encoder".into());
        project.pass_on_notices(&scoring);
        project.pass_on_notices(&scoring);
        assert_eq!(small.notices(), "no encoder");
    }
}
