//! Matrix products in F32: with a packed frozen weight both ways, and of small strided operands.
//!
//! A weight `W` of shape `[n, k]` is packed once in panels of 16 outputs, `[n/16][k][16]`, 64-byte
//! aligned. `y = x W^T` reads a panel as lanes; `dx = dy W` reads the same panel one number at a
//! time, with rows of `dy` as lanes. One copy serves answering and training.
//!
//! A weight that stays in the blocks of its file is unpacked to such panels a piece at a time, where
//! it is used. An output is summed in one order, so that both kinds give the same bits.

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use super::blocks::{Blocks, PAIR};
use super::tile::{PANEL, Tile, TileShape, run, tile_shape, tile_shape_of_few};
use crate::model::stored::StoredRows;

/// Bytes of `x` that a block of rows may take, so that it stays in a core's second-level cache.
const ROW_BLOCK_BYTES: usize = 256 << 10;
/// The same where each block of rows has its own weights unpacked: half a cache, so that it is rare.
const ROW_BLOCK_BYTES_UNPACKED: usize = 512 << 10;
/// Outputs contracted before the backward product moves to the next block: for the same reason, and
/// because blocks are summed on their own.
const CONTRACT_BLOCK: usize = 512;
/// Groups of rows that the backward product serves with what it has unpacked.
const ROW_GROUPS: usize = 4;

/// A zeroed buffer of floats that starts on a cache line, in whole lines. Pages that nobody wrote
/// are the system's own zeros, so that room for answers that may grow long costs no memory until
/// one does.
pub struct Aligned {
    floats: Vec<f32>,
    start: usize,
    len: usize,
}

impl Aligned {
    /// Bytes of a cache line.
    const LINE: usize = PANEL * size_of::<f32>();

    /// At least `len` zeros.
    pub fn zeros(len: usize) -> Self {
        let len = len.next_multiple_of(PANEL);
        // A vector of zeros is asked of the system as such, if no alignment goes with it.
        let floats = vec![0.0_f32; len + PANEL];
        let start = floats.as_ptr().align_offset(Self::LINE).min(PANEL);
        Aligned { floats, start, len }
    }
}

impl Clone for Aligned {
    fn clone(&self) -> Self {
        let mut copy = Aligned::zeros(self.len);
        copy.copy_from_slice(self);
        copy
    }
}

impl std::ops::Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.floats[self.start..self.start + self.len]
    }
}

impl std::ops::DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.floats[self.start..self.start + self.len]
    }
}

/// A pointer that tasks share while they write disjoint parts.
#[derive(Clone, Copy)]
pub(super) struct Shared(pub *mut f32);
// SAFETY: every user splits the target so that no two tasks touch the same number.
unsafe impl Send for Shared {}
unsafe impl Sync for Shared {}

impl Shared {
    pub(super) fn at(self, offset: usize) -> *mut f32 {
        self.0.wrapping_add(offset)
    }
}

/// A weight of shape `[n, k]` in panels of 16 outputs.
#[derive(Clone)]
pub struct Packed {
    /// Outputs.
    pub n: usize,
    /// Inputs.
    pub k: usize,
    store: Store,
}

#[derive(Clone)]
enum Store {
    /// `[panels][k][16]`.
    Floats(Aligned),
    /// As their file has them.
    Blocks(Blocks),
}

/// Panels of a weight in F32, at the place that was asked for.
struct Panels {
    /// The first number of the first panel.
    at: *const f32,
    /// Numbers from one panel to the next.
    stride: usize,
}

thread_local! {
    /// Panels that a thread has unpacked.
    static UNPACKED: RefCell<Aligned> = RefCell::new(Aligned::zeros(0));
}

/// Calls `f` with room for so many numbers, which hold whatever was there.
fn with_room<R>(numbers: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    UNPACKED.with_borrow_mut(|room| {
        if room.len() < numbers {
            *room = Aligned::zeros(numbers);
        }
        f(&mut room[..numbers])
    })
}

