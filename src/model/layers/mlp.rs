//! The gated MLP: `down(silu(gate(x)) * up(x))` (Shazeer 2020, SwiGLU).

use super::linear::{Linear, LowRank, LowRankGradient};
use crate::model::device::Device;

/// The MLP block of a layer.
pub struct Mlp<D: Device> {
    /// Gate and up in one product.
    pub gate_up: Linear<D>,
    /// Down.
    pub down: Linear<D>,
}

impl<D: Device> Mlp<D> {
    /// `[rows, hidden] -> [rows, hidden]`, and the result of the first product, which the
    /// backward needs.
    pub fn forward(
        &self,
        device: &D,
        x: &D::Mat,
        low_rank: &mut dyn LowRank<D>,
    ) -> (D::Mat, D::Mat) {
        let gate_up = self.gate_up.forward(device, x, low_rank);
        let y = self.down.forward(device, &device.gate(&gate_up), low_rank);
        (gate_up, y)
    }

    /// The gradient by the input, given the gradient `dy` by the result. `x` yields the input.
    pub fn backward(
        &self,
        device: &D,
        x: impl FnOnce() -> D::Mat,
        gate_up: &D::Mat,
        dy: &D::Mat,
        low_rank: &mut dyn LowRankGradient<D>,
    ) -> D::Mat {
        let d_active = self
            .down
            .backward(device, || device.gate(gate_up), dy, low_rank);
        let d_gate_up = device.gate_backward(gate_up, &d_active);
        drop(d_active);
        self.gate_up.backward(device, x, &d_gate_up, low_rank)
    }
}
