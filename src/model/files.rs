//! A path on disk to everything that a model consists of: configuration, weights, tokenizer, chat
//! template, special tokens, sampling defaults, digest.
//!
//! A Hugging Face folder or one GGUF file. Nothing large is decoded here; see [`Weights`].

use std::path::{Path, PathBuf};

use serde_json::Value;
use tokenizers::Tokenizer;

use super::config::ConfigTokens;
use super::gguf::GgufFile;
use super::json::Keys;
use super::{
    GenerationDefaults, ModelConfig, ModelError, Weights, gguf_model, gguf_tokenizer,
    tokenizer_file,
};
use crate::digest;

/// Everything that a model consists of.
pub struct ModelFiles {
    /// The folder or GGUF file, as given.
    pub path: PathBuf,
    /// What the model is.
    pub config: ModelConfig,
    /// Its weights, not yet decoded.
    pub weights: Weights,
    /// Its tokenizer, without truncation and padding.
    pub tokenizer: Tokenizer,
    /// Its chat template in Jinja, if it has one.
    pub chat_template: Option<String>,
    /// Text of the token that begins a text.
    pub bos_token: Option<String>,
    /// Text of the token that ends a text.
    pub eos_token: Option<String>,
    /// Every id that ends an answer, sorted: those of the generation config, of the config and of
    /// the tokenizer together.
    pub eos_token_ids: Vec<u32>,
    /// How the model's authors want it sampled.
    pub generation: GenerationDefaults,
    /// Ids from here on have no token and must never be generated; at most `config.vocab_size`.
    pub usable_vocab: usize,
    /// SHA-256 in hex of the weights: see [`ModelFiles::open`].
    pub digest: String,
    /// SHA-256 in hex of the tokenizer.
    pub tokenizer_digest: String,
    /// What the user should read before trusting the model; nothing that stops it.
    pub notices: Vec<String>,
    /// Names that the files have for the model themselves; often none.
    pub own_names: Vec<String>,
}

impl ModelFiles {
    /// Opens a Hugging Face folder or a GGUF file.
    ///
    /// The digest covers every byte of the files of weights when they have less than 1 GiB
    /// together. Of larger ones it covers each file's length, its first and last MiB, and 256
    /// blocks of 64 KiB spread evenly over it: whoever replaces or retrains a model changes some of
    /// these, whoever flips one bit on purpose may not.
    ///
    /// # Errors
    /// Whatever is missing, damaged, of another architecture, or does not fit together.
    pub fn open(path: &Path) -> Result<ModelFiles, ModelError> {
        let not_a_model = |problem: &str| ModelError::NotAModel {
            path: path.to_path_buf(),
            problem: problem.to_owned(),
        };
        let extension = path.extension().and_then(|e| e.to_str());
        let parts = if path.is_dir() {
            Parts::from_folder(path)?
        } else if !path.exists() {
            return Err(not_a_model("there is no such file or folder"));
        } else if extension.is_some_and(|e| e.eq_ignore_ascii_case("gguf")) {
            Parts::from_gguf(path)?
        } else {
            return Err(not_a_model("it is neither a folder nor a .gguf file"));
        };
        parts.fit(path)
    }
}

/// What one kind of source yields, not yet held against each other.
struct Parts {
    config: ModelConfig,
    weights: Weights,
    tokenizer: Tokenizer,
    tokenizer_path: PathBuf,
    tokenizer_digest: String,
    chat_template: Option<String>,
    bos_token: Option<String>,
    eos_token: Option<String>,
    eos_token_ids: Vec<u32>,
    generation: GenerationDefaults,
    notices: Vec<String>,
    own_names: Vec<String>,
}

