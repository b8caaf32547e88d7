//! Embeddings and heads that adapters have of their own: every row of a step is looked up and multiplied
//! with the base's, and an adapter's rows with its own on top. So a step's work is the same whatever its
//! rows have, as a graph that replays needs it.

use super::super::OwnRows;
use super::super::loaded::LoadedAdapter;
use crate::gpu::{Arg, Buffer, Cuda, Grid};
use crate::model::cuda::{CudaMat, CudaRows, CudaWeight};
use crate::model::{Device, ModelError, StoredTensor};

/// An adapter's own rows of the embedding or of the head.
pub(super) struct OwnTable {
    /// Place of the adapter in the list.
    adapter: i32,
    /// How far from the base's rows to these.
    scale: f32,
    weight: CudaWeight,
    /// The token of each row.
    tokens: Buffer,
    /// The row of each token, -1 for none.
    places: Buffer,
    rows: usize,
    vocabulary: usize,
}

impl OwnTable {
    /// Uploads the rows of `adapter`.
    ///
    /// # Errors
    /// The device's memory is full.
    pub fn new(
        cuda: &Cuda,
        adapter: usize,
        of: &LoadedAdapter,
        rows: &OwnRows,
    ) -> Result<Self, ModelError> {
        let (hidden, vocabulary) = of.table_shape();
        let tokens: Vec<i32> = match rows {
            OwnRows::All(_) => (0..vocabulary as i32).collect(),
            OwnRows::Some(rows) => rows.keys().map(|token| *token as i32).collect(),
        };
        let gathered;
        let values = match rows {
            OwnRows::All(values) => values,
            OwnRows::Some(rows) => {
                gathered = rows.values().flatten().copied().collect::<Vec<f32>>();
                &gathered
            }
        };
        let mut places = vec![-1i32; vocabulary];
        for (place, token) in tokens.iter().enumerate() {
            places[*token as usize] = place as i32;
        }
        Ok(OwnTable {
            adapter: adapter as i32,
            scale: of.scale(),
            weight: cuda.weight(&[StoredTensor::of(values, hidden)])?,
            tokens: cuda.alloc_of(&tokens)?,
            places: cuda.alloc_of(&places)?,
            rows: tokens.len(),
            vocabulary,
        })
    }

    /// Puts its rows in the place of the base's, in the rows of `x` that have the adapter.
    pub fn embed(&self, cuda: &Cuda, rows: &CudaRows, adapters: Arg, scale: f32, x: &mut CudaMat) {
        let (count, n) = x.whole_rows();
        let args = [
            self.weight.half(),
            self.places.holds(self.vocabulary * 4),
            rows.tokens(),
            adapters,
            Arg::Int(self.adapter),
            x.pointer(),
            Arg::Int(n as i32),
            Arg::Float(scale),
            Arg::Float(self.scale),
        ];
        // SAFETY: `own_embedding(table, place, tokens, adapter, which, x, n, scale, t)` reads a place for
        // each token, which lies in the vocabulary, and rows of n numbers of the table at places.
        unsafe { cuda.launch("own_embedding", Grid::rows(count), &args) };
    }

    /// Puts its logits in the place of the base's, in the rows that have the adapter.
    pub fn head(&self, cuda: &Cuda, normed: &CudaMat, adapters: Arg, logits: &mut CudaMat) {
        let own = cuda.logits(&self.weight, normed);
        assert!(
            own.planes == 1 && logits.planes == 1 && logits.cols == self.vocabulary,
            "logits in F32"
        );
        let args = [
            logits.pointer(),
            own.pointer(),
            self.tokens.holds(self.rows * 4),
            adapters,
            Arg::Int(self.adapter),
            Arg::Int(self.rows as i32),
            Arg::Int(own.stride as i32),
            Arg::Int(logits.stride as i32),
            Arg::Float(self.scale),
        ];
        // SAFETY: `own_head(logits, own, tokens, adapter, which, count, own_stride, stride, t)` reads so
        // many numbers of each row of `own`, and writes those of tokens, which lie in the vocabulary.
        unsafe { cuda.launch("own_head", Grid::rows(logits.rows), &args) };
    }
}
