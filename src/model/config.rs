//! What a model is: sizes under their Hugging Face names, an architecture as flags.
//!
//! Architectures differ in biases, norms, activation, in how far a layer sees, and in defaults; one
//! decoder reads the flags. What the decoder does not compute is refused here, by name, before any
//! weight is read.

use std::path::Path;

use serde_json::Value;

use super::ModelError;
use super::architecture::Architecture;
use super::four_bit::Quantization;
use super::json::Keys;
use super::rope::{self, RopeScaling};
use super::window::Window;

/// What a model is. Built by [`ModelConfig::read`] or from the metadata of a GGUF file; every size
/// is at least 1 and they fit together.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// Where the flags come from; the mathematics are in the flags.
    pub architecture: Architecture,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Decoder layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; divides `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Width of a head, even.
    pub head_dim: usize,
    /// Added to the mean square in RMSNorm.
    pub rms_norm_eps: f64,
    /// Base of the rotary embedding's frequencies.
    pub rope_theta: f64,
    /// How the frequencies are stretched.
    pub rope_scaling: Option<RopeScaling>,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Positions that the model was trained for.
    pub max_position_embeddings: usize,
    /// The head is the embedding, transposed; then there is no `lm_head.weight`.
    pub tie_word_embeddings: bool,
    /// Queries, keys and values have biases.
    pub qkv_bias: bool,
    /// The output of attention has a bias.
    pub o_bias: bool,
    /// The three projections of the MLP have biases.
    pub mlp_bias: bool,
    /// Queries and keys pass through an RMSNorm over `head_dim` before the rotary embedding.
    pub qk_norm: bool,
    /// The weights of norms are stored less 1.
    pub norms_less_one: bool,
    /// The results of attention and MLP pass through a norm before they are added.
    pub branch_norms: bool,
    /// Multiplies rows of the embedding before the first layer; 1 for most.
    pub embedding_scale: f32,
    /// Scores are divided by the square root of this; `head_dim` for most.
    pub query_pre_attn_scalar: f64,
    /// What the MLP's gate passes through.
    pub activation: Activation,
    /// Layers that see the last positions alone.
    pub window: Option<Window>,
}

/// What the MLP's gate passes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// `x * sigmoid(x)`.
    #[default]
    Silu,
    /// GELU with the tanh approximation (Hendrycks & Gimpel 2016).
    GeluTanh,
}

/// Beside the mathematics: what `config.json` says of special tokens.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ConfigTokens {
    pub bos: Option<u32>,
    pub eos: Vec<u32>,
}

/// More positions than any model has; tables of the rotary embedding are as long.
const MOST_POSITIONS: usize = 1 << 24;

impl ModelConfig {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// Missing or impossible values, and everything that the decoder does not compute: another
    /// architecture, other rotary scaling than `linear` and `llama3`, experts, partial rotary
    /// embedding, another activation, capped logits, `pretraining_tp`, weights quantized in a way that
    /// is not read.
    pub fn read(path: &Path) -> Result<ModelConfig, ModelError> {
        Ok(Self::from_keys(&Keys::read(path)?)?.0)
    }

    pub(super) fn from_keys(keys: &Keys) -> Result<(ModelConfig, ConfigTokens), ModelError> {
        let text = Architecture::text_config(keys)?;
        let whole = keys;
        Quantization::read(whole)?;
        let keys = text.as_ref().unwrap_or(keys);
        let architecture = Architecture::of(keys)?;
        refuse_other_mathematics(keys, architecture)?;

        let size = |key: &str| -> Result<Option<usize>, ModelError> {
            Ok(keys.size(key)?.or(architecture.default_size(key)))
        };
        let required_size = |key: &str| match architecture.default_size(key) {
            Some(default) => Ok(keys.size(key)?.unwrap_or(default)),
            None => keys.required_size(key),
        };
        let hidden_size = required_size("hidden_size")?;
        let num_attention_heads = required_size("num_attention_heads")?;
        let num_key_value_heads = size("num_key_value_heads")?.unwrap_or(num_attention_heads);
        let head_dim = match keys.size("head_dim")?.or(architecture.head_dim()) {
            Some(dim) => dim,
            None if hidden_size % num_attention_heads != 0 => {
                return Err(keys.wrong(
                    "hidden_size",
                    format!(
                        "is {hidden_size}, no multiple of num_attention_heads \
                             ({num_attention_heads}), and there is no head_dim"
                    ),
                ));
            }
            None => hidden_size / num_attention_heads,
        };
        let max_position_embeddings = size("max_position_embeddings")?.unwrap_or(2048);
        let (rope_theta, rope_scaling) =
            rope_parameters(keys, architecture, max_position_embeddings)?;
        let num_hidden_layers = required_size("num_hidden_layers")?;
        let is_gemma = architecture.is_gemma();
        let attention_bias = keys.boolean("attention_bias", false)?;
        let config = ModelConfig {
            hidden_size,
            intermediate_size: required_size("intermediate_size")?,
            num_hidden_layers,
            num_attention_heads,
            num_key_value_heads,
            head_dim,
            rms_norm_eps: keys.positive("rms_norm_eps")?.unwrap_or(1e-6),
            rope_theta,
            rope_scaling,
            vocab_size: required_size("vocab_size")?,
            max_position_embeddings,
            tie_word_embeddings: keys.boolean("tie_word_embeddings", is_gemma)?,
            qkv_bias: architecture.qkv_bias(attention_bias),
            o_bias: architecture.o_bias(attention_bias),
            mlp_bias: architecture.has_mlp_bias() && keys.boolean("mlp_bias", false)?,
            qk_norm: architecture.has_qk_norm(),
            norms_less_one: is_gemma,
            branch_norms: is_gemma,
            embedding_scale: architecture.embedding_scale(hidden_size),
            query_pre_attn_scalar: match is_gemma {
                true => keys.positive("query_pre_attn_scalar")?.unwrap_or(256.0),
                false => head_dim as f64,
            },
            activation: architecture.activation(),
            window: Window::read(keys, architecture, num_hidden_layers)?,
            architecture,
        };
        config.check(|key, problem| keys.wrong(key, problem))?;
        // Of a model with more than text, either level may say it.
        let tokens = |key: &str| match whole.token_ids(key)? {
            none if none.is_empty() => keys.token_ids(key),
            some => Ok(some),
        };
        let tokens = ConfigTokens {
            bos: tokens("bos_token_id")?.first().copied(),
            eos: tokens("eos_token_id")?,
        };
        Ok((config, tokens))
    }

    /// What has to hold between sizes, whatever file they came from.
    pub(super) fn check(
        &self,
        wrong: impl Fn(&str, String) -> ModelError,
    ) -> Result<(), ModelError> {
        let (heads, kv) = (self.num_attention_heads, self.num_key_value_heads);
        if heads % kv != 0 {
            return Err(wrong(
                "num_key_value_heads",
                format!("is {kv}; it must divide num_attention_heads ({heads})"),
            ));
        }
        if self.max_position_embeddings > MOST_POSITIONS {
            return Err(wrong(
                "max_position_embeddings",
                format!(
                    "is {}; qeval goes up to {MOST_POSITIONS}",
                    self.max_position_embeddings
                ),
            ));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(wrong(
                "head_dim",
                format!(
                    "is {}; the rotary embedding needs an even number",
                    self.head_dim
                ),
            ));
        }
        match &self.rope_scaling {
            Some(RopeScaling::Llama3 {
                low_freq_factor,
                high_freq_factor,
                ..
            }) if low_freq_factor >= high_freq_factor => Err(wrong(
                "rope_scaling",
                format!(
                    "has low_freq_factor {low_freq_factor}; it must be below \
                             high_freq_factor ({high_freq_factor})"
                ),
            )),
            Some(RopeScaling::PerFrequency { factors })
                if factors.len() != self.head_dim / 2
                    || factors.iter().any(|f| !f.is_finite() || *f <= 0.0) =>
            {
                Err(wrong(
                    "rope_freqs.weight",
                    format!(
                        "must hold head_dim / 2 = {} positive numbers",
                        self.head_dim / 2
                    ),
                ))
            }
            _ => Ok(()),
        }
    }

    /// Frequencies of the rotary embedding in radians a position, `head_dim / 2` of them, computed
    /// in F32 as transformers does.
    pub fn inv_freq(&self) -> Vec<f32> {
        rope::inv_freq(self.head_dim, self.rope_theta, self.rope_scaling.as_ref())
    }

    /// The same of the layers with a window, where theirs are others.
    pub fn window_inv_freq(&self) -> Option<Vec<f32>> {
        let theta = self.window.as_ref()?.rope_theta?;
        Some(rope::inv_freq(self.head_dim, theta, None))
    }

    /// What queries are multiplied by beside `1 / sqrt(head_dim)`: their norm takes it in.
    pub(super) fn query_times(&self) -> f32 {
        (self.head_dim as f64 / self.query_pre_attn_scalar).sqrt() as f32
    }

    /// Positions that a row sees in a layer, its own among them; `None` is the whole context.
    pub fn window_of(&self, layer: usize) -> Option<usize> {
        let window = self.window.as_ref()?;
        window.layers[layer].then_some(window.size)
    }
}

fn refuse_other_mathematics(keys: &Keys, architecture: Architecture) -> Result<(), ModelError> {
    let refuse = |key: &str, rule: &str| match keys.get(key) {
        Some(value) => Err(keys.unsupported(key, value, rule)),
        None => Ok(()),
    };
    for key in ["num_experts", "num_local_experts", "n_routed_experts"] {
        if keys.get(key).is_some_and(|v| v.as_u64() != Some(0)) {
            refuse(key, "qeval runs dense decoders, no mixtures of experts")?;
        }
    }
    let (names, rule): (&[&str], _) = match architecture.activation() {
        Activation::Silu => (&["silu", "swish"], "the MLP's activation must be silu"),
        Activation::GeluTanh => (
            &["gelu_pytorch_tanh"],
            "the MLP's activation must be gelu_pytorch_tanh",
        ),
    };
    for key in ["hidden_act", "hidden_activation"] {
        // Gemma's older files say "gelu" there and mean the other key.
        let is_read = key == "hidden_activation" || !architecture.is_gemma();
        if is_read && keys.text(key)?.is_some_and(|act| !names.contains(&act)) {
            refuse(key, rule)?;
        }
    }
    for key in ["attn_logit_softcapping", "final_logit_softcapping"] {
        refuse(key, "qeval caps no scores and no logits")?;
    }
    if keys.boolean("use_bidirectional_attention", false)? {
        refuse("use_bidirectional_attention", "qeval runs causal decoders")?;
    }
    if keys
        .float("partial_rotary_factor")?
        .is_some_and(|f| f != 1.0)
    {
        refuse(
            "partial_rotary_factor",
            "the rotary embedding must cover the whole head",
        )?;
    }
    if keys.float("pretraining_tp")?.is_some_and(|tp| tp > 1.0) {
        refuse(
            "pretraining_tp",
            "set it to 1 in a copy of config.json: the weights are the same",
        )?;
    }
    Ok(())
}

/// Base and scaling, from transformers 5's `rope_parameters` or the older `rope_theta` and
/// `rope_scaling`.
fn rope_parameters(
    keys: &Keys,
    architecture: Architecture,
    max_position_embeddings: usize,
) -> Result<(f64, Option<RopeScaling>), ModelError> {
    let mut parameters = keys.object("rope_parameters")?;
    // Where layers differ, each kind has its own.
    if let Some(kinds) = parameters.as_ref().filter(|_| architecture.is_gemma())
        && let Some(full) = kinds.object("full_attention")?
    {
        parameters = Some(full);
    }
    let theta = match parameters
        .as_ref()
        .map(|p| p.positive("rope_theta"))
        .transpose()?
        .flatten()
    {
        Some(theta) => theta,
        None => {
            let default = architecture.rope_theta();
            keys.positive("rope_theta")?.unwrap_or(default)
        }
    };
    let scaling = match parameters {
        Some(p) => Some(p),
        None => keys.object("rope_scaling")?,
    };
    let Some(scaling) = scaling else {
        return Ok((theta, None));
    };
    let kind_key = if scaling.get("rope_type").is_some() {
        "rope_type"
    } else {
        "type"
    };
    if scaling
        .float("partial_rotary_factor")?
        .is_some_and(|f| f != 1.0)
    {
        return Err(scaling.wrong(
            "partial_rotary_factor",
            "is not 1; the rotary embedding must cover the whole head",
        ));
    }
    let factor = || match scaling.positive("factor")? {
        Some(factor) if factor >= 1.0 => Ok(factor),
        Some(factor) => Err(scaling.wrong("factor", format!("is {factor}; it must be at least 1"))),
        None => Err(scaling.wrong("factor", "is missing")),
    };
    let required = |key: &str| {
        scaling
            .positive(key)?
            .ok_or_else(|| scaling.wrong(key, "is missing"))
    };
    let found = match scaling.text(kind_key)? {
        None if scaling.get("factor").is_none() && scaling.names().all(|n| n == "rope_theta") => {
            None
        }
        None => return Err(scaling.wrong("rope_type", "is missing")),
        Some("default") => None,
        Some("linear") => Some(RopeScaling::Linear { factor: factor()? }),
        Some("llama3") => Some(RopeScaling::Llama3 {
            factor: factor()?,
            low_freq_factor: required("low_freq_factor")?,
            high_freq_factor: required("high_freq_factor")?,
            original_max_position_embeddings: match scaling
                .size("original_max_position_embeddings")?
            {
                Some(n) => n,
                None => keys
                    .size("original_max_position_embeddings")?
                    .unwrap_or(max_position_embeddings),
            },
        }),
        Some(other) => {
            return Err(scaling.unsupported(
                kind_key,
                &Value::from(other),
                "qeval computes `default`, `linear` and `llama3`; where it was added by hand for \
                 longer contexts, as Qwen's yarn is, remove it in a copy of config.json",
            ));
        }
    };
    Ok((theta, found))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn llama() -> Value {
        json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
            "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 300,
            "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "eos_token_id": 2
        })
    }

    /// [`llama`] with some keys set; `null` counts as absent.
    fn with(changes: Value) -> Value {
        let mut config = llama();
        for (key, value) in changes.as_object().unwrap() {
            config[key] = value.clone();
        }
        config
    }

    fn parse(config: Value) -> Result<(ModelConfig, ConfigTokens), ModelError> {
        let keys = Keys::parse(Path::new("config.json"), config.to_string().as_bytes());
        ModelConfig::from_keys(&keys?)
    }

    fn read(config: Value) -> ModelConfig {
        parse(config).unwrap().0
    }

    fn refused(changes: Value) -> String {
        parse(with(changes)).unwrap_err().to_string()
    }

    #[test]
    fn architecture_is_flags() {
        let flags = |c: &ModelConfig| (c.qkv_bias, c.o_bias, c.mlp_bias, c.qk_norm, c.head_dim);
        let qwen = |n: u8| {
            with(json!({
                "model_type": format!("qwen{n}"),
                "architectures": [format!("Qwen{n}ForCausalLM")],
            }))
        };
        let mut biased = with(json!({"attention_bias": true, "mlp_bias": true}));
        assert_eq!(flags(&read(llama())), (false, false, false, false, 16));
        assert_eq!(flags(&read(biased.clone())), (true, true, true, false, 16));
        assert_eq!(flags(&read(qwen(2))), (true, false, false, false, 16));
        // Qwen3Config's head_dim is 128 when it is absent, whatever the hidden size.
        assert_eq!(flags(&read(qwen(3))), (false, false, false, true, 128));
        biased["model_type"] = "qwen3".into();
        biased["architectures"] = Value::Null;
        biased["head_dim"] = 24.into();
        assert_eq!(flags(&read(biased)), (true, true, false, true, 24));
    }

    #[test]
    fn absent_and_null_keys_take_the_defaults_of_transformers() {
        let config = read(with(json!({
            "architectures": null, "num_key_value_heads": null, "head_dim": null,
            "max_position_embeddings": null, "rms_norm_eps": null, "rope_scaling": null
        })));
        assert_eq!(config.num_key_value_heads, 4);
        assert_eq!(config.max_position_embeddings, 2048);
        assert_eq!((config.rms_norm_eps, config.rope_theta), (1e-6, 10_000.0));
        assert_eq!(config.rope_scaling, None);
        assert!(!config.tie_word_embeddings);
    }

    #[test]
    fn old_and_new_rope_keys_say_the_same() {
        let llama3 = json!({
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 64
        });
        let mut new = llama3.clone();
        new["rope_theta"] = 5e5.into();
        let old = read(with(json!({"rope_theta": 5e5, "rope_scaling": llama3})));
        assert_eq!(old, read(with(json!({"rope_parameters": new}))));
        assert_eq!(old.rope_theta, 5e5);
        assert!(matches!(
            old.rope_scaling,
            Some(RopeScaling::Llama3 { factor: 8.0, .. })
        ));

        let linear = Some(RopeScaling::Linear { factor: 2.0 });
        for scaling in [
            json!({"rope_scaling": {"type": "linear", "factor": 2.0}}),
            json!({"rope_parameters": {"rope_type": "linear", "factor": 2, "rope_theta": 1e4}}),
        ] {
            assert_eq!(read(with(scaling)).rope_scaling, linear);
        }
        for scaling in [
            json!({"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}),
            json!({"rope_parameters": {"rope_theta": 1e6}}),
        ] {
            let config = read(with(scaling));
            assert_eq!((config.rope_theta, config.rope_scaling), (1e6, None));
        }
    }

    #[test]
    fn llama3_falls_back_to_the_positions_of_the_config() {
        let config = read(with(json!({"rope_scaling": {
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0
        }})));
        let Some(RopeScaling::Llama3 {
            original_max_position_embeddings,
            ..
        }) = config.rope_scaling
        else {
            panic!("no scaling")
        };
        assert_eq!(original_max_position_embeddings, 512);
    }

    #[test]
    fn eos_is_an_id_or_a_list() {
        let eos = |value: Value| parse(with(json!({"eos_token_id": value}))).unwrap().1.eos;
        assert_eq!(eos(json!(2)), [2]);
        assert_eq!(eos(json!([2, 7])), [2, 7]);
        assert_eq!(eos(json!(null)), [0; 0]);
    }

    #[test]
    fn windows_are_where_the_architecture_has_them() {
        let layers = |changes: Value| {
            let mut config = with(changes);
            config["architectures"] = Value::Null;
            let window = read(config).window;
            window.map(|w| (w.size, w.layers))
        };
        let qwen = |used: bool, full: usize| {
            layers(json!({"model_type": "qwen2", "sliding_window": 64,
                "use_sliding_window": used, "max_window_layers": full}))
        };
        assert_eq!(qwen(false, 0), None);
        assert_eq!(qwen(true, 2), None);
        assert_eq!(qwen(true, 1), Some((64, vec![false, true])));
        assert_eq!(qwen(true, 0), Some((64, vec![true, true])));
        let mistral =
            |size: Value| layers(json!({"model_type": "mistral", "sliding_window": size}));
        assert_eq!(mistral(json!(null)), None);
        assert_eq!(mistral(json!(8)), Some((8, vec![true, true])));
        // Llama's reads no window, whatever stands there.
        assert_eq!(layers(json!({"sliding_window": 8})), None);
        let types = ["sliding_attention", "full_attention"];
        assert_eq!(
            layers(json!({"model_type": "qwen3", "layer_types": types, "sliding_window": 4})),
            Some((4, vec![true, false]))
        );
        let text = refused(json!({"layer_types": ["full_attention", "chunked_attention"]}));
        insta::assert_snapshot!(text, @r#"config.json: `layer_types` = "chunked_attention" is not supported; qeval computes full_attention and sliding_attention"#);
        let text = refused(json!({"layer_types": ["full_attention"]}));
        insta::assert_snapshot!(text, @"config.json: `layer_types` has 1 entries for 2 layers");
    }

    #[test]
    fn gemmas_own_keys_and_defaults_are_read() {
        // As released: what the class's defaults say is left out.
        let config = read(json!({
            "architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text",
            "hidden_size": 1152, "intermediate_size": 6912, "num_attention_heads": 4,
            "num_key_value_heads": 1, "query_pre_attn_scalar": 144, "sliding_window": 512,
            "rope_theta": 1_000_000, "rope_local_base_freq": 10_000, "eos_token_id": [1, 106]
        }));
        assert_eq!((config.num_hidden_layers, config.head_dim), (26, 256));
        assert_eq!(
            (config.vocab_size, config.tie_word_embeddings),
            (262_208, true)
        );
        assert_eq!(config.query_pre_attn_scalar, 144.0);
        assert_eq!(config.embedding_scale, 1152f32.sqrt());
        let window = config.window.clone().unwrap();
        assert_eq!((window.size, window.rope_theta), (512, Some(10_000.0)));
        let full: Vec<usize> = (0..26).filter(|&n| !window.layers[n]).collect();
        assert_eq!(full, [5, 11, 17, 23]);
        assert_eq!(
            (config.window_of(4), config.window_of(5)),
            (Some(512), None)
        );

        // Both levels of a model that sees pictures, and each kind of layer by itself.
        let parsed = parse(json!({
            "architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3",
            "eos_token_id": [1, 106], "vision_config": {"hidden_size": 4},
            "text_config": {
                "model_type": "gemma3_text", "hidden_size": 2560, "num_hidden_layers": 34,
                "rope_parameters": {
                    "sliding_attention": {"rope_type": "default", "rope_theta": 20_000.0},
                    "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}
                }
            }
        }));
        let (config, tokens) = parsed.unwrap();
        assert_eq!((config.hidden_size, config.num_attention_heads), (2560, 8));
        assert_eq!(
            config.rope_scaling,
            Some(RopeScaling::Linear { factor: 8.0 })
        );
        assert_eq!(config.window.unwrap().rope_theta, Some(20_000.0));
        assert_eq!(tokens.eos, [1, 106]);

        let gemma = |changes: Value| {
            let mut config = json!({"model_type": "gemma3_text"});
            for (key, value) in changes.as_object().unwrap() {
                config[key] = value.clone();
            }
            parse(config).unwrap_err().to_string()
        };
        let all = [
            gemma(json!({"final_logit_softcapping": 30.0})),
            gemma(json!({"hidden_activation": "silu"})),
            gemma(json!({"use_bidirectional_attention": true})),
            gemma(
                json!({"rope_parameters": {"full_attention": {"rope_type": "default"},
                "sliding_attention": {"rope_type": "yarn"}}}),
            ),
        ];
        insta::assert_snapshot!(all.join("\n"), @r#"
        config.json: `final_logit_softcapping` = 30.0 is not supported; qeval caps no scores and no logits
        config.json: `hidden_activation` = "silu" is not supported; the MLP's activation must be gelu_pytorch_tanh
        config.json: `use_bidirectional_attention` = true is not supported; qeval runs causal decoders
        config.json: `rope_parameters.sliding_attention.rope_type` = "yarn" is not supported; layers with a window have a rotary embedding without scaling
        "#);
    }

    #[test]
    fn other_mathematics_are_refused_by_name() {
        let all: Vec<String> = [
            json!({"model_type": "mixtral"}),
            json!({"model_type": "qwen3_moe"}),
            json!({"architectures": ["LlamaForSequenceClassification"]}),
            json!({"hidden_act": "gelu"}),
            json!({"num_local_experts": 8}),
            json!({"partial_rotary_factor": 0.5}),
            json!({"pretraining_tp": 2}),
            json!({"quantization_config": {"quant_method": "fp8"}}),
            json!({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}),
            json!({"rope_scaling": {"type": "dynamic", "factor": 4.0}}),
            json!({"rope_parameters": {"full_attention": {"rope_type": "default"}}}),
        ]
        .into_iter()
        .map(refused)
        .collect();
        insta::assert_snapshot!(all.join("\n"), @r#"
        config.json: `model_type` = "mixtral" is not supported; qeval runs llama, qwen2, qwen3, mistral and gemma3 decoders
        config.json: `model_type` = "qwen3_moe" is not supported; qeval runs llama, qwen2, qwen3, mistral and gemma3 decoders
        config.json: `architectures` = "LlamaForSequenceClassification" is not supported; qeval runs llama, qwen2, qwen3, mistral and gemma3 decoders
        config.json: `hidden_act` = "gelu" is not supported; the MLP's activation must be silu
        config.json: `num_local_experts` = 8 is not supported; qeval runs dense decoders, no mixtures of experts
        config.json: `partial_rotary_factor` = 0.5 is not supported; the rotary embedding must cover the whole head
        config.json: `pretraining_tp` = 2 is not supported; set it to 1 in a copy of config.json: the weights are the same
        config.json: `quantization_config.quant_method` = "fp8" is not supported; qeval reads bitsandbytes of 4 bits, and GPTQ and AWQ (gemm) of 4 bits; give one of them, the unquantized weights, or a GGUF file
        config.json: `rope_scaling.rope_type` = "yarn" is not supported; qeval computes `default`, `linear` and `llama3`; where it was added by hand for longer contexts, as Qwen's yarn is, remove it in a copy of config.json
        config.json: `rope_scaling.type` = "dynamic" is not supported; qeval computes `default`, `linear` and `llama3`; where it was added by hand for longer contexts, as Qwen's yarn is, remove it in a copy of config.json
        config.json: `rope_parameters.rope_type` is missing
        "#);
    }

    #[test]
    fn impossible_values_are_refused_by_key() {
        let all: Vec<String> = [
            json!({"model_type": null, "architectures": null}),
            json!({"hidden_size": null}),
            json!({"hidden_size": 0}),
            json!({"hidden_size": -64}),
            json!({"hidden_size": "64"}),
            json!({"vocab_size": 1u64 << 60}),
            json!({"hidden_size": 66}),
            json!({"num_key_value_heads": 3}),
            json!({"head_dim": 15}),
            json!({"max_position_embeddings": 1 << 30}),
            json!({"rms_norm_eps": -1e-5}),
            json!({"tie_word_embeddings": "yes"}),
            json!({"eos_token_id": -1}),
            json!({"rope_scaling": {"type": "linear"}}),
            json!({"rope_scaling": {"type": "linear", "factor": 0.5}}),
            json!({"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0,
                "high_freq_factor": 4.0}}),
            json!({"rope_scaling": "linear"}),
        ]
        .into_iter()
        .map(refused)
        .collect();
        insta::assert_snapshot!(all.join("\n"), @r#"
        config.json: `model_type` is missing
        config.json: `hidden_size` is missing
        config.json: `hidden_size` is 0; it must be a whole number from 1 to 2147483648
        config.json: `hidden_size` is -64; it must be a whole number from 1 to 2147483648
        config.json: `hidden_size` is "64"; it must be a whole number from 1 to 2147483648
        config.json: `vocab_size` is 1152921504606846976; it must be a whole number from 1 to 2147483648
        config.json: `hidden_size` is 66, no multiple of num_attention_heads (4), and there is no head_dim
        config.json: `num_key_value_heads` is 3; it must divide num_attention_heads (4)
        config.json: `head_dim` is 15; the rotary embedding needs an even number
        config.json: `max_position_embeddings` is 1073741824; qeval goes up to 16777216
        config.json: `rms_norm_eps` is -0.00001; it must be above 0
        config.json: `tie_word_embeddings` is "yes", not true or false
        config.json: `eos_token_id` must be a token id or a list of token ids
        config.json: `rope_scaling.factor` is missing
        config.json: `rope_scaling.factor` is 0.5; it must be at least 1
        config.json: `rope_scaling` has low_freq_factor 4; it must be below high_freq_factor (4)
        config.json: `rope_scaling` must be an object
        "#);
    }

    #[test]
    fn text_that_is_no_json_is_an_error() {
        let error = Keys::parse(Path::new("config.json"), b"{\"a\": 1")
            .err()
            .unwrap();
        insta::assert_snapshot!(error, @"config.json is not valid JSON: EOF while parsing an object at line 1 column 7; download it again");
        assert!(Keys::parse(Path::new("config.json"), b"[]").is_err());
    }
}
