//! Tokens of a chat template that show in an answer: the model no longer ends its turn, or writes
//! the template as text.
//!
//! An answer may speak of such tokens, as one that explains a template does: what stands in code, or
//! in the question too, is none.

use std::sync::LazyLock;

use regex::Regex;

/// Tokens that only a template writes.
static TOKENS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"<\|[a-z_]{3,}(?:\|>|$)|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>|</?s>",
        r"|(?m:^\s*#{2,3} ?(?:Instruction|Response|Input):)",
    ))
    .ok()
});

/// A turn of the user after the answer. A word and a colon alone is how a dialogue is written, so
/// both speakers have to be there, each at the start of a line.
static TURNS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?m)^\s*(?:Human|User|用户)\s*[::][^\n]*\n(?:.*\n)*?\s*(?:Assistant|AI|助手)\s*[::]",
    )
    .ok()
});

/// Whether an answer shows the template, or goes on as the user.
pub(super) fn shows_template(prompt: &str, answer: &str) -> bool {
    let said = outside_code(answer);
    let found = |pattern: &LazyLock<Option<Regex>>| {
        let found = pattern.as_ref().and_then(|p| p.find(&said));
        found.map(|found| found.as_str().trim().to_owned())
    };
    let token = found(&TOKENS).is_some_and(|token| !prompt.contains(&token));
    let asks_for_dialogue = || {
        let prompt = prompt.to_lowercase();
        ["dialog", "conversation", "script", "chat", "对话", "聊天"]
            .iter()
            .any(|word| prompt.contains(word))
    };
    token || (found(&TURNS).is_some() && !asks_for_dialogue())
}

/// The text without fenced blocks and inline code. A block without an end goes to the end.
fn outside_code(text: &str) -> String {
    let mut kept = String::new();
    for (i, part) in text.split("```").enumerate() {
        if i % 2 == 0 {
            let pieces = part.split('`').enumerate();
            pieces
                .filter(|(i, _)| i % 2 == 0)
                .for_each(|(_, piece)| kept.push_str(piece));
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_that_shows_is_seen() {
        for said in [
            "Paris.<|im_end|>\n<|im_start|>user",
            "Paris.<|im_end|>",
            "[INST] And of Peru? [/INST] Lima",
            "Paris.</s>",
            "Paris.\n\n### Instruction:\nName another one.",
            "Paris.\nUser: And of Peru?\nAssistant: Lima.",
        ] {
            assert!(
                shows_template("What is the capital of France?", said),
                "{said}"
            );
        }
    }

    #[test]
    fn speaking_of_a_template_is_none() {
        for (prompt, said) in [
            (
                "How does ChatML mark a turn?",
                "With `<|im_start|>` and `<|im_end|>`.",
            ),
            ("What is <|im_end|>?", "<|im_end|> ends a turn."),
            ("Show the template.", "```\n<|im_start|>user\n```"),
            ("Sort a list.", "if a <b> c: a <|b"),
            ("Write a dialogue.", "User: Hello.\nAssistant: Hello!"),
            ("Who is it for?", "User: the person who asks."),
        ] {
            assert!(!shows_template(prompt, said), "{said}");
        }
    }
}
