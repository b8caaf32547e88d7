//! An adapter that is being trained: F32 matrices, their gradients, and the products of both.
//!
//! `y += s (x A^T) B^T`; with `g = dy`: `dB = s g^T (x A^T)`, `d(xA^T) = s g B`, `dA = (s g B)^T x`,
//! `dx += s g B A` (Hu et al. 2021). B is held transposed, so that every product has lanes.

use std::collections::BTreeMap;
use std::convert::Infallible;

use rayon::prelude::*;

use super::LowRankPair;
use super::loaded::{LANES, transposed};
use crate::model::cpu::{Strided, small_product};
use crate::model::{LayerSite, LowRank, LowRankGradient, Mat, ModelConfig, ModuleId};
use crate::random::{Philox, Purpose, unit};

/// Rows that one task takes.
const ROWS: usize = 32;
/// Columns that one task takes.
const COLS: usize = 192;

/// A matrix that is trained, with its gradient.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainedMatrix {
    /// The numbers.
    pub value: Vec<f32>,
    /// The gradient added up so far, same layout.
    pub gradient: Vec<f32>,
}

impl TrainedMatrix {
    fn new(value: Vec<f32>) -> Self {
        TrainedMatrix {
            gradient: vec![0.0; value.len()],
            value,
        }
    }
}

/// The low-rank part of one projection.
#[derive(Debug, Clone)]
pub struct TrainableModule {
    /// Rank.
    pub rank: usize,
    /// alpha / rank, or alpha / sqrt(rank).
    pub scale: f32,
    /// `A`, `[rank, in]`.
    pub a: TrainedMatrix,
    /// `B^T`, `[rank, out]`.
    pub b: TrainedMatrix,
    /// First of its columns in the site's result.
    output: usize,
    inputs: usize,
    outputs: usize,
    /// `scale * A^T` in whole lanes, `[in, lanes]`.
    a_lanes: Vec<f32>,
    /// `scale * B` in whole lanes, `[out, lanes]`.
    b_lanes: Vec<f32>,
}

/// Where dropout's random draws are.
#[derive(Debug, Clone, Copy, Default)]
pub struct DropoutKey {
    /// The run's seed.
    pub seed: u64,
    /// Optimizer step.
    pub step: u32,
    /// Micro-batch of the step.
    pub micro_batch: u32,
}

/// All trained modules.
pub struct Trainable {
    modules: BTreeMap<ModuleId, TrainableModule>,
    dropout: f32,
    /// Draws of the present micro-batch; `None` while validating.
    pub dropout_key: Option<DropoutKey>,
}

impl Trainable {
    /// Takes over matrices. `dropout` is the share of A's inputs that training drops.
    pub fn new(
        config: &ModelConfig,
        values: BTreeMap<ModuleId, LowRankPair>,
        dropout: f32,
    ) -> Self {
        let modules = values.into_iter().map(|(id, v)| {
            let (inputs, outputs) = (
                id.projection.in_features(config),
                id.projection.out_features(config),
            );
            let projections = crate::model::Site::of(id.projection).projections();
            let before = projections.iter().take_while(|p| **p != id.projection);
            let mut module = TrainableModule {
                rank: v.rank,
                scale: v.scale,
                b: TrainedMatrix::new(transposed(&v.b, v.rank)),
                a: TrainedMatrix::new(v.a),
                output: before.map(|p| p.out_features(config)).sum(),
                inputs,
                outputs,
                a_lanes: Vec::new(),
                b_lanes: Vec::new(),
            };
            module.lay_out();
            (id, module)
        });
        Trainable {
            modules: modules.collect(),
            dropout,
            dropout_key: None,
        }
    }

    /// First values: A uniform in +-1/sqrt(in) as PEFT's `kaiming_uniform_(a=sqrt(5))`, B zero.
    pub fn initial_values(
        config: &ModelConfig,
        id: ModuleId,
        rank: usize,
        scale: f32,
        seed: u64,
    ) -> LowRankPair {
        let inputs = id.projection.in_features(config);
        let bound = 1.0 / (inputs as f32).sqrt();
        let place = (id.layer * crate::model::Projection::ALL.len()) as u64 + id.projection as u64;
        let mut draws = Philox::new(seed).draws(Purpose::Init, place);
        let a = (0..rank * inputs)
            .map(|_| (2.0 * draws.uniform() - 1.0) * bound)
            .collect();
        LowRankPair {
            rank,
            scale,
            a,
            b: vec![0.0; rank * id.projection.out_features(config)],
        }
    }

    /// The share of A's inputs that training drops.
    pub fn dropout(&self) -> f32 {
        self.dropout
    }

    /// Every module in order.
    pub fn modules(&self) -> impl Iterator<Item = (&ModuleId, &TrainableModule)> {
        self.modules.iter()
    }

