//! How weights are stored: bytes in a format, and the numbers that they stand for.
//!
//! Files of every kind hand out a [`StoredTensor`], and a device makes a weight of it: of its
//! numbers, or of its bytes where it computes with the format as it is. A format is a file here and
//! a variant of [`Format`].

mod blocks;
mod codes;
mod format;
mod int4;
mod plain;
mod tensor;

pub(super) use blocks::{five_bits, four_bits, nibbles, scale_and_least, six_bits};
pub use codes::Code;
pub(super) use codes::{BLOCK as CODES_OF_BLOCK, BYTES as BYTES_OF_CODES, block as block_of_codes};
pub use format::Format;
pub use int4::ByInput;
pub(super) use int4::{
    block as block_of_int4, head as head_of_int4, nibble as nibble_of_int4, scale_and_zero,
};
pub(super) use tensor::{Bytes, Stored};
pub use tensor::{StoredRows, StoredTensor};
