//! Reviewed text: what base and candidate say to each probe, one `.snap` file a probe, in insta's
//! format, below `snapshots/answers/SUITE/`.
//!
//! A changed answer passes when every check still says the same and the text changed no more than
//! the base's own does between two draws ([`WithinNoise`], an [`insta::Comparator`]). Any other
//! change is written to a `.snap.new` beside the file, which `cargo insta review` and
//! `qeval snapshot` accept or reject. `INSTA_UPDATE`, `INSTA_FORCE_PASS`, and `CI` mean what they
//! mean to insta.
//!
//! Files are written by this module and not through `insta::assert_snapshot!`: that macro looks
//! for the folder of the crate it was compiled in, which is qeval's and not the user's, and does
//! not write atomically. The format is insta's all the same: it is read by insta's own parser.

mod compare;
mod error;
mod files;
mod name;
mod parse;
mod render;
mod update;

pub use compare::{Change, WithinNoise};
pub use error::SnapshotError;
pub use files::{Asserted, Pending, Snapshots};
pub use name::{probe_of, snapshot_file};
pub use parse::{SavedCase, SavedCheck, SavedProbe};
pub use render::{Context, render, text};
pub use update::Update;
