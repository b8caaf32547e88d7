//! Products with a frozen weight: cuBLASLt, or for one row a slot a kernel of our own.

use super::context::{Arg, Cuda};
use super::device::{CudaVector, CudaWeight};
use super::gemm::Product;
use super::mat::{CudaMat, Height};
use super::ptx;

use Arg::Int;

/// Most rows that the kernel for few of them takes.
const SKINNY_ROWS: usize = 128;
/// Outputs from which on a product is so long that its start and end do not matter.
const HEAD_OUTPUTS: usize = 100_000;
/// Rows that the algorithms of products in answers are chosen for.
const ANSWER_ROWS: usize = 1024;

impl Cuda {
    /// `x W^T (+ b)`, in bf16 or F32; in parts, where that is quicker and the reader adds them.
    pub(super) fn times(
        &self,
        x: &CudaMat,
        weight: &CudaWeight,
        bias: Option<&CudaVector>,
        out: Form,
    ) -> CudaMat {
        // From some rows on, cuBLASLt is quicker than the kernel for few rows, which reads the rows
        // again for every 128 outputs; on a wide weight from fewer, and where the kernel would
        // leave sums in parts for scores.
        let wide = match out {
            Form::Half | Form::Single if weight.outputs < HEAD_OUTPUTS => x.rows > 16,
            Form::Scores => x.rows > 32,
            _ => x.rows > 64,
        };
        if x.height == Height::Slots && x.rows <= SKINNY_ROWS && !wide && self.0.warp_groups {
            return self.few_rows(x, weight, bias, out);
        }
        let y = match out {
            Form::Single | Form::Scores => CudaMat {
                height: x.height,
                ..CudaMat::planes(&self.0, x.rows, weight.outputs, 1)
            },
            Form::Half | Form::Parts => x.beside(&self.0, weight.outputs),
        };
        self.0.multiply(&Product {
            m: x.rows,
            n: weight.outputs,
            k: weight.inputs,
            x: x.operand(),
            y: weight.operand(true),
            out: y.buffer.address(),
            out_stride: y.stride,
            out_f32: y.planes > 0,
            alpha: 1.0,
            accumulate: false,
            bias: bias.map_or(0, |b| match y.planes {
                0 => b.half.address(),
                _ => b.single.address(),
            }),
            chosen_for: (x.height == Height::Any).then_some(ANSWER_ROWS),
        });
        y
    }

    /// A product of one row a slot, bound by the weight's bytes.
    fn few_rows(
        &self,
        x: &CudaMat,
        weight: &CudaWeight,
        bias: Option<&CudaVector>,
        out: Form,
    ) -> CudaMat {
        let blocks = weight.outputs.div_ceil(128);
        let inner = weight.inputs.div_ceil(64);
        let parts = matches!(out, Form::Parts | Form::Scores);
        let wanted = if parts {
            // A third more blocks than processors: more of them leave more sums to add.
            (4 * self.0.processors / (3 * blocks)).clamp(1, inner.div_ceil(4))
        } else {
            1
        };
        let tiles = inner.div_ceil(wanted);
        let splits = inner.div_ceil(tiles);
        let y = if out == Form::Half || (out == Form::Parts && splits == 1) {
            x.beside(&self.0, weight.outputs)
        } else {
            CudaMat {
                height: x.height,
                ..CudaMat::planes(&self.0, x.rows, weight.outputs, splits)
            }
        };
        let (name, height) = match x.rows {
            ..=16 => ("skinny_16", 16),
            17..=32 => ("skinny_32", 32),
            33..=64 => ("skinny_64", 64),
            _ => ("skinny_128", 128),
        };
        self.0.launch_early(
            name,
            (blocks, splits, 1),
            256,
            ptx::skinny_shared(height),
            &[
                x.pointer(),
                Arg::Pointer(weight.buffer.address()),
                y.pointer(),
                Arg::Pointer(bias.map_or(0, |b| b.single.address())),
                Int(x.rows as i32),
                Int(weight.outputs as i32),
                Int(weight.inputs as i32),
                Int(y.stride as i32),
                Int(tiles as i32),
                Int(i32::from(y.planes > 0)),
            ],
        );
        y
    }
}

/// The form of a product's result.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// bf16.
    Half,
    /// F32.
    Single,
    /// bf16, or F32 in planes.
    Parts,
    /// F32, in planes: what scores are made of.
    Scores,
}
