//! The operations of the layers over the kernels and cuBLASLt.

use std::ops::Range;
use std::sync::Arc;

use half::bf16;
use rayon::prelude::*;

use super::context::{Arg, Context, Cuda};
use super::gemm::{Operand, Product};
use super::mat::{CudaMat, Height};
use super::memory::Buffer;
use super::ptx;
use super::rows::{CudaRows, Kind};
use crate::model::cpu::{Heads, Span};
use crate::model::device::{Device, HeadNorms, whole};
use crate::model::layers::{Linear, RmsNorm, Rotary, Site};
use crate::model::{Mat, ModelError};

use Arg::{Float, Int, Long, Word};

/// Threads of a block that works on a row.
const ROW: usize = 256;
/// Rows whose logits are in memory together while a loss is formed.
const LOSS_ROWS: usize = 1024;
/// Keys that one block of decode attention takes.
const SPLIT: usize = 512;
/// Most rows that the kernel for few of them takes.
const SKINNY_ROWS: usize = 128;
/// Outputs from which on a product is so long that its start and end do not matter.
const HEAD_OUTPUTS: usize = 100_000;
/// Rows that the algorithms of products in answers are chosen for.
const ANSWER_ROWS: usize = 1024;

/// A frozen matrix in bf16.
pub struct CudaWeight {
    pub(super) buffer: Buffer,
    pub(super) outputs: usize,
    pub(super) inputs: usize,
}

/// A frozen row, in F32 and bf16.
pub struct CudaVector {
    pub(super) single: Buffer,
    pub(super) half: Buffer,
}

/// Tables of the rotary embedding.
pub struct CudaRotary {
    cos: Buffer,
    sin: Buffer,
}

/// Keys and values, `[slot][position][head][dim]`.
pub struct CudaKv {
    keys: Buffer,
    values: Buffer,
    heads: Heads,
    capacity: usize,
}

/// Losses of rows, still on the device.
#[derive(Default)]
pub struct CudaTotal(Vec<(CudaMat, usize)>);

fn to_half(values: &[f32]) -> Vec<bf16> {
    values
        .par_iter()
        .with_min_len(1 << 16)
        .map(|&v| bf16::from_f32(v))
        .collect()
}

impl CudaMat {
    pub(super) fn operand(&self) -> Operand {
        Operand {
            address: self.buffer.address(),
            stride: self.stride,
            transposed: false,
        }
    }
}

impl CudaWeight {
    /// As the right side of `x W^T` (transposed) or `dy W`.
    fn operand(&self, transposed: bool) -> Operand {
        Operand {
            address: self.buffer.address(),
            stride: self.inputs,
            transposed,
        }
    }
}

impl Cuda {
    fn context(&self) -> &Arc<Context> {
        &self.0
    }

    pub(super) fn row_kernel(
        &self,
        name: &'static str,
        rows: usize,
        shared: usize,
        args: &[Arg],
    ) {
        self.0.launch(name, (rows, 1, 1), ROW, shared, args);
    }

    pub(super) fn flat_kernel(&self, name: &'static str, threads: usize, args: &[Arg]) {
        self.0
            .launch(name, (threads.div_ceil(256), 1, 1), 256, 0, args);
    }

    fn indices(&self, rows: &[usize]) -> Buffer {
        let rows: Vec<i32> = rows.iter().map(|&r| r as i32).collect();
        match self.0.upload(&rows) {
            Ok(buffer) => buffer,
            Err(error) => std::panic::panic_any(error),
        }
    }

    fn head_weights(&self, norms: &HeadNorms<'_, Cuda>) -> [Arg; 2] {
        let pointer = |norm: Option<&RmsNorm<Cuda>>| {
            Arg::Pointer(norm.map_or(0, |n| n.weight.single.address()))
        };
        [pointer(norms.queries), pointer(norms.keys)]
    }

