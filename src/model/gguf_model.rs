//! What the metadata of a GGUF file says of the model: its configuration.
//!
//! Where Hugging Face's `config.json` has flags, GGUF shows tensors: biases, the norms of queries
//! and keys, a head of its own, and Llama 3's rotary scaling as one factor a frequency
//! (`rope_freqs.weight`).

use super::architecture::Architecture;
use super::config::ModelConfig;
use super::gguf::GgufFile;
use super::gguf_header::Value;
use super::json::LARGEST;
use super::{ModelError, RopeScaling, Window};

/// Reads the configuration.
///
/// # Errors
/// As [`ModelConfig::read`]: missing and impossible values, and what the decoder does not compute.
pub(super) fn config(file: &GgufFile) -> Result<ModelConfig, ModelError> {
    let name = file
        .text("general.architecture")
        .ok_or_else(|| wrong(file, "general.architecture", "is missing"))?;
    let architecture = Architecture::named(name).ok_or_else(|| {
        let found = format!("`general.architecture` = \"{name}\"");
        unsupported(file, found, &Architecture::rule())
    })?;
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
        (
            "rope.dimension_count",
            "the rotary embedding must cover the whole head",
        ),
    ] {
        if let Some(other) = keys.size(key)?.filter(|n| *n != head_dim) {
            return Err(unsupported(
                file,
                format!("`{architecture}.{key}` = {other}"),
                rule,
            ));
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
    let num_hidden_layers = keys.required_size("block_count")?;
    let config = ModelConfig {
        architecture,
        hidden_size,
        intermediate_size: keys.required_size("feed_forward_length")?,
        num_hidden_layers,
        num_attention_heads,
        num_key_value_heads: keys
            .size("attention.head_count_kv")?
            .unwrap_or(num_attention_heads),
        head_dim,
        rms_norm_eps: keys
            .positive("attention.layer_norm_rms_epsilon")?
            .ok_or_else(|| keys.wrong("attention.layer_norm_rms_epsilon", "is missing"))?,
        rope_theta: keys
            .positive("rope.freq_base")?
            .unwrap_or(architecture.rope_theta()),
        rope_scaling: keys.rope_scaling()?,
        vocab_size,
        max_position_embeddings: keys.required_size("context_length")?,
        tie_word_embeddings: file.shape("lm_head.weight").is_none(),
        qkv_bias: has("self_attn.q_proj.bias"),
        o_bias: has("self_attn.o_proj.bias"),
        mlp_bias: has("mlp.gate_proj.bias"),
        qk_norm: has("self_attn.q_norm.weight"),
        // The converter adds the 1.
        norms_less_one: false,
        branch_norms: architecture.is_gemma(),
        embedding_scale: architecture.embedding_scale(hidden_size),
        // The file does not say it; llama.cpp knows the only Gemma 3 that has another, of 27 billion
        // parameters, by its number of layers.
        query_pre_attn_scalar: match architecture.is_gemma() && num_hidden_layers == 62 {
            true => hidden_size as f64 / num_attention_heads as f64,
            false => head_dim as f64,
        },
        activation: architecture.activation(),
        window: keys.window(num_hidden_layers)?,
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
    ModelError::Unsupported {
        path: file.path().to_path_buf(),
        what,
        rule: rule.to_owned(),
    }
}

/// The keys that begin with the architecture's name.
struct Section<'a> {
    file: &'a GgufFile,
    architecture: Architecture,
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
            Some(other) => Err(self.wrong(
                key,
                format!("is {other}; it must be a whole number from 1 to {LARGEST}"),
            )),
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

    /// Gemma's window. Most files leave out which layers have it, and all the base of their rotary
    /// embedding's frequencies: then both are what the architecture has.
    fn window(&self, num_hidden_layers: usize) -> Result<Option<Window>, ModelError> {
        if !self.architecture.is_gemma() {
            return Ok(None);
        }
        let Some(size) = self.size("attention.sliding_window")? else {
            return Ok(None);
        };
        let every = self.size("attention.sliding_window_pattern")?;
        Ok(Some(Window {
            size,
            layers: Window::all_but_every(every.unwrap_or(6), num_hidden_layers),
            rope_theta: Some(self.positive("rope.freq_base_swa")?.unwrap_or(10_000.0)),
        }))
    }

    fn refuse_other_mathematics(&self) -> Result<(), ModelError> {
        for (key, rule) in [
            (
                "expert_count",
                "qeval runs dense decoders, no mixtures of experts",
            ),
            (
                "attention.sliding_window",
                "attention must see the whole context in every layer",
            ),
        ] {
            let name = self.key(key);
            if key == "attention.sliding_window" && self.architecture.is_gemma() {
                continue;
            }
            if let Some(n) = self.file.int(&name).filter(|n| *n > 0) {
                return Err(unsupported(self.file, format!("`{name}` = {n}"), rule));
            }
        }
        Ok(())
    }

    fn rope_scaling(&self) -> Result<Option<RopeScaling>, ModelError> {
        let linear = |factor: Option<f64>| {
            factor
                .filter(|f| *f != 1.0)
                .map(|factor| RopeScaling::Linear { factor })
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
            (true, None) => Ok(Some(RopeScaling::PerFrequency {
                factors: self.file.get(name)?,
            })),
            (true, Some(_)) => Err(unsupported(
                self.file,
                format!("`{kind}` = \"linear\" together with tensor `{name}`"),
                "one kind of rotary scaling at a time",
            )),
        }
    }
}

/// Fixtures written as GGUF, by candle's writer, the way llama.cpp's converter names and permutes.
#[cfg(test)]
pub(super) mod sample {
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    pub use candle_core::quantized::gguf_file::Value;
    use candle_core::quantized::{GgmlDType, QTensor, gguf_file};
    use candle_core::{Device, Tensor};

    use crate::model::{ModelConfig, Weights};

    /// A GGUF file in the making; change it, then write it.
    pub struct Sample {
        pub metadata: BTreeMap<String, Value>,
        pub tensors: BTreeMap<String, QTensor>,
    }

    pub fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fixtures/models")
            .join(name)
    }

    fn texts(list: impl IntoIterator<Item = String>) -> Value {
        Value::Array(list.into_iter().map(Value::String).collect())
    }

    pub fn quantized(values: Vec<f32>, shape: &[usize], dtype: GgmlDType) -> QTensor {
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
        QTensor::quantize(&tensor, dtype).unwrap()
    }

    impl Sample {
        /// A fixture's weights in F32, its tokenizer with the given `tokenizer.ggml.pre`.
        pub fn new(name: &str, pre: &str) -> Sample {
            let config = ModelConfig::read(&fixture(name).join("config.json")).unwrap();
            let arch = config.architecture.name().to_owned();
            let key = |key: &str| format!("{arch}.{key}");
            let int = |n: usize| Value::U32(n as u32);
            let mut metadata = BTreeMap::from([
                (
                    "general.architecture".to_owned(),
                    Value::String(arch.clone()),
                ),
                (key("block_count"), int(config.num_hidden_layers)),
                (key("context_length"), int(config.max_position_embeddings)),
                (key("embedding_length"), int(config.hidden_size)),
                (key("feed_forward_length"), int(config.intermediate_size)),
                (key("attention.head_count"), int(config.num_attention_heads)),
                (
                    key("attention.head_count_kv"),
                    int(config.num_key_value_heads),
                ),
                (key("attention.key_length"), int(config.head_dim)),
                (
                    key("attention.layer_norm_rms_epsilon"),
                    Value::F32(config.rms_norm_eps as f32),
                ),
                (key("rope.freq_base"), Value::F32(config.rope_theta as f32)),
                (key("rope.dimension_count"), int(config.head_dim)),
            ]);
            tokenizer(&fixture(name), pre, &mut metadata);
            let tensors = tensors(&fixture(name), &config);
            Sample { metadata, tensors }
        }

        /// Takes another fixture's tokenizer.
        pub fn set_tokenizer(&mut self, name: &str, pre: &str) {
            tokenizer(&fixture(name), pre, &mut self.metadata);
        }

        pub fn set(&mut self, key: &str, value: Value) {
            self.metadata.insert(key.to_owned(), value);
        }

        pub fn edit_tokens(&mut self, edit: impl FnOnce(&mut Vec<String>)) {
            let key = "tokenizer.ggml.tokens";
            let list = self.metadata[key].to_vec().unwrap();
            let mut tokens = list
                .iter()
                .map(|t| t.to_string().unwrap().clone())
                .collect();
            edit(&mut tokens);
            self.set(key, texts(tokens));
        }

        pub fn bytes(&self) -> Vec<u8> {
            let mut file = std::io::Cursor::new(Vec::new());
            let metadata: Vec<_> = self.metadata.iter().map(|(k, v)| (k.as_str(), v)).collect();
            let tensors: Vec<_> = self.tensors.iter().map(|(k, v)| (k.as_str(), v)).collect();
            gguf_file::write(&mut file, &metadata, &tensors).unwrap();
            file.into_inner()
        }

        /// Writes `model.gguf` into a folder.
        pub fn write(&self, folder: &Path) -> PathBuf {
            let path = folder.join("model.gguf");
            std::fs::write(&path, self.bytes()).unwrap();
            path
        }
    }

    fn tokenizer(folder: &Path, pre: &str, metadata: &mut BTreeMap<String, Value>) {
        let text = std::fs::read(folder.join("tokenizer.json")).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let vocab = json["model"]["vocab"].as_object().unwrap();
        let mut tokens: Vec<(u64, String)> = vocab
            .iter()
            .map(|(token, id)| (id.as_u64().unwrap(), token.clone()))
            .collect();
        let added = json["added_tokens"].as_array().unwrap();
        let special: Vec<u64> = added.iter().map(|t| t["id"].as_u64().unwrap()).collect();
        for token in added {
            let (id, text) = (
                token["id"].as_u64().unwrap(),
                token["content"].as_str().unwrap(),
            );
            if !vocab.contains_key(text) {
                tokens.push((id, text.to_owned()));
            }
        }
        tokens.sort();
        let kinds = tokens
            .iter()
            .map(|(id, _)| Value::I32(if special.contains(id) { 3 } else { 1 }));
        let merges = json["model"]["merges"]
            .as_array()
            .unwrap()
            .iter()
            .map(|merge| match merge {
                serde_json::Value::String(text) => text.clone(),
                pair => format!(
                    "{} {}",
                    pair[0].as_str().unwrap(),
                    pair[1].as_str().unwrap()
                ),
            });
        let mut set = |key: &str, value: Value| metadata.insert(format!("tokenizer.{key}"), value);
        set("ggml.model", Value::String("gpt2".into()));
        set("ggml.pre", Value::String(pre.into()));
        set("ggml.token_type", Value::Array(kinds.collect()));
        set("ggml.merges", texts(merges));
        set(
            "ggml.tokens",
            texts(tokens.into_iter().map(|(_, token)| token)),
        );
        set("ggml.eos_token_id", Value::U32(2));
        set("chat_template", Value::String("{{ messages }}".into()));
    }

    fn tensors(folder: &Path, config: &ModelConfig) -> BTreeMap<String, QTensor> {
        let weights = Weights::open_folder(folder).unwrap();
        let renamed = |name: &str| {
            [
                ("model.embed_tokens", "token_embd"),
                ("model.norm", "output_norm"),
                ("lm_head", "output"),
                ("model.layers.", "blk."),
                ("self_attn.q_proj", "attn_q"),
                ("self_attn.k_proj", "attn_k"),
                ("self_attn.v_proj", "attn_v"),
                ("self_attn.o_proj", "attn_output"),
                ("self_attn.q_norm", "attn_q_norm"),
                ("self_attn.k_norm", "attn_k_norm"),
                ("mlp.gate_proj", "ffn_gate"),
                ("mlp.up_proj", "ffn_up"),
                ("mlp.down_proj", "ffn_down"),
                ("input_layernorm", "attn_norm"),
                ("post_attention_layernorm", "ffn_norm"),
            ]
            .iter()
            .fold(name.to_owned(), |name, (from, to)| name.replace(from, to))
        };
        let mut out = BTreeMap::new();
        for name in weights.names() {
            let shape = weights.shape(name).unwrap();
            let values = weights.get(name, &shape).unwrap();
            let mut tensor = Tensor::from_vec(values, shape.clone(), &Device::Cpu).unwrap();
            let heads = match name.split('.').nth_back(1) {
                Some("q_proj") => Some(config.num_attention_heads),
                Some("k_proj") => Some(config.num_key_value_heads),
                _ => None,
            };
            if let Some(heads) = heads.filter(|_| config.architecture.is_interleaved()) {
                let width = shape.get(1).copied().unwrap_or(1);
                let halves = (heads, 2, config.head_dim / 2, width);
                let turns = tensor.reshape(halves).unwrap().transpose(1, 2).unwrap();
                tensor = turns.contiguous().unwrap().reshape(shape).unwrap();
            }
            out.insert(
                renamed(name),
                QTensor::quantize(&tensor, GgmlDType::F32).unwrap(),
            );
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use candle_core::quantized::GgmlDType;

    use super::sample::{Sample, Value as Written, fixture, quantized};
    use super::*;

    fn read(sample: &Sample) -> Result<ModelConfig, ModelError> {
        let folder = tempfile::tempdir().unwrap();
        config(&GgufFile::open(&sample.write(folder.path())).unwrap())
    }

    fn refused(change: impl FnOnce(&mut Sample)) -> String {
        let mut sample = Sample::new("tiny-llama", "gpt-2");
        change(&mut sample);
        let text = read(&sample).unwrap_err().to_string();
        text.split_once("model.gguf").unwrap().1.to_owned()
    }

    #[test]
    fn config_equals_that_of_the_folder() {
        for name in ["tiny-llama", "tiny-qwen2", "tiny-qwen3"] {
            let mut expected = ModelConfig::read(&fixture(name).join("config.json")).unwrap();
            // GGUF stores it in F32.
            expected.rms_norm_eps = f64::from(expected.rms_norm_eps as f32);
            assert_eq!(
                read(&Sample::new(name, "gpt-2")).unwrap(),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn llama3_scaling_comes_as_one_factor_a_frequency() {
        let hf = ModelConfig::read(&fixture("tiny-llama3").join("config.json")).unwrap();
        let mut sample = Sample::new("tiny-llama3", "llama-bpe");
        // As llama.cpp's converter does: the plain frequency over the scaled one.
        let plain = ModelConfig {
            rope_scaling: None,
            ..hf.clone()
        }
        .inv_freq();
        let factors: Vec<f32> = plain
            .iter()
            .zip(hf.inv_freq())
            .map(|(p, s)| p / s)
            .collect();
        let half = factors.len();
        let tensor = quantized(factors, &[half], GgmlDType::F32);
        sample.tensors.insert("rope_freqs.weight".into(), tensor);
        for (found, expected) in read(&sample).unwrap().inv_freq().iter().zip(hf.inv_freq()) {
            assert!((found / expected - 1.0).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn other_mathematics_and_impossible_values_are_refused_by_key() {
        let set = |key: &str, value: Written| {
            refused(|sample| {
                sample.metadata.insert(key.to_owned(), value);
            })
        };
        let without = |key: &str| {
            refused(|sample| {
                sample.metadata.remove(key);
                sample.tensors.remove(key);
            })
        };
        let all = [
            set("general.architecture", Written::String("gemma2".into())),
            set("llama.expert_count", Written::U32(8)),
            set("llama.attention.sliding_window", Written::U32(4096)),
            set("llama.rope.scaling.type", Written::String("yarn".into())),
            set("llama.rope.dimension_count", Written::U32(8)),
            set("llama.attention.value_length", Written::U32(8)),
            set(
                "llama.attention.head_count_kv",
                Written::Array(vec![Written::U32(2); 2]),
            ),
            set("llama.attention.head_count_kv", Written::U32(3)),
            set("llama.embedding_length", Written::U32(128)),
            set("llama.block_count", Written::I32(-1)),
            set("llama.rope.freq_base", Written::F32(f32::NAN)),
            without("general.architecture"),
            without("llama.block_count"),
            without("token_embd.weight"),
        ];
        insta::assert_snapshot!(all.join("\n"), @r#"
        : `general.architecture` = "gemma2" is not supported; qeval runs llama, qwen2, qwen3, mistral and gemma3 decoders
        : `llama.expert_count` = 8 is not supported; qeval runs dense decoders, no mixtures of experts
        : `llama.attention.sliding_window` = 4096 is not supported; attention must see the whole context in every layer
        : `llama.rope.scaling.type` = "yarn" is not supported; qeval computes `none`, `linear` and Llama 3's rope_freqs.weight
        : `llama.rope.dimension_count` = 8 is not supported; the rotary embedding must cover the whole head
        : `llama.attention.value_length` = 8 is not supported; values must be as wide as keys
        : `llama.attention.head_count_kv` as a list, one a layer, is not supported; all layers must be alike
        : `num_key_value_heads` is 3; it must divide num_attention_heads (4)
        : tensor `model.embed_tokens.weight` has shape [300, 64], the config asks for [300, 128]; weights and config are of different models, take both from one download
        : `llama.block_count` is -1; it must be a whole number from 1 to 2147483648
        : `llama.rope.freq_base` is NaN; it must be above 0
        : `general.architecture` is missing
        : `llama.block_count` is missing
        : `token_embd.weight` is missing
        "#);
    }
}
