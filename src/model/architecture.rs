//! Architectures: what tells one decoder from another, in one table.
//!
//! The mathematics of a model are flags of its [`ModelConfig`](super::ModelConfig). This says where
//! they come from: how files name an architecture, which keys it reads, what it does without them.
//! A new one is a variant, its place in [`Architecture::ALL`], and its entry.

use serde_json::Value;

use super::ModelError;
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
}

/// What tells an architecture from the others.
struct Entry {
    /// `model_type` in `config.json`, and `general.architecture` in a GGUF file.
    name: &'static str,
    /// The class in `architectures` of `config.json`.
    class: &'static str,
    /// Width of a head where `head_dim` is missing; `None` shares the residual stream's out.
    head_dim: Option<usize>,
    /// Whether queries, keys, and values have biases by nature, and nothing else has; else
    /// `attention_bias` gives all four projections of attention one.
    qkv_bias: bool,
    /// Whether `mlp_bias` is read.
    mlp_bias: bool,
    /// Whether queries and keys pass through a norm.
    qk_norm: bool,
    /// Whether `use_sliding_window` is read.
    sliding_window: bool,
    /// Whether GGUF files hold the rows of queries and keys interleaved.
    interleaved: bool,
}

impl Architecture {
    /// Every architecture, in the order that messages name them.
    pub const ALL: [Architecture; 3] = [
        Architecture::Llama,
        Architecture::Qwen2,
        Architecture::Qwen3,
    ];

    fn entry(self) -> Entry {
        match self {
            Architecture::Llama => Entry {
                name: "llama",
                class: "LlamaForCausalLM",
                head_dim: None,
                qkv_bias: false,
                mlp_bias: true,
                qk_norm: false,
                sliding_window: false,
                interleaved: true,
            },
            Architecture::Qwen2 => Entry {
                name: "qwen2",
                class: "Qwen2ForCausalLM",
                head_dim: None,
                qkv_bias: true,
                mlp_bias: false,
                qk_norm: false,
                sliding_window: true,
                interleaved: false,
            },
            Architecture::Qwen3 => Entry {
                name: "qwen3",
                class: "Qwen3ForCausalLM",
                // The default of Qwen3Config.
                head_dim: Some(128),
                qkv_bias: false,
                mlp_bias: false,
                qk_norm: true,
                sliding_window: true,
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

    /// The architecture that `config.json` and GGUF files call so.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.name() == name)
    }

    /// That of a `config.json`: its `model_type`, held against the class in `architectures`.
    pub(super) fn of(keys: &Keys) -> Result<Self, ModelError> {
        let class = match keys.get("architectures") {
            Some(Value::Array(list)) => list.first().and_then(Value::as_str),
            _ => None,
        };
        let by_class = |class: &str| Self::ALL.into_iter().find(|a| a.entry().class == class);
        let Some(name) = keys.text("model_type")? else {
            let found = class.and_then(by_class);
            return found.ok_or_else(|| keys.wrong("model_type", "is missing"));
        };
        let unsupported =
            |key, value: &str| Err(keys.unsupported(key, &Value::from(value), &Self::rule()));
        let Some(found) = Self::named(name) else {
            return unsupported("model_type", name);
        };
        match class {
            Some(other) if other != found.entry().class => unsupported("architectures", other),
            _ => Ok(found),
        }
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

    /// Whether `use_sliding_window` is read.
    pub(super) fn has_sliding_window(self) -> bool {
        self.entry().sliding_window
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
            "qeval runs llama, qwen2 and qwen3 decoders"
        );
    }
}
