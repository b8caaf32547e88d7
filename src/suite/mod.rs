//! Suites: from TOML to probes and cases.
//!
//! [`load`] reads any number of files and either returns every suite or every error of every
//! file, each with its place, the rule, and the nearest name. [`Selection`] picks probes,
//! [`cases`] turns them into prompts in file order, and [`builtin`] holds the suites that come
//! with qeval.

mod builtin;
mod error;
mod expand;
mod file;
mod load;
mod select;
mod template;
mod validate;

pub use builtin::{builtin, load_builtin};
pub use error::{Place, SelectError, SuiteError, SuiteErrorKind, SuiteErrors};
pub use expand::{Case, cases};
pub use load::{SuiteSource, load, read};
pub use select::{Selection, Shard, matches_glob};
