//! Keys and values of every layer for a fixed number of sequences, allocated once.

use super::ModelConfig;
use super::cpu::{Heads, LayerKv};

/// The cache of one engine: `slots` sequences of up to `capacity` positions.
///
/// Nothing is cleared between sequences: a row sees only positions that its own sequence stored.
pub struct KvCache {
    pub(super) layers: Vec<LayerKv>,
    capacity: usize,
}

impl KvCache {
    /// Room for `slots` sequences of `capacity` positions.
    pub fn new(config: &ModelConfig, slots: usize, capacity: usize) -> Self {
        let layer = LayerKv::new(config.heads(), slots, capacity);
        KvCache {
            layers: vec![layer; config.num_hidden_layers],
            capacity,
        }
    }

    /// Most positions of a sequence.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Copies the first `positions` of one slot to another, so that samples of one prompt share
    /// its prefill.
    pub fn copy(&mut self, from: usize, to: usize, positions: usize) {
        for layer in &mut self.layers {
            layer.copy(from, to, positions);
        }
    }

    /// Bytes that such a cache takes.
    pub fn bytes(config: &ModelConfig, slots: usize, capacity: usize) -> usize {
        2 * 4
            * slots
            * capacity
            * config.num_key_value_heads
            * config.head_dim
            * config.num_hidden_layers
    }
}

impl ModelConfig {
    /// Attention heads as the kernels take them.
    pub fn heads(&self) -> Heads {
        Heads {
            queries: self.num_attention_heads,
            kv: self.num_key_value_heads,
            dim: self.head_dim,
        }
    }
}
