//! What a template writes where an answer ends.
//!
//! An adapter trained with a template learns to end its answers with what the template writes
//! there, whatever the model's files call the end of a text: base Qwen2.5 has `<|endoftext|>` as its
//! `eos_token` and a template of ChatML, which writes `<|im_end|>`. Asked without knowing that token,
//! every answer would run to its length.

use super::{ChatError, ChatTemplate, Conversation, Message, Tokenizer};

/// What a template writes where an answer ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TurnEnd {
    /// The token that it writes first after an answer, blanks left out; `None` where that is
    /// ordinary text, or nothing.
    pub token: Option<u32>,
    /// All text after the last answer of a conversation.
    pub text: String,
}

impl ChatTemplate {
    /// Finds it by rendering a conversation with an answer. A template that refuses that
    /// conversation, or changes what was said, has none: who trains on it hears of that.
    ///
    /// # Errors
    /// A text that cannot be encoded.
    pub fn turn_end(&self, tokenizer: &Tokenizer) -> Result<TurnEnd, ChatError> {
        const ANSWER: &str = "c3d8-the-answer";
        const NEXT: &str = "e5f6-the-next-question";
        let said = [Message::user("Hello."), Message::assistant(ANSWER)];
        let asked_again = [&said[..], &[Message::user(NEXT)]].concat();
        let after = |turns: &[Message], prompt| -> Option<String> {
            let text = self.render(&Conversation::new(turns), prompt).ok()?;
            Some(text.rsplit_once(ANSWER)?.1.to_owned())
        };
        let text = after(&said, false).unwrap_or_default();
        let mut token = first_token(&text, tokenizer)?;
        if token.is_none() && text.trim().is_empty() {
            // Some write the end of a turn only where another follows.
            let following = after(&asked_again, true).unwrap_or_default();
            let between = following.split(NEXT).next().unwrap_or_default();
            token = first_token(between, tokenizer)?;
        }
        Ok(TurnEnd { token, text })
    }
}

/// The first token that is no blank, where it is one that the vocabulary was given by name, and no
/// piece of ordinary text.
fn first_token(text: &str, tokenizer: &Tokenizer) -> Result<Option<u32>, ChatError> {
    for id in tokenizer.encode(text)? {
        if !tokenizer.decode_with_special(&[id])?.trim().is_empty() {
            return Ok(Some(id).filter(|&id| tokenizer.is_named(id)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;

    fn tokenizer() -> Tokenizer {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/fixtures/models/fixture/tokenizer.json"
        );
        Tokenizer::from_file(Path::new(path)).unwrap()
    }

    fn end(source: &str) -> (Option<String>, String) {
        let (template, tokenizer) = (ChatTemplate::new(source, BTreeMap::new()), tokenizer());
        let end = template.unwrap().turn_end(&tokenizer).unwrap();
        (end.token.and_then(|id| tokenizer.token_of(id)), end.text)
    }

    fn each(turn: &str) -> String {
        format!("{{% for m in messages %}}{turn}{{% endfor %}}")
    }

    #[test]
    fn the_end_of_a_turn_is_what_the_template_writes_there() {
        let named = |token: &str, text: &str| (Some(token.to_owned()), text.to_owned());
        assert_eq!(
            end(&each(
                "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
            )),
            named("<|im_end|>", "<|im_end|>\n")
        );
        assert_eq!(
            end(&each("{{ m.role }}: {{ m.content }} <|endoftext|>\n")),
            named("<|endoftext|>", " <|endoftext|>\n")
        );
        // Written only between turns: the next one's beginning ends an answer too.
        assert_eq!(
            end(
                "{% for m in messages %}{{ m.content }}{% if not loop.last %}<|im_end|>{% endif %}{% endfor %}"
            ),
            named("<|im_end|>", "")
        );
        assert_eq!(
            end(&each("<|im_start|>{{ m.content }}\n")),
            named("<|im_start|>", "\n")
        );
    }

    #[test]
    fn ordinary_text_ends_no_answer() {
        let plain = each("### {{ m.role }}:\n{{ m.content }}\n\n");
        assert_eq!(end(&plain), (None, "\n\n".to_owned()));
        assert_eq!(
            end(&each("{{ m.content }}</s>")),
            (None, "</s>".to_owned()),
            "no token of this vocabulary"
        );
        let refuses =
            "{% if messages | length > 1 %}{{ raise_exception('one turn only') }}{% endif %}x";
        assert_eq!(end(refuses), (None, String::new()));
    }
}
