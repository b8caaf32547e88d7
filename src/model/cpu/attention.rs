//! Causal grouped-query attention over cached keys and values, and its gradient.
//!
//! A query row sees its own sequence's keys up to its position and nothing else: no padding, no
//! mask from outside. Products run in the tile kernel, softmax over the live keys alone, so the
//! bits of a row depend neither on the chunk it came in nor on other sequences.

use std::ops::Range;

use rayon::prelude::*;

use super::gemm::{Aligned, Shared, Strided, small_product};
use super::rows::{softmax, softmax_backward};
use super::tile::{PANEL, Tile, run, tile_shape};
use crate::model::shapes::{Heads, Span};

/// Query rows whose gradients are formed together; keys after them are skipped.
const GRADIENT_BLOCK: usize = 48;

/// Keys and values of one layer for a fixed number of sequences ("slots") of fixed capacity.
///
/// Keys lie in panels of 16 positions, `[slot][head][position/16][dim][16]`, so that a query's
/// scores are lanes; values lie as `[slot][head][position][dim]`, dim in whole panels.
#[derive(Clone)]
pub struct LayerKv {
    heads: Heads,
    capacity: usize,
    keys: Aligned,
    values: Aligned,
}

impl LayerKv {
    /// Room for `slots` sequences of `capacity` positions.
    pub fn new(heads: Heads, slots: usize, capacity: usize) -> Self {
        let capacity = Self::laid_out(capacity);
        let dim = heads.dim.next_multiple_of(PANEL);
        LayerKv {
            heads,
            capacity,
            keys: Aligned::zeros(slots * heads.kv * capacity * heads.dim),
            values: Aligned::zeros(slots * heads.kv * capacity * dim),
        }
    }

    fn laid_out(capacity: usize) -> usize {
        capacity.next_multiple_of(2 * PANEL)
    }

    /// Bytes that so many sequences of so many positions will hold.
    pub fn bytes(heads: Heads, slots: usize, capacity: usize) -> u64 {
        let row = heads.dim + heads.dim.next_multiple_of(PANEL);
        let numbers = [slots, heads.kv, Self::laid_out(capacity), row];
        let bytes = size_of::<f32>() as u64;
        numbers
            .iter()
            .fold(bytes, |product, &n| product.saturating_mul(n as u64))
    }

    fn value_row(&self) -> usize {
        self.heads.dim.next_multiple_of(PANEL)
    }

    fn keys_at(&self, slot: usize, head: usize) -> usize {
        (slot * self.heads.kv + head) * self.capacity * self.heads.dim
    }

    fn values_at(&self, slot: usize, head: usize) -> usize {
        (slot * self.heads.kv + head) * self.capacity * self.value_row()
    }

    /// Stores the keys and values of one row of `[queries | keys | values]`.
    pub fn store(&mut self, slot: usize, position: usize, row: &[f32]) {
        let Heads { kv, dim, .. } = self.heads;
        for h in 0..kv {
            let at = self.keys_at(slot, h) + position / PANEL * PANEL * dim + position % PANEL;
            for (d, &value) in row[self.heads.key(h)..][..dim].iter().enumerate() {
                self.keys[at + d * PANEL] = value;
            }
            let at = self.values_at(slot, h) + position * self.value_row();
            let from = self.heads.value(h);
            self.values[at..at + dim].copy_from_slice(&row[from..from + dim]);
        }
    }

    /// Copies the first `positions` of one slot to another.
    pub fn copy(&mut self, from: usize, to: usize, positions: usize) {
        let dim = self.heads.dim;
        for h in 0..self.heads.kv {
            let (a, b) = (self.keys_at(from, h), self.keys_at(to, h));
            let len = positions.next_multiple_of(PANEL) * dim;
            self.keys.copy_within(a..a + len, b);
            let (a, b) = (self.values_at(from, h), self.values_at(to, h));
            let len = positions * self.value_row();
            self.values.copy_within(a..a + len, b);
        }
    }
}

/// Attends every row of `qkv` (`[queries | keys | values]`, keys already stored) to its slot's
/// keys up to itself, with a window to so many of them; `out` has `queries * dim` numbers a row.
pub fn attend(qkv: &[f32], kv: &LayerKv, spans: &[Span], window: Option<usize>, out: &mut [f32]) {
    let heads = kv.heads;
    let target = Shared(out.as_mut_ptr());
    let work = |(span, h): (&Span, usize)| attend_span(qkv, kv, span, h, window, target);
    let jobs: Vec<(&Span, usize)> = spans
        .iter()
        .flat_map(|s| (0..heads.kv).map(move |h| (s, h)))
        .collect();
    jobs.into_par_iter().for_each(work);
}

