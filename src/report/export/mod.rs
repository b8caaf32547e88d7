//! What records hold of a subject -> files that other programs read.
//!
//! One file a format. Each hands its files over one by one, so that no more than one is in memory.
//! What could not be judged stays in every one of them, without a number and with its reason: other
//! programs take a mean over what they find, and a missing score is no zero.

mod columns;
mod csv;
mod evalscope;
mod file_name;
mod inspect;
mod lm_eval;
mod parquet;
mod tally;
mod target;

use std::path::Path;

use crate::flow::Recorded;

pub use csv::csv;
pub use evalscope::evalscope;
pub use file_name::file_name;
pub use inspect::inspect;
pub use lm_eval::lm_eval;
pub use parquet::parquet;

/// Takes a file: its path below the export's folder, and its bytes.
pub type PutFile<'a, E> = &'a mut dyn FnMut(&Path, &[u8]) -> Result<(), E>;

/// A format that each subject is written in by itself.
pub type Exporter<E> = fn(&Recorded, PutFile<'_, E>) -> Result<(), E>;
