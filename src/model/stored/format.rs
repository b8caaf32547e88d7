//! The formats by name.

use candle_core::quantized::GgmlDType;

use super::codes::{self, Code};
use super::int4::{self, ByInput};
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
    /// Blocks of 64 codes of four bits, and a scale in F32: bitsandbytes.
    Codes(Code),
    /// Four bits less a zero point, times a scale, for so many inputs each: GPTQ and AWQ.
    Int4 {
        /// Inputs that share both: 32, 64, or 128.
        inputs: usize,
    },
    /// The same where any input may belong to any group: GPTQ in the order of activations.
    Int4ByInput(ByInput),
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
        matches!(self, Format::F32 | Format::Bf16 | Format::Codes(_))
    }

    /// Whether it has fewer than 16 bits a number.
    pub fn is_quantized(self) -> bool {
        !matches!(self, Format::F32 | Format::F16 | Format::Bf16)
    }

    /// Its name for people, of one that is quantized.
    pub(in crate::model) fn quantized_name(self) -> Option<String> {
        match self {
            Format::F32 | Format::F16 | Format::Bf16 => None,
            Format::Blocks(dtype) => Some(format!("{dtype:?}")),
            Format::Codes(Code::Nf4) => Some("NF4".into()),
            Format::Codes(Code::Fp4) => Some("FP4".into()),
            Format::Int4 { .. } | Format::Int4ByInput(_) => Some("int4".into()),
        }
    }

    /// The numbers that bytes of any alignment stand for; `None` when they are no whole blocks.
    pub(in crate::model) fn decode(self, bytes: &[u8]) -> Option<Vec<f32>> {
        match self {
            Format::F32 => Some(plain::f32s(bytes)),
            Format::F16 => Some(plain::f16s(bytes)),
            Format::Bf16 => Some(plain::bf16s(bytes)),
            Format::Blocks(dtype) => blocks::decode(dtype, bytes),
            Format::Codes(code) => Some(codes::decode(code, bytes)),
            Format::Int4 { inputs } => Some(int4::decode(inputs, bytes)),
            Format::Int4ByInput(rows) => Some(rows.decode(bytes)),
        }
    }
}
