//! An adapter that is being trained, in device memory: F32 numbers, gradients, and moments, and a
//! bf16 copy for the products.
//!
//! `y += s (x A^T) B^T`; with `g = dy`: `dB = s g^T (x A^T)`, `d(xA^T) = s g B`, `dA = (s g B)^T x`,
//! `dx += s g B A` (Hu et al. 2021), every sum formed inside a product that adds to its result.

use std::collections::BTreeMap;

use super::context::{Arg, Cuda};
use super::gemm::{Operand, Product};
use super::mat::CudaMat;
use super::memory::Buffer;
use crate::model::ModelError;
use crate::model::layers::{LowRank, LowRankGradient, Place};
use crate::random::Purpose;

/// The matrices of one projection, as the host has them.
pub struct FactorPart {
    /// The product that the projection is part of.
    pub place: Place,
    /// First of its columns in the product's result.
    pub output: usize,
    /// Columns of the product's result.
    pub all_outputs: usize,
    /// alpha / rank, or alpha / sqrt(rank).
    pub scale: f32,
    /// Names the projection in dropout's draws.
    pub module: u32,
    /// Rank.
    pub rank: usize,
    /// `A`, `[rank, in]`.
    pub a: Vec<f32>,
    /// `B^T`, `[rank, out]`.
    pub b: Vec<f32>,
}

struct Part {
    output: usize,
    outputs: usize,
    scale: f32,
    module: u32,
    rank: usize,
    /// First of its columns in the product with all A of the site.
    first: usize,
    /// Where its numbers are among all.
    a_at: usize,
    b_at: usize,
}

struct Site {
    inputs: usize,
    /// Columns of the product's result.
    outputs: usize,
    /// Sum of the ranks.
    width: usize,
    parts: Vec<Part>,
}

/// Where dropout's draws are.
#[derive(Debug, Clone, Copy)]
pub struct Dropout {
    /// Share of A's inputs that is dropped.
    pub rate: f32,
    /// The run's seed.
    pub seed: u64,
    /// Optimizer step.
    pub step: u32,
    /// Micro-batch of the step.
    pub micro_batch: u32,
}

/// One optimizer step's numbers, as [`crate::train`]'s optimizer forms them.
#[derive(Debug, Clone, Copy)]
pub struct Update {
    /// Multiplies every gradient first.
    pub gradient_scale: f32,
    /// 1 - beta1.
    pub new_first: f32,
    /// beta2.
    pub old_second: f32,
    /// 1 - beta2.
    pub new_second: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// 1 - learning rate * weight decay.
    pub decay: f32,
    /// learning rate / (1 - beta1^t).
    pub step: f32,
    /// sqrt(1 - beta2^t).
    pub correction: f32,
}

/// All trained matrices. Lists of the host run over parts in the order given: A, then B^T.
pub struct Factors {
    cuda: Cuda,
    sites: BTreeMap<Place, Site>,
    /// Place and length of each list.
    order: Vec<(usize, usize)>,
    count: usize,
    values: Buffer,
    half: Buffer,
    gradients: Buffer,
    moments: [Buffer; 2],
    /// Draws of the present micro-batch; `None` while validating.
    pub dropout: Option<Dropout>,
}

