//! Adapters that answer: every row of a step with one of them or none.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::loaded::LoadedAdapter;
use super::tables::OwnTable;
use crate::gpu::{Arg, Buffer, Cuda, Grid, Numbers};
use crate::model::cuda::{CudaMat, CudaRows, Height, SingleRows, Slice};
use crate::model::{LayerSite, LowRank, ModelError};

/// Rows from which on their groups fill the device, so that one block computes an inner row.
const MANY: usize = 512;
/// Rows of a group.
const GROUP: usize = 8;
/// Warps of a block that has one row.
const WARPS: usize = 32;
/// Columns that such a block takes.
const COLUMNS: usize = 16384;
/// Parts of a site: queries, keys, and values.
const PARTS: usize = 3;
/// Words of an adapter in a site's table.
const ENTRY: usize = 4 + 6 * PARTS;

/// One adapter's matrices at one site.
pub(in crate::lora) struct SiteFactors {
    /// Where.
    pub place: LayerSite,
    /// Columns of A.
    pub inputs: usize,
    /// The parts' A, one below the other, scale inside.
    pub a: Vec<f32>,
    /// Rank, first column in the site's result, and `B^T [rank, out]` of each part, in order.
    pub parts: Vec<(usize, usize, Vec<f32>)>,
}

struct Site {
    table: Buffer,
    inputs: usize,
    width: usize,
    outputs: usize,
}

/// What becomes of the frozen product's outputs at a place.
struct ChangedOutputs {
    /// Gain and shift of every output, adapter after adapter that has some.
    table: Buffer,
    /// Each adapter's place there, -1 for none.
    places: Buffer,
    cols: usize,
    count: usize,
}

/// What is found of a site.
#[derive(Default)]
struct Found {
    inputs: usize,
    /// Of the widest adapter.
    width: usize,
    /// End of the last part's columns.
    outputs: usize,
    /// Table entries by adapter.
    entries: BTreeMap<usize, Vec<u32>>,
}

/// Adapters in device memory.
pub struct AdapterTable {
    cuda: Cuda,
    /// How many there are.
    adapters: usize,
    sites: BTreeMap<LayerSite, Site>,
    outputs: BTreeMap<LayerSite, ChangedOutputs>,
    /// Embeddings and heads of their own.
    embeddings: Vec<OwnTable>,
    heads: Vec<OwnTable>,
    /// What the tables point at.
    _matrices: Vec<Buffer>,
}

impl AdapterTable {
    /// Uploads adapters; rows name them by their place in the list.
    ///
    /// # Errors
    /// The device's memory is full.
    pub fn new(cuda: &Cuda, adapters: &[LoadedAdapter]) -> Result<Self, ModelError> {
        let mut matrices = Vec::new();
        let mut upload = |values: &[f32]| {
            let buffer = cuda.alloc_of(&cuda.to_half(values))?;
            let address = buffer.address();
            matrices.push(buffer);
            Ok::<_, ModelError>(address)
        };
        let mut found: BTreeMap<LayerSite, Found> = BTreeMap::new();
        for (which, adapter) in adapters.iter().enumerate() {
            for site in adapter.site_factors() {
                let width = site.a.len() / site.inputs;
                let mut entry = words(upload(&site.a)?).to_vec();
                entry.extend([width as u32, site.parts.len() as u32]);
                let at = found.entry(site.place).or_default();
                at.inputs = site.inputs;
                at.width = at.width.max(width);
                let mut first = 0;
                for part in 0..PARTS {
                    let Some((rank, output, b)) = site.parts.get(part) else {
                        entry.extend([0; 6]);
                        continue;
                    };
                    entry.extend(words(upload(b)?));
                    let out = b.len() / rank;
                    entry.extend([first, *rank, *output, out].map(|n| n as u32));
                    first += rank;
                    at.outputs = at.outputs.max(output + out);
                }
                at.entries.insert(which, entry);
            }
        }
        let empty = vec![0u32; ENTRY];
        let mut sites = BTreeMap::new();
        for (place, found) in found {
            let entries = &found.entries;
            let table: Vec<u32> = (0..adapters.len())
                .flat_map(|which| entries.get(&which).unwrap_or(&empty).clone())
                .collect();
            let site = Site {
                table: cuda.alloc_of(&table)?,
                inputs: found.inputs,
                width: found.width,
                outputs: found.outputs,
            };
            sites.insert(place, site);
        }
        Ok(AdapterTable {
            cuda: cuda.clone(),
            adapters: adapters.len(),
            sites,
            outputs: changed_outputs(cuda, adapters)?,
            embeddings: own_tables(cuda, adapters, 0)?,
            heads: own_tables(cuda, adapters, 1)?,
            _matrices: matrices,
        })
    }
}

