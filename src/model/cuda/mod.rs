//! An NVIDIA GPU as a [`Device`](super::Device): operands of 16 bits, F32 sums; weights in 16 bits or
//! in the few of their file.
//!
//! The same input gives the same bits: no kernel sums with atomics, a product's algorithm is fixed
//! by its shape, and a row of an answer is computed by kernels that do not look at other rows.

mod answers;
mod attention;
mod blocks;
mod device;
mod factored;
mod frozen;
mod gate_product;
mod kv;
mod loss;
mod mat;
mod products;
mod ring;
mod row_kernels;
mod rows;

pub use attention::CudaAttended;
pub use factored::Factored;
pub(crate) use factored::FactoredPart;
pub use frozen::{CudaRotary, CudaVector, CudaWeight};
pub use kv::CudaKv;
pub use loss::{Chosen, CudaTotal};
pub use mat::CudaMat;
pub(crate) use mat::Height;
pub(crate) use rows::Slice;
pub use rows::{CudaRows, Next, SingleRows};
