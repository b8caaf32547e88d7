//! The operations of the layers over the kernels and cuBLASLt.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::attention::Attended;
use super::factored::Factored;
use super::frozen::{CudaRotary, CudaVector, CudaWeight};
use super::kv::CudaKv;
use super::mat::{CudaMat, Height};
use super::products::Form;
use super::rows::CudaRows;
use crate::gpu::{Arg, Buffer, Cuda};
use crate::model::device::{Device, HeadNorms, whole};
use crate::model::layers::{Linear, RmsNorm, Rotary, Site};
use crate::model::{Heads, Mat, ModelError, Span, StoredTensor};

use Arg::{Float, Int, Long};

/// Rows whose logits are in memory together while a loss is formed.
const LOSS_ROWS: usize = 512;

/// Losses of rows, still on the device.
#[derive(Default)]
pub struct CudaTotal(Vec<(CudaMat, usize)>);

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

impl Cuda {
    pub(super) fn indices(&self, rows: &[usize]) -> Buffer {
        let rows: Vec<i32> = rows.iter().map(|&r| r as i32).collect();
        self.room_of(&rows)
    }
}

impl Device for Cuda {
    type Mat = CudaMat;
    type Weight = CudaWeight;
    type Vector = CudaVector;
    type Rotary = CudaRotary;
    type Kv = CudaKv;
    type Rows = CudaRows;
    type Attended = Option<Attended>;
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
        let problem = if heads.dim > 128 || !heads.dim.is_multiple_of(8) {
            format!("heads of {} numbers; the kernels take 8 to 128", heads.dim)
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
        let buffer = self.keep(numbers * 2)?;
        let mut at = 0;
        for part in parts {
            self.write(&buffer, at * 2, &self.weights_to_half(&part.values()?)?);
            at += part.count();
        }
        Ok(CudaWeight {
            buffer,
            outputs: numbers / inputs,
            inputs,
        })
    }

    fn random_weight(
        &self,
        outputs: usize,
        inputs: usize,
        seed: u64,
    ) -> Result<CudaWeight, ModelError> {
        let buffer = self.keep(outputs * inputs * 2)?;
        let width = (3.0 / inputs as f32).sqrt();
        self.randomize(&buffer, outputs * inputs, seed, width);
        Ok(CudaWeight {
            buffer,
            outputs,
            inputs,
        })
    }

    fn vector(&self, values: &[f32]) -> Result<CudaVector, ModelError> {
        Ok(CudaVector {
            single: self.alloc_of(values)?,
            half: self.alloc_of(&self.weights_to_half(values)?)?,
        })
    }

    fn rotary(&self, inv_freq: &[f32], positions: usize) -> Result<CudaRotary, ModelError> {
        let table = Rotary::new(inv_freq, positions);
        let (cos, sin): (Vec<&[f32]>, Vec<&[f32]>) = (0..positions).map(|p| table.at(p)).unzip();
        Ok(CudaRotary {
            cos: self.alloc_of(&cos.concat())?,
            sin: self.alloc_of(&sin.concat())?,
        })
    }

    fn kv(&self, heads: Heads, slots: usize, capacity: usize) -> Result<CudaKv, ModelError> {
        let bytes = CudaKv::bytes(heads, slots, capacity);
        Ok(CudaKv {
            keys: self.alloc(bytes)?,
            values: self.alloc(bytes)?,
            heads,
            capacity,
        })
    }

    fn copy_kv(&self, kv: &mut CudaKv, from: usize, to: usize, positions: usize) {
        let row = kv.heads.kv * kv.heads.dim / 8;
        let slot = kv.capacity * row;
        let count = positions * row;
        self.flat_kernel(
            "copy_slot",
            count,
            &[
                Arg::Pointer(kv.keys.address()),
                Arg::Pointer(kv.values.address()),
                Long((from * slot) as u64),
                Long((to * slot) as u64),
                Long(count as u64),
            ],
        );
    }

