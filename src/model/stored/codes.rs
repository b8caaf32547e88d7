//! Four bits that name one of sixteen numbers, times a scale of 64 of them: bitsandbytes' NF4 and FP4.
//!
//! A block is its scale in F32 and 32 bytes, the number that comes first in the upper half of each.
//! The tables are those of bitsandbytes (`get_4bit_type`); NF4 is from QLoRA (Dettmers et al. 2023,
//! appendix E).

use rayon::prelude::*;

/// Numbers of a block.
pub const BLOCK: usize = 64;
/// Bytes of a block.
pub const BYTES: usize = size_of::<f32>() + BLOCK / 2;

/// Which numbers sixteen codes stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Quantiles of a normal distribution.
    Nf4,
    /// A sign, two bits of exponent, and one more.
    Fp4,
}

impl Code {
    /// The number of each code, in -1 to 1.
    pub const fn numbers(self) -> &'static [f32; 16] {
        match self {
            Code::Nf4 => &NF4,
            Code::Fp4 => &FP4,
        }
    }
}

#[expect(clippy::excessive_precision, reason = "as bitsandbytes writes them")]
const NF4: [f32; 16] = [
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
];

const FP4: [f32; 16] = [
    0.0,
    0.0625 / 12.0,
    8.0 / 12.0,
    1.0,
    4.0 / 12.0,
    6.0 / 12.0,
    2.0 / 12.0,
    3.0 / 12.0,
    -0.0,
    -0.0625 / 12.0,
    -8.0 / 12.0,
    -1.0,
    -4.0 / 12.0,
    -6.0 / 12.0,
    -2.0 / 12.0,
    -3.0 / 12.0,
];

/// A block as it is stored here: its scale, and its codes as bitsandbytes packs them.
pub fn block(scale: f32, codes: &[u8], out: &mut Vec<u8>) {
    out.extend(scale.to_le_bytes());
    out.extend(codes);
}

pub(super) fn decode(code: Code, bytes: &[u8]) -> Vec<f32> {
    let numbers = code.numbers();
    let mut values = vec![0.0; bytes.len() / BYTES * BLOCK];
    let blocks = bytes.par_chunks_exact(BYTES);
    let decoded = values.par_chunks_exact_mut(BLOCK).zip(blocks);
    decoded.with_min_len(1 << 10).for_each(|(values, block)| {
        let (scale, codes) = block.split_at(size_of::<f32>());
        let scale = f32::from_le_bytes([scale[0], scale[1], scale[2], scale[3]]);
        for (pair, byte) in values.chunks_exact_mut(2).zip(codes) {
            pair[0] = numbers[usize::from(byte >> 4)] * scale;
            pair[1] = numbers[usize::from(byte & 15)] * scale;
        }
    });
    values
}

/// Blocks of NF4 that stand for these numbers as near as it can, with the bits of bitsandbytes'
/// `quantize_4bit`: each is multiplied by one over the largest of its block, and takes the code of the
/// nearest number, of two as near the lower one. `None` where the last block would not be whole.
pub fn encode(values: &[f32]) -> Option<Vec<u8>> {
    if !values.len().is_multiple_of(BLOCK) {
        return None;
    }
    let mut bytes = vec![0; values.len() / BLOCK * BYTES];
    let blocks = values.par_chunks_exact(BLOCK).with_min_len(1 << 10);
    let encoded = blocks.zip(bytes.par_chunks_exact_mut(BYTES));
    encoded.for_each(|(values, block)| {
        let (scale, codes) = block.split_at_mut(size_of::<f32>());
        let largest = values.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        scale.copy_from_slice(&largest.to_le_bytes());
        // A block of zeros has no scale to divide by.
        let inverse = 1.0 / largest.max(1e-38);
        let code = |x: f32| nearest((x * inverse).clamp(-1.0, 1.0));
        for (byte, pair) in codes.iter_mut().zip(values.chunks_exact(2)) {
            *byte = code(pair[0]) << 4 | code(pair[1]);
        }
    });
    Some(bytes)
}

/// The code of the number of NF4 that is nearest.
fn nearest(x: f32) -> u8 {
    let between = NF4.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0);
    between.filter(|bound| *bound < x).count() as u8
}
