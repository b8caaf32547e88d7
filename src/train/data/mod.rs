//! From the bytes of a data file to the rows that are used.
//!
//! [`read_rows`] finds the rows of a file with their lines, [`parse_row`] makes one a
//! conversation, [`fill_placeholders`] puts the `[vars]` in, [`mix()`] takes what `path#200` and the
//! shares ask for, [`split()`] holds out whole groups for validation.
//! [`read_prompts`] takes the questions alone, for rehearsal.

mod file;
mod form;
mod group;
mod mix;
mod placeholder;
mod prompts;
mod split;

pub(super) use file::{RawRow, read_rows};
pub(super) use form::parse_row;
pub(super) use group::question_group;
pub(super) use mix::mix;
pub(super) use placeholder::fill_placeholders;
pub use prompts::read_prompts;
pub use split::{Split, split};