    /// Rotated queries; keys and values go to `kv`.
    fn place(
        &self,
        norms: &HeadNorms<'_, Cuda>,
        qkv: &CudaMat,
        rows: &CudaRows,
        rotary: &CudaRotary,
        kv: &CudaKv,
    ) -> CudaMat {
        let Heads {
            queries,
            kv: kv_heads,
            dim,
        } = norms.heads;
        let q = qkv.beside(self.context(), queries * dim);
        let [q_norm, k_norm] = self.head_weights(norms);
        let eps = norms.queries.map_or(0.0, |n| n.eps);
        // Few rows need their heads side by side, many fill the device as they are.
        let shares = if qkv.rows < 4 * self.0.processors {
            norms.heads.row().div_ceil(4 * dim)
        } else {
            1
        };
        let block = if shares > 1 { 128 } else { ROW };
        self.0.launch(
            "place_heads",
            (qkv.rows, shares, 1),
            block,
            0,
            &[
                qkv.pointer(),
                q.pointer(),
                Arg::Pointer(kv.keys.address()),
                Arg::Pointer(kv.values.address()),
                rows.positions.pointer(),
                rows.cache_rows.pointer(),
                Arg::Pointer(rotary.cos.address()),
                Arg::Pointer(rotary.sin.address()),
                q_norm,
                k_norm,
                Int(queries as i32),
                Int(kv_heads as i32),
                Int(dim as i32),
                Float(eps),
                Int(qkv.planes as i32),
                Long(qkv.plane() as u64),
            ],
        );
        q
    }

    /// `x W^T (+ b)`, in bf16 or F32; in parts, where that is quicker and the reader adds them.
    fn times(
        &self,
        x: &CudaMat,
        weight: &CudaWeight,
        bias: Option<&CudaVector>,
        out: Form,
    ) -> CudaMat {
        // From some rows on, cuBLASLt streams a wide weight quicker than the kernel for few rows,
        // which reads the rows again for every 128 outputs; split sums are the kernel's alone.
        let wide = (out != Form::Parts && x.rows > 16 && weight.outputs < HEAD_OUTPUTS)
            || (out != Form::Parts && x.rows > 64)
            || (x.rows > 64 && weight.outputs > weight.inputs);
        if x.height == Height::Slots && x.rows <= SKINNY_ROWS && !wide && self.0.warp_groups {
            return self.few_rows(x, weight, bias, out);
        }
        let y = match out {
            Form::Single => CudaMat::planes(self.context(), x.rows, weight.outputs, 1),
            Form::Half | Form::Parts => x.beside(self.context(), weight.outputs),
        };
        self.0.multiply(&Product {
            m: x.rows,
            n: weight.outputs,
            k: weight.inputs,
            x: x.operand(),
            y: weight.operand(true),
            out: y.buffer.address(),
            out_stride: y.stride,
            out_f32: out == Form::Single,
            alpha: 1.0,
            accumulate: false,
            bias: bias.map_or(0, |b| b.half.address()),
            chosen_for: (x.height == Height::Any).then_some(ANSWER_ROWS),
        });
        y
    }

    /// A product of one row a slot, bound by the weight's bytes.
    fn few_rows(
        &self,
        x: &CudaMat,
        weight: &CudaWeight,
        bias: Option<&CudaVector>,
        out: Form,
    ) -> CudaMat {
        let blocks = weight.outputs.div_ceil(128);
        let inner = weight.inputs.div_ceil(64);
        let wanted = if out == Form::Parts {
            (2 * self.0.processors / blocks).clamp(1, inner.div_ceil(4))
        } else {
            1
        };
        let tiles = inner.div_ceil(wanted);
        let splits = inner.div_ceil(tiles);
        let y = if out == Form::Half || (out == Form::Parts && splits == 1) {
            x.beside(self.context(), weight.outputs)
        } else {
            CudaMat {
                height: x.height,
                ..CudaMat::planes(self.context(), x.rows, weight.outputs, splits)
            }
        };
        let (name, height) = match x.rows {
            ..=16 => ("skinny_16", 16),
            17..=32 => ("skinny_32", 32),
            33..=64 => ("skinny_64", 64),
            _ => ("skinny_128", 128),
        };
        self.0.launch_early(
            name,
            (blocks, splits, 1),
            256,
            ptx::skinny_shared(height),
            &[
                x.pointer(),
                Arg::Pointer(weight.buffer.address()),
                y.pointer(),
                Arg::Pointer(bias.map_or(0, |b| b.single.address())),
                Int(x.rows as i32),
                Int(weight.outputs as i32),
                Int(weight.inputs as i32),
                Int(y.stride as i32),
                Int(tiles as i32),
                Int(i32::from(y.planes > 0)),
            ],
        );
        y
    }
}