/// The tables of adapters that have one: the embedding first, the head second.
fn own_tables(
    cuda: &Cuda,
    adapters: &[LoadedAdapter],
    which: usize,
) -> Result<Vec<OwnTable>, ModelError> {
    let own = adapters.iter().enumerate();
    let own = own.filter_map(|(place, adapter)| Some((place, adapter, adapter.rows()[which]?)));
    own.map(|(place, adapter, rows)| OwnTable::new(cuda, place, adapter, rows))
        .collect()
}

fn changed_outputs(
    cuda: &Cuda,
    adapters: &[LoadedAdapter],
) -> Result<BTreeMap<LayerSite, ChangedOutputs>, ModelError> {
    let mut all = BTreeMap::new();
    let places = adapters.iter().flat_map(LoadedAdapter::all_places);
    let places: std::collections::BTreeSet<LayerSite> = places.collect();
    for place in places {
        let (mut table, mut at, mut cols, mut count) = (Vec::new(), Vec::new(), 0, 0);
        for adapter in adapters {
            match adapter.outputs_at(place) {
                None => at.push(-1),
                Some(outputs) => {
                    at.push(count as i32);
                    count += 1;
                    cols = outputs.gain.len();
                    table.extend(outputs.gain);
                    table.extend(outputs.shift);
                }
            }
        }
        if count > 0 {
            let outputs = ChangedOutputs {
                table: cuda.alloc_of(&table)?,
                places: cuda.alloc_of(&at)?,
                cols,
                count,
            };
            all.insert(place, outputs);
        }
    }
    Ok(all)
}

/// An address as two words, the lower first.
fn words(address: u64) -> [u32; 2] {
    [address as u32, (address >> 32) as u32]
}

/// Which adapter each row of a step has.
pub struct RowAdapters {
    table: Arc<AdapterTable>,
    rows: Which,
}

enum Which {
    Numbers(Numbers<i32>),
    Slots(Slice),
}

impl RowAdapters {
    /// `rows` has one number a row: a place in the table's list, or -1 for the base.
    ///
    /// # Panics
    /// When there is no such place.
    pub fn new(table: Arc<AdapterTable>, rows: &[i32]) -> Self {
        let there = |&which: &i32| which < table.adapters as i32;
        assert!(rows.iter().all(there), "an adapter of the table");
        let rows = Which::Numbers(Numbers::of(&table.cuda, rows));
        RowAdapters { table, rows }
    }

    /// As each step's rows say themselves.
    pub fn of_slots(table: Arc<AdapterTable>, rows: &SingleRows) -> Self {
        let rows = Which::Slots(rows.adapters());
        RowAdapters { table, rows }
    }

    fn change_outputs(&self, outputs: &ChangedOutputs, y: &mut CudaMat) {
        let (rows, cols) = y.whole_rows();
        assert_eq!(cols, outputs.cols, "outputs of the product");
        let args = [
            y.pointer(),
            outputs.table.holds(outputs.count * 2 * cols * 4),
            outputs.places.holds(self.table.adapters * 4),
            self.pointer(rows),
            Arg::Int(cols as i32),
            Arg::Int(y.planes as i32),
            Arg::Long(y.plane() as u64),
        ];
        // SAFETY: `change_outputs(y, table, place, adapter, cols, planes, plane)` works on rows of so
        // many numbers without gaps, in so many planes; each row's adapter is in the list of places,
        // or negative, and each place in the table, or negative.
        unsafe {
            let cuda = &self.table.cuda;
            cuda.launch("change_outputs", Grid::rows(rows), &args);
        }
    }

