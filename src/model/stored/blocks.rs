//! GGUF's blocks of quantized numbers, decoded and made by candle.

use std::borrow::Cow;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{CpuStorage, Device, Tensor};
use rayon::prelude::*;

pub(super) fn decode(dtype: GgmlDType, bytes: &[u8]) -> Option<Vec<f32>> {
    let (block, size) = (dtype.type_size(), dtype.block_size());
    let blocks_at_once = 1 << 12;
    let mut values = vec![0f32; bytes.len() / block * size];
    let decoded = values
        .par_chunks_mut(blocks_at_once * size)
        .zip(bytes.par_chunks(blocks_at_once * block))
        .try_for_each(|(out, part)| {
            // Blocks hold 16-bit numbers and tensors start at multiples of 8: see `Header::place`.
            match dtype.from_data(Cow::Borrowed(part)).dequantize(out.len()) {
                Ok(CpuStorage::F32(decoded)) => {
                    out.copy_from_slice(&decoded);
                    Some(())
                }
                _ => None,
            }
        });
    decoded.map(|()| values)
}

/// Blocks of rows of so many numbers; `None` where they are not whole.
pub(super) fn encode(dtype: GgmlDType, values: &[f32], inputs: usize) -> Option<Vec<u8>> {
    let shape = (values.len() / inputs, inputs);
    let tensor = Tensor::from_slice(values, shape, &Device::Cpu).ok()?;
    let blocks = QTensor::quantize(&tensor, dtype).ok()?;
    blocks.data().ok().map(Cow::into_owned)
}

/// Numbers of four bits of a block of 32: byte `j` holds number `j` in its lower four bits and `j + 16`
/// in its upper ones.
pub fn nibbles(bytes: &[u8], mut put: impl FnMut(usize, u8)) {
    for (j, byte) in bytes.iter().enumerate() {
        put(j, byte & 15);
        put(j + 16, byte >> 4);
    }
}

/// The scale and the least number of a part of 32 of a block of Q4_K or Q5_K. Twelve bytes hold six
/// bits of each of the sixteen.
pub fn scale_and_least(block: &[u8], part: usize) -> [u8; 2] {
    let packed = &block[4..16];
    if part < 4 {
        return [packed[part] & 63, packed[part + 4] & 63];
    }
    let (upper, both) = (packed[part - 4], packed[part + 4]);
    [
        both & 15 | (upper >> 6) << 4,
        both >> 4 | (packed[part] >> 6) << 4,
    ]
}

/// A number of a part of 32: of every 32 bytes the lower four bits are one part, the upper four the
/// next.
pub fn four_bits(bytes: &[u8], part: usize, number: usize) -> u8 {
    bytes[part / 2 * 32 + number] >> (4 * (part % 2)) & 15
}

/// A number of a part of 32 of a block of Q5_K: bit `part` of byte `j` is the fifth of number `j` of a
/// part.
pub fn five_bits(block: &[u8], part: usize, number: usize) -> u8 {
    let fifth = (block[16 + number] >> part & 1) << 4;
    four_bits(&block[48..176], part, number) | fifth
}

/// A number of a block of Q6_K, which stands for 32 less.
pub fn six_bits(block: &[u8], number: usize) -> u8 {
    let (half, quarter, j) = (number / 128, number / 32 % 4, number % 32);
    let lower = block[64 * half + 32 * (quarter % 2) + j] >> (4 * (quarter / 2)) & 15;
    let upper = block[128 + 32 * half + j] >> (2 * quarter) & 3;
    lower | upper << 4
}