impl Factors {
    /// Uploads matrices; moments and gradients are zero.
    ///
    /// # Errors
    /// The device's memory is full.
    pub fn new(cuda: &Cuda, parts: &[FactorPart]) -> Result<Self, ModelError> {
        let mut by_place: BTreeMap<Place, Vec<usize>> = BTreeMap::new();
        for (i, part) in parts.iter().enumerate() {
            by_place.entry(part.place).or_default().push(i);
        }
        let mut order = vec![(0, 0); 2 * parts.len()];
        let (mut count, mut sites) = (0, BTreeMap::new());
        let mut take = |place: &mut (usize, usize), len: usize| {
            *place = (count, len);
            count += len;
        };
        for (place, members) in by_place {
            // The site's A lie one below the other: one product has all of them.
            for &i in &members {
                take(&mut order[2 * i], parts[i].a.len());
            }
            for &i in &members {
                take(&mut order[2 * i + 1], parts[i].b.len());
            }
            let mut site = Site {
                inputs: parts[members[0]].a.len() / parts[members[0]].rank,
                outputs: parts[members[0]].all_outputs,
                width: 0,
                parts: Vec::new(),
            };
            for &i in &members {
                let part = &parts[i];
                site.parts.push(Part {
                    output: part.output,
                    outputs: part.b.len() / part.rank,
                    scale: part.scale,
                    module: part.module,
                    rank: part.rank,
                    first: site.width,
                    a_at: order[2 * i].0,
                    b_at: order[2 * i + 1].0,
                });
                site.width += part.rank;
            }
            sites.insert(place, site);
        }
        let single = || cuda.0.alloc(count * 4);
        let factors = Factors {
            values: single()?,
            half: cuda.0.alloc(count * 2)?,
            gradients: single()?,
            moments: [single()?, single()?],
            cuda: cuda.clone(),
            sites,
            order,
            count,
            dropout: None,
        };
        let lists: Vec<&[f32]> = parts
            .iter()
            .flat_map(|p| [p.a.as_slice(), p.b.as_slice()])
            .collect();
        factors.write(&factors.values, &lists);
        factors.copy_half();
        for buffer in [&factors.gradients, &factors.moments[0], &factors.moments[1]] {
            cuda.0.clear(buffer);
        }
        Ok(factors)
    }

    fn write(&self, buffer: &Buffer, lists: &[&[f32]]) {
        for (&(at, len), list) in self.order.iter().zip(lists) {
            assert_eq!(len, list.len());
            self.cuda.0.write(buffer, at * 4, list);
        }
    }

    fn read(&self, buffer: &Buffer) -> Vec<Vec<f32>> {
        let all: Vec<f32> = self.cuda.0.read(buffer, 0, self.count);
        let list = |&(at, len): &(usize, usize)| all[at..at + len].to_vec();
        self.order.iter().map(list).collect()
    }

    fn copy_half(&self) {
        self.cuda.flat_kernel(
            "half_copy_of",
            self.count,
            &[
                Arg::Pointer(self.values.address()),
                Arg::Pointer(self.half.address()),
                Arg::Word(self.count as u32),
            ],
        );
    }

    /// The matrices.
    pub fn values(&self) -> Vec<Vec<f32>> {
        self.read(&self.values)
    }

    /// The gradients added up so far.
    pub fn gradients(&self) -> Vec<Vec<f32>> {
        self.read(&self.gradients)
    }

    /// The first and second moments.
    pub fn moments(&self) -> [Vec<Vec<f32>>; 2] {
        [self.read(&self.moments[0]), self.read(&self.moments[1])]
    }

    /// Takes over moments.
    ///
    /// # Panics
    /// When they are of other matrices.
    pub fn set_moments(&mut self, first: &[&[f32]], second: &[&[f32]]) {
        self.write(&self.moments[0], first);
        self.write(&self.moments[1], second);
    }

    /// Takes over gradients.
    ///
    /// # Panics
    /// When they are of other matrices.
    pub fn set_gradients(&mut self, gradients: &[&[f32]]) {
        self.write(&self.gradients, gradients);
    }

    /// Sets every gradient to zero.
    pub fn clear_gradients(&mut self) {
        self.cuda.0.clear(&self.gradients);
    }

    /// Euclidean norm of all gradients together.
    pub fn gradient_norm(&self) -> f64 {
        self.cuda.square_sum(&self.gradients, self.count).sqrt()
    }

    /// One step of AdamW with the gradients as they are.
    pub fn update(&mut self, update: &Update) {
        self.cuda.flat_kernel(
            "adamw",
            self.count,
            &[
                Arg::Pointer(self.values.address()),
                Arg::Pointer(self.gradients.address()),
                Arg::Pointer(self.moments[0].address()),
                Arg::Pointer(self.moments[1].address()),
                Arg::Pointer(self.half.address()),
                Arg::Word(self.count as u32),
                Arg::Float(update.gradient_scale),
                Arg::Float(update.new_first),
                Arg::Float(update.old_second),
                Arg::Float(update.new_second),
                Arg::Float(update.epsilon),
                Arg::Float(update.decay),
                Arg::Float(update.step),
                Arg::Float(update.correction),
            ],
        );
    }

