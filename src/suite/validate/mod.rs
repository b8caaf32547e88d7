//! The rules of a suite, applied to a file as it was read: what is found wrong is collected, what
//! is right becomes the nouns of [`crate::flow`].
//!
//! A [`Validator`] is one file under its rules; `suite`, `probe`, and `check` hold the rules of
//! each table.

mod check;
mod probe;
mod suite;
#[cfg(test)]
mod tests;
mod validator;

pub(super) use validator::Validator;
