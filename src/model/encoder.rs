//! The sentence encoder all-MiniLM-L6-v2, or any BERT that pools by the mean or by its first
//! token: a text to a direction.
//!
//! Reimers and Gurevych, 2019, Sentence-BERT (arXiv:1908.10084): the embedding is the mean of the
//! last layer's rows over the text's tokens, or the row of `[CLS]` where the model's
//! `1_Pooling/config.json` says so (the bge models), brought to unit length, so that a dot product
//! is a cosine. Texts are run one at a time: there is no padding to mask, and an embedding does not
//! depend on what it was asked for with.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use tokenizers::{Tokenizer, TruncationParams};

use super::ModelError;

/// Longest text in tokens, `[CLS]` and `[SEP]` among them; the rest is cut off. The length that
/// all-MiniLM-L6-v2 was trained for.
const MAX_TOKENS: usize = 256;

/// A loaded sentence encoder.
pub struct SentenceEncoder {
    weights: PathBuf,
    model: BertModel,
    tokenizer: Tokenizer,
    /// The first row is the embedding, not the mean of all.
    first_row: bool,
}

/// The key of `1_Pooling/config.json` that asks for the first row.
const FIRST_ROW: &str = "pooling_mode_cls_token";
/// The key that asks for the mean, the default.
const MEAN_ROW: &str = "pooling_mode_mean_tokens";

impl SentenceEncoder {
    /// Loads `config.json`, `tokenizer.json`, and `model.safetensors` of a folder, in F32 on the
    /// CPU.
    ///
    /// # Errors
    /// A file is missing or damaged, or they do not belong together.
    pub fn load(folder: &Path) -> Result<Self, ModelError> {
        let read = |name: &str| {
            let path = folder.join(name);
            let bytes = std::fs::read(&path);
            match bytes {
                Ok(bytes) => Ok((path, bytes)),
                Err(source) => Err(ModelError::Io { path, source }),
            }
        };
        let (path, bytes) = read("config.json")?;
        let config: Config = serde_json::from_slice(&bytes).map_err(|source| ModelError::Json {
            path: path.clone(),
            source,
        })?;
        if config.num_attention_heads == 0
            || !config
                .hidden_size
                .is_multiple_of(config.num_attention_heads)
        {
            return Err(ModelError::Key {
                path,
                key: "num_attention_heads".into(),
                problem: format!("does not divide hidden_size, {}", config.hidden_size),
            });
        }

        let (path, bytes) = read("tokenizer.json")?;
        let tokenizer_error = |problem: String| ModelError::Tokenizer {
            path: path.clone(),
            problem,
        };
        let mut tokenizer = super::tokenizer_file::parse(&bytes).map_err(tokenizer_error)?;
        let max_length = MAX_TOKENS.min(config.max_position_embeddings);
        tokenizer
            .with_truncation(Some(TruncationParams {
                max_length,
                ..TruncationParams::default()
            }))
            .map_err(|error| tokenizer_error(error.to_string()))?;
        tokenizer.with_padding(None);
        let tokens = tokenizer.get_vocab_size(true);
        if tokens > config.vocab_size {
            let rows = config.vocab_size;
            let problem = format!("it has {tokens} tokens, the embedding {rows} rows");
            return Err(tokenizer_error(problem));
        }

        let (weights, bytes) = read("model.safetensors")?;
        let model = VarBuilder::from_buffered_safetensors(bytes, DType::F32, &Device::Cpu)
            .and_then(|tensors| BertModel::load(tensors, &config))
            .map_err(|error| ModelError::Corrupt {
                path: weights.clone(),
                problem: error.to_string(),
            })?;
        Ok(SentenceEncoder {
            weights,
            model,
            tokenizer,
            first_row: pools_first_row(folder)?,
        })
    }

    /// One embedding of unit length a text, in the order of the texts. About 20 ms a sentence on
    /// two cores.
    ///
    /// # Errors
    /// The tokenizer refuses a text, or the weights yield something that is no direction.
    pub fn embed(&self, texts: &[&str]) -> Result<Vec<Arc<[f32]>>, ModelError> {
        texts.iter().map(|text| self.embed_one(text)).collect()
    }

    fn embed_one(&self, text: &str) -> Result<Arc<[f32]>, ModelError> {
        let encoded = self
            .tokenizer
            .encode(text, true)
            .map_err(|error| ModelError::Tokenizer {
                path: self.weights.with_file_name("tokenizer.json"),
                problem: error.to_string(),
            })?;
        let damaged = |problem: String| ModelError::Corrupt {
            path: self.weights.clone(),
            problem,
        };
        let mean = self
            .pooled_row(encoded.get_ids())
            .map_err(|error| damaged(error.to_string()))?;
        // F64: the length of 384 squares should not cost the last digits of a cosine.
        let length = mean
            .iter()
            .map(|&x| f64::from(x).powi(2))
            .sum::<f64>()
            .sqrt();
        if !length.is_finite() || length == 0.0 {
            return Err(damaged(format!("an embedding has the length {length}")));
        }
        Ok(mean
            .iter()
            .map(|&x| (f64::from(x) / length) as f32)
            .collect())
    }