/// The form of a product's result.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// bf16.
    Half,
    /// F32.
    Single,
    /// bf16, or F32 in planes.
    Parts,
}

impl CudaKv {
    fn room(
        context: &Arc<Context>,
        heads: Heads,
        slots: usize,
        capacity: usize,
    ) -> Result<Self, ModelError> {
        let bytes = slots * capacity * heads.kv * heads.dim * 2;
        Ok(CudaKv {
            keys: context.alloc(bytes)?,
            values: context.alloc(bytes)?,
            heads,
            capacity,
        })
    }
}

/// The kernel's name for a head's width.
fn by_width(dim: usize, narrow: &'static str, wide: &'static str) -> (&'static str, usize) {
    if dim <= 64 { (narrow, 64) } else { (wide, 128) }
}

impl Device for Cuda {
    type Mat = CudaMat;
    type Weight = CudaWeight;
    type Vector = CudaVector;
    type Rotary = CudaRotary;
    type Kv = CudaKv;
    type Rows = CudaRows;
    /// Logarithm of the scores' sum, of every row and head.
    type Statistics = Option<Buffer>;
    type Total = CudaTotal;

    fn loss_rows(&self) -> usize {
        LOSS_ROWS
    }

    fn supports(&self, config: &crate::model::ModelConfig) -> Result<(), ModelError> {
        let heads = config.heads();
        let problem = if heads.dim > 128 || heads.dim % 8 != 0 {
            format!("heads of {} numbers; the kernels take 8 to 128", heads.dim)
        } else if heads.group() > 16 {
            format!("{} query heads a key head; the kernels take 16", heads.group())
        } else if config.hidden_size % 8 != 0 || config.intermediate_size % 8 != 0 {
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

    fn weight(&self, parts: &[&[f32]], inputs: usize) -> Result<CudaWeight, ModelError> {
        let numbers: usize = parts.iter().map(|p| p.len()).sum();
        let buffer = self.0.alloc(numbers * 2)?;
        let mut at = 0;
        for part in parts {
            self.0.write(&buffer, at * 2, &to_half(part));
            at += part.len();
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
        let buffer = self.0.alloc(outputs * inputs * 2)?;
        let width = (3.0 / inputs as f32).sqrt();
        self.0.launch(
            "random_numbers",
            (self.0.processors * 8, 1, 1),
            256,
            0,
            &[
                Arg::Pointer(buffer.address()),
                Long((outputs * inputs) as u64),
                Long(seed),
                Float(width),
            ],
        );
        Ok(CudaWeight {
            buffer,
            outputs,
            inputs,
        })
    }

    fn vector(&self, values: &[f32]) -> Result<CudaVector, ModelError> {
        Ok(CudaVector {
            single: self.0.upload(values)?,
            half: self.0.upload(&to_half(values))?,
        })
    }

    fn rotary(&self, inv_freq: &[f32], positions: usize) -> Result<CudaRotary, ModelError> {
        let table = Rotary::new(inv_freq, positions);
        let (cos, sin): (Vec<&[f32]>, Vec<&[f32]>) = (0..positions).map(|p| table.at(p)).unzip();
        Ok(CudaRotary {
            cos: self.0.upload(&cos.concat())?,
            sin: self.0.upload(&sin.concat())?,
        })
    }

    fn kv(&self, heads: Heads, slots: usize, capacity: usize) -> Result<CudaKv, ModelError> {
        CudaKv::room(self.context(), heads, slots, capacity)
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
        CudaRows::tiled(self.context(), tokens, spans, capacity)
    }

    fn sequences(&self, tokens: &[u32], sequences: &[Range<usize>]) -> CudaRows {
        let longest = sequences.iter().map(Range::len).max().unwrap_or(0);
        CudaRows {
            height: Height::Shape,
            ..self.rows(tokens, &whole(sequences), longest)
        }
    }

    fn embed(&self, embedding: &CudaWeight, rows: &CudaRows) -> CudaMat {
        let x = CudaMat {
            height: rows.height,
            ..CudaMat::room(self.context(), rows.count, embedding.inputs)
        };
        self.row_kernel(
            "gather_rows",
            rows.count,
            0,
            &[
                Arg::Pointer(embedding.buffer.address()),
                rows.tokens.pointer(),
                x.pointer(),
                Int((embedding.inputs / 8) as i32),
            ],
        );
        x
    }

    fn zeros(&self, rows: usize, cols: usize) -> CudaMat {
        let x = CudaMat::room(self.context(), rows, cols);
        self.0.clear(&x.buffer);
        x
    }

    fn height(&self, x: &CudaMat) -> usize {
        x.rows
    }

    fn width(&self, x: &CudaMat) -> usize {
        x.cols
    }

    fn share(&self, x: &CudaMat) -> CudaMat {
        CudaMat {
            buffer: x.buffer.clone(),
            ..*x
        }
    }

    fn download(&self, x: &CudaMat) -> Mat {
        let wide: Vec<f32> = if x.planes == 0 {
            let numbers: Vec<u16> = self.0.read(&x.buffer, 0, x.plane());
            let wide = numbers.par_iter().with_min_len(1 << 16);
            wide.map(|&n| bf16::from_bits(n).to_f32()).collect()
        } else {
            let mut sum: Vec<f32> = self.0.read(&x.buffer, 0, x.plane());
            for plane in 1..x.planes {
                let more: Vec<f32> = self.0.read(&x.buffer, plane * x.plane() * 4, x.plane());
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
        let to = CudaMat::room(self.context(), x.rows(), x.cols);
        if to.stride == x.cols {
            self.0.write(&to.buffer, 0, &to_half(&x.data));
        } else {
            let mut wide = vec![bf16::ZERO; to.plane()];
            for row in 0..x.rows() {
                wide[row * to.stride..][..x.cols].copy_from_slice(&to_half(x.row(row)));
            }
            self.0.write(&to.buffer, 0, &wide);
        }
        to
    }

    fn gather(&self, x: &CudaMat, rows: &[usize]) -> CudaMat {
        let y = CudaMat::room(self.context(), rows.len(), x.cols);
        let index = self.indices(rows);
        self.row_kernel(
            "gather_rows",
            rows.len(),
            0,
            &[
                x.pointer(),
                Arg::Pointer(index.address()),
                y.pointer(),
                Int((x.stride / 8) as i32),
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
                Int((x.stride / 8) as i32),
            ],
        );
    }

    fn sum(&self, x: &CudaMat, y: CudaMat) -> CudaMat {
        let sum = x.beside(self.context(), x.cols);
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
            ],
        );
        sum
    }

    fn norm(&self, norm: &RmsNorm<Cuda>, x: &CudaMat) -> CudaMat {
        let y = x.beside(self.context(), x.cols);
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
            ],
        );
        y
    }

    fn sum_norm(&self, norm: &RmsNorm<Cuda>, x: &CudaMat, y: CudaMat) -> (CudaMat, CudaMat) {
        let sum = x.beside(self.context(), x.cols);
        let normed = x.beside(self.context(), x.cols);
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
                Int(x.cols as i32),
                Float(norm.eps),
            ],
        );
    }

    fn product(&self, linear: &Linear<Cuda>, x: &CudaMat, onto: Option<CudaMat>) -> CudaMat {
        if let Some(y) = onto {
            self.0.multiply(&Product {
                m: x.rows,
                n: linear.weight.outputs,
                k: linear.weight.inputs,
                x: x.operand(),
                y: linear.weight.operand(true),
                out: y.buffer.address(),
                out_stride: y.stride,
                out_f32: false,
                alpha: 1.0,
                accumulate: true,
                bias: linear.bias.as_ref().map_or(0, |b| b.half.address()),
                chosen_for: None,
            });
            return y;
        }
        // The activation reads whole numbers; norms and attention add up parts.
        let out = match linear.place.site {
            Site::GateUp => Form::Half,
            Site::Qkv | Site::O | Site::Down => Form::Parts,
        };
        self.times(x, &linear.weight, linear.bias.as_ref(), out)
    }

    fn product_backward(
        &self,
        weight: &CudaWeight,
        dy: &CudaMat,
        onto: Option<CudaMat>,
    ) -> CudaMat {
        let accumulate = onto.is_some();
        let dx =
            onto.unwrap_or_else(|| CudaMat::room(self.context(), dy.rows, weight.inputs));
        self.0.multiply(&Product {
            m: dy.rows,
            n: weight.inputs,
            k: weight.outputs,
            x: dy.operand(),
            y: weight.operand(false),
            out: dx.buffer.address(),
            out_stride: dx.stride,
            out_f32: false,
            alpha: 1.0,
            accumulate,
            bias: 0,
            chosen_for: None,
        });
        dx
    }

    fn logits(&self, head: &CudaWeight, x: &CudaMat, exact: bool) -> CudaMat {
        let out = if exact { Form::Single } else { Form::Half };
        self.times(x, head, None, out)
    }

    fn attend(
        &self,
        norms: HeadNorms<'_, Cuda>,
        qkv: &CudaMat,
        rows: &CudaRows,
        rotary: &CudaRotary,
        kv: &mut CudaKv,
    ) -> (CudaMat, Option<Buffer>) {
        let Heads {
            queries,
            kv: kv_heads,
            dim,
        } = norms.heads;
        let q = self.place(&norms, qkv, rows, rotary, kv);
        let mixed = qkv.beside(self.context(), queries * dim);
        let scale = Float(1.0 / (dim as f32).sqrt());
        let sizes = [Int(queries as i32), Int(kv_heads as i32), Int(dim as i32)];
        let (keys, values) = (
            Arg::Pointer(kv.keys.address()),
            Arg::Pointer(kv.values.address()),
        );
        match &rows.kind {
            Kind::Tiles {
                queries: tiles,
                query_tiles,
                ..
            } => {
                let statistics = self.0.room(qkv.rows * queries * 4);
                let (name, wide) = by_width(dim, "attend_64", "attend_128");
                let mut args = vec![
                    q.pointer(),
                    keys,
                    values,
                    mixed.pointer(),
                    Arg::Pointer(statistics.address()),
                    Arg::Pointer(tiles.address()),
                ];
                args.extend(sizes);
                args.push(scale);
                let grid = (queries, *query_tiles, 1);
                self.0.launch(name, grid, 128, 5 * 64 * wide * 2, &args);
                (mixed, Some(statistics))
            }
            Kind::Single { bases } => {
                let (name, wide) = by_width(dim, "attend_one_64", "attend_one_128");
                let splits = rows.capacity.div_ceil(SPLIT);
                let parts = if splits > 1 {
                    Some(self.0.room(qkv.rows * queries * splits * (wide + 2) * 4))
                } else {
                    None
                };
                let parts_at = Arg::Pointer(parts.as_ref().map_or(0, Buffer::address));
                let position = rows.positions.pointer();
                let base = bases.pointer();
                let mut args = vec![
                    q.pointer(),
                    keys,
                    values,
                    mixed.pointer(),
                    parts_at,
                    position,
                    base,
                ];
                args.extend(sizes);
                args.push(scale);
                let grid = (qkv.rows, kv_heads, splits);
                self.0
                    .launch(name, grid, 128, ptx::one_shared(wide), &args);
                if splits > 1 {
                    self.0.launch(
                        "attend_join",
                        (qkv.rows, queries, 1),
                        wide,
                        0,
                        &[
                            parts_at,
                            mixed.pointer(),
                            position,
                            base,
                            Int(queries as i32),
                            Int(dim as i32),
                            Int(wide as i32),
                            Int(splits as i32),
                        ],
                    );
                }
                (mixed, None)
            }
        }
    }

    fn attend_backward(
        &self,
        norms: HeadNorms<'_, Cuda>,
        raw: &CudaMat,
        mixed: &CudaMat,
        statistics: &Option<Buffer>,
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
            Some(statistics),
            Kind::Tiles {
                queries: query_list,
                query_tiles,
                keys: key_list,
                key_tiles,
            },
        ) = (statistics, &rows.kind)
        else {
            panic!("attention of single rows has no gradient");
        };
        let kv = match CudaKv::room(self.context(), norms.heads, rows.slots, rows.capacity) {
            Ok(kv) => kv,
            Err(error) => std::panic::panic_any(error),
        };
        let q = self.place(&norms, raw, rows, rotary, &kv);
        let per_head = || CudaMat::room(self.context(), raw.rows, queries * dim);
        let (dq, dk, dv) = (per_head(), per_head(), per_head());
        let delta = self.0.room(raw.rows * queries * 4);
        let (keys, values) = (
            Arg::Pointer(kv.keys.address()),
            Arg::Pointer(kv.values.address()),
        );
        let tail = [
            Int(queries as i32),
            Int(kv_heads as i32),
            Int(dim as i32),
            Float(1.0 / (dim as f32).sqrt()),
        ];
        let (name, wide) = by_width(dim, "attend_queries_64", "attend_queries_128");
        let mut args = vec![
            q.pointer(),
            keys,
            values,
            mixed.pointer(),
            d_mixed.pointer(),
            Arg::Pointer(statistics.address()),
            Arg::Pointer(delta.address()),
            dq.pointer(),
            Arg::Pointer(query_list.address()),
        ];
        args.extend(tail);
        let grid = (queries, *query_tiles, 1);
        self.0.launch(name, grid, 128, 6 * 64 * wide * 2, &args);
        let (name, _) = by_width(dim, "attend_keys_64", "attend_keys_128");
        let mut args = vec![
            q.pointer(),
            keys,
            values,
            d_mixed.pointer(),
            Arg::Pointer(statistics.address()),
            Arg::Pointer(delta.address()),
            dk.pointer(),
            dv.pointer(),
            Arg::Pointer(key_list.address()),
        ];
        args.extend(tail);
        let grid = (queries, *key_tiles, 1);
        self.0.launch(name, grid, 128, 6 * 64 * wide * 2 + 1024, &args);
        let d_qkv = CudaMat::room(self.context(), raw.rows, norms.heads.row());
        let [q_norm, k_norm] = self.head_weights(&norms);
        let eps = norms.queries.map_or(0.0, |n| n.eps);
        self.row_kernel(
            "place_heads_backward",
            raw.rows,
            0,
            &[
                raw.pointer(),
                dq.pointer(),
                dk.pointer(),
                dv.pointer(),
                d_qkv.pointer(),
                rows.positions.pointer(),
                Arg::Pointer(rotary.cos.address()),
                Arg::Pointer(rotary.sin.address()),
                q_norm,
                k_norm,
                Int(queries as i32),
                Int(kv_heads as i32),
                Int(dim as i32),
                Float(eps),
            ],
        );
        d_qkv
    }

    fn gate(&self, gate_up: &CudaMat) -> CudaMat {
        let n = gate_up.cols / 2;
        let active = gate_up.beside(self.context(), n);
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
        let d = CudaMat::room(self.context(), gate_up.rows, gate_up.cols);
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

    fn cross_entropy(
        &self,
        logits: &mut CudaMat,
        labels: &[u32],
        weight: f32,
        total: &mut CudaTotal,
    ) {
        let wanted: Vec<usize> = labels.iter().map(|&l| l as usize).collect();
        let labels = self.indices(&wanted);
        let losses = CudaMat::planes(self.context(), logits.rows, 1, 1);
        self.0.launch(
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
                Float(weight),
            ],
        );
        total.0.push((losses, logits.rows));
    }

    fn divergence(
        &self,
        logits: &mut CudaMat,
        target: &mut CudaMat,
        weight: f32,
        total: &mut CudaTotal,
    ) {
        let losses = CudaMat::planes(self.context(), logits.rows, 1, 1);
        self.0.launch(
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
                Float(weight),
            ],
        );
        total.0.push((losses, logits.rows));
    }

    fn total(&self, total: CudaTotal) -> f64 {
        let mut sum = 0.0;
        for (losses, rows) in total.0 {
            let values: Vec<f32> = self.0.read(&losses.buffer, 0, rows);
            sum += values.iter().map(|&l| f64::from(l)).sum::<f64>();
        }
        sum
    }
}

