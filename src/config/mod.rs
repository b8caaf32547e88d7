//! `qeval.toml`: what the user typed, checked and made into settings with every default filled in.
//!
//! [`load`] reads a file and reports every mistake in it at once, each with its place, the line
//! with a caret, the rule, and the way out. Unknown keys are refused. [`DEFAULT_TOML`] is the commented file
//! that `qeval init` writes; it spells out every key with its default and effect.

mod edit;
mod error;
mod file;
mod foreign;
mod keys;
mod named;
mod schema;
mod sections;
mod tune;

pub use edit::with_settings;
pub use error::{ConfigError, ConfigErrorKind, ConfigErrors};
pub use file::{DEFAULT_TOML, QevalConfig, load, parse, read_bytes, sample_toml};
pub use named::place_of;
pub use schema::SCHEMA;
pub use sections::{ChecksSection, GateSection, ModelSection};
pub use tune::TuneSection;
