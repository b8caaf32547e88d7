//! What is wrong with suites although they load: probes that overlap with the training data,
//! probes that repeat each other, and probes that no answer fails. Text only, no model.

mod duplicates;
mod leaks;
mod unfailing;

pub use duplicates::duplicates;
pub use leaks::{Leak, leaks};
pub use unfailing::{Unfailing, unfailing, wrong_answers};