impl Parts {
    fn from_folder(folder: &Path) -> Result<Parts, ModelError> {
        let config_path = folder.join("config.json");
        let Some(keys) = Keys::read_optional(&config_path)? else {
            return Err(ModelError::NotAModel {
                path: folder.to_path_buf(),
                problem: if folder.join("adapter_config.json").exists() {
                    "it is an adapter, not its base".to_owned()
                } else {
                    "it has no config.json".to_owned()
                },
            });
        };
        let (config, tokens) = ModelConfig::from_keys(&keys)?;
        let generation = Keys::read_optional(&folder.join("generation_config.json"))?
            .map(|keys| GenerationDefaults::from_keys(&keys))
            .transpose()?
            .unwrap_or_default();

        let tokenizer_path = folder.join("tokenizer.json");
        let (mut tokenizer, tokenizer_digest) = read_tokenizer(&tokenizer_path)?;
        tokenizer.with_padding(None);
        if let Err(e) = tokenizer.with_truncation(None) {
            return Err(ModelError::Tokenizer {
                path: tokenizer_path,
                problem: e.to_string(),
            });
        }
        let mut notices = Vec::new();
        let special = SpecialTokens::read(folder, &tokenizer, &tokens)?;
        let chat_template = chat_template(folder, &mut notices)?;
        let mut eos_token_ids = [&generation.eos_token_ids[..], &tokens.eos].concat();
        eos_token_ids.extend(
            special
                .eos
                .as_deref()
                .and_then(|eos| tokenizer.token_to_id(eos)),
        );
        Ok(Parts {
            config,
            weights: Weights::open_folder(folder)?,
            tokenizer,
            tokenizer_path,
            tokenizer_digest,
            chat_template,
            bos_token: special.bos,
            eos_token: special.eos,
            eos_token_ids,
            generation,
            notices,
            own_names: keys
                .get("_name_or_path")
                .and_then(Value::as_str)
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .into_iter()
                .collect(),
        })
    }

    fn from_gguf(path: &Path) -> Result<Parts, ModelError> {
        let file = GgufFile::open(path)?;
        if let Some(parts) = file.int("split.count").filter(|n| *n > 1) {
            return Err(ModelError::Unsupported {
                path: path.to_path_buf(),
                what: format!("a model split into {parts} files"),
                rule: "join them with llama.cpp's `llama-gguf-split --merge`".to_owned(),
            });
        }
        let config = gguf_model::config(&file)?;
        let found = gguf_tokenizer::tokenizer(&file)?;
        let text = |id: Option<u32>| id.and_then(|id| found.tokenizer.id_to_token(id));
        let eos = file
            .int("tokenizer.ggml.eos_token_id")
            .and_then(|id| u32::try_from(id).ok());
        let canonical = found.tokenizer.to_string(false).unwrap_or_default();
        let mut notices = found.notices;
        let embedded = file.text("tokenizer.chat_template").map(str::to_owned);
        let chat_template = template_beside(path, embedded, &mut notices)?;
        let names = [
            "general.name",
            "general.basename",
            "general.base_model.0.name",
        ];
        let names = names.into_iter().filter_map(|key| file.text(key));
        let own_names = names.map(str::to_owned).collect();
        Ok(Parts {
            config,
            chat_template,
            own_names,
            bos_token: text(found.bos),
            eos_token: text(eos),
            eos_token_ids: found.eos,
            generation: GenerationDefaults::default(),
            notices,
            tokenizer_path: path.to_path_buf(),
            tokenizer_digest: digest::bytes(canonical),
            tokenizer: found.tokenizer,
            weights: Weights::from_gguf(file),
        })
    }

