//! The exam of another revision: suites, margins, and whatever else decides how strict a verdict is,
//! read from git, so that a pull request cannot loosen what it is judged by.

mod differences;
mod error;
mod git;
mod open;
#[cfg(test)]
mod tests;

pub use error::ExamError;
pub(super) use open::OpenedExam;
