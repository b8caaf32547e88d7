//! The one inner loop of every matrix product: a tile of some rows by 16 to 64 lanes.
//!
//! `c[i][lane] (+)= sum over t of a[i, t] * b[t][lane]`, one chain of fused multiply-adds per
//! output in the order of `t`. The bits of an output therefore do not depend on the rows beside
//! it, on the tile's height, or on the thread. `a` is read one number at a time from any strides
//! (so a transposed operand needs no copy), `b` and `c` in whole lanes.

use super::simd::{Isa, isa};

/// Numbers in a panel: what one AVX-512 register, or two AVX2 registers, hold.
pub const PANEL: usize = 16;

/// A tile's operands. Strides and counts in numbers, not bytes.
#[derive(Clone, Copy)]
pub struct Tile {
    /// First number of the left operand.
    pub a: *const f32,
    /// From one row of `a` to the next.
    pub a_row: usize,
    /// From one `t` to the next, inside a group of `inner`.
    pub a_col: usize,
    /// From one group of `inner` to the next.
    pub a_outer: usize,
    /// First lane of the right operand.
    pub b: *const f32,
    /// From one `t` to the next in `b`.
    pub b_row: usize,
    /// From the first panel of `b` to the second.
    pub b_panel: usize,
    /// `t` runs over `outer * inner`.
    pub outer: usize,
    /// Numbers in a group.
    pub inner: usize,
    /// First lane of the result.
    pub c: *mut f32,
    /// From one row of `c` to the next.
    pub c_row: usize,
    /// From the first panel of `c` to the second.
    pub c_panel: usize,
    /// Start from what `c` holds rather than from zero.
    pub accumulate: bool,
}

/// Largest tile of this machine: rows, and panels side by side.
#[derive(Debug, Clone, Copy)]
pub struct TileShape {
    /// Rows.
    pub rows: usize,
    /// Panels: 1, 2, or 4.
    pub panels: usize,
}

/// The tile shape that keeps all sums in registers.
pub fn tile_shape() -> TileShape {
    match isa() {
        Isa::Avx512 => TileShape {
            rows: 12,
            panels: 2,
        },
        Isa::Avx2 => TileShape { rows: 6, panels: 1 },
        Isa::Portable => TileShape { rows: 4, panels: 1 },
    }
}

/// The tile shape for so few rows that the wait for a sum, and not the number of registers, is what
/// bounds it: more panels side by side.
pub fn tile_shape_of_few(rows: usize) -> TileShape {
    let (rows, panels) = match (isa(), rows) {
        (Isa::Avx512, 1..=3) => (3, 4),
        (Isa::Avx2, 1) => (1, 4),
        (Isa::Avx2, 2 | 3) => (3, 2),
        _ => return tile_shape(),
    };
    TileShape { rows, panels }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Tile;

    /// SAFETY: the caller gives `R` rows and `P` panels that lie inside the operands.
    #[target_feature(enable = "avx512f")]
    pub unsafe fn avx512<const R: usize, const P: usize>(tile: &Tile) {
        unsafe {
            let mut acc = [[_mm512_setzero_ps(); P]; R];
            if tile.accumulate {
                for (i, row) in acc.iter_mut().enumerate() {
                    for (p, lane) in row.iter_mut().enumerate() {
                        *lane = _mm512_loadu_ps(tile.c.add(i * tile.c_row + p * tile.c_panel));
                    }
                }
            }
            let mut b = tile.b;
            for group in 0..tile.outer {
                let mut a = tile.a.add(group * tile.a_outer);
                for _ in 0..tile.inner {
                    let mut lanes = [_mm512_setzero_ps(); P];
                    for (p, lane) in lanes.iter_mut().enumerate() {
                        *lane = _mm512_loadu_ps(b.add(p * tile.b_panel));
                    }
                    for (i, row) in acc.iter_mut().enumerate() {
                        let x = _mm512_set1_ps(*a.add(i * tile.a_row));
                        for (sum, lane) in row.iter_mut().zip(lanes) {
                            *sum = _mm512_fmadd_ps(x, lane, *sum);
                        }
                    }
                    a = a.add(tile.a_col);
                    b = b.add(tile.b_row);
                }
            }
            for (i, row) in acc.iter().enumerate() {
                for (p, lane) in row.iter().enumerate() {
                    _mm512_storeu_ps(tile.c.add(i * tile.c_row + p * tile.c_panel), *lane);
                }
            }
        }
    }

    /// SAFETY: as for `avx512`.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn avx2<const R: usize, const P: usize>(tile: &Tile) {
        unsafe {
            let mut acc = [[[_mm256_setzero_ps(); 2]; P]; R];
            if tile.accumulate {
                for (i, row) in acc.iter_mut().enumerate() {
                    for (p, panel) in row.iter_mut().enumerate() {
                        let c = tile.c.add(i * tile.c_row + p * tile.c_panel);
                        *panel = [_mm256_loadu_ps(c), _mm256_loadu_ps(c.add(8))];
                    }
                }
            }
            let mut b = tile.b;
            for group in 0..tile.outer {
                let mut a = tile.a.add(group * tile.a_outer);
                for _ in 0..tile.inner {
                    let mut lanes = [[_mm256_setzero_ps(); 2]; P];
                    for (p, lane) in lanes.iter_mut().enumerate() {
                        let b = b.add(p * tile.b_panel);
                        *lane = [_mm256_loadu_ps(b), _mm256_loadu_ps(b.add(8))];
                    }
                    for (i, row) in acc.iter_mut().enumerate() {
                        let x = _mm256_broadcast_ss(&*a.add(i * tile.a_row));
                        for (sum, lane) in row.iter_mut().zip(lanes) {
                            sum[0] = _mm256_fmadd_ps(x, lane[0], sum[0]);
                            sum[1] = _mm256_fmadd_ps(x, lane[1], sum[1]);
                        }
                    }
                    a = a.add(tile.a_col);
                    b = b.add(tile.b_row);
                }
            }
            for (i, row) in acc.iter().enumerate() {
                for (p, panel) in row.iter().enumerate() {
                    let c = tile.c.add(i * tile.c_row + p * tile.c_panel);
                    _mm256_storeu_ps(c, panel[0]);
                    _mm256_storeu_ps(c.add(8), panel[1]);
                }
            }
        }
    }
}