impl Packed {
    /// Packs row-major matrices of `k` columns, stacked in the order given.
    ///
    /// # Panics
    /// When a matrix is not a whole number of rows.
    pub fn stack(matrices: &[&[f32]], k: usize) -> Self {
        let n: usize = matrices.iter().map(|m| m.len() / k).sum();
        assert!(
            matrices.iter().all(|m| m.len() % k == 0),
            "rows of {k} numbers"
        );
        let mut data = Aligned::zeros(Self::panels(n) * k * PANEL);
        let starts: Vec<usize> = matrices
            .iter()
            .scan(0, |at, m| {
                let start = *at;
                *at += m.len() / k;
                Some(start)
            })
            .collect();
        data.par_chunks_mut(k * PANEL)
            .enumerate()
            .for_each(|(panel, chunk)| {
                for lane in 0..PANEL {
                    let row = panel * PANEL + lane;
                    if row >= n {
                        break;
                    }
                    let which = starts.partition_point(|&start| start <= row) - 1;
                    let at = (row - starts[which]) * k;
                    for (i, &value) in matrices[which][at..at + k].iter().enumerate() {
                        chunk[i * PANEL + lane] = value;
                    }
                }
            });
        Packed {
            n,
            k,
            store: Store::Floats(data),
        }
    }

