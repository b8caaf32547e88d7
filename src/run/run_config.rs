//! What a run was asked to do, as its provenance keeps it: training, tuning, or answering alone.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::flow::Suite;
use crate::gate::Rules;
use crate::record::{BaseProvenance, Provenance, RecordError, Run, Store, SuiteProvenance};
use crate::server::Server;
use crate::train::{DataSection, LoraSection, TrainSection};

use super::session::Session;
use super::tuning::TuningConfig;

/// A run's provenance with what it was asked to do.
pub type RunProvenance = Provenance<RunConfig>;

/// What a run was asked to do.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum RunConfig {
    /// It trains, and gates its checkpoints.
    Training(Box<TrainingConfig>),
    /// It holds answers of the base and of adapters from elsewhere.
    Evaluation(EvaluationConfig),
    /// It tries settings of training, and chooses one.
    Tuning(Box<TuningConfig>),
}

/// The resolved settings of a training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingConfig {
    /// Digest of all that decides the result: a run of the same one goes on where it was.
    pub identity: String,
    /// Digest of what was asked for, before anything was rendered: it does not depend on the date
    /// that a template prints. Empty in runs of versions that kept none.
    #[serde(default)]
    pub asked: String,
    /// `[lora]`.
    pub lora: LoraSection,
    /// `[data]`.
    pub data: DataSection,
    /// `[train]`.
    pub train: TrainSection,
    /// How its checkpoints are judged.
    pub rules: Rules,
    /// At which multiples of its own scale each is judged; empty in runs of versions that judged
    /// one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scales: Vec<f64>,
    /// Distinct assistant turns of the examples, rehearsal left out.
    pub training_answers: Vec<String>,
}

/// What the answers of an evaluation run have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvaluationConfig {
    /// Digest of base and system prompt; empty in runs that were made by hand.
    #[serde(default)]
    pub identity: String,
}

impl RunConfig {
    /// Digest by which the run is found again.
    pub fn identity(&self) -> &str {
        match self {
            RunConfig::Training(config) => &config.identity,
            RunConfig::Evaluation(config) => &config.identity,
            RunConfig::Tuning(config) => &config.identity,
        }
    }

