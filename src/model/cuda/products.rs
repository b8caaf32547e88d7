//! Products with a frozen weight: cuBLASLt, or for one row a slot a kernel of our own.

use super::factored::Factored;
use super::frozen::{CudaVector, CudaWeight, Held};
use super::mat::{CudaMat, Height};
use crate::gpu::{Arg, Cuda, Grid, Product};

use Arg::Int;

/// Outputs from which on a product is so long that its start and end do not matter.
const HEAD_OUTPUTS: usize = 100_000;
/// Rows that the algorithms of products in answers are chosen for.
const ANSWER_ROWS: usize = 1024;
/// Warp groups of the wide kernels for few rows.
const WIDE_GROUPS: usize = 5;

/// A kernel for products of few rows, and how it is launched.
struct Skinny {
    name: &'static str,
    /// Warp groups of a block; each takes 64 outputs.
    groups: usize,
    /// Blocks that share the outputs.
    blocks: usize,
}

impl Cuda {
    /// `x W^T (+ b) (+ share)`, in 16 bits or F32; in parts, where that is quicker and the reader adds
    /// them.
    pub(super) fn times(
        &self,
        x: &CudaMat,
        weight: &CudaWeight,
        bias: Option<&CudaVector>,
        share: Option<&Factored>,
        out: Form,
    ) -> CudaMat {
        let few = (x.height == Height::Slots).then(|| self.few_rows(x, weight, bias, out));
        if let Some(y) = few.flatten() {
            if let Some(share) = share {
                self.multiply_out(share, &y, true);
            }
            return y;
        }
        let y = match out {
            Form::Half => x.beside(self, weight.outputs),
            Form::Single | Form::Parts | Form::Scores => CudaMat {
                height: x.height,
                ..CudaMat::planes(self, x.rows, weight.outputs, 1)
            },
        };
        let wide = weight.wide(self);
        // A share of every column is there first, and the long product adds to it on its way.
        let first = share.filter(|s| s.covers(weight.outputs));
        if let Some(share) = first {
            self.multiply_out(share, &y, false);
        }
        self.multiply(&Product {
            m: x.rows,
            n: weight.outputs,
            k: weight.inputs,
            x: x.operand(),
            y: wide.operand(true),
            out: y.buffer.address(),
            out_stride: y.stride,
            out_f32: y.planes > 0,
            alpha: 1.0,
            accumulate: first.is_some(),
            bias: bias.map_or(0, |b| match y.planes {
                0 => b.half.address(),
                _ => b.single.address(),
            }),
            chosen_for: (x.height == Height::Any).then_some(ANSWER_ROWS),
        });
        if let (None, Some(share)) = (first, share) {
            self.multiply_out(share, &y, true);
        }
        y
    }

    /// `dy W (+ share)`, in 16 bits.
    pub(super) fn times_back(
        &self,
        dy: &CudaMat,
        weight: &CudaWeight,
        share: Option<&Factored>,
    ) -> CudaMat {
        let dx = CudaMat::room(self, dy.rows, weight.inputs);
        let wide = weight.wide(self);
        if let Some(share) = share {
            self.multiply_out(share, &dx, false);
        }
        self.multiply(&Product {
            m: dy.rows,
            n: dx.cols,
            k: dy.cols,
            x: dy.operand(),
            y: wide.operand(false),
            out: dx.buffer.address(),
            out_stride: dx.stride,
            out_f32: false,
            alpha: 1.0,
            accumulate: share.is_some(),
            bias: 0,
            chosen_for: None,
        });
        dx
    }