    /// Matrices of `k` columns as they are stored, stacked in the order given; `None` where that is a
    /// format, or a shape, that is computed with in F32 alone, and where a scale is not finite.
    pub fn stored(matrices: &[StoredRows<'_>], k: usize) -> Option<Self> {
        Some(Packed {
            n: matrices.iter().map(StoredRows::count).sum(),
            k,
            store: Store::Blocks(Blocks::stack(matrices, k)?),
        })
    }

    /// Copies row `n` into `out`, `k` numbers.
    pub fn read_row(&self, n: usize, out: &mut [f32]) {
        let mut lane = |start: usize, panel: &[f32]| {
            for (value, lanes) in out[start..].iter_mut().zip(panel.chunks_exact(PANEL)) {
                *value = lanes[n % PANEL];
            }
        };
        match &self.store {
            Store::Floats(data) => lane(0, &data[n / PANEL * self.k * PANEL..]),
            Store::Blocks(blocks) => with_room(blocks.at_once() * PANEL, |room| {
                for inputs in self.pieces() {
                    let room = &mut room[..inputs.len() * PANEL];
                    blocks.unpack(n / PANEL, inputs.clone(), room);
                    lane(inputs.start, room);
                }
            }),
        }
    }

    /// Inputs that panels are taken of at once.
    fn piece(&self) -> usize {
        match &self.store {
            Store::Floats(_) => self.k.max(1),
            Store::Blocks(blocks) => blocks.at_once(),
        }
    }

    fn pieces(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        pieces(0..self.k, self.piece())
    }

    /// Numbers of room that [`Packed::take`] needs for so many panels.
    fn room(&self, panels: usize) -> usize {
        match &self.store {
            Store::Floats(_) => 0,
            Store::Blocks(blocks) => panels * blocks.at_once() * PANEL,
        }
    }

    /// Some inputs of some panels: of one that is stored, unpacked into `room`.
    fn take(&self, panels: Range<usize>, inputs: Range<usize>, room: &mut [f32]) -> Panels {
        match &self.store {
            Store::Floats(data) => Panels {
                at: data[(panels.start * self.k + inputs.start) * PANEL..].as_ptr(),
                stride: self.k * PANEL,
            },
            Store::Blocks(blocks) => {
                let stride = inputs.len() * PANEL;
                for (panel, room) in panels.zip(room.chunks_exact_mut(stride)) {
                    blocks.unpack(panel, inputs.clone(), room);
                }
                Panels {
                    at: room.as_ptr(),
                    stride,
                }
            }
        }
    }

    /// An even number of panels, so that tiles of two never end in the middle.
    fn panels(n: usize) -> usize {
        n.div_ceil(2 * PANEL) * 2
    }

    /// Bytes that a matrix of `[n, k]` will hold; the largest number there is where that is more.
    pub fn bytes_of(n: usize, k: usize) -> u64 {
        (Self::panels(n) as u64)
            .saturating_mul((PANEL * size_of::<f32>()) as u64)
            .saturating_mul(k as u64)
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        match &self.store {
            Store::Floats(data) => data.len() * size_of::<f32>(),
            Store::Blocks(blocks) => blocks.bytes(),
        }
    }
}

fn pieces(all: Range<usize>, piece: usize) -> impl Iterator<Item = Range<usize>> {
    let starts = all.clone().step_by(piece);
    starts.map(move |start| start..(start + piece).min(all.end))
}

/// `y[m, n] (+)= x[m, k] W^T`.
///
/// # Panics
/// When a slice is shorter than its shape.
pub fn product(x: &[f32], m: usize, w: &Packed, y: &mut [f32], accumulate: bool) {
    assert!(x.len() >= m * w.k && y.len() >= m * w.n);
    if m == 0 {
        return;
    }
    if let (1, Store::Blocks(blocks)) = (m, &w.store) {
        return product_of_row(&x[..w.k], blocks, &mut y[..w.n], accumulate);
    }
    let (shape, row_block) = match &w.store {
        Store::Floats(_) => (tile_shape(), ROW_BLOCK_BYTES),
        Store::Blocks(_) => (tile_shape_of_few(m), ROW_BLOCK_BYTES_UNPACKED),
    };
    let groups = w.n.div_ceil(PANEL * shape.panels);
    let block_rows = (row_block / (4 * w.k))
        .max(shape.rows)
        .next_multiple_of(shape.rows);
    let blocks = m.div_ceil(block_rows);
    // Enough tasks for the threads to end together, not so many that handing them out costs.
    let per_block = (rayon::current_num_threads() * 4)
        .div_ceil(blocks)
        .min(groups);
    let per_task = groups.div_ceil(per_block);
    let out = Shared(y.as_mut_ptr());
    (0..blocks * per_block).into_par_iter().for_each(|task| {
        let (block, part) = (task / per_block, task % per_block);
        let rows = block * block_rows..((block + 1) * block_rows).min(m);
        with_room(w.room(shape.panels), |room| {
            for group in part * per_task..((part + 1) * per_task).min(groups) {
                let lane = group * PANEL * shape.panels;
                let panels = group * shape.panels..(group + 1) * shape.panels;
                for inputs in w.pieces() {
                    let taken = w.take(panels.clone(), inputs.clone(), room);
                    let tile = Tile {
                        a: x[inputs.start..].as_ptr(),
                        a_row: w.k,
                        a_col: 1,
                        a_outer: 0,
                        b: taken.at,
                        b_row: PANEL,
                        b_panel: taken.stride,
                        outer: 1,
                        inner: inputs.len(),
                        c: out.at(lane),
                        c_row: w.n,
                        c_panel: PANEL,
                        accumulate: accumulate || inputs.start > 0,
                    };
                    let lanes = (w.n - lane).min(PANEL * shape.panels);
                    // SAFETY: rows lie below `m`, panels of floats are padded to an even number
                    // and unpacked ones to what was asked for, lanes beyond `n` go through a
                    // scratch tile, and tasks write disjoint rows and lanes.
                    unsafe { column(&tile, shape, rows.clone(), lanes) }
                }
            }
        });
    });
}

/// [`product`] of one row, whose weights are multiplied where they are unpacked.
fn product_of_row(x: &[f32], blocks: &Blocks, y: &mut [f32], accumulate: bool) {
    let width = PAIR * PANEL;
    let pairs = y.len().div_ceil(width);
    let per_task = pairs.div_ceil(rayon::current_num_threads() * 4);
    let tasks = y.par_chunks_mut(per_task * width).enumerate();
    tasks.for_each(|(task, y)| {
        for (pair, y) in y.chunks_mut(width).enumerate() {
            let mut sums = [[0.0; PANEL]; PAIR];
            if accumulate {
                sums.as_flattened_mut()[..y.len()].copy_from_slice(y);
            }
            blocks.sum((task * per_task + pair) * PAIR, x, &mut sums);
            y.copy_from_slice(&sums.as_flattened()[..y.len()]);
        }
    });
}

/// One column of tiles of a shape: `rows` of `tile`, of which the first `lanes` numbers are kept.
///
/// # Safety
/// As for [`run`], for all of `rows`; only `lanes` numbers of a row of `c` have to exist.
unsafe fn column(tile: &Tile, shape: TileShape, rows: Range<usize>, lanes: usize) {
    let panels = lanes.div_ceil(PANEL).min(shape.panels);
    let tiles = rows.len().div_ceil(shape.rows);
    let mut row = rows.start;
    for i in 0..tiles {
        // Tiles of equal height: 16 rows are 8 + 8, not 12 + 4.
        let height = (rows.end - row).div_ceil(tiles - i);
        let mut part = Tile {
            a: tile.a.wrapping_add(row * tile.a_row),
            c: tile.c.wrapping_add(row * tile.c_row),
            ..*tile
        };
        if lanes == panels * PANEL {
            unsafe { run(&part, height, panels) };
        } else {
            let width = shape.panels * PANEL;
            let mut scratch = [0.0f32; 16 * 2 * PANEL];
            let c = part.c;
            for r in 0..height {
                for l in 0..lanes {
                    if tile.accumulate {
                        scratch[r * width + l] = unsafe { *c.add(r * tile.c_row + l) };
                    }
                }
            }
            part.c = scratch.as_mut_ptr();
            part.c_row = width;
            part.c_panel = PANEL;
            unsafe { run(&part, height, panels) };
            for r in 0..height {
                for l in 0..lanes {
                    unsafe { *c.add(r * tile.c_row + l) = scratch[r * width + l] };
                }
            }
        }
        row += height;
    }
}

/// `dx[m, k] (+)= dy[m, n] W`: the gradient of [`product`] by its input.
///
/// # Panics
/// When a slice is shorter than its shape.
pub fn product_backward(dy: &[f32], m: usize, w: &Packed, dx: &mut [f32], accumulate: bool) {
    assert!(dy.len() >= m * w.n && dx.len() >= m * w.k);
    if m == 0 {
        return;
    }
    let shape = tile_shape();
    // Rows side by side in a tile, and those of a task: what it unpacked serves them all.
    let width = PANEL * shape.panels;
    let many = match &w.store {
        Store::Floats(_) => width,
        Store::Blocks(_) => width * ROW_GROUPS,
    };
    let blocks = m.div_ceil(many);
    let parts = rayon::current_num_threads().div_ceil(blocks);
    let align = match &w.store {
        Store::Floats(_) => shape.rows,
        Store::Blocks(_) => w.piece(),
    };
    let part_size = w.k.div_ceil(parts).next_multiple_of(align);
    let out = Shared(dx.as_mut_ptr());
    (0..blocks * parts).into_par_iter().for_each(|task| {
        let (block, part) = (task / parts, task % parts);
        let rows = block * many..((block + 1) * many).min(m);
        let inputs = part * part_size..((part + 1) * part_size).min(w.k);
        if inputs.is_empty() {
            return;
        }
        let groups: Vec<Range<usize>> = pieces(rows, width).collect();
        let of_group = inputs.len() * width;
        let turned_size = CONTRACT_BLOCK.min(w.n.next_multiple_of(PANEL)) * width;
        let mut turned = Aligned::zeros(turned_size * groups.len());
        let mut sums = Aligned::zeros(of_group * groups.len());
        // A chain of F32 sums over a whole vocabulary loses digits; one over a block does not.
        let mut of_block = Aligned::zeros(if w.n > CONTRACT_BLOCK { sums.len() } else { 0 });
        let room = w.room(CONTRACT_BLOCK / PANEL);
        with_room(room, |room| {
            for start in (0..w.n).step_by(CONTRACT_BLOCK) {
                let outputs = start..(start + CONTRACT_BLOCK).min(w.n);
                // Outputs beyond `n` have zero weights; their stale lanes must stay finite.
                let padded = outputs.len().next_multiple_of(PANEL);
                let each = groups.iter().zip(turned.chunks_exact_mut(turned_size));
                for (rows, turned) in each {
                    let turned = &mut turned[..padded * width];
                    turn(dy, w.n, rows.clone(), outputs.clone(), turned, width);
                }
                let panels = start / PANEL..(start + padded) / PANEL;
                let piece = w.piece().min(inputs.len());
                for some in pieces(inputs.clone(), piece) {
                    let taken = w.take(panels.clone(), some.clone(), room);
                    let target = if start == 0 { &mut sums } else { &mut of_block };
                    let targets = target.chunks_exact_mut(of_group);
                    let each = groups.iter().zip(turned.chunks_exact(turned_size));
                    for ((rows, turned), target) in each.zip(targets) {
                        let tile = Tile {
                            a: taken.at,
                            a_row: PANEL,
                            a_col: 1,
                            a_outer: taken.stride,
                            b: turned.as_ptr(),
                            b_row: width,
                            b_panel: PANEL,
                            outer: padded / PANEL,
                            inner: PANEL,
                            c: target[(some.start - inputs.start) * width..].as_mut_ptr(),
                            c_row: width,
                            c_panel: PANEL,
                            accumulate: false,
                        };
                        let lanes = rows.len().next_multiple_of(PANEL).min(width);
                        // SAFETY: inputs lie below `k`, panels cover the padded outputs, and
                        // `turned` and the sums hold whole rows of `width`.
                        unsafe { column(&tile, shape, 0..some.len(), lanes) };
                    }
                }
                if start > 0 {
                    for (sum, part) in sums.iter_mut().zip(of_block.iter()) {
                        *sum += part;
                    }
                }
            }
        });
        for (rows, sums) in groups.iter().zip(sums.chunks_exact(of_group)) {
            for (r, row) in rows.clone().enumerate() {
                // SAFETY: rows and inputs of two tasks never overlap.
                let target = unsafe {
                    std::slice::from_raw_parts_mut(out.at(row * w.k + inputs.start), inputs.len())
                };
                for (i, value) in target.iter_mut().enumerate() {
                    let sum = sums[i * width + r];
                    *value = if accumulate { *value + sum } else { sum };
                }
            }
        }
    });
}

/// `turned[c][r] = x[rows][columns]`, rows beyond the end and columns beyond the end as zeros.
fn turn(
    x: &[f32],
    stride: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    turned: &mut [f32],
    width: usize,
) {
    turned.fill(0.0);
    const BLOCK: usize = 16;
    for at in columns.clone().step_by(BLOCK) {
        let end = (at + BLOCK).min(columns.end);
        for (r, row) in rows.clone().enumerate() {
            for (c, &value) in (at..end).zip(&x[row * stride + at..row * stride + end]) {
                turned[(c - columns.start) * width + r] = value;
            }
        }
    }
}

/// A matrix in place: its numbers, and the strides from row to row and column to column.
#[derive(Clone, Copy)]
pub struct Strided<'a> {
    /// The numbers.
    pub data: &'a [f32],
    /// From one row to the next.
    pub row: usize,
    /// From one column to the next.
    pub col: usize,
}

