//! The adapter, its optimizer, and the base on whichever device trains them.

use crate::lora::{DropoutKey, Trainable};
use crate::model::{Decoder, Keep, ModelError, ModelRef};

use super::batch::StepBatch;
use super::optim::{AdamW, clip};
use super::step::{StepLoss, accumulate_in_room, validate};

/// What a run trains with. The host's copies are what checkpoints are written from.
pub trait Learner {
    /// Clears the gradients and adds up those of a step; returns what the user should hear, too.
    ///
    /// # Errors
    /// The device's memory is full, whatever is computed again.
    fn accumulate(
        &mut self,
        batch: &StepBatch,
        rehearsal_weight: f64,
        key: DropoutKey,
    ) -> Result<(StepLoss, Option<String>), ModelError>;

    /// Clips the gradients and takes a step; returns their norm before.
    fn update(&mut self, max_norm: f64, learning_rate: f64) -> f64;

    /// Mean loss over the labelled tokens of some batches.
    ///
    /// # Errors
    /// The device's memory is full.
    fn validate(&mut self, batch: &StepBatch) -> Result<f64, ModelError>;

    /// The matrices with their present gradients.
    fn with_gradients(&mut self) -> &Trainable;

    /// The matrices and the optimizer as they are now.
    fn state(&mut self) -> (&Trainable, &AdamW);
}

/// A learner on the device of the base.
///
/// # Errors
/// The device's memory is full.
pub fn learner<'a>(
    model: ModelRef<'a>,
    trainable: Trainable,
    optimizer: AdamW,
    keep: Keep,
) -> Result<Box<dyn Learner + 'a>, ModelError> {
    Ok(match model {
        ModelRef::Cpu(decoder) => Box::new(Host {
            decoder,
            trainable,
            optimizer,
            keep,
        }),
        #[cfg(feature = "gpu")]
        ModelRef::Gpu(decoder) => {
            Box::new(super::gpu::Card::new(decoder, trainable, optimizer, keep)?)
        }
    })
}

struct Host<'a> {
    decoder: &'a Decoder,
    trainable: Trainable,
    optimizer: AdamW,
    keep: Keep,
}

impl Learner for Host<'_> {
    fn accumulate(
        &mut self,
        batch: &StepBatch,
        rehearsal_weight: f64,
        key: DropoutKey,
    ) -> Result<(StepLoss, Option<String>), ModelError> {
        let (keep, trainable) = (&mut self.keep, &mut self.trainable);
        accumulate_in_room(self.decoder, trainable, batch, keep, rehearsal_weight, key)
    }

    fn update(&mut self, max_norm: f64, learning_rate: f64) -> f64 {
        let norm = clip(&mut self.trainable, max_norm);
        self.optimizer.update(&mut self.trainable, learning_rate);
        norm
    }

    fn validate(&mut self, batch: &StepBatch) -> Result<f64, ModelError> {
        validate(self.decoder, &mut self.trainable, batch)
    }

    fn with_gradients(&mut self) -> &Trainable {
        &self.trainable
    }

    fn state(&mut self) -> (&Trainable, &AdamW) {
        (&self.trainable, &self.optimizer)
    }
}
