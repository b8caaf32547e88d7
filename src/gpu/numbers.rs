//! A row of plain numbers in device memory: what steps are told and what they say.

use std::marker::PhantomData;

use rayon::prelude::*;

use super::buffer::Buffer;
use super::context::Cuda;
use super::launch::Arg;

/// Numbers that the host writes before a step or reads after it.
pub struct Numbers<T> {
    cuda: Cuda,
    buffer: Buffer,
    count: usize,
    kind: PhantomData<T>,
}

impl<T: Copy + Default> Numbers<T> {
    /// Room for `count` numbers, whatever is in it.
    pub fn room(cuda: &Cuda, count: usize) -> Self {
        Numbers {
            cuda: cuda.clone(),
            buffer: cuda.room((count * size_of::<T>()).max(16)),
            count,
            kind: PhantomData,
        }
    }

    /// Numbers of the host.
    pub fn of(cuda: &Cuda, values: &[T]) -> Self {
        let numbers = Numbers::room(cuda, values.len());
        numbers.set(values);
        numbers
    }

    /// Writes the first numbers.
    ///
    /// # Panics
    /// When there are more than there is room for.
    pub fn set(&self, values: &[T]) {
        self.cuda.write(&self.buffer, 0, values);
    }

    /// Reads all numbers, after the work before is done.
    pub fn get(&self) -> Vec<T> {
        self.cuda.read(&self.buffer, 0, self.count)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// `count` of them from `place` on.
    pub(crate) fn pointer_at(&self, place: usize, count: usize) -> Arg {
        let size = size_of::<T>();
        self.buffer.holds_from(place * size, count * size)
    }
}

impl Cuda {
    /// The bits of numbers as this device computes in them.
    pub(crate) fn to_half(&self, values: &[f32]) -> Vec<u16> {
        let half_type = self.half_type();
        let values = values.par_iter().with_min_len(1 << 16);
        values.map(|&v| half_type.bits(v)).collect()
    }
}
