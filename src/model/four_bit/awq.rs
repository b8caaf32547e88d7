//! AWQ's `gemm`: `qweight [in, out/8]`, eight outputs a word in an order of its own; `qzeros [groups,
//! out/8]` in the same order; `scales [groups, out]`. A number is `(q - zero) scale` (AutoAWQ's
//! `dequantize_gemm`).

use safetensors::Dtype;

use super::grouped::{Groups, scales, zeros};
use super::{Described, ModelError, Part, Parts};

/// Where in a word each of eight outputs stands, counted in fours of bits.
const PLACE: [usize; 8] = [0, 4, 1, 5, 2, 6, 3, 7];

pub(super) fn describe(parts: &Parts<'_>) -> Result<Described, ModelError> {
    let (_, shape) = numbers(parts)?;
    let (groups, _) = zeros(parts, shape[0])?;
    let format = Groups::in_order(parts, shape[1], groups)?.format();
    Ok(Described { shape, format })
}

pub(super) fn rows(parts: &Parts<'_>) -> Result<Vec<u8>, ModelError> {
    let (words, [outputs, inputs]) = numbers(parts)?;
    let (count, zeros) = zeros(parts, outputs)?;
    let groups = Groups::in_order(parts, inputs, count)?;
    let scales = scales(parts, count, outputs)?;
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
