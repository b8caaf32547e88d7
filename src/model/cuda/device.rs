//! The operations of the layers over the kernels and cuBLASLt.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::attention::CudaAttended;
use super::factored::Factored;
use super::frozen::{CudaRotary, CudaVector, CudaWeight, Held};
use super::kv::CudaKv;
use super::loss::CudaTotal;
use super::mat::{CudaMat, Height};
use super::products::Form;
use super::rows::CudaRows;
use crate::gpu::Cuda;
use crate::model::device::{Device, HeadNorms, whole};
use crate::model::layers::{Linear, RmsNorm, Rotary, Site};
use crate::model::tiles::Tiles;
use crate::model::{Activation, Format, Heads, Mat, ModelError, Span, StoredTensor};

/// Rows whose logits are in memory together while a loss is formed.
const LOSS_ROWS: usize = 512;

/// Numbers in rows as far apart as those of `to`.
fn spread<T: Copy>(numbers: Vec<T>, to: &CudaMat, zero: T) -> Vec<T> {
    if to.stride == to.cols {
        return numbers;
    }
    let mut wide = vec![zero; to.plane()];
    let rows = wide.chunks_exact_mut(to.stride);
    for (row, of) in rows.zip(numbers.chunks_exact(to.cols)) {
        row[..to.cols].copy_from_slice(of);
    }
    wide
}

impl Device for Cuda {
    type Mat = CudaMat;
    type Weight = CudaWeight;
    type Vector = CudaVector;
    type Rotary = CudaRotary;
    type Kv = CudaKv;
    type Rows = CudaRows;
    type Attended = Option<CudaAttended>;
    type Factored = Factored;
    type Total = CudaTotal;

    fn loss_rows(&self) -> usize {
        LOSS_ROWS
    }

    fn had_room(&self) -> Result<(), ModelError> {
        Ok(Cuda::had_room(self)?)
    }

    fn supports(&self, config: &crate::model::ModelConfig) -> Result<(), ModelError> {
        let heads = config.heads();
        let problem = if heads.dim > 256 || !heads.dim.is_multiple_of(8) {
            format!("heads of {} numbers; the kernels take 8 to 256", heads.dim)
        } else if heads.group() > 16 {
            format!(
                "{} query heads a key head; the kernels take 16",
                heads.group()
            )
        } else if !config.hidden_size.is_multiple_of(8)
            || !config.intermediate_size.is_multiple_of(8)
        {
            "a width that is no multiple of 8".to_owned()
        } else if config.hidden_size > 32 << 10 {
            "rows of more than 32768 numbers".to_owned()
        } else {
            return Ok(());
        };
        Err(ModelError::Gpu {
            problem: format!("the model has {problem}; run it with `--device cpu`"),
        })
    }

