//! Who says what.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sets the behaviour; only as the first message.
    System,
    /// Asks.
    User,
    /// Answers: the model.
    Assistant,
}

impl Role {
    /// The name that chat templates know.
    pub fn name(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One turn.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
    /// Whether training learns it, where it is an answer; a row can leave one out. Default true.
    #[serde(default = "is_learned", skip_serializing_if = "Clone::clone")]
    pub learned: bool,
}

fn is_learned() -> bool {
    true
}

impl Message {
    /// A turn.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Message {
            role,
            content: content.into(),
            learned: true,
        }
    }

    /// The same turn, said and not learned.
    pub fn unlearned(self) -> Self {
        Message {
            learned: false,
            ..self
        }
    }

    /// A system turn.
    pub fn system(content: impl Into<String>) -> Self {
        Message::new(Role::System, content)
    }

    /// A question.
    pub fn user(content: impl Into<String>) -> Self {
        Message::new(Role::User, content)
    }

    /// An answer.
    pub fn assistant(content: impl Into<String>) -> Self {
        Message::new(Role::Assistant, content)
    }
}

/// Turns in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Conversation {
    /// The turns.
    pub messages: Vec<Message>,
}

impl Conversation {
    /// Turns in order.
    pub fn new(messages: impl Into<Vec<Message>>) -> Self {
        Conversation {
            messages: messages.into(),
        }
    }

    /// A prompt as a probe puts it: one question, after the system prompt where there is one.
    pub fn prompt(system: Option<&str>, question: impl Into<String>) -> Self {
        Conversation::new([Message::user(question)]).with_system(system)
    }

    /// The system prompt, when the conversation has one of its own; it may be empty.
    pub fn system(&self) -> Option<&str> {
        match self.messages.first() {
            Some(first) if first.role == Role::System => Some(&first.content),
            _ => None,
        }
    }

    /// The same with a configured system prompt, unless it has one of its own. `None` adds none;
    /// `Some("")` asks for an empty one.
    pub fn with_system(mut self, configured: Option<&str>) -> Self {
        if let (None, Some(system)) = (self.system(), configured) {
            self.messages.insert(0, Message::system(system));
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_that_is_learned_is_stored_as_before() {
        let told = serde_json::to_string(&Message::assistant("x")).unwrap();
        assert_eq!(told, r#"{"role":"assistant","content":"x"}"#);
        assert_eq!(
            serde_json::from_str::<Message>(&told).unwrap(),
            Message::assistant("x")
        );
        let left_out = Message::assistant("x").unlearned();
        let told = serde_json::to_string(&left_out).unwrap();
        assert_eq!(serde_json::from_str::<Message>(&told).unwrap(), left_out);
    }

    #[test]
    fn own_system_prompt_comes_before_the_configured_one() {
        let own = Conversation::new([Message::system("own"), Message::user("x")]);
        assert_eq!(own.with_system(Some("configured")).system(), Some("own"));
        assert_eq!(Conversation::prompt(Some(""), "x").system(), Some(""));
        assert_eq!(Conversation::prompt(None, "x").messages.len(), 1);
    }
}
