//! One optimizer step's loss and gradients, micro-batch by micro-batch.

use std::ops::Range;

use crate::lora::{DropoutKey, Trainable};
use crate::model::{Cpu, Decoder, Device, Keep, LowRankGradient, Mat, ModelError};

use super::batch::{AnchorRow, MicroBatch, StepBatch};

/// Means over a step, in nats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepLoss {
    /// Cross-entropy over the labelled tokens; 0 without any.
    pub loss: f64,
    /// Cross-entropy over the rows of rehearsal whose token is learned; `None` without any.
    pub text: Option<f64>,
    /// KL(base || adapter) over the rows of rehearsal that stay at a distribution; `None` without
    /// any.
    pub rehearsal: Option<f64>,
}

/// Adds up the gradients of a step's micro-batches: of the weighted mean cross-entropy over its
/// labelled tokens and the texts of rehearsal, plus `rehearsal_weight` times the weighted mean
/// divergence from the base over its anchors (the distillation term of Li & Hoiem 2016, Learning
/// without Forgetting, in KL form at temperature 1). `key` addresses dropout's draws.
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
    // A step without any has no row to divide by it.
    let part = |weight: f64, all: f64| (weight / all) as f32;
    let (mut total, mut text, mut nats) = (0.0, 0.0, 0.0);
    for (i, micro) in batch.micro_batches.iter().enumerate() {
        trained.set_dropout(Some(DropoutKey {
            micro_batch: i as u32,
            ..key
        }));
        let sequences = sequences(micro);
        let (hidden, tape) =
            decoder.forward_training(&micro.tokens, &sequences, keep, trained.low_rank())?;
        let mut gradient = device.zeros(device.height(&hidden), device.width(&hidden));
        let weight = part(1.0, batch.text_weight);
        total += decoder.loss(&hidden, &labels(micro), weight, Some(&mut gradient))?;
        for (weight, rows) in by_weight(&micro.texts, |text| text.weight) {
            let rows: Vec<(usize, u32)> = rows.iter().map(|t| (t.row, t.token)).collect();
            let weight = part(weight, batch.text_weight);
            text += decoder.loss(&hidden, &rows, weight, Some(&mut gradient))?;
        }
        for (weight, anchors) in by_weight(&micro.anchors, |anchor| anchor.weight) {
            let rows: Vec<usize> = anchors.iter().map(|anchor| anchor.row).collect();
            let weight = part(rehearsal_weight * weight, batch.anchor_weight);
            let base = distributions(&anchors);
            nats += decoder.divergence(&hidden, &rows, &base, weight, &mut gradient)?;
        }
        drop(hidden);
        decoder.backward(tape, gradient, trained.low_rank())?;
    }
    trained.set_dropout(None);
    Ok(StepLoss {
        loss: total / batch.labelled.max(1) as f64,
        text: (batch.texts > 0).then(|| text / batch.texts as f64),
        rehearsal: (batch.anchors > 0).then(|| nats / batch.anchors as f64),
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

/// Rows of one weight together, in their order: a pass of the head takes one weight.
fn by_weight<T>(rows: &[T], weight: impl Fn(&T) -> f64) -> Vec<(f64, Vec<&T>)> {
    let mut groups: Vec<(f64, Vec<&T>)> = Vec::new();
    for row in rows {
        match groups.iter_mut().find(|(w, _)| *w == weight(row)) {
            Some((_, group)) => group.push(row),
            None => groups.push((weight(row), vec![row])),
        }
    }
    groups
}

/// The base's results at some anchors, in one matrix.
fn distributions(anchors: &[&AnchorRow]) -> Mat {
    let data = anchors.iter().flat_map(|anchor| anchor.base.row(anchor.at));
    Mat {
        data: data.copied().collect(),
        cols: anchors.first().map_or(0, |anchor| anchor.base.cols),
    }
}

fn labels(micro: &MicroBatch) -> Vec<(usize, u32)> {
    micro
        .labels
        .iter()
        .enumerate()
        .filter_map(|(row, label)| label.map(|l| (row, l)))
        .collect()
}
