//! The command line, one file per command: each turns arguments into one call of [`crate::run`],
//! and what came of it into a report and an outcome.

mod args;
mod bench;
mod bench_args;
mod demo;
mod dispatch;
mod error;
pub(crate) mod gate;
mod gated;
mod init;
mod judge;
mod measure;
mod parse;
mod progress;
mod setup;
mod snapshot;
mod suite;
mod train;

pub use dispatch::main;
