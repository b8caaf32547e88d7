//! One step of the engine on a device: rows in, chosen tokens out.

use rayon::prelude::*;

use super::sampler::Sampling;
use crate::lora::{BatchAdapters, LoadedAdapter};
use crate::model::{Batch, Decoder, KvCache, Mat, ModelError, log_sum_exp};

/// Rows whose logits are in memory together.
const LOGIT_ROWS: usize = 64;

/// The rows of a step.
#[derive(Default)]
pub(super) struct Plan {
    /// Tokens, and whose positions they are.
    pub batch: Batch,
    /// Each row's adapter.
    pub adapters: Vec<Option<usize>>,
    /// Whether each span is one token of an answer that is being written.
    pub writes: Vec<bool>,
    /// Rows whose results are kept, each for a slot: the last of its prompt.
    pub keep: Vec<(usize, usize)>,
    /// Rows whose logits are wanted.
    pub wanted: Vec<Wanted>,
}

/// A row whose logits are wanted.
pub(super) struct Wanted {
    /// Which.
    pub row: Row,
    /// For what.
    pub ask: Ask,
}

/// A row's place.
#[derive(Clone, Copy)]
pub(super) enum Row {
    /// Of this step.
    Now(usize),
    /// Kept for this slot by an earlier step.
    Kept(usize),
}

/// What is asked of a row of logits.
pub(super) enum Ask {
    /// The next token.
    Choose {
        sampling: Sampling,
        /// In [0, 1).
        draw: f32,
        /// Every token so far, when the sampling looks at them.
        context: Vec<u32>,
    },
    /// The log-probability of this token.
    Score(u32),
}

impl Ask {
    /// The token that a row of logits gives, and its log-probability.
    pub fn answer(&self, logits: &[f32], usable: usize) -> (u32, f32) {
        let token = match self {
            Ask::Choose {
                sampling,
                draw,
                context,
            } => sampling.choose(
                &logits[..usable.min(logits.len())],
                context.iter().copied(),
                *draw,
            ),
            Ask::Score(token) => *token,
        };
        (token, logits[token as usize] - log_sum_exp(logits))
    }
}

/// A device that runs steps.
pub(super) trait Stepper {
    /// Copies the first `positions` of one slot to another.
    fn copy(&mut self, from: usize, to: usize, positions: usize);

    /// Begins a step, without waiting for it: the host has other work meanwhile.
    ///
    /// # Errors
    /// The device's memory is full.
    fn start(&mut self, plan: &Plan) -> Result<(), ModelError>;

    /// Ends the step that was begun: a token and its log-probability for every row that is wanted.
    ///
    /// # Errors
    /// The device's memory is full.
    fn finish(&mut self, plan: &Plan) -> Result<Vec<(u32, f32)>, ModelError>;
}

/// Steps on the CPU.
pub(super) struct CpuStepper<'a> {
    decoder: &'a Decoder,
    adapters: &'a [LoadedAdapter],
    cache: KvCache,
    /// A row of the last layer's result by slot, and its adapter.
    kept: Vec<(Vec<f32>, Option<usize>)>,
    usable: usize,
}

impl<'a> CpuStepper<'a> {
    pub fn new(
        decoder: &'a Decoder,
        adapters: &'a [LoadedAdapter],
        slots: usize,
        capacity: usize,
        usable: usize,
    ) -> Self {
        CpuStepper {
            decoder,
            adapters,
            cache: KvCache::new(decoder.config(), slots, capacity),
            kept: vec![(Vec::new(), None); slots],
            usable,
        }
    }
}

impl Stepper for CpuStepper<'_> {
    fn copy(&mut self, from: usize, to: usize, positions: usize) {
        self.cache.copy(from, to, positions);
    }

    fn start(&mut self, _: &Plan) -> Result<(), ModelError> {
        Ok(())
    }

    fn finish(&mut self, plan: &Plan) -> Result<Vec<(u32, f32)>, ModelError> {
        let hidden = if plan.batch.tokens.is_empty() {
            Mat::zeros(0, self.decoder.config().hidden_size)
        } else {
            let mut adapters = BatchAdapters::new(self.adapters, &plan.adapters);
            self.decoder
                .forward(&plan.batch, &mut self.cache, &mut adapters)?
        };
        let mut answers = Vec::with_capacity(plan.wanted.len());
        for chunk in plan.wanted.chunks(LOGIT_ROWS) {
            let mut rows = Mat::zeros(chunk.len(), hidden.cols);
            let mut adapters = Vec::with_capacity(chunk.len());
            for (i, wanted) in chunk.iter().enumerate() {
                let (values, adapter) = match wanted.row {
                    Row::Now(row) => (hidden.row(row), plan.adapters[row]),
                    Row::Kept(slot) => (&self.kept[slot].0[..], self.kept[slot].1),
                };
                rows.row_mut(i).copy_from_slice(values);
                adapters.push(adapter);
            }
            let mut adapters = BatchAdapters::new(self.adapters, &adapters);
            let logits = self.decoder.logits_with(&rows, &mut adapters)?;
            let chosen = (0..chunk.len()).into_par_iter();
            answers.par_extend(chosen.map(|i| chunk[i].ask.answer(logits.row(i), self.usable)));
        }
        for &(row, slot) in &plan.keep {
            self.kept[slot] = (hidden.row(row).to_vec(), plan.adapters[row]);
        }
        Ok(answers)
    }
}
