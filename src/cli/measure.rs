//! What `run`, `diff`, and `gate` have in common: subjects are found, records are read, and only
//! what no record has is answered.

use std::path::{Path, PathBuf};

use crate::config::QevalConfig;
use crate::flow::{ProbeId, Subject, Suite};
use crate::gate::{Look, Rules, judge};
use crate::lora::{Adapter, LoadedAdapter};
use crate::model::Dtype;
use crate::record::{Provenance, Run, SubjectSource, SubjectSpec, SuiteProvenance};
use crate::run::{
    Candidate, CheckSettings, Evaluation, Measurement, NoiseFloor, Questions, Session, asked_again,
    leaked, noise_floor, recorded, second_base,
};

use crate::train::Dataset;

use super::args::MeasureArgs;
use super::error::CliError;
use super::setup::{Setup, check_settings, load_config, load_suites, rules};
use super::train::model_path;

/// What is measured, and how.
pub struct Assignment {
    /// The base's path or name.
    pub model: String,
    /// What a GPU computes in.
    pub dtype: Dtype,
    /// The configured system prompt.
    pub system: Option<String>,
    /// What is asked.
    pub suites: Vec<Suite>,
    /// How it is judged.
    pub rules: Rules,
    /// What the candidate was trained to say, when its run is known.
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
}

/// Subjects with what they said.
pub struct Measured {
    /// In the order asked for.
    pub subjects: Vec<Subject>,
    /// One a subject.
    pub measurements: Vec<Measurement>,
    /// How far the base differs from itself, where that was asked for.
    pub noise: Option<NoiseFloor>,
    /// The base, when it had to be loaded.
    pub session: Option<Session>,
}

/// Settings for some subjects: arguments first, then those of the run that a checkpoint belongs to,
/// then `qeval.toml`, then defaults.
///
/// # Errors
/// Settings or suites that are wrong.
pub fn assign(args: &MeasureArgs, specs: &[SubjectSpec]) -> Result<Assignment, CliError> {
    let run = specs.iter().find_map(|spec| match &spec.source {
        SubjectSource::Checkpoint { run, .. } => Some(run.clone()),
        _ => None,
    });
    let provenance = run.as_ref().map(Run::provenance).transpose()?;
    let of_run = |key: &str| provenance.as_ref().and_then(|p| p.config.get(key)).cloned();
    let training_answers = of_run("training_answers").and_then(|v| serde_json::from_value(v).ok());
    let (config, has_file) = load_config(args.model.config.as_deref())?;
    let seed = args.compute.seed.unwrap_or(config.train.seed);
    let asked_elsewhere = args.model.config.is_some() || !args.select.suites.is_empty();
    if let (Some(run), Some(provenance), false) = (&run, &provenance, asked_elsewhere)
        && let Some(all) = stored_suites(run.folder())
    {
        let selection = crate::suite::Selection {
            patterns: args.select.probes.clone(),
            tags: args.select.tags.clone(),
            prompts: args.select.prompts.map(Into::into),
            shard: args.select.shard,
        };
        return Ok(Assignment {
            model: args
                .model
                .model
                .clone()
                .unwrap_or_else(|| provenance.base.name.clone()),
            dtype: config.model.dtype,
            system: of_run("train").and_then(|t| Some(t.get("system")?.as_str()?.to_owned())),
            suites: selection.apply(&all)?,
            rules: of_run("rules")
                .and_then(|v| serde_json::from_value(v).ok())
                .unwrap_or_default(),
            training_answers,
            checks: check_settings(&config),
            seed: args.compute.seed.unwrap_or(provenance.seed),
            noise: config.gate.noise_floor,
            snapshots: config.resolve(&config.gate.snapshots),
            run: Some(run.clone()),
        });
    }
    let model = args
        .model
        .model
        .clone()
        .unwrap_or_else(|| match (&provenance, has_file) {
            (Some(provenance), false) => provenance.base.name.clone(),
            _ => model_path(&config),
        });
    let suites = load_suites(&config, &args.select)?;
    let rules = Rules {
        leaked: leaked_by(&config, &suites),
        ..rules(&config)
    };
    Ok(Assignment {
        model,
        dtype: config.model.dtype,
        system: config.train.system.clone(),
        suites,
        rules,
        training_answers,
        checks: check_settings(&config),
        seed,
        noise: config.gate.noise_floor,
        snapshots: config.resolve(&config.gate.snapshots),
        run,
    })
}

