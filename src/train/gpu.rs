//! Training on a GPU: matrices, gradients, and moments stay there; the host has them when a
//! checkpoint is written.

use crate::gpu::Cuda;
use crate::lora::{DropoutKey, GpuTrainable, Trainable};
use crate::model::{Decoder, Keep, ModelError};

use super::batch::StepBatch;
use super::learner::Learner;
use super::optim::{AdamW, Moments, clip_factor};
use super::step::{StepLoss, accumulate_in_room, validate};

/// A learner on a GPU.
pub(super) struct Card<'a> {
    decoder: &'a Decoder<Cuda>,
    card: GpuTrainable,
    host: Trainable,
    optimizer: AdamW,
    keep: Keep,
    /// The host has the matrices and moments of the last step.
    current: bool,
}

impl<'a> Card<'a> {
    pub fn new(
        decoder: &'a Decoder<Cuda>,
        host: Trainable,
        optimizer: AdamW,
        keep: Keep,
    ) -> Result<Self, ModelError> {
        let mut card = GpuTrainable::new(decoder.device(), &host)?;
        let list = |of: fn(&Moments) -> &Vec<f32>| -> Vec<&[f32]> {
            optimizer.moments.iter().map(|m| of(m).as_slice()).collect()
        };
        card.factors()
            .set_moments(&list(|m| &m.first), &list(|m| &m.second));
        Ok(Card {
            decoder,
            card,
            host,
            optimizer,
            keep,
            current: true,
        })
    }
}

impl Learner for Card<'_> {
    fn accumulate(
        &mut self,
        batch: &StepBatch,
        rehearsal_weight: f64,
        key: DropoutKey,
    ) -> Result<(StepLoss, Option<String>), ModelError> {
        let (keep, card) = (&mut self.keep, &mut self.card);
        accumulate_in_room(self.decoder, card, batch, keep, rehearsal_weight, key)
    }

    fn update(&mut self, max_norm: f64, learning_rate: f64) -> f64 {
        let factors = self.card.factors();
        let norm = factors.gradient_norm();
        let scale = clip_factor(norm, max_norm).unwrap_or(1.0) as f32;
        let update = self.optimizer.next_update(learning_rate);
        factors.update(&update.on_gpu(scale));
        self.current = false;
        norm
    }

    fn validate(&mut self, batch: &StepBatch) -> Result<f64, ModelError> {
        validate(self.decoder, &mut self.card, batch)
    }

    fn with_gradients(&mut self) -> &Trainable {
        self.card.fetch_gradients(&mut self.host);
        &self.host
    }

    fn state(&mut self) -> (&Trainable, &AdamW) {
        if !self.current {
            self.card.fetch(&mut self.host);
            let [first, second] = self.card.factors().moments();
            let moments = first.into_iter().zip(second);
            self.optimizer.moments = moments
                .map(|(first, second)| Moments { first, second })
                .collect();
            self.current = true;
        }
        (&self.host, &self.optimizer)
    }
}
