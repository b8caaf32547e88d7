//! AdamW over the matrices in a GPU's memory, with its moments there.

use super::super::optim::{Moments, UpdateNumbers};
use crate::gpu::{Arg, Buffer, Cuda};
use crate::lora::{GpuTrainable, Lists};
use crate::model::ModelError;

/// Sums that the squares of all gradients are added up in, in a fixed order.
const SQUARE_SUMS: usize = 512;

/// Moments on the device, and what an update needs beside them: it takes no memory, so it cannot
/// be refused any.
pub struct GpuAdamW {
    cuda: Cuda,
    lists: Lists,
    first: Buffer,
    second: Buffer,
    squares: Buffer,
}

impl GpuAdamW {
    /// Uploads moments of these matrices.
    ///
    /// # Errors
    /// The GPU's memory is full.
    ///
    /// # Panics
    /// When the moments are of other matrices.
    pub fn new(trainable: &GpuTrainable, moments: &[Moments]) -> Result<Self, ModelError> {
        let numbers = trainable.numbers();
        let (cuda, lists) = (numbers.cuda.clone(), numbers.lists.clone());
        let upload = |of: fn(&Moments) -> &Vec<f32>| {
            let buffer = cuda.alloc(lists.count() * 4)?;
            let values: Vec<&[f32]> = moments.iter().map(|m| of(m).as_slice()).collect();
            lists.write(&cuda, &buffer, &values);
            Ok::<_, ModelError>(buffer)
        };
        Ok(GpuAdamW {
            first: upload(|m| &m.first)?,
            second: upload(|m| &m.second)?,
            squares: cuda.alloc(SQUARE_SUMS * 4)?,
            cuda,
            lists,
        })
    }

    /// The moments.
    pub fn moments(&self) -> Vec<Moments> {
        let read = |buffer| self.lists.read(&self.cuda, buffer);
        let moments = read(&self.first).into_iter().zip(read(&self.second));
        moments
            .map(|(first, second)| Moments { first, second })
            .collect()
    }

    /// Euclidean norm of all gradients together.
    pub fn gradient_norm(&self, trainable: &GpuTrainable) -> f64 {
        self.cuda.launch(
            "square_sums",
            (SQUARE_SUMS, 1, 1),
            256,
            0,
            &[
                Arg::Pointer(trainable.numbers().gradients.address()),
                Arg::Pointer(self.squares.address()),
                Arg::Word(self.lists.count() as u32),
            ],
        );
        let sums: Vec<f32> = self.cuda.read(&self.squares, 0, SQUARE_SUMS);
        let sum: f64 = sums.iter().map(|&s| f64::from(s)).sum();
        sum.sqrt()
    }

    /// One step with the gradients as they are, each multiplied by `gradient_scale` first.
    pub fn update(
        &mut self,
        trainable: &mut GpuTrainable,
        update: &UpdateNumbers,
        gradient_scale: f32,
    ) {
        let numbers = trainable.numbers();
        let count = self.lists.count();
        self.cuda.flat_kernel(
            "adamw",
            count,
            &[
                Arg::Pointer(numbers.values.address()),
                Arg::Pointer(numbers.gradients.address()),
                Arg::Pointer(self.first.address()),
                Arg::Pointer(self.second.address()),
                Arg::Pointer(numbers.half.address()),
                Arg::Word(count as u32),
                Arg::Float(gradient_scale),
                Arg::Float(update.new_first),
                Arg::Float(update.old_second),
                Arg::Float(update.new_second),
                Arg::Float(update.epsilon),
                Arg::Float(update.decay),
                Arg::Float(update.step),
                Arg::Float(update.correction),
            ],
        );
    }
}
