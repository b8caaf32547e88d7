//! The command line, one file per command: each turns arguments into one call of
//! [`crate::project`], and what came of it into a report and an outcome.

mod ablate;
mod adapter;
mod args;
mod ask;
mod bench;
mod bisect;
mod compare;
mod conversation;
mod data;
mod demo;
mod diff;
mod dispatch;
mod editor;
mod error;
mod export;
mod gate;
mod help;
mod history;
mod init;
mod list;
mod outcome;
mod output;
mod page;
mod parse;
mod run;
mod show;
mod snapshot;
mod suite;
mod train;
mod tune;
mod watch;
mod why;

pub use dispatch::main;
