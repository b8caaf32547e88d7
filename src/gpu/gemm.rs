//! Large products through cuBLASLt, each shape with one algorithm for good.
//!
//! An algorithm is chosen by cuBLASLt's own heuristic from the shape alone, never by timing, so it
//! is the same after a restart. Where an answer must not depend on the rows beside it, the choice
//! is made for one number of rows and, without a split of the inner dimension, used for all:
//! then a row's sum is formed in the same order wherever the row stands.

use std::collections::HashMap;
use std::ffi::c_void;

use cudarc::cublaslt::{result as lt, sys};

use super::context::Cuda;
use super::error::GpuError;
use crate::half_type::HalfType;

/// Bytes that an algorithm may use beside its operands.
const WORKSPACE: usize = 64 << 20;

/// An operand: address, numbers from row to row, and whether it is used transposed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Operand {
    pub address: u64,
    pub stride: usize,
    pub transposed: bool,
}

impl Operand {
    /// Used transposed.
    pub(crate) fn turned(self) -> Self {
        Operand {
            transposed: true,
            ..self
        }
    }
}

/// `out[m, n] = alpha * x[m, k] y[k, n] (+ out) (+ bias)`, row-major, 16 bits in.
pub(crate) struct Product {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub x: Operand,
    pub y: Operand,
    pub out: u64,
    pub out_stride: usize,
    /// F32 result instead of 16 bits.
    pub out_f32: bool,
    pub alpha: f32,
    /// Adds to what is there.
    pub accumulate: bool,
    /// Of the result's kind, one number a column; 0 is none.
    pub bias: u64,
    /// Rows that the algorithm is chosen for, when it must not depend on `m`.
    pub chosen_for: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    m: usize,
    n: usize,
    k: usize,
    x: (usize, bool),
    y: (usize, bool),
    out: (usize, bool),
    bias: bool,
    accumulate: bool,
    chosen_for: Option<usize>,
    /// Bytes that the addresses of x, y, and out are multiples of.
    aligned: [u32; 3],
}

struct Plan {
    operation: sys::cublasLtMatmulDesc_t,
    x: sys::cublasLtMatrixLayout_t,
    y: sys::cublasLtMatrixLayout_t,
    out: sys::cublasLtMatrixLayout_t,
    algorithm: sys::cublasLtMatmulAlgo_t,
}

/// cuBLASLt with what was chosen so far.
pub(super) struct Blas {
    handle: sys::cublasLtHandle_t,
    workspace: u64,
    half: sys::cudaDataType_t,
    plans: HashMap<Key, Plan>,
}

fn check<T>(result: Result<T, lt::CublasError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("cuBLASLt failed: {error}"),
    }
}

impl Blas {
    pub(super) fn new(half_type: HalfType) -> Result<Self, GpuError> {
        let problem = |e: String| GpuError::Unusable {
            problem: format!("cuBLASLt does not start: {e}"),
        };
        let handle = lt::create_handle().map_err(|e| problem(e.to_string()))?;
        // SAFETY: the context is current; the workspace lives as long as it.
        let workspace = unsafe { cudarc::driver::result::malloc_sync(WORKSPACE) }
            .map_err(|e| problem(e.to_string()))?;
        Ok(Blas {
            handle,
            workspace,
            half: match half_type {
                HalfType::Bfloat16 => sys::cudaDataType_t::CUDA_R_16BF,
                HalfType::Float16 => sys::cudaDataType_t::CUDA_R_16F,
            },
            plans: HashMap::new(),
        })
    }

    /// The plan of a shape. cuBLASLt is column-major: a row-major result is the transpose of
    /// y^T x^T, so the operands change places.
    fn plan(&mut self, key: Key) -> &Plan {
        let (handle, half) = (self.handle, self.half);
        self.plans.entry(key).or_insert_with(|| {
            let of = |m: usize| Layouts::new(&key, m, half);
            let chosen = of(key.chosen_for.unwrap_or(key.m));
            let algorithm = chosen.choose(handle, &key);
            let Layouts {
                operation,
                x,
                y,
                out,
            } = of(key.m);
            Plan {
                operation,
                x,
                y,
                out,
                algorithm,
            }
        })
    }
}

/// Descriptions of a product; a few hundred bytes a shape, kept for good.
struct Layouts {
    operation: sys::cublasLtMatmulDesc_t,
    x: sys::cublasLtMatrixLayout_t,
    y: sys::cublasLtMatrixLayout_t,
    out: sys::cublasLtMatrixLayout_t,
}

