//! Adapters that answer: several in memory, each row of a batch with one of them or none.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::OnceLock;

use rayon::prelude::*;

use super::{Adapter, LowRankPair};
use crate::model::cpu::{Strided, small_product};
use crate::model::{LayerSite, LowRank, Mat, ModelConfig, ModuleId, Projection, Site};

/// Lanes of the kernel that a rank is padded to.
pub(super) const LANES: usize = 16;
/// Rows that one task takes.
const ROWS: usize = 16;

/// One projection's low-rank part.
struct Part {
    /// First of its columns in the shared product with A.
    first: usize,
    rank: usize,
    /// First of its columns in the site's result.
    output: usize,
    /// `B^T`, `[rank, out]`.
    b: Vec<f32>,
    out: usize,
}

/// The low-rank parts of the projections that share an input: one product with all their A.
struct SiteParts {
    /// `scale * A^T` of all parts side by side, `[in, width]`.
    a: Vec<f32>,
    width: usize,
    parts: Vec<Part>,
}

/// An adapter in memory, laid out for a device's kernels when it is first used there.
pub struct LoadedAdapter {
    modules: BTreeMap<ModuleId, LowRankPair>,
    config: ModelConfig,
    places: OnceLock<BTreeMap<LayerSite, SiteParts>>,
}

impl LoadedAdapter {
    /// Takes over an adapter; `scale` multiplies the adapter's own.
    pub fn new(adapter: &Adapter, config: &ModelConfig, scale: f32) -> Self {
        let mut modules = adapter.modules.clone();
        modules.values_mut().for_each(|m| m.scale *= scale);
        LoadedAdapter {
            modules,
            config: config.clone(),
            places: OnceLock::new(),
        }
    }

    /// Its projections at a place, each with the first of its columns in the site's result.
    fn at(&self, place: LayerSite) -> Vec<(usize, Projection, &LowRankPair)> {
        let mut output = 0;
        let mut found = Vec::new();
        for &projection in place.site.projections() {
            let id = ModuleId {
                layer: place.layer,
                projection,
            };
            if let Some(module) = self.modules.get(&id) {
                found.push((output, projection, module));
            }
            output += projection.out_features(&self.config);
        }
        found
    }

    fn all_places(&self) -> impl Iterator<Item = LayerSite> {
        (0..self.config.num_hidden_layers)
            .flat_map(|layer| Site::ALL.map(|site| LayerSite { layer, site }))
    }

    /// The layout of the CPU's kernels.
    fn places(&self) -> &BTreeMap<LayerSite, SiteParts> {
        self.places.get_or_init(|| {
            let mut places = BTreeMap::new();
            for place in self.all_places() {
                let found = self.at(place);
                if found.is_empty() {
                    continue;
                }
                let inputs = place.site.projections()[0].in_features(&self.config);
                let ranks: usize = found.iter().map(|(_, _, m)| m.rank).sum();
                let width = ranks.next_multiple_of(LANES);
                let (mut a, mut parts, mut first) = (vec![0.0; inputs * width], Vec::new(), 0);
                for (output, projection, module) in found {
                    for (r, row) in module.a.chunks_exact(inputs).enumerate() {
                        for (i, value) in row.iter().enumerate() {
                            a[i * width + first + r] = value * module.scale;
                        }
                    }
                    parts.push(Part {
                        first,
                        rank: module.rank,
                        output,
                        b: transposed(&module.b, module.rank),
                        out: projection.out_features(&self.config),
                    });
                    first += module.rank;
                }
                places.insert(place, SiteParts { a, width, parts });
            }
            places
        })
    }

    /// The matrices as a GPU takes them.
    #[cfg(feature = "gpu")]
    pub(super) fn site_factors(&self) -> Vec<super::gpu::SiteFactors> {
        let site = |place: LayerSite| {
            let found = self.at(place);
            let scaled = |(_, _, m): &(usize, Projection, &LowRankPair)| -> Vec<f32> {
                m.a.iter().map(|value| value * m.scale).collect()
            };
            (!found.is_empty()).then(|| super::gpu::SiteFactors {
                place,
                inputs: place.site.projections()[0].in_features(&self.config),
                a: found.iter().flat_map(scaled).collect(),
                parts: found
                    .iter()
                    .map(|(output, _, m)| (m.rank, *output, transposed(&m.b, m.rank)))
                    .collect(),
            })
        };
        self.all_places().filter_map(site).collect()
    }
}

/// The transpose of a row-major matrix of `cols` columns.
pub(super) fn transposed(x: &[f32], cols: usize) -> Vec<f32> {
    let rows = x.len() / cols;
    (0..x.len())
        .map(|i| x[i % rows * cols + i / rows])
        .collect()
}

/// Which adapter each row of a batch has.
pub struct BatchAdapters<'a> {
    adapters: &'a [LoadedAdapter],
    /// Neighbouring rows of one adapter.
    runs: Vec<(usize, Range<usize>)>,
}

impl<'a> BatchAdapters<'a> {
    /// `rows` names each row's adapter by its place in `adapters`; `None` is the base.
    pub fn new(adapters: &'a [LoadedAdapter], rows: &[Option<usize>]) -> Self {
        let mut runs: Vec<(usize, Range<usize>)> = Vec::new();
        for (row, adapter) in rows.iter().enumerate() {
            let Some(adapter) = *adapter else { continue };
            match runs.last_mut() {
                Some((last, range))
                    if *last == adapter && range.end == row && range.len() < ROWS =>
                {
                    range.end += 1
                }
                _ => runs.push((adapter, row..row + 1)),
            }
        }
        BatchAdapters { adapters, runs }
    }
}

impl LowRank for BatchAdapters<'_> {
    fn add(&mut self, place: LayerSite, x: &Mat, y: &mut Mat) {
        let cols = y.cols;
        let mut rest = y.data.as_mut_slice();
        let mut at = 0;
        let mut jobs = Vec::with_capacity(self.runs.len());
        for (adapter, rows) in &self.runs {
            let (_, tail) = rest.split_at_mut((rows.start - at) * cols);
            let (mine, tail) = tail.split_at_mut(rows.len() * cols);
            (rest, at) = (tail, rows.end);
            if let Some(parts) = self.adapters[*adapter].places().get(&place) {
                jobs.push((parts, rows.clone(), mine));
            }
        }
        jobs.into_par_iter().for_each(|(site, rows, y)| {
            let m = rows.len();
            let mut t = vec![0.0; m * site.width];
            let x = &x.data[rows.start * x.cols..rows.end * x.cols];
            let inputs = x.len() / m;
            small_product(
                m,
                site.width,
                inputs,
                Strided::rows(x, inputs),
                &site.a,
                site.width,
                &mut t,
                site.width,
                false,
            );
            for part in &site.parts {
                let t = Strided::rows(&t[part.first..], site.width);
                small_product(
                    m,
                    part.out,
                    part.rank,
                    t,
                    &part.b,
                    part.out,
                    &mut y[part.output..],
                    cols,
                    true,
                );
            }
        });
    }
}