fn attend_span(
    qkv: &[f32],
    kv: &LayerKv,
    span: &Span,
    h: usize,
    window: Option<usize>,
    out: Shared,
) {
    let Heads { dim, queries, .. } = kv.heads;
    let (shape, group, width) = (tile_shape(), kv.heads.group(), kv.heads.row());
    let (lanes, value_row) = (PANEL * shape.panels, kv.value_row());
    let longest = (span.position + span.rows.len()).next_multiple_of(lanes);
    let mut query = vec![0.0f32; shape.rows * dim];
    let mut scores = vec![0.0f32; shape.rows * longest];
    let mut mixed = vec![0.0f32; shape.rows * value_row.next_multiple_of(lanes)];
    let scale = 1.0 / (dim as f32).sqrt();
    let total = span.rows.len() * group;
    for start in (0..total).step_by(shape.rows) {
        let height = (total - start).min(shape.rows);
        let place = |i: usize| {
            (
                span.rows.start + (start + i) / group,
                h * group + (start + i) % group,
            )
        };
        for i in 0..height {
            let (row, head) = place(i);
            query[i * dim..(i + 1) * dim]
                .copy_from_slice(&qkv[row * width + kv.heads.query(head)..][..dim]);
        }
        let live = |i: usize| span.position + (start + i) / group + 1;
        let most = live(height - 1);
        let padded = most.next_multiple_of(lanes);
        // Keys that no row of the tile sees are skipped. Those that a row does not see weigh nothing
        // in its sums, which therefore do not depend on where the tile begins.
        let seen = first_seen(live(0), window) / lanes * lanes;
        for key in (seen..padded).step_by(lanes) {
            let tile = Tile {
                a: query.as_ptr(),
                a_row: dim,
                a_col: 1,
                a_outer: 0,
                b: kv.keys[kv.keys_at(span.slot, h) + key * dim..].as_ptr(),
                b_row: PANEL,
                b_panel: PANEL * dim,
                outer: 1,
                inner: dim,
                c: scores[key..].as_mut_ptr(),
                c_row: longest,
                c_panel: PANEL,
                accumulate: false,
            };
            // SAFETY: capacity is a multiple of two panels and bounds every live position.
            unsafe { run(&tile, height, shape.panels) };
        }
        for i in 0..height {
            let row = &mut scores[i * longest..i * longest + padded];
            let first = first_seen(live(i), window);
            row[seen..first].fill(0.0);
            softmax(&mut row[first..live(i)], scale);
            // Later rows of the tile see more keys: for this one they weigh nothing.
            row[live(i)..].fill(0.0);
        }
        for lane in (0..value_row).step_by(lanes) {
            let panels = ((value_row - lane) / PANEL).min(shape.panels);
            let tile = Tile {
                a: scores[seen..].as_ptr(),
                a_row: longest,
                a_col: 1,
                a_outer: 0,
                b: kv.values[kv.values_at(span.slot, h) + seen * value_row + lane..].as_ptr(),
                b_row: value_row,
                b_panel: PANEL,
                outer: 1,
                inner: most - seen,
                c: mixed[lane..].as_mut_ptr(),
                c_row: value_row,
                c_panel: PANEL,
                accumulate: false,
            };
            // SAFETY: `most` positions are stored, panels cover the padded head.
            unsafe { run(&tile, height, panels) };
        }
        for i in 0..height {
            let (row, head) = place(i);
            // SAFETY: spans have rows of their own, and this job the heads of group `h`.
            let target = unsafe {
                std::slice::from_raw_parts_mut(out.at(row * queries * dim + head * dim), dim)
            };
            target.copy_from_slice(&mixed[i * value_row..i * value_row + dim]);
        }
    }
}

/// The first key that a row with so many live keys sees.
fn first_seen(live: usize, window: Option<usize>) -> usize {
    window.map_or(0, |window| live.saturating_sub(window))
}

/// The gradient of causal attention by queries, keys, and values, for whole sequences.
///
/// `qkv` and `d_qkv` have `heads.row()` numbers a row, `d_out` has `queries * dim`; `sequences`
/// are disjoint ranges of rows. Probabilities are formed again.
pub fn attend_backward(
    qkv: &[f32],
    (heads, window): (Heads, Option<usize>),
    sequences: &[Range<usize>],
    d_out: &[f32],
    d_qkv: &mut [f32],
) {
    let target = Shared(d_qkv.as_mut_ptr());
    let jobs: Vec<(&Range<usize>, usize)> = sequences
        .iter()
        .flat_map(|s| (0..heads.kv).map(move |h| (s, h)))
        .collect();
    jobs.into_par_iter()
        .for_each(|(rows, h)| attend_backward_head(qkv, (heads, window), rows, h, d_out, target));
}

