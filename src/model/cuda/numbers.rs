//! A row of plain numbers in device memory: what steps are told and what they say.

use std::marker::PhantomData;
use std::sync::Arc;

use super::context::{Arg, Context, Cuda};
use super::memory::Buffer;

/// Numbers that the host writes before a step or reads after it.
pub struct Numbers<T> {
    context: Arc<Context>,
    buffer: Buffer,
    count: usize,
    kind: PhantomData<T>,
}

impl<T: Copy + Default> Numbers<T> {
    /// Room for `count` numbers, whatever is in it.
    pub fn room(cuda: &Cuda, count: usize) -> Self {
        Numbers {
            context: cuda.0.clone(),
            buffer: cuda.0.room((count * size_of::<T>()).max(16)),
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
        self.context.write(&self.buffer, 0, values);
    }

    /// Reads all numbers, after the work before is done.
    pub fn get(&self) -> Vec<T> {
        self.context.read(&self.buffer, 0, self.count)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn pointer(&self) -> Arg {
        self.pointer_at(0)
    }

    pub(super) fn pointer_at(&self, place: usize) -> Arg {
        Arg::Pointer(self.buffer.address() + (place * size_of::<T>()) as u64)
    }
}
