//! An NVIDIA GPU: its memory, products, kernels, and recorded work. Knows nothing of models.
//!
//! Everything is loaded at run time: the driver, cuBLASLt for large products, and NVRTC, which
//! compiles the kernels of `kernels/` for the GPU that is there; the result is kept on disk. All
//! work goes to one stream, in order, so memory that is given back is free for the next.
//!
//! The kernels' text is here as a whole, since it is compiled as one, but for those of weights in few
//! bits (`blocks.cu`), which are compiled for a format when a weight of it comes; what launches a kernel is
//! with whom it serves: a decoder's operations in `model`, adapters' in `lora`, the optimizer's in
//! `train`.

mod buffer;
mod context;
mod error;
mod gemm;
mod graph;
mod launch;
mod numbers;
mod pool;
mod ptx;
mod speed;
mod tensor_map;

pub use buffer::Buffer;
pub use context::{Cuda, Memory};
pub use error::GpuError;
pub(crate) use gemm::{Operand, Product};
pub use graph::Graph;
pub(crate) use launch::{Arg, Grid};
pub use numbers::Numbers;
pub(crate) use ptx::Entry;
pub use speed::Ceilings;
pub(crate) use tensor_map::{Boxed, COLUMNS as BOX_COLUMNS};
