//! A learner on a GPU.

use crate::gpu::Cuda;
use crate::lora::{DropoutKey, GpuTrainable, Trainable};
use crate::model::{Decoder, Keep, ModelError};

use super::super::batch::StepBatch;
use super::super::learner::Learner;
use super::super::optim::{AdamW, clip_factor};
use super::super::step::{StepLoss, accumulate_in_room, validate};
use super::optimizer::GpuAdamW;

/// A learner on a GPU.
pub struct Card<'a> {
    decoder: &'a Decoder<Cuda>,
    card: GpuTrainable,
    on_card: GpuAdamW,
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
        let card = GpuTrainable::new(decoder.device(), &host)?;
        let on_card = GpuAdamW::new(&card, &optimizer.moments)?;
        Ok(Card {
            decoder,
            card,
            on_card,
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
        let norm = self.on_card.gradient_norm(&self.card);
        let scale = clip_factor(norm, max_norm).unwrap_or(1.0) as f32;
        let update = self.optimizer.next_update(learning_rate);
        self.on_card.update(&mut self.card, &update, scale);
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
            self.optimizer.moments = self.on_card.moments();
            self.current = true;
        }
        (&self.host, &self.optimizer)
    }
}
