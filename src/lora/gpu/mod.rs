//! Adapters on a GPU: laid out for answering, and as matrices that are trained there.

mod lists;
mod products;
mod rows;
mod tables;
mod trainable;

pub(crate) use lists::Lists;
pub(super) use rows::SiteFactors;
pub use rows::{AdapterTable, RowAdapters};
pub use trainable::GpuTrainable;
