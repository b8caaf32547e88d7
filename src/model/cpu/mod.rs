//! The CPU's kernels: what the layers are made of, in F32.
//!
//! Every kernel works row by row: the bits of a row depend neither on the rows beside it nor on
//! the number of threads.

mod attention;
mod gemm;
mod rows;
mod simd;
mod tile;

pub use attention::{Heads, LayerKv, Span, attend, attend_backward};
pub use gemm::{Packed, Strided, product, product_backward, small_product};
pub use rows::{
    add, add_bias, cross_entropy, divergence, dot, log_sum_exp, rms_norm, rms_norm_backward,
    rotate, silu_gate, silu_gate_backward,
};
