//! An adapter that is being trained, in device memory: F32 numbers, gradients, and moments, and a
//! copy of 16 bits for the products.
//!
//! `y += s (x A^T) B^T`; with `g = dy`: `dB = s g^T (x A^T)`, `d(xA^T) = s g B`, `dA = (s g B)^T x`,
//! `dx += s g B A` (Hu et al. 2021), every sum formed inside a product that adds to its result.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::factored::{Factored, FactoredPart};
use super::mat::CudaMat;
use crate::gpu::Buffer;
use crate::gpu::{Arg, Cuda};
use crate::gpu::{Operand, Product};
use crate::model::ModelError;
use crate::model::layers::{LowRank, LowRankGradient, Place, Share};
use crate::random::Purpose;

/// Sums that the squares of all gradients are added up in, in a fixed order.
const SQUARE_SUMS: usize = 512;

/// The matrices of one projection, as the host has them.
pub struct FactorPart {
    /// The product that the projection is part of.
    pub place: Place,
    /// First of its columns in the product's result.
    pub output: usize,
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
    half: Arc<Buffer>,
    gradients: Buffer,
    moments: [Buffer; 2],
    /// Where the gradients' squares are summed: an update takes no memory, so it cannot be refused
    /// any.
    squares: Buffer,
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
        let single = || cuda.alloc(count * 4);
        let factors = Factors {
            values: single()?,
            half: Arc::new(cuda.alloc(count * 2)?),
            gradients: single()?,
            moments: [single()?, single()?],
            squares: cuda.alloc(SQUARE_SUMS * 4)?,
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
            cuda.clear(buffer);
        }
        Ok(factors)
    }

    fn write(&self, buffer: &Buffer, lists: &[&[f32]]) {
        for (&(at, len), list) in self.order.iter().zip(lists) {
            assert_eq!(len, list.len());
            self.cuda.write(buffer, at * 4, list);
        }
    }

    fn read(&self, buffer: &Buffer) -> Vec<Vec<f32>> {
        let all: Vec<f32> = self.cuda.read(buffer, 0, self.count);
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
        self.cuda.clear(&self.gradients);
    }

    /// Euclidean norm of all gradients together.
    pub fn gradient_norm(&self) -> f64 {
        self.cuda.launch(
            "square_sums",
            (SQUARE_SUMS, 1, 1),
            256,
            0,
            &[
                Arg::Pointer(self.gradients.address()),
                Arg::Pointer(self.squares.address()),
                Arg::Word(self.count as u32),
            ],
        );
        let sums: Vec<f32> = self.cuda.read(&self.squares, 0, SQUARE_SUMS);
        let sum: f64 = sums.iter().map(|&s| f64::from(s)).sum();
        sum.sqrt()
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
                room = CudaMat::room(&self.cuda, x.rows, x.cols);
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

    /// `s x A^T` of all parts, side by side.
    fn inner(&self, site: &Site, x: &CudaMat) -> CudaMat {
        let t = CudaMat::room(&self.cuda, x.rows, site.width);
        for (x, parts) in self.inputs(site, x) {
            for alike in parts.chunk_by(|a, b| a.scale.to_bits() == b.scale.to_bits()) {
                self.multiply(
                    (x.rows, alike.iter().map(|p| p.rank).sum(), site.inputs),
                    x.operand(),
                    self.half_at(alike[0].a_at, site.inputs, true),
                    (t.columns(alike[0].first).address, t.stride, false),
                    alike[0].scale,
                    false,
                );
            }
        }
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
        self.cuda.multiply(&Product {
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

impl Factors {
    fn without_dropout(&self) -> bool {
        self.dropout.is_none_or(|d| d.rate == 0.0)
    }

    /// Adds up the gradients of a site, and returns that by `x A^T`, the parts side by side.
    fn gradients_of(
        &self,
        site: &Site,
        x: &CudaMat,
        kept: Option<&Factored>,
        dy: &CudaMat,
    ) -> CudaMat {
        let again;
        let t = if let Some(share) = kept {
            &share.t
        } else {
            again = self.inner(site, x);
            &again
        };
        let rows = x.rows;
        let gradient = |at: usize| self.gradients.address() + 4 * at as u64;
        let dt = CudaMat::room(&self.cuda, rows, site.width);
        // What has 16 bits is scaled, and what is added up is not.
        let unscale = 1.0 / self.cuda.half_type().loss_scale();
        for part in &site.parts {
            let g = dy.columns(part.output);
            self.multiply(
                (part.rank, part.outputs, rows),
                t.columns(part.first).turned(),
                g,
                (gradient(part.b_at), part.outputs, true),
                unscale,
                true,
            );
            self.multiply(
                (rows, part.rank, part.outputs),
                g,
                self.half_at(part.b_at, part.outputs, true),
                (dt.columns(part.first).address, dt.stride, false),
                part.scale,
                false,
            );
        }
        for (x, parts) in self.inputs(site, x) {
            self.multiply(
                (parts.iter().map(|p| p.rank).sum(), site.inputs, rows),
                dt.columns(parts[0].first).turned(),
                x.operand(),
                (gradient(parts[0].a_at), site.inputs, true),
                unscale,
                true,
            );
        }
        dt
    }

    /// The share of `dx`, given the gradient by `x A^T`: all A lie one below the other.
    fn share_of(&self, site: &Site, dt: CudaMat) -> Factored {
        Factored {
            t: dt,
            parts: vec![FactoredPart {
                first: 0,
                rank: site.width,
                at: 2 * site.parts[0].a_at as u64,
                output: 0,
                outputs: site.inputs,
            }],
            held: self.half.clone(),
        }
    }
}

impl LowRank<Cuda> for Factors {
    fn add(&mut self, place: Place, x: &CudaMat, y: &mut CudaMat) {
        if let Share::Factored(share) = self.begin(place, x) {
            self.cuda.multiply_out(&share, y, true);
        }
    }

    fn begin(&mut self, place: Place, x: &CudaMat) -> Share<Cuda> {
        let Some(site) = self.sites.get(&place) else {
            return Share::Nothing;
        };
        let of = |part: &Part| FactoredPart {
            first: part.first,
            rank: part.rank,
            at: 2 * part.b_at as u64,
            output: part.output,
            outputs: part.outputs,
        };
        Share::Factored(Factored {
            t: self.inner(site, x),
            parts: site.parts.iter().map(of).collect(),
            held: self.half.clone(),
        })
    }

    fn reads(&self, place: Place) -> bool {
        self.sites.contains_key(&place)
    }
}

impl LowRankGradient<Cuda> for Factors {
    fn backward(
        &mut self,
        place: Place,
        x: &CudaMat,
        kept: Option<&Factored>,
        dy: &CudaMat,
        dx: Option<&mut CudaMat>,
    ) {
        let Some(site) = self.sites.get(&place) else {
            return;
        };
        let dt = self.gradients_of(site, x, kept, dy);
        let Some(dx) = dx else {
            return;
        };
        let Some(dropout) = self.dropout.filter(|d| d.rate > 0.0) else {
            self.cuda.multiply_out(&self.share_of(site, dt), dx, true);
            return;
        };
        for part in &site.parts {
            let share = CudaMat::room(&self.cuda, x.rows, site.inputs);
            self.multiply(
                (x.rows, site.inputs, part.rank),
                dt.columns(part.first),
                self.half_at(part.a_at, site.inputs, false),
                (share.buffer.address(), share.stride, false),
                1.0,
                false,
            );
            self.dropped(&share, part, dropout, Some(&*dx));
        }
    }

    fn begin_backward(
        &mut self,
        place: Place,
        x: &CudaMat,
        kept: Option<&Factored>,
        dy: &CudaMat,
    ) -> Option<Factored> {
        let site = self.sites.get(&place).filter(|_| self.without_dropout())?;
        let dt = self.gradients_of(site, x, kept, dy);
        Some(self.share_of(site, dt))
    }

    fn first_layer(&self) -> usize {
        self.sites.keys().next().map_or(usize::MAX, |p| p.layer)
    }
}
