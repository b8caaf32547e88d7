//! Adapters that answer: several in memory, each row of a batch with one of them or none.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::OnceLock;

use rayon::prelude::*;

use super::beside::{Beside, Outputs};
use super::{Adapter, AdapterPart, LowRankPair, OwnRows};
use crate::model::cpu::{CpuRows, Packed, Strided, product, small_product};
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
    /// What becomes of the frozen product's outputs first.
    outputs: Option<Outputs>,
}

/// Rows of the embedding or of the head as the kernels take them.
enum Table {
    All(Packed),
    Some(BTreeMap<u32, Vec<f32>>),
}

/// An adapter in memory, laid out for a device's kernels when it is first used there.
pub struct LoadedAdapter {
    modules: BTreeMap<ModuleId, LowRankPair>,
    beside: Beside,
    /// How far what stands beside the matrices is taken: 0 is the base, 1 the adapter.
    scale: f32,
    config: ModelConfig,
    places: OnceLock<BTreeMap<LayerSite, SiteParts>>,
    tables: OnceLock<[Option<Table>; 2]>,
}

impl LoadedAdapter {
    /// Takes over an adapter; `scale` multiplies the adapter's own. What it changes beside adding
    /// low-rank products is taken as far too, on the straight line between the base's weights and its
    /// own.
    pub fn new(adapter: &Adapter, config: &ModelConfig, scale: f32) -> Self {
        let mut modules = adapter.modules.clone();
        modules.values_mut().for_each(|m| m.scale *= scale);
        LoadedAdapter {
            modules,
            beside: match scale == 0.0 {
                true => Beside::default(),
                false => adapter.beside.clone(),
            },
            scale,
            config: config.clone(),
            places: OnceLock::new(),
            tables: OnceLock::new(),
        }
    }

    /// As [`LoadedAdapter::new`], with one part switched off: there the base is as it was.
    pub fn without(
        adapter: &Adapter,
        config: &ModelConfig,
        scale: f32,
        part: &AdapterPart,
    ) -> Self {
        let mut loaded = Self::new(adapter, config, scale);
        loaded.modules.retain(|id, _| !part.holds(*id));
        loaded.beside.outputs.retain(|id, _| !part.holds(*id));
        match part {
            AdapterPart::Embedding => loaded.beside.embedding = None,
            AdapterPart::Head => loaded.beside.head = None,
            AdapterPart::Layers { .. } | AdapterPart::Modules(_) => {}
        }
        loaded
    }

    /// Its rows of the embedding, and of the head.
    #[cfg(feature = "gpu")]
    pub(super) fn rows(&self) -> [Option<&OwnRows>; 2] {
        [self.beside.embedding.as_ref(), self.beside.head.as_ref()]
    }

    /// Numbers of such a row, and rows of a whole table.
    #[cfg(feature = "gpu")]
    pub(super) fn table_shape(&self) -> (usize, usize) {
        (self.config.hidden_size, self.config.vocab_size)
    }

    /// How far what stands beside the matrices is taken.
    #[cfg(feature = "gpu")]
    pub(super) fn scale(&self) -> f32 {
        self.scale
    }

    /// What becomes of the frozen product's outputs at a place: `gain * y + shift`, at this scale.
    pub(super) fn outputs_at(&self, place: LayerSite) -> Option<Outputs> {
        let projections = place.site.projections();
        let ids = projections.iter().map(|&projection| ModuleId {
            layer: place.layer,
            projection,
        });
        let found: Vec<(ModuleId, Option<&Outputs>)> =
            ids.map(|id| (id, self.beside.outputs.get(&id))).collect();
        found.iter().any(|(_, outputs)| outputs.is_some()).then(|| {
            let mut all = Outputs::unchanged(0);
            for (id, outputs) in found {
                let count = id.projection.out_features(&self.config);
                let own = outputs
                    .cloned()
                    .unwrap_or_else(|| Outputs::unchanged(count));
                let gain = own.gain.iter().map(|gain| 1.0 + self.scale * (gain - 1.0));
                all.gain.extend(gain);
                all.shift
                    .extend(own.shift.iter().map(|shift| self.scale * shift));
            }
            all
        })
    }

