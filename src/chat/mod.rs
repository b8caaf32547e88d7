//! Conversations to token ids and back.
//!
//! [`ChatTemplate`] renders with the model's own template, exactly as Hugging Face transformers
//! does; [`Tokenizer`] turns text into ids. Training and answering go through the same two, so a
//! probe's prompt is a training prompt without its answer. No system prompt is added here:
//! [`ChatTemplate::effective_system`] tells which one the template itself puts in.

mod error;
mod json_format;
mod labelled;
mod message;
mod template;
mod template_clock;
mod template_folder;
mod template_limits;
mod template_variables;
mod thinking;
mod tokenizer;
mod turn_end;

pub use error::ChatError;
pub use labelled::Labelled;
pub use message::{Conversation, Message, Role};
pub use template::{ChatTemplate, EffectiveSystem, SystemOrigin};
pub use template_variables::Variables;
pub use thinking::{Spoken, Thinking, after_thinking};
pub use tokenizer::{TextStream, Tokenizer};
pub use turn_end::TurnEnd;
