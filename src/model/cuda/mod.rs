//! An NVIDIA GPU as a [`Device`](super::Device): weights and activations of 16 bits, F32 sums.
//!
//! The same input gives the same bits: no kernel sums with atomics, a product's algorithm is fixed
//! by its shape, and a row of an answer is computed by kernels that do not look at other rows.

mod answers;
mod attention;
mod device;
mod factored;
mod factors;
mod gate_product;
mod low_rank;
mod mat;
mod products;
mod ring;
mod rows;

pub use answers::Chosen;
pub use attention::Attended;
pub use device::{CudaKv, CudaRotary, CudaTotal, CudaVector, CudaWeight};
pub use factored::Factored;
pub use factors::{Dropout, FactorPart, Factors, Update};
pub use low_rank::{AdapterTable, RowAdapters, SiteFactors};
pub use mat::CudaMat;
pub use rows::{CudaRows, Next, SingleRows};