    fn weight(&self, parts: &[StoredTensor<'_>]) -> Result<CudaWeight, ModelError> {
        let inputs = StoredTensor::same_cols(parts);
        let numbers: usize = parts.iter().map(StoredTensor::count).sum();
        let outputs = numbers / inputs;
        if let Some(blocks) = self.in_blocks(parts, inputs)? {
            return Ok(CudaWeight {
                held: Held::Blocks(blocks),
                outputs,
                inputs,
            });
        }
        let buffer = self.keep(numbers * 2)?;
        let mut at = 0;
        for part in parts {
            self.write(&buffer, at * 2, &self.weights_to_half(&part.values()?)?);
            at += part.count();
        }
        Ok(CudaWeight {
            held: Held::Half(buffer),
            outputs,
            inputs,
        })
    }

    fn random_weight(
        &self,
        outputs: usize,
        inputs: usize,
        format: Format,
        seed: u64,
    ) -> Result<CudaWeight, ModelError> {
        let width = (3.0 / inputs as f32).sqrt();
        let held = match Tiles::of_all([format], inputs) {
            Some(tiles) => {
                Held::Blocks(self.random_blocks(tiles, (outputs, inputs), seed, width)?)
            }
            None => {
                let buffer = self.keep(outputs * inputs * 2)?;
                self.randomize(&buffer, outputs * inputs, seed, width);
                Held::Half(buffer)
            }
        };
        Ok(CudaWeight {
            held,
            outputs,
            inputs,
        })
    }

    fn vector(&self, values: &[f32]) -> Result<CudaVector, ModelError> {
        Ok(CudaVector {
            single: self.alloc_of(values)?,
            half: self.alloc_of(&self.weights_to_half(values)?)?,
            count: values.len(),
        })
    }

    fn rotary(&self, inv_freq: &[f32], positions: usize) -> Result<CudaRotary, ModelError> {
        let table = Rotary::new(inv_freq, positions);
        let (cos, sin): (Vec<&[f32]>, Vec<&[f32]>) = (0..positions).map(|p| table.at(p)).unzip();
        Ok(CudaRotary {
            cos: self.alloc_of(&cos.concat())?,
            sin: self.alloc_of(&sin.concat())?,
            positions,
            pairs: inv_freq.len(),
        })
    }

    fn kv(&self, heads: Heads, slots: usize, capacity: usize) -> Result<CudaKv, ModelError> {
        let bytes = CudaKv::bytes(heads, slots, capacity);
        Ok(CudaKv {
            keys: self.alloc(bytes)?,
            values: self.alloc(bytes)?,
            heads,
            slots,
            capacity,
        })
    }

    fn copy_kv(&self, kv: &mut CudaKv, from: usize, to: usize, positions: usize) {
        kv.copy(self, from, to, positions);
    }

    fn bytes(&self, weight: &CudaWeight) -> usize {
        weight.bytes()
    }

    fn rows(&self, tokens: &[u32], spans: &[Span], capacity: usize) -> CudaRows {
        CudaRows::tiled(self, tokens, spans, capacity)
    }

    fn sequences(&self, tokens: &[u32], sequences: &[Range<usize>]) -> CudaRows {
        let longest = sequences.iter().map(Range::len).max().unwrap_or(0);
        CudaRows {
            height: Height::Shape,
            ..self.rows(tokens, &whole(sequences), longest)
        }
    }

    fn embed(&self, embedding: &CudaWeight, rows: &CudaRows, scale: f32) -> CudaMat {
        self.embed_rows(embedding, rows, scale)
    }

    fn zeros(&self, rows: usize, cols: usize) -> CudaMat {
        // What is added up from zeros is the gradient of the residual stream: F32, and 16 bits for
        // the products that read it.
        let mut x = CudaMat::planes(self, rows, cols, 1);
        let half = self.room(x.plane() * 2);
        self.clear(&x.buffer);
        self.clear(&half);
        x.half = Some(Arc::new(half));
        x
    }

    fn height(&self, x: &CudaMat) -> usize {
        x.rows
    }

    fn width(&self, x: &CudaMat) -> usize {
        x.cols
    }

    fn share(&self, x: &CudaMat) -> CudaMat {
        x.same()
    }

    fn download(&self, x: &CudaMat) -> Mat {
        let wide: Vec<f32> = if x.planes == 0 {
            let numbers: Vec<u16> = self.read(&x.buffer, 0, x.plane());
            let wide = numbers.par_iter().with_min_len(1 << 16);
            wide.map(|&n| self.half_type().number(n)).collect()
        } else {
            let mut sum: Vec<f32> = self.read(&x.buffer, 0, x.plane());
            for plane in 1..x.planes {
                let more: Vec<f32> = self.read(&x.buffer, plane * x.plane() * 4, x.plane());
                sum.iter_mut().zip(more).for_each(|(s, m)| *s += m);
            }
            sum
        };
        let rows = wide.chunks_exact(x.stride.max(1));
        Mat {
            data: rows.flat_map(|row| row[..x.cols].iter().copied()).collect(),
            cols: x.cols,
        }
    }

    fn upload(&self, x: &Mat) -> CudaMat {
        let to = CudaMat::room(self, x.rows(), x.cols);
        self.write(&to.buffer, 0, &spread(self.to_half(&x.data), &to, 0));
        to
    }

    fn upload_stream(&self, x: &Mat) -> CudaMat {
        let to = CudaMat::planes(self, x.rows(), x.cols, 1);
        self.write(&to.buffer, 0, &spread(x.data.clone(), &to, 0.0));
        to
    }

    fn gather(&self, x: &CudaMat, rows: &[usize]) -> CudaMat {
        self.gather_rows(x, rows)
    }

    fn scatter_add(&self, x: &CudaMat, rows: &[usize], target: &mut CudaMat) {
        self.scatter_add_rows(x, rows, target);
    }

    fn sum(&self, x: &CudaMat, y: CudaMat) -> CudaMat {
        self.sum_norm_rows(x, &y, None).0
    }

    fn norm(&self, norm: &RmsNorm<Cuda>, x: &CudaMat) -> CudaMat {
        self.norm_rows(&norm.weight, norm.eps, x)
    }

    fn sum_norm(&self, norm: &RmsNorm<Cuda>, x: &CudaMat, y: CudaMat) -> (CudaMat, CudaMat) {
        let (sum, normed) = self.sum_norm_rows(x, &y, Some((&norm.weight, norm.eps)));
        (
            sum,
            normed.unwrap_or_else(|| unreachable!("a norm was asked for")),
        )
    }

    fn norm_backward(&self, norm: &RmsNorm<Cuda>, x: &CudaMat, dy: &CudaMat, dx: &mut CudaMat) {
        self.norm_backward_rows(&norm.weight, norm.eps, x, dy, dx);
    }

    fn product(&self, linear: &Linear<Cuda>, x: &CudaMat, share: Option<&Factored>) -> CudaMat {
        // The activation reads whole numbers; norms and attention add up parts.
        let out = match linear.place.site {
            Site::GateUp => Form::Half,
            Site::Qkv => Form::Scores,
            Site::O | Site::Down => Form::Parts,
        };
        self.times(x, &linear.weight, linear.bias.as_ref(), share, out)
    }

    fn product_backward(
        &self,
        weight: &CudaWeight,
        dy: &CudaMat,
        share: Option<&Factored>,
    ) -> CudaMat {
        self.times_back(dy, weight, share)
    }

    fn logits(&self, head: &CudaWeight, x: &CudaMat) -> CudaMat {
        self.times(x, head, None, None, Form::Single)
    }

    fn attend(
        &self,
        norms: HeadNorms<'_, Cuda>,
        qkv: CudaMat,
        rows: &CudaRows,
        rotary: &CudaRotary,
        kv: Option<&mut CudaKv>,
    ) -> (CudaMat, Option<CudaAttended>) {
        self.attention(&norms, qkv, rows, rotary, kv.as_deref())
    }

    fn product_attend(
        &self,
        linear: &Linear<Cuda>,
        x: &CudaMat,
        share: Option<&Factored>,
        norms: HeadNorms<'_, Cuda>,
        rows: &CudaRows,
        rotary: &CudaRotary,
    ) -> (CudaMat, Option<CudaAttended>) {
        self.product_attention(linear, x, share, &norms, rows, rotary)
    }

    fn attend_backward(
        &self,
        norms: HeadNorms<'_, Cuda>,
        mixed: &CudaMat,
        of: &Option<CudaAttended>,
        d_mixed: &CudaMat,
        rows: &CudaRows,
        rotary: &CudaRotary,
    ) -> CudaMat {
        self.attention_backward(&norms, mixed, of.as_ref(), d_mixed, rows, rotary)
    }

    fn gate(&self, gate_up: &CudaMat, activation: Activation) -> CudaMat {
        self.gate_rows(gate_up, activation)
    }

    fn gate_backward(
        &self,
        gate_up: &CudaMat,
        d_active: &CudaMat,
        activation: Activation,
    ) -> CudaMat {
        self.gate_backward_rows(gate_up, d_active, activation)
    }

    fn product_gate(
        &self,
        linear: &Linear<Cuda>,
        x: &CudaMat,
        share: Option<&Factored>,
        activation: Activation,
    ) -> (CudaMat, CudaMat) {
        let is_silu = activation == Activation::Silu;
        let plain = is_silu && linear.bias.is_none();
        if self.warp_groups() && x.height == Height::Shape && plain {
            return self.gate_product(&linear.weight, x, share);
        }
        let gate_up = self.product(linear, x, share);
        let active = self.gate(&gate_up, activation);
        (gate_up, active)
    }

    fn product_gate_backward(
        &self,
        weight: &CudaWeight,
        (gate_up, activation): (&CudaMat, Activation),
        dy: &CudaMat,
        share: Option<&Factored>,
    ) -> CudaMat {
        if self.warp_groups() && activation == Activation::Silu {
            return self.gate_product_backward(weight, gate_up, dy, share);
        }
        let d_active = self.product_backward(weight, dy, share);
        self.gate_backward(gate_up, &d_active, activation)
    }

    fn cross_entropy(
        &self,
        logits: &mut CudaMat,
        labels: &[u32],
        weight: f32,
        total: &mut CudaTotal,
    ) {
        self.cross_entropy_rows(logits, labels, weight, total);
    }

    fn divergence(
        &self,
        logits: &mut CudaMat,
        target: &mut CudaMat,
        weight: f32,
        total: &mut CudaTotal,
    ) {
        self.divergence_rows(logits, target, weight, total);
    }

    fn total(&self, total: CudaTotal) -> f64 {
        self.sum_losses(total)
    }
}