/// SAFETY: as for `run`, with one panel.
unsafe fn portable<const R: usize>(tile: &Tile) {
    unsafe {
        let mut acc = [[0.0f32; PANEL]; R];
        if tile.accumulate {
            for (i, row) in acc.iter_mut().enumerate() {
                for (l, sum) in row.iter_mut().enumerate() {
                    *sum = *tile.c.add(i * tile.c_row + l);
                }
            }
        }
        let mut b = tile.b;
        for group in 0..tile.outer {
            let mut a = tile.a.add(group * tile.a_outer);
            for _ in 0..tile.inner {
                for (i, row) in acc.iter_mut().enumerate() {
                    let x = *a.add(i * tile.a_row);
                    for (l, sum) in row.iter_mut().enumerate() {
                        // Where there is no fused instruction, `mul_add` is a slow library call.
                        *sum = if cfg!(target_arch = "aarch64") {
                            x.mul_add(*b.add(l), *sum)
                        } else {
                            *sum + x * *b.add(l)
                        };
                    }
                }
                a = a.add(tile.a_col);
                b = b.add(tile.b_row);
            }
        }
        for (i, row) in acc.iter().enumerate() {
            for (l, sum) in row.iter().enumerate() {
                *tile.c.add(i * tile.c_row + l) = *sum;
            }
        }
    }
}

/// Computes one tile of `rows` rows and `panels` panels, at most [`tile_shape`] or
/// [`tile_shape_of_few`].
///
/// # Safety
/// Every number that the strides of `tile` reach for these rows and panels lies inside live
/// memory, `c` is not aliased, and `rows` and `panels` are at least 1.
pub unsafe fn run(tile: &Tile, rows: usize, panels: usize) {
    macro_rules! by_rows {
        ($call:ident; $($r:literal)*) => {
            match rows { $($r => unsafe { $call::<$r>(tile) },)* _ => unreachable!("tile of {rows} rows") }
        };
        ($call:ident, $panels:literal; $($r:literal)*) => {
            match rows { $($r => unsafe { $call::<$r, $panels>(tile) },)* _ => unreachable!("tile of {rows} rows") }
        };
    }
    match isa() {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => {
            use x86::avx512;
            match panels {
                1 => by_rows!(avx512, 1; 1 2 3 4 5 6 7 8 9 10 11 12),
                2 => by_rows!(avx512, 2; 1 2 3 4 5 6 7 8 9 10 11 12),
                3 => by_rows!(avx512, 3; 1 2 3),
                _ => by_rows!(avx512, 4; 1 2 3),
            }
        }
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => {
            use x86::avx2;
            match panels {
                1 => by_rows!(avx2, 1; 1 2 3 4 5 6),
                2 => by_rows!(avx2, 2; 1 2 3),
                3 => by_rows!(avx2, 3; 1),
                _ => by_rows!(avx2, 4; 1),
            }
        }
        _ => by_rows!(portable; 1 2 3 4),
    }
}
