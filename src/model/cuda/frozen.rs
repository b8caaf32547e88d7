//! What is frozen, in device memory: weights, rows of numbers, tables of the rotary embedding.

use rayon::prelude::*;

use super::blocks::Blocks;
use crate::gpu::{Arg, Buffer, Cuda, Operand};
use crate::model::ModelError;

/// A frozen matrix.
pub struct CudaWeight {
    pub(super) held: Held,
    pub(super) outputs: usize,
    pub(super) inputs: usize,
}

/// How it is held.
pub(super) enum Held {
    /// In 16 bits, row after row.
    Half(Buffer),
    /// In few bits.
    Blocks(Blocks),
}

/// A frozen matrix in 16 bits, as long as a product of many rows needs it.
pub(super) struct Wide<'a> {
    buffer: Cow<'a>,
    stride: usize,
}

/// Memory of the weight, or of the step.
enum Cow<'a> {
    Kept(&'a Buffer),
    Room(Buffer),
}

impl Wide<'_> {
    /// As the right side of `x W^T` (transposed) or `dy W`.
    pub(super) fn operand(&self, transposed: bool) -> Operand {
        let buffer = match &self.buffer {
            Cow::Kept(buffer) => buffer,
            Cow::Room(buffer) => buffer,
        };
        Operand {
            address: buffer.address(),
            stride: self.stride,
            transposed,
        }
    }
}

/// A frozen row, in F32 and 16 bits.
pub struct CudaVector {
    pub(super) single: Buffer,
    pub(super) half: Buffer,
    pub(super) count: usize,
}

/// Tables of the rotary embedding.
pub struct CudaRotary {
    pub(super) cos: Buffer,
    pub(super) sin: Buffer,
    pub(super) positions: usize,
    /// Numbers of a position.
    pub(super) pairs: usize,
}

impl CudaVector {
    /// Its F32 numbers, which are `count`.
    pub(super) fn pointer(&self, count: usize) -> Arg {
        assert_eq!(self.count, count, "numbers of a vector");
        self.single.holds(count * 4)
    }
}

impl CudaRotary {
    /// Cosines and sines for heads of `dim` numbers at positions below `end`.
    pub(super) fn pointers(&self, dim: usize, end: usize) -> [Arg; 2] {
        assert_eq!(self.pairs * 2, dim, "numbers of a head");
        assert!(
            end <= self.positions,
            "position {end} of {}",
            self.positions
        );
        let bytes = self.positions * self.pairs * 4;
        [self.cos.holds(bytes), self.sin.holds(bytes)]
    }
}

impl CudaWeight {
    /// All of it, in 16 bits.
    ///
    /// # Panics
    /// When it is held in few.
    pub(crate) fn half(&self) -> Arg {
        match &self.held {
            Held::Half(buffer) => buffer.holds(self.outputs * self.inputs * 2),
            Held::Blocks(_) => panic!("a weight of 16 bits"),
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        match &self.held {
            Held::Half(_) => self.outputs * self.inputs * 2,
            Held::Blocks(blocks) => blocks.bytes(),
        }
    }

    /// Its numbers in 16 bits.
    pub(super) fn wide(&self, cuda: &Cuda) -> Wide<'_> {
        Wide {
            buffer: match &self.held {
                Held::Half(buffer) => Cow::Kept(buffer),
                Held::Blocks(of) => Cow::Room(cuda.widened(of, self.outputs, self.inputs)),
            },
            stride: self.inputs,
        }
    }
}

impl Cuda {
    /// The bits of weights, which no rounding may make infinite.
    pub(super) fn weights_to_half(&self, values: &[f32]) -> Result<Vec<u16>, ModelError> {
        let half = self.to_half(values);
        let infinity = self.half_type().bits(f32::INFINITY);
        let is_infinite = |bits: &u16| bits & 0x7fff == infinity;
        if half.par_iter().with_min_len(1 << 16).any(is_infinite) {
            return Err(ModelError::Gpu {
                problem: format!(
                    "the model has weights beyond the range of {}; set `dtype = \"bfloat16\"` \
                     under [model]",
                    self.half_type().name()
                ),
            });
        }
        Ok(half)
    }
}
