//! Prompts that the base itself answers, so that it stays as it is there.
//!
//! Three kinds: those of the user's files; a pool in English and Chinese that comes with qeval
//! ([`take_pool`]); and near misses of what is taught ([`near_misses`]): questions in the rows' own
//! question words about other things. The base answers them elsewhere; here they are chosen, by a
//! seed, so that another run of the same settings has the same ones.

mod language;
mod near_miss;
mod pool;
mod prompt;

pub use language::Language;
#[cfg(test)]
pub(crate) use near_miss::every_near_miss;
pub use near_miss::near_misses;
pub use pool::{PoolPrompt, pool, take_pool};
pub use prompt::{PromptKind, RehearsalPrompt, Stay};
