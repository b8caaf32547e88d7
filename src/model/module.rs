//! The linear layers of a decoder that can carry an adapter, under their Hugging Face names.
//!
//! The embedding and the head are left out: no adapter here touches them.

use std::fmt;

use super::ModelConfig;

/// One of the seven linear layers of a decoder layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Projection {
    /// Queries.
    Q,
    /// Keys.
    K,
    /// Values.
    V,
    /// Output of attention.
    O,
    /// Gate of the MLP, the one under the activation.
    Gate,
    /// The MLP's way up.
    Up,
    /// The MLP's way down.
    Down,
}

impl Projection {
    /// All of them, in the order of a forward pass.
    pub const ALL: [Projection; 7] = [
        Projection::Q,
        Projection::K,
        Projection::V,
        Projection::O,
        Projection::Gate,
        Projection::Up,
        Projection::Down,
    ];

    /// Last part of its path: `q_proj`.
    pub fn hf_name(self) -> &'static str {
        match self {
            Projection::Q => "q_proj",
            Projection::K => "k_proj",
            Projection::V => "v_proj",
            Projection::O => "o_proj",
            Projection::Gate => "gate_proj",
            Projection::Up => "up_proj",
            Projection::Down => "down_proj",
        }
    }

    /// The block that holds it: `self_attn` or `mlp`.
    pub fn block(self) -> &'static str {
        match self {
            Projection::Q | Projection::K | Projection::V | Projection::O => "self_attn",
            Projection::Gate | Projection::Up | Projection::Down => "mlp",
        }
    }

    /// Width of its input.
    pub fn in_features(self, config: &ModelConfig) -> usize {
        match self {
            Projection::O => config.num_attention_heads * config.head_dim,
            Projection::Down => config.intermediate_size,
            _ => config.hidden_size,
        }
    }

    /// Width of its output.
    pub fn out_features(self, config: &ModelConfig) -> usize {
        match self {
            Projection::Q => config.num_attention_heads * config.head_dim,
            Projection::K | Projection::V => config.num_key_value_heads * config.head_dim,
            Projection::O | Projection::Down => config.hidden_size,
            Projection::Gate | Projection::Up => config.intermediate_size,
        }
    }

    /// Whether its product gets a bias added.
    pub fn has_bias(self, config: &ModelConfig) -> bool {
        match self {
            Projection::Q | Projection::K | Projection::V => config.qkv_bias,
            Projection::O => config.o_bias,
            Projection::Gate | Projection::Up | Projection::Down => config.mlp_bias,
        }
    }
}

impl fmt::Display for Projection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hf_name())
    }
}

/// Names one linear layer of a model. Its text is the Hugging Face path:
/// `model.layers.3.self_attn.q_proj`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModuleId {
    /// Decoder layer, from 0.
    pub layer: usize,
    /// Which of its linear layers.
    pub projection: Projection,
}

impl ModuleId {
    /// Every linear layer of a model, layer by layer.
    pub fn all(config: &ModelConfig) -> impl Iterator<Item = ModuleId> {
        (0..config.num_hidden_layers).flat_map(|layer| {
            Projection::ALL
                .into_iter()
                .map(move |projection| ModuleId { layer, projection })
        })
    }

    /// Reads a path as [`Display`](fmt::Display) writes it.
    pub fn parse(path: &str) -> Option<ModuleId> {
        let (layer, rest) = path.strip_prefix("model.layers.")?.split_once('.')?;
        let (block, name) = rest.split_once('.')?;
        let id = ModuleId {
            layer: layer.parse().ok()?,
            projection: Projection::ALL
                .into_iter()
                .find(|p| p.block() == block && p.hf_name() == name)?,
        };
        // `+3` and `03` parse as numbers, and are no names.
        (id.to_string() == path).then_some(id)
    }
}

impl fmt::Display for ModuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { layer, projection } = self;
        write!(
            f,
            "model.layers.{layer}.{}.{projection}",
            projection.block()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_reads_back() {
        for layer in [0, 3, 31] {
            for projection in Projection::ALL {
                let id = ModuleId { layer, projection };
                assert_eq!(ModuleId::parse(&id.to_string()), Some(id));
            }
        }
        let id = ModuleId {
            layer: 3,
            projection: Projection::Q,
        };
        assert_eq!(id.to_string(), "model.layers.3.self_attn.q_proj");
    }

    #[test]
    fn foreign_paths_are_no_modules() {
        for path in [
            "",
            "lm_head",
            "model.embed_tokens",
            "model.layers.0.mlp.q_proj",
            "model.layers.0.self_attn.q_proj.lora_A",
            "model.layers.+0.self_attn.q_proj",
            "model.layers.00.self_attn.q_proj",
            "model.layers.x.self_attn.q_proj",
            "model.language_model.layers.0.self_attn.q_proj",
        ] {
            assert_eq!(ModuleId::parse(path), None, "{path}");
        }
    }
}