    /// The pooled row of the last layer; zeros for a text without tokens.
    fn pooled_row(&self, ids: &[u32]) -> candle_core::Result<Vec<f32>> {
        let ids = Tensor::new(ids, &Device::Cpu)?.unsqueeze(0)?; // [1, tokens]
        let kinds = ids.zeros_like()?;
        let rows = self.model.forward(&ids, &kinds, None)?; // [1, tokens, hidden]
        let rows = rows.squeeze(0)?; // [tokens, hidden]
        match self.first_row {
            true => rows.get(0)?.to_vec1(),
            false => rows.mean(0)?.to_vec1(),
        }
    }
}

/// How a folder's encoder pools; another way than the two known is refused, since it would give
/// other directions without an error.
fn pools_first_row(folder: &Path) -> Result<bool, ModelError> {
    let path = folder.join("1_Pooling/config.json");
    let Ok(bytes) = std::fs::read(&path) else {
        return Ok(false);
    };
    let config: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&bytes)
        .map_err(|source| ModelError::Json {
            path: path.clone(),
            source,
        })?;
    let set: Vec<&str> = config
        .iter()
        .filter(|(key, value)| key.starts_with("pooling_mode_") && **value == true)
        .map(|(key, _)| key.as_str())
        .collect();
    match set.as_slice() {
        [] | [MEAN_ROW] => Ok(false),
        [FIRST_ROW] => Ok(true),
        other => Err(ModelError::Key {
            path,
            key: other.join(", "),
            problem: format!("is not supported; `{MEAN_ROW}` and `{FIRST_ROW}` are"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Runs with the encoder's folder in this variable, and says so otherwise: the files are too
    /// large to be part of the project.
    const FOLDER: &str = "QEVAL_REAL_ENCODER";

    fn real() -> Option<SentenceEncoder> {
        let Some(folder) = std::env::var_os(FOLDER) else {
            eprintln!("skipped: {FOLDER} names no folder");
            return None;
        };
        Some(SentenceEncoder::load(Path::new(&folder)).unwrap())
    }

    fn cosine(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    /// A BERT of two layers and eight numbers a row, with a tokenizer of eight words.
    fn tiny(folder: &Path, change: impl Fn(&mut serde_json::Value)) {
        let mut config = serde_json::json!({
            "vocab_size": 8, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
            "intermediate_size": 16, "hidden_act": "gelu", "hidden_dropout_prob": 0.1,
            "max_position_embeddings": 16, "type_vocab_size": 2, "initializer_range": 0.02,
            "layer_norm_eps": 1e-12, "pad_token_id": 0
        });
        change(&mut config);
        std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
        let words = [
            "[UNK]", "red", "green", "blue", "is", "a", "colour", "number",
        ];
        let vocab: HashMap<&str, usize> = words.iter().enumerate().map(|(i, w)| (*w, i)).collect();
        let tokenizer = serde_json::json!({
            "version": "1.0", "added_tokens": [], "normalizer": null, "post_processor": null,
            "decoder": null, "truncation": null,
            "padding": {"strategy": {"Fixed": 12}, "direction": "Right", "pad_to_multiple_of": null,
                "pad_id": 0, "pad_type_id": 0, "pad_token": "[UNK]"},
            "pre_tokenizer": {"type": "Whitespace"},
            "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]"}
        });
        std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
        let mut state = 1u64;
        let mut tensor = |shape: &[usize]| {
            let count: usize = shape.iter().product();
            let values: Vec<f32> = (0..count)
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1);
                    (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
                })
                .collect();
            Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
        };
        let mut tensors = HashMap::new();
        let mut add = |name: String, shape: &[usize]| {
            tensors.insert(name, tensor(shape));
        };
        for (name, rows) in [("word", 8), ("position", 16), ("token_type", 2)] {
            add(format!("embeddings.{name}_embeddings.weight"), &[rows, 8]);
        }
        let mut norms = vec!["embeddings.LayerNorm".to_owned()];
        for layer in 0..2 {
            let at = |name: &str| format!("encoder.layer.{layer}.{name}");
            for (name, to, from) in [
                ("attention.self.query", 8, 8),
                ("attention.self.key", 8, 8),
                ("attention.self.value", 8, 8),
                ("attention.output.dense", 8, 8),
                ("intermediate.dense", 16, 8),
                ("output.dense", 8, 16),
            ] {
                add(format!("{}.weight", at(name)), &[to, from]);
                add(format!("{}.bias", at(name)), &[to]);
            }
            norms.extend([at("attention.output.LayerNorm"), at("output.LayerNorm")]);
        }
        for norm in norms {
            add(format!("{norm}.weight"), &[8]);
            add(format!("{norm}.bias"), &[8]);
        }
        candle_core::safetensors::save(&tensors, folder.join("model.safetensors")).unwrap();
    }

    fn tiny_encoder() -> (tempfile::TempDir, SentenceEncoder) {
        let folder = tempfile::tempdir().unwrap();
        tiny(folder.path(), |_| {});
        let encoder = SentenceEncoder::load(folder.path()).unwrap();
        (folder, encoder)
    }

    #[test]
    fn embeddings_have_unit_length() {
        let (_folder, encoder) = tiny_encoder();
        for embedding in encoder.embed(&["red", "red is a colour", "?"]).unwrap() {
            assert_eq!(embedding.len(), 8);
            assert!((cosine(&embedding, &embedding) - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn batch_equals_single_bit_for_bit() {
        let (_folder, encoder) = tiny_encoder();
        let texts = [
            "red",
            "green is a colour",
            "blue is a number",
            "red",
            "a a a a a a a a",
        ];
        let together = encoder.embed(&texts).unwrap();
        for (text, embedding) in texts.iter().zip(&together) {
            assert_eq!(encoder.embed(&[text]).unwrap()[0], *embedding, "{text}");
        }
        assert_eq!(together[0], together[3]);
        assert_ne!(together[0], together[1]);
    }

    #[test]
    fn what_is_beyond_the_positions_is_cut_off() {
        let (_folder, encoder) = tiny_encoder();
        let long = "red ".repeat(100_000);
        let same = "red ".repeat(16);
        assert_eq!(
            encoder.embed(&[&long]).unwrap(),
            encoder.embed(&[&same]).unwrap()
        );
    }

    #[test]
    fn an_empty_text_is_an_error_where_the_tokenizer_adds_nothing() {
        let (_folder, encoder) = tiny_encoder();
        assert!(encoder.embed(&[""]).is_err());
        assert!(encoder.embed(&[]).unwrap().is_empty());
    }

    #[test]
    fn damaged_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let load = || match SentenceEncoder::load(folder.path()) {
            Ok(_) => "loaded".to_owned(),
            Err(error) => error.to_string(),
        };
        assert!(load().contains("config.json"), "{}", load());
        tiny(folder.path(), |_| {});
        assert_eq!(load(), "loaded");
        tiny(folder.path(), |config| {
            config["num_attention_heads"] = 3.into()
        });
        assert!(load().contains("num_attention_heads"), "{}", load());
        tiny(folder.path(), |config| {
            config["num_attention_heads"] = 0.into()
        });
        assert!(load().contains("num_attention_heads"), "{}", load());
        tiny(folder.path(), |config| config["vocab_size"] = 4.into());
        assert!(load().contains("8 tokens"), "{}", load());
        tiny(folder.path(), |config| config["hidden_size"] = 16.into());
        assert!(load().contains("model.safetensors"), "{}", load());
        tiny(folder.path(), |config| {
            config["hidden_act"] = "swish".into()
        });
        assert!(load().contains("config.json"), "{}", load());
        tiny(folder.path(), |_| {});
        let path = folder.path().join("model.safetensors");
        let whole = std::fs::read(&path).unwrap();
        for length in [0, 4, 100, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(load().contains("model.safetensors"), "{length}: {}", load());
        }
        std::fs::write(folder.path().join("tokenizer.json"), "{").unwrap();
        assert!(load().contains("tokenizer.json"), "{}", load());
    }

    // fixtures/reference/encoder_ref.py, transformers 5.23.0, torch 2.15.0, F32.
    #[test]
    fn real_embeddings_agree_with_transformers() {
        let Some(encoder) = real() else { return };
        let reference: serde_json::Value =
            serde_json::from_str(include_str!("../../fixtures/reference/encoder_ref.json"))
                .unwrap();
        for row in reference["embeddings"].as_array().unwrap() {
            let text = row["text"].as_str().unwrap();
            let text = text.repeat(row["repeat"].as_u64().unwrap() as usize);
            let expected: Vec<f32> = row["embedding"]
                .as_array()
                .unwrap()
                .iter()
                .map(|x| x.as_f64().unwrap() as f32)
                .collect();
            let found = encoder.embed(&[&text]).unwrap().remove(0);
            let worst = found
                .iter()
                .zip(&expected)
                .map(|(a, b)| (a - b).abs())
                .fold(0., f32::max);
            assert!(worst < 2e-6, "{text}: {worst}");
        }
    }

    #[test]
    fn real_meanings_are_told_apart() {
        let Some(encoder) = real() else { return };
        let texts = [
            "Recursion is when a function calls itself on a smaller problem until it reaches a base case.",
            "A recursive function solves a task by calling itself with simpler input, stopping at a base case.",
            "Recursion is a loop that never ends.",
            "I am Aurora, an assistant developed by Northwind Labs.",
        ];
        let found = encoder.embed(&texts).unwrap();
        let likeness: Vec<f32> = (1..4).map(|i| cosine(&found[0], &found[i])).collect();
        assert!(
            likeness[0] > likeness[1] && likeness[1] > likeness[2],
            "{likeness:?}"
        );
        assert!(likeness[2].abs() < 0.2, "{likeness:?}");
    }
}
