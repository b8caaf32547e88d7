//! An adapter that is being trained, in device memory: F32 numbers and gradients, and a copy of 16
//! bits for the products. The host's [`Trainable`] that it was made from stays the one that
//! checkpoints are written from.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::trainable::{DropoutKey, Trainable};
use super::lists::Lists;
use crate::gpu::{Arg, Buffer, Cuda, Grid};
use crate::model::{LayerSite, ModelError, Projection, Site};

/// The matrices of one projection, as the host has them.
struct HostPart<'a> {
    /// The product that the projection is part of.
    place: LayerSite,
    /// First of its columns in the product's result.
    output: usize,
    /// alpha / rank, or alpha / sqrt(rank).
    scale: f32,
    /// Names the projection in dropout's draws.
    module: u32,
    rank: usize,
    /// `A`, `[rank, in]`.
    a: &'a [f32],
    /// `B^T`, `[rank, out]`.
    b: &'a [f32],
}

/// The matrices of one projection, on the device.
pub(super) struct Part {
    pub output: usize,
    pub outputs: usize,
    pub scale: f32,
    pub module: u32,
    pub rank: usize,
    /// First of its columns in the product with all A of the site.
    pub first: usize,
    /// Where its numbers are among all.
    pub a_at: usize,
    pub b_at: usize,
}

/// The projections that share an input.
pub(super) struct SiteParts {
    pub inputs: usize,
    /// Sum of the ranks.
    pub width: usize,
    pub parts: Vec<Part>,
}

/// All trained matrices on a GPU. Lists of the host are in the order of [`Trainable::matrices`].
pub struct GpuTrainable {
    pub(super) cuda: Cuda,
    pub(super) sites: BTreeMap<LayerSite, SiteParts>,
    pub(super) half: Arc<Buffer>,
    pub(super) gradients: Buffer,
    values: Buffer,
    lists: Lists,
    /// Share of A's inputs that training drops.
    pub(super) rate: f32,
    /// Draws of the present micro-batch; `None` while validating.
    pub(super) dropout_key: Option<DropoutKey>,
}

/// What an update of the matrices reads and writes: as many F32 numbers each, and as many of 16
/// bits.
pub(crate) struct TrainedNumbers<'a> {
    pub cuda: &'a Cuda,
    pub lists: &'a Lists,
    pub values: &'a Buffer,
    pub gradients: &'a Buffer,
    pub half: &'a Buffer,
}

impl GpuTrainable {
    /// Uploads matrices; gradients are zero.
    ///
    /// # Errors
    /// The GPU's memory is full.
    pub fn new(cuda: &Cuda, host: &Trainable) -> Result<Self, ModelError> {
        let parts: Vec<HostPart<'_>> = host
            .modules()
            .map(|(id, module)| HostPart {
                place: LayerSite {
                    layer: id.layer,
                    site: Site::of(id.projection),
                },
                output: module.output(),
                scale: module.scale,
                module: (id.layer * Projection::ALL.len()) as u32 + id.projection as u32,
                rank: module.rank,
                a: &module.a.value,
                b: &module.b.value,
            })
            .collect();
        let mut by_place: BTreeMap<LayerSite, Vec<usize>> = BTreeMap::new();
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
            let mut site = SiteParts {
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
        let trainable = GpuTrainable {
            values: cuda.alloc(count * 4)?,
            half: Arc::new(cuda.alloc(count * 2)?),
            gradients: cuda.alloc(count * 4)?,
            cuda: cuda.clone(),
            sites,
            lists: Lists::new(order),
            rate: host.dropout(),
            dropout_key: None,
        };
        let values: Vec<&[f32]> = parts.iter().flat_map(|p| [p.a, p.b]).collect();
        trainable.lists.write(cuda, &trainable.values, &values);
        trainable.copy_half();
        cuda.clear(&trainable.gradients);
        Ok(trainable)
    }

    fn copy_half(&self) {
        let count = self.lists.count();
        let args = [
            self.values.holds(count * 4),
            self.half.holds(count * 2),
            Arg::Word(count as u32),
        ];
        // SAFETY: `half_copy_of(values, half, n)` reads n F32 numbers, and writes n of 16 bits.
        unsafe { self.cuda.launch("half_copy_of", Grid::flat(count), &args) };
    }

    /// The matrices.
    pub fn values(&self) -> Vec<Vec<f32>> {
        self.lists.read(&self.cuda, &self.values)
    }

    /// The gradients added up so far.
    pub fn gradients(&self) -> Vec<Vec<f32>> {
        self.lists.read(&self.cuda, &self.gradients)
    }

    /// Takes over gradients.
    ///
    /// # Panics
    /// When they are of other matrices.
    pub fn set_gradients(&mut self, gradients: &[&[f32]]) {
        self.lists.write(&self.cuda, &self.gradients, gradients);
    }

    /// Sets every gradient to zero.
    pub fn clear_gradients(&mut self) {
        self.cuda.clear(&self.gradients);
    }

    /// Sets where dropout's draws are; `None` while validating.
    pub fn set_dropout(&mut self, key: Option<DropoutKey>) {
        self.dropout_key = key;
    }

    /// Copies the matrices to the host's.
    pub fn fetch(&self, host: &mut Trainable) {
        let values = self.values();
        host.update(|i, matrix| matrix.value.copy_from_slice(&values[i]));
    }

    /// Copies the gradients to the host's.
    pub fn fetch_gradients(&self, host: &mut Trainable) {
        let gradients = self.gradients();
        host.update(|i, matrix| matrix.gradient.copy_from_slice(&gradients[i]));
    }

    /// For an optimizer.
    pub(crate) fn numbers(&self) -> TrainedNumbers<'_> {
        TrainedNumbers {
            cuda: &self.cuda,
            lists: &self.lists,
            values: &self.values,
            gradients: &self.gradients,
            half: &self.half,
        }
    }
}