    /// A number a row.
    fn pointer(&self, rows: usize) -> Arg {
        match &self.rows {
            Which::Numbers(numbers) => numbers.pointer_at(0, rows),
            Which::Slots(slots) => slots.pointer(),
        }
    }
}

impl LowRank<Cuda> for RowAdapters {
    fn add(&mut self, place: LayerSite, x: &CudaMat, y: &mut CudaMat) {
        if let Some(outputs) = self.table.outputs.get(&place) {
            self.change_outputs(outputs, y);
        }
        let Some(site) = self.table.sites.get(&place) else {
            return;
        };
        let cuda = &self.table.cuda;
        let (rows, cols) = y.whole_rows();
        assert_eq!(x.half_rows(), (rows, site.inputs), "inputs of every row");
        assert!(site.outputs <= cols, "columns of the adapters");
        let table = site.table.holds(self.table.adapters * ENTRY * 4);
        let adapters = self.pointer(x.rows);
        let is_f32 = Arg::Int(i32::from(y.planes > 0));
        if x.height == Height::Slots {
            let args = [
                x.pointer(),
                y.pointer(),
                table,
                adapters,
                Arg::Int(site.inputs as i32),
                Arg::Int(y.cols as i32),
                is_f32,
            ];
            let grid = Grid::new((y.cols.div_ceil(COLUMNS), x.rows, 1), 32 * WARPS);
            let grid = grid.shared(site.width.max(WARPS) * 4);
            // SAFETY: `low_rank_row(x, y, table, adapter, inputs, outputs, f32)` reads rows of so many
            // inputs, and adds to their rows of y what the matrices of the table give, which are on
            // the device as long as it. Each row's adapter is in the table, or negative. It waits
            // for the kernel before.
            unsafe { cuda.launch_early("low_rank_row", grid, &args) };
            return;
        }
        let inner = CudaMat::planes(cuda, x.rows, site.width, 1);
        let shares = if x.rows < MANY {
            site.width.div_ceil(8)
        } else {
            1
        };
        let args = [
            x.pointer(),
            inner.pointer(),
            table,
            adapters,
            Arg::Int(x.rows as i32),
            Arg::Int(site.inputs as i32),
            Arg::Int(inner.stride as i32),
        ];
        let grid = Grid::new((x.rows.div_ceil(GROUP), shares, 1), 256);
        // SAFETY: `low_rank_down(x, t, table, adapter, rows, inputs, t_stride)` reads rows of so many
        // inputs, and writes as many numbers of t as the row's adapter is wide.
        unsafe { cuda.launch("low_rank_down", grid, &args) };
        let args = [
            inner.pointer(),
            y.pointer(),
            table,
            adapters,
            Arg::Int(y.cols as i32),
            Arg::Int(inner.stride as i32),
            is_f32,
        ];
        let grid = Grid::new((y.cols.div_ceil(8 * 256), x.rows, 1), 256);
        // SAFETY: `low_rank_up(t, y, table, adapter, outputs, t_stride, f32)` reads what the kernel
        // before has written, and adds to rows of y.
        unsafe { cuda.launch("low_rank_up", grid, &args) };
    }

    fn embed(&mut self, rows: &CudaRows, scale: f32, x: &mut CudaMat) {
        for own in &self.table.embeddings {
            let adapters = self.pointer(x.rows);
            own.embed(&self.table.cuda, rows, adapters, scale, x);
        }
    }

    fn head(&mut self, normed: &CudaMat, logits: &mut CudaMat) {
        for own in &self.table.heads {
            let adapters = self.pointer(normed.rows);
            own.head(&self.table.cuda, normed, adapters, logits);
        }
    }
}
