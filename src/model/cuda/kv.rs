//! Keys and values of one layer.

use super::rows::CudaRows;
use crate::gpu::{Arg, Buffer, Cuda, Grid};
use crate::model::Heads;

/// Keys and values, `[slot][position][head][dim]`.
pub struct CudaKv {
    pub(super) keys: Buffer,
    pub(super) values: Buffer,
    pub(super) heads: Heads,
    pub(super) slots: usize,
    pub(super) capacity: usize,
}

impl CudaKv {
    /// Bytes of the keys, and of the values.
    pub(in crate::model) fn bytes(heads: Heads, slots: usize, capacity: usize) -> usize {
        slots * capacity * heads.kv * heads.dim * 2
    }

    /// In the middle of a step.
    pub(super) fn room(cuda: &Cuda, heads: Heads, slots: usize, capacity: usize) -> Self {
        let bytes = Self::bytes(heads, slots, capacity);
        CudaKv {
            keys: cuda.room(bytes),
            values: cuda.room(bytes),
            heads,
            slots,
            capacity,
        }
    }

    /// Keys and values for a kernel that places rows in them, or reads those of their sequences.
    ///
    /// # Panics
    /// When heads or places are others.
    pub(super) fn pointers(&self, heads: Heads, rows: &CudaRows) -> [Arg; 2] {
        assert_eq!(self.heads, heads, "heads of the cache");
        assert_eq!(self.capacity, rows.capacity, "positions of a slot");
        assert!(
            rows.slots <= self.slots,
            "slot {} of {}",
            rows.slots,
            self.slots
        );
        let bytes = Self::bytes(heads, self.slots, self.capacity);
        [self.keys.holds(bytes), self.values.holds(bytes)]
    }

    /// Copies the first `positions` of one slot to another.
    ///
    /// # Panics
    /// When there are not as many slots or positions.
    pub(super) fn copy(&mut self, cuda: &Cuda, from: usize, to: usize, positions: usize) {
        assert!(from.max(to) < self.slots && positions <= self.capacity);
        let row = self.heads.kv * self.heads.dim / 8;
        let slot = self.capacity * row;
        let count = positions * row;
        let bytes = Self::bytes(self.heads, self.slots, self.capacity);
        let args = [
            self.keys.holds(bytes),
            self.values.holds(bytes),
            Arg::Long((from * slot) as u64),
            Arg::Long((to * slot) as u64),
            Arg::Long(count as u64),
        ];
        // SAFETY: `copy_slot(keys, values, from, to, count8)` copies so many times 16 bytes, which
        // lie in the two slots.
        unsafe { cuda.launch("copy_slot", Grid::flat(count), &args) };
    }
}
