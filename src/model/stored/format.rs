//! The formats by name.

use candle_core::quantized::GgmlDType;

use super::{blocks, plain};

/// What bytes stand for numbers. Rows follow each other without gaps in every format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Little-endian.
    F32,
    /// Half precision.
    F16,
    /// The upper half of F32.
    Bf16,
    /// Blocks of a GGUF file, each with scales of its own.
    Blocks(GgmlDType),
}

impl Format {
    /// That of a GGUF file; `None` for one that is only computed with, and never stored.
    pub(in crate::model) fn of_ggml(dtype: GgmlDType) -> Option<Self> {
        match dtype {
            GgmlDType::F32 => Some(Format::F32),
            GgmlDType::F16 => Some(Format::F16),
            GgmlDType::BF16 => Some(Format::Bf16),
            GgmlDType::Q8_1 | GgmlDType::Q8K => None,
            blocks => Some(Format::Blocks(blocks)),
        }
    }

    /// Whether its numbers may be as large as those of F32.
    pub fn has_range_of_f32(self) -> bool {
        matches!(self, Format::F32 | Format::Bf16)
    }

    /// The numbers that bytes of any alignment stand for; `None` when they are no whole blocks.
    pub(super) fn decode(self, bytes: &[u8]) -> Option<Vec<f32>> {
        match self {
            Format::F32 => Some(plain::f32s(bytes)),
            Format::F16 => Some(plain::f16s(bytes)),
            Format::Bf16 => Some(plain::bf16s(bytes)),
            Format::Blocks(dtype) => blocks::decode(dtype, bytes),
        }
    }
}