    fn half_at(&self, at: usize, stride: usize, transposed: bool) -> Operand {
        Operand {
            address: self.half.address() + 2 * at as u64,
            stride,
            transposed,
        }
    }

    /// `x` with a module's dropout.
    fn dropped(
        &self,
        x: &CudaMat,
        part: &Part,
        dropout: Dropout,
        into: Option<&CudaMat>,
    ) -> CudaMat {
        let room;
        let (y, accumulate) = match into {
            Some(y) => (y, 1),
            None => {
                room = CudaMat::room(&self.cuda.0, x.rows, x.cols);
                (&room, 0)
            }
        };
        let blocks = x.plane() / 4;
        self.cuda.flat_kernel(
            "dropped",
            blocks,
            &[
                x.pointer(),
                y.pointer(),
                Arg::Long(blocks as u64),
                Arg::Word(dropout.seed as u32),
                Arg::Word((dropout.seed >> 32) as u32),
                Arg::Word(part.module),
                Arg::Word(dropout.step),
                Arg::Word((dropout.micro_batch << 8) | Purpose::Dropout as u32),
                Arg::Float(dropout.rate),
                Arg::Float(1.0 / (1.0 - dropout.rate)),
                Arg::Int(accumulate),
            ],
        );
        y.same()
    }

    /// Groups of parts that share their input: all of a site, or with dropout each its own.
    fn inputs<'a>(&self, site: &'a Site, x: &CudaMat) -> Vec<(CudaMat, &'a [Part])> {
        match self.dropout.filter(|d| d.rate > 0.0) {
            None => vec![(x.same(), &site.parts[..])],
            Some(dropout) => site
                .parts
                .iter()
                .map(|p| (self.dropped(x, p, dropout, None), std::slice::from_ref(p)))
                .collect(),
        }
    }

    /// `x A^T` of neighbouring parts.
    fn inner(&self, site: &Site, parts: &[Part], x: &CudaMat) -> CudaMat {
        let width = parts.iter().map(|p| p.rank).sum();
        let t = CudaMat::room(&self.cuda.0, x.rows, width);
        self.multiply(
            (x.rows, width, site.inputs),
            x.operand(),
            self.half_at(parts[0].a_at, site.inputs, true),
            (t.buffer.address(), t.stride, false),
            1.0,
            false,
        );
        t
    }

    fn multiply(
        &self,
        (m, n, k): (usize, usize, usize),
        x: Operand,
        y: Operand,
        (out, out_stride, out_f32): (u64, usize, bool),
        alpha: f32,
        accumulate: bool,
    ) {
        self.cuda.0.multiply(&Product {
            m,
            n,
            k,
            x,
            y,
            out,
            out_stride,
            out_f32,
            alpha,
            accumulate,
            bias: 0,
            chosen_for: None,
        });
    }
}

/// Columns of a bf16 matrix from one on.
fn columns(x: &CudaMat, first: usize, transposed: bool) -> Operand {
    let whole = x.operand();
    Operand {
        address: whole.address + 2 * first as u64,
        transposed,
        ..whole
    }
}

impl Factors {
    /// Adds the low-rank product to `y`, or writes it.
    fn add_to(&self, site: &Site, x: &CudaMat, y: &CudaMat, accumulate: bool) {
        let size = if y.planes > 0 { 4 } else { 2 };
        for (x, parts) in self.inputs(site, x) {
            let t = self.inner(site, parts, &x);
            for part in parts {
                self.multiply(
                    (x.rows, part.outputs, part.rank),
                    columns(&t, part.first - parts[0].first, false),
                    self.half_at(part.b_at, part.outputs, false),
                    (
                        y.buffer.address() + (size * part.output) as u64,
                        y.stride,
                        y.planes > 0,
                    ),
                    part.scale,
                    accumulate,
                );
            }
        }
    }

