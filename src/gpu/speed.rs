//! What the device can do at best: the floor that a measurement is compared with.

use std::time::Instant;

use super::buffer::Buffer;
use super::context::Cuda;
use super::error::GpuError;
use super::gemm::{Operand, Product};
use super::launch::{Arg, Grid};

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

    /// Fills a buffer with random numbers of 16 bits in +-`width`, for measuring without a model.
    pub(crate) fn randomize(&self, buffer: &Buffer, count: usize, seed: u64, width: f32) {
        let args = [
            buffer.holds(count * 2),
            Arg::Long(count as u64),
            Arg::Long(seed),
            Arg::Float(width),
        ];
        // SAFETY: `random_numbers(y, n, seed, width)` writes n numbers of 16 bits.
        unsafe { self.launch("random_numbers", Grid::rows(self.processors() * 8), &args) };
    }

    /// Measures a large copy and a large product.
    ///
    /// # Errors
    /// The device's memory is full.
    pub fn ceilings(&self) -> Result<Ceilings, GpuError> {
        const COPY: usize = 1 << 30;
        const SIDE: usize = 8192;
        let (from, to) = (self.alloc(COPY)?, self.alloc(COPY)?);
        let copy = self.time(REPEATS, || self.copy(&from, &to, COPY));
        drop((from, to));
        let half = || self.alloc(SIDE * SIDE * 2);
        let (x, y, out) = (half()?, half()?, half()?);
        for (seed, of) in [(1, &x), (2, &y)] {
            self.randomize(of, SIDE * SIDE, seed, (3.0 / SIDE as f32).sqrt());
        }
        let operand = |of: &Buffer, transposed| Operand {
            address: of.address(),
            stride: SIDE,
            transposed,
        };
        let product = self.time(REPEATS, || {
            self.multiply(&Product {
                m: SIDE,
                n: SIDE,
                k: SIDE,
                x: operand(&x, false),
                y: operand(&y, true),
                out: out.address(),
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
