//! A matrix in device memory.

use std::sync::Arc;

use crate::gpu::{Arg, Buffer, Cuda, Operand};

/// Row-major. In 16 bits, or in F32 as one or more planes whose sum is the matrix: a product that is
/// split over its inner dimension leaves its parts to whoever reads it.
pub struct CudaMat {
    pub(crate) buffer: Arc<Buffer>,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    /// Numbers from row to row.
    pub(crate) stride: usize,
    /// 0 is 16 bits.
    pub(crate) planes: usize,
    /// An F32 matrix in 16 bits, for the products that read it.
    pub(crate) half: Option<Arc<Buffer>>,
    pub(crate) height: Height,
}

/// What a product's algorithm may depend on, for rows of this kind.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Height {
    /// The shape: training, where a batch is what it is.
    Shape,
    /// Not the number of rows: prompts, each with whatever stands beside it.
    Any,
    /// One row a slot: as many in every step.
    Slots,
}

impl CudaMat {
    /// A matrix of 16 bits, whatever is in it.
    pub(crate) fn room(cuda: &Cuda, rows: usize, cols: usize) -> Self {
        let stride = cols.next_multiple_of(8);
        CudaMat {
            buffer: Arc::new(cuda.room(rows * stride * 2)),
            rows,
            cols,
            stride,
            planes: 0,
            half: None,
            height: Height::Shape,
        }
    }

    /// An F32 matrix of `planes` planes, whatever is in it.
    pub(crate) fn planes(cuda: &Cuda, rows: usize, cols: usize, planes: usize) -> Self {
        let stride = cols.next_multiple_of(8);
        CudaMat {
            buffer: Arc::new(cuda.room(planes * rows * stride * 4)),
            rows,
            cols,
            stride,
            planes,
            half: None,
            height: Height::Shape,
        }
    }

    /// A matrix of the same kind.
    pub(crate) fn like(&self, cuda: &Cuda, rows: usize) -> Self {
        CudaMat {
            height: self.height,
            ..match self.planes {
                0 => CudaMat::room(cuda, rows, self.cols),
                _ => CudaMat::planes(cuda, rows, self.cols, 1),
            }
        }
    }

    /// The same numbers.
    pub(crate) fn same(&self) -> Self {
        CudaMat {
            buffer: self.buffer.clone(),
            half: self.half.clone(),
            ..*self
        }
    }

    /// Each row has been written over with 16 bits, from its start on.
    pub(crate) fn narrowed(&mut self) {
        debug_assert_eq!(self.planes, 1, "F32");
        self.planes = 0;
        self.stride *= 2;
    }

    /// As the left or the right side of a product.
    pub(crate) fn operand(&self) -> Operand {
        let half = self.half.as_ref().unwrap_or(&self.buffer);
        Operand {
            address: half.address(),
            stride: self.stride,
            transposed: false,
        }
    }

    /// The columns of a matrix of 16 bits from one on.
    pub(crate) fn columns(&self, first: usize) -> Operand {
        let whole = self.operand();
        Operand {
            address: whole.address + 2 * first as u64,
            ..whole
        }
    }

    /// Whether it is F32, as kernels are told.
    pub(crate) fn is_f32(&self) -> Arg {
        Arg::Int(i32::from(self.planes > 0))
    }

    /// Its copy of 16 bits, or nothing.
    pub(crate) fn half_pointer(&self) -> Arg {
        let bytes = self.plane() * 2;
        self.half.as_ref().map_or(Arg::NONE, |h| h.holds(bytes))
    }

    /// Its size, for a kernel that takes rows without gaps.
    ///
    /// # Panics
    /// When rows are no multiples of 16 bytes.
    pub(crate) fn whole_rows(&self) -> (usize, usize) {
        assert_eq!(self.stride, self.cols, "rows without gaps");
        (self.rows, self.cols)
    }

    /// The same, for a kernel that takes 16 bits.
    ///
    /// # Panics
    /// When it is F32, or has gaps.
    pub(crate) fn half_rows(&self) -> (usize, usize) {
        assert_eq!(self.planes, 0, "16 bits");
        self.whole_rows()
    }

    /// Sixteen-byte pieces of a row.
    pub(crate) fn pieces(&self) -> Arg {
        let size = if self.planes == 0 { 2 } else { 4 };
        Arg::Int((self.stride * size / 16) as i32)
    }

    /// A matrix of 16 bits of the same rows.
    pub(crate) fn beside(&self, cuda: &Cuda, cols: usize) -> Self {
        CudaMat {
            height: self.height,
            ..CudaMat::room(cuda, self.rows, cols)
        }
    }

    /// Whether another has rows of the same kind.
    pub(crate) fn is_like(&self, other: &CudaMat) -> bool {
        let kind = |x: &CudaMat| (x.cols, x.stride, x.planes);
        kind(self) == kind(other)
    }

    /// All of it.
    pub(crate) fn pointer(&self) -> Arg {
        let bytes = if self.planes == 0 { 2 } else { 4 * self.planes };
        self.buffer.holds(self.plane() * bytes)
    }

    /// Numbers of a plane.
    pub(crate) fn plane(&self) -> usize {
        self.rows * self.stride
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }
}
