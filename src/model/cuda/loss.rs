//! The kernels of logits (`loss.cu`, `draw.cu`), with the sizes that they ask for: losses, and the
//! choice of tokens.

use super::mat::CudaMat;
use crate::gpu::{Arg, Cuda, Grid, Numbers};

use Arg::{Float, Int};

/// Losses of rows, still on the device.
#[derive(Default)]
pub struct CudaTotal(Vec<(CudaMat, usize)>);

/// Tokens that were chosen, still on the device.
pub struct Chosen {
    /// Tokens, then the bits of their log-probabilities.
    found: Numbers<u32>,
    rows: usize,
}

impl Chosen {
    /// Token and log-probability of every row, in nats.
    pub fn get(&self) -> Vec<(u32, f32)> {
        let found = self.found.get();
        let (tokens, logprobs) = found.split_at(self.rows);
        let pairs = tokens.iter().zip(logprobs);
        pairs.map(|(&t, &l)| (t, f32::from_bits(l))).collect()
    }

    fn pointers(&self) -> [Arg; 2] {
        [0, self.rows].map(|place| self.found.pointer_at(place, self.rows))
    }
}

/// A block of many threads for each row of logits.
fn grid(logits: &CudaMat) -> Grid {
    assert_eq!(logits.planes, 1, "logits are F32");
    Grid::new((logits.rows, 1, 1), 1024)
}

impl Cuda {
    /// Cross-entropy of each row against its label; the logits become its gradient times `weight`,
    /// unless that is 0.
    pub(super) fn cross_entropy_rows(
        &self,
        logits: &mut CudaMat,
        labels: &[u32],
        weight: f32,
        total: &mut CudaTotal,
    ) {
        assert_eq!(labels.len(), logits.rows, "a label a row");
        let cols = logits.cols;
        assert!(labels.iter().all(|&l| (l as usize) < cols), "a label");
        let labels = self.room_of(labels);
        let losses = CudaMat::planes(self, logits.rows, 1, 1);
        let args = [
            logits.pointer(),
            labels.holds(logits.rows * 4),
            losses.pointer(),
            Int(cols as i32),
            Int(logits.stride as i32),
            Float(weight * self.loss_scale()),
        ];
        // SAFETY: `cross_entropy_rows(logits, labels, loss, n, stride, weight)` works on rows of n of
        // `stride` F32 numbers, with a label below n and a loss each.
        unsafe { self.launch("cross_entropy_rows", grid(logits), &args) };
        total.0.push((losses, logits.rows));
        if weight != 0.0 {
            logits.narrowed();
        }
    }

    /// KL(softmax(target) || softmax(logits)) of each row; the logits become its gradient.
    pub(super) fn divergence_rows(
        &self,
        logits: &mut CudaMat,
        target: &CudaMat,
        weight: f32,
        total: &mut CudaTotal,
    ) {
        assert!(logits.is_like(target) && logits.rows == target.rows);
        let losses = CudaMat::planes(self, logits.rows, 1, 1);
        let args = [
            logits.pointer(),
            target.pointer(),
            losses.pointer(),
            Int(logits.cols as i32),
            Int(logits.stride as i32),
            Float(weight * self.loss_scale()),
        ];
        // SAFETY: `divergence_rows(logits, target, loss, n, stride, weight)` works on rows of n of
        // `stride` F32 numbers, the same in both, with a loss each.
        unsafe { self.launch("divergence_rows", grid(logits), &args) };
        total.0.push((losses, logits.rows));
        logits.narrowed();
    }

    /// A sum that is complete, in nats.
    pub(super) fn sum_losses(&self, total: CudaTotal) -> f64 {
        let mut sum = 0.0;
        for (losses, rows) in total.0 {
            let values: Vec<f32> = self.read(&losses.buffer, 0, rows);
            sum += values.iter().map(|&l| f64::from(l)).sum::<f64>();
        }
        sum
    }

    /// Of each row of F32 logits: the token asked for, or the likeliest of the first `usable`; and
    /// its log-probability. `asked` has one number a row, -1 for the likeliest.
    ///
    /// # Panics
    /// When the logits are not F32, or `asked` has too few numbers.
    pub fn choose(&self, logits: &CudaMat, asked: &Numbers<i32>, usable: usize) -> Chosen {
        let rows = logits.rows;
        let chosen = Chosen {
            found: Numbers::room(self, 2 * rows),
            rows,
        };
        let [tokens, logprobs] = chosen.pointers();
        let args = [
            logits.pointer(),
            asked.pointer_at(0, rows),
            tokens,
            logprobs,
            Int(logits.cols as i32),
            Int(logits.stride as i32),
            Int(usable.min(logits.cols) as i32),
        ];
        // SAFETY: `choose_rows(logits, asked, token, logprob, n, stride, usable)` works on rows of n
        // of `stride` F32 numbers, with one number each of the others. What is asked for is a token
        // of the vocabulary.
        unsafe { self.launch_early("choose_rows", grid(logits), &args) };
        chosen
    }

    /// Draws the token of every row of F32 logits whose temperature is above 0, in place of the one
    /// that was chosen. `settings` has all rows' temperatures, then top-p, numbers in [0, 1), and
    /// top-k. A token of `u32::MAX` leaves the draw to the host.
    ///
    /// # Panics
    /// When the logits are not F32, or settings or choices are of fewer rows.
    pub fn draw(&self, logits: &CudaMat, chosen: &Chosen, settings: &Numbers<f32>, usable: usize) {
        assert_eq!(chosen.rows, logits.rows, "a choice a row");
        let [tokens, logprobs] = chosen.pointers();
        let args = [
            logits.pointer(),
            settings.pointer_at(0, 4 * logits.rows),
            tokens,
            logprobs,
            Int(logits.rows as i32),
            Int(logits.stride as i32),
            Int(usable.min(logits.cols) as i32),
        ];
        // SAFETY: `draw_rows(logits, settings, token, logprob, rows, stride, usable)` works on rows of
        // `stride` F32 numbers, with four settings and one number each of the others.
        unsafe { self.launch_early("draw_rows", grid(logits), &args) };
    }
}
