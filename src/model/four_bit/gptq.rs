//! GPTQ: `qweight [in/8, out]`, eight inputs a word; `scales [groups, out]`; `qzeros [groups, out/8]`;
//! `g_idx [in]`, the group of each input, which are out of order where they were quantized in the
//! order of activations (`desc_act`). A number is `(q - zero) scale` (GPTQModel's `dequantize_weight`).

use safetensors::Dtype;

use super::grouped::{Groups, scales};
use super::{ModelError, Part, Parts};
use crate::model::stored::Format;

/// `[out, in]`.
pub(super) fn shape(parts: &Parts<'_>) -> Result<[usize; 2], ModelError> {
    let shape = numbers(parts)?.1;
    read(parts)?;
    Ok(shape)
}

pub(super) fn format(parts: &Parts<'_>) -> Result<Format, ModelError> {
    Ok(read(parts)?.0.format())
}

pub(super) fn rows(
    parts: &Parts<'_>,
    zeros_less_one: bool,
) -> Result<(Format, Vec<u8>), ModelError> {
    let (words, [outputs, _]) = numbers(parts)?;
    let (groups, zeros) = read(parts)?;
    let scales = scales(parts, groups.count, outputs)?;
    let (words, mut zeros) = (words.words(), zeros.words());
    if zeros_less_one {
        // One is taken from all eight of a word at once, so that a zero borrows from its neighbour.
        zeros
            .iter_mut()
            .for_each(|word| *word = word.wrapping_add(0x1111_1111));
    }
    let zero = |group: usize, output: usize| {
        zeros[group * (outputs / 8) + output / 8] >> (4 * (output % 8)) & 15
    };
    let word = |output: usize, at: usize| words[at * outputs + output];
    Ok(groups.rows(outputs, word, &scales, zero))
}

fn numbers<'a>(parts: &Parts<'a>) -> Result<(Part<'a>, [usize; 2]), ModelError> {
    let part = parts.get("qweight", &[Dtype::I32])?;
    match *part.shape {
        [eighths, outputs] if outputs.is_multiple_of(8) => Ok((part, [outputs, 8 * eighths])),
        _ => {
            let problem = format!("has shape {:?}, not [in/8, out]", part.shape);
            Err(parts.damaged("qweight", problem))
        }
    }
}

/// Groups and zero points, whose shapes fit.
fn read<'a>(parts: &Parts<'a>) -> Result<(Groups, Part<'a>), ModelError> {
    let (_, [outputs, inputs]) = numbers(parts)?;
    let zeros = parts.get("qzeros", &[Dtype::I32])?;
    let count = zeros.shape.first().copied().unwrap_or(0);
    let zeros = parts.of_shape("qzeros", &[Dtype::I32], &[count, outputs / 8])?;
    parts.of_shape("scales", &[Dtype::F16, Dtype::BF16], &[count, outputs])?;
    if parts.find("g_idx").is_none() {
        return Ok((Groups::in_order(parts, "qzeros", inputs, count)?, zeros));
    }
    let index = parts.of_shape("g_idx", &[Dtype::I32], &[inputs])?.words();
    let known = |group: u32| {
        u16::try_from(group)
            .ok()
            .filter(|g| usize::from(*g) < count)
    };
    let mut of_input = Vec::with_capacity(inputs);
    for (input, group) in index.into_iter().enumerate() {
        let group = known(group).ok_or_else(|| {
            let group = group as i32;
            let problem = format!("gives group {group} to input {input}; there are {count}");
            parts.damaged("g_idx", problem)
        })?;
        of_input.push(group);
    }
    Ok((Groups { count, of_input }, zeros))
}
