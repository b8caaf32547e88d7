//! What the engine asks of the device beside the layers: rows as those of answers, rows of the host.

use super::mat::{CudaMat, Height};
use crate::gpu::Cuda;

impl Cuda {
    /// The same rows as those of answers: what a product gives for one does not depend on how
    /// many there are.
    pub fn of_answers(&self, x: CudaMat) -> CudaMat {
        CudaMat {
            height: Height::Any,
            ..x
        }
    }

    /// The same rows as one a slot.
    pub fn of_slots(&self, x: CudaMat) -> CudaMat {
        CudaMat {
            height: Height::Slots,
            ..x
        }
    }

    /// One row of an F32 matrix in the host's memory.
    pub fn row(&self, x: &CudaMat, row: usize) -> Vec<f32> {
        self.read(&x.buffer, row * x.stride * 4, x.cols)
    }
}
