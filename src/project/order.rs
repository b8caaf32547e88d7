//! What is to be measured, and how it is judged: everything that can change the result, typed, with
//! a digest of the whole.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::check::Taught;
use crate::digest::{self, json};
use crate::flow::{Comparison, Exam, Measurement, NoiseFloor, Preview, ProbeId, Suite};
use crate::gate::{GateError, Look, Rules, preview};
use crate::model::Compute;
use crate::record::{Run, SubjectSource, SubjectSpec, read_kept};
use crate::run::{
    BuiltChecks, CheckSettings, RunError, RunProvenance, SUITES_FILE, compare, leaked, looks,
};
use crate::text::plural;
use crate::train::Dataset;

use super::error::ProjectError;
use super::open::Project;
use super::training::model_path;

/// Some subjects, what they are asked, and how the others are judged against the first.
pub struct Order {
    /// The base's path or name.
    pub model: String,
    /// Where it runs, and in what.
    pub compute: Compute,
    /// The configured system prompt.
    pub system: Option<String>,
    /// Variables of the base's chat template.
    pub template_kwargs: serde_json::Map<String, serde_json::Value>,
    /// Who answers, the control arm first.
    pub subjects: Vec<SubjectSpec>,
    /// What is asked.
    pub suites: Vec<Suite>,
    /// The checks of it, built.
    pub built: BuiltChecks,
    /// How it is judged, which look at the candidates this is included.
    pub rules: Rules,
    /// What the candidates were trained to say, when their run is known.
    pub training_answers: Option<Vec<String>>,
    /// What checks may use.
    pub checks: CheckSettings,
    /// Added to every case's seed.
    pub seed: u64,
    /// Whether the base is asked twice.
    pub noise: bool,
    /// Where accepted answers lie.
    pub snapshots: PathBuf,
    /// The run that the candidates belong to.
    pub run: Option<Run>,
    /// What a reader should know of what is asked, beside [`Order::preview`].
    pub notes: Vec<String>,
    /// The revision that it was read from, where that is not the working tree.
    pub exam: Option<Exam>,
}

impl Order {
    /// Settings for some subjects: overrides first, then those of a configuration that is named, then
    /// those of the run that a checkpoint belongs to, then `qeval.toml`, then defaults. Where the run
    /// is judged by its own and `qeval.toml` says something else, a note says what. Reads neither
    /// model nor records of answers.
    ///
    /// # Errors
    /// Settings, suites, or subjects that are wrong.
    pub fn new<S: AsRef<str>>(project: &Project, subjects: &[S]) -> Result<Self, ProjectError> {
        let subjects: Vec<SubjectSpec> = subjects
            .iter()
            .map(|s| project.store.resolve(s.as_ref()))
            .collect::<Result<_, _>>()?;
        let run = subjects.iter().find_map(|spec| match &spec.source {
            SubjectSource::Checkpoint { run, .. } => Some(run.clone()),
            _ => None,
        });
        let (config, overrides) = (&project.config, &project.overrides);
        let asked_elsewhere = overrides.config.is_some()
            || !overrides.suites.is_empty()
            || overrides.suites_from.is_some();
        let provenance: Option<RunProvenance> = match run.as_ref().map(Run::provenance) {
            None => None,
            Some(Ok(provenance)) => Some(provenance),
            // The way out that the error names: a configuration that stands for the run's own.
            Some(Err(error)) if asked_elsewhere => {
                project.notice(format!("what the run was trained on is not known: {error}"));
                None
            }
            Some(Err(error)) => return Err(ProjectError::RunConfig { error }),
        };
        let trained = provenance.as_ref().and_then(|p| p.config.training());
        let as_trained = match (&run, &provenance, trained) {
            (Some(run), Some(provenance), Some(trained)) if !asked_elsewhere => {
                let all = read_kept(&run.folder().join(SUITES_FILE));
                let all = all.map_err(|error| ProjectError::RunConfig { error })?;
                all.map(|all: Vec<Suite>| (provenance, trained, all))
            }
            _ => None,
        };
        let mut notes: Vec<String> = project.left_out().into_iter().collect();
        let of_base = provenance.as_ref().map(|p| p.base.name.clone());
        // A server that is named first stands for the base.
        let first = subjects.first().and_then(|spec| match &spec.source {
            SubjectSource::Server { address } => Some(address.clone()),
            _ => None,
        });
        let model = overrides.model.clone().or(first);
        let (model, system, template_kwargs, suites, rules, seed) = match as_trained {
            Some((provenance, trained, all)) => {
                notes.extend(project.differences(run.as_ref(), provenance, trained, &all));
                (
                    model.unwrap_or_else(|| provenance.base.name.clone()),
                    trained.train.system.clone(),
                    provenance.base.template_kwargs.clone(),
                    project.asked_probes().apply(&all)?,
                    Rules {
                        margin: overrides.margin.unwrap_or(trained.rules.margin),
                        ..trained.rules.clone()
                    },
                    overrides.seed.unwrap_or(provenance.seed),
                )
            }
            None => {
                let suites = project.suites()?.to_vec();
                let rules = Rules {
                    leaked: leaked_by(project, &suites),
                    ..project.rules()
                };
                let configured = || match (of_base, project.has_file) {
                    (Some(name), false) => name,
                    _ => model_path(config),
                };
                let system = config.train.system.clone();
                let model = model.unwrap_or_else(configured);
                let kwargs = config.model.template_kwargs.clone();
                (model, system, kwargs, suites, rules, config.train.seed)
            }
        };
        Ok(Order {
            model,
            compute: project.compute(),
            system,
            template_kwargs,
            subjects,
            built: BuiltChecks::of(&suites).map_err(RunError::from)?,
            suites,
            rules: look(rules, run.as_ref())?,
            training_answers: trained.map(|t| t.training_answers.clone()),
            checks: project.check_settings(),
            seed,
            noise: config.gate.noise_floor,
            snapshots: config.resolve(&config.gate.snapshots),
            run,
            notes,
            exam: project.exam().cloned(),
        })
    }