    /// The kernel for products of one row a slot, where it is quicker than cuBLASLt.
    fn kernel_for_few(&self, rows: usize, weight: &CudaWeight, out: Form) -> Option<Skinny> {
        if !self.warp_groups() {
            return None;
        }
        let of = |name, groups, blocks| {
            Some(Skinny {
                name,
                groups,
                blocks,
            })
        };
        // It reads the rows again for every 128 outputs, which from some rows on costs more than
        // it gains: on a wide weight from fewer, and where it would leave sums in parts for scores.
        let most = match out {
            Form::Half | Form::Single if weight.outputs < HEAD_OUTPUTS => 16,
            Form::Scores => 32,
            _ => 64,
        };
        let blocks = weight.outputs.div_ceil(128);
        if rows <= most {
            return match rows {
                ..=16 => of("skinny_16", 2, blocks),
                17..=32 => of("skinny_32", 2, blocks),
                _ => of("skinny_64", 2, blocks),
            };
        }
        // One block a processor that takes up to 320 outputs reads them less often.
        let blocks = self.processors();
        let panels = weight.outputs.div_ceil(64).div_ceil(blocks);
        if out != Form::Half || !(3..=WIDE_GROUPS).contains(&panels) {
            return None;
        }
        match rows {
            ..=32 => of("skinny_wide_32", WIDE_GROUPS, blocks),
            33..=64 => of("skinny_wide_64", WIDE_GROUPS, blocks),
            65..=128 => of("skinny_wide_128", WIDE_GROUPS, blocks),
            _ => None,
        }
    }

    /// A product of one row a slot, where there is a kernel for so many.
    fn few_rows(
        &self,
        x: &CudaMat,
        weight: &CudaWeight,
        bias: Option<&CudaVector>,
        out: Form,
    ) -> Option<CudaMat> {
        match &weight.held {
            Held::Half(_) => {
                let kernel = self.kernel_for_few(x.rows, weight, out)?;
                Some(self.few_rows_of_half(&kernel, x, weight, bias, out))
            }
            Held::Blocks(blocks) => self.few_rows_of_blocks(blocks, x, weight, bias, out),
        }
    }

    /// The same with a weight of 16 bits, bound by its bytes.
    fn few_rows_of_half(
        &self,
        kernel: &Skinny,
        x: &CudaMat,
        weight: &CudaWeight,
        bias: Option<&CudaVector>,
        out: Form,
    ) -> CudaMat {
        let blocks = kernel.blocks;
        let inner = weight.inputs.div_ceil(64);
        let parts = matches!(out, Form::Parts | Form::Scores);
        let wanted = if parts {
            // A third more blocks than processors: more of them leave more sums to add.
            (4 * self.processors() / (3 * blocks)).clamp(1, inner.div_ceil(4))
        } else {
            1
        };
        let tiles = inner.div_ceil(wanted);
        let splits = inner.div_ceil(tiles);
        let y = match out {
            Form::Half => x.beside(self, weight.outputs),
            Form::Single | Form::Parts | Form::Scores => CudaMat {
                height: x.height,
                ..CudaMat::planes(self, x.rows, weight.outputs, splits)
            },
        };
        assert_eq!(
            x.half_rows(),
            (x.rows, weight.inputs),
            "inputs of every row"
        );
        let args = [
            x.pointer(),
            weight.half(),
            y.pointer(),
            bias.map_or(Arg::NONE, |b| b.pointer(weight.outputs)),
            Int(x.rows as i32),
            Int(weight.outputs as i32),
            Int(weight.inputs as i32),
            Int(y.stride as i32),
            Int(tiles as i32),
            Int(i32::from(y.planes > 0)),
        ];
        let grid = Grid::new((blocks, splits, 1), 128 * kernel.groups);
        let grid = grid.shared(self.shared_memory(kernel.name));
        // SAFETY: `skinny_N(x, w, y, bias, rows, outputs, inputs, stride, tiles, f32)` multiplies at most
        // N rows, `kernel_for_few` sees to that, and writes a plane of y a split. It waits for the
        // kernel before.
        unsafe { self.launch_early(kernel.name, grid, &args) };
        y
    }
}

/// The form of a product's result.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// 16 bits.
    Half,
    /// F32.
    Single,
    /// F32, in planes: what the residual stream takes up.
    Parts,
    /// F32, in planes: what scores are made of.
    Scores,
}
