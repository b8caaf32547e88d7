//! What the device can do at best: the floor that a measurement is compared with.

use std::time::Instant;

use super::context::Cuda;
use super::gemm::{Operand, Product};
use super::mat::CudaMat;
use crate::model::device::Device;

/// Measured ceilings.
#[derive(Debug, Clone, Copy)]
pub struct Ceilings {
    /// Bytes read plus bytes written by a copy, a second.
    pub bytes_per_second: f64,
    /// Operations on 16-bit numbers of a large product, a second.
    pub operations_per_second: f64,
}

const REPEATS: usize = 20;

impl Cuda {
    /// Seconds of one `work`, the mean of some after a warm-up.
    pub fn time(&self, repeats: usize, mut work: impl FnMut()) -> f64 {
        work();
        self.synchronize();
        let start = Instant::now();
        (0..repeats).for_each(|_| work());
        self.synchronize();
        start.elapsed().as_secs_f64() / repeats as f64
    }

    /// Measures a large copy and a large product.
    ///
    /// # Errors
    /// The device's memory is full.
    pub fn ceilings(&self) -> Result<Ceilings, crate::model::ModelError> {
        const COPY: usize = 1 << 30;
        const SIDE: usize = 8192;
        let (from, to) = (self.0.alloc(COPY)?, self.0.alloc(COPY)?);
        let copy = self.time(REPEATS, || self.0.copy(&from, &to, COPY));
        drop((from, to));
        let weight = |seed| self.random_weight(SIDE, SIDE, seed);
        let (x, y) = (weight(1)?, weight(2)?);
        let out = CudaMat::room(&self.0, SIDE, SIDE);
        self.had_room()?;
        let operand = |w: &super::device::CudaWeight, transposed| Operand {
            address: w.buffer.address(),
            stride: SIDE,
            transposed,
        };
        let product = self.time(REPEATS, || {
            self.0.multiply(&Product {
                m: SIDE,
                n: SIDE,
                k: SIDE,
                x: operand(&x, false),
                y: operand(&y, true),
                out: out.buffer.address(),
                out_stride: SIDE,
                out_f32: false,
                alpha: 1.0,
                accumulate: false,
                bias: 0,
                chosen_for: None,
            });
        });
        Ok(Ceilings {
            bytes_per_second: 2.0 * COPY as f64 / copy,
            operations_per_second: 2.0 * (SIDE as f64).powi(3) / product,
        })
    }
}