    /// The matrices as an adapter file has them.
    pub fn values(&self) -> BTreeMap<ModuleId, LowRankPair> {
        let values = |m: &TrainableModule| LowRankPair {
            rank: m.rank,
            scale: m.scale,
            a: m.a.value.clone(),
            b: transposed(&m.b.value, m.outputs),
        };
        self.modules
            .iter()
            .map(|(id, m)| (*id, values(m)))
            .collect()
    }

    /// Every trained matrix in a fixed order, named as in PEFT's files: A, then B, by module.
    pub fn matrices(&self) -> impl Iterator<Item = (String, &TrainedMatrix)> {
        self.modules.iter().flat_map(|(id, m)| {
            [
                (format!("{id}.lora_A"), &m.a),
                (format!("{id}.lora_B"), &m.b),
            ]
        })
    }

    /// Lets `update` change every matrix, in the order of [`Trainable::matrices`].
    pub fn update(&mut self, mut update: impl FnMut(usize, &mut TrainedMatrix)) {
        for (i, module) in self.modules.values_mut().enumerate() {
            update(2 * i, &mut module.a);
            update(2 * i + 1, &mut module.b);
            module.lay_out();
        }
    }

    /// Multiplies every gradient.
    pub fn scale_gradients(&mut self, factor: f32) {
        for module in self.modules.values_mut() {
            module
                .a
                .gradient
                .iter_mut()
                .chain(&mut module.b.gradient)
                .for_each(|g| *g *= factor);
        }
    }

    /// Sets every gradient to zero.
    pub fn clear_gradients(&mut self) {
        for module in self.modules.values_mut() {
            module.a.gradient.fill(0.0);
            module.b.gradient.fill(0.0);
        }
    }

    /// Number of trained numbers.
    pub fn parameters(&self) -> usize {
        self.matrices().map(|(_, m)| m.value.len()).sum()
    }

    /// The factors that dropout multiplies A's input with: 0, or 1 / (1 - dropout).
    fn dropped(&self, id: ModuleId, x: &Mat) -> Option<Vec<f32>> {
        let key = self.dropout_key.filter(|_| self.dropout > 0.0)?;
        let module = (id.layer * crate::model::Projection::ALL.len()) as u32 + id.projection as u32;
        let philox = Philox::new(key.seed);
        let keep = 1.0 / (1.0 - self.dropout);
        let mut factors = vec![0.0f32; x.data.len()];
        factors
            .par_chunks_mut(4 << 10)
            .enumerate()
            .for_each(|(chunk, factors)| {
                for (block, four) in factors.chunks_mut(4).enumerate() {
                    let place = (chunk << 10) as u32 + block as u32;
                    let words = philox.block([
                        place,
                        module,
                        key.step,
                        (key.micro_batch << 8) | Purpose::Dropout as u32,
                    ]);
                    for (factor, word) in four.iter_mut().zip(words) {
                        *factor = if unit(word) < self.dropout { 0.0 } else { keep };
                    }
                }
            });
        Some(factors)
    }
}

impl TrainableModule {
    /// First of its columns in the result of the product that it is part of.
    pub fn output(&self) -> usize {
        self.output
    }

    fn lanes(&self) -> usize {
        self.rank.next_multiple_of(LANES)
    }

    fn lay_out(&mut self) {
        let lanes = self.lanes();
        let spread = |x: &[f32], rows: usize| {
            let mut wide = vec![0.0; rows * lanes];
            for (r, row) in x.chunks_exact(rows).enumerate() {
                for (i, value) in row.iter().enumerate() {
                    wide[i * lanes + r] = value * self.scale;
                }
            }
            wide
        };
        self.a_lanes = spread(&self.a.value, self.inputs);
        self.b_lanes = spread(&self.b.value, self.outputs);
    }

    /// `scale * x A^T`, `[rows, lanes]`.
    fn inner(&self, x: &[f32]) -> Vec<f32> {
        let lanes = self.lanes();
        let mut t = vec![0.0; x.len() / self.inputs * lanes];
        t.par_chunks_mut(ROWS * lanes)
            .zip(x.par_chunks(ROWS * self.inputs))
            .for_each(|(t, x)| {
                let x = Strided::rows(x, self.inputs);
                small_product(
                    t.len() / lanes,
                    lanes,
                    self.inputs,
                    x,
                    &self.a_lanes,
                    lanes,
                    t,
                    lanes,
                    false,
                );
            });
        t
    }
}

/// `x * factors`, or `x` itself.
fn masked<'a>(x: &'a [f32], factors: Option<&Vec<f32>>, room: &'a mut Vec<f32>) -> &'a [f32] {
    let Some(factors) = factors else { return x };
    room.clear();
    room.extend(x.iter().zip(factors).map(|(x, f)| x * f));
    room
}