    /// The embedding's rows, and the head's.
    fn tables(&self) -> &[Option<Table>; 2] {
        self.tables.get_or_init(|| {
            let hidden = self.config.hidden_size;
            [&self.beside.embedding, &self.beside.head].map(|rows| {
                rows.as_ref().map(|rows| match rows {
                    OwnRows::All(values) => Table::All(Packed::stack(&[values], hidden)),
                    OwnRows::Some(rows) => Table::Some(rows.clone()),
                })
            })
        })
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

    pub(super) fn all_places(&self) -> impl Iterator<Item = LayerSite> {
        (0..self.config.num_hidden_layers)
            .flat_map(|layer| Site::ALL.map(|site| LayerSite { layer, site }))
    }

    /// The layout of the CPU's kernels.
    fn places(&self) -> &BTreeMap<LayerSite, SiteParts> {
        self.places.get_or_init(|| {
            let mut places = BTreeMap::new();
            for place in self.all_places() {
                let (found, outputs) = (self.at(place), self.outputs_at(place));
                if found.is_empty() && outputs.is_none() {
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
                let site = SiteParts {
                    a,
                    width,
                    parts,
                    outputs,
                };
                places.insert(place, site);
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

/// So far on the way from one number to another; all the way is the other, to the bit.
fn towards(from: f32, to: f32, scale: f32) -> f32 {
    match scale == 1.0 {
        true => to,
        false => from + scale * (to - from),
    }
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
            if let Some(Outputs { gain, shift }) = &site.outputs {
                for row in y.chunks_exact_mut(cols) {
                    let each = row.iter_mut().zip(gain).zip(shift);
                    each.for_each(|((y, gain), shift)| *y = gain * *y + shift);
                }
            }
            if site.parts.is_empty() {
                return;
            }
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

    fn embed(&mut self, rows: &CpuRows, scale: f32, x: &mut Mat) {
        let mut own = vec![0.0; x.cols];
        for (adapter, range) in &self.runs {
            let adapter = &self.adapters[*adapter];
            let [Some(table), _] = adapter.tables() else {
                continue;
            };
            for row in range.clone() {
                let token = rows.tokens()[row];
                match table {
                    Table::All(table) => table.read_row(token as usize, &mut own),
                    Table::Some(rows) => match rows.get(&token) {
                        Some(row) => own.copy_from_slice(row),
                        None => continue,
                    },
                }
                let pairs = x.row_mut(row).iter_mut().zip(&own);
                pairs.for_each(|(x, own)| *x = towards(*x, own * scale, adapter.scale));
            }
        }
    }

    fn head(&mut self, normed: &Mat, logits: &mut Mat) {
        for (adapter, range) in &self.runs {
            let adapter = &self.adapters[*adapter];
            let [_, Some(table)] = adapter.tables() else {
                continue;
            };
            let set = |logit: &mut f32, own: f32| *logit = towards(*logit, own, adapter.scale);
            match table {
                Table::All(table) => {
                    let x = &normed.data[range.start * normed.cols..range.end * normed.cols];
                    let mut own = vec![0.0; range.len() * table.n];
                    product(x, range.len(), table, &mut own, false);
                    for (row, own) in range.clone().zip(own.chunks_exact(table.n)) {
                        let pairs = logits.row_mut(row).iter_mut().zip(own);
                        pairs.for_each(|(logit, own)| set(logit, *own));
                    }
                }
                Table::Some(rows) => {
                    for row in range.clone() {
                        for (&token, of_token) in rows {
                            let products = normed.row(row).iter().zip(of_token);
                            let own = products.map(|(a, b)| a * b).sum();
                            set(&mut logits.row_mut(row)[token as usize], own);
                        }
                    }
                }
            }
        }
    }
}
