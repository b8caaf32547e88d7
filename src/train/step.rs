//! One optimizer step's loss and gradients, micro-batch by micro-batch.

use std::ops::Range;

use crate::lora::{DropoutKey, Trainable};
use crate::model::{Decoder, Keep, Mat};

use super::batch::{MicroBatch, StepBatch};

/// Adds up the gradients of a step's micro-batches and returns the mean loss over its labelled
/// tokens, in nats. `key` addresses dropout's draws.
pub fn accumulate(
    decoder: &Decoder,
    trainable: &mut Trainable,
    batch: &StepBatch,
    keep: Keep,
    key: DropoutKey,
) -> f64 {
    let weight = 1.0 / batch.labelled.max(1) as f32;
    let mut total = 0.0;
    for (i, micro) in batch.micro_batches.iter().enumerate() {
        trainable.dropout_key = Some(DropoutKey {
            micro_batch: i as u32,
            ..key
        });
        let sequences = sequences(micro);
        let (hidden, tape) = decoder.forward_training(&micro.tokens, &sequences, keep, trainable);
        let mut gradient = Mat::zeros(hidden.rows(), hidden.cols);
        total += decoder.loss(&hidden, &labels(micro), weight, Some(&mut gradient));
        drop(hidden);
        decoder.backward(tape, gradient, trainable);
    }
    trainable.dropout_key = None;
    total / batch.labelled.max(1) as f64
}

/// Mean loss over the labelled tokens of some batches, in nats, without gradients or dropout.
pub fn validate(decoder: &Decoder, trainable: &mut Trainable, batch: &StepBatch) -> f64 {
    trainable.dropout_key = None;
    let mut total = 0.0;
    for micro in &batch.micro_batches {
        let (hidden, _) =
            decoder.forward_training(&micro.tokens, &sequences(micro), Keep::Input, trainable);
        total += decoder.loss(&hidden, &labels(micro), 0.0, None);
    }
    total / batch.labelled.max(1) as f64
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

fn labels(micro: &MicroBatch) -> Vec<(usize, u32)> {
    micro
        .labels
        .iter()
        .enumerate()
        .filter_map(|(row, label)| label.map(|l| (row, l)))
        .collect()
}
