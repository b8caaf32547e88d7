//! Four bits less a zero point, times a scale: what GPTQ and AWQ make of a matrix.
//!
//! Where inputs of a group lie side by side, a block is its scale in F32, its zero point in a word of
//! 32 bits, and the numbers of its inputs, the first in the lower half of each byte. Where they do
//! not, a row is the scales and zero points of all groups, the group of each input in 16 bits, and
//! then the numbers. Scales are of 16 bits in the files, so that every product of one with a number
//! of a few bits is exact.

use rayon::prelude::*;

/// Bytes before a block's numbers, and of a group before a row's.
const HEAD: usize = size_of::<f32>() + size_of::<u32>();

/// Rows of which any input may belong to any group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByInput {
    /// Groups.
    pub groups: usize,
    /// Inputs of a row.
    pub inputs: usize,
}

/// A block's or group's scale and zero point as they are stored here.
pub fn head(scale: f32, zero: u32) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..4].copy_from_slice(&scale.to_le_bytes());
    head[4..].copy_from_slice(&zero.to_le_bytes());
    head
}

/// Bytes of a block of so many inputs.
pub const fn block(inputs: usize) -> usize {
    HEAD + inputs / 2
}

/// Scale and zero point of a [`head`].
pub fn scale_and_zero(head: &[u8]) -> (f32, u32) {
    let word = |at: usize| [head[at], head[at + 1], head[at + 2], head[at + 3]];
    (f32::from_le_bytes(word(0)), u32::from_le_bytes(word(4)))
}

/// The number in four bits, counted from the first.
pub fn nibble(bytes: &[u8], number: usize) -> u8 {
    bytes[number / 2] >> (4 * (number % 2)) & 15
}

fn number(q: u8, (scale, zero): (f32, u32)) -> f32 {
    (f32::from(q) - zero as f32) * scale
}

pub(super) fn decode(inputs: usize, bytes: &[u8]) -> Vec<f32> {
    let size = block(inputs);
    let mut values = vec![0.0; bytes.len() / size * inputs];
    let blocks = bytes.par_chunks_exact(size).with_min_len(1 << 10);
    let decoded = values.par_chunks_exact_mut(inputs).zip(blocks);
    decoded.for_each(|(values, block)| {
        let (head, numbers) = block.split_at(HEAD);
        let head = scale_and_zero(head);
        for (n, value) in values.iter_mut().enumerate() {
            *value = number(nibble(numbers, n), head);
        }
    });
    values
}

impl ByInput {
    /// Bytes of a row.
    pub const fn row(self) -> usize {
        self.groups * HEAD + 2 * self.inputs + self.inputs / 2
    }

    /// Heads of the groups, the group of each input, and the numbers of a row.
    pub fn parts(self, row: &[u8]) -> (&[u8], impl Iterator<Item = usize>, &[u8]) {
        let (heads, rest) = row.split_at(self.groups * HEAD);
        let (groups, numbers) = rest.split_at(2 * self.inputs);
        let groups = groups.chunks_exact(2);
        let groups = groups.map(|group| usize::from(u16::from_le_bytes([group[0], group[1]])));
        (heads, groups, numbers)
    }

    /// Scales and zero points of all groups.
    pub fn heads(heads: &[u8]) -> impl Iterator<Item = (f32, u32)> {
        heads.chunks_exact(HEAD).map(scale_and_zero)
    }

    pub(super) fn decode(self, bytes: &[u8]) -> Vec<f32> {
        let mut values = vec![0.0; bytes.len() / self.row() * self.inputs];
        let rows = bytes.par_chunks_exact(self.row());
        let decoded = values.par_chunks_exact_mut(self.inputs).zip(rows);
        decoded.for_each(|(values, row)| {
            let (heads, groups, numbers) = self.parts(row);
            let heads: Vec<_> = Self::heads(heads).collect();
            for (n, (value, group)) in values.iter_mut().zip(groups).enumerate() {
                *value = number(nibble(numbers, n), heads[group]);
            }
        });
        values
    }
}
