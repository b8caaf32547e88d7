//! `y = x W^T + b` with a frozen weight, and the joint where an adapter adds its low-rank part.

use crate::model::cpu::Cpu;
use crate::model::device::{Device, HeadNorms};
use crate::model::{Activation, Projection};

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
pub struct LayerSite {
    /// From 0.
    pub layer: usize,
    /// Which product.
    pub site: Site,
}

/// What an adapter adds at a place, as [`LowRank::begin`] tells before the frozen product.
pub enum Share<D: Device> {
    /// Nothing: there is no adapter.
    Nothing,
    /// A product in its factors, for the frozen one to take in, which is quicker.
    Factored(D::Factored),
    /// What [`LowRank::add`] adds.
    Later,
}

impl<D: Device> Share<D> {
    /// What the frozen product takes in; `None` when all is to be added later.
    fn now(self) -> Option<Option<D::Factored>> {
        match self {
            Share::Nothing => Some(None),
            Share::Factored(share) => Some(Some(share)),
            Share::Later => None,
        }
    }
}

/// What is added to a frozen product. The decoder knows nothing else of adapters.
pub trait LowRank<D: Device = Cpu> {
    /// `y += scale * (x A^T) B^T` for every row that has an adapter at this place. Rows without
    /// one keep their bits.
    fn add(&mut self, place: LayerSite, x: &D::Mat, y: &mut D::Mat);

    /// What is to be added at this place.
    fn begin(&mut self, _: LayerSite, _: &D::Mat) -> Share<D> {
        Share::Later
    }

    /// Puts rows of an adapter's own embedding in the place of the base's. `x` holds the base's for
    /// every row, times `scale`.
    fn embed(&mut self, _: &D::Rows, _: f32, _: &mut D::Mat) {}

    /// Puts the logits of an adapter's own head in the place of the base's: `normed` is what the head
    /// multiplies, row by row.
    fn head(&mut self, _: &D::Mat, _: &mut D::Mat) {}

    /// Whether [`LowRankGradient::backward`] will read `x` at this place: what it does not read
    /// need be neither kept nor computed again.
    fn reads(&self, _: LayerSite) -> bool {
        false
    }
}

/// A low-rank part that is being trained. `kept` is the share that [`LowRank::begin`] returned in the
/// forward of the same place, where there was one.
pub trait LowRankGradient<D: Device = Cpu>: LowRank<D> {
    /// Given the gradient `dy` by the product's result: adds up the gradients of A and B, and
    /// adds the low-rank part's share to `dx` when it is wanted.
    fn backward(
        &mut self,
        place: LayerSite,
        x: &D::Mat,
        kept: Option<&D::Factored>,
        dy: &D::Mat,
        dx: Option<&mut D::Mat>,
    );

    /// As [`LowRankGradient::backward`], returning the low-rank part's share of `dx` in its factors
    /// for the frozen part to take in; `None` has done nothing, and leaves it to `backward`.
    fn begin_backward(
        &mut self,
        _: LayerSite,
        _: &D::Mat,
        _: Option<&D::Factored>,
        _: &D::Mat,
    ) -> Option<D::Factored> {
        None
    }

    /// The first layer with a trained matrix; nothing below needs a gradient.
    fn first_layer(&self) -> usize;
}

/// No adapter at all: the base.
pub struct NoLowRank;

impl<D: Device> LowRank<D> for NoLowRank {
    fn add(&mut self, _: LayerSite, _: &D::Mat, _: &mut D::Mat) {}

    fn begin(&mut self, _: LayerSite, _: &D::Mat) -> Share<D> {
        Share::Nothing
    }
}

/// A frozen linear layer.
pub struct Linear<D: Device> {
    /// Shape `[out, in]`.
    pub weight: D::Weight,
    /// One number an output.
    pub bias: Option<D::Vector>,
    /// Where it stands.
    pub place: LayerSite,
}

impl<D: Device> Linear<D> {
    /// `[rows, in] -> [rows, out]`, and the share that its backward needs.
    pub fn forward(
        &self,
        device: &D,
        x: &D::Mat,
        low_rank: &mut dyn LowRank<D>,
    ) -> (D::Mat, Option<D::Factored>) {
        match low_rank.begin(self.place, x).now() {
            Some(share) => (device.product(self, x, share.as_ref()), share),
            None => (self.add_later(device, x, low_rank), None),
        }
    }