impl Cuda {
    /// Of each row of F32 logits: the token asked for, or the likeliest of the first `usable`; and
    /// its log-probability. `asked` has one number a row, -1 for the likeliest.
    pub fn choose(
        &self,
        logits: &CudaMat,
        asked: &super::Numbers<i32>,
        usable: usize,
    ) -> Chosen {
        let rows = logits.rows;
        let found = super::Numbers::room(self, 2 * rows);
        self.0.launch(
            "choose_rows",
            (logits.rows, 1, 1),
            1024,
            0,
            &[
                logits.pointer(),
                asked.pointer(),
                found.pointer(),
                found.pointer_at(rows),
                Int(logits.cols as i32),
                Int(logits.stride as i32),
                Int(usable.min(logits.cols) as i32),
            ],
        );
        Chosen { found, rows }
    }

    /// Draws the token of every row of F32 logits whose temperature is above 0, in place of the one
    /// that was chosen. `settings` has all rows' temperatures, then top-p, numbers in [0, 1), and
    /// top-k. A token of `u32::MAX` leaves the draw to the host.
    pub fn draw(
        &self,
        logits: &CudaMat,
        chosen: &Chosen,
        settings: &super::Numbers<f32>,
        usable: usize,
    ) {
        self.0.launch(
            "draw_rows",
            (logits.rows, 1, 1),
            1024,
            0,
            &[
                logits.pointer(),
                settings.pointer(),
                chosen.found.pointer(),
                chosen.found.pointer_at(chosen.rows),
                Int(logits.rows as i32),
                Int(logits.stride as i32),
                Int(usable.min(logits.cols) as i32),
            ],
        );
    }

