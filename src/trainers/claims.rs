//! What a trainer wrote of the run beside a checkpoint: base, system prompt, template, data. Each
//! with the file and key that it was read from, so that a reader can look there.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::find::CheckpointFolder;
use super::lenient_json;

/// Which program wrote a folder, told by its own files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trainer {
    /// `args.json` with its template.
    MsSwift,
    /// `trainer_log.jsonl` in the folder of the run.
    LlamaFactory,
    /// A base of its own copies.
    Unsloth,
    /// No more than what Hugging Face's Trainer writes; axolotl, TRL, and programs of one's own.
    HuggingFace,
}

impl std::fmt::Display for Trainer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Trainer::MsSwift => "ms-swift",
            Trainer::LlamaFactory => "LLaMA-Factory",
            Trainer::Unsloth => "unsloth",
            Trainer::HuggingFace => "Hugging Face Trainer",
        })
    }
}

/// A value with where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim<T> {
    /// The value.
    pub value: T,
    /// The file, below the folder that is watched or beside the checkpoint.
    pub file: PathBuf,
    /// The key in it.
    pub key: &'static str,
}

/// What a trainer wrote of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Who wrote it.
    pub trainer: Trainer,
    /// Names of the base, the adapter's own first: a path on the trainer's machine, or a hub id.
    pub bases: Vec<Claim<String>>,
    /// The system prompt of training; `None` where none is written, or it was left to the template.
    pub system: Option<Claim<String>>,
    /// The trainer's name of the template.
    pub template: Option<Claim<String>>,
    /// Files and hub names of the training data.
    pub data: Option<Claim<Vec<String>>>,
}

const CONFIG: &str = "adapter_config.json";
const ARGS: &str = "args.json";

impl Claims {
    /// Of a checkpoint and the run that it lies in. What cannot be read says nothing.
    pub fn read(checkpoint: &CheckpointFolder) -> Self {
        let config_file = checkpoint.path.join(CONFIG);
        let config = lenient_json::read(&config_file).unwrap_or_default();
        let args = [&checkpoint.path, &checkpoint.run]
            .map(|folder| folder.join(ARGS))
            .into_iter()
            .find_map(|file| Some((lenient_json::read(&file).ok()?, file)));
        let (args, args_file) = args.unwrap_or_default();
        let of = |value: &Value, file: &Path, key: &'static str| {
            text(value, key).map(|value| Claim {
                value,
                file: file.to_path_buf(),
                key,
            })
        };
        let bases: Vec<Claim<String>> = [
            of(&config, &config_file, "base_model_name_or_path"),
            of(&args, &args_file, "model_dir"),
            of(&args, &args_file, "model"),
        ]
        .into_iter()
        .flatten()
        .filter(|claim| !claim.value.trim().is_empty())
        .collect();
        let template = of(&args, &args_file, "template");
        let trainer = if template.is_some() {
            Trainer::MsSwift
        } else if checkpoint.run.join("trainer_log.jsonl").is_file() {
            Trainer::LlamaFactory
        } else if bases.iter().any(|b| b.value.starts_with("unsloth/")) {
            Trainer::Unsloth
        } else {
            Trainer::HuggingFace
        };
        let data = args.get("dataset").and_then(Value::as_array);
        let data = data.map(|all| Claim {
            value: all
                .iter()
                .filter_map(|one| one.as_str().map(str::to_owned))
                .collect::<Vec<_>>(),
            file: args_file.clone(),
            key: "dataset",
        });
        Claims {
            trainer,
            bases,
            system: of(&args, &args_file, "system"),
            template,
            data: data.filter(|claim| !claim.value.is_empty()),
        }
    }
}

fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key)?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn checkpoint(root: &Path) -> CheckpointFolder {
        let path = root.join("checkpoint-4");
        fs::create_dir_all(&path).unwrap();
        CheckpointFolder {
            run: root.to_path_buf(),
            step: 4,
            path,
        }
    }

    #[test]
    fn what_ms_swift_wrote_is_read_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let own = checkpoint(folder.path());
        let args = r#"{"model": "Qwen/Qwen2.5-7B-Instruct", "model_dir": "/cache/Qwen2___5-7B-Instruct",
            "system": "Be brief.", "template": "qwen2_5", "dataset": ["a.jsonl#200", "b"], "lr": NaN}"#;
        fs::write(folder.path().join(ARGS), args).unwrap();
        let config = r#"{"base_model_name_or_path": "/cache/Qwen2___5-7B-Instruct"}"#;
        fs::write(own.path.join(CONFIG), config).unwrap();
        let claims = Claims::read(&own);
        assert_eq!(claims.trainer, Trainer::MsSwift);
        let bases: Vec<(&str, &str)> = claims
            .bases
            .iter()
            .map(|b| (b.key, b.value.as_str()))
            .collect();
        assert_eq!(
            bases,
            [
                ("base_model_name_or_path", "/cache/Qwen2___5-7B-Instruct"),
                ("model_dir", "/cache/Qwen2___5-7B-Instruct"),
                ("model", "Qwen/Qwen2.5-7B-Instruct"),
            ]
        );
        assert_eq!(claims.system.clone().unwrap().value, "Be brief.");
        assert_eq!(claims.system.unwrap().file, folder.path().join(ARGS));
        assert_eq!(claims.data.unwrap().value, ["a.jsonl#200", "b"]);
        // The copy in the checkpoint goes before that of the run, which a later run may replace.
        fs::write(own.path.join(ARGS), r#"{"system": null, "template": "x"}"#).unwrap();
        let claims = Claims::read(&own);
        assert_eq!(
            (claims.system, claims.template.unwrap().value),
            (None, "x".into())
        );
    }

    #[test]
    fn other_trainers_are_told_by_their_files() {
        let folder = tempfile::tempdir().unwrap();
        let own = checkpoint(folder.path());
        let nothing = Claims::read(&own);
        assert_eq!(nothing.trainer, Trainer::HuggingFace);
        assert!(nothing.bases.is_empty() && nothing.data.is_none());
        let config = r#"{"base_model_name_or_path": "unsloth/qwen2.5-7b-instruct-bnb-4bit"}"#;
        fs::write(own.path.join(CONFIG), config).unwrap();
        assert_eq!(Claims::read(&own).trainer, Trainer::Unsloth);
        fs::write(folder.path().join("trainer_log.jsonl"), "").unwrap();
        assert_eq!(Claims::read(&own).trainer, Trainer::LlamaFactory);
        for broken in ["", "[]", "{\"dataset\": 4, \"system\": 5}"] {
            fs::write(own.path.join(ARGS), broken).unwrap();
            assert_eq!(
                Claims::read(&own).trainer,
                Trainer::LlamaFactory,
                "{broken}"
            );
        }
    }
}
