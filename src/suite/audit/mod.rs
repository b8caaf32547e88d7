//! What is wrong with suites although they load: probes that overlap with the training data,
//! probes that repeat each other, and probes that no wrong answer fails. Text only, no model.

mod duplicates;
mod leaks;
mod wrong_answers;

pub use duplicates::duplicates;
pub use leaks::{Leak, Wordings, leaks};
pub use wrong_answers::{WrongAnswers, try_wrong_answers};
