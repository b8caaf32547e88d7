//! The gated MLP: `down(act(gate(x)) * up(x))` (Shazeer 2020, SwiGLU and GEGLU).

use super::linear::{Linear, LowRank, LowRankGradient};
use crate::model::Activation;
use crate::model::device::Device;

/// The MLP block of a layer.
pub struct Mlp<D: Device> {
    /// Gate and up in one product.
    pub gate_up: Linear<D>,
    /// Down.
    pub down: Linear<D>,
    /// What the gate passes through.
    pub activation: Activation,
}

/// What [`Mlp::forward`] leaves for its backward.
pub struct Gated<D: Device> {
    /// The result of the first product.
    pub gate_up: D::Mat,
    /// The input of the second; computed again where it is not kept.
    pub active: Option<D::Mat>,
    /// The shares of low-rank parts in the two.
    pub shares: [Option<D::Factored>; 2],
}

impl<D: Device> Mlp<D> {
    /// `[rows, hidden] -> [rows, hidden]`, and what the backward needs.
    pub fn forward(
        &self,
        device: &D,
        x: &D::Mat,
        low_rank: &mut dyn LowRank<D>,
    ) -> (D::Mat, Gated<D>) {
        let (gate_up, active, first) =
            self.gate_up
                .forward_gated(device, x, self.activation, low_rank);
        let (y, second) = self.down.forward(device, &active, low_rank);
        let gated = Gated {
            gate_up,
            active: Some(active),
            shares: [first, second],
        };
        (y, gated)
    }

    /// The gradient by the input, given the gradient `dy` by the result. `x` yields the input.
    pub fn backward(
        &self,
        device: &D,
        x: impl FnOnce() -> D::Mat,
        of: Gated<D>,
        dy: &D::Mat,
        low_rank: &mut dyn LowRankGradient<D>,
    ) -> D::Mat {
        let Gated {
            gate_up,
            active,
            shares: [first, second],
        } = of;
        let input = || active.unwrap_or_else(|| device.gate(&gate_up, self.activation));
        let gated = (&gate_up, self.activation);
        let d_gate_up =
            self.down
                .backward_gated(device, gated, input, second.as_ref(), dy, low_rank);
        drop(gate_up);
        self.gate_up
            .backward(device, x, first.as_ref(), &d_gate_up, low_rank)
    }
}
