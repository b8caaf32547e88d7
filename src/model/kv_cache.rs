//! Keys and values of every layer for a fixed number of sequences, allocated once.

use super::cpu::Cpu;
use super::device::Device;
use super::{Heads, ModelConfig, ModelError};

/// The cache of one engine: `slots` sequences of up to `capacity` positions.
///
/// Nothing is cleared between sequences: a row sees only positions that its own sequence stored.
pub struct KvCache<D: Device = Cpu> {
    device: D,
    pub(super) layers: Vec<D::Kv>,
    capacity: usize,
}

impl KvCache {
    /// Room for `slots` sequences of `capacity` positions in the host's memory.
    pub fn new(config: &ModelConfig, slots: usize, capacity: usize) -> Self {
        // Made one by one: a copy would write what nobody may ever use.
        let layer = |_| super::cpu::LayerKv::new(config.heads(), slots, capacity);
        KvCache {
            device: Cpu,
            layers: (0..config.num_hidden_layers).map(layer).collect(),
            capacity,
        }
    }
}

impl<D: Device> KvCache<D> {
    /// Room for `slots` sequences of `capacity` positions on a device.
    ///
    /// # Errors
    /// The device's memory is full.
    pub fn on(
        device: &D,
        config: &ModelConfig,
        slots: usize,
        capacity: usize,
    ) -> Result<Self, ModelError> {
        let layers = (0..config.num_hidden_layers)
            .map(|_| device.kv(config.heads(), slots, capacity))
            .collect::<Result<_, _>>()?;
        Ok(KvCache {
            device: device.clone(),
            layers,
            capacity,
        })
    }

    /// Most positions of a sequence.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Copies the first `positions` of one slot to another, so that samples of one prompt share
    /// its prefill.
    pub fn copy(&mut self, from: usize, to: usize, positions: usize) {
        for layer in &mut self.layers {
            self.device.copy_kv(layer, from, to, positions);
        }
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
