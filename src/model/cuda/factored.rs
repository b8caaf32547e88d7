//! A low-rank product in its factors, which a frozen product takes in.

use std::sync::Arc;

use super::mat::CudaMat;
use crate::gpu::{Buffer, Cuda, Operand, Product};

/// `t B`, for columns of a result: `t` is `[rows, width]`, with the scale in it.
pub struct Factored {
    pub(crate) t: CudaMat,
    pub(crate) parts: Vec<FactoredPart>,
    /// Where every B is.
    pub(crate) held: Arc<Buffer>,
}

/// What some columns of `t` add to some columns of the result.
pub(crate) struct FactoredPart {
    /// First of its columns in `t`.
    pub first: usize,
    /// Rows of B.
    pub rank: usize,
    /// Bytes from the start of `held` to B, `[rank, outputs]`.
    pub at: u64,
    /// First of its columns in the result.
    pub output: usize,
    /// Columns of B.
    pub outputs: usize,
}

impl Factored {
    /// One part's B.
    pub(crate) fn b(&self, part: &FactoredPart) -> Operand {
        Operand {
            address: self.held.address() + part.at,
            stride: part.outputs,
            transposed: false,
        }
    }

    /// Whether every column of a result of so many has a share.
    pub(crate) fn covers(&self, columns: usize) -> bool {
        self.parts.iter().map(|p| p.outputs).sum::<usize>() == columns
    }
}

impl Cuda {
    /// `y (+)= t B`; columns without a share are left alone.
    pub(crate) fn multiply_out(&self, of: &Factored, y: &CudaMat, accumulate: bool) {
        let size = if y.planes > 0 { 4 } else { 2 };
        for part in &of.parts {
            self.multiply(&Product {
                m: y.rows,
                n: part.outputs,
                k: part.rank,
                x: of.t.columns(part.first),
                y: of.b(part),
                out: y.buffer.address() + (size * part.output) as u64,
                out_stride: y.stride,
                out_f32: y.planes > 0,
                alpha: 1.0,
                accumulate,
                bias: 0,
                chosen_for: None,
            });
        }
    }
}
