//! More wordings of the training questions, made by the base itself before step 1.
//!
//! A row that is asked in one wording is learned in that wording. The base rewords each question a
//! few times and asks it once in the other language where it knows both. What it says is judged by
//! rules first, and what is left by its own likelihoods: a wording is kept when the original is much
//! likelier as another wording of it than of some other question. A small model rewords badly, so
//! most of what it says is left out, and what was kept is said.
//!
//! The answer stays the row's. In the other language it is the base's translation, which must carry
//! every name of the original; where it does not, the row is not asked in that language.

mod cache;
mod examples;
mod make;
mod rules;
mod shots;

pub use cache::PARAPHRASES;
pub use examples::{Paraphrase, ParaphraseTally, Paraphrases};
pub use make::{ParaphrasePlan, paraphrase};
