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
        let gate_up = x.beside(self, 2 * cols);
        let active = x.beside(self, cols);
        let mut launch = Launch::new(self);
        launch.matrix(x.operand(), rows, inner, ROWS);
        // Each of two blocks fetches one half's columns, for both.
        let below = cols * inner;
        launch.halves(weight.operand(false), (cols, inner), below, WIDE / 2);
        let width = launch.share_t(share, x);
        let [gate, up] = [0, cols].map(|output| launch.share_b(share, output, x.operand()));
        launch.args(&[gate_up.pointer(), active.pointer()]);
        launch.args(&[Int(rows as i32), Int(cols as i32)]);
        let numbers = [steps(inner), sixteens(width), gate, up];
        launch.start("gate_product_rows", rows, cols.div_ceil(WIDE / 2), &numbers);
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
        let d = CudaMat::room(self, rows, gate_up.cols);
        let mut launch = Launch::new(self);
        launch.matrix(dy.operand(), rows, inner, ROWS);
        launch.matrix(weight.operand(false), inner, cols, COLUMNS);
        let width = launch.share_t(share, dy);
        launch.share_b(share, 0, dy.operand());
        launch.halves(gate_up.operand(), (rows, cols), cols, ROWS);
        // Each of two warp groups puts its own rows.
        launch.halves(d.operand(), (rows, cols), cols, ROWS / 2);
        let numbers = [steps(inner), sixteens(width)];
        launch.start("gate_product_backward", rows, cols.div_ceil(WIDE), &numbers);
        d
    }
}
