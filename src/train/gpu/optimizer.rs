//! AdamW over the matrices in a GPU's memory, with its moments there.

use super::super::optim::{Moments, UpdateNumbers};
use crate::gpu::{Arg, Buffer, Cuda, Grid};
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
        let count = self.lists.count();
        let args = [
            trainable.numbers().gradients.holds(count * 4),
            self.squares.holds(SQUARE_SUMS * 4),
            Arg::Word(count as u32),
        ];
        // SAFETY: `square_sums(g, sums, n)` reads n F32 numbers, and writes a sum a block.
        unsafe {
            self.cuda
                .launch("square_sums", Grid::rows(SQUARE_SUMS), &args)
        };
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
        let args = [
            numbers.values.holds(count * 4),
            numbers.gradients.holds(count * 4),
            self.first.holds(count * 4),
            self.second.holds(count * 4),
            numbers.half.holds(count * 2),
            Arg::Word(count as u32),
            Arg::Float(gradient_scale),
            Arg::Float(update.new_first),
            Arg::Float(update.old_second),
            Arg::Float(update.new_second),
            Arg::Float(update.epsilon),
            Arg::Float(update.decay),
            Arg::Float(update.step),
            Arg::Float(update.correction),
        ];
        // SAFETY: `adamw(p, g, m, v, half_copy, n, scale, new1, b2, new2, epsilon, decay, step,
        // correction)` reads and writes n F32 numbers each, and n of 16 bits.
        unsafe { self.cuda.launch("adamw", Grid::flat(count), &args) };
    }
}
