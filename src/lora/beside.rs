//! What an adapter changes beside adding low-rank products: outputs of projections (DoRA's magnitudes,
//! trained biases), and rows of the embedding and of the head.
//!
//! Everything is held as the difference to the base that it makes at full strength, so that an adapter
//! asked at a scale moves from the base to its own weights along a straight line.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::LowRankPair;
use crate::model::ModuleId;

/// See the module.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Beside {
    /// What becomes of a projection's own outputs, before the low-rank product is added.
    pub outputs: BTreeMap<ModuleId, Outputs>,
    /// Rows of the embedding.
    pub embedding: Option<OwnRows>,
    /// Rows of the head.
    pub head: Option<OwnRows>,
}

impl Beside {
    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.outputs.is_empty() && self.embedding.is_none() && self.head.is_none()
    }
}

/// `gain * y + shift` of a projection's outputs y, bias included.
#[derive(Debug, Clone, PartialEq)]
pub struct Outputs {
    /// One number an output; 1 leaves it.
    pub gain: Vec<f32>,
    /// One number an output; 0 leaves it.
    pub shift: Vec<f32>,
}

impl Outputs {
    /// What leaves so many outputs as they are.
    pub fn unchanged(outputs: usize) -> Self {
        Outputs {
            gain: vec![1.0; outputs],
            shift: vec![0.0; outputs],
        }
    }
}

/// Rows that stand in the place of the base's, `hidden` numbers each.
#[derive(Debug, Clone, PartialEq)]
pub enum OwnRows {
    /// All, row after row.
    All(Vec<f32>),
    /// Those of some tokens.
    Some(BTreeMap<u32, Vec<f32>>),
}

/// DoRA's gain of every output (Liu et al. 2024): its magnitude over the length of its row of
/// `W + scale * B A`. `weight` is W, `[out, in]`.
pub(super) fn dora_gain(weight: &[f32], pair: &LowRankPair, magnitude: &[f32]) -> Vec<f32> {
    let inputs = weight.len() / magnitude.len();
    let rows = weight.par_chunks_exact(inputs).zip(magnitude.par_iter());
    rows.enumerate()
        .map(|(output, (row, magnitude))| {
            let mut sum = row.to_vec();
            add_product(pair, output, inputs, &mut sum);
            magnitude / length(&sum)
        })
        .collect()
}

fn length(row: &[f32]) -> f32 {
    let square: f64 = row.iter().map(|x| f64::from(*x).powi(2)).sum();
    square.sqrt() as f32
}

/// Adds the row `output` of `scale * B A`.
fn add_product(pair: &LowRankPair, output: usize, inputs: usize, sum: &mut [f32]) {
    let b = &pair.b[output * pair.rank..(output + 1) * pair.rank];
    for (b, a) in b.iter().zip(pair.a.chunks_exact(inputs)) {
        let by = b * pair.scale;
        sum.iter_mut().zip(a).for_each(|(sum, a)| *sum += by * a);
    }
}

/// `W + scale * B A` as rows, with DoRA's magnitudes where there are some: of every row, or of every
/// column as an embedding has them.
pub(super) fn whole_rows(
    mut weight: Vec<f32>,
    pair: &LowRankPair,
    magnitude: Option<(&[f32], Axis)>,
) -> Vec<f32> {
    let rows = pair.b.len() / pair.rank;
    let cols = weight.len() / rows;
    let each = weight.par_chunks_exact_mut(cols).enumerate();
    each.for_each(|(output, row)| add_product(pair, output, cols, row));
    match magnitude {
        None => {}
        Some((magnitude, Axis::Rows)) => {
            let each = weight.par_chunks_exact_mut(cols).zip(magnitude.par_iter());
            each.for_each(|(row, magnitude)| {
                let gain = magnitude / length(row);
                row.iter_mut().for_each(|x| *x *= gain);
            });
        }
        Some((magnitude, Axis::Columns)) => {
            let mut squares = vec![0f64; cols];
            for row in weight.chunks_exact(cols) {
                let squared = squares.iter_mut().zip(row);
                squared.for_each(|(sum, x)| *sum += f64::from(*x).powi(2));
            }
            let length = squares.iter().map(|sum| sum.sqrt() as f32);
            let gain: Vec<f32> = magnitude.iter().zip(length).map(|(m, l)| m / l).collect();
            for row in weight.chunks_exact_mut(cols) {
                row.iter_mut().zip(&gain).for_each(|(x, gain)| *x *= gain);
            }
        }
    }
    weight
}

/// Along which a magnitude stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Axis {
    /// A number a row: linear layers, the head.
    Rows,
    /// A number a column: the embedding.
    Columns,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> LowRankPair {
        LowRankPair {
            rank: 1,
            scale: 0.5,
            a: vec![2.0, 4.0],
            b: vec![1.0, -1.0, 0.0],
        }
    }

    #[test]
    fn gain_is_magnitude_over_the_length_of_the_whole_row() {
        // Rows of W + 0.5 B A: (3, 4), (2, 0), (0, 5).
        let weight = [2.0, 2.0, 3.0, 2.0, 0.0, 5.0];
        let gain = dora_gain(&weight, &pair(), &[10.0, 2.0, 1.0]);
        assert_eq!(gain, [2.0, 1.0, 0.2]);
    }

    #[test]
    fn rows_take_magnitudes_of_their_axis() {
        let weight = vec![2.0, 2.0, 3.0, 2.0, 0.0, 5.0];
        let plain = whole_rows(weight.clone(), &pair(), None);
        assert_eq!(plain, [3.0, 4.0, 2.0, 0.0, 0.0, 5.0]);
        let by_row = whole_rows(
            weight.clone(),
            &pair(),
            Some((&[10.0, 2.0, 1.0], Axis::Rows)),
        );
        assert_eq!(by_row, [6.0, 8.0, 2.0, 0.0, 0.0, 1.0]);
        let root = 13f32.sqrt();
        let by_column = whole_rows(
            weight,
            &pair(),
            Some((&[root, 41f32.sqrt()], Axis::Columns)),
        );
        assert_eq!(by_column, plain);
    }
}
