//! Numbers of four bits whose inputs may each belong to any group of one scale and zero point.

use rayon::prelude::*;

use super::LANES;
use super::kernels::{Group, sum_groups, unpack_groups};
use super::lanes::put_4;
use crate::model::stored::{ByInput, StoredRows, nibble_of_int4};

/// A matrix of such rows in panels of 16 outputs.
#[derive(Clone)]
pub(super) struct Grouped {
    /// Panels.
    pub panels: usize,
    inputs: usize,
    groups: usize,
    /// The group of each input.
    of_input: Vec<u16>,
    /// `[panels][groups]`.
    scaled: Vec<Group>,
    /// `[panels][inputs/8][16]`.
    words: Vec<u32>,
}

/// Bytes of a matrix of so many rows.
pub(super) fn bytes_of(format: ByInput, rows: usize) -> u64 {
    let row = format.groups * 8 + format.inputs / 2;
    rows as u64 * row as u64 + 2 * format.inputs as u64
}

/// Whole panels of whole words.
pub(super) fn fits(format: ByInput, rows: usize, cols: usize) -> bool {
    rows.is_multiple_of(LANES) && cols == format.inputs && cols.is_multiple_of(8)
}

impl Grouped {
    /// Every row has the groups of the first.
    pub fn pack(rows: &StoredRows<'_>, format: ByInput) -> Self {
        let ByInput { groups, inputs } = format;
        let panels = rows.count() / LANES;
        let mut scaled = vec![
            Group {
                scale: [0.0; LANES],
                least: [0.0; LANES],
            };
            panels * groups
        ];
        let mut words = vec![0; panels * inputs / 8 * LANES];
        let all_scaled = scaled.par_chunks_mut(groups);
        let all_words = words.par_chunks_mut(inputs / 8 * LANES);
        let packed = all_scaled.zip(all_words).enumerate();
        packed.for_each(|(panel, (scaled, words))| {
            for lane in 0..LANES {
                let (heads, _, numbers) = format.parts(rows.row(panel * LANES + lane));
                for (scaled, (scale, zero)) in scaled.iter_mut().zip(ByInput::heads(heads)) {
                    scaled.scale[lane] = scale;
                    // Exact, and so is `q scale` less it: scales are of 16 bits.
                    scaled.least[lane] = -(zero as f32 * scale);
                }
                for number in 0..inputs {
                    put_4(words, lane, number, nibble_of_int4(numbers, number));
                }
            }
        });
        let of_input = format.parts(rows.row(0)).1.map(|group| group as u16);
        Grouped {
            panels,
            inputs,
            groups,
            of_input: of_input.collect(),
            scaled,
            words,
        }
    }

    pub fn bytes(&self) -> usize {
        let scaled = size_of_val(&self.scaled[..]) + size_of_val(&self.of_input[..]);
        scaled + size_of_val(&self.words[..])
    }

    /// Inputs from one that begins a word on.
    pub fn unpack(&self, panel: usize, inputs: std::ops::Range<usize>, out: &mut [f32]) {
        let (words, scaled) = self.panel(panel, inputs.start);
        unpack_groups(words, &self.of_input[inputs], scaled, out);
    }

    /// Adds the products of a panel with a row.
    pub fn sum(&self, panel: usize, x: &[f32], sums: &mut [f32; LANES]) {
        let (words, scaled) = self.panel(panel, 0);
        sum_groups(words, &self.of_input, scaled, x, sums);
    }

    fn panel(&self, panel: usize, input: usize) -> (&[u32], &[Group]) {
        let scaled = &self.scaled[panel * self.groups..(panel + 1) * self.groups];
        let words = &self.words[(panel * self.inputs + input) / 8 * LANES..];
        (words, scaled)
    }
}
