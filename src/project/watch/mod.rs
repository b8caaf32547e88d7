//! Another trainer's checkpoints, each judged once as it is finished.
//!
//! A folder is looked through again and again, which works on every disk. What is whole and not in
//! the record is judged beside the base, all of a look in one batch; the line in the record is what
//! makes it judged. Whatever follows from it (a stop file, a message, a link) has a line of its own, so
//! that a process that is killed anywhere goes on there.

mod best_link;
mod error;
mod order;
mod post;
mod record;
mod round;
mod settled;
mod verdict;
mod watching;

pub use error::WatchError;
pub use order::{WatchEvent, WatchOrder};
pub use verdict::CheckpointVerdict;
pub use watching::{Left, WatchEnd, Watched};
