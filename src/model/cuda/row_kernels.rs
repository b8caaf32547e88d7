//! The kernels of one row at a time (`rows.cu`), with the sizes that they ask for.

use super::frozen::{CudaVector, CudaWeight, Held};
use super::mat::{CudaMat, Height};
use super::rows::CudaRows;
use crate::gpu::{Arg, Buffer, Cuda, Grid};
use crate::model::Activation;

use Arg::{Float, Int, Long};

impl Cuda {
    /// Rows by number, on the device; `rows` are below `height`.
    fn indices(&self, rows: &[usize], height: usize) -> (Buffer, usize) {
        assert!(rows.iter().all(|&row| row < height), "a row of {height}");
        let index: Vec<i32> = rows.iter().map(|&r| r as i32).collect();
        (self.room_of(&index), rows.len() * 4)
    }

    /// The tokens' rows of the embedding, times `scale`. The residual stream is F32: every layer adds to it, and 16
    /// bits would round each time.
    pub(super) fn embed_rows(
        &self,
        embedding: &CudaWeight,
        rows: &CudaRows,
        scale: f32,
    ) -> CudaMat {
        if let Some((token, _)) = rows.largest {
            assert!((token as usize) < embedding.outputs, "token {token}");
        }
        let x = CudaMat {
            height: rows.height,
            ..CudaMat::planes(self, rows.count, embedding.inputs, 1)
        };
        let (count, n) = x.whole_rows();
        if let Held::Blocks(blocks) = &embedding.held {
            self.embed_blocks(blocks, embedding, rows, scale, &x);
            return x;
        }
        let args = [
            embedding.half(),
            rows.tokens.pointer(),
            x.pointer(),
            Int(n as i32),
            Float(scale),
        ];
        // SAFETY: `embed_rows(embedding, tokens, x, n, scale)` copies a row of n numbers for each token.
        // Tokens lie in the vocabulary: those of single rows were chosen from it.
        unsafe { self.launch_early("embed_rows", Grid::rows(count), &args) };
        x
    }

    /// The rows named, in that order.
    pub(super) fn gather_rows(&self, x: &CudaMat, rows: &[usize]) -> CudaMat {
        let (index, bytes) = self.indices(rows, x.rows);
        let y = self.like_rows(x, rows.len());
        let args = [x.pointer(), index.holds(bytes), y.pointer(), x.pieces()];
        // SAFETY: `gather_rows(x, index, y, pieces)` copies rows of so many times 16 bytes; x and y
        // are of one kind, and the index is of rows of x.
        unsafe { self.launch("gather_rows", Grid::rows(rows.len()), &args) };
        y
    }

    /// The rows named, in that order; a negative one gives zeros.
    pub fn pick(&self, x: &CudaMat, rows: &[i64]) -> CudaMat {
        assert!(rows.iter().all(|&row| row < x.rows as i64), "a row");
        let index: Vec<i32> = rows.iter().map(|&r| r as i32).collect();
        let index = self.room_of(&index);
        let y = self.like_rows(x, rows.len());
        let args = [
            x.pointer(),
            index.holds(rows.len() * 4),
            y.pointer(),
            x.pieces(),
        ];
        // SAFETY: as for `gather_rows` above; a negative index reads nothing.
        unsafe { self.launch("gather_rows", Grid::rows(rows.len()), &args) };
        y
    }

    fn like_rows(&self, x: &CudaMat, rows: usize) -> CudaMat {
        CudaMat {
            height: Height::Shape,
            ..x.like(self, rows)
        }
    }

    /// Writes each row of `x` to the row of `target` that is named for it.
    pub fn scatter(&self, x: &CudaMat, rows: &[usize], target: &CudaMat) {
        assert!(x.is_like(target) && x.rows == rows.len());
        let (index, bytes) = self.indices(rows, target.rows);
        let args = [
            x.pointer(),
            index.holds(bytes),
            target.pointer(),
            x.pieces(),
        ];
        // SAFETY: `scatter_rows(x, index, y, pieces)` copies rows of so many times 16 bytes; x and y
        // are of one kind, and the index is of rows of y.
        unsafe { self.launch("scatter_rows", Grid::rows(rows.len()), &args) };
    }

    /// Adds each row of `x` to the row of `target` that is named for it.
    pub(super) fn scatter_add_rows(&self, x: &CudaMat, rows: &[usize], target: &mut CudaMat) {
        assert!(x.is_like(target) && x.rows == rows.len());
        let (_, n) = x.whole_rows();
        let (index, bytes) = self.indices(rows, target.rows);
        let args = [
            x.pointer(),
            index.holds(bytes),
            target.pointer(),
            target.half_pointer(),
            Int(n as i32),
            target.is_f32(),
        ];
        // SAFETY: `scatter_add_rows(x, index, y, half, n, f32)` adds rows of n numbers of one kind;
        // the index is of rows of y, which its copy has too.
        unsafe { self.launch("scatter_add_rows", Grid::rows(rows.len()), &args) };
    }

