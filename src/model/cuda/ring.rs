//! Launches of the products that fetch their operands through a ring in shared memory, which only
//! Hopper has. Two blocks work together on tiles of so many rows each.

use super::factored::Factored;
use super::mat::CudaMat;
use crate::gpu::{Arg, BOX_COLUMNS as COLUMNS, Boxed, Cuda, Grid, Operand};

/// Rows of a block's tile; two warp groups have half each.
pub(super) const ROWS: usize = 128;
/// Columns of a tile.
pub(super) const WIDE: usize = 256;
/// Threads of a block: one warp group fetches, two multiply.
const THREADS: usize = 3 * 128;
/// Inner numbers that one instruction multiplies.
const SIXTEEN: usize = 16;

/// Steps of the inner dimension, a slot each.
pub(super) fn steps(inner: usize) -> usize {
    inner.div_ceil(COLUMNS)
}

/// A low-rank product's width as kernels are told.
pub(super) fn sixteens(width: usize) -> usize {
    width.div_ceil(SIXTEEN)
}

/// A launch, whose arguments are given in the kernel's order.
pub(super) struct Launch<'a> {
    cuda: &'a Cuda,
    args: Vec<Arg>,
}

impl<'a> Launch<'a> {
    pub(super) fn new(cuda: &'a Cuda) -> Self {
        Launch {
            cuda,
            args: Vec::new(),
        }
    }

    pub(super) fn args(&mut self, args: &[Arg]) {
        self.args.extend_from_slice(args);
    }

    pub(super) fn matrix(&mut self, of: Operand, rows: usize, cols: usize, high: usize) {
        self.boxed(&Boxed {
            of,
            rows,
            cols,
            apart: None,
            high,
        });
    }

    pub(super) fn halves(
        &mut self,
        of: Operand,
        (rows, cols): (usize, usize),
        apart: usize,
        high: usize,
    ) {
        self.boxed(&Boxed {
            of,
            rows,
            cols,
            apart: Some(apart),
            high,
        });
    }

    fn boxed(&mut self, boxed: &Boxed) {
        self.args.push(Arg::Matrix(self.cuda.tensor_map(boxed)));
    }

    /// A share's t, or any matrix where there is none; how many of its columns count.
    pub(super) fn share_t(&mut self, share: Option<&Factored>, other: &CudaMat) -> usize {
        let (t, width) = share.map_or((other, 0), |s| (&s.t, s.t.cols));
        self.matrix(t.operand(), t.rows, t.cols, ROWS);
        width
    }

    /// The B of a share's part whose columns begin at `output`, or any matrix where there is none:
    /// nothing of it is read. Where the part begins in t: no row of a B is as far as where an absent
    /// one does.
    pub(super) fn share_b(
        &mut self,
        share: Option<&Factored>,
        output: usize,
        other: Operand,
    ) -> usize {
        let part = share.and_then(|s| Some((s, s.parts.iter().find(|p| p.output == output)?)));
        match part {
            Some((share, part)) => {
                self.matrix(share.b(part), part.rank, part.outputs, COLUMNS);
                part.first
            }
            None => {
                self.matrix(other, 1, 1, COLUMNS);
                1 << 20
            }
        }
    }

    /// Launches the kernel on tiles of `rows` rows and so many columns of tiles.
    ///
    /// # Safety
    /// The arguments given before are the kernel's, up to its sizes, and `numbers` its last ones;
    /// see [`Cuda::launch`].
    pub(super) unsafe fn start(
        mut self,
        name: &'static str,
        rows: usize,
        columns: usize,
        numbers: &[usize],
    ) {
        let high = rows.div_ceil(2 * ROWS);
        let sizes = [high, columns].into_iter().chain(numbers.iter().copied());
        self.args.extend(sizes.map(|n| Arg::Int(n as i32)));
        let cuda = self.cuda;
        let blocks = 2 * (cuda.processors() / 2).min(high * columns);
        let grid = Grid::new((blocks, 1, 1), THREADS).shared(cuda.shared_memory(name));
        // SAFETY: as for this function.
        unsafe { cuda.launch(name, grid, &self.args) };
    }
}