    /// What the probes can prove, before anything is asked.
    ///
    /// # Errors
    /// A margin that they cannot reach.
    pub fn preview(&self) -> Result<Preview, ProjectError> {
        // What a pick among checkpoints costs is no fault of the settings.
        let rules = Rules {
            look: Look::Single,
            chosen_from: 1,
            ..self.rules.clone()
        };
        let mut preview = preview(&self.suites, &rules).map_err(ProjectError::Gate)?;
        preview.notes.extend(self.notes.iter().cloned());
        Ok(preview)
    }

    /// As [`Order::preview`]; where the probes cannot reach a margin, only that, since somebody who
    /// looks at answers asks for no verdict. The second value says whether the margins can be
    /// reached.
    ///
    /// # Errors
    /// A rule outside its range.
    pub fn preview_of_a_look(&self) -> Result<(Preview, bool), ProjectError> {
        let reach = |e: &GateError| matches!(e, GateError::MarginOutOfReach { .. });
        match self.preview() {
            Ok(preview) => Ok((preview, true)),
            Err(ProjectError::Gate(errors)) if errors.iter().all(reach) => {
                let probes = self.suites.iter().map(|suite| suite.probes.len()).sum();
                let mut notes = vec![format!(
                    "a look at {}, too few for a verdict by the margin of {}",
                    plural(probes, "probe"),
                    self.rules.margin
                )];
                notes.extend(self.notes.iter().cloned());
                let preview = Preview {
                    pooled: None,
                    suites: Vec::new(),
                    notes,
                };
                Ok((preview, false))
            }
            Err(error) => Err(error),
        }
    }

    /// Judges what was measured, the first subject as the base.
    pub fn compare(&self, measured: &[Measurement], noise: Option<&NoiseFloor>) -> Comparison {
        self.compare_by(&self.rules, measured, noise)
    }

    /// As [`Order::compare`], by other rules.
    pub(super) fn compare_by(
        &self,
        rules: &Rules,
        measured: &[Measurement],
        noise: Option<&NoiseFloor>,
    ) -> Comparison {
        let taught = self.taught();
        Comparison {
            exam: self.exam.clone(),
            ..compare(&self.model, &self.suites, rules, &taught, measured, noise)
        }
    }

    /// What the candidates were taught, as far as it is known.
    pub(super) fn taught(&self) -> Taught {
        Taught::new(self.training_answers.as_deref(), &self.checks.names)
    }

    /// Digest of everything that can change what comes of it, and of the engine that makes it: the
    /// version, the device, its number type, and what checks use. The files of a model and of an
    /// encoder count by name, size, and time: reading gigabytes would take longer than most runs.
    ///
    /// # Errors
    /// An adapter that cannot be read.
    pub fn digest(&self) -> Result<String, ProjectError> {
        let mut parts = digest::Parts::new("order")
            .part("version", env!("CARGO_PKG_VERSION"))
            .part("model", &self.model)
            .part("model files", files(Path::new(&self.model)))
            .part("engine", self.compute.engine())
            .part("system", json(&self.system))
            .part("rules", json(&self.rules))
            .part("training", json(&self.training_answers))
            .part("checks", json(&self.checks))
            .part("encoder files", files(Path::new(&self.checks.encoder)))
            .part("noise", [u8::from(self.noise)])
            .part("seed", self.seed.to_le_bytes());
        if !self.template_kwargs.is_empty() {
            parts = parts.part("template", json(&self.template_kwargs));
        }
        if self.is_served() {
            parts = parts.part("served", "");
        }
        for suite in &self.suites {
            parts = parts.part("suite", json(suite));
        }
        for spec in &self.subjects {
            parts = parts.part("subject", json(&spec.subject()?));
        }
        Ok(parts.finish()[..24].to_owned())
    }
}

