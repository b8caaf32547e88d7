//! Suites out of other programs' files: a promptfoo configuration, or a task of
//! lm-evaluation-harness with its documents.
//!
//! Whoever changes the tool should not have to write the probes again, and should not find out
//! later which of them changed their meaning. So what has the same meaning here is carried over,
//! and all the rest is named, with its place and the reason: in the report, and as comments in
//! the file. Programs (`!function`, `javascript`) are never run.
//!
//! [`import()`] reads (`source`, `yaml`), translates (`promptfoo`, `lm_eval`) into a draft
//! that is known to load (`draft`), and writes it as TOML (`write`).

mod assertion;
mod convert;
mod draft;
mod error;
mod lm_eval;
mod notes;
mod prompt;
mod promptfoo;
mod reading;
mod reasons;
mod render;
mod scoring;
mod source;
#[cfg(test)]
mod tests;
mod write;
mod yaml;

pub use convert::{Imported, import};
pub use error::{ImportError, ImportErrorKind};
pub use notes::NotCarried;
pub use source::ImportSource;