fn attend_backward_head(
    qkv: &[f32],
    (heads, window): (Heads, Option<usize>),
    rows: &Range<usize>,
    h: usize,
    d_out: &[f32],
    out: Shared,
) {
    let Heads { dim, queries, .. } = heads;
    let (width, out_width, len) = (heads.row(), queries * dim, rows.len());
    let padded = len.next_multiple_of(2 * PANEL);
    let first = rows.start * width;
    let column = |start: usize| &qkv[first + start..];
    let turned = |start: usize| {
        let mut t = vec![0.0f32; dim * padded];
        for r in 0..len {
            for (d, &value) in column(start)[r * width..][..dim].iter().enumerate() {
                t[d * padded + r] = value;
            }
        }
        t
    };
    let (keys_turned, values_turned) = (turned(heads.key(h)), turned(heads.value(h)));
    let mut d_keys = vec![0.0f32; len * dim];
    let mut d_values = vec![0.0f32; len * dim];
    let mut weights = vec![0.0f32; GRADIENT_BLOCK * padded];
    let mut d_scores = vec![0.0f32; GRADIENT_BLOCK * padded];
    let mut d_query = vec![0.0f32; GRADIENT_BLOCK * dim];
    let scale = 1.0 / (dim as f32).sqrt();
    let write = |row: usize, start: usize, values: &[f32]| {
        // SAFETY: this job alone writes these rows at this group's heads.
        let target = unsafe {
            std::slice::from_raw_parts_mut(out.at((rows.start + row) * width + start), dim)
        };
        target.copy_from_slice(values);
    };
    for head in h * heads.group()..(h + 1) * heads.group() {
        for start in (0..len).step_by(GRADIENT_BLOCK) {
            let block = (len - start).min(GRADIENT_BLOCK);
            let seen = start + block;
            let query = &column(heads.query(head))[start * width..];
            let d_mixed = &d_out[(rows.start + start) * out_width + head * dim..];
            small_product(
                block,
                seen,
                dim,
                Strided::rows(query, width),
                &keys_turned,
                padded,
                &mut weights,
                padded,
                false,
            );
            small_product(
                block,
                seen,
                dim,
                Strided::rows(d_mixed, out_width),
                &values_turned,
                padded,
                &mut d_scores,
                padded,
                false,
            );
            for r in 0..block {
                let (live, at) = (start + r + 1, r * padded);
                let first = first_seen(live, window);
                let reach = at + first..at + live;
                softmax(&mut weights[reach.clone()], scale);
                softmax_backward(&weights[reach.clone()], &mut d_scores[reach], scale);
                for unseen in [at..at + first, at + live..at + seen] {
                    weights[unseen.clone()].fill(0.0);
                    d_scores[unseen].fill(0.0);
                }
            }
            let keys = column(heads.key(h));
            small_product(
                block,
                dim,
                seen,
                Strided::rows(&d_scores, padded),
                keys,
                width,
                &mut d_query,
                dim,
                false,
            );
            (0..block).for_each(|r| {
                write(
                    start + r,
                    heads.query(head),
                    &d_query[r * dim..(r + 1) * dim],
                )
            });
            small_product(
                seen,
                dim,
                block,
                Strided::transposed(&d_scores, padded),
                query,
                width,
                &mut d_keys,
                dim,
                true,
            );
            small_product(
                seen,
                dim,
                block,
                Strided::transposed(&weights, padded),
                d_mixed,
                out_width,
                &mut d_values,
                dim,
                true,
            );
        }
    }
    for r in 0..len {
        write(r, heads.key(h), &d_keys[r * dim..(r + 1) * dim]);
        write(r, heads.value(h), &d_values[r * dim..(r + 1) * dim]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADS: Heads = Heads {
        queries: 6,
        kv: 2,
        dim: 20,
    };

    fn numbers(len: usize, seed: u32) -> Vec<f32> {
        (0..len)
            .map(|i| ((i as f32 + 1.0) * (seed as f32 + 0.37)).sin())
            .collect()
    }

    /// The whole context, itself alone, less than a tile, more than one.
    const WINDOWS: [Option<usize>; 4] = [None, Some(1), Some(7), Some(40)];

    fn forward(qkv: &[f32], sequences: &[Range<usize>], window: Option<usize>) -> Vec<f32> {
        let longest = sequences.iter().map(|s| s.len()).max().unwrap();
        let mut kv = LayerKv::new(HEADS, sequences.len(), longest);
        let mut spans = Vec::new();
        for (slot, rows) in sequences.iter().enumerate() {
            for row in rows.clone() {
                kv.store(slot, row - rows.start, &qkv[row * HEADS.row()..]);
            }
            spans.push(Span {
                slot,
                position: 0,
                rows: rows.clone(),
            });
        }
        let mut out = vec![0.0; qkv.len() / HEADS.row() * 120];
        attend(qkv, &kv, &spans, window, &mut out);
        out
    }

    fn reference(qkv: &[f32], sequences: &[Range<usize>], window: Option<usize>) -> Vec<f64> {
        let mut out = Vec::new();
        for rows in sequences {
            for row in rows.clone() {
                let first = window.map_or(0, |w| (row + 1).saturating_sub(w));
                let first = first.max(rows.start);
                for head in 0..6 {
                    let at = |r: usize, c: usize, d: usize| f64::from(qkv[r * HEADS.row() + c + d]);
                    let scores: Vec<f64> = (first..=row)
                        .map(|r| {
                            (0..20)
                                .map(|d| {
                                    at(row, HEADS.query(head), d) * at(r, HEADS.key(head / 3), d)
                                })
                                .sum::<f64>()
                                / 20f64.sqrt()
                        })
                        .map(f64::exp)
                        .collect();
                    let total: f64 = scores.iter().sum();
                    out.extend((0..20).map(|d| {
                        (first..=row)
                            .zip(&scores)
                            .map(|(r, s)| s / total * at(r, HEADS.value(head / 3), d))
                            .sum::<f64>()
                    }));
                }
            }
        }
        out
    }

    #[test]
    fn attention_matches_the_definition() {
        let sequences = [0..5, 5..60];
        let qkv = numbers(60 * HEADS.row(), 1);
        for window in WINDOWS {
            let got = forward(&qkv, &sequences, window);
            for (g, w) in got.iter().zip(reference(&qkv, &sequences, window)) {
                assert!((f64::from(*g) - w).abs() < 1e-5, "{g} against {w}");
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bits_in_any_chunk_and_with_other_sequences() {
        let qkv = numbers(60 * HEADS.row(), 1);
        for window in WINDOWS {
            let whole = forward(&qkv, std::slice::from_ref(&(0..60)), window);
            let mut kv = LayerKv::new(HEADS, 3, 64);
            let mut out = vec![0.0; 60 * 120];
            let span = |slot, position, rows| Span {
                slot,
                position,
                rows,
            };
            for chunk in [0..1, 1..7, 7..40, 40..41, 41..60] {
                for row in chunk.clone() {
                    kv.store(1, row, &qkv[row * HEADS.row()..]);
                    kv.store(2, row % 13, &qkv[row * HEADS.row()..]);
                }
                attend(&qkv, &kv, &[span(1, chunk.start, chunk)], window, &mut out);
            }
            assert_eq!(out, whole);
            kv.copy(1, 0, 60);
            let mut last = vec![0.0; 60 * 120];
            attend(&qkv, &kv, &[span(0, 59, 59..60)], window, &mut last);
            assert_eq!(last[59 * 120..], whole[59 * 120..]);
        }
    }

    #[test]
    fn gradient_is_the_slope() {
        let sequences = [0..3, 3..56];
        let qkv = numbers(56 * HEADS.row(), 2);
        let d_out = numbers(56 * 120, 3);
        for window in WINDOWS {
            let mut gradient = vec![0.0; qkv.len()];
            attend_backward(&qkv, (HEADS, window), &sequences, &d_out, &mut gradient);
            let loss = |x: &[f32]| -> f64 {
                reference(x, &sequences, window)
                    .iter()
                    .zip(&d_out)
                    .map(|(a, b)| a * f64::from(*b))
                    .sum()
            };
            for i in (0..qkv.len()).step_by(977) {
                let (mut up, mut down) = (qkv.clone(), qkv.clone());
                up[i] += 1e-2;
                down[i] -= 1e-2;
                let slope = (loss(&up) - loss(&down)) / (f64::from(up[i]) - f64::from(down[i]));
                assert!(
                    (slope - f64::from(gradient[i])).abs() < 1e-3,
                    "{i}: {slope} against {}",
                    gradient[i]
                );
            }
        }
    }
}