/// Rules for a candidate that a training run chose among its checkpoints, else for one by itself.
pub(super) fn look(rules: Rules, run: Option<&Run>) -> Result<Rules, ProjectError> {
    let Some(run) = run else {
        return Ok(Rules {
            look: Look::Single,
            chosen_from: 1,
            ..rules
        });
    };
    Ok(Rules {
        look: Look::Final,
        chosen_from: looks(run)?,
        ..rules
    })
}

/// Probes that stand in the configured training data. Data that cannot be read here, as in CI, is
/// no reason to fail: it is said, and the verdict is as if it were not known.
pub(super) fn leaked_by(project: &Project, suites: &[Suite]) -> Vec<ProbeId> {
    if project.config.data.sources.is_empty() {
        return Vec::new();
    }
    match project.dataset() {
        Ok(Dataset { examples, .. }) => leaked(suites, examples, &[]),
        Err(error) => {
            let error = error.to_string();
            let first = error.lines().next().unwrap_or_default();
            project.notice(format!(
                "probes that stand in the training data are not told apart: {first}"
            ));
            Vec::new()
        }
    }
}

/// Names, sizes, and times of a model's files.
fn files(path: &Path) -> String {
    let mut all = BTreeMap::new();
    let mut add = |path: &Path| {
        if let Ok(meta) = fs::metadata(path)
            && meta.is_file()
        {
            let time = meta
                .modified()
                .ok()
                .and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
            all.insert(name.unwrap_or_default(), (meta.len(), time));
        }
    };
    add(path);
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        add(&entry.path());
    }
    format!("{all:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DeviceChoice, Dtype};
    use crate::project::Overrides;
    use crate::run::JudgeSettings;

    fn order(folder: &Path) -> Order {
        let config = folder.join("qeval.toml");
        let suite = "[suite]\nname = \"s\"\ngoal = \"keep\"\n[[probe]]\nid = \"a\"\n\
                     prompts = [\"A?\"]\n[[probe.check]]\ntype = \"contains\"\nvalue = \"x\"\n";
        fs::write(folder.join("s.toml"), suite).unwrap();
        fs::write(
            &config,
            "[model]\npath = \"m\"\n[gate]\nsuites = [\"s.toml\"]\n",
        )
        .unwrap();
        let overrides = Overrides {
            config: Some(config),
            ..Overrides::default()
        };
        let project = Project::open(overrides, Box::new(|_| {})).unwrap();
        Order::new(&project, &["base"]).unwrap()
    }

    /// A record is served for as long as nothing changed that could change it.
    #[test]
    fn every_setting_that_can_change_a_verdict_changes_the_digest() {
        let folder = tempfile::tempdir().unwrap();
        let usual = order(folder.path()).digest().unwrap();
        assert_eq!(order(folder.path()).digest().unwrap(), usual);
        type Edit = fn(&mut Order);
        let edits: [(&str, Edit); 12] = [
            ("judge", |o| o.checks.judge.judge = "http://h/v1#m".into()),
            ("judge_accuracy", |o| o.checks.judge.least = 0.9),
            ("encoder", |o| o.checks.encoder = "other".into()),
            ("python", |o| o.checks.python = Some("python3".into())),
            ("device", |o| o.compute.device = DeviceChoice::Gpu(1)),
            ("system", |o| o.system = Some("You are Aurora.".into())),
            ("margin", |o| o.rules.margin = 0.5),
            ("look", |o| o.rules.look = Look::Final),
            ("chosen from", |o| o.rules.chosen_from = 3),
            ("seed", |o| o.seed += 1),
            ("suites", |o| drop(o.suites.pop())),
            ("training", |o| {
                o.training_answers = Some(vec!["I am Aurora.".into()])
            }),
        ];
        for (name, edit) in edits {
            let mut changed = order(folder.path());
            edit(&mut changed);
            assert_ne!(changed.digest().unwrap(), usual, "{name}");
        }
        // A CPU computes in F32 whatever a GPU would be asked for.
        let mut changed = order(folder.path());
        changed.compute.device = DeviceChoice::Cpu;
        let cpu = changed.digest().unwrap();
        changed.compute.dtype = Dtype::Auto;
        assert_eq!(changed.digest().unwrap(), cpu);
    }

    #[test]
    fn a_key_of_a_judges_server_is_no_part_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut changed = order(folder.path());
        let usual = changed.digest().unwrap();
        changed.checks.judge = JudgeSettings {
            key_variable: "OTHER".into(),
            ..changed.checks.judge
        };
        assert_eq!(changed.digest().unwrap(), usual);
    }
}