    /// The rows named, in that order; a negative one gives zeros.
    pub fn pick(&self, x: &CudaMat, rows: &[i64]) -> CudaMat {
        let index: Vec<i32> = rows.iter().map(|&r| r as i32).collect();
        let index = super::Numbers::of(self, &index);
        let y = CudaMat::room(self.context(), rows.len(), x.cols);
        self.row_kernel(
            "gather_rows",
            rows.len(),
            0,
            &[
                x.pointer(),
                index.pointer(),
                y.pointer(),
                Int((x.stride / 8) as i32),
            ],
        );
        y
    }

    /// The same rows as those of answers: what a product gives for one does not depend on how
    /// many there are.
    pub fn of_answers(&self, x: CudaMat) -> CudaMat {
        CudaMat {
            height: Height::Any,
            ..x
        }
    }

    /// The same rows as one a slot.
    pub fn of_slots(&self, x: CudaMat) -> CudaMat {
        CudaMat {
            height: Height::Slots,
            ..x
        }
    }

    /// One row of an F32 matrix in the host's memory.
    pub fn row(&self, x: &CudaMat, row: usize) -> Vec<f32> {
        self.0.read(&x.buffer, row * x.stride * 4, x.cols)
    }

    /// Writes each row of `x` to the row of `target` that is named for it.
    pub fn scatter(&self, x: &CudaMat, rows: &[usize], target: &CudaMat) {
        let index = self.indices(rows);
        self.row_kernel(
            "scatter_rows",
            rows.len(),
            0,
            &[
                x.pointer(),
                Arg::Pointer(index.address()),
                target.pointer(),
                Int((x.stride / 8) as i32),
            ],
        );
    }

    /// The square of the length of a row of F32 numbers, summed in a fixed order.
    pub(super) fn square_sum(&self, numbers: &Buffer, count: usize) -> f64 {
        let blocks = 512;
        let sums = self.0.room(blocks * 4);
        self.0.launch(
            "square_sums",
            (blocks, 1, 1),
            256,
            0,
            &[
                Arg::Pointer(numbers.address()),
                Arg::Pointer(sums.address()),
                Word(count as u32),
            ],
        );
        let sums: Vec<f32> = self.0.read(&sums, 0, blocks);
        sums.iter().map(|&s| f64::from(s)).sum()
    }
}

/// Tokens that were chosen, still on the device.
pub struct Chosen {
    /// Tokens, then the bits of their log-probabilities.
    found: super::Numbers<u32>,
    rows: usize,
}

impl Chosen {
    /// Token and log-probability of every row, in nats.
    pub fn get(&self) -> Vec<(u32, f32)> {
        let found = self.found.get();
        let (tokens, logprobs) = found.split_at(self.rows);
        let pairs = tokens.iter().zip(logprobs);
        pairs.map(|(&t, &l)| (t, f32::from_bits(l))).collect()
    }
}