    /// `x + y`, and its norm where one is asked for.
    pub(super) fn sum_norm_rows(
        &self,
        x: &CudaMat,
        y: &CudaMat,
        norm: Option<(&CudaVector, f32)>,
    ) -> (CudaMat, Option<CudaMat>) {
        let (rows, n) = x.whole_rows();
        assert_eq!(y.whole_rows(), (rows, n), "rows to add");
        assert!(x.planes <= 1, "one plane");
        let sum = x.like(self, rows);
        let normed = norm.is_some().then(|| x.beside(self, n));
        let args = [
            x.pointer(),
            y.pointer(),
            sum.pointer(),
            normed.as_ref().map_or(Arg::NONE, CudaMat::pointer),
            norm.map_or(Arg::NONE, |(weight, _)| weight.pointer(n)),
            Int(n as i32),
            Float(norm.map_or(0.0, |(_, eps)| eps)),
            Int(y.planes as i32),
            Long(y.plane() as u64),
            x.is_f32(),
        ];
        let grid = Grid::rows(rows).shared(n * 4);
        // SAFETY: `sum_norm_rows(x, y, sum, normed, weight, n, eps, planes, plane, f32)` works on rows
        // of n numbers without gaps, y in so many planes; x and the sum are of one kind, and a row
        // of F32 is in shared memory.
        unsafe { self.launch_early("sum_norm_rows", grid, &args) };
        (sum, normed)
    }

    /// The norm of every row.
    pub(super) fn norm_rows(&self, weight: &CudaVector, eps: f32, x: &CudaMat) -> CudaMat {
        let (rows, n) = x.whole_rows();
        let y = x.beside(self, n);
        let args = [
            x.pointer(),
            weight.pointer(n),
            y.pointer(),
            Int(n as i32),
            Float(eps),
            Int(x.planes as i32),
            Long(x.plane() as u64),
        ];
        // SAFETY: `norm_rows(x, weight, y, n, eps, planes, plane)` works on rows of n numbers without
        // gaps, in so many planes.
        unsafe { self.launch_early("norm_rows", Grid::rows(rows), &args) };
        y
    }

    /// Adds the gradient of the norm by `x` to `dx`, and to its copy.
    pub(super) fn norm_backward_rows(
        &self,
        weight: &CudaVector,
        eps: f32,
        x: &CudaMat,
        dy: &CudaMat,
        dx: &mut CudaMat,
    ) {
        let (rows, n) = x.whole_rows();
        assert_eq!(dy.whole_rows(), (rows, n), "the gradient by the result");
        assert_eq!(dx.whole_rows(), (rows, n), "the gradient by the input");
        let planes = [x.planes, dy.planes, dx.planes];
        assert!(planes.iter().all(|n| *n <= 1), "one plane");
        let args = [
            x.pointer(),
            weight.pointer(n),
            dy.pointer(),
            dx.pointer(),
            dx.half_pointer(),
            Int(n as i32),
            Float(eps),
            x.is_f32(),
            dy.is_f32(),
            dx.is_f32(),
        ];
        // SAFETY: `norm_backward_rows(x, weight, dy, dx, half, n, eps, x_f32, dy_f32, dx_f32)` works on
        // rows of n numbers without gaps, of the kinds that it is told.
        unsafe { self.launch("norm_backward_rows", Grid::rows(rows), &args) };
    }

    /// `act(gate) * up` of `[gate | up]`.
    pub(super) fn gate_rows(&self, gate_up: &CudaMat, activation: Activation) -> CudaMat {
        let (rows, n) = self.gated(gate_up);
        let active = gate_up.beside(self, n);
        let total = rows * n / 8;
        let args = [
            gate_up.pointer(),
            active.pointer(),
            Int((n / 8) as i32),
            Long(total as u64),
            is_gelu(activation),
        ];
        // SAFETY: `gate_rows(gate_up, y, n8, total8, gelu)` takes two halves of n numbers of 16 bits a row,
        // and gives n.
        unsafe { self.launch_early("gate_rows", Grid::flat(total), &args) };
        active
    }

    /// The gradient by `[gate | up]`.
    pub(super) fn gate_backward_rows(
        &self,
        gate_up: &CudaMat,
        dy: &CudaMat,
        activation: Activation,
    ) -> CudaMat {
        let (rows, n) = self.gated(gate_up);
        assert_eq!(dy.half_rows(), (rows, n), "the gradient by the result");
        let d = CudaMat::room(self, rows, 2 * n);
        let total = rows * n / 8;
        let args = [
            gate_up.pointer(),
            dy.pointer(),
            d.pointer(),
            Int((n / 8) as i32),
            Long(total as u64),
            is_gelu(activation),
        ];
        // SAFETY: `gate_backward_rows(gate_up, dy, d, n8, total8, gelu)` takes two halves of n numbers of 16
        // bits a row and n of the gradient, and gives two halves.
        unsafe { self.launch("gate_backward_rows", Grid::flat(total), &args) };
        d
    }

    /// Rows, and columns of a half.
    fn gated(&self, gate_up: &CudaMat) -> (usize, usize) {
        let (rows, both) = gate_up.half_rows();
        assert!(both.is_multiple_of(16), "halves of whole pieces");
        (rows, both / 2)
    }
}

fn is_gelu(activation: Activation) -> Arg {
    Int(i32::from(activation == Activation::GeluTanh))
}