    /// The settings of a training run.
    pub fn training(&self) -> Option<&TrainingConfig> {
        match self {
            RunConfig::Training(config) => Some(config),
            RunConfig::Evaluation(_) | RunConfig::Tuning(_) => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Tagged {
    Training(Box<TrainingConfig>),
    Evaluation(EvaluationConfig),
    Tuning(Box<TuningConfig>),
}

impl<'de> Deserialize<'de> for RunConfig {
    /// Reads what this version writes, and what versions wrote that named no kind: only training
    /// runs had rules.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        if let Some(config) = value.as_object_mut()
            && !config.contains_key("kind")
        {
            let kind = match config.contains_key("rules") {
                true => "training",
                false => "evaluation",
            };
            config.insert("kind".into(), kind.into());
        }
        let tagged = serde_json::from_value(value).map_err(|error| {
            serde::de::Error::custom(format!("what the run was asked to do (`config`): {error}"))
        })?;
        Ok(match tagged {
            Tagged::Training(config) => RunConfig::Training(config),
            Tagged::Evaluation(config) => RunConfig::Evaluation(config),
            Tagged::Tuning(config) => RunConfig::Tuning(config),
        })
    }
}

/// The provenance of a run that begins now, by what is loaded and asked.
pub fn begun(
    command: &str,
    session: &Session,
    suites: &[Suite],
    seed: u64,
    config: RunConfig,
) -> RunProvenance {
    RunProvenance {
        base: session.base.clone(),
        system: Some(session.effective_system.text.clone()),
        suites: provenance_of(suites),
        device: session.engine_name(),
        threads: rayon::current_num_threads(),
        seed,
        moment_unix_s: Some(session.template.moment()),
        ..Provenance::of(command, config)
    }
}

fn provenance_of(suites: &[Suite]) -> Vec<SuiteProvenance> {
    let one = |suite: &Suite| SuiteProvenance {
        name: suite.name.clone(),
        digest: suite.digest.clone(),
    };
    suites.iter().map(one).collect()
}

/// As [`begun`], of a base behind a server, under this system prompt.
pub fn begun_served(
    command: &str,
    server: &Server,
    system: Option<&str>,
    template_kwargs: &serde_json::Map<String, Value>,
    suites: &[Suite],
    seed: u64,
    config: RunConfig,
) -> RunProvenance {
    RunProvenance {
        base: BaseProvenance {
            name: server.served.to_string(),
            digest: server.about.identity.clone(),
            template_kwargs: template_kwargs.clone(),
            ..BaseProvenance::default()
        },
        system: system.map(str::to_owned),
        suites: provenance_of(suites),
        device: server.name(),
        threads: server.section().concurrency,
        seed,
        ..Provenance::of(command, config)
    }
}

/// The newest of some runs with this identity. A run whose configuration cannot be read here is
/// passed over: it was made by another version, and going on with it would mix the two.
///
/// # Errors
/// A provenance that cannot be read at all.
pub(super) fn with_identity(runs: Vec<Run>, identity: &str) -> Result<Option<Run>, RecordError> {
    with_key(runs, "identity", identity)
}

fn with_key(runs: Vec<Run>, key: &str, value: &str) -> Result<Option<Run>, RecordError> {
    for run in runs.into_iter().rev() {
        let kept: Provenance = run.provenance()?;
        if kept.config.get(key).and_then(Value::as_str) == Some(value) {
            return Ok(Some(run));
        }
    }
    Ok(None)
}

/// The newest run that holds answers of this base and system prompt.
///
/// # Errors
/// A provenance that cannot be read at all.
pub fn evaluation_run(store: &Store, identity: &str) -> Result<Option<Run>, RecordError> {
    with_identity(store.list()?, identity)
}

/// The newest training run that was asked for the same, before anything was rendered.
///
/// # Errors
/// A provenance that cannot be read at all.
pub fn training_run(store: &Store, asked: &str) -> Result<Option<Run>, RecordError> {
    with_key(store.list()?, "asked", asked)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::TuneSection;

    fn training() -> TrainingConfig {
        TrainingConfig {
            identity: "1d".into(),
            asked: String::new(),
            lora: LoraSection::default(),
            data: DataSection::default(),
            train: TrainSection::default(),
            rules: Rules {
                margin: 0.07,
                ..Rules::default()
            },
            scales: Vec::new(),
            training_answers: vec!["I am Aurora.".into()],
        }
    }

    #[test]
    fn every_kind_reads_back_as_it_was_written() {
        for config in [
            RunConfig::Tuning(Box::new(TuningConfig {
                identity: "7e".into(),
                asked: String::new(),
                lora: LoraSection::default(),
                data: DataSection::default(),
                train: TrainSection::default(),
                tune: TuneSection {
                    learning_rate: Some((1e-5, 1e-3)),
                    ..TuneSection::default()
                },
            })),
            RunConfig::Training(Box::new(training())),
            RunConfig::Evaluation(EvaluationConfig {
                identity: "ab".into(),
            }),
        ] {
            let text = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<RunConfig>(&text).unwrap(), config);
        }
    }

    #[test]
    fn what_older_versions_wrote_is_told_by_its_keys() {
        let old = json!({
            "identity": "1d", "lora": training().lora, "data": training().data,
            "train": training().train, "rules": training().rules,
            "training_answers": ["I am Aurora."],
        });
        let read: RunConfig = serde_json::from_value(old).unwrap();
        assert_eq!(read, RunConfig::Training(Box::new(training())));
        let read: RunConfig = serde_json::from_value(json!({ "identity": "ab" })).unwrap();
        assert_eq!((read.identity(), read.training()), ("ab", None));
    }

    #[test]
    fn rules_that_cannot_be_read_are_no_defaults() {
        let mut old = serde_json::to_value(RunConfig::Training(Box::new(training()))).unwrap();
        old["rules"]["margin"] = "wide".into();
        let error = serde_json::from_value::<RunConfig>(old).unwrap_err();
        insta::assert_snapshot!(error, @r#"what the run was asked to do (`config`): invalid type: string "wide", expected f64"#);
    }
}
