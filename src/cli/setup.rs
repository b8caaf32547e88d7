//! What commands share: output, interrupt, records, and the questions that are asked.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{self, QevalConfig};
use crate::flow::{RunEvent, Suite};
use crate::gate::Rules;
use crate::model::{Compute, DeviceChoice, Dtype};
use crate::record::Store;
use crate::report::{Style, print};
use crate::run::{CheckSettings, Interrupt, JudgeSettings, RunError, Scoring};
use crate::suite::{self, Selection, SuiteSource};

use super::args::{ComputeArgs, Format, MeasureArgs, OutputArgs, SelectArgs};
use super::error::CliError;
use super::progress::Progress;

/// The file that is read when no other is named.
const CONFIG: &str = "qeval.toml";

/// What every command has.
pub struct Setup {
    /// How tables are drawn.
    pub style: Style,
    /// For people or for machines.
    pub format: Format,
    /// Progress bars.
    pub progress: Arc<Progress>,
    /// For child processes and Ctrl-C.
    pub runtime: tokio::runtime::Runtime,
    /// The user's wish to stop.
    pub interrupt: Interrupt,
    /// All records.
    pub store: Store,
    /// Sequences answered at once; 0 is as many as suit the device.
    pub slots: usize,
    /// Where the model runs.
    device: DeviceChoice,
}

impl Setup {
    /// Starts what a command needs.
    ///
    /// # Errors
    /// The runtime cannot start, or the records' folder cannot be read.
    pub fn new(output: &OutputArgs, compute: &ComputeArgs, runs: &Path) -> Result<Self, CliError> {
        if let Some(threads) = compute.threads {
            // Fails only when the pool is in use already, and then its size is decided.
            let _ = rayon::ThreadPoolBuilder::new()
                .num_threads(threads as usize)
                .build_global();
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(RunError::Runtime)?;
        let second = i32::from(crate::exit::Outcome::CouldNotMeasure.code());
        let interrupt = Interrupt::listen(runtime.handle(), second);
        Ok(Setup {
            style: Style {
                color: output.color.on_stdout(),
                ..Style::for_stdout()
            },
            format: output.format,
            progress: Arc::new(Progress::new(output.quiet || output.format == Format::Json)),
            runtime,
            interrupt,
            store: Store::open(runs)?,
            slots: compute.slots.map_or(0, |n| n as usize),
            device: compute.device,
        })
    }

    /// Starts what a test needs: progress is shown on a terminal, and nothing else is.
    ///
    /// # Errors
    /// As [`Setup::new`].
    pub fn quiet_unless_terminal(args: &MeasureArgs) -> Result<Self, CliError> {
        let output = OutputArgs {
            format: Format::Text,
            color: super::args::Color::Auto,
            quiet: !std::io::stderr().is_terminal(),
        };
        Setup::new(&output, &args.compute, &args.store.runs)
    }

    /// Where a model runs that is to compute in this on a GPU.
    pub fn compute(&self, dtype: Dtype) -> Compute {
        Compute {
            device: self.device,
            dtype,
        }
    }

    /// Hears events.
    pub fn listener(&self) -> impl FnMut(RunEvent) + use<> {
        let progress = self.progress.clone();
        move |event| progress.hear(&event)
    }

    /// Shows a sentence beside the progress bars.
    pub fn notice(&self, text: impl Into<String>) {
        self.progress.hear(&RunEvent::Notice(text.into()));
    }

    /// Prints to standard output.
    ///
    /// # Errors
    /// The output is closed or full.
    pub fn print(&self, text: &str) -> Result<(), CliError> {
        self.progress
            .suspend(|| print(text))
            .map_err(CliError::Print)
    }

    /// Prints for people only.
    ///
    /// # Errors
    /// As [`Setup::print`].
    pub fn print_text(&self, text: &str) -> Result<(), CliError> {
        if self.format == Format::Text {
            self.print(text)
        } else {
            Ok(())
        }
    }

    /// What turns answers into scores; programs run in children of this executable.
    pub fn scoring(
        &self,
        training_answers: Option<Vec<String>>,
        settings: CheckSettings,
    ) -> Scoring {
        let executable = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("qeval"));
        let runtime = self.runtime.handle().clone();
        Scoring::new(runtime, executable, training_answers, settings)
    }
}