    /// The same of `[gate | up]`, and `act(gate) * up` in the second place.
    pub fn forward_gated(
        &self,
        device: &D,
        x: &D::Mat,
        activation: Activation,
        low_rank: &mut dyn LowRank<D>,
    ) -> (D::Mat, D::Mat, Option<D::Factored>) {
        if let Some(share) = low_rank.begin(self.place, x).now() {
            let (gate_up, active) = device.product_gate(self, x, share.as_ref(), activation);
            return (gate_up, active, share);
        }
        let gate_up = self.add_later(device, x, low_rank);
        let active = device.gate(&gate_up, activation);
        (gate_up, active, None)
    }

    /// The same of `[queries | keys | values]` of whole sequences, and attention over them.
    pub fn forward_attended(
        &self,
        device: &D,
        x: &D::Mat,
        norms: HeadNorms<'_, D>,
        rows: &D::Rows,
        rotary: &D::Rotary,
        low_rank: &mut dyn LowRank<D>,
    ) -> (D::Mat, D::Attended, Option<D::Factored>) {
        if let Some(share) = low_rank.begin(self.place, x).now() {
            let (mixed, attended) =
                device.product_attend(self, x, share.as_ref(), norms, rows, rotary);
            return (mixed, attended, share);
        }
        let qkv = self.add_later(device, x, low_rank);
        let (mixed, attended) = device.attend(norms, qkv, rows, rotary, None);
        (mixed, attended, None)
    }

    fn add_later(&self, device: &D, x: &D::Mat, low_rank: &mut dyn LowRank<D>) -> D::Mat {
        let mut y = device.product(self, x, None);
        low_rank.add(self.place, x, &mut y);
        y
    }

    /// The gradient by the input, `[rows, in]`, given the gradient `dy` by the result; low-rank
    /// gradients are added up on the way. The frozen weight gets none. `x` yields the input, which
    /// only an adapter at this place needs; `kept` is the share that the forward returned.
    pub fn backward(
        &self,
        device: &D,
        x: impl FnOnce() -> D::Mat,
        kept: Option<&D::Factored>,
        dy: &D::Mat,
        low_rank: &mut dyn LowRankGradient<D>,
    ) -> D::Mat {
        match self.begin_backward(device, x, kept, dy, low_rank) {
            Begun::Whole(dx) => dx,
            Begun::Share(share) => device.product_backward(&self.weight, dy, share.as_ref()),
        }
    }

    /// The same where the input was `act(gate) * up` of `[gate | up]`: the gradient by that.
    pub fn backward_gated(
        &self,
        device: &D,
        (gate_up, activation): (&D::Mat, Activation),
        x: impl FnOnce() -> D::Mat,
        kept: Option<&D::Factored>,
        dy: &D::Mat,
        low_rank: &mut dyn LowRankGradient<D>,
    ) -> D::Mat {
        match self.begin_backward(device, x, kept, dy, low_rank) {
            Begun::Whole(dx) => device.gate_backward(gate_up, &dx, activation),
            Begun::Share(share) => device.product_gate_backward(
                &self.weight,
                (gate_up, activation),
                dy,
                share.as_ref(),
            ),
        }
    }

    fn begin_backward(
        &self,
        device: &D,
        x: impl FnOnce() -> D::Mat,
        kept: Option<&D::Factored>,
        dy: &D::Mat,
        low_rank: &mut dyn LowRankGradient<D>,
    ) -> Begun<D> {
        if !low_rank.reads(self.place) {
            return Begun::Share(None);
        }
        let x = x();
        if let Some(share) = low_rank.begin_backward(self.place, &x, kept, dy) {
            return Begun::Share(Some(share));
        }
        let mut dx = device.product_backward(&self.weight, dy, None);
        low_rank.backward(self.place, &x, kept, dy, Some(&mut dx));
        Begun::Whole(dx)
    }
}

/// A gradient by a product's input, on the way.
enum Begun<D: Device> {
    /// It is complete.
    Whole(D::Mat),
    /// The frozen product is still to come, and takes this in.
    Share(Option<D::Factored>),
}
