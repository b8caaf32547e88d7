//! Attention over the cache, forward and backward.

use super::factored::Factored;
use super::frozen::CudaRotary;
use super::kv::CudaKv;
use super::mat::{CudaMat, Height};
use super::ring::{Launch, ROWS, WIDE, sixteens, steps};
use super::rows::{CudaRows, Kind};
use crate::gpu::{Arg, Buffer, Cuda, Grid};
use crate::model::Heads;
use crate::model::device::{Device, HeadNorms};
use crate::model::layers::Linear;

use Arg::{Float, Int, Long};

/// Threads of a block that works on a row.
const ROW: usize = 256;
/// Keys that one block of decode attention takes.
const SPLIT: usize = 512;

/// What attention leaves for its backward.
pub struct CudaAttended {
    /// Logarithm of the scores' sum, of every row and head.
    sums: Buffer,
    /// Rotated queries.
    queries: CudaMat,
    /// Rotated keys, and values, where no cache has them.
    kv: Option<CudaKv>,
    /// Raw queries, keys, and values, where heads have a norm.
    raw: Option<CudaMat>,
}

/// A kernel by the head's width: its name for up to 64 numbers, and for up to 128.
type ByWidth = [&'static str; 2];

/// Whether attention in tiles does not take it: heads wider than the tiles, or a row that sees a part
/// of its context.
fn is_plain(norms: &HeadNorms<'_, Cuda>) -> bool {
    norms.heads.dim > 128 || norms.window.is_some()
}

/// The name, and the width that the kernel computes with.
fn by_width(dim: usize, [narrow, wide]: ByWidth) -> (&'static str, usize) {
    if dim <= 64 { (narrow, 64) } else { (wide, 128) }
}

/// What places heads of a width, and its backward.
fn place_kernels(dim: usize) -> [&'static str; 2] {
    match dim <= 128 {
        true => ["place_heads", "place_heads_backward"],
        false => ["place_wide_heads", "place_wide_heads_backward"],
    }
}

/// Attention in tiles, its gradient by queries, and that by keys and values.
struct TiledKernels {
    attend: ByWidth,
    queries: ByWidth,
    keys: ByWidth,
}

/// With products of a warp.
const OF_WARPS: TiledKernels = TiledKernels {
    attend: ["attend_64", "attend_128"],
    queries: ["attend_queries_64", "attend_queries_128"],
    keys: ["attend_keys_64", "attend_keys_128"],
};

/// With products of four warps.
const OF_GROUPS: TiledKernels = TiledKernels {
    attend: ["attend_group_64", "attend_group_128"],
    queries: ["attend_queries_group_64", "attend_queries_group_128"],
    keys: ["attend_keys_group_64", "attend_keys_group_128"],
};

impl Cuda {
    fn tiled_kernels(&self) -> &'static TiledKernels {
        if self.warp_groups() {
            &OF_GROUPS
        } else {
            &OF_WARPS
        }
    }

    /// Launches a block for every query head and tile.
    ///
    /// # Safety
    /// `args` begin the kernel's arguments, up to the list of tiles; see [`Cuda::launch`].
    unsafe fn launch_tiled(
        &self,
        kernel: ByWidth,
        heads: Heads,
        tiles: usize,
        args: &mut Vec<Arg>,
    ) {
        let Heads { queries, kv, dim } = heads;
        args.extend([
            Int(queries as i32),
            Int(kv as i32),
            Int(dim as i32),
            Float(1.0 / (dim as f32).sqrt()),
        ]);
        let (name, _) = by_width(dim, kernel);
        let grid = Grid::new((queries, tiles, 1), 128).shared(self.shared_memory(name));
        // SAFETY: as for this function; what follows the list is the same in every kernel.
        unsafe { self.launch(name, grid, args) };
    }

    /// Launches a block for every row and query head.
    ///
    /// # Safety
    /// `args` begin the kernel's arguments, up to its sizes; see [`Cuda::launch`].
    unsafe fn launch_plain(
        &self,
        kernel: &'static str,
        norms: &HeadNorms<'_, Cuda>,
        rows: usize,
        args: &mut Vec<Arg>,
    ) {
        let Heads { queries, kv, dim } = norms.heads;
        assert!(dim <= 256, "heads of {dim} numbers");
        let window = norms.window.and_then(|window| i32::try_from(window).ok());
        args.extend([
            Int(queries as i32),
            Int(kv as i32),
            Int(dim as i32),
            Int(window.unwrap_or(i32::MAX)),
            Float(1.0 / (dim as f32).sqrt()),
        ]);
        // SAFETY: as for this function; what follows the rows' places is the same in every kernel.
        unsafe { self.launch(kernel, Grid::new((rows, queries, 1), 128), args) };
    }

    fn head_weights(&self, norms: &HeadNorms<'_, Cuda>) -> [Arg; 2] {
        let dim = norms.heads.dim;
        [norms.queries, norms.keys].map(|n| n.map_or(Arg::NONE, |n| n.weight.pointer(dim)))
    }

    fn room_for(&self, heads: Heads, rows: &CudaRows) -> CudaKv {
        CudaKv::room(self, heads, rows.slots, rows.capacity)
    }

    /// Rotated queries go to `q`, keys and values to `kv`.
    fn place(
        &self,
        norms: &HeadNorms<'_, Cuda>,
        qkv: &CudaMat,
        q: &CudaMat,
        rows: &CudaRows,
        rotary: &CudaRotary,
        kv: &CudaKv,
    ) {
        let Heads {
            queries,
            kv: kv_heads,
            dim,
        } = norms.heads;
        let [q_norm, k_norm] = self.head_weights(norms);
        let eps = norms.queries.map_or(0.0, |n| n.eps);
        // Few rows need their heads side by side, many fill the device as they are.
        let shares = if qkv.rows < 4 * self.processors() {
            norms.heads.row().div_ceil(8 * dim)
        } else {
            1
        };
        let block = if shares > 1 { 128 } else { ROW };
        let (height, cols) = qkv.whole_rows();
        assert_eq!(
            (height, cols),
            (rows.count, norms.heads.row()),
            "heads of every row"
        );
        assert_eq!(
            q.half_rows(),
            (height, queries * dim),
            "queries of every row"
        );
        let [keys, values] = kv.pointers(norms.heads, rows);
        let [cos, sin] = rotary.pointers(dim, rows.end());
        let [kernel, _] = place_kernels(dim);
        let args = [
            qkv.pointer(),
            q.pointer(),
            keys,
            values,
            rows.positions.pointer(),
            rows.cache_rows.pointer(),
            cos,
            sin,
            q_norm,
            k_norm,
            Int(queries as i32),
            Int(kv_heads as i32),
            Int(dim as i32),
            Float(eps),
            Int(qkv.planes as i32),
            Long(qkv.plane() as u64),
        ];
        // SAFETY: `place_heads(qkv, q, keys, values, position, cache_row, cos, sin, q_norm, k_norm,
        // queries, kv, dim, eps, planes, plane)` reads a row's heads from so many planes, and writes
        // its queries, and its keys and values at its place in the cache.
        unsafe { self.launch_early(kernel, Grid::new((height, shares, 1), block), &args) };
    }

    /// `x W^T + b` and a low-rank share, with heads placed, in one kernel; only Hopper has it, for
    /// some heads.
    fn qkv_product(
        &self,
        linear: &Linear<Cuda>,
        x: &CudaMat,
        share: Option<&Factored>,
        heads: Heads,
        rows: &CudaRows,
        rotary: &CudaRotary,
    ) -> (CudaMat, CudaKv) {
        let Heads { queries, kv, dim } = heads;
        let weight = &linear.weight;
        assert_eq!(weight.outputs, heads.row(), "heads of every row");
        assert_eq!(
            x.half_rows(),
            (rows.count, weight.inputs),
            "inputs of every row"
        );
        let to = self.room_for(heads, rows);
        let q = x.beside(self, queries * dim);
        let wide = weight.wide(self);
        let mut launch = Launch::new(self);
        launch.matrix(x.operand(), x.rows, weight.inputs, ROWS);
        // Each of two blocks fetches half of the columns, for both.
        launch.matrix(wide.operand(false), weight.outputs, weight.inputs, WIDE / 2);
        let width = launch.share_t(share, x);
        let first = [0, queries * dim, (queries + kv) * dim]
            .map(|output| launch.share_b(share, output, x.operand()));
        let bias = linear.bias.as_ref();
        let [keys, values] = to.pointers(heads, rows);
        let [cos, sin] = rotary.pointers(dim, rows.end());
        launch.args(&[
            bias.map_or(Arg::NONE, |b| b.pointer(weight.outputs)),
            q.pointer(),
            keys,
            values,
            rows.positions.pointer(),
            rows.cache_rows.pointer(),
            cos,
            sin,
            Int(queries as i32),
            Int(kv as i32),
            Int(x.rows as i32),
        ]);
        let [by_q, by_k, by_v] = first;
        let numbers = [steps(weight.inputs), sixteens(width), by_q, by_k, by_v];
        let (name, _) = by_width(dim, ["qkv_product_64", "qkv_product_128"]);
        // SAFETY: `qkv_product_D(x, weight, t, b_q, b_k, b_v, bias, q, keys, values, position,
        // cache_row, cos, sin, queries, kv, rows, ..)` multiplies matrices of the sizes that they say,
        // and places the heads of every row, whose width is D.
        unsafe { launch.start(name, x.rows, weight.outputs.div_ceil(WIDE), &numbers) };
        (q, to)
    }

    /// See [`Device::product_attend`].
    pub(super) fn product_attention(
        &self,
        linear: &Linear<Cuda>,
        x: &CudaMat,
        share: Option<&Factored>,
        norms: &HeadNorms<'_, Cuda>,
        rows: &CudaRows,
        rotary: &CudaRotary,
    ) -> (CudaMat, Option<CudaAttended>) {
        let has_norm = norms.queries.is_some() || norms.keys.is_some();
        let whole = matches!(norms.heads.dim, 64 | 128) && x.height == Height::Shape;
        if !self.warp_groups() || has_norm || !whole {
            return self.attention(norms, self.product(linear, x, share), rows, rotary, None);
        }
        let (queries, kv) = self.qkv_product(linear, x, share, norms.heads, rows, rotary);
        let (mixed, sums) = self.attend_placed(norms, &queries, &kv, rows);
        let attended = sums.map(|sums| CudaAttended {
            sums,
            queries,
            kv: Some(kv),
            raw: None,
        });
        (mixed, attended)
    }

    /// See [`Device::attend`].
    pub(super) fn attention(
        &self,
        norms: &HeadNorms<'_, Cuda>,
        qkv: CudaMat,
        rows: &CudaRows,
        rotary: &CudaRotary,
        cache: Option<&CudaKv>,
    ) -> (CudaMat, Option<CudaAttended>) {
        // Half precision, whatever the model has.
        let q = qkv.beside(self, norms.heads.queries * norms.heads.dim);
        let mut own = None;
        let kv = match cache {
            Some(kv) => kv,
            None => own.insert(self.room_for(norms.heads, rows)),
        };
        self.place(norms, &qkv, &q, rows, rotary, kv);
        let (mixed, sums) = self.attend_placed(norms, &q, kv, rows);
        let attended = sums.map(|sums| CudaAttended {
            sums,
            queries: q,
            kv: own,
            raw: (norms.queries.is_some() || norms.keys.is_some()).then_some(qkv),
        });
        (mixed, attended)
    }

    /// The result, and the logarithms of the scores' sums where a gradient can follow.
    fn attend_placed(
        &self,
        norms: &HeadNorms<'_, Cuda>,
        q: &CudaMat,
        kv: &CudaKv,
        rows: &CudaRows,
    ) -> (CudaMat, Option<Buffer>) {
        let heads = norms.heads;
        let Heads {
            queries,
            kv: kv_heads,
            dim,
        } = heads;
        assert_eq!(q.half_rows(), (rows.count, queries * dim), "queries");
        let mixed = q.beside(self, queries * dim);
        let [keys, values] = kv.pointers(heads, rows);
        if is_plain(norms) {
            let is_whole = matches!(rows.kind, Kind::Tiles { .. });
            let bytes = q.rows * queries * 4;
            let sums = is_whole.then(|| self.room(bytes));
            let sums_at = sums.as_ref().map_or(Arg::NONE, |sums| sums.holds(bytes));
            let mut args = vec![q.pointer(), keys, values, mixed.pointer(), sums_at];
            args.extend([rows.positions.pointer(), rows.cache_rows.pointer()]);
            // SAFETY: `attend_plain(q, keys, values, out, lse, position, cache_row, queries, kv, dim,
            // window, scale)` takes rows and the places of the cache that their sequences have.
            unsafe { self.launch_plain("attend_plain", norms, q.rows, &mut args) };
            return (mixed, sums);
        }
        match &rows.kind {
            Kind::Tiles { queries: tiles, .. } => {
                let sums = self.room(q.rows * queries * 4);
                let mut args = vec![
                    q.pointer(),
                    keys,
                    values,
                    mixed.pointer(),
                    sums.holds(q.rows * queries * 4),
                    tiles.pointer(),
                ];
                let kernel = self.tiled_kernels().attend;
                // SAFETY: `attend_D(q, keys, values, out, sums, tiles, queries, kv, dim, scale)` takes
                // tiles of rows, and the places of the cache that their sequences have.
                unsafe { self.launch_tiled(kernel, heads, tiles.count, &mut args) };
                (mixed, Some(sums))
            }
            Kind::Single { bases } => {
                let (name, wide) = by_width(dim, ["attend_one_64", "attend_one_128"]);
                let splits = rows.capacity.div_ceil(SPLIT);
                let bytes = q.rows * queries * splits * (wide + 2) * 4;
                let parts = (splits > 1).then(|| self.room(bytes));
                let parts_at = parts.as_ref().map_or(Arg::NONE, |parts| parts.holds(bytes));
                let position = rows.positions.pointer();
                let base = bases.pointer();
                let args = [
                    q.pointer(),
                    keys,
                    values,
                    mixed.pointer(),
                    parts_at,
                    position,
                    base,
                    Int(queries as i32),
                    Int(kv_heads as i32),
                    Int(dim as i32),
                    Float(1.0 / (dim as f32).sqrt()),
                ];
                let grid = Grid::new((q.rows, kv_heads, splits), 128);
                let grid = grid.shared(self.shared_memory(name));
                // SAFETY: `attend_one_D(q, keys, values, out, parts, position, base, queries, kv, dim,
                // scale)` takes a row of each sequence, whose positions lie in the cache, and leaves
                // a part a split where there are several.
                unsafe { self.launch_early(name, grid, &args) };
                if splits > 1 {
                    let args = [
                        parts_at,
                        mixed.pointer(),
                        position,
                        base,
                        Int(queries as i32),
                        Int(dim as i32),
                        Int(wide as i32),
                        Int(splits as i32),
                    ];
                    // SAFETY: `attend_join(parts, out, position, base, queries, dim, wide, splits)`
                    // reads the parts that the kernel before has left.
                    unsafe {
                        self.launch_early(
                            "attend_join",
                            Grid::new((q.rows, queries, 1), wide),
                            &args,
                        );
                    }
                }
                (mixed, None)
            }
        }
    }

    /// See [`Device::attend_backward`].
    pub(super) fn attention_backward(
        &self,
        norms: &HeadNorms<'_, Cuda>,
        mixed: &CudaMat,
        of: Option<&CudaAttended>,
        d_mixed: &CudaMat,
        rows: &CudaRows,
        rotary: &CudaRotary,
    ) -> CudaMat {
        let Heads {
            queries,
            kv: kv_heads,
            dim,
        } = norms.heads;
        let (
            Some(CudaAttended {
                sums,
                queries: q,
                kv: Some(kv),
                raw,
            }),
            Kind::Tiles {
                queries: query_tiles,
                keys: key_tiles,
            },
        ) = (of, &rows.kind)
        else {
            panic!("only attention of whole sequences has a gradient");
        };
        let per_head = || CudaMat::room(self, q.rows, queries * dim);
        let (dq, dk, dv) = (per_head(), per_head(), per_head());
        let row_sums = q.rows * queries * 4;
        let delta = self.room(row_sums);
        assert_eq!(mixed.half_rows(), q.half_rows(), "the result");
        assert_eq!(d_mixed.half_rows(), q.half_rows(), "the gradient by it");
        let [keys, values] = kv.pointers(norms.heads, rows);
        let mut args = vec![
            q.pointer(),
            keys,
            values,
            mixed.pointer(),
            d_mixed.pointer(),
            sums.holds(row_sums),
            delta.holds(row_sums),
            dq.pointer(),
        ];
        let plain = is_plain(norms);
        let places = [rows.positions.pointer(), rows.cache_rows.pointer()];
        if plain {
            args.extend(places);
            // SAFETY: `attend_plain_queries(q, keys, values, out, d_out, lse, delta, dq, position,
            // cache_row, queries, kv, dim, window, scale)` takes rows, of what the forward has left.
            unsafe { self.launch_plain("attend_plain_queries", norms, q.rows, &mut args) };
        } else {
            args.push(query_tiles.pointer());
            let kernel = self.tiled_kernels().queries;
            // SAFETY: `attend_queries_D(q, keys, values, out, d_out, sums, delta, dq, tiles, queries,
            // kv, dim, scale)` takes tiles of rows, of what the forward has left of them.
            unsafe { self.launch_tiled(kernel, norms.heads, query_tiles.count, &mut args) };
        }
        let mut args = vec![
            q.pointer(),
            keys,
            values,
            d_mixed.pointer(),
            sums.holds(row_sums),
            delta.holds(row_sums),
            dk.pointer(),
            dv.pointer(),
        ];
        if plain {
            args.extend(places);
            args.push(Int(q.rows as i32));
            // SAFETY: `attend_plain_keys(q, keys, values, d_out, lse, delta, dk, dv, position,
            // cache_row, rows, queries, kv, dim, window, scale)` does the same by keys.
            unsafe { self.launch_plain("attend_plain_keys", norms, q.rows, &mut args) };
        } else {
            args.push(key_tiles.pointer());
            let kernel = self.tiled_kernels().keys;
            // SAFETY: `attend_keys_D(q, keys, values, d_out, sums, delta, dk, dv, tiles, queries, kv,
            // dim, scale)` does the same by keys.
            unsafe { self.launch_tiled(kernel, norms.heads, key_tiles.count, &mut args) };
        }
        let d_qkv = CudaMat::room(self, q.rows, norms.heads.row());
        if let Some(raw) = raw {
            assert_eq!(
                raw.whole_rows(),
                d_qkv.whole_rows(),
                "heads before their norm"
            );
        }
        let [q_norm, k_norm] = self.head_weights(norms);
        let eps = norms.queries.map_or(0.0, |n| n.eps);
        let [cos, sin] = rotary.pointers(dim, rows.end());
        let [_, kernel] = place_kernels(dim);
        let args = [
            raw.as_ref().map_or(Arg::NONE, CudaMat::pointer),
            dq.pointer(),
            dk.pointer(),
            dv.pointer(),
            d_qkv.pointer(),
            rows.positions.pointer(),
            cos,
            sin,
            q_norm,
            k_norm,
            Int(queries as i32),
            Int(kv_heads as i32),
            Int(dim as i32),
            Float(eps),
            Int(raw.as_ref().map_or(0, |raw| raw.planes as i32)),
            Long(raw.as_ref().map_or(0, |raw| raw.plane() as u64)),
        ];
        // SAFETY: `place_heads_backward(qkv, dq, dk, dv, d_qkv, position, cos, sin, q_norm, k_norm,
        // queries, kv, dim, eps, planes, plane)` reads the gradients of a row's heads, and the heads
        // themselves where they have a norm.
        unsafe { self.launch(kernel, Grid::rows(q.rows), &args) };
        d_qkv
    }
}
