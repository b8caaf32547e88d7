//! A path on disk to everything that a model consists of: configuration, weights, tokenizer, chat
//! template, special tokens, sampling defaults, digest.
//!
//! A Hugging Face folder or one GGUF file. Nothing large is decoded here; see [`Weights`].

use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};
use tokenizers::Tokenizer;

use super::config::ConfigTokens;
use super::gguf::GgufFile;
use super::json::Keys;
use super::{GenerationDefaults, ModelConfig, ModelError, Weights, gguf_model, gguf_tokenizer};

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
}

impl Parts {
    fn from_folder(folder: &Path) -> Result<Parts, ModelError> {
        let config_path = folder.join("config.json");
        let Some(keys) = Keys::read_optional(&config_path)? else {
            return Err(ModelError::NotAModel {
                path: folder.to_path_buf(),
                problem: if folder.join("adapter_config.json").exists() {
                    "it is an adapter; give the base model's folder".to_owned()
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
            return Err(ModelError::Tokenizer { path: tokenizer_path, problem: e.to_string() });
        }
        let mut notices = Vec::new();
        let special = SpecialTokens::read(folder, &tokenizer, &tokens)?;
        let chat_template = chat_template(folder, &mut notices)?;
        let mut eos_token_ids = [&generation.eos_token_ids[..], &tokens.eos].concat();
        eos_token_ids.extend(special.eos.as_deref().and_then(|eos| tokenizer.token_to_id(eos)));
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
        let eos = file.int("tokenizer.ggml.eos_token_id").and_then(|id| u32::try_from(id).ok());
        let canonical = found.tokenizer.to_string(false).unwrap_or_default();
        Ok(Parts {
            config,
            chat_template: file.text("tokenizer.chat_template").map(str::to_owned),
            bos_token: text(found.bos),
            eos_token: text(eos),
            eos_token_ids: found.eos,
            generation: GenerationDefaults::default(),
            notices: found.notices,
            tokenizer_path: path.to_path_buf(),
            tokenizer_digest: hex(Sha256::digest(canonical)),
            tokenizer: found.tokenizer,
            weights: Weights::from_gguf(file),
        })
    }

    /// Holds tokenizer, configuration and weights against each other.
    fn fit(self, path: &Path) -> Result<ModelFiles, ModelError> {
        let mut notices = self.notices;
        let vocab_size = self.config.vocab_size;
        let highest = self.tokenizer.get_vocab(true).into_iter().max_by_key(|(_, id)| *id);
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
        if eos_token_ids.is_empty() {
            notices.push(format!(
                "{}: no token ends an answer; every answer runs to max_new_tokens",
                path.display()
            ));
        }
        Ok(ModelFiles {
            path: path.to_path_buf(),
            digest: digest(&self.weights),
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
        })
    }
}

fn read_tokenizer(path: &Path) -> Result<(Tokenizer, String), ModelError> {
    let wrong = |problem: String| ModelError::Tokenizer { path: path.to_path_buf(), problem };
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(wrong(
                "there is no such file; write it in Python: \
                 AutoTokenizer.from_pretrained(\"model\").save_pretrained(\"model\")"
                    .to_owned(),
            ));
        }
        Err(source) => return Err(ModelError::Io { path: path.to_path_buf(), source }),
    };
    let tokenizer = Tokenizer::from_bytes(&bytes)
        .map_err(|e| wrong(format!("{e}; download it again")))?;
    Ok((tokenizer, hex(Sha256::digest(&bytes))))
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
        let mut found = SpecialTokens { bos: None, eos: None };
        let mut declared = false;
        for name in ["tokenizer_config.json", "special_tokens_map.json"] {
            let Some(keys) = Keys::read_optional(&folder.join(name))? else { continue };
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
            let field = |item: &Value, key: &str| {
                item.get(key).and_then(Value::as_str).map(str::to_owned)
            };
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

const WHOLE_BELOW: usize = 1 << 30;
const ENDS: usize = 1 << 20;
const BLOCK: usize = 1 << 16;
const BLOCKS: usize = 256;

fn digest(weights: &Weights) -> String {
    let contents = weights.contents();
    let total: usize = contents.iter().map(|(_, bytes)| bytes.len()).sum();
    let mut hash = Sha256::new();
    for (_, bytes) in contents {
        hash.update((bytes.len() as u64).to_le_bytes());
        if total < WHOLE_BELOW {
            hash.update(bytes);
        } else {
            update_sampled(&mut hash, bytes);
        }
    }
    hex(hash.finalize())
}

fn update_sampled(hash: &mut Sha256, bytes: &[u8]) {
    if bytes.len() <= 2 * ENDS + BLOCKS * BLOCK {
        hash.update(bytes);
        return;
    }
    let inner = bytes.len() - 2 * ENDS - BLOCK;
    hash.update(&bytes[..ENDS]);
    for i in 0..BLOCKS {
        let start = ENDS + inner / BLOCKS * i;
        hash.update(&bytes[start..start + BLOCK]);
    }
    hash.update(&bytes[bytes.len() - ENDS..]);
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    use std::fmt::Write;
    bytes.as_ref().iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