/// The configuration named, else `qeval.toml` here, else the defaults; and whether there is a file.
///
/// # Errors
/// The file named is not there, or one is wrong.
pub fn load_config(path: Option<&Path>) -> Result<(QevalConfig, bool), CliError> {
    match path {
        Some(path) => Ok((config::load(path)?, true)),
        None if Path::new(CONFIG).is_file() => Ok((config::load(Path::new(CONFIG))?, true)),
        None => Ok((QevalConfig::default(), false)),
    }
}

/// The suites that arguments and configuration name, with the probes they select.
///
/// # Errors
/// No such suite, a wrong one, or a selection that leaves nothing.
pub fn load_suites(config: &QevalConfig, select: &SelectArgs) -> Result<Vec<Suite>, CliError> {
    let suites = suite::load(&sources(config, select)?, &config.vars)?;
    selected(config, select, &suites)
}

/// As [`load_suites`], with golden answers that are judged otherwise than they expect.
///
/// # Errors
/// As [`load_suites`], but for golden answers.
pub fn load_unjudged_suites(
    config: &QevalConfig,
    select: &SelectArgs,
) -> Result<Vec<Suite>, CliError> {
    let suites = suite::load_unjudged(&sources(config, select)?, &config.vars)?;
    selected(config, select, &suites)
}

fn sources(config: &QevalConfig, select: &SelectArgs) -> Result<Vec<SuiteSource>, CliError> {
    let mut sources = Vec::new();
    let named = if select.suites.is_empty() {
        &config.gate.suites
    } else {
        &select.suites
    };
    for name in named {
        let path = if select.suites.is_empty() {
            config.resolve(name)
        } else {
            PathBuf::from(name)
        };
        let builtin = suite::builtin()
            .iter()
            .find(|(known, _)| stem(known) == stem(name));
        if path.exists() {
            sources.extend(suite::read(&[path]));
        } else if let Some((name, text)) = builtin {
            sources.push(SuiteSource::built_in(name, text));
        } else if *named == QevalConfig::default().gate.suites {
            sources.extend(
                suite::builtin()
                    .iter()
                    .map(|(name, text)| SuiteSource::built_in(name, text)),
            );
        } else {
            let known = suite::builtin()
                .iter()
                .map(|(name, _)| stem(name))
                .collect::<Vec<_>>()
                .join(", ");
            return Err(CliError::NoSuite {
                name: name.clone(),
                path,
                known,
            });
        }
    }
    Ok(sources)
}

/// The probes that the command line asks for, else the configuration.
///
/// # Errors
/// A selection that selects nothing.
pub fn selected(
    config: &QevalConfig,
    select: &SelectArgs,
    suites: &[Suite],
) -> Result<Vec<Suite>, CliError> {
    let mut tags = select.tags.clone();
    if select.tags.is_empty() {
        tags.extend(
            [&config.gate.tags, &config.gate.languages]
                .into_iter()
                .filter(|t| !t.is_empty())
                .map(|t| t.join(",")),
        );
    }
    Ok(Selection {
        patterns: select.probes.clone(),
        tags,
        prompts: select
            .prompts
            .map(Into::into)
            .or(config.gate.prompts_per_probe),
        shard: select.shard,
    }
    .apply(suites)?)
}

/// What checks may use, as configured; an encoder's folder is meant from where the file lies.
pub fn check_settings(config: &QevalConfig) -> CheckSettings {
    let checks = &config.checks;
    let folder = config.resolve(&checks.encoder);
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
    }
}

/// The gate's rules as configured.
pub fn rules(config: &QevalConfig) -> Rules {
    Rules {
        margin: config.gate.margin,
        suite_margin: config.gate.suite_margin,
        max_unscored_share: config.gate.max_unscored,
        ..Rules::default()
    }
}

/// A suite's name without the ending of its file.
fn stem(name: &str) -> &str {
    name.strip_suffix(".toml").unwrap_or(name)
}
