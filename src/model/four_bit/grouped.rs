//! What GPTQ and AWQ share: groups of inputs that have a scale and a zero point an output.

use rayon::prelude::*;
use safetensors::Dtype;

use super::{ModelError, Part, Parts};
use crate::model::stored::{ByInput, Format, head_of_int4};

/// What scales may be stored as.
const SCALES: [Dtype; 2] = [Dtype::F16, Dtype::BF16];

/// Which group each input belongs to.
pub(super) struct Groups {
    /// How many.
    pub count: usize,
    /// The group of each input.
    pub of_input: Vec<u16>,
}

/// Sizes of blocks in which inputs of a group lie side by side.
const SIDE_BY_SIDE: [usize; 3] = [128, 64, 32];

impl Groups {
    /// Of groups that follow each other.
    pub fn in_order(parts: &Parts<'_>, inputs: usize, count: usize) -> Result<Self, ModelError> {
        let size = inputs.checked_div(count).unwrap_or(0);
        let fits = u16::try_from(count).is_ok() && size > 0 && size * count == inputs;
        if !fits {
            let problem = format!("has {count} groups for {inputs} inputs");
            return Err(parts.damaged("qzeros", problem));
        }
        let of_input = (0..inputs).map(|input| (input / size) as u16).collect();
        Ok(Groups { count, of_input })
    }

    /// How rows with these groups are laid out.
    pub fn format(&self) -> Format {
        let inputs = self.of_input.len();
        let size = inputs / self.count;
        let in_order = |(input, &group): (usize, &u16)| usize::from(group) == input / size;
        let block = SIDE_BY_SIDE.into_iter().find(|b| size.is_multiple_of(*b));
        match block {
            Some(block) if self.of_input.iter().enumerate().all(in_order) => {
                Format::Int4 { inputs: block }
            }
            _ => Format::Int4ByInput(ByInput {
                groups: self.count,
                inputs,
            }),
        }
    }

    /// Rows as [`Groups::format`] lays them out, of `word(output, eight inputs)` with the first of
    /// them in the lowest bits, and `scale[group][output]`, `zero(group, output)`.
    pub fn rows(
        &self,
        outputs: usize,
        word: impl Fn(usize, usize) -> u32 + Sync,
        scales: &[f32],
        zero: impl Fn(usize, usize) -> u32 + Sync,
    ) -> Vec<u8> {
        let format = self.format();
        let inputs = self.of_input.len();
        let words = |output: usize, from: usize, to: usize| {
            (from / 8..to / 8).flat_map({
                let word = &word;
                move |at| word(output, at).to_le_bytes()
            })
        };
        let head = |output: usize, group: usize| {
            head_of_int4(scales[group * outputs + output], zero(group, output))
        };
        let row = |output: usize| -> Vec<u8> {
            let mut row = Vec::new();
            match format {
                Format::Int4 { inputs: block } => {
                    for from in (0..inputs).step_by(block) {
                        row.extend(head(output, usize::from(self.of_input[from])));
                        row.extend(words(output, from, from + block));
                    }
                }
                _ => {
                    row.extend((0..self.count).flat_map(|group| head(output, group)));
                    row.extend(self.of_input.iter().flat_map(|group| group.to_le_bytes()));
                    row.extend(words(output, 0, inputs));
                }
            }
            row
        };
        let rows: Vec<Vec<u8>> = (0..outputs).into_par_iter().map(row).collect();
        rows.concat()
    }
}

/// The number of groups, and their zero points; all shapes but that of the numbers fit.
///
/// # Errors
/// Another type or shape of zero points or scales.
pub(super) fn zeros<'a>(
    parts: &Parts<'a>,
    outputs: usize,
) -> Result<(usize, Part<'a>), ModelError> {
    let zeros = parts.get("qzeros", &[Dtype::I32])?;
    let groups = zeros.shape.first().copied().unwrap_or(0);
    let zeros = parts.of_shape("qzeros", &[Dtype::I32], &[groups, outputs / 8])?;
    parts.of_shape("scales", &SCALES, &[groups, outputs])?;
    Ok((groups, zeros))
}

/// Scales by group and output.
///
/// # Errors
/// Another type or shape, or one that is not finite.
pub(super) fn scales(
    parts: &Parts<'_>,
    groups: usize,
    outputs: usize,
) -> Result<Vec<f32>, ModelError> {
    let part = parts.of_shape("scales", &SCALES, &[groups, outputs])?;
    let scales = part.floats();
    parts.finite("scales", &scales)?;
    Ok(scales)
}
