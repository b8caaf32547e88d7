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
    /// `[rows, hidden] -> [rows, hidden]`, and what the backward needs: the result of the first
    /// product, and the input of the second.
    pub fn forward(
        &self,
        device: &D,
        x: &D::Mat,
        low_rank: &mut dyn LowRank<D>,
    ) -> (D::Mat, D::Mat, D::Mat) {
        let gate_up = self.gate_up.forward(device, x, low_rank);
        let active = device.gate(&gate_up);
        let y = self.down.forward(device, &active, low_rank);
        (gate_up, active, y)
    }

    /// The gradient by the input, given the gradient `dy` by the result. `x` yields the input;
    /// without `active`, that is computed again.
    pub fn backward(
        &self,
        device: &D,
        x: impl FnOnce() -> D::Mat,
        gate_up: &D::Mat,
        active: Option<D::Mat>,
        dy: &D::Mat,
        low_rank: &mut dyn LowRankGradient<D>,
    ) -> D::Mat {
        let d_gate_up = if low_rank.reads(self.down.place) {
            let active = || active.unwrap_or_else(|| device.gate(gate_up));
            let d_active = self.down.backward(device, active, dy, low_rank);
            device.gate_backward(gate_up, &d_active)
        } else {
            device.product_gate_backward(&self.down.weight, gate_up, dy)
        };
        self.gate_up.backward(device, x, &d_gate_up, low_rank)
    }
}
