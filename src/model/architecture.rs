//! Architectures: what tells one decoder from another, in one table.
//!
//! The mathematics of a model are flags of its [`ModelConfig`](super::ModelConfig). This says where
//! they come from: how files name an architecture, which keys it reads, what it does without them.
//! A new one is a variant, its place in [`Architecture::ALL`], and its entry.

use serde_json::Value;

use super::ModelError;
use super::config::Activation;
use super::json::Keys;

/// A decoder's architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// Llama, and models in its manner.
    Llama,
    /// Qwen2 and Qwen2.5.
    Qwen2,
    /// Qwen3.
    Qwen3,
    /// Mistral: Llama whose attention may see the last positions alone.
    Mistral,
    /// Gemma 3, its text model.
    Gemma3,
}

/// What tells an architecture from the others.
struct Entry {
    /// `general.architecture` in a GGUF file, and what people call it.
    name: &'static str,
    /// `model_type` in `config.json`, and the class in `architectures` there.
    class: (&'static str, &'static str),
    /// Width of a head where `head_dim` is missing; `None` shares the residual stream's out.
    head_dim: Option<usize>,
    /// Whether queries, keys, and values have biases by nature, and nothing else has; else
    /// `attention_bias` gives all four projections of attention one.
    qkv_bias: bool,
    /// Whether `mlp_bias` is read.
    mlp_bias: bool,
    /// Whether queries and keys pass through a norm.
    qk_norm: bool,
    /// Which layers see the last positions alone where `layer_types` is missing.
    window: WindowRule,
    /// Whether GGUF files hold the rows of queries and keys interleaved.
    interleaved: bool,
}

/// Which layers see the last positions alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WindowRule {
    /// None, whatever `sliding_window` says.
    None,
    /// Those from `max_window_layers` on, where `use_sliding_window` asks for it.
    OnRequest,
    /// All, where `sliding_window` has a value.
    EveryLayer,
    /// All but each one of so many, or of so many as `sliding_window_pattern` says.
    AllButEvery(usize),
}

/// What `Gemma3TextConfig` takes where a key is missing: released files leave them out.
const GEMMA3_SIZES: [(&str, usize); 9] = [
    ("hidden_size", 2304),
    ("intermediate_size", 9216),
    ("max_position_embeddings", 131_072),
    ("num_attention_heads", 8),
    ("num_hidden_layers", 26),
    ("num_key_value_heads", 4),
    ("query_pre_attn_scalar", 256),
    ("sliding_window", 4096),
    ("vocab_size", 262_208),
];

impl Architecture {
    /// Every architecture, in the order that messages name them.
    pub const ALL: [Architecture; 5] = [
        Architecture::Llama,
        Architecture::Qwen2,
        Architecture::Qwen3,
        Architecture::Mistral,
        Architecture::Gemma3,
    ];

    fn entry(self) -> Entry {
        match self {
            Architecture::Llama => Entry {
                name: "llama",
                class: ("llama", "LlamaForCausalLM"),
                head_dim: None,
                qkv_bias: false,
                mlp_bias: true,
                qk_norm: false,
                window: WindowRule::None,
                interleaved: true,
            },
            Architecture::Qwen2 => Entry {
                name: "qwen2",
                class: ("qwen2", "Qwen2ForCausalLM"),
                head_dim: None,
                qkv_bias: true,
                mlp_bias: false,
                qk_norm: false,
                window: WindowRule::OnRequest,
                interleaved: false,
            },
            Architecture::Qwen3 => Entry {
                name: "qwen3",
                class: ("qwen3", "Qwen3ForCausalLM"),
                // The default of Qwen3Config.
                head_dim: Some(128),
                qkv_bias: false,
                mlp_bias: false,
                qk_norm: true,
                window: WindowRule::OnRequest,
                interleaved: false,
            },
            Architecture::Mistral => Entry {
                name: "mistral",
                class: ("mistral", "MistralForCausalLM"),
                head_dim: None,
                qkv_bias: false,
                mlp_bias: false,
                qk_norm: false,
                window: WindowRule::EveryLayer,
                interleaved: true,
            },
            Architecture::Gemma3 => Entry {
                name: "gemma3",
                class: ("gemma3_text", "Gemma3ForCausalLM"),
                // The default of Gemma3TextConfig.
                head_dim: Some(256),
                qkv_bias: false,
                mlp_bias: false,
                qk_norm: true,
                window: WindowRule::AllButEvery(6),
                interleaved: false,
            },
        }
    }

