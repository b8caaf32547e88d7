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

    /// Formats of matrices by the names that `qeval bench` takes, with what they are for people.
    pub const NAMED: [(&str, Format); 11] = [
        ("f32", Format::F32),
        ("bf16", Format::Bf16),
        ("q8_0", Format::Blocks(GgmlDType::Q8_0)),
        ("q6_k", Format::Blocks(GgmlDType::Q6K)),
        ("q5_k", Format::Blocks(GgmlDType::Q5K)),
        ("q5_1", Format::Blocks(GgmlDType::Q5_1)),
        ("q5_0", Format::Blocks(GgmlDType::Q5_0)),
        ("q4_k", Format::Blocks(GgmlDType::Q4K)),
        ("q4_1", Format::Blocks(GgmlDType::Q4_1)),
        ("q4_0", Format::Blocks(GgmlDType::Q4_0)),
        ("nf4", Format::Codes(Code::Nf4)),
    ];

    /// The format of a matrix of a file that has this one: as llama.cpp chooses where rows are no
    /// whole blocks of 256, and 16 bits for the tables of a folder whose layers have codes.
    pub(in crate::model) fn of_matrix(self, is_of_layers: bool, inputs: usize) -> Self {
        let whole = inputs.is_multiple_of(256);
        match self {
            Format::Codes(_) if !is_of_layers => Format::Bf16,
            Format::Blocks(GgmlDType::Q4K) if !whole => Format::Blocks(GgmlDType::Q5_0),
            Format::Blocks(GgmlDType::Q5K) if !whole => Format::Blocks(GgmlDType::Q5_1),
            Format::Blocks(GgmlDType::Q6K) if !whole => Format::Blocks(GgmlDType::Q8_0),
            other => other,
        }
    }

    /// Rows of numbers in bytes of this format; `None` where they are no whole blocks, and for those
    /// that folders lay out.
    pub fn encode(self, values: &[f32], inputs: usize) -> Option<Vec<u8>> {
        match self {
            Format::F32 => Some(values.iter().flat_map(|v| v.to_le_bytes()).collect()),
            Format::F16 => Some(plain::to_f16s(values)),
            Format::Bf16 => Some(plain::to_bf16s(values)),
            Format::Blocks(dtype) => blocks::encode(dtype, values, inputs),
            Format::Codes(Code::Nf4) => codes::encode(values),
            Format::Codes(Code::Fp4) | Format::Int4 { .. } | Format::Int4ByInput(_) => None,
        }
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
