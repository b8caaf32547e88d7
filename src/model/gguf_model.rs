//! What the metadata of a GGUF file says of the model: its configuration.
//!
//! Where Hugging Face's `config.json` has flags, GGUF shows tensors: biases, the norms of queries
//! and keys, a head of its own, and Llama 3's rotary scaling as one factor a frequency
//! (`rope_freqs.weight`).

use super::config::ModelConfig;
use super::gguf::GgufFile;
use super::gguf_header::Value;
use super::json::LARGEST;
use super::{ModelError, RopeScaling};

/// Reads the configuration.
///
/// # Errors
/// As [`ModelConfig::read`]: missing and impossible values, and what the decoder does not compute.
pub(super) fn config(file: &GgufFile) -> Result<ModelConfig, ModelError> {
    let architecture = file
        .text("general.architecture")
        .ok_or_else(|| wrong(file, "general.architecture", "is missing"))?;
    if !matches!(architecture, "llama" | "qwen2" | "qwen3") {
        return Err(unsupported(
            file,
            format!("`general.architecture` = \"{architecture}\""),
            "qeval runs llama, qwen2 and qwen3 decoders",
        ));
    }
    let keys = Section { file, architecture };
    keys.refuse_other_mathematics()?;

    let hidden_size = keys.required_size("embedding_length")?;
    let num_attention_heads = keys.required_size("attention.head_count")?;
    let head_dim = match keys.size("attention.key_length")? {
        Some(dim) => dim,
        None if hidden_size % num_attention_heads == 0 => hidden_size / num_attention_heads,
        None => {
            return Err(keys.wrong("attention.head_count", "does not divide embedding_length"));
        }
    };
    for (key, rule) in [
        ("attention.value_length", "values must be as wide as keys"),
        ("rope.dimension_count", "the rotary embedding must cover the whole head"),
    ] {
        if let Some(other) = keys.size(key)?.filter(|n| *n != head_dim) {
            return Err(unsupported(file, format!("`{architecture}.{key}` = {other}"), rule));
        }
    }
    let embedding = "model.embed_tokens.weight";
    let vocab_size = match file.shape(embedding) {
        Some(&[rows, width]) if rows > 0 && width == hidden_size => rows,
        Some(other) => {
            return Err(ModelError::Shape {
                path: file.path().to_path_buf(),
                name: embedding.to_owned(),
                found: other.to_vec(),
                expected: vec![keys.size("vocab_size")?.unwrap_or(other[0]), hidden_size],
            });
        }
        None => return Err(wrong(file, "token_embd.weight", "is missing")),
    };
    let has = |name: &str| file.shape(&format!("model.layers.0.{name}")).is_some();
    let config = ModelConfig {
        model_type: architecture.to_owned(),
        hidden_size,
        intermediate_size: keys.required_size("feed_forward_length")?,
        num_hidden_layers: keys.required_size("block_count")?,
        num_attention_heads,
        num_key_value_heads: keys
            .size("attention.head_count_kv")?
            .unwrap_or(num_attention_heads),
        head_dim,
        rms_norm_eps: keys.positive("attention.layer_norm_rms_epsilon")?.ok_or_else(|| {
            keys.wrong("attention.layer_norm_rms_epsilon", "is missing")
        })?,
        rope_theta: keys.positive("rope.freq_base")?.unwrap_or(10_000.0),
        rope_scaling: keys.rope_scaling()?,
        vocab_size,
        max_position_embeddings: keys.required_size("context_length")?,
        tie_word_embeddings: file.shape("lm_head.weight").is_none(),
        qkv_bias: has("self_attn.q_proj.bias"),
        o_bias: has("self_attn.o_proj.bias"),
        mlp_bias: has("mlp.gate_proj.bias"),
        qk_norm: has("self_attn.q_norm.weight"),
    };
    config.check(|key, problem| wrong(file, key, problem))?;
    Ok(config)
}

fn wrong(file: &GgufFile, key: &str, problem: impl Into<String>) -> ModelError {
    ModelError::Key {
        path: file.path().to_path_buf(),
        key: key.to_owned(),
        problem: problem.into(),
    }
}

fn unsupported(file: &GgufFile, what: String, rule: &str) -> ModelError {
    ModelError::Unsupported { path: file.path().to_path_buf(), what, rule: rule.to_owned() }
}

/// The keys that begin with the architecture's name.
struct Section<'a> {
    file: &'a GgufFile,
    architecture: &'a str,
}

impl Section<'_> {
    fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    fn wrong(&self, key: &str, problem: impl Into<String>) -> ModelError {
        wrong(self.file, &self.key(key), problem)
    }

    fn size(&self, key: &str) -> Result<Option<usize>, ModelError> {
        match self.file.value(&self.key(key)) {
            None => Ok(None),
            Some(Value::Int(n)) if (1..=i128::from(LARGEST)).contains(n) => Ok(Some(*n as usize)),
            Some(Value::Ints(_)) => Err(unsupported(
                self.file,
                format!("`{}` as a list, one a layer,", self.key(key)),
                "all layers must be alike",
            )),
            Some(other) => Err(self
                .wrong(key, format!("is {other}; it must be a whole number of at least 1"))),
        }
    }

    fn required_size(&self, key: &str) -> Result<usize, ModelError> {
        self.size(key)?.ok_or_else(|| self.wrong(key, "is missing"))
    }

    fn positive(&self, key: &str) -> Result<Option<f64>, ModelError> {
        let name = self.key(key);
        match self.file.float(&name) {
            Some(x) if x.is_finite() && x > 0.0 => Ok(Some(x)),
            Some(x) => Err(self.wrong(key, format!("is {x}; it must be above 0"))),
            None if self.file.value(&name).is_some() => Err(self.wrong(key, "must be a number")),
            None => Ok(None),
        }
    }

    fn refuse_other_mathematics(&self) -> Result<(), ModelError> {
        for (key, rule) in [
            ("expert_count", "qeval runs dense decoders, no mixtures of experts"),
            ("attention.sliding_window", "attention must see the whole context in every layer"),
        ] {
            let name = self.key(key);
            if let Some(n) = self.file.int(&name).filter(|n| *n > 0) {
                return Err(unsupported(self.file, format!("`{name}` = {n}"), rule));
            }
        }
        Ok(())
    }

    fn rope_scaling(&self) -> Result<Option<RopeScaling>, ModelError> {
        let linear = |factor: Option<f64>| {
            factor.filter(|f| *f != 1.0).map(|factor| RopeScaling::Linear { factor })
        };
        let kind = self.key("rope.scaling.type");
        let scaling = match self.file.text(&kind) {
            None => linear(self.positive("rope.scale_linear")?),
            Some("none") => None,
            Some("linear") => linear(self.positive("rope.scaling.factor")?),
            Some(other) => {
                return Err(unsupported(
                    self.file,
                    format!("`{kind}` = \"{other}\""),
                    "qeval computes `none`, `linear` and Llama 3's rope_freqs.weight",
                ));
            }
        };
        let name = "rope_freqs.weight";
        match (self.file.shape(name).is_some(), scaling) {
            (false, scaling) => Ok(scaling),
            (true, None) => {
                Ok(Some(RopeScaling::PerFrequency { factors: self.file.get(name)? }))
            }
            (true, Some(_)) => Err(unsupported(
                self.file,
                format!("`{kind}` = \"linear\" together with tensor `{name}`"),
                "one kind of rotary scaling at a time",
            )),
        }
    }
}
