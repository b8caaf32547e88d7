//! Suites: from TOML to probes and cases.
//!
//! [`load()`] reads any number of files and either returns every suite or every error of every
//! file, each with its place, the rule, and the nearest name. [`Selection`] picks probes,
//! [`cases`] turns them into prompts in file order, [`builtin()`] holds the suites that come with
//! qeval, and [`audit`] finds what is wrong with suites that load.

pub mod audit;
mod builtin;
mod error;
mod expand;
mod file;
mod load;
mod schema;
mod select;
mod source;
mod template;
#[cfg(test)]
pub(crate) mod testing;
mod validate;

pub use builtin::{builtin, load_builtin};
pub use error::{SelectError, SuiteError, SuiteErrorKind, SuiteErrors};
pub use expand::{Case, cases};
pub use load::{load, load_unjudged};
pub use schema::SCHEMA;
pub use select::{Selection, Shard, matches_glob};
pub use source::{SuiteSource, read};
pub(crate) use template::fill;
