//! The operations of the layers over the kernels of this folder.

use std::borrow::Cow;
use std::convert::Infallible;

use rayon::prelude::*;

use super::rows;
use super::{LayerKv, Packed, attend, attend_backward, product, product_backward};
use crate::model::device::{Device, HeadNorms};
use crate::model::layers::{Linear, RmsNorm, Rotary};
use crate::model::{Activation, Format, Heads, Mat, ModelConfig, ModelError, Span, StoredTensor};
use crate::random::{Philox, Purpose};

/// Rows whose logits are in memory together while a loss is formed.
const LOSS_ROWS: usize = 128;

/// Rows of random numbers that are made in a format.
const RANDOM_ROWS: usize = 64;

/// The processor.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu;

/// What attention leaves for its backward.
pub struct CpuAttended {
    /// Queries and keys after norm and rotation, and values.
    qkv: Mat,
    /// Before them, where heads have a norm.
    raw: Option<Mat>,
}

/// The rows of a step.
pub struct Rows {
    tokens: Vec<u32>,
    spans: Vec<Span>,
}

impl Rows {
    /// The token of each row.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    fn positions(&self, rows: usize) -> Vec<usize> {
        let mut positions = vec![0; rows];
        for span in &self.spans {
            for (i, row) in span.rows.clone().enumerate() {
                positions[row] = span.position + i;
            }
        }
        positions
    }
}

