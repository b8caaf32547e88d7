//! The CPU's kernels: what the layers are made of, in F32.
//!
//! Every kernel works row by row: the bits of a row depend neither on the rows beside it nor on
//! the number of threads.

mod attention;
mod blocks;
mod device;
mod gemm;
mod rows;
mod simd;
mod tile;

pub use attention::{LayerKv, attend, attend_backward};
pub use blocks::bytes_of as bytes_of_blocks;
pub use device::{Cpu, Rows as CpuRows};
pub use gemm::{Packed, Strided, product, product_backward, small_product};
pub use rows::{dot, log_sum_exp};
