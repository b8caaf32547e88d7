//! The products of an adapter that is being trained on a GPU, forward and backward.
//!
//! `y += s (x A^T) B^T`; with `g = dy`: `dB = s g^T (x A^T)`, `d(xA^T) = s g B`, `dA = (s g B)^T x`,
//! `dx += s g B A` (Hu et al. 2021), every sum formed inside a product that adds to its result.

use super::super::trainable::DropoutKey;
use super::trainable::{GpuTrainable, Part, SiteParts};
use crate::gpu::{Arg, Cuda, Grid, Operand, Product};
use crate::model::cuda::{CudaMat, Factored, FactoredPart};
use crate::model::{LayerSite, LowRank, LowRankGradient, Share};
use crate::random::Purpose;

impl GpuTrainable {
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
        key: DropoutKey,
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
        assert!(x.planes == 0 && x.is_like(y) && x.rows == y.rows, "16 bits");
        let args = [
            x.pointer(),
            y.pointer(),
            Arg::Long(blocks as u64),
            Arg::Word(key.seed as u32),
            Arg::Word((key.seed >> 32) as u32),
            Arg::Word(part.module),
            Arg::Word(key.step),
            Arg::Word((key.micro_batch << 8) | Purpose::Dropout as u32),
            Arg::Float(self.rate),
            Arg::Float(1.0 / (1.0 - self.rate)),
            Arg::Int(accumulate),
        ];
        // SAFETY: `dropped(x, y, n4, k0, k1, module, step, last, rate, keep, accumulate)` reads and
        // writes so many times four numbers of 16 bits.
        unsafe { self.cuda.launch("dropped", Grid::flat(blocks), &args) };
        y.same()
    }

    /// Groups of parts that share their input: all of a site, or with dropout each its own.
    fn inputs<'a>(&self, site: &'a SiteParts, x: &CudaMat) -> Vec<(CudaMat, &'a [Part])> {
        match self.dropout() {
            None => vec![(x.same(), &site.parts[..])],
            Some(key) => site
                .parts
                .iter()
                .map(|p| (self.dropped(x, p, key, None), std::slice::from_ref(p)))
                .collect(),
        }
    }

    /// `s x A^T` of all parts, side by side.
    fn inner(&self, site: &SiteParts, x: &CudaMat) -> CudaMat {
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

impl GpuTrainable {
    /// Where dropout's draws are, where anything is dropped.
    fn dropout(&self) -> Option<DropoutKey> {
        self.dropout_key.filter(|_| self.rate > 0.0)
    }

    /// Adds up the gradients of a site, and returns that by `x A^T`, the parts side by side.
    fn gradients_of(
        &self,
        site: &SiteParts,
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
        let unscale = 1.0 / self.cuda.loss_scale();
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
    fn share_of(&self, site: &SiteParts, dt: CudaMat) -> Factored {
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

impl LowRank<Cuda> for GpuTrainable {
    fn add(&mut self, place: LayerSite, x: &CudaMat, y: &mut CudaMat) {
        if let Share::Factored(share) = self.begin(place, x) {
            self.cuda.multiply_out(&share, y, true);
        }
    }

    fn begin(&mut self, place: LayerSite, x: &CudaMat) -> Share<Cuda> {
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

    fn reads(&self, place: LayerSite) -> bool {
        self.sites.contains_key(&place)
    }
}

impl LowRankGradient<Cuda> for GpuTrainable {
    fn backward(
        &mut self,
        place: LayerSite,
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
        let Some(key) = self.dropout() else {
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
            self.dropped(&share, part, key, Some(&*dx));
        }
    }

    fn begin_backward(
        &mut self,
        place: LayerSite,
        x: &CudaMat,
        kept: Option<&Factored>,
        dy: &CudaMat,
    ) -> Option<Factored> {
        let site = self
            .sites
            .get(&place)
            .filter(|_| self.dropout().is_none())?;
        let dt = self.gradients_of(site, x, kept, dy);
        Some(self.share_of(site, dt))
    }

    fn first_layer(&self) -> usize {
        self.sites.keys().next().map_or(usize::MAX, |p| p.layer)
    }
}
