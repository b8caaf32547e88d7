//! Plain shapes that every device takes: an attention's heads, and which rows are whose.

use std::ops::Range;

/// Heads and their sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Query heads.
    pub queries: usize,
    /// Key and value heads; divides `queries`.
    pub kv: usize,
    /// Numbers of a head.
    pub dim: usize,
}

impl Heads {
    /// Numbers of a row that holds all queries, keys, and values.
    pub fn row(&self) -> usize {
        (self.queries + 2 * self.kv) * self.dim
    }

    /// Query heads that share a key head.
    pub fn group(&self) -> usize {
        self.queries / self.kv
    }

    /// Where query head `h` starts in a row.
    pub fn query(&self, h: usize) -> usize {
        h * self.dim
    }

    /// Where key head `h` starts in a row.
    pub fn key(&self, h: usize) -> usize {
        (self.queries + h) * self.dim
    }

    /// Where value head `h` starts in a row.
    pub fn value(&self, h: usize) -> usize {
        (self.queries + self.kv + h) * self.dim
    }
}

/// Neighbouring rows of a batch that are consecutive positions of one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Whose keys and values.
    pub slot: usize,
    /// Position of the first row.
    pub position: usize,
    /// The rows.
    pub rows: Range<usize>,
}
