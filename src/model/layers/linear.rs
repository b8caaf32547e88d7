//! `y = x W^T + b` with a frozen weight, and the joint where an adapter adds its low-rank part.

use crate::model::cpu::{self, Packed};
use crate::model::{Mat, Projection};

/// A product in a layer. Projections that share their input are one product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Site {
    /// Queries, keys, and values.
    Qkv,
    /// Attention output.
    O,
    /// Gate and up.
    GateUp,
    /// Down.
    Down,
}

impl Site {
    /// Every site of a layer, in the order of computation.
    pub const ALL: [Site; 4] = [Site::Qkv, Site::O, Site::GateUp, Site::Down];

    /// The projections whose outputs stand side by side in the product's result, in that order.
    pub fn projections(self) -> &'static [Projection] {
        match self {
            Site::Qkv => &[Projection::Q, Projection::K, Projection::V],
            Site::O => &[Projection::O],
            Site::GateUp => &[Projection::Gate, Projection::Up],
            Site::Down => &[Projection::Down],
        }
    }
}

/// Which product of which layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// From 0.
    pub layer: usize,
    /// Which product.
    pub site: Site,
}

/// What is added to a frozen product. The decoder knows nothing else of adapters.
pub trait LowRank {
    /// `y += scale * (x A^T) B^T` for every row that has an adapter at this place. Rows without
    /// one keep their bits.
    fn add(&mut self, place: Place, x: &Mat, y: &mut Mat);
}

/// A low-rank part that is being trained.
pub trait LowRankGradient: LowRank {
    /// Given the gradient `dy` by the product's result: adds up the gradients of A and B, and
    /// adds the low-rank part's share to `dx` when it is wanted.
    fn backward(&mut self, place: Place, x: &Mat, dy: &Mat, dx: Option<&mut Mat>);

    /// The first layer with a trained matrix; nothing below needs a gradient.
    fn first_layer(&self) -> usize;
}

/// No adapter at all: the base.
pub struct NoLowRank;

impl LowRank for NoLowRank {
    fn add(&mut self, _: Place, _: &Mat, _: &mut Mat) {}
}

/// A frozen linear layer.
pub struct Linear {
    /// Shape `[out, in]`.
    pub weight: Packed,
    /// One number an output.
    pub bias: Option<Vec<f32>>,
    /// Where it stands.
    pub place: Place,
}

impl Linear {
    /// `[rows, in] -> [rows, out]`.
    pub fn forward(&self, x: &Mat, low_rank: &mut dyn LowRank) -> Mat {
        let mut y = Mat::zeros(x.rows(), self.weight.n);
        cpu::product(&x.data, x.rows(), &self.weight, &mut y.data, false);
        if let Some(bias) = &self.bias {
            cpu::add_bias(bias, &mut y.data);
        }
        low_rank.add(self.place, x, &mut y);
        y
    }

    /// The gradient by `x`, `[rows, in]`, given the gradient `dy` by the result; low-rank
    /// gradients are added up on the way. The frozen weight gets none.
    pub fn backward(&self, x: &Mat, dy: &Mat, low_rank: &mut dyn LowRankGradient) -> Mat {
        let mut dx = Mat::zeros(x.rows(), self.weight.k);
        cpu::product_backward(&dy.data, dy.rows(), &self.weight, &mut dx.data, false);
        low_rank.backward(self.place, x, dy, Some(&mut dx));
        dx
    }
}
