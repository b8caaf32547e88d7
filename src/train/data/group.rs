//! The group of a row without a `group` key.

use crate::chat::{Conversation, Role};

/// The first question in lower case, its words alone, one blank between them: punctuation, case,
/// and spacing do not make another group.
pub fn question_group(conversation: &Conversation) -> String {
    let question = conversation.messages.iter().find(|m| m.role == Role::User);
    let question = question.map_or("", |m| m.content.as_str());
    let words: Vec<String> = question
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    // A question of punctuation alone is a group of its own.
    if words.is_empty() {
        question.trim().to_string()
    } else {
        words.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Message;

    #[test]
    fn case_blanks_and_punctuation_do_not_make_another_group() {
        let group = |q: &str| question_group(&Conversation::new([Message::user(q)]));
        assert_eq!(group("Who are you?"), group("  who  ARE you"));
        assert_eq!(group("你是谁?"), group("你是谁?"));
        assert_ne!(group("Who are you?"), group("Who is he?"));
        assert_ne!(group("?"), group("!"));
    }
}