    /// Holds tokenizer, configuration and weights against each other.
    fn fit(self, path: &Path) -> Result<ModelFiles, ModelError> {
        let mut notices = self.notices;
        let vocab_size = self.config.vocab_size;
        let highest = self
            .tokenizer
            .get_vocab(true)
            .into_iter()
            .max_by_key(|(_, id)| *id);
        let usable_vocab = match highest {
            None => {
                return Err(ModelError::Tokenizer {
                    path: self.tokenizer_path,
                    problem: "it has no tokens".to_owned(),
                });
            }
            Some((token, id)) if id as usize >= vocab_size => {
                return Err(ModelError::TokenBeyondEmbedding {
                    path: self.tokenizer_path,
                    token,
                    id,
                    vocab_size,
                });
            }
            Some((_, id)) => id as usize + 1,
        };
        if usable_vocab < vocab_size {
            notices.push(format!(
                "{}: {usable_vocab} tokens for an embedding of {vocab_size} rows; ids from \
                 {usable_vocab} on are never generated",
                self.tokenizer_path.display()
            ));
        }
        let mut eos_token_ids = self.eos_token_ids;
        eos_token_ids.sort_unstable();
        eos_token_ids.dedup();
        eos_token_ids.retain(|&id| {
            let known = (id as usize) < usable_vocab;
            if !known {
                notices.push(format!(
                    "{}: end-of-text id {id} is not in the tokenizer and is ignored",
                    path.display()
                ));
            }
            known
        });
        Ok(ModelFiles {
            path: path.to_path_buf(),
            digest: weights_digest(&self.weights),
            config: self.config,
            weights: self.weights,
            tokenizer: self.tokenizer,
            chat_template: self.chat_template,
            bos_token: self.bos_token,
            eos_token: self.eos_token,
            eos_token_ids,
            generation: self.generation,
            usable_vocab,
            tokenizer_digest: self.tokenizer_digest,
            notices,
            own_names: self.own_names,
        })
    }
}

fn read_tokenizer(path: &Path) -> Result<(Tokenizer, String), ModelError> {
    let wrong = |problem: String| ModelError::Tokenizer {
        path: path.to_path_buf(),
        problem,
    };
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(wrong(
                "there is no such file; write it in Python: \
                 AutoTokenizer.from_pretrained(\"model\").save_pretrained(\"model\")"
                    .to_owned(),
            ));
        }
        Err(source) => {
            return Err(ModelError::Io {
                path: path.to_path_buf(),
                source,
            });
        }
    };
    let tokenizer =
        tokenizer_file::parse(&bytes).map_err(|e| wrong(format!("{e}; download it again")))?;
    Ok((tokenizer, digest::bytes(&bytes)))
}

struct SpecialTokens {
    bos: Option<String>,
    eos: Option<String>,
}

impl SpecialTokens {
    /// From `tokenizer_config.json`, else `special_tokens_map.json`, else the ids of the config.
    fn read(
        folder: &Path,
        tokenizer: &Tokenizer,
        ids: &ConfigTokens,
    ) -> Result<SpecialTokens, ModelError> {
        let mut found = SpecialTokens {
            bos: None,
            eos: None,
        };
        let mut declared = false;
        for name in ["tokenizer_config.json", "special_tokens_map.json"] {
            let Some(keys) = Keys::read_optional(&folder.join(name))? else {
                continue;
            };
            for (key, token) in [("bos_token", &mut found.bos), ("eos_token", &mut found.eos)] {
                let text = match keys.get(key) {
                    Some(Value::Object(token)) => token.get("content").and_then(Value::as_str),
                    other => other.and_then(Value::as_str),
                };
                *token = token.take().or(text.map(str::to_owned));
            }
            declared = true;
        }
        // Where the files say that there is no such token (as Qwen2's of bos), that stands.
        if !declared {
            found.bos = ids.bos.and_then(|id| tokenizer.id_to_token(id));
            found.eos = ids.eos.first().and_then(|&id| tokenizer.id_to_token(id));
        }
        Ok(found)
    }
}

/// `chat_template.jinja`, else the `chat_template` of `tokenizer_config.json`: text, or a list of
/// named ones of which `default` is taken.
fn chat_template(folder: &Path, notices: &mut Vec<String>) -> Result<Option<String>, ModelError> {
    let path = folder.join("chat_template.jinja");
    match std::fs::read_to_string(&path) {
        Ok(text) => return Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(source) => return Err(ModelError::Io { path, source }),
    }
    let Some(keys) = Keys::read_optional(&folder.join("tokenizer_config.json"))? else {
        return Ok(None);
    };
    match keys.get("chat_template") {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Array(list)) => {
            let field =
                |item: &Value, key: &str| item.get(key).and_then(Value::as_str).map(str::to_owned);
            let named: Vec<(String, String)> = list
                .iter()
                .filter_map(|item| Some((field(item, "name")?, field(item, "template")?)))
                .collect();
            let default = named.iter().find(|(name, _)| name == "default");
            if default.is_none() {
                let names: Vec<&str> = named.iter().map(|(name, _)| name.as_str()).collect();
                notices.push(format!(
                    "{}: `chat_template` names {} but no `default`; none is used",
                    keys.path().display(),
                    names.join(", ")
                ));
            }
            Ok(default.map(|(_, template)| template.clone()))
        }
        Some(_) => Err(keys.wrong("chat_template", "must be a string or a list of named ones")),
    }
}

