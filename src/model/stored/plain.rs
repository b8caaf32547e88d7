//! Numbers one by one, little-endian, of any alignment.

use half::{bf16, f16};
use rayon::prelude::*;

pub(super) fn f32s(bytes: &[u8]) -> Vec<f32> {
    widen(bytes, f32::from_le_bytes)
}

pub(super) fn f16s(bytes: &[u8]) -> Vec<f32> {
    widen(bytes, |b| f16::from_le_bytes(b).to_f32())
}

pub(super) fn bf16s(bytes: &[u8]) -> Vec<f32> {
    widen(bytes, |b| bf16::from_le_bytes(b).to_f32())
}

pub(super) fn to_f16s(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|&v| f16::from_f32(v).to_le_bytes())
        .collect()
}

pub(super) fn to_bf16s(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|&v| bf16::from_f32(v).to_le_bytes())
        .collect()
}

fn widen<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f32 + Sync) -> Vec<f32> {
    let (numbers, _) = bytes.as_chunks::<N>();
    numbers
        .par_iter()
        .with_min_len(1 << 16)
        .map(|&b| number(b))
        .collect()
}
