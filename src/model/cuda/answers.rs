//! What the engine asks of the device beside the layers: the choice of tokens, and single rows.

use super::mat::{CudaMat, Height};
use crate::gpu::{Arg, Cuda, Numbers};

use Arg::Int;

impl Cuda {
    /// Of each row of F32 logits: the token asked for, or the likeliest of the first `usable`; and
    /// its log-probability. `asked` has one number a row, -1 for the likeliest.
    pub fn choose(&self, logits: &CudaMat, asked: &Numbers<i32>, usable: usize) -> Chosen {
        let rows = logits.rows;
        let found = Numbers::room(self, 2 * rows);
        self.launch(
            "choose_rows",
            (logits.rows, 1, 1),
            1024,
            0,
            &[
                logits.pointer(),
                asked.pointer(),
                found.pointer(),
                found.pointer_at(rows),
                Int(logits.cols as i32),
                Int(logits.stride as i32),
                Int(usable.min(logits.cols) as i32),
            ],
        );
        Chosen { found, rows }
    }

    /// Draws the token of every row of F32 logits whose temperature is above 0, in place of the one
    /// that was chosen. `settings` has all rows' temperatures, then top-p, numbers in [0, 1), and
    /// top-k. A token of `u32::MAX` leaves the draw to the host.
    pub fn draw(&self, logits: &CudaMat, chosen: &Chosen, settings: &Numbers<f32>, usable: usize) {
        self.launch(
            "draw_rows",
            (logits.rows, 1, 1),
            1024,
            0,
            &[
                logits.pointer(),
                settings.pointer(),
                chosen.found.pointer(),
                chosen.found.pointer_at(chosen.rows),
                Int(logits.rows as i32),
                Int(logits.stride as i32),
                Int(usable.min(logits.cols) as i32),
            ],
        );
    }

    /// The rows named, in that order; a negative one gives zeros.
    pub fn pick(&self, x: &CudaMat, rows: &[i64]) -> CudaMat {
        let index: Vec<i32> = rows.iter().map(|&r| r as i32).collect();
        let index = Numbers::of(self, &index);
        let y = CudaMat {
            height: Height::Shape,
            ..x.like(self, rows.len())
        };
        self.row_kernel(
            "gather_rows",
            rows.len(),
            0,
            &[x.pointer(), index.pointer(), y.pointer(), x.pieces()],
        );
        y
    }

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

    /// Writes each row of `x` to the row of `target` that is named for it.
    pub fn scatter(&self, x: &CudaMat, rows: &[usize], target: &CudaMat) {
        let index = self.indices(rows);
        self.row_kernel(
            "scatter_rows",
            rows.len(),
            0,
            &[
                x.pointer(),
                Arg::Pointer(index.address()),
                target.pointer(),
                x.pieces(),
            ],
        );
    }
}

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
}