/// The template of a GGUF file: NAME.jinja beside NAME.gguf, else its own, else the
/// chat_template.jinja of its folder, which may be meant for another file there and is told of.
fn template_beside(
    path: &Path,
    embedded: Option<String>,
    notices: &mut Vec<String>,
) -> Result<Option<String>, ModelError> {
    let mut read = |beside: PathBuf| match std::fs::read_to_string(&beside) {
        Ok(text) => {
            notices.push(format!("chat template: {}", beside.display()));
            Ok(Some(text))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ModelError::Io {
            path: beside,
            source,
        }),
    };
    if let Some(own) = read(path.with_extension("jinja"))? {
        return Ok(Some(own));
    }
    match embedded {
        Some(text) => Ok(Some(text)),
        None => read(path.with_file_name("chat_template.jinja")),
    }
}

const WHOLE_BELOW: usize = 1 << 30;
const ENDS: usize = 1 << 20;
const BLOCK: usize = 1 << 16;
const BLOCKS: usize = 256;

fn weights_digest(weights: &Weights) -> String {
    let contents = weights.contents();
    let whole = contents.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() < WHOLE_BELOW;
    let mut parts = digest::Parts::new("weights");
    for (_, bytes) in contents {
        parts = if whole {
            parts.part("file", &**bytes)
        } else {
            sampled(parts, bytes)
        };
        bytes.release(bytes);
    }
    parts.finish()
}

