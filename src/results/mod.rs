//! Result files of other programs -> what a gate judges: lm-eval, Inspect, and evalscope.
//!
//! [`read()`] finds out whose file it is and reads its items, each with every score it has; [`pair()`]
//! chooses one metric a task, joins two files item by item, and makes of each task a suite that
//! [`crate::gate::decide()`] can judge. What a file's program is asked for, and what its numbers
//! mean, is in the file of its format.

mod choose;
mod error;
mod evalscope;
mod inspect;
mod item;
mod lines;
mod lm_eval;
mod pair;
mod read;

pub use choose::Metric;
pub use error::{ResultsError, Unreadable};
pub use item::{Item, Results, Task, Value};
pub use pair::{Paired, pair};
pub use read::read;
