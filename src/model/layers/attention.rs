//! Grouped-query attention with rotary embedding and, for Qwen3, a norm of queries and keys.

use std::ops::Range;

use rayon::prelude::*;

use super::linear::{Linear, LowRank, LowRankGradient};
use super::{RmsNorm, Rotary};
use crate::model::Mat;
use crate::model::cpu::{self, Heads, LayerKv, Span};

/// The attention block of a layer.
pub struct Attention {
    /// Queries, keys, and values in one product.
    pub qkv: Linear,
    /// Output projection.
    pub o: Linear,
    /// Norm of each query head, before the rotation.
    pub q_norm: Option<RmsNorm>,
    /// Norm of each key head, before the rotation.
    pub k_norm: Option<RmsNorm>,
    /// Sizes.
    pub heads: Heads,
}

impl Attention {
    /// `x [rows, hidden] -> [rows, queries * dim]` before the output projection; also the raw
    /// result of the first product, which the backward needs. Stores keys and values in `kv`.
    pub fn mix(
        &self,
        x: &Mat,
        spans: &[Span],
        rotary: &Rotary,
        kv: &mut LayerKv,
        low_rank: &mut dyn LowRank,
    ) -> (Mat, Mat) {
        let raw = self.qkv.forward(x, low_rank);
        let mut qkv = raw.clone();
        self.position(&mut qkv, spans, rotary);
        for span in spans {
            for (i, row) in span.rows.clone().enumerate() {
                kv.store(span.slot, span.position + i, qkv.row(row));
            }
        }
        let mut mixed = Mat::zeros(x.rows(), self.heads.queries * self.heads.dim);
        cpu::attend(&qkv.data, kv, spans, &mut mixed.data);
        (raw, mixed)
    }

    /// The gradient by `x` given the gradient by [`Attention::mix`]'s result; `None` when nothing
    /// below needs it. `sequences` are whole ones.
    pub fn mix_backward(
        &self,
        x: &Mat,
        raw: &Mat,
        d_mixed: &Mat,
        sequences: &[Range<usize>],
        rotary: &Rotary,
        low_rank: &mut dyn LowRankGradient,
    ) -> Option<Mat> {
        let spans = whole(sequences);
        let mut qkv = raw.clone();
        self.position(&mut qkv, &spans, rotary);
        let mut d_qkv = Mat::zeros(raw.rows(), raw.cols);
        cpu::attend_backward(
            &qkv.data,
            self.heads,
            sequences,
            &d_mixed.data,
            &mut d_qkv.data,
        );
        self.for_heads(
            &mut d_qkv,
            &spans,
            rotary,
            |row, start, norm, head, (cos, sin)| {
                cpu::rotate(head, cos, sin, -1.0);
                if let Some(norm) = norm {
                    norm.head_backward(&raw.row(row)[start..start + head.len()], head);
                }
            },
        );
        if low_rank.first_layer() == self.qkv.place.layer {
            low_rank.backward(self.qkv.place, x, &d_qkv, None);
            return None;
        }
        Some(self.qkv.backward(x, &d_qkv, low_rank))
    }

    /// Norms and rotates queries and keys in place.
    fn position(&self, qkv: &mut Mat, spans: &[Span], rotary: &Rotary) {
        self.for_heads(qkv, spans, rotary, |_, _, norm, head, (cos, sin)| {
            if let Some(norm) = norm {
                norm.head(head);
            }
            cpu::rotate(head, cos, sin, 1.0);
        });
    }

    /// Calls `f(row, first column, norm, head, (cos, sin))` for every query and key head.
    fn for_heads(
        &self,
        qkv: &mut Mat,
        spans: &[Span],
        rotary: &Rotary,
        f: impl Fn(usize, usize, Option<&RmsNorm>, &mut [f32], (&[f32], &[f32])) + Sync,
    ) {
        let mut positions = vec![0; qkv.rows()];
        for span in spans {
            for (i, row) in span.rows.clone().enumerate() {
                positions[row] = span.position + i;
            }
        }
        let (queries, dim) = (self.heads.queries, self.heads.dim);
        let one = |(row, values): (usize, &mut [f32])| {
            let angles = rotary.at(positions[row]);
            for (h, head) in values
                .chunks_exact_mut(dim)
                .take(queries + self.heads.kv)
                .enumerate()
            {
                let norm = if h < queries {
                    &self.q_norm
                } else {
                    &self.k_norm
                };
                f(row, h * dim, norm.as_ref(), head, angles);
            }
        };
        let cols = qkv.cols;
        if qkv.rows() < 64 {
            qkv.data.chunks_exact_mut(cols).enumerate().for_each(one);
        } else {
            qkv.data
                .par_chunks_exact_mut(cols)
                .with_min_len(16)
                .enumerate()
                .for_each(one);
        }
    }
}

/// Whole sequences as spans, slot after slot.
pub(crate) fn whole(sequences: &[Range<usize>]) -> Vec<Span> {
    let span = |(slot, rows): (usize, &Range<usize>)| Span {
        slot,
        position: 0,
        rows: rows.clone(),
    };
    sequences.iter().enumerate().map(span).collect()
}
