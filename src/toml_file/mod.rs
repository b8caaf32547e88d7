//! TOML files that people write: read with every mistake noted, each told with its place.
//!
//! [`text`] decodes a file, [`read()`] hands its top [`Table`] to whoever knows the keys and
//! returns what was read with every [`Mistake`]. A [`Place`] is where something stands in a file,
//! and an [`Explanation`] is how it is told: place, line with carets, rule, and way out. What a
//! file is about is not known here.

mod explanation;
mod mistake;
mod place;
mod read;
mod table;
mod value;

pub use explanation::{Explanation, list};
pub use mistake::{Issue, Mistake};
pub use place::{Lines, Place};
pub use read::{Read, in_order, read, text};
pub use table::{Broken, Table};
pub use value::{describe, json, number, whole};
