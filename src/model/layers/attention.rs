//! Grouped-query attention with rotary embedding; some have a norm of queries and keys, some see
//! the last positions alone.

use super::RmsNorm;
use super::linear::{Linear, LowRank, LowRankGradient};
use crate::model::Heads;
use crate::model::device::{Device, HeadNorms};

/// The attention block of a layer.
pub struct Attention<D: Device> {
    /// Queries, keys, and values in one product.
    pub qkv: Linear<D>,
    /// Output projection.
    pub o: Linear<D>,
    /// Norm of each query head, before the rotation.
    pub q_norm: Option<RmsNorm<D>>,
    /// Norm of each key head, before the rotation.
    pub k_norm: Option<RmsNorm<D>>,
    /// Sizes.
    pub heads: Heads,
    /// Positions that a row sees, its own among them; `None` is the whole context.
    pub window: Option<usize>,
}

/// What [`Attention::mix`] leaves for its backward.
pub struct Mixed<D: Device> {
    /// The result, before the output projection.
    pub mixed: D::Mat,
    /// See [`Device::Attended`].
    pub attended: D::Attended,
    /// The share of a low-rank part in `qkv`.
    pub share: Option<D::Factored>,
}

impl<D: Device> Attention<D> {
    fn norms(&self) -> HeadNorms<'_, D> {
        HeadNorms {
            heads: self.heads,
            queries: self.q_norm.as_ref(),
            keys: self.k_norm.as_ref(),
            window: self.window,
        }
    }

    /// `x [rows, hidden] -> [rows, queries * dim]` before the output projection. Stores keys and
    /// values in `kv`; without it, the rows are whole sequences.
    pub fn mix(
        &self,
        device: &D,
        x: &D::Mat,
        rows: &D::Rows,
        rotary: &D::Rotary,
        kv: Option<&mut D::Kv>,
        low_rank: &mut dyn LowRank<D>,
    ) -> Mixed<D> {
        let norms = self.norms();
        let (mixed, attended, share) = if let Some(kv) = kv {
            let (qkv, share) = self.qkv.forward(device, x, low_rank);
            let (mixed, attended) = device.attend(norms, qkv, rows, rotary, Some(kv));
            (mixed, attended, share)
        } else {
            self.qkv
                .forward_attended(device, x, norms, rows, rotary, low_rank)
        };
        Mixed {
            mixed,
            attended,
            share,
        }
    }

    /// The gradient by the input given the gradient by [`Attention::mix`]'s result; `None` when
    /// nothing below needs it. `rows` are whole sequences; `x` yields the input.
    #[expect(
        clippy::too_many_arguments,
        reason = "inputs, results, and gradient of one block"
    )]
    pub fn mix_backward(
        &self,
        device: &D,
        x: impl FnOnce() -> D::Mat,
        of: Mixed<D>,
        d_mixed: D::Mat,
        rows: &D::Rows,
        rotary: &D::Rotary,
        low_rank: &mut dyn LowRankGradient<D>,
    ) -> Option<D::Mat> {
        let Mixed {
            mixed,
            attended,
            share,
        } = of;
        let norms = self.norms();
        let d_qkv = device.attend_backward(norms, &mixed, &attended, &d_mixed, rows, rotary);
        drop((mixed, attended, d_mixed));
        if low_rank.first_layer() == self.qkv.place.layer {
            if low_rank.reads(self.qkv.place) {
                low_rank.backward(self.qkv.place, &x(), share.as_ref(), &d_qkv, None);
            }
            return None;
        }
        Some(
            self.qkv
                .backward(device, x, share.as_ref(), &d_qkv, low_rank),
        )
    }
}