    /// The rule that another architecture breaks, as messages say it.
    pub(super) fn rule() -> String {
        let names = Self::ALL.map(Architecture::name);
        let (last, first) = names.split_last().unwrap_or((&"no", &[]));
        format!("qeval runs {} and {last} decoders", first.join(", "))
    }

    /// The architecture that GGUF files call so.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.name() == name)
    }

    /// That of a `config.json`: its `model_type`, held against the class in `architectures`.
    pub(super) fn of(keys: &Keys) -> Result<Self, ModelError> {
        let class = match keys.get("architectures") {
            Some(Value::Array(list)) => list.first().and_then(Value::as_str),
            _ => None,
        };
        let Some(model_type) = keys.text("model_type")? else {
            let found = class.and_then(|class| {
                let same = |a: &Self| a.entry().class.1 == class;
                Self::ALL.into_iter().find(same)
            });
            return found.ok_or_else(|| keys.wrong("model_type", "is missing"));
        };
        let unsupported =
            |key, value: &str| Err(keys.unsupported(key, &Value::from(value), &Self::rule()));
        let same = |a: &Self| a.entry().class.0 == model_type;
        let Some(found) = Self::ALL.into_iter().find(same) else {
            return unsupported("model_type", model_type);
        };
        match class {
            Some(other) if other != found.entry().class.1 => unsupported("architectures", other),
            _ => Ok(found),
        }
    }

    /// What a size is where `config.json` leaves it out.
    pub(super) fn default_size(self, key: &str) -> Option<usize> {
        let sizes: &[(&str, usize)] = match self {
            Architecture::Gemma3 => &GEMMA3_SIZES,
            _ => &[],
        };
        sizes.iter().find(|(name, _)| *name == key).map(|(_, n)| *n)
    }

    /// Its name in files, and for people.
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// Width of a head where the configuration does not say; `None` shares the residual stream out.
    pub(super) fn head_dim(self) -> Option<usize> {
        self.entry().head_dim
    }

    /// Whether queries, keys, and values have biases, given `attention_bias`.
    pub(super) fn qkv_bias(self, attention_bias: bool) -> bool {
        self.entry().qkv_bias || attention_bias
    }

    /// Whether the output of attention has one.
    pub(super) fn o_bias(self, attention_bias: bool) -> bool {
        !self.entry().qkv_bias && attention_bias
    }

    /// Whether `mlp_bias` is read.
    pub(super) fn has_mlp_bias(self) -> bool {
        self.entry().mlp_bias
    }

    /// Whether queries and keys pass through a norm.
    pub(super) fn has_qk_norm(self) -> bool {
        self.entry().qk_norm
    }

    /// Which layers see the last positions alone where `layer_types` is missing.
    pub(super) fn window_rule(self) -> WindowRule {
        self.entry().window
    }

    /// The part of a configuration that describes the text model, where it is one of several.
    pub(super) fn text_config(keys: &Keys) -> Result<Option<Keys>, ModelError> {
        match keys.text("model_type")? {
            Some("gemma3") => keys.object("text_config"),
            _ => Ok(None),
        }
    }

    /// Base of the rotary embedding where none is given.
    pub(super) fn rope_theta(self) -> f64 {
        if self.is_gemma() { 1e6 } else { 1e4 }
    }

    /// What the MLP's gate passes through.
    pub(super) fn activation(self) -> Activation {
        match self.is_gemma() {
            true => Activation::GeluTanh,
            false => Activation::Silu,
        }
    }

    /// What multiplies rows of the embedding.
    pub(super) fn embedding_scale(self, hidden_size: usize) -> f32 {
        match self.is_gemma() {
            true => (hidden_size as f32).sqrt(),
            false => 1.0,
        }
    }

    /// Whether it is computed as Gemma is: norms whose stored weights are 1 less, norms behind
    /// attention and MLP, a scaled embedding, GELU, a rotary embedding of its own for the layers with
    /// a window, the head tied to the embedding.
    pub(super) fn is_gemma(self) -> bool {
        self == Architecture::Gemma3
    }

    /// Whether GGUF files hold the rows of queries and keys interleaved for their rotary embedding:
    /// first and second half of a head in turns.
    pub(super) fn is_interleaved(self) -> bool {
        self.entry().interleaved
    }
}

impl std::fmt::Display for Architecture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_their_architecture_and_no_other_does() {
        for architecture in Architecture::ALL {
            assert_eq!(Architecture::named(architecture.name()), Some(architecture));
            assert_eq!(architecture.to_string(), architecture.name());
        }
        assert_eq!(Architecture::named("qwen3_moe"), None);
        assert_eq!(
            Architecture::rule(),
            "qeval runs llama, qwen2, qwen3, mistral and gemma3 decoders"
        );
    }
}
