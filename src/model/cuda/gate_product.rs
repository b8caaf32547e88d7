//! The gated activation with the products around it, each in one kernel that only Hopper has.

use super::context::{Arg, Cuda};
use super::device::CudaWeight;
use super::factored::{Factored, FactoredPart};
use super::gemm::Operand;
use super::mat::CudaMat;
use super::tensor_map::{Boxed, COLUMNS};

use Arg::Int;

/// Rows of a block's tile; two warp groups have half each, and two blocks work together.
const ROWS: usize = 128;
/// Columns of a tile.
const WIDE: usize = 256;
/// Threads of a block: one warp group fetches, two multiply.
const THREADS: usize = 3 * 128;
/// Inner numbers that one instruction multiplies.
const SIXTEEN: usize = 16;

/// A launch: arguments in the kernel's order, and how many pairs of tiles there are.
struct Launch<'a> {
    cuda: &'a Cuda,
    args: Vec<Arg>,
}

impl Launch<'_> {
    fn matrix(&mut self, of: Operand, rows: usize, cols: usize, high: usize) {
        self.boxed(&Boxed {
            of,
            rows,
            cols,
            apart: None,
            high,
        });
    }

    fn halves(&mut self, of: Operand, (rows, cols): (usize, usize), apart: usize, high: usize) {
        self.boxed(&Boxed {
            of,
            rows,
            cols,
            apart: Some(apart),
            high,
        });
    }

    fn boxed(&mut self, boxed: &Boxed) {
        self.args.push(Arg::Matrix(self.cuda.0.tensor_map(boxed)));
    }

    /// A share's t, or any matrix where there is none; how many of its columns count.
    fn left(&mut self, share: Option<&Factored>, other: &CudaMat) -> usize {
        let (t, width) = share.map_or((other, 0), |s| (&s.t, s.t.cols));
        self.matrix(t.operand(), t.rows, t.cols, ROWS);
        width
    }

    /// A part's B, or any matrix where there is none: nothing of it is read.
    fn right(&mut self, share: Option<(&Factored, &FactoredPart)>, other: Operand) {
        match share {
            Some((share, part)) => self.matrix(share.b(part), part.rank, part.outputs, COLUMNS),
            None => self.matrix(other, 1, 1, COLUMNS),
        }
    }

    fn start(mut self, name: &'static str, rows: usize, columns: usize, numbers: &[usize]) {
        let high = rows.div_ceil(2 * ROWS);
        let sizes = [high, columns].into_iter().chain(numbers.iter().copied());
        self.args.extend(sizes.map(|n| Int(n as i32)));
        let context = &self.cuda.0;
        context.launch(
            name,
            (2 * (context.processors / 2).min(high * columns), 1, 1),
            THREADS,
            context.shared(name),
            &self.args,
        );
    }
}

impl Cuda {
    /// `[gate | up]` as the product of `x` with `weight` and a low-rank share, and
    /// `silu(gate) * up`.
    pub(super) fn gate_product(
        &self,
        weight: &CudaWeight,
        x: &CudaMat,
        share: Option<&Factored>,
    ) -> (CudaMat, CudaMat) {
        let (rows, inner, cols) = (x.rows, weight.inputs, weight.outputs / 2);
        let gate_up = x.beside(&self.0, 2 * cols);
        let active = x.beside(&self.0, cols);
        let mut launch = Launch {
            cuda: self,
            args: Vec::new(),
        };
        launch.matrix(x.operand(), rows, inner, ROWS);
        // Each of two blocks fetches one half's columns, for both.
        let below = cols * inner;
        launch.halves(weight.operand(false), (cols, inner), below, WIDE / 2);
        let part = |output| {
            let share = share?;
            let part = share.parts.iter().find(|p| p.output == output)?;
            Some((share, part))
        };
        let parts = [part(0), part(cols)];
        let width = launch.left(share, x);
        for part in parts {
            launch.right(part, x.operand());
        }
        launch.args.extend([gate_up.pointer(), active.pointer()]);
        launch.args.extend([Int(rows as i32), Int(cols as i32)]);
        // No row of a B is as far as where an absent part begins.
        let first =
            |part: Option<(&Factored, &FactoredPart)>| part.map_or(1 << 20, |(_, part)| part.first);
        let numbers = [
            inner.div_ceil(COLUMNS),
            width.div_ceil(SIXTEEN),
            first(parts[0]),
            first(parts[1]),
        ];
        launch.start("gate_product_rows", rows, cols.div_ceil(WIDE / 2), &numbers);
        (gate_up, active)
    }

    /// `d [gate | up]` of `silu(gate) * up`, given the gradient `dy` by its product with `weight`,
    /// and a low-rank share of the gradient by that.
    pub(super) fn gate_product_backward(
        &self,
        weight: &CudaWeight,
        gate_up: &CudaMat,
        dy: &CudaMat,
        share: Option<&Factored>,
    ) -> CudaMat {
        let (rows, inner, cols) = (dy.rows, weight.outputs, weight.inputs);
        let d = CudaMat::room(&self.0, rows, gate_up.cols);
        let mut launch = Launch {
            cuda: self,
            args: Vec::new(),
        };
        launch.matrix(dy.operand(), rows, inner, ROWS);
        launch.matrix(weight.operand(false), inner, cols, COLUMNS);
        let width = launch.left(share, dy);
        launch.right(share.map(|s| (s, &s.parts[0])), dy.operand());
        launch.halves(gate_up.operand(), (rows, cols), cols, ROWS);
        // Each of two warp groups puts its own rows.
        launch.halves(d.operand(), (rows, cols), cols, ROWS / 2);
        let numbers = [inner.div_ceil(COLUMNS), width.div_ceil(SIXTEEN)];
        launch.start("gate_product_backward", rows, cols.div_ceil(WIDE), &numbers);
        d
    }
}