impl Layouts {
    fn new(key: &Key, m: usize, half: sys::cudaDataType_t) -> Self {
        let single = sys::cudaDataType_t::CUDA_R_32F;
        let layout = |kind, rows: usize, cols: usize, stride: usize| {
            check(lt::create_matrix_layout(
                kind,
                rows as u64,
                cols as u64,
                stride as i64,
            ))
        };
        // A row-major matrix is its transpose in columns.
        let stored = |rows: usize, cols: usize, (stride, transposed): (usize, bool)| {
            if transposed {
                layout(half, rows, cols, stride)
            } else {
                layout(half, cols, rows, stride)
            }
        };
        let operation = check(lt::create_matmul_desc(
            sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            single,
        ));
        let set = |attribute, value: i32| {
            // SAFETY: the attribute is a 32-bit number.
            check(unsafe {
                lt::set_matmul_desc_attribute(
                    operation,
                    attribute,
                    (&raw const value).cast::<c_void>(),
                    size_of::<i32>(),
                )
            });
        };
        use sys::cublasLtMatmulDescAttributes_t as A;
        set(A::CUBLASLT_MATMUL_DESC_TRANSA, i32::from(key.y.1));
        set(A::CUBLASLT_MATMUL_DESC_TRANSB, i32::from(key.x.1));
        if key.bias {
            set(
                A::CUBLASLT_MATMUL_DESC_EPILOGUE,
                sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS as i32,
            );
        }
        let kind = if key.out.1 { single } else { half };
        Layouts {
            operation,
            x: stored(m, key.k, key.x),
            y: stored(key.k, key.n, key.y),
            out: layout(kind, key.n, m, key.out.0),
        }
    }

    /// The heuristic's first choice.
    fn choose(&self, handle: sys::cublasLtHandle_t, key: &Key) -> sys::cublasLtMatmulAlgo_t {
        let preference = check(lt::create_matmul_pref());
        let set = |attribute, value: *const c_void, size: usize| {
            // SAFETY: attribute and size belong together.
            check(unsafe { lt::set_matmul_pref_attribute(preference, attribute, value, size) });
        };
        use sys::cublasLtMatmulPreferenceAttributes_t as P;
        let bytes = WORKSPACE;
        set(
            P::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
            (&raw const bytes).cast(),
            size_of::<usize>(),
        );
        let none = 0u32;
        if key.chosen_for.is_some() {
            set(
                P::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                (&raw const none).cast(),
                size_of::<u32>(),
            );
        }
        let [x, y, out] = &key.aligned;
        for (attribute, bytes) in [
            (P::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, y),
            (P::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, x),
            (P::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, out),
            (P::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, out),
        ] {
            set(attribute, (&raw const *bytes).cast(), size_of::<u32>());
        }
        // SAFETY: all descriptions live.
        let found = unsafe {
            lt::get_matmul_algo_heuristic(
                handle,
                self.operation,
                self.y,
                self.x,
                self.out,
                self.out,
                preference,
            )
        };
        // SAFETY: it is not used any more.
        let _ = unsafe { lt::destroy_matmul_pref(preference) };
        check(found).algo
    }
}

impl Cuda {
    /// Multiplies.
    pub(crate) fn multiply(&self, product: &Product) {
        let p = product;
        if p.m == 0 || p.n == 0 || self.is_full() {
            return;
        }
        self.bind();
        let mut blas = self.blas();
        let (handle, workspace) = (blas.handle, blas.workspace);
        let plan = blas.plan(Key {
            m: p.m,
            n: p.n,
            k: p.k,
            x: (p.x.stride, p.x.transposed),
            y: (p.y.stride, p.y.transposed),
            out: (p.out_stride, p.out_f32),
            bias: p.bias != 0,
            accumulate: p.accumulate,
            chosen_for: p.chosen_for,
            aligned: [p.x.address, p.y.address, p.out].map(|a| 1 << a.trailing_zeros().min(8)),
        });
        let beta = if p.accumulate { 1.0f32 } else { 0.0 };
        // SAFETY: the operands are device memory of the shapes that the plan describes.
        unsafe {
            if p.bias != 0 {
                check(lt::set_matmul_desc_attribute(
                    plan.operation,
                    sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                    (&raw const p.bias).cast(),
                    size_of::<u64>(),
                ));
            }
            check(lt::matmul(
                handle,
                plan.operation,
                (&raw const p.alpha).cast(),
                (&raw const beta).cast(),
                p.y.address as *const c_void,
                plan.y,
                p.x.address as *const c_void,
                plan.x,
                p.out as *const c_void,
                plan.out,
                p.out as *mut c_void,
                plan.out,
                &raw const plan.algorithm,
                workspace as *mut c_void,
                WORKSPACE,
                self.stream().cast(),
            ));
        }
    }
}
