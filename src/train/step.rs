//! One optimizer step's loss and gradients, micro-batch by micro-batch.

use std::ops::Range;

use crate::lora::{DropoutKey, Trainable};
use crate::model::{Cpu, Decoder, Device, Keep, LowRankGradient, Mat, ModelError};

use super::batch::{MicroBatch, StepBatch};

/// Means over a step, in nats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepLoss {
    /// Cross-entropy over the labelled tokens; 0 without any.
    pub loss: f64,
    /// KL(base || adapter) over the rows of rehearsal; `None` without any.
    pub rehearsal: Option<f64>,
}

/// Adds up the gradients of a step's micro-batches: of the mean cross-entropy over its labelled
/// tokens, plus `rehearsal_weight` times the mean divergence from the base over its rows of
/// rehearsal (the distillation term of Li & Hoiem 2016, Learning without Forgetting, in KL form at
/// temperature 1). `key` addresses dropout's draws.
///
/// # Errors
/// The device's memory is full; then the gradients are those of a part of the step.
pub fn accumulate<D: Device>(
    decoder: &Decoder<D>,
    trained: &mut impl TrainedAdapter<D>,
    batch: &StepBatch,
    keep: Keep,
    rehearsal_weight: f64,
    key: DropoutKey,
) -> Result<StepLoss, ModelError> {
    let device = decoder.device();
    let weight = 1.0 / batch.labelled.max(1) as f32;
    let anchor = (rehearsal_weight / batch.rehearsed.max(1) as f64) as f32;
    let (mut total, mut nats) = (0.0, 0.0);
    for (i, micro) in batch.micro_batches.iter().enumerate() {
        trained.set_dropout(Some(DropoutKey {
            micro_batch: i as u32,
            ..key
        }));
        let sequences = sequences(micro);
        let (hidden, tape) =
            decoder.forward_training(&micro.tokens, &sequences, keep, trained.low_rank())?;
        let mut gradient = device.zeros(device.height(&hidden), device.width(&hidden));
        total += decoder.loss(&hidden, &labels(micro), weight, Some(&mut gradient))?;
        if let Some((rows, base)) = rehearsed(micro) {
            nats += decoder.divergence(&hidden, &rows, &base, anchor, &mut gradient)?;
        }
        drop(hidden);
        decoder.backward(tape, gradient, trained.low_rank())?;
    }
    trained.set_dropout(None);
    Ok(StepLoss {
        loss: total / batch.labelled.max(1) as f64,
        rehearsal: (batch.rehearsed > 0).then(|| nats / batch.rehearsed as f64),
    })
}

/// Clears the gradients and adds up those of a step as [`accumulate`] does; where the device's
/// memory is full, once more from zero with less kept between forward and backward, until it fits.
/// `keep` is then what fits, and the text says so to the user. All plans give the same bits.
///
/// # Errors
/// The device's memory is too small for the least that can be kept.
pub fn accumulate_in_room<D: Device>(
    decoder: &Decoder<D>,
    trained: &mut impl TrainedAdapter<D>,
    batch: &StepBatch,
    keep: &mut Keep,
    rehearsal_weight: f64,
    key: DropoutKey,
) -> Result<(StepLoss, Option<String>), ModelError> {
    let mut notice = None;
    loop {
        trained.clear_gradients();
        let step = accumulate(decoder, trained, batch, *keep, rehearsal_weight, key);
        match (step, keep.less()) {
            (Err(ModelError::OutOfMemory { .. }), Some(less)) => {
                *keep = less;
                notice = Some(
                    "the GPU's memory is full; activations are computed again from here on, which \
                     takes longer and changes no result"
                        .to_owned(),
                );
            }
            (step, _) => return Ok((step?, notice)),
        }
    }
}

/// A trained adapter on some device.
pub trait TrainedAdapter<D: Device> {
    /// Its joint with the decoder.
    fn low_rank(&mut self) -> &mut dyn LowRankGradient<D>;

    /// Sets every gradient to zero.
    fn clear_gradients(&mut self);

    /// Sets where dropout's draws are; `None` while validating.
    fn set_dropout(&mut self, key: Option<DropoutKey>);
}

impl TrainedAdapter<Cpu> for Trainable {
    fn low_rank(&mut self) -> &mut dyn LowRankGradient<Cpu> {
        self
    }

    fn clear_gradients(&mut self) {
        Trainable::clear_gradients(self);
    }

    fn set_dropout(&mut self, key: Option<DropoutKey>) {
        self.dropout_key = key;
    }
}

#[cfg(feature = "gpu")]
impl TrainedAdapter<crate::gpu::Cuda> for crate::lora::GpuTrainable {
    fn low_rank(&mut self) -> &mut dyn LowRankGradient<crate::gpu::Cuda> {
        self
    }

    fn clear_gradients(&mut self) {
        crate::lora::GpuTrainable::clear_gradients(self);
    }

    fn set_dropout(&mut self, key: Option<DropoutKey>) {
        crate::lora::GpuTrainable::set_dropout(self, key);
    }
}

/// Mean loss over the labelled tokens of some batches, in nats, without gradients or dropout.
///
/// # Errors
/// The device's memory is full.
pub fn validate<D: Device>(
    decoder: &Decoder<D>,
    trained: &mut impl TrainedAdapter<D>,
    batch: &StepBatch,
) -> Result<f64, ModelError> {
    trained.set_dropout(None);
    let mut total = 0.0;
    for micro in &batch.micro_batches {
        let (hidden, _) = decoder.forward_training(
            &micro.tokens,
            &sequences(micro),
            Keep::Input,
            trained.low_rank(),
        )?;
        total += decoder.loss(&hidden, &labels(micro), 0.0, None)?;
    }
    Ok(total / batch.labelled.max(1) as f64)
}

fn sequences(micro: &MicroBatch) -> Vec<Range<usize>> {
    let ends = micro
        .segments
        .iter()
        .skip(1)
        .copied()
        .chain([micro.tokens.len()]);
    micro
        .segments
        .iter()
        .copied()
        .zip(ends)
        .map(|(start, end)| start..end)
        .collect()
}

/// The rows of rehearsal with the base's results at them, in one matrix.
fn rehearsed(micro: &MicroBatch) -> Option<(Vec<usize>, Mat)> {
    let cols = micro.rehearsed.first()?.1.cols;
    let rows = micro.rehearsed.iter().map(|(row, ..)| *row).collect();
    let data = micro.rehearsed.iter().flat_map(|(_, base, i)| base.row(*i));
    Some((
        rows,
        Mat {
            data: data.copied().collect(),
            cols,
        },
    ))
}

fn labels(micro: &MicroBatch) -> Vec<(usize, u32)> {
    micro
        .labels
        .iter()
        .enumerate()
        .filter_map(|(row, label)| label.map(|l| (row, l)))
        .collect()
}
