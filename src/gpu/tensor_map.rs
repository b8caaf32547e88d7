//! Matrices as Hopper's tensor memory accelerator fetches and puts them: in boxes of 64 columns,
//! whose rows of 128 bytes lie in shared memory as its products read them. What a box has outside
//! the matrix is fetched as zeros, and not put.

use cudarc::driver::sys;

use super::context::{Cuda, must};
use super::gemm::Operand;

/// Columns of a box.
pub(crate) const COLUMNS: usize = 64;

/// A matrix of 16 bits, in boxes.
#[derive(Clone, Copy)]
pub(crate) struct TensorMap(pub(super) sys::CUtensorMap);

/// A matrix, and how it is cut.
pub(crate) struct Boxed {
    pub of: Operand,
    pub rows: usize,
    pub cols: usize,
    /// Numbers from the first of two halves to the second, where there are two; the sizes are
    /// one half's.
    pub apart: Option<usize>,
    /// Rows of a box.
    pub high: usize,
}

impl Cuda {
    /// Describes a matrix whose address and stride are multiples of 16 bytes.
    pub(crate) fn tensor_map(&self, boxed: &Boxed) -> TensorMap {
        let mut map = TensorMap(sys::CUtensorMap { opaque: [0; 16] });
        if self.is_full() {
            return map;
        }
        self.bind();
        let dims = [boxed.cols, boxed.rows, 2].map(|n| n as u64);
        let strides = [boxed.of.stride, boxed.apart.unwrap_or_default()].map(|n| 2 * n as u64);
        let sizes = [COLUMNS as u32, boxed.high as u32, 1];
        let rank = if boxed.apart.is_some() { 3 } else { 2 };
        // SAFETY: every list has at least `rank` numbers (strides one less), and is read only now.
        must(unsafe {
            sys::cuTensorMapEncodeTiled(
                &raw mut map.0,
                sys::CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
                rank,
                boxed.of.address as *mut _,
                dims.as_ptr(),
                strides.as_ptr(),
                sizes.as_ptr(),
                [1u32; 3].as_ptr(),
                sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
                sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_128B,
                sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
            )
            .result()
        });
        map
    }
}