    fn bytes(&self, weight: &CudaWeight) -> usize {
        weight.outputs * weight.inputs * 2
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

    fn embed(&self, embedding: &CudaWeight, rows: &CudaRows) -> CudaMat {
        // The residual stream is F32: every layer adds to it, and 16 bits would round each time.
        let x = CudaMat {
            height: rows.height,
            ..CudaMat::planes(self, rows.count, embedding.inputs, 1)
        };
        self.row_kernel(
            "embed_rows",
            rows.count,
            0,
            &[
                Arg::Pointer(embedding.buffer.address()),
                rows.tokens.pointer(),
                x.pointer(),
                Int(embedding.inputs as i32),
            ],
        );
        x
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
        let y = CudaMat {
            height: Height::Shape,
            ..x.like(self, rows.len())
        };
        let index = self.indices(rows);
        self.row_kernel(
            "gather_rows",
            rows.len(),
            0,
            &[
                x.pointer(),
                Arg::Pointer(index.address()),
                y.pointer(),
                x.pieces(),
            ],
        );
        y
    }

    fn scatter_add(&self, x: &CudaMat, rows: &[usize], target: &mut CudaMat) {
        let index = self.indices(rows);
        self.row_kernel(
            "scatter_add_rows",
            rows.len(),
            0,
            &[
                x.pointer(),
                Arg::Pointer(index.address()),
                target.pointer(),
                target.half_pointer(),
                Int(x.cols as i32),
                target.is_f32(),
            ],
        );
    }

    fn sum(&self, x: &CudaMat, y: CudaMat) -> CudaMat {
        let sum = x.like(self, x.rows);
        self.row_kernel(
            "sum_norm_rows",
            x.rows,
            x.cols * 4,
            &[
                x.pointer(),
                y.pointer(),
                sum.pointer(),
                Arg::Pointer(0),
                Arg::Pointer(0),
                Int(x.cols as i32),
                Float(0.0),
                Int(y.planes as i32),
                Long(y.plane() as u64),
                x.is_f32(),
            ],
        );
        sum
    }

    fn norm(&self, norm: &RmsNorm<Cuda>, x: &CudaMat) -> CudaMat {
        let y = x.beside(self, x.cols);
        self.row_kernel(
            "norm_rows",
            x.rows,
            0,
            &[
                x.pointer(),
                Arg::Pointer(norm.weight.single.address()),
                y.pointer(),
                Int(x.cols as i32),
                Float(norm.eps),
                x.is_f32(),
            ],
        );
        y
    }

    fn sum_norm(&self, norm: &RmsNorm<Cuda>, x: &CudaMat, y: CudaMat) -> (CudaMat, CudaMat) {
        let sum = x.like(self, x.rows);
        let normed = x.beside(self, x.cols);
        self.row_kernel(
            "sum_norm_rows",
            x.rows,
            x.cols * 4,
            &[
                x.pointer(),
                y.pointer(),
                sum.pointer(),
                normed.pointer(),
                Arg::Pointer(norm.weight.single.address()),
                Int(x.cols as i32),
                Float(norm.eps),
                Int(y.planes as i32),
                Long(y.plane() as u64),
                x.is_f32(),
            ],
        );
        (sum, normed)
    }

    fn norm_backward(&self, norm: &RmsNorm<Cuda>, x: &CudaMat, dy: &CudaMat, dx: &mut CudaMat) {
        self.row_kernel(
            "norm_backward_rows",
            x.rows,
            0,
            &[
                x.pointer(),
                Arg::Pointer(norm.weight.single.address()),
                dy.pointer(),
                dx.pointer(),
                dx.half_pointer(),
                Int(x.cols as i32),
                Float(norm.eps),
                x.is_f32(),
                dx.is_f32(),
            ],
        );
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
    ) -> (CudaMat, Option<Attended>) {
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
    ) -> (CudaMat, Option<Attended>) {
        self.product_attention(linear, x, share, &norms, rows, rotary)
    }

    fn attend_backward(
        &self,
        norms: HeadNorms<'_, Cuda>,
        mixed: &CudaMat,
        of: &Option<Attended>,
        d_mixed: &CudaMat,
        rows: &CudaRows,
        rotary: &CudaRotary,
    ) -> CudaMat {
        self.attention_backward(&norms, mixed, of.as_ref(), d_mixed, rows, rotary)
    }

    fn gate(&self, gate_up: &CudaMat) -> CudaMat {
        let n = gate_up.cols / 2;
        let active = gate_up.beside(self, n);
        let total = gate_up.rows * n / 8;
        self.flat_kernel(
            "gate_rows",
            total,
            &[
                gate_up.pointer(),
                active.pointer(),
                Int((n / 8) as i32),
                Long(total as u64),
            ],
        );
        active
    }

    fn gate_backward(&self, gate_up: &CudaMat, d_active: &CudaMat) -> CudaMat {
        let n = gate_up.cols / 2;
        let d = CudaMat::room(self, gate_up.rows, gate_up.cols);
        let total = gate_up.rows * n / 8;
        self.flat_kernel(
            "gate_backward_rows",
            total,
            &[
                gate_up.pointer(),
                d_active.pointer(),
                d.pointer(),
                Int((n / 8) as i32),
                Long(total as u64),
            ],
        );
        d
    }

    fn product_gate(
        &self,
        linear: &Linear<Cuda>,
        x: &CudaMat,
        share: Option<&Factored>,
    ) -> (CudaMat, CudaMat) {
        if self.warp_groups() && x.height == Height::Shape && linear.bias.is_none() {
            return self.gate_product(&linear.weight, x, share);
        }
        let gate_up = self.product(linear, x, share);
        let active = self.gate(&gate_up);
        (gate_up, active)
    }

    fn product_gate_backward(
        &self,
        weight: &CudaWeight,
        gate_up: &CudaMat,
        dy: &CudaMat,
        share: Option<&Factored>,
    ) -> CudaMat {
        if self.warp_groups() {
            return self.gate_product_backward(weight, gate_up, dy, share);
        }
        self.gate_backward(gate_up, &self.product_backward(weight, dy, share))
    }

    fn cross_entropy(
        &self,
        logits: &mut CudaMat,
        labels: &[u32],
        weight: f32,
        total: &mut CudaTotal,
    ) {
        let wanted: Vec<usize> = labels.iter().map(|&l| l as usize).collect();
        let labels = self.indices(&wanted);
        let losses = CudaMat::planes(self, logits.rows, 1, 1);
        self.launch(
            "cross_entropy_rows",
            (logits.rows, 1, 1),
            1024,
            0,
            &[
                logits.pointer(),
                Arg::Pointer(labels.address()),
                losses.pointer(),
                Int(logits.cols as i32),
                Int(logits.stride as i32),
                Float(weight * self.half_type().loss_scale()),
            ],
        );
        total.0.push((losses, logits.rows));
        if weight != 0.0 {
            logits.narrowed();
        }
    }

    fn divergence(
        &self,
        logits: &mut CudaMat,
        target: &mut CudaMat,
        weight: f32,
        total: &mut CudaTotal,
    ) {
        let losses = CudaMat::planes(self, logits.rows, 1, 1);
        self.launch(
            "divergence_rows",
            (logits.rows, 1, 1),
            1024,
            0,
            &[
                logits.pointer(),
                target.pointer(),
                losses.pointer(),
                Int(logits.cols as i32),
                Int(logits.stride as i32),
                Float(weight * self.half_type().loss_scale()),
            ],
        );
        total.0.push((losses, logits.rows));
        logits.narrowed();
    }

    fn total(&self, total: CudaTotal) -> f64 {
        let mut sum = 0.0;
        for (losses, rows) in total.0 {
            let values: Vec<f32> = self.read(&losses.buffer, 0, rows);
            sum += values.iter().map(|&l| f64::from(l)).sum::<f64>();
        }
        sum
    }
}
