//! The gated MLP: `down(silu(gate(x)) * up(x))` (Shazeer 2020, SwiGLU).

use super::linear::{Linear, LowRank, LowRankGradient};
use crate::model::Mat;
use crate::model::cpu;

/// The MLP block of a layer.
pub struct Mlp {
    /// Gate and up in one product.
    pub gate_up: Linear,
    /// Down.
    pub down: Linear,
}

impl Mlp {
    /// `[rows, hidden] -> [rows, hidden]`, and the result of the first product, which the
    /// backward needs.
    pub fn forward(&self, x: &Mat, low_rank: &mut dyn LowRank) -> (Mat, Mat) {
        let gate_up = self.gate_up.forward(x, low_rank);
        let y = self.down.forward(&self.activate(&gate_up), low_rank);
        (gate_up, y)
    }

    /// The gradient by `x`, given the gradient `dy` by the result.
    pub fn backward(
        &self,
        x: &Mat,
        gate_up: &Mat,
        dy: &Mat,
        low_rank: &mut dyn LowRankGradient,
    ) -> Mat {
        let active = self.activate(gate_up);
        let d_active = self.down.backward(&active, dy, low_rank);
        drop(active);
        let mut d_gate_up = Mat::zeros(gate_up.rows(), gate_up.cols);
        cpu::silu_gate_backward(
            &gate_up.data,
            gate_up.cols / 2,
            &d_active.data,
            &mut d_gate_up.data,
        );
        self.gate_up.backward(x, &d_gate_up, low_rank)
    }

    fn activate(&self, gate_up: &Mat) -> Mat {
        let mut active = Mat::zeros(gate_up.rows(), gate_up.cols / 2);
        cpu::silu_gate(&gate_up.data, gate_up.cols / 2, &mut active.data);
        active
    }
}
