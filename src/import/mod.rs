//! Suites out of other programs' files: a promptfoo configuration, or a task of
//! lm-evaluation-harness with its documents.
//!
//! Whoever changes the tool should not have to write the probes again, and should not find out
//! later which of them changed their meaning. So what has the same meaning here is carried over,
//! and all the rest is named, with its place and the reason: in the report, and as comments in
//! the file. Programs (`!function`, `javascript`) are never run.
//!
//! [`import()`] reads (`source`, `yaml`, `csv`, `glob`), follows the program whose file it is
//! (`promptfoo`, `lm_eval`, each with a table of its settings, and `template` and `pattern` for
//! their languages), makes a draft that is known to load (`draft`), and writes it as TOML
//! (`write`). Whatever a file may hold, it is read within limits.

mod convert;
mod csv;
mod draft;
mod error;
mod glob;
mod lm_eval;
mod notes;
mod pattern;
mod promptfoo;
mod settings;
mod source;
mod template;
#[cfg(test)]
mod tests;
mod write;
mod yaml;

pub use convert::{Imported, import};
pub use error::{ImportError, ImportErrorKind};
pub use notes::NotCarried;
pub use source::ImportSource;
