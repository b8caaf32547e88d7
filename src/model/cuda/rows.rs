//! The rows of a step on the device: tokens, positions, places in the cache, and tiles of work.

use std::sync::Arc;

use super::mat::Height;
use crate::gpu::{Arg, Buffer, Cuda};
use crate::model::Span;

/// Query rows of a tile, and keys of one.
const TILE: usize = 64;

/// See [`crate::model::Device::Rows`].
pub struct CudaRows {
    pub(super) count: usize,
    /// The largest token, and the end of the positions, where the host knows them; those of single
    /// rows change between replays of a graph.
    pub(super) largest: Option<(u32, usize)>,
    pub(super) tokens: Slice,
    pub(super) positions: Slice,
    /// Row of the cache where a row's keys and values go; negative stores nothing.
    pub(super) cache_rows: Slice,
    pub(super) slots: usize,
    pub(super) capacity: usize,
    /// See [`CudaMat`](super::CudaMat).
    pub(super) height: Height,
    pub(super) kind: Kind,
}

pub(super) enum Kind {
    /// Several positions of a sequence: attention in tiles.
    Tiles { queries: Tiles, keys: Tiles },
    /// One position of each sequence, which is on the device and changes between replays of a
    /// graph; row of the cache where each sequence begins.
    Single { bases: Slice },
}

/// Tiles of work, four numbers each.
pub(super) struct Tiles {
    list: Buffer,
    pub(super) count: usize,
}

impl Tiles {
    fn new(cuda: &Cuda, tiles: &[[usize; 4]]) -> Self {
        let flat: Vec<i32> = tiles.iter().flatten().map(|&n| n as i32).collect();
        Tiles {
            list: cuda.room_of(&flat),
            count: tiles.len(),
        }
    }

    pub(super) fn pointer(&self) -> Arg {
        self.list.holds(self.count * 16)
    }
}

/// Part of a buffer.
#[derive(Clone)]
pub(crate) struct Slice {
    buffer: Arc<Buffer>,
    offset: usize,
    bytes: usize,
}

impl Slice {
    /// A number of 32 bits a row.
    fn of_rows(buffer: Buffer, rows: usize) -> Self {
        Slice {
            buffer: Arc::new(buffer),
            offset: 0,
            bytes: rows * 4,
        }
    }

    /// Its numbers, one a row.
    pub(crate) fn pointer(&self) -> Arg {
        self.buffer.holds_from(self.offset, self.bytes)
    }
}

/// Numbers of a row that are written before each step: token, position, row of the cache, first
/// row of its sequence, adapter.
const COLUMNS: usize = 5;

/// Rows of one position each, whose tokens and positions are written anew before each step, all in
/// one copy.
pub struct SingleRows {
    cuda: Cuda,
    columns: Arc<Buffer>,
    count: usize,
    capacity: usize,
}

/// What a slot's row of the next step is.
#[derive(Debug, Clone, Copy)]
pub struct Next {
    /// The token.
    pub token: u32,
    /// Its position.
    pub position: usize,
    /// Place of its adapter, -1 for the base.
    pub adapter: i32,
}

impl CudaRows {
    /// The token of each row.
    pub(crate) fn tokens(&self) -> Arg {
        self.tokens.pointer()
    }

    /// End of the positions; of single rows, 0, since they lie in the cache, which is as long as
    /// the model's positions at most.
    pub(super) fn end(&self) -> usize {
        self.largest.map_or(0, |(_, end)| end)
    }

    pub(super) fn tiled(cuda: &Cuda, tokens: &[u32], spans: &[Span], capacity: usize) -> Self {
        let count = tokens.len();
        let mut positions = vec![0i32; count];
        let mut cache_rows = vec![-1i32; count];
        let (mut queries, mut keys) = (Vec::new(), Vec::new());
        for span in spans {
            let base = span.slot * capacity;
            for (i, row) in span.rows.clone().enumerate() {
                positions[row] = (span.position + i) as i32;
                cache_rows[row] = (base + span.position + i) as i32;
            }
            let (first, len) = (span.rows.start, span.rows.len());
            for at in (0..len).step_by(TILE) {
                let rows = (len - at).min(TILE);
                queries.push([first + at, rows, span.position + at, base]);
            }
            // Whole sequences alone have a backward.
            for at in (0..len).step_by(TILE) {
                keys.push([first, len, at, base]);
            }
        }
        // The longest work first, so that the last tiles to run are short.
        queries.sort_by_key(|t| std::cmp::Reverse(t[2] + t[1]));
        keys.sort_by_key(|t| std::cmp::Reverse(t[1] - t[2]));
        let slots = spans.iter().map(|s| s.slot + 1).max().unwrap_or(0);
        let end = spans.iter().map(|s| s.position + s.rows.len()).max();
        let end = end.unwrap_or(0);
        assert!(end <= capacity, "position {end} of {capacity}");
        CudaRows {
            count,
            largest: Some((tokens.iter().copied().max().unwrap_or(0), end)),
            tokens: Slice::of_rows(cuda.room_of(tokens), count),
            positions: Slice::of_rows(cuda.room_of(&positions), count),
            cache_rows: Slice::of_rows(cuda.room_of(&cache_rows), count),
            slots,
            capacity,
            height: Height::Any,
            kind: Kind::Tiles {
                queries: Tiles::new(cuda, &queries),
                keys: Tiles::new(cuda, &keys),
            },
        }
    }
}

impl SingleRows {
    /// Rows for `count` slots of a cache of `capacity` positions; row i is of slot i.
    pub fn new(cuda: &Cuda, count: usize, capacity: usize) -> Self {
        SingleRows {
            columns: Arc::new(cuda.room(COLUMNS * count * 4)),
            count,
            capacity,
            cuda: cuda.clone(),
        }
    }

    /// Sets what the next step runs, `None` for a slot that rests.
    ///
    /// # Panics
    /// When there are not as many as rows.
    pub fn set(&self, next: &[Option<Next>]) {
        assert_eq!(next.len(), self.count);
        let mut columns = vec![0i32; COLUMNS * self.count];
        for (slot, next) in next.iter().enumerate() {
            let base = (slot * self.capacity) as i32;
            let row = match next {
                Some(next) => {
                    assert!(next.position < self.capacity, "a position of the cache");
                    let position = next.position as i32;
                    let token = next.token as i32;
                    [token, position, base + position, base, next.adapter]
                }
                None => [0, 0, -1, -1, -1],
            };
            for (column, value) in row.into_iter().enumerate() {
                columns[column * self.count + slot] = value;
            }
        }
        self.cuda.write(&self.columns, 0, &columns);
    }

    fn column(&self, which: usize) -> Slice {
        Slice {
            buffer: self.columns.clone(),
            offset: which * self.count * 4,
            bytes: self.count * 4,
        }
    }

    /// Each row's adapter.
    pub(crate) fn adapters(&self) -> Slice {
        self.column(4)
    }

    /// As the layers take them.
    pub fn rows(&self) -> CudaRows {
        CudaRows {
            count: self.count,
            largest: None,
            tokens: self.column(0),
            positions: self.column(1),
            cache_rows: self.column(2),
            slots: self.count,
            capacity: self.capacity,
            height: Height::Slots,
            kind: Kind::Single {
                bases: self.column(3),
            },
        }
    }
}
