//! Keys and values of one layer.

use crate::gpu::{Buffer, Cuda};
use crate::model::Heads;

/// Keys and values, `[slot][position][head][dim]`.
pub struct CudaKv {
    pub(super) keys: Buffer,
    pub(super) values: Buffer,
    pub(super) heads: Heads,
    pub(super) capacity: usize,
}

impl CudaKv {
    /// Bytes of the keys, and of the values.
    pub(super) fn bytes(heads: Heads, slots: usize, capacity: usize) -> usize {
        slots * capacity * heads.kv * heads.dim * 2
    }

    /// In the middle of a step.
    pub(super) fn room(cuda: &Cuda, heads: Heads, slots: usize, capacity: usize) -> Self {
        let bytes = Self::bytes(heads, slots, capacity);
        CudaKv {
            keys: cuda.room(bytes),
            values: cuda.room(bytes),
            heads,
            capacity,
        }
    }
}
