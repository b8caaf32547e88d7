//! bitsandbytes: `weight`, two codes a byte over the flat matrix, and the scale of each block in
//! `weight.absmax`, in F32, or in codes of eight bits that have scales of their own (double
//! quantization). What they mean stands as JSON in a tensor of its own.

use rayon::prelude::*;
use safetensors::Dtype;
use serde::Deserialize;

use super::{Described, ModelError, Part, Parts};
use crate::model::stored::{CODES_OF_BLOCK, Code, Format, block_of_codes};

/// Ends of names of the tensors that say how a matrix is stored.
pub(super) const STATES: [&str; 2] = [
    "weight.quant_state.bitsandbytes__nf4",
    "weight.quant_state.bitsandbytes__fp4",
];

/// Ends of all names of a matrix.
pub(super) const ENDS: [&str; 7] = [
    "weight",
    ABSMAX,
    "weight.quant_map",
    "weight.nested_absmax",
    "weight.nested_quant_map",
    STATES[0],
    STATES[1],
];

/// The end of the name of the scales.
const ABSMAX: &str = "weight.absmax";

/// What the JSON says.
#[derive(Deserialize)]
struct State {
    quant_type: String,
    blocksize: usize,
    shape: [usize; 2],
    /// Where scales are codes: how many share a scale, and what is added to all.
    nested_blocksize: Option<usize>,
    #[serde(default)]
    nested_offset: f32,
}

impl State {
    fn read(parts: &Parts<'_>) -> Result<(Self, Code), ModelError> {
        let states = STATES.into_iter().zip([Code::Nf4, Code::Fp4]);
        let mut there = states.filter(|(end, _)| parts.find(end).is_some());
        let (end, code) = there.next().unwrap_or((STATES[0], Code::Nf4));
        let part = parts.get(end, &[Dtype::U8])?;
        let state: State = serde_json::from_slice(part.bytes)
            .map_err(|e| parts.damaged(end, format!("is no description of codes ({e})")))?;
        let numbers = state.shape[0].checked_mul(state.shape[1]);
        let fits = state.blocksize > 0
            && state.nested_blocksize != Some(0)
            && end.ends_with(&state.quant_type)
            && numbers.is_some_and(|n| n > 0 && n.is_multiple_of(2));
        if !fits {
            let text = String::from_utf8_lossy(part.bytes);
            return Err(parts.damaged(end, format!("says {text}")));
        }
        Ok((state, code))
    }

    fn numbers(&self) -> usize {
        self.shape[0] * self.shape[1]
    }

    fn blocks(&self) -> usize {
        self.numbers().div_ceil(self.blocksize)
    }

    /// Whether every row is whole blocks of 64, each of one scale.
    fn in_blocks(&self) -> bool {
        let [_, inputs] = self.shape;
        inputs.is_multiple_of(CODES_OF_BLOCK) && self.blocksize.is_multiple_of(CODES_OF_BLOCK)
    }

    /// The tensors of the scales, whose types and shapes fit.
    fn scales<'a>(&self, parts: &Parts<'a>) -> Result<Scales<'a>, ModelError> {
        let blocks = [self.blocks()];
        let Some(size) = self.nested_blocksize else {
            let scales = parts.of_shape(ABSMAX, &[Dtype::F32], &blocks)?;
            return Ok(Scales::Plain(scales));
        };
        let own = [self.blocks().div_ceil(size)];
        Ok(Scales::Nested {
            size,
            codes: parts.of_shape(ABSMAX, &[Dtype::U8], &blocks)?,
            numbers: parts.of_shape("weight.nested_quant_map", &[Dtype::F32], &[256])?,
            own: parts.of_shape("weight.nested_absmax", &[Dtype::F32], &own)?,
            offset: self.nested_offset,
        })
    }
}

/// The scale of each block.
enum Scales<'a> {
    Plain(Part<'a>),
    /// A code, of which so many share a scale.
    Nested {
        size: usize,
        codes: Part<'a>,
        numbers: Part<'a>,
        own: Part<'a>,
        offset: f32,
    },
}

impl Scales<'_> {
    /// In F32.
    fn values(&self, parts: &Parts<'_>) -> Result<Vec<f32>, ModelError> {
        let scales = match self {
            Scales::Plain(scales) => scales.floats(),
            Scales::Nested {
                size,
                codes,
                numbers,
                own,
                offset,
            } => {
                let (numbers, own) = (numbers.floats(), own.floats());
                let codes = codes.bytes.iter().enumerate();
                let scale = |(block, &code): (usize, &u8)| {
                    numbers[usize::from(code)] * own[block / size] + offset
                };
                codes.map(scale).collect()
            }
        };
        parts.finite(ABSMAX, &scales)?;
        Ok(scales)
    }
}

pub(super) fn describe(parts: &Parts<'_>) -> Result<Described, ModelError> {
    let (state, code) = State::read(parts)?;
    // A matrix of bytes may have been saved as such, or as a row of them.
    let codes = parts.get("weight", &[Dtype::U8])?;
    if codes.bytes.len() != state.numbers() / 2 {
        let problem = format!(
            "has {} bytes, and its matrix of {:?} asks for {}",
            codes.bytes.len(),
            state.shape,
            state.numbers() / 2
        );
        return Err(parts.damaged("weight", problem));
    }
    let map = parts.of_shape("weight.quant_map", &[Dtype::F32], &[16])?;
    let same = |(a, b): (&f32, &f32)| (a - b).abs() <= f32::EPSILON;
    if !map.floats().iter().zip(code.numbers()).all(same) {
        let problem = format!("is not the table of {}", state.quant_type);
        return Err(parts.damaged("weight.quant_map", problem));
    }
    state.scales(parts)?;
    Ok(Described {
        shape: state.shape,
        format: match state.in_blocks() {
            true => Format::Codes(code),
            false => Format::F32,
        },
    })
}

/// In the format that [`describe`] gives.
pub(super) fn rows(parts: &Parts<'_>, format: Format) -> Result<Vec<u8>, ModelError> {
    let (state, code) = State::read(parts)?;
    let scales = state.scales(parts)?.values(parts)?;
    let codes = parts.get("weight", &[Dtype::U8])?.bytes;
    if format == Format::F32 {
        let number = |at: usize| {
            let code_of = codes[at / 2] >> (4 * (1 - at % 2)) & 15;
            code.numbers()[usize::from(code_of)] * scales[at / state.blocksize]
        };
        let numbers = (0..state.numbers()).into_par_iter().map(number);
        return Ok(numbers.flat_map_iter(f32::to_le_bytes).collect());
    }
    let mut bytes = Vec::new();
    for (at, codes) in codes.chunks_exact(CODES_OF_BLOCK / 2).enumerate() {
        let scale = scales[at * CODES_OF_BLOCK / state.blocksize];
        block_of_codes(scale, codes, &mut bytes);
    }
    Ok(bytes)
}