/// Probes that stand in the configured training data. Data that cannot be read here, as in CI, is
/// no reason to fail: the verdict is then as if it were not known.
fn leaked_by(config: &QevalConfig, suites: &[Suite]) -> Vec<ProbeId> {
    if config.data.sources.is_empty() {
        return Vec::new();
    }
    match Dataset::load(&config.data, &config.folder, &config.vars) {
        Ok(dataset) => leaked(suites, &dataset.examples, &[]),
        Err(_) => Vec::new(),
    }
}

/// Suites as a training run asked them.
fn stored_suites(folder: &Path) -> Option<Vec<Suite>> {
    let bytes = std::fs::read(folder.join(crate::run::SUITES_FILE)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Has every subject answer what it has not answered yet.
///
/// # Errors
/// A model, adapter, or record that cannot be used, or an interrupt.
pub fn measure(
    setup: &Setup,
    assignment: &Assignment,
    specs: &[SubjectSpec],
) -> Result<Measured, CliError> {
    let subjects = specs
        .iter()
        .map(SubjectSpec::subject)
        .collect::<Result<Vec<_>, _>>()?;
    let again = assignment.noise.then(|| asked_again(&assignment.suites));
    let mut whole = None;
    if let Some(run) = &assignment.run {
        let stored: Option<Vec<Measurement>> = subjects
            .iter()
            .map(|s| recorded(run, s, &assignment.suites))
            .collect::<Result<Option<Vec<_>>, _>>()?;
        let second = match &again {
            Some(again) => recorded(run, &second_base(), again)?.map(Some),
            None => Some(None),
        };
        match (stored, second) {
            (Some(measurements), Some(second)) => {
                return Ok(Measured {
                    subjects,
                    noise: floor(again.as_deref(), &measurements, second.as_ref()),
                    measurements,
                    session: None,
                });
            }
            (stored, _) => whole = stored,
        }
    }
    let mut on_event = setup.listener();
    let session = match (open(setup, assignment), whole) {
        (Ok(session), _) => session,
        // Every answer that is judged is on disk; only the noise floor would need the model.
        (Err(error), Some(measurements)) => {
            setup.notice(format!("the noise floor is not shown: {error}"));
            return Ok(Measured {
                subjects,
                noise: None,
                measurements,
                session: None,
            });
        }
        (Err(error), None) => return Err(error),
    };
    let questions = Questions::new(&session, assignment.suites.clone(), assignment.seed)?;
    let run = match &assignment.run {
        Some(run) => run.clone(),
        None => evaluation_run(setup, assignment, &session)?,
    };
    let lock = run.lock()?;
    let mut candidates = Vec::new();
    for (spec, subject) in specs.iter().zip(&subjects) {
        let adapter = match spec.folder() {
            None => None,
            Some(folder) => Some(load_adapter(setup, &session, spec, folder)?),
        };
        candidates.push(Candidate {
            subject: subject.clone(),
            adapter,
        });
    }
    let scoring = setup.scoring(
        assignment.training_answers.clone(),
        assignment.checks.clone(),
    );
    let evaluation = Evaluation {
        session: &session,
        questions: &questions,
        store: &setup.store,
        run: &lock,
        scoring: &scoring,
        slots: setup.slots,
        interrupt: &setup.interrupt,
    };
    let measurements = evaluation.run(candidates, &mut on_event)?;
    let second = match again.as_deref() {
        None | Some([]) => None,
        Some(again) => {
            // Another seed: other draws than any answer that is judged.
            let seed = assignment.seed.wrapping_add(1);
            let questions = Questions::new(&session, again.to_vec(), seed)?;
            let evaluation = Evaluation {
                questions: &questions,
                ..evaluation
            };
            let base = Candidate {
                subject: second_base(),
                adapter: None,
            };
            evaluation.run(vec![base], &mut on_event)?.pop()
        }
    };
    scoring
        .take_notices()
        .into_iter()
        .for_each(|n| setup.notice(n));
    Ok(Measured {
        subjects,
        noise: floor(again.as_deref(), &measurements, second.as_ref()),
        measurements,
        session: Some(session),
    })
}

/// The noise floor, when the base was asked twice.
fn floor(
    again: Option<&[Suite]>,
    measurements: &[Measurement],
    second: Option<&Measurement>,
) -> Option<NoiseFloor> {
    Some(noise_floor(again?, measurements.first()?, second?))
}

/// Loads the base, and says what the user should know of it.
///
/// # Errors
/// It cannot be found, fetched, or loaded.
pub fn open(setup: &Setup, assignment: &Assignment) -> Result<Session, CliError> {
    let mut on_event = setup.listener();
    let system = assignment.system.clone();
    let compute = setup.compute(assignment.dtype);
    let session = Session::open(&assignment.model, system, compute, &mut on_event)?;
    session
        .notices
        .iter()
        .for_each(|n| setup.notice(n.as_str()));
    setup.notice(format!("system prompt: {}", session.effective_system));
    Ok(session)
}

/// Reads a subject's adapter for a loaded base; tells when it was trained on another.
///
/// # Errors
/// It cannot be read, or does not fit the base.
pub fn load_adapter(
    setup: &Setup,
    session: &Session,
    spec: &SubjectSpec,
    folder: &Path,
) -> Result<LoadedAdapter, CliError> {
    let config = session.decoder.config();
    let adapter = Adapter::read(folder, config).map_err(crate::run::RunError::from)?;
    if let Some(home) = adapter
        .trained_on
        .as_ref()
        .filter(|home| home.base_digest != session.base.digest)
    {
        setup.notice(format!(
            "{} was trained on {} ({}), and is asked on {} ({}): its effect may differ",
            spec.name,
            home.base_name,
            crate::digest::short(&home.base_digest),
            session.base.name,
            crate::digest::short(&session.base.digest),
        ));
    }
    Ok(LoadedAdapter::new(&adapter, config, spec.scale as f32))
}

/// The run that answers of base and foreign adapters go to: one per base and system prompt.
fn evaluation_run(
    setup: &Setup,
    assignment: &Assignment,
    session: &Session,
) -> Result<Run, CliError> {
    let identity = crate::digest::Parts::new("evaluation")
        .part("base", &session.base.digest)
        .part("system", &session.effective_system.text)
        .finish();
    for run in setup.store.list()?.into_iter().rev() {
        if run
            .provenance()?
            .config
            .get("identity")
            .and_then(|v| v.as_str())
            == Some(&identity)
        {
            return Ok(run);
        }
    }
    let mut provenance = Provenance::started("run");
    provenance.base = session.base.clone();
    provenance.system = Some(session.effective_system.text.clone());
    let suites = assignment.suites.iter();
    provenance.suites = suites
        .map(|s| SuiteProvenance {
            name: s.name.clone(),
            digest: s.digest.clone(),
        })
        .collect();
    provenance.device = session.engine_name();
    provenance.threads = rayon::current_num_threads();
    provenance.seed = assignment.seed;
    provenance.config = serde_json::json!({ "identity": identity });
    Ok(setup.store.create(None, &provenance)?)
}

/// Every candidate's verdict against the first subject. A candidate that a training run chose among
/// its checkpoints is judged as such.
pub fn verdicts(assignment: &Assignment, measured: &Measured) -> Vec<crate::flow::Verdict> {
    let trained = assignment.training_answers.is_some();
    let planned = assignment
        .run
        .as_ref()
        .and_then(|r| r.checkpoints().ok())
        .map_or(1, |c| c.len());
    let rules = Rules {
        look: if trained { Look::Final } else { Look::Single },
        chosen_from: if trained { planned.max(1) } else { 1 },
        ..assignment.rules.clone()
    };
    let (base, others) = measured.measurements.split_at(1);
    let judged = |candidate: &Measurement| {
        let (suites, base) = (&assignment.suites, &base[0].scores);
        let mut verdict = judge(suites, base, &candidate.scores, &rules);
        let judge = candidate.judge.as_ref();
        verdict.notes.extend(judge.map(ToString::to_string));
        verdict
    };
    others.iter().map(judged).collect()
}
