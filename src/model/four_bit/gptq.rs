//! GPTQ: `qweight [in/8, out]`, eight inputs a word; `scales [groups, out]`; `qzeros [groups, out/8]`;
//! `g_idx [in]`, the group of each input, which are out of order where they were quantized in the
//! order of activations (`desc_act`). A number is `(q - zero) scale` (GPTQModel's `dequantize_weight`).

use safetensors::Dtype;

use super::grouped::{Groups, scales, zeros};
use super::{Described, ModelError, Part, Parts};

pub(super) fn describe(parts: &Parts<'_>) -> Result<Described, ModelError> {
    let (_, shape) = numbers(parts)?;
    let (groups, _) = zeros(parts, shape[0])?;
    let format = groups_of(parts, groups, shape[1])?.format();
    Ok(Described { shape, format })
}

pub(super) fn rows(parts: &Parts<'_>, zeros_less_one: bool) -> Result<Vec<u8>, ModelError> {
    let (words, [outputs, inputs]) = numbers(parts)?;
    let (count, zeros) = zeros(parts, outputs)?;
    let groups = groups_of(parts, count, inputs)?;
    let scales = scales(parts, count, outputs)?;
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

/// Which group each input belongs to.
fn groups_of(parts: &Parts<'_>, count: usize, inputs: usize) -> Result<Groups, ModelError> {
    if parts.find("g_idx").is_none() {
        return Groups::in_order(parts, inputs, count);
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
    Ok(Groups { count, of_input })
}
