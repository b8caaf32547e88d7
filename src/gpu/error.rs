//! Why a GPU does not do what it is asked.

use thiserror::Error;

/// Why a GPU does not do what it is asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GpuError {
    /// It cannot be used.
    #[error("the GPU cannot be used: {problem}")]
    Unusable {
        /// Why, and the way out.
        problem: String,
    },
    /// Its memory is full.
    #[error(
        "the GPU's memory is full: {} MB are in use and {} MB more were wanted",
        used >> 20, wanted >> 20
    )]
    OutOfMemory {
        /// Bytes of the allocation that failed.
        wanted: usize,
        /// Bytes in use.
        used: usize,
    },
}

impl GpuError {
    /// Something of the driver, or of a library, that failed.
    pub(super) fn failed(what: &str, error: impl std::fmt::Display) -> Self {
        GpuError::Unusable {
            problem: format!("{what}: {error}"),
        }
    }
}
