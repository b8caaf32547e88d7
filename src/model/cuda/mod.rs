//! An NVIDIA GPU as a [`Device`](super::Device): weights and activations of 16 bits, F32 sums.
//!
//! Everything is loaded at run time: the driver, cuBLASLt for large products, and NVRTC, which
//! compiles the kernels of `kernels/` for the GPU that is there; the result is kept on disk. All
//! work goes to one stream, in order, so memory that a matrix gives back is free for the next.
//!
//! The same input gives the same bits: no kernel sums with atomics, a product's algorithm is fixed
//! by its shape, and a row of an answer is computed by kernels that do not look at other rows.

mod answers;
mod attention;
mod context;
mod device;
mod factored;
mod factors;
mod gate_product;
mod gemm;
mod graph;
mod low_rank;
mod mat;
mod memory;
mod numbers;
mod products;
mod ptx;
mod ring;
mod rows;
mod speed;
mod tensor_map;

pub use answers::Chosen;
pub use attention::Attended;
pub use context::{Cuda, Memory};
pub use device::{CudaKv, CudaRotary, CudaTotal, CudaVector, CudaWeight};
pub use factored::Factored;
pub use factors::{Dropout, FactorPart, Factors, Update};
pub use graph::Graph;
pub use low_rank::{AdapterTable, RowAdapters, SiteFactors};
pub use mat::CudaMat;
pub use memory::Buffer;
pub use numbers::Numbers;
pub use rows::{CudaRows, Next, SingleRows};
pub use speed::Ceilings;
