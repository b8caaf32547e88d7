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