    fn without_dropout(&self) -> bool {
        self.dropout.is_none_or(|d| d.rate == 0.0)
    }

    /// Adds up the gradients of a site; the share of `dx` is added to it, or written.
    fn gradients_of(
        &self,
        site: &Site,
        x: &CudaMat,
        dy: &CudaMat,
        dx: Option<&CudaMat>,
        accumulate: bool,
    ) {
        let rows = x.rows;
        let gradient = |at: usize| self.gradients.address() + 4 * at as u64;
        for (x, parts) in self.inputs(site, x) {
            let t = self.inner(site, parts, &x);
            let dt = CudaMat::room(&self.cuda.0, rows, t.cols);
            let before = parts[0].first;
            for part in parts {
                let g = columns(dy, part.output, false);
                self.multiply(
                    (part.rank, part.outputs, rows),
                    columns(&t, part.first - before, true),
                    g,
                    (gradient(part.b_at), part.outputs, true),
                    part.scale,
                    true,
                );
                self.multiply(
                    (rows, part.rank, part.outputs),
                    g,
                    self.half_at(part.b_at, part.outputs, true),
                    (
                        dt.buffer.address() + 2 * (part.first - before) as u64,
                        dt.stride,
                        false,
                    ),
                    part.scale,
                    false,
                );
            }
            self.multiply(
                (t.cols, site.inputs, rows),
                columns(&dt, 0, true),
                columns(&x, 0, false),
                (gradient(parts[0].a_at), site.inputs, true),
                1.0,
                true,
            );
            let Some(dx) = dx else {
                continue;
            };
            let a = self.half_at(parts[0].a_at, site.inputs, false);
            let shape = (rows, site.inputs, t.cols);
            match self.dropout.filter(|d| d.rate > 0.0) {
                None => self.multiply(
                    shape,
                    columns(&dt, 0, false),
                    a,
                    (dx.buffer.address(), dx.stride, false),
                    1.0,
                    accumulate,
                ),
                Some(dropout) => {
                    let share = CudaMat::room(&self.cuda.0, rows, site.inputs);
                    self.multiply(
                        shape,
                        columns(&dt, 0, false),
                        a,
                        (share.buffer.address(), share.stride, false),
                        1.0,
                        false,
                    );
                    self.dropped(&share, &parts[0], dropout, Some(dx));
                }
            }
        }
    }
}

impl LowRank<Cuda> for Factors {
    fn add(&mut self, place: Place, x: &CudaMat, y: &mut CudaMat) {
        if let Some(site) = self.sites.get(&place) {
            self.add_to(site, x, y, true);
        }
    }

    fn begin(&mut self, place: Place, x: &CudaMat) -> Option<CudaMat> {
        // What scores are made of is F32, and this would be bf16.
        let site = self
            .sites
            .get(&place)
            .filter(|_| place.site != crate::model::Site::Qkv)?;
        let covered: usize = site.parts.iter().map(|p| p.outputs).sum();
        let y = (covered == site.outputs).then(|| CudaMat::room(&self.cuda.0, x.rows, covered))?;
        self.add_to(site, x, &y, false);
        Some(y)
    }

    fn reads(&self, place: Place) -> bool {
        self.sites.contains_key(&place)
    }
}

impl LowRankGradient<Cuda> for Factors {
    fn backward(&mut self, place: Place, x: &CudaMat, dy: &CudaMat, dx: Option<&mut CudaMat>) {
        if let Some(site) = self.sites.get(&place) {
            self.gradients_of(site, x, dy, dx.as_deref(), true);
        }
    }

    fn begin_backward(&mut self, place: Place, x: &CudaMat, dy: &CudaMat) -> Option<CudaMat> {
        let site = self.sites.get(&place).filter(|_| self.without_dropout())?;
        let dx = CudaMat::room(&self.cuda.0, x.rows, site.inputs);
        self.gradients_of(site, x, dy, Some(&dx), false);
        Some(dx)
    }

    fn first_layer(&self) -> usize {
        self.sites.keys().next().map_or(usize::MAX, |p| p.layer)
    }
}
