//! Training on a GPU: matrices, gradients, and moments stay there; the host has them when a
//! checkpoint is written.

mod card;
mod optimizer;

pub(super) use card::Card;
pub use optimizer::GpuAdamW;