fn sampled(parts: digest::Parts, bytes: &[u8]) -> digest::Parts {
    if bytes.len() <= 2 * ENDS + BLOCKS * BLOCK {
        return parts.part("file", bytes);
    }
    let stride = (bytes.len() - 2 * ENDS) / BLOCKS;
    let blocks = (0..BLOCKS).map(|i| &bytes[ENDS + i * stride..][..BLOCK]);
    let parts = parts
        .part("length", (bytes.len() as u64).to_le_bytes())
        .part("head", &bytes[..ENDS]);
    blocks
        .fold(parts, |parts, block| parts.part("block", block))
        .part("tail", &bytes[bytes.len() - ENDS..])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::gguf_model::sample::{Sample, Value as Written, fixture};
    use super::*;

    /// A copy of a fixture that can be damaged.
    struct Copy(tempfile::TempDir);

    impl Copy {
        fn new(name: &str) -> Copy {
            let folder = tempfile::tempdir().unwrap();
            for entry in std::fs::read_dir(fixture(name)).unwrap() {
                let path = entry.unwrap().path();
                std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
            }
            Copy(folder)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        /// Sets keys of a JSON file, which is made if need be; `null` removes one.
        fn set(&self, name: &str, changes: Value) {
            let text = std::fs::read(self.path(name)).unwrap_or(b"{}".to_vec());
            let mut file: Value = serde_json::from_slice(&text).unwrap();
            for (key, value) in changes.as_object().unwrap() {
                file[key] = value.clone();
            }
            std::fs::write(self.path(name), file.to_string()).unwrap();
        }

        fn open(&self) -> Result<ModelFiles, ModelError> {
            ModelFiles::open(self.0.path())
        }

        fn refused(&self) -> String {
            let text = self.open().err().unwrap().to_string();
            text.replace(&self.0.path().display().to_string(), "[model]")
        }
    }

    #[test]
    fn every_fixture_opens() {
        for name in [
            "tiny-llama",
            "tiny-llama-sharded",
            "tiny-llama3",
            "tiny-qwen2",
            "tiny-qwen3",
        ] {
            let files = ModelFiles::open(&fixture(name)).unwrap();
            // The embedding of tiny-qwen2 is padded to 304 rows.
            assert_eq!(
                files.notices.len(),
                usize::from(name == "tiny-qwen2"),
                "{name}"
            );
            assert_eq!(files.usable_vocab, 300, "{name}");
            assert_eq!(files.eos_token_ids, [2], "{name}");
            assert_eq!(files.eos_token.as_deref(), Some("<|im_end|>"), "{name}");
            assert_eq!(files.bos_token, None, "{name}");
            assert!(files.chat_template.unwrap().contains("im_start"), "{name}");
        }
    }

    #[test]
    fn gguf_says_what_the_folder_says() {
        let folder = tempfile::tempdir().unwrap();
        let mut sample = Sample::new("tiny-llama", "gpt-2");
        sample.set("tokenizer.ggml.eot_token_id", Written::U32(0));
        let files = ModelFiles::open(&sample.write(folder.path())).unwrap();
        assert_eq!(files.notices, [""; 0]);
        assert_eq!(files.usable_vocab, 300);
        assert_eq!(files.eos_token_ids, [0, 2]);
        assert_eq!(files.eos_token.as_deref(), Some("<|im_end|>"));
        assert_eq!(files.chat_template.as_deref(), Some("{{ messages }}"));
    }

    #[test]
    fn chat_template_file_comes_before_the_key_and_default_from_a_list() {
        let copy = Copy::new("tiny-llama");
        let template = || copy.open().unwrap().chat_template;
        let set = |value: Value| copy.set("tokenizer_config.json", json!({"chat_template": value}));
        set(json!("text"));
        assert_eq!(template().as_deref(), Some("text"));
        let tool = json!({"name": "tool_use", "template": "tool"});
        set(json!([tool, {"name": "default", "template": "plain"}]));
        assert_eq!(template().as_deref(), Some("plain"));
        set(json!([tool]));
        assert_eq!(template(), None);
        let notices = copy.open().unwrap().notices;
        assert!(
            notices[0].contains("names tool_use but no `default`"),
            "{notices:?}"
        );
        set(json!(null));
        assert_eq!(template(), None);
        std::fs::write(copy.path("chat_template.jinja"), "file").unwrap();
        set(json!("text"));
        assert_eq!(template().as_deref(), Some("file"));
    }

    #[test]
    fn ends_of_text_come_from_all_three_files() {
        let copy = Copy::new("tiny-llama");
        copy.set("config.json", json!({"eos_token_id": [2, 1]}));
        copy.set(
            "generation_config.json",
            json!({"eos_token_id": 0, "temperature": 0.5}),
        );
        copy.set(
            "tokenizer_config.json",
            json!({"eos_token": {"content": "a"}}),
        );
        let files = copy.open().unwrap();
        let a = files.tokenizer.token_to_id("a").unwrap();
        assert_eq!(files.eos_token_ids, [0, 1, 2, a]);
        assert_eq!(files.eos_token.as_deref(), Some("a"));
        assert_eq!(files.generation.temperature, Some(0.5));
    }

    #[test]
    fn an_end_of_text_that_does_not_exist_is_ignored_with_a_notice() {
        let copy = Copy::new("tiny-llama");
        copy.set("config.json", json!({"eos_token_id": 5000}));
        copy.set("tokenizer_config.json", json!({"eos_token": null}));
        let files = copy.open().unwrap();
        assert_eq!(files.eos_token_ids, [0; 0]);
        let text = files
            .notices
            .join("\n")
            .replace(&copy.0.path().display().to_string(), "[model]");
        insta::assert_snapshot!(text, @"[model]: end-of-text id 5000 is not in the tokenizer and is ignored");
    }

    /// Leaves out the tokens from an id on, with their merges.
    fn keep_tokens(copy: &Copy, count: u64) {
        let text = std::fs::read(copy.path("tokenizer.json")).unwrap();
        let mut file: Value = serde_json::from_slice(&text).unwrap();
        file["model"]["merges"] = json!([]);
        file["model"]["vocab"]
            .as_object_mut()
            .unwrap()
            .retain(|_, id| id.as_u64().unwrap() < count);
        std::fs::write(copy.path("tokenizer.json"), file.to_string()).unwrap();
    }

    #[test]
    fn fewer_tokens_than_rows_is_a_notice_and_a_limit() {
        let copy = Copy::new("tiny-llama");
        keep_tokens(&copy, 290);
        let files = copy.open().unwrap();
        assert_eq!(files.usable_vocab, 290);
        let text = files
            .notices
            .join("\n")
            .replace(&copy.0.path().display().to_string(), "[model]");
        insta::assert_snapshot!(text, @"[model]/tokenizer.json: 290 tokens for an embedding of 300 rows; ids from 290 on are never generated");
    }

    #[test]
    fn more_tokens_than_rows_is_refused() {
        let copy = Copy::new("tiny-llama");
        copy.set("config.json", json!({"vocab_size": 299}));
        insta::assert_snapshot!(copy.refused(), @"[model]/tokenizer.json: token `ãĢ` has id 299, the embedding has 299 rows; tokenizer and weights are of different models, or tokens were added without resizing the embedding");
    }

    #[test]
    fn missing_and_damaged_files_are_named() {
        let mut all = Vec::new();
        for name in ["config.json", "tokenizer.json", "model.safetensors"] {
            let copy = Copy::new("tiny-llama");
            let whole = std::fs::read(copy.path(name)).unwrap();
            std::fs::write(copy.path(name), &whole[..whole.len() / 2]).unwrap();
            all.push(copy.refused());
            std::fs::remove_file(copy.path(name)).unwrap();
            all.push(copy.refused());
        }
        let copy = Copy::new("tiny-llama");
        std::fs::write(copy.path("chat_template.jinja"), b"\xff\xfe").unwrap();
        all.push(copy.refused());
        insta::assert_snapshot!(all.join("\n"), @r#"
        [model]/config.json is not valid JSON: EOF while parsing a string at line 13 column 7; download it again
        [model] is not a model: it has no config.json; give a Hugging Face folder (config.json, tokenizer.json, *.safetensors) or a .gguf file
        [model]/tokenizer.json: the tokenizer cannot be read: EOF while parsing an object at line 231 column 10; download it again
        [model]/tokenizer.json: the tokenizer cannot be read: there is no such file; write it in Python: AutoTokenizer.from_pretrained("model").save_pretrained("model")
        [model]/model.safetensors is damaged: incomplete metadata, file not fully covered (201392 bytes long); copy or download it again
        [model] is not a model: it has no model.safetensors; give a Hugging Face folder (config.json, tokenizer.json, *.safetensors) or a .gguf file
        cannot read [model]/chat_template.jinja: stream did not contain valid UTF-8
        "#);
    }

    #[test]
    fn paths_that_are_no_model_are_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("notes.txt"), "x").unwrap();
        std::fs::write(folder.path().join("bad.gguf"), "x").unwrap();
        std::fs::create_dir(folder.path().join("adapter")).unwrap();
        std::fs::write(folder.path().join("adapter/adapter_config.json"), "{}").unwrap();
        let refused = |name: &str| {
            let text = ModelFiles::open(&folder.path().join(name))
                .err()
                .unwrap()
                .to_string();
            text.replace(&folder.path().display().to_string(), "[folder]")
        };
        let all = ["nothing", "notes.txt", "bad.gguf", "adapter"].map(refused);
        insta::assert_snapshot!(all.join("\n"), @r"
        [folder]/nothing is not a model: there is no such file or folder; give a Hugging Face folder (config.json, tokenizer.json, *.safetensors) or a .gguf file
        [folder]/notes.txt is not a model: it is neither a folder nor a .gguf file; give a Hugging Face folder (config.json, tokenizer.json, *.safetensors) or a .gguf file
        [folder]/bad.gguf is damaged: it does not begin with `GGUF`; copy or download it again
        [folder]/adapter is not a model: it is an adapter, not its base; give a Hugging Face folder (config.json, tokenizer.json, *.safetensors) or a .gguf file
        ");
    }

    #[test]
    fn split_gguf_is_refused_with_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let mut sample = Sample::new("tiny-llama", "gpt-2");
        sample.set("split.count", Written::U16(3));
        let text = ModelFiles::open(&sample.write(folder.path()))
            .err()
            .unwrap()
            .to_string();
        assert!(
            text.contains("split into 3 files is not supported; join them"),
            "{text}"
        );
    }

    #[test]
    fn no_cut_gguf_opens_or_panics() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        let whole = Sample::new("tiny-llama", "gpt-2").bytes();
        for cut in (0..whole.len() - 31).step_by(1499) {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let text = ModelFiles::open(&path).err().unwrap().to_string();
            assert!(text.contains("is damaged"), "cut at {cut}: {text}");
        }
        for at in (0..12_000).step_by(37) {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            std::fs::write(&path, &flipped).unwrap();
            // Many flips leave a readable file with other names or numbers.
            if let Ok(files) = ModelFiles::open(&path) {
                for name in files.weights.names() {
                    let _ = files.weights.get(name, &files.weights.shape(name).unwrap());
                }
            }
        }
    }

    #[test]
    fn digest_follows_the_weights_and_nothing_else() {
        let copy = Copy::new("tiny-llama");
        let first = copy.open().unwrap();
        copy.set("config.json", json!({"note": 1}));
        let renamed = copy.open().unwrap();
        assert_eq!(first.digest, renamed.digest);
        assert_eq!(first.tokenizer_digest, renamed.tokenizer_digest);
        let mut bytes = std::fs::read(copy.path("model.safetensors")).unwrap();
        let last = bytes.len() - 4;
        bytes[last] ^= 1;
        std::fs::write(copy.path("model.safetensors"), bytes).unwrap();
        assert_ne!(first.digest, copy.open().unwrap().digest);
    }

    #[test]
    fn sampled_digest_sees_length_both_ends_and_the_blocks() {
        let digest = |bytes: &[u8]| sampled(digest::Parts::new("weights"), bytes).finish();
        let mut bytes = vec![7u8; 2 * ENDS + BLOCKS * BLOCK * 2];
        let first = digest(&bytes);
        assert_ne!(first, digest(&bytes[1..]));
        let stride = 2 * BLOCK;
        for at in [0, ENDS, ENDS + 255 * stride + BLOCK - 1, bytes.len() - 1] {
            bytes[at] ^= 1;
            assert_ne!(first, digest(&bytes), "{at}");
            bytes[at] ^= 1;
        }
        // Between two blocks nothing is read: that is the price of speed.
        bytes[ENDS + BLOCK] ^= 1;
        assert_eq!(first, digest(&bytes));
    }

    /// The reference ids were made by transformers from the model's own tokenizer.json; see
    /// `fixtures/reference/make_smollm2_expected.py`. Runs when `QEVAL_REAL_MODEL` names the GGUF.
    #[test]
    fn smollm2_ids_equal_those_of_transformers() {
        let Some(path) = std::env::var_os("QEVAL_REAL_MODEL") else {
            println!("skipped: QEVAL_REAL_MODEL does not name SmolLM2's GGUF file");
            return;
        };
        let files = ModelFiles::open(Path::new(&path)).unwrap();
        assert_eq!(files.notices, [""; 0]);
        assert_eq!(
            (files.config.vocab_size, files.config.num_hidden_layers),
            (49_152, 30)
        );
        assert_eq!(files.eos_token.as_deref(), Some("<|im_end|>"));
        let expected = fixture("../expected/smollm2_tokens.json");
        let expected: Value = serde_json::from_slice(&std::fs::read(expected).unwrap()).unwrap();
        let cases = expected["cases"].as_array().unwrap();
        assert!(!cases.is_empty());
        for case in cases {
            let text = case["text"].as_str().unwrap();
            let found = files.tokenizer.encode(text, false).unwrap();
            assert_eq!(json!(found.get_ids()), case["ids"], "{text:?}");
        }
    }
}