impl LowRank for Trainable {
    fn add(&mut self, place: LayerSite, x: &Mat, y: &mut Mat) {
        let cols = y.cols;
        for &projection in place.site.projections() {
            let id = ModuleId {
                layer: place.layer,
                projection,
            };
            let Some(module) = self.modules.get(&id) else {
                continue;
            };
            let factors = self.dropped(id, x);
            let mut room = Vec::new();
            let t = module.inner(masked(&x.data, factors.as_ref(), &mut room));
            let lanes = module.lanes();
            y.data
                .par_chunks_mut(ROWS * cols)
                .zip(t.par_chunks(ROWS * lanes))
                .for_each(|(y, t)| {
                    let m = t.len() / lanes;
                    let target = &mut y[module.output..];
                    small_product(
                        m,
                        module.outputs,
                        module.rank,
                        Strided::rows(t, lanes),
                        &module.b.value,
                        module.outputs,
                        target,
                        cols,
                        true,
                    );
                });
        }
    }

    fn reads(&self, place: LayerSite) -> bool {
        let trained = |&projection: &crate::model::Projection| {
            self.modules.contains_key(&ModuleId {
                layer: place.layer,
                projection,
            })
        };
        place.site.projections().iter().any(trained)
    }
}

/// `c[r, columns] += sum over rows m of t[m, r] * x[m, columns]`, columns split over threads.
fn add_outer(
    rank: usize,
    t: &[f32],
    lanes: usize,
    x: &[f32],
    x_cols: usize,
    first: usize,
    c: &mut [f32],
) {
    let (rows, n) = (t.len() / lanes, c.len() / rank);
    let blocks: Vec<(usize, Vec<f32>)> = (0..n)
        .step_by(COLS)
        .collect::<Vec<_>>()
        .into_par_iter()
        .map(|start| {
            let width = (n - start).min(COLS);
            let mut block = vec![0.0; rank * width];
            for (r, row) in block.chunks_exact_mut(width).enumerate() {
                row.copy_from_slice(&c[r * n + start..r * n + start + width]);
            }
            let t = Strided::transposed(t, lanes);
            small_product(
                rank,
                width,
                rows,
                t,
                &x[first + start..],
                x_cols,
                &mut block,
                width,
                true,
            );
            (start, block)
        })
        .collect();
    for (start, block) in blocks {
        let width = block.len() / rank;
        for (r, row) in block.chunks_exact(width).enumerate() {
            c[r * n + start..r * n + start + width].copy_from_slice(row);
        }
    }
}

impl LowRankGradient for Trainable {
    fn backward(
        &mut self,
        place: LayerSite,
        x: &Mat,
        _: Option<&Infallible>,
        dy: &Mat,
        mut dx: Option<&mut Mat>,
    ) {
        for &projection in place.site.projections() {
            let id = ModuleId {
                layer: place.layer,
                projection,
            };
            if !self.modules.contains_key(&id) {
                continue;
            }
            let factors = self.dropped(id, x);
            let Some(module) = self.modules.get_mut(&id) else {
                continue;
            };
            let (lanes, rank) = (module.lanes(), module.rank);
            let mut room = Vec::new();
            let input = masked(&x.data, factors.as_ref(), &mut room);
            let t = module.inner(input);
            add_outer(
                rank,
                &t,
                lanes,
                &dy.data,
                dy.cols,
                module.output,
                &mut module.b.gradient,
            );
            let mut dt = vec![0.0; x.rows() * lanes];
            dt.par_chunks_mut(ROWS * lanes)
                .zip(dy.data.par_chunks(ROWS * dy.cols))
                .for_each(|(dt, dy_rows)| {
                    let g = Strided::rows(&dy_rows[module.output..], dy.cols);
                    small_product(
                        dt.len() / lanes,
                        lanes,
                        module.outputs,
                        g,
                        &module.b_lanes,
                        lanes,
                        dt,
                        lanes,
                        false,
                    );
                });
            add_outer(rank, &dt, lanes, input, x.cols, 0, &mut module.a.gradient);
            let Some(dx) = dx.as_deref_mut() else {
                continue;
            };
            let (cols, a) = (x.cols, &module.a.value);
            let add = |rows: &mut [f32], dt: &[f32]| {
                small_product(
                    dt.len() / lanes,
                    cols,
                    rank,
                    Strided::rows(dt, lanes),
                    a,
                    cols,
                    rows,
                    cols,
                    true,
                );
            };
            let chunks = dx
                .data
                .par_chunks_mut(ROWS * cols)
                .zip(dt.par_chunks(ROWS * lanes))
                .enumerate();
            chunks.for_each(|(i, (rows, dt))| match &factors {
                None => add(rows, dt),
                Some(factors) => {
                    let mut share = vec![0.0; rows.len()];
                    add(&mut share, dt);
                    let factors = &factors[i * ROWS * cols..];
                    rows.iter_mut()
                        .zip(share)
                        .zip(factors)
                        .for_each(|((dx, s), f)| *dx += s * f);
                }
            });
        }
    }

    fn first_layer(&self) -> usize {
        self.modules.keys().next().map_or(usize::MAX, |id| id.layer)
    }
}
