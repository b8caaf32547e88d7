//! What a device computes: the operations that the layers are made of.
//!
//! The layers are written once, over these; [`Cpu`](super::cpu::Cpu) and, with the feature `gpu`,
//! `Cuda` implement them. An operation is as large as a device can do in one go, so that a GPU
//! needs no more passes over memory than the arithmetic asks for. The CPU's are the reference
//! that the GPU's are tested against.

use std::ops::Range;

use super::layers::{Linear, RmsNorm};
use super::{Activation, Format, Heads, Mat, ModelConfig, ModelError, Span, StoredTensor};

/// Norms, sizes, and reach of an attention block.
pub struct HeadNorms<'a, D: Device> {
    /// Sizes.
    pub heads: Heads,
    /// Norm of each query head, before the rotation.
    pub queries: Option<&'a RmsNorm<D>>,
    /// Norm of each key head, before the rotation.
    pub keys: Option<&'a RmsNorm<D>>,
    /// Positions that a row sees, its own among them; `None` is the whole context.
    pub window: Option<usize>,
}

/// A place where a decoder runs.
pub trait Device: Clone + Send + Sync + 'static {
    /// Activations: rows are tokens, columns are features.
    type Mat: Send;
    /// A frozen matrix `[out, in]`.
    type Weight: Send + Sync;
    /// A frozen row of numbers: a norm's weight, a bias.
    type Vector: Send + Sync;
    /// Cosines and sines by position.
    type Rotary: Send + Sync;
    /// Keys and values of one layer.
    type Kv: Send;
    /// The rows of a step: their tokens, and which positions of which sequences they are.
    type Rows: Send;
    /// What attention leaves for its backward beside its result.
    type Attended: Send;
    /// A low-rank product `t B` in its factors: what takes it in multiplies them.
    type Factored: Send;
    /// A sum of losses that is still being formed.
    type Total: Default;

    /// Rows whose logits are in memory together while a loss is formed.
    fn loss_rows(&self) -> usize;

    /// Whether there was room for every result since this was last asked. Where there is none, an
    /// operation does nothing, and neither does any after it until this is asked: what they return
    /// is void. So whoever begins operations asks at the end, and drops what they returned on an
    /// error.
    ///
    /// # Errors
    /// The device's memory was full.
    fn had_room(&self) -> Result<(), ModelError>;

    /// Whether it runs a model of this shape.
    ///
    /// # Errors
    /// What it cannot run, and the way out.
    fn supports(&self, config: &ModelConfig) -> Result<(), ModelError>;

    /// A weight from stored parts with as many columns, stacked: of their numbers, or of their
    /// blocks where the device computes with the format as it is.
    ///
    /// # Errors
    /// A part that does not decode; the device's memory is full.
    fn weight(&self, parts: &[StoredTensor<'_>]) -> Result<Self::Weight, ModelError>;

    /// A weight of random numbers around 0, for measuring without a model; stored in a format where
    /// the device computes with it.
    ///
    /// # Errors
    /// The device's memory is full.
    fn random_weight(
        &self,
        outputs: usize,
        inputs: usize,
        format: Format,
        seed: u64,
    ) -> Result<Self::Weight, ModelError>;

    /// A frozen row of numbers.
    ///
    /// # Errors
    /// The device's memory is full.
    fn vector(&self, values: &[f32]) -> Result<Self::Vector, ModelError>;

    /// Tables of the rotary embedding, in F32 whatever the device computes in.
    ///
    /// # Errors
    /// The device's memory is full.
    fn rotary(&self, inv_freq: &[f32], positions: usize) -> Result<Self::Rotary, ModelError>;

    /// Room for the keys and values of one layer.
    ///
    /// # Errors
    /// The device's memory is full.
    fn kv(&self, heads: Heads, slots: usize, capacity: usize) -> Result<Self::Kv, ModelError>;

    /// Copies the first `positions` of one slot to another.
    fn copy_kv(&self, kv: &mut Self::Kv, from: usize, to: usize, positions: usize);

    /// Bytes of a weight.
    fn bytes(&self, weight: &Self::Weight) -> usize;

    /// Describes the rows of a step. `capacity` is that of the cache they go to.
    fn rows(&self, tokens: &[u32], spans: &[Span], capacity: usize) -> Self::Rows;

    /// Describes whole sequences side by side, as training runs them: a row's bits may depend on
    /// the shape of the batch.
    fn sequences(&self, tokens: &[u32], sequences: &[Range<usize>]) -> Self::Rows {
        let longest = sequences.iter().map(Range::len).max().unwrap_or(0);
        self.rows(tokens, &whole(sequences), longest)
    }

    /// The rows' tokens as rows of the embedding, times `scale`.
    fn embed(&self, embedding: &Self::Weight, rows: &Self::Rows, scale: f32) -> Self::Mat;

    /// Zeros.
    fn zeros(&self, rows: usize, cols: usize) -> Self::Mat;

    /// Number of rows.
    fn height(&self, x: &Self::Mat) -> usize;

    /// Number of columns.
    fn width(&self, x: &Self::Mat) -> usize;

    /// The same numbers, which are not written from here on; a device may share the memory.
    fn share(&self, x: &Self::Mat) -> Self::Mat;

    /// The numbers as F32 in the host's memory.
    fn download(&self, x: &Self::Mat) -> Mat;

    /// Numbers from the host's memory.
    fn upload(&self, x: &Mat) -> Self::Mat;

    /// Rows of the residual stream from the host's memory, as [`Device::download`] gave them.
    fn upload_stream(&self, x: &Mat) -> Self::Mat {
        self.upload(x)
    }

    /// The rows named, in that order.
    fn gather(&self, x: &Self::Mat, rows: &[usize]) -> Self::Mat;

    /// Adds each row of `x` to the row of `target` that is named for it; no row is named twice.
    fn scatter_add(&self, x: &Self::Mat, rows: &[usize], target: &mut Self::Mat);

    /// `x + y`.
    fn sum(&self, x: &Self::Mat, y: Self::Mat) -> Self::Mat;

    /// A norm of every row.
    fn norm(&self, norm: &RmsNorm<Self>, x: &Self::Mat) -> Self::Mat;

    /// `x + y`, and its norm.
    fn sum_norm(&self, norm: &RmsNorm<Self>, x: &Self::Mat, y: Self::Mat)
    -> (Self::Mat, Self::Mat);

    /// Adds the gradient of [`Device::norm`] by `x` to `dx`.
    fn norm_backward(
        &self,
        norm: &RmsNorm<Self>,
        x: &Self::Mat,
        dy: &Self::Mat,
        dx: &mut Self::Mat,
    );

    /// `x W^T + b`, and a low-rank share.
    fn product(
        &self,
        linear: &Linear<Self>,
        x: &Self::Mat,
        share: Option<&Self::Factored>,
    ) -> Self::Mat;

    /// `dy W`, the gradient of [`Device::product`] by `x`, and a low-rank share.
    fn product_backward(
        &self,
        weight: &Self::Weight,
        dy: &Self::Mat,
        share: Option<&Self::Factored>,
    ) -> Self::Mat;

    /// `x W^T` for the head, in F32: tokens are chosen from it, and losses are small differences.
    fn logits(&self, head: &Self::Weight, x: &Self::Mat) -> Self::Mat;

    /// Norms and rotates the queries and keys of `[queries | keys | values]`, and attends every row
    /// to its own sequence up to itself, as far back as it sees. Keys and values are stored in `kv`, and read there with
    /// those of earlier steps; without it, the rows are whole sequences.
    fn attend(
        &self,
        norms: HeadNorms<'_, Self>,
        qkv: Self::Mat,
        rows: &Self::Rows,
        rotary: &Self::Rotary,
        kv: Option<&mut Self::Kv>,
    ) -> (Self::Mat, Self::Attended);

    /// [`Device::attend`] over whole sequences of what [`Device::product`] gives.
    fn product_attend(
        &self,
        linear: &Linear<Self>,
        x: &Self::Mat,
        share: Option<&Self::Factored>,
        norms: HeadNorms<'_, Self>,
        rows: &Self::Rows,
        rotary: &Self::Rotary,
    ) -> (Self::Mat, Self::Attended) {
        self.attend(norms, self.product(linear, x, share), rows, rotary, None)
    }

    /// The gradient of [`Device::attend`] over whole sequences by `qkv`, given that by its result,
    /// which was `mixed`.
    fn attend_backward(
        &self,
        norms: HeadNorms<'_, Self>,
        mixed: &Self::Mat,
        of: &Self::Attended,
        d_mixed: &Self::Mat,
        rows: &Self::Rows,
        rotary: &Self::Rotary,
    ) -> Self::Mat;

    /// `act(gate) * up` of `[gate | up]`.
    fn gate(&self, gate_up: &Self::Mat, activation: Activation) -> Self::Mat;

    /// The gradient of [`Device::gate`] by `[gate | up]`.
    fn gate_backward(
        &self,
        gate_up: &Self::Mat,
        d_active: &Self::Mat,
        activation: Activation,
    ) -> Self::Mat;

    /// `[gate | up]` as [`Device::product`] gives it, and [`Device::gate`] of it.
    fn product_gate(
        &self,
        linear: &Linear<Self>,
        x: &Self::Mat,
        share: Option<&Self::Factored>,
        activation: Activation,
    ) -> (Self::Mat, Self::Mat) {
        let gate_up = self.product(linear, x, share);
        let active = self.gate(&gate_up, activation);
        (gate_up, active)
    }

    /// [`Device::gate_backward`] of the gradient that [`Device::product_backward`] gives.
    fn product_gate_backward(
        &self,
        weight: &Self::Weight,
        (gate_up, activation): (&Self::Mat, Activation),
        dy: &Self::Mat,
        share: Option<&Self::Factored>,
    ) -> Self::Mat {
        let d_active = self.product_backward(weight, dy, share);
        self.gate_backward(gate_up, &d_active, activation)
    }

    /// Cross-entropy of each row of logits against its label, added to `total`; the logits become
    /// its gradient times `weight`, and on a GPU times its loss scale, which every gradient by an
    /// activation then has.
    fn cross_entropy(
        &self,
        logits: &mut Self::Mat,
        labels: &[u32],
        weight: f32,
        total: &mut Self::Total,
    );

    /// KL(softmax(target) || softmax(logits)) of each row, added to `total`; the logits become what
    /// [`Device::cross_entropy`] makes of them.
    fn divergence(
        &self,
        logits: &mut Self::Mat,
        target: &mut Self::Mat,
        weight: f32,
        total: &mut Self::Total,
    );

    /// A sum that is complete, in nats.
    fn total(&self, total: Self::Total) -> f64;
}

/// Whole sequences as spans, slot after slot.
pub(crate) fn whole(sequences: &[Range<usize>]) -> Vec<Span> {
    let span = |(slot, rows): (usize, &Range<usize>)| Span {
        slot,
        position: 0,
        rows: rows.clone(),
    };
    sequences.iter().enumerate().map(span).collect()
}
