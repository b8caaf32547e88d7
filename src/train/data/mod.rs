//! From the bytes of data files to the [`Example`]s that are used, every row accounted for.
//!
//! A [`Dataset`] is read of a run's sources: `built_in` has those that come with qeval, `file` finds the
//! rows with their lines (`parquet` those of a table), `form` makes one a conversation of its `turns`, `placeholder` puts the `[vars]` in, `mix` takes what `path#200` and the
//! shares ask for, and a [`DataReport`] names what was left out. [`split()`] holds out whole groups
//! for validation. [`read_prompts`] takes the questions alone, for rehearsal.

mod built_in;
mod dataset;
mod error;
mod example;
mod fields;
mod file;
mod form;
mod group;
mod mix;
mod parquet;
mod parquet_footer;
mod placeholder;
mod prompts;
mod report;
mod split;
mod turns;

pub use built_in::names_built_in;
pub use dataset::Dataset;
pub use error::{DataError, DataErrors, RowProblem, RowReason};
pub use example::{Example, Origin, Rehearsal};
pub use prompts::read_prompts;
pub use report::{DataReport, Duplicate, SourceReport};
pub use split::{Split, split};