impl<'a> Strided<'a> {
    /// A row-major matrix of `columns` columns.
    pub fn rows(data: &'a [f32], columns: usize) -> Self {
        Strided {
            data,
            row: columns,
            col: 1,
        }
    }

    /// The transpose of a row-major matrix of `columns` columns.
    pub fn transposed(data: &'a [f32], columns: usize) -> Self {
        Strided {
            data,
            row: 1,
            col: columns,
        }
    }
}

/// `c[m, n] (+)= a[m, t] b[t, n]` on this thread, for small operands: `b` and `c` row-major with
/// `b_row` and `c_row` numbers from row to row.
///
/// # Panics
/// When a slice is shorter than its shape.
#[expect(
    clippy::too_many_arguments,
    reason = "shapes and strides of three matrices"
)]
pub fn small_product(
    m: usize,
    n: usize,
    t: usize,
    a: Strided<'_>,
    b: &[f32],
    b_row: usize,
    c: &mut [f32],
    c_row: usize,
    accumulate: bool,
) {
    if m == 0 || n == 0 {
        return;
    }
    assert!(c.len() >= (m - 1) * c_row + n);
    if t == 0 {
        if !accumulate {
            (0..m).for_each(|i| c[i * c_row..i * c_row + n].fill(0.0));
        }
        return;
    }
    assert!(a.data.len() > (m - 1) * a.row + (t - 1) * a.col && b.len() >= (t - 1) * b_row + n);
    let shape = tile_shape();
    let width = PANEL * shape.panels;
    let mut tail = Vec::new();
    for lane in (0..n).step_by(width) {
        let lanes = (n - lane).min(width);
        let (mut b_at, mut row) = (b[lane..].as_ptr(), b_row);
        if !lanes.is_multiple_of(PANEL) {
            // Whole panels are read: the last ones are copied so that the reads stay inside.
            tail.clear();
            tail.resize(t * width, 0.0);
            for (i, target) in tail.chunks_exact_mut(width).enumerate() {
                target[..lanes].copy_from_slice(&b[i * b_row + lane..i * b_row + lane + lanes]);
            }
            (b_at, row) = (tail.as_ptr(), width);
        }
        let tile = Tile {
            a: a.data.as_ptr(),
            a_row: a.row,
            a_col: a.col,
            a_outer: 0,
            b: b_at,
            b_row: row,
            b_panel: PANEL,
            outer: 1,
            inner: t,
            c: c[lane..].as_mut_ptr(),
            c_row,
            c_panel: PANEL,
            accumulate,
        };
        // SAFETY: the asserts above cover every row and column that is touched.
        unsafe { column(&tile, shape, 0..m, lanes) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(len: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        (0..len)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect()
    }

    fn reference(
        m: usize,
        n: usize,
        k: usize,
        a: impl Fn(usize, usize) -> f32,
        b: impl Fn(usize, usize) -> f32,
    ) -> Vec<f32> {
        (0..m * n)
            .map(|i| {
                (0..k)
                    .map(|t| f64::from(a(i / n, t)) * f64::from(b(t, i % n)))
                    .sum::<f64>() as f32
            })
            .collect()
    }

    fn assert_close(got: &[f32], want: &[f32]) {
        assert_eq!(got.len(), want.len());
        for (i, (g, w)) in got.iter().zip(want).enumerate() {
            assert!(
                (g - w).abs() < 1e-4 * w.abs().max(1.0),
                "number {i}: {g} against {w}"
            );
        }
    }

    /// The head of a language model: one chain of F32 sums over its columns is 20 times as far off.
    #[test]
    fn a_sum_over_a_vocabulary_keeps_its_digits() {
        let (n, k) = (49_152, 16);
        // All of one sign, as the sum then grows and swallows what is added last.
        let dy: Vec<f32> = numbers(n, 5).iter().map(|v| v.abs()).collect();
        let w: Vec<f32> = numbers(n * k, 6).iter().map(|v| v.abs()).collect();
        let packed = Packed::stack(&[&w], k);
        let mut dx = vec![0.0; k];
        product_backward(&dy, 1, &packed, &mut dx, false);
        let want = reference(1, k, n, |_, t| dy[t], |t, j| w[t * k + j]);
        for (got, want) in dx.iter().zip(&want) {
            assert!((got - want).abs() < 1e-6 * want, "{got} against {want}");
        }
    }

    #[test]
    fn products_both_ways_match_a_plain_sum() {
        for (m, n, k) in [
            (1, 16, 8),
            (3, 40, 33),
            (13, 100, 64),
            (70, 33, 130),
            (37, 2100, 20),
        ] {
            let (x, w) = (numbers(m * k, 1), numbers(n * k, 2));
            let packed = Packed::stack(&[&w], k);
            let mut y = vec![1.0; m * n];
            product(&x, m, &packed, &mut y, false);
            let want = reference(m, n, k, |i, t| x[i * k + t], |t, j| w[j * k + t]);
            assert_close(&y, &want);
            product(&x, m, &packed, &mut y, true);
            assert_close(&y, &want.iter().map(|v| 2.0 * v).collect::<Vec<_>>());

            let dy = numbers(m * n, 3);
            let mut dx = vec![1.0; m * k];
            product_backward(&dy, m, &packed, &mut dx, false);
            let want = reference(m, k, n, |i, t| dy[i * n + t], |t, j| w[t * k + j]);
            assert_close(&dx, &want);
            product_backward(&dy, m, &packed, &mut dx, true);
            assert_close(&dx, &want.iter().map(|v| 2.0 * v).collect::<Vec<_>>());
        }
    }

    #[test]
    fn stacked_matrices_are_the_rows_in_order() {
        let (a, b) = (numbers(5 * 7, 1), numbers(30 * 7, 2));
        let packed = Packed::stack(&[&a, &b], 7);
        let mut row = vec![0.0; 7];
        packed.read_row(4, &mut row);
        assert_eq!(row, a[28..]);
        packed.read_row(5 + 29, &mut row);
        assert_eq!(row, b[29 * 7..]);
    }

    #[test]
    fn a_row_has_the_same_bits_whatever_rows_are_beside_it() {
        let (n, k) = (130, 96);
        let x = numbers(64 * k, 4);
        let packed = Packed::stack(&[&numbers(n * k, 5)], k);
        let mut all = vec![0.0; 64 * n];
        product(&x, 64, &packed, &mut all, false);
        for m in 1..50 {
            let mut some = vec![0.0; m * n];
            product(&x[5 * k..], m, &packed, &mut some, false);
            assert_eq!(some, all[5 * n..(5 + m) * n], "{m} rows");
        }
    }

    #[test]
    fn bits_do_not_depend_on_the_number_of_threads() {
        let (m, n, k) = (45, 130, 96);
        let (x, dy) = (numbers(m * k, 4), numbers(m * n, 6));
        let packed = Packed::stack(&[&numbers(n * k, 5)], k);
        let both = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| {
                let (mut y, mut dx) = (vec![0.0; m * n], vec![0.0; m * k]);
                product(&x, m, &packed, &mut y, false);
                product_backward(&dy, m, &packed, &mut dx, false);
                (y, dx)
            })
        };
        let one = both(1);
        assert!([2, 3, 7].into_iter().all(|threads| both(threads) == one));
    }

    #[test]
    fn small_products_take_any_strides() {
        for (m, n, t) in [(1, 1, 1), (8, 24, 5), (13, 48, 40), (5, 70, 3)] {
            let (a, b) = (numbers(m * t, 1), numbers(t * n, 2));
            let want = reference(m, n, t, |i, s| a[i * t + s], |s, j| b[s * n + j]);
            let mut c = vec![0.0; m * n];
            small_product(m, n, t, Strided::rows(&a, t), &b, n, &mut c, n, false);
            assert_close(&c, &want);
            let turned: Vec<f32> = (0..m * t).map(|i| a[i % m * t + i / m]).collect();
            small_product(
                m,
                n,
                t,
                Strided::transposed(&turned, m),
                &b,
                n,
                &mut c,
                n,
                true,
            );
            assert_close(&c, &want.iter().map(|v| 2.0 * v).collect::<Vec<_>>());
        }
    }
}
