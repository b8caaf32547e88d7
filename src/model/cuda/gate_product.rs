//! The gated activation with the products around it, each in one kernel that only Hopper has.

use super::factored::Factored;
use super::frozen::CudaWeight;
use super::mat::CudaMat;
use super::ring::{Launch, ROWS, WIDE, sixteens, steps};
use crate::gpu::BOX_COLUMNS as COLUMNS;
use crate::gpu::{Arg, Cuda};

use Arg::Int;

impl Cuda {
    /// `[gate | up]` as the product of `x` with `weight` and a low-rank share, and
    /// `silu(gate) * up`.
    pub(super) fn gate_product(
        &self,
        weight: &CudaWeight,
        x: &CudaMat,
        share: Option<&Factored>,
    ) -> (CudaMat, CudaMat) {
        let (rows, inner, cols) = (x.rows, weight.inputs, weight.outputs / 2);
        assert_eq!(x.half_rows(), (rows, inner), "inputs of every row");
        let gate_up = x.beside(self, 2 * cols);
        let active = x.beside(self, cols);
        let wide = weight.wide(self);
        let mut launch = Launch::new(self);
        launch.matrix(x.operand(), rows, inner, ROWS);
        // Each of two blocks fetches one half's columns, for both.
        let below = cols * inner;
        launch.halves(wide.operand(false), (cols, inner), below, WIDE / 2);
        let width = launch.share_t(share, x);
        let [gate, up] = [0, cols].map(|output| launch.share_b(share, output, x.operand()));
        launch.args(&[gate_up.pointer(), active.pointer()]);
        launch.args(&[Int(rows as i32), Int(cols as i32)]);
        let numbers = [steps(inner), sixteens(width), gate, up];
        let columns = cols.div_ceil(WIDE / 2);
        // SAFETY: `gate_product_rows(x, weight, t, b_gate, b_up, gate_up, active, rows, cols, ..)`
        // multiplies matrices of the sizes that they say, and writes rows of 2 cols and of cols.
        unsafe { launch.start("gate_product_rows", rows, columns, &numbers) };
        (gate_up, active)
    }

    /// `d [gate | up]` of `silu(gate) * up`, given the gradient `dy` by its product with `weight`,
    /// and a low-rank share of the gradient by that.
    pub(super) fn gate_product_backward(
        &self,
        weight: &CudaWeight,
        gate_up: &CudaMat,
        dy: &CudaMat,
        share: Option<&Factored>,
    ) -> CudaMat {
        let (rows, inner, cols) = (dy.rows, weight.outputs, weight.inputs);
        assert_eq!(gate_up.half_rows(), (rows, 2 * cols), "`[gate | up]`");
        assert_eq!((dy.rows, dy.cols), (rows, inner), "the gradient");
        let d = CudaMat::room(self, rows, gate_up.cols);
        let wide = weight.wide(self);
        let mut launch = Launch::new(self);
        launch.matrix(dy.operand(), rows, inner, ROWS);
        launch.matrix(wide.operand(false), inner, cols, COLUMNS);
        let width = launch.share_t(share, dy);
        launch.share_b(share, 0, dy.operand());
        launch.halves(gate_up.operand(), (rows, cols), cols, ROWS);
        // Each of two warp groups puts its own rows.
        launch.halves(d.operand(), (rows, cols), cols, ROWS / 2);
        let numbers = [steps(inner), sixteens(width)];
        let columns = cols.div_ceil(WIDE);
        // SAFETY: `gate_product_backward(dy, weight, t, b, gate_up, d, ..)` multiplies, reads, and writes
        // matrices of the sizes that they say.
        unsafe { launch.start("gate_product_backward", rows, columns, &numbers) };
        d
    }
}
