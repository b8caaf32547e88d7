//! AWQ's `gemm`: `qweight [in, out/8]`, eight outputs a word in an order of its own; `qzeros [groups,
//! out/8]` in the same order; `scales [groups, out]`. A number is `(q - zero) scale` (AutoAWQ's
//! `dequantize_gemm`).

use safetensors::Dtype;

use super::grouped::{Groups, scales};
use super::{ModelError, Part, Parts};
use crate::model::stored::Format;

/// Where in a word each of eight outputs stands, counted in fours of bits.
const PLACE: [usize; 8] = [0, 4, 1, 5, 2, 6, 3, 7];

/// `[out, in]`.
pub(super) fn shape(parts: &Parts<'_>) -> Result<[usize; 2], ModelError> {
    read(parts)?;
    Ok(numbers(parts)?.1)
}

pub(super) fn format(parts: &Parts<'_>) -> Result<Format, ModelError> {
    Ok(read(parts)?.0.format())
}

pub(super) fn rows(parts: &Parts<'_>) -> Result<(Format, Vec<u8>), ModelError> {
    let (words, [outputs, _]) = numbers(parts)?;
    let (groups, zeros) = read(parts)?;
    let scales = scales(parts, groups.count, outputs)?;
    let (words, zeros) = (words.words(), zeros.words());
    let of_output = |words: &[u32], row: usize, output: usize| {
        words[row * (outputs / 8) + output / 8] >> (4 * PLACE[output % 8]) & 15
    };
    let word = |output: usize, at: usize| {
        let each = (0..8).map(|n| of_output(&words, 8 * at + n, output) << (4 * n));
        each.fold(0, |word, q| word | q)
    };
    let zero = |group: usize, output: usize| of_output(&zeros, group, output);
    Ok(groups.rows(outputs, word, &scales, zero))
}

fn numbers<'a>(parts: &Parts<'a>) -> Result<(Part<'a>, [usize; 2]), ModelError> {
    let part = parts.get("qweight", &[Dtype::I32])?;
    match *part.shape {
        [inputs, eighths] if inputs.is_multiple_of(8) => Ok((part, [8 * eighths, inputs])),
        _ => {
            let problem = format!("has shape {:?}, not [in, out/8]", part.shape);
            Err(parts.damaged("qweight", problem))
        }
    }
}

fn read<'a>(parts: &Parts<'a>) -> Result<(Groups, Part<'a>), ModelError> {
    let (_, [outputs, inputs]) = numbers(parts)?;
    let zeros = parts.get("qzeros", &[Dtype::I32])?;
    let count = zeros.shape.first().copied().unwrap_or(0);
    let zeros = parts.of_shape("qzeros", &[Dtype::I32], &[count, outputs / 8])?;
    parts.of_shape("scales", &[Dtype::F16, Dtype::BF16], &[count, outputs])?;
    Ok((Groups::in_order(parts, "qzeros", inputs, count)?, zeros))
}
