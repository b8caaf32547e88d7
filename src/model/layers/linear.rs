//! `y = x W^T + b` with a frozen weight, and the joint where an adapter adds its low-rank part.

use crate::model::Projection;
use crate::model::cpu::Cpu;
use crate::model::device::Device;

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

    /// The product that a projection is part of.
    pub fn of(projection: Projection) -> Self {
        match projection {
            Projection::Q | Projection::K | Projection::V => Site::Qkv,
            Projection::O => Site::O,
            Projection::Gate | Projection::Up => Site::GateUp,
            Projection::Down => Site::Down,
        }
    }

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
pub trait LowRank<D: Device = Cpu> {
    /// `y += scale * (x A^T) B^T` for every row that has an adapter at this place. Rows without
    /// one keep their bits.
    fn add(&mut self, place: Place, x: &D::Mat, y: &mut D::Mat);

    /// The low-rank product alone, for the frozen one to be added to, which is quicker where both
    /// fill the result; `None` leaves it to [`LowRank::add`].
    fn begin(&mut self, _: Place, _: &D::Mat) -> Option<D::Mat> {
        None
    }

    /// Whether [`LowRankGradient::backward`] will read `x` at this place: what it does not read
    /// need be neither kept nor computed again.
    fn reads(&self, _: Place) -> bool {
        false
    }
}

/// A low-rank part that is being trained.
pub trait LowRankGradient<D: Device = Cpu>: LowRank<D> {
    /// Given the gradient `dy` by the product's result: adds up the gradients of A and B, and
    /// adds the low-rank part's share to `dx` when it is wanted.
    fn backward(&mut self, place: Place, x: &D::Mat, dy: &D::Mat, dx: Option<&mut D::Mat>);

    /// As [`LowRankGradient::backward`], returning the low-rank part's share of `dx` for the frozen
    /// part's to be added to; `None` has done nothing, and leaves it to `backward`.
    fn begin_backward(&mut self, _: Place, _: &D::Mat, _: &D::Mat) -> Option<D::Mat> {
        None
    }

    /// The first layer with a trained matrix; nothing below needs a gradient.
    fn first_layer(&self) -> usize;
}

/// No adapter at all: the base.
pub struct NoLowRank;

impl<D: Device> LowRank<D> for NoLowRank {
    fn add(&mut self, _: Place, _: &D::Mat, _: &mut D::Mat) {}
}

/// A frozen linear layer.
pub struct Linear<D: Device> {
    /// Shape `[out, in]`.
    pub weight: D::Weight,
    /// One number an output.
    pub bias: Option<D::Vector>,
    /// Where it stands.
    pub place: Place,
}

impl<D: Device> Linear<D> {
    /// `[rows, in] -> [rows, out]`.
    pub fn forward(&self, device: &D, x: &D::Mat, low_rank: &mut dyn LowRank<D>) -> D::Mat {
        if let Some(share) = low_rank.begin(self.place, x) {
            return device.product(self, x, Some(share));
        }
        let mut y = device.product(self, x, None);
        low_rank.add(self.place, x, &mut y);
        y
    }

    /// The gradient by the input, `[rows, in]`, given the gradient `dy` by the result; low-rank
    /// gradients are added up on the way. The frozen weight gets none. `x` yields the input, which
    /// only an adapter at this place needs.
    pub fn backward(
        &self,
        device: &D,
        x: impl FnOnce() -> D::Mat,
        dy: &D::Mat,
        low_rank: &mut dyn LowRankGradient<D>,
    ) -> D::Mat {
        if !low_rank.reads(self.place) {
            return device.product_backward(&self.weight, dy, None);
        }
        let x = x();
        if let Some(share) = low_rank.begin_backward(self.place, &x, dy) {
            drop(x);
            return device.product_backward(&self.weight, dy, Some(share));
        }
        let mut dx = device.product_backward(&self.weight, dy, None);
        low_rank.backward(self.place, &x, dy, Some(&mut dx));
        dx
    }
}
