//! Training examples: one conversation each, with the place that it came from.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::chat::{Conversation, Role};

use super::group::question_group;
use crate::train::rehearsal::Stay;

/// File and line of a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    /// The file as the configuration names it.
    pub file: String,
    /// The line at which the row begins, from 1.
    pub line: usize,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// One conversation to train on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// The turns; the last one is an answer. Its system turn is the row's own, if any.
    pub conversation: Conversation,
    /// Rows of one group are paraphrases of each other and are never split between training and
    /// validation: the row's `group`, else its first question, normalised.
    pub group: String,
    /// Where it came from.
    pub origin: Origin,
    /// The answer is the base's own, and what is learned of it is to stay.
    pub rehearsal: Option<Rehearsal>,
}

/// An answer that the base gave itself.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rehearsal {
    /// How training stays at it.
    pub stay: Stay,
    /// It was cut at its longest, so that its text ends before its turn does.
    pub cut: bool,
}

impl Example {
    /// Its last question.
    pub fn question(&self) -> &str {
        let mut turns = self.conversation.messages.iter().rev();
        let question = turns.find(|turn| turn.role == Role::User);
        question.map_or("", |turn| turn.content.as_str())
    }

    /// Its answer: the last turn.
    pub fn answer(&self) -> &str {
        let last = self.conversation.messages.last();
        last.map_or("", |turn| turn.content.as_str())
    }

    /// An example from elsewhere than a file; its group is its first question, normalised.
    pub fn new(conversation: Conversation, origin: Origin) -> Self {
        let group = question_group(&conversation);
        Example {
            conversation,
            group,
            origin,
            rehearsal: None,
        }
    }
}
