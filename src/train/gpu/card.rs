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
///
/// In half precision a gradient that is large on its way down becomes an infinity under the usual
/// loss scale. Such a step is computed again under smaller ones, until its gradients are numbers
/// ("Mixed Precision Training", Micikevicius and others, 2018, section 3.2, skips it instead). Every
/// step begins with the usual scale, so a resumed run repeats the same bits.
pub struct Card<'a> {
    decoder: &'a Decoder<Cuda>,
    card: GpuTrainable,
    on_card: GpuAdamW,
    host: Trainable,
    optimizer: AdamW,
    keep: Keep,
    /// The host has the matrices and moments of the last step.
    current: bool,
    /// Of the gradients added up last.
    norm: f64,
}

/// From one loss scale to the next smaller one: of 4096 come 64 and 1.
const SMALLER: f32 = 1.0 / 64.0;

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
            norm: 0.0,
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
        let cuda = self.decoder.device();
        let usual = cuda.half_type().loss_scale();
        let (mut scale, mut notices) = (usual, None);
        let loss = loop {
            cuda.set_loss_scale(scale);
            let (keep, card) = (&mut self.keep, &mut self.card);
            let (loss, notice) =
                accumulate_in_room(self.decoder, card, batch, keep, rehearsal_weight, key)?;
            notices = notices.or(notice);
            self.norm = self.on_card.gradient_norm(card);
            // A loss that is no number is wrong before any gradient.
            if self.norm.is_finite() || !loss.loss.is_finite() || scale <= 1.0 {
                break loss;
            }
            scale *= SMALLER;
        };
        cuda.set_loss_scale(usual);
        Ok((loss, notices))
    }

    fn update(&mut self, max_norm: f64, learning_rate: f64) -> f64 {
        let norm = self.norm;
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
