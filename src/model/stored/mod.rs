//! How weights are stored: bytes in a format, and the numbers that they stand for.
//!
//! Files of every kind hand out a [`StoredTensor`], and a device makes a weight of it: of its
//! numbers, or of its bytes where it computes with the format as it is. A format is a file here and
//! a variant of [`Format`].

mod blocks;
mod format;
mod plain;
mod tensor;

pub use format::Format;
pub(super) use tensor::Bytes;
pub use tensor::{StoredRows, StoredTensor};