impl HeadNorms<'_, Cpu> {
    /// Calls `f(row, first column, norm, head, (cos, sin))` for every query and key head.
    fn for_heads(
        &self,
        qkv: &mut Mat,
        rows: &Rows,
        rotary: &Rotary,
        f: impl Fn(usize, usize, Option<&RmsNorm<Cpu>>, &mut [f32], (&[f32], &[f32])) + Sync,
    ) {
        let positions = rows.positions(qkv.rows());
        let (queries, dim) = (self.heads.queries, self.heads.dim);
        let one = |(row, values): (usize, &mut [f32])| {
            let angles = rotary.at(positions[row]);
            for (h, head) in values
                .chunks_exact_mut(dim)
                .take(queries + self.heads.kv)
                .enumerate()
            {
                let norm = if h < queries { self.queries } else { self.keys };
                f(row, h * dim, norm, head, angles);
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

    /// Norms and rotates queries and keys in place.
    fn position(&self, qkv: &mut Mat, rows: &Rows, rotary: &Rotary) {
        self.for_heads(qkv, rows, rotary, |_, _, norm, head, (cos, sin)| {
            if let Some(norm) = norm {
                let x = head.to_vec();
                rows::rms_norm(&x, &norm.weight, norm.eps, head);
            }
            rows::rotate(head, cos, sin, 1.0);
        });
    }
}

/// So many rows of a size, those there are over and over.
fn repeated<T: Copy>(rows: &[T], size: usize, count: usize) -> Cow<'_, [T]> {
    match rows.len() == size * count {
        true => Cow::Borrowed(rows),
        false => rows.iter().copied().cycle().take(size * count).collect(),
    }
}

impl Device for Cpu {
    type Mat = Mat;
    type Weight = Packed;
    type Vector = Vec<f32>;
    type Rotary = Rotary;
    type Kv = LayerKv;
    type Rows = Rows;
    type Attended = CpuAttended;
    // Low-rank products are added to the frozen one's result.
    type Factored = Infallible;
    type Total = f64;

    fn loss_rows(&self) -> usize {
        LOSS_ROWS
    }

    fn had_room(&self) -> Result<(), ModelError> {
        // The host's memory ends the process when it is full.
        Ok(())
    }

    fn supports(&self, _: &ModelConfig) -> Result<(), ModelError> {
        Ok(())
    }

    fn weight(&self, parts: &[StoredTensor<'_>]) -> Result<Packed, ModelError> {
        let inputs = StoredTensor::same_cols(parts);
        let rows: Option<Vec<_>> = parts.iter().map(StoredTensor::rows).collect();
        if let Some(stored) = rows.and_then(|rows| Packed::stored(&rows, inputs)) {
            parts.iter().for_each(StoredTensor::taken);
            return Ok(stored);
        }
        let values = parts.iter().map(StoredTensor::values);
        let values: Vec<Cow<'_, [f32]>> = values.collect::<Result<_, _>>()?;
        let values: Vec<&[f32]> = values.iter().map(|v| &**v).collect();
        Ok(Packed::stack(&values, inputs))
    }

    fn random_weight(
        &self,
        outputs: usize,
        inputs: usize,
        format: Format,
        seed: u64,
    ) -> Result<Packed, ModelError> {
        // In a format a few rows are made and repeated: making them takes long, reading them does not
        // depend on what they are.
        let rows = match format {
            Format::F32 => outputs,
            _ => outputs.min(RANDOM_ROWS),
        };
        let mut values = vec![0.0f32; rows * inputs];
        let width = (3.0 / inputs as f32).sqrt();
        values
            .par_chunks_mut(inputs)
            .enumerate()
            .for_each(|(row, values)| {
                let mut draws = Philox::new(seed).draws(Purpose::Init, row as u64);
                values
                    .iter_mut()
                    .for_each(|v| *v = (2.0 * draws.uniform() - 1.0) * width);
            });
        let encoded = match format {
            Format::F32 => None,
            format => format.encode(&values, inputs),
        };
        let Some(bytes) = encoded else {
            let all = repeated(&values, inputs, outputs);
            return Ok(Packed::stack(&[&all], inputs));
        };
        let bytes = repeated(&bytes, bytes.len() / rows, outputs).into_owned();
        let shape = [outputs, inputs];
        self.weight(&[StoredTensor::made(&shape, format, bytes)])
    }

    fn vector(&self, values: &[f32]) -> Result<Vec<f32>, ModelError> {
        Ok(values.to_vec())
    }

    fn rotary(&self, inv_freq: &[f32], positions: usize) -> Result<Rotary, ModelError> {
        Ok(Rotary::new(inv_freq, positions))
    }

    fn kv(&self, heads: Heads, slots: usize, capacity: usize) -> Result<LayerKv, ModelError> {
        Ok(LayerKv::new(heads, slots, capacity))
    }

    fn copy_kv(&self, kv: &mut LayerKv, from: usize, to: usize, positions: usize) {
        kv.copy(from, to, positions);
    }

    fn bytes(&self, weight: &Packed) -> usize {
        weight.bytes()
    }

    fn rows(&self, tokens: &[u32], spans: &[Span], _: usize) -> Rows {
        Rows {
            tokens: tokens.to_vec(),
            spans: spans.to_vec(),
        }
    }

    fn embed(&self, embedding: &Packed, rows: &Rows, scale: f32) -> Mat {
        let mut x = Mat::zeros(rows.tokens.len(), embedding.k);
        for (row, &token) in rows.tokens.iter().enumerate() {
            embedding.read_row(token as usize, x.row_mut(row));
        }
        if scale != 1.0 {
            x.data.iter_mut().for_each(|x| *x *= scale);
        }
        x
    }

    fn zeros(&self, rows: usize, cols: usize) -> Mat {
        Mat::zeros(rows, cols)
    }

    fn height(&self, x: &Mat) -> usize {
        x.rows()
    }

    fn width(&self, x: &Mat) -> usize {
        x.cols
    }

    fn share(&self, x: &Mat) -> Mat {
        x.clone()
    }

    fn download(&self, x: &Mat) -> Mat {
        x.clone()
    }

    fn upload(&self, x: &Mat) -> Mat {
        x.clone()
    }

    fn gather(&self, x: &Mat, rows: &[usize]) -> Mat {
        x.gather(rows)
    }

    fn scatter_add(&self, x: &Mat, rows: &[usize], target: &mut Mat) {
        for (i, &row) in rows.iter().enumerate() {
            rows::add(x.row(i), target.row_mut(row));
        }
    }

    fn sum(&self, x: &Mat, mut y: Mat) -> Mat {
        rows::add(&x.data, &mut y.data);
        y
    }

    fn norm(&self, norm: &RmsNorm<Cpu>, x: &Mat) -> Mat {
        let mut y = Mat::zeros(x.rows(), x.cols);
        rows::rms_norm(&x.data, &norm.weight, norm.eps, &mut y.data);
        y
    }

    fn sum_norm(&self, norm: &RmsNorm<Cpu>, x: &Mat, y: Mat) -> (Mat, Mat) {
        let sum = self.sum(x, y);
        let normed = self.norm(norm, &sum);
        (sum, normed)
    }

    fn norm_backward(&self, norm: &RmsNorm<Cpu>, x: &Mat, dy: &Mat, dx: &mut Mat) {
        rows::rms_norm_backward(&x.data, &norm.weight, norm.eps, &dy.data, &mut dx.data);
    }

    fn product(&self, linear: &Linear<Cpu>, x: &Mat, _: Option<&Infallible>) -> Mat {
        let mut y = Mat::zeros(x.rows(), linear.weight.n);
        product(&x.data, x.rows(), &linear.weight, &mut y.data, false);
        if let Some(bias) = &linear.bias {
            rows::add_bias(bias, &mut y.data);
        }
        y
    }

    fn product_backward(&self, weight: &Packed, dy: &Mat, _: Option<&Infallible>) -> Mat {
        let mut dx = Mat::zeros(dy.rows(), weight.k);
        product_backward(&dy.data, dy.rows(), weight, &mut dx.data, false);
        dx
    }

    fn logits(&self, head: &Packed, x: &Mat) -> Mat {
        let mut logits = Mat::zeros(x.rows(), head.n);
        product(&x.data, x.rows(), head, &mut logits.data, false);
        logits
    }

    fn attend(
        &self,
        norms: HeadNorms<'_, Cpu>,
        mut qkv: Mat,
        rows: &Rows,
        rotary: &Rotary,
        kv: Option<&mut LayerKv>,
    ) -> (Mat, CpuAttended) {
        let raw = (norms.queries.is_some() || norms.keys.is_some()).then(|| qkv.clone());
        norms.position(&mut qkv, rows, rotary);
        let mut own;
        let kv = if let Some(kv) = kv {
            kv
        } else {
            let longest = rows.spans.iter().map(|s| s.rows.len()).max();
            own = LayerKv::new(norms.heads, rows.spans.len(), longest.unwrap_or(0));
            &mut own
        };
        for span in &rows.spans {
            for (i, row) in span.rows.clone().enumerate() {
                kv.store(span.slot, span.position + i, qkv.row(row));
            }
        }
        let mut mixed = Mat::zeros(qkv.rows(), norms.heads.queries * norms.heads.dim);
        attend(&qkv.data, kv, &rows.spans, norms.window, &mut mixed.data);
        (mixed, CpuAttended { qkv, raw })
    }

    fn attend_backward(
        &self,
        norms: HeadNorms<'_, Cpu>,
        _: &Mat,
        of: &CpuAttended,
        d_mixed: &Mat,
        rows: &Rows,
        rotary: &Rotary,
    ) -> Mat {
        let qkv = &of.qkv;
        let mut d_qkv = Mat::zeros(qkv.rows(), qkv.cols);
        let sequences: Vec<_> = rows.spans.iter().map(|s| s.rows.clone()).collect();
        attend_backward(
            &qkv.data,
            (norms.heads, norms.window),
            &sequences,
            &d_mixed.data,
            &mut d_qkv.data,
        );
        norms.for_heads(
            &mut d_qkv,
            rows,
            rotary,
            |row, start, norm, head, (cos, sin)| {
                rows::rotate(head, cos, sin, -1.0);
                if let (Some(norm), Some(raw)) = (norm, &of.raw) {
                    let x = &raw.row(row)[start..start + head.len()];
                    let dy = head.to_vec();
                    head.fill(0.0);
                    rows::rms_norm_backward(x, &norm.weight, norm.eps, &dy, head);
                }
            },
        );
        d_qkv
    }

    fn gate(&self, gate_up: &Mat, activation: Activation) -> Mat {
        let n = gate_up.cols / 2;
        let mut active = Mat::zeros(gate_up.rows(), n);
        rows::gate(&gate_up.data, n, activation, &mut active.data);
        active
    }

    fn gate_backward(&self, gate_up: &Mat, d_active: &Mat, activation: Activation) -> Mat {
        let n = gate_up.cols / 2;
        let mut d_gate_up = Mat::zeros(gate_up.rows(), gate_up.cols);
        let dy = &d_active.data;
        rows::gate_backward(&gate_up.data, n, activation, dy, &mut d_gate_up.data);
        d_gate_up
    }

    fn cross_entropy(&self, logits: &mut Mat, labels: &[u32], weight: f32, total: &mut f64) {
        let cols = logits.cols;
        let rows = logits
            .data
            .par_chunks_exact_mut(cols)
            .zip(labels.par_iter());
        let losses: Vec<f32> = rows
            .map(|(row, label)| rows::cross_entropy(row, *label as usize, weight))
            .collect();
        *total += losses.iter().map(|&l| f64::from(l)).sum::<f64>();
    }

    fn divergence(&self, logits: &mut Mat, target: &mut Mat, weight: f32, total: &mut f64) {
        let cols = logits.cols;
        let pairs = logits.data.par_chunks_exact_mut(cols);
        let pairs = pairs.zip(target.data.par_chunks_exact_mut(cols));
        let losses: Vec<f32> = pairs
            .map(|(row, target)| rows::divergence(row, target, weight))
            .collect();
        *total += losses.iter().map(|&l| f64::from(l)).sum::<f64>();
    }

    fn total(&self, total: f64) -> f64 {
        total
    }
}
