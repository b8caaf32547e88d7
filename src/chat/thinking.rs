//! Thinking of a model, kept apart from its answer.
//!
//! Qwen3, QwQ, SmolLM3, and the distills of R1 write what they think between `<think>` and
//! `</think>`, then the answer. Some templates open the block themselves, at the end of a prompt.
//! What a user is shown is the answer, so that alone is judged.

use super::{ChatError, ChatTemplate, Message, Tokenizer};

/// How models mark their thinking; the first pair that a template or a vocabulary knows is theirs.
const MARKS: [(&str, &str); 4] = [
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("<thinking>", "</thinking>"),
];

/// Ids of a prompt's end in which an opened block is looked for.
const TAIL: usize = 16;

/// How a model thinks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thinking {
    open: &'static str,
    close: &'static str,
    /// The marks where each is one token.
    ids: Option<(u32, u32)>,
    expected: bool,
}

/// An answer in its two parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spoken {
    /// What was thought, its marks left out; `None` when nothing was.
    pub thinking: Option<String>,
    /// Tokens up to the end of the thinking, its closing mark included; all of them while it is
    /// open.
    pub thinking_tokens: usize,
    /// Whether the thinking has not ended: there is no answer yet then.
    pub open: bool,
    /// The answer, without special tokens.
    pub text: String,
}

impl Thinking {
    /// How the model of this template and tokenizer thinks.
    pub fn of(template: &ChatTemplate, tokenizer: &Tokenizer) -> Self {
        let ids = |(open, close): (&str, &str)| {
            let ids = (tokenizer.id_of(open)?, tokenizer.id_of(close)?);
            Some(ids)
        };
        let source = template.source();
        let known = |marks: &&(&str, &str)| {
            source.contains(marks.0) || source.contains(marks.1) || ids(**marks).is_some()
        };
        let found = MARKS.iter().find(known);
        let (open, close) = *found.unwrap_or(&MARKS[0]);
        Thinking {
            open,
            close,
            ids: ids((open, close)),
            expected: found.is_some(),
        }
    }

    /// Whether an answer to this prompt may be expected to think: its template or vocabulary knows
    /// how, and the prompt does not close the block itself.
    pub fn is_expected(&self, prompt: &[u32], tokenizer: &Tokenizer) -> Result<bool, ChatError> {
        Ok(self.expected && !tail(prompt, tokenizer)?.ends_with(self.close))
    }

    /// Whether a prompt ends in an open block.
    pub fn is_opened(&self, prompt: &[u32], tokenizer: &Tokenizer) -> Result<bool, ChatError> {
        Ok(tail(prompt, tokenizer)?.ends_with(self.open))
    }

    /// The two parts of an answer's tokens; `opened` says that the prompt opened the block.
    ///
    /// A block begins at the beginning of the answer. One that is closed and was never opened began
    /// there too: that is how a distill answers whose template forgot to open it.
    pub fn split(
        &self,
        ids: &[u32],
        opened: bool,
        tokenizer: &Tokenizer,
    ) -> Result<Spoken, ChatError> {
        let (begun, end) = self.place(ids, opened, tokenizer)?;
        if !begun {
            return Ok(Spoken {
                text: tokenizer.decode(ids)?,
                ..Spoken::default()
            });
        }
        let thinking_tokens = end.unwrap_or(ids.len());
        let (thought, said) = ids.split_at(thinking_tokens);
        let thought = tokenizer.decode(thought)?;
        let thought = thought.trim_start();
        let thought = thought.strip_prefix(self.open).unwrap_or(thought).trim();
        let thought = thought.strip_suffix(self.close).unwrap_or(thought).trim();
        let open = end.is_none();
        Ok(Spoken {
            thinking: (open || !thought.is_empty()).then(|| thought.to_owned()),
            thinking_tokens,
            open,
            text: tokenizer.decode(said)?.trim_start().to_owned(),
        })
    }

    /// Tokens up to the end of the thinking, and whether it is still open: what [`Thinking::split`]
    /// says of them, without the texts.
    pub fn length(
        &self,
        ids: &[u32],
        opened: bool,
        tokenizer: &Tokenizer,
    ) -> Result<(usize, bool), ChatError> {
        Ok(match self.place(ids, opened, tokenizer)? {
            (false, _) => (0, false),
            (true, None) => (ids.len(), true),
            (true, Some(end)) => (end, false),
        })
    }

    /// Whether thinking has begun, and how many tokens it has with its closing mark.
    fn place(
        &self,
        ids: &[u32],
        opened: bool,
        tokenizer: &Tokenizer,
    ) -> Result<(bool, Option<usize>), ChatError> {
        if let Some((open, close)) = self.ids {
            let end = ids.iter().position(|&id| id == close).map(|at| at + 1);
            if opened || end.is_some() {
                return Ok((true, end));
            }
            // Blanks may come before it; nobody writes more than a few.
            for &id in ids.iter().take(4) {
                if id == open {
                    return Ok((true, None));
                }
                if !tokenizer.decode_with_special(&[id])?.trim().is_empty() {
                    break;
                }
            }
            return Ok((false, None));
        }
        let head = tokenizer.decode(&ids[..ids.len().min(TAIL)])?;
        if !opened && !head.trim_start().starts_with(self.open) {
            return Ok((false, None));
        }
        let closed =
            |n: usize| Ok::<_, ChatError>(tokenizer.decode(&ids[..n])?.contains(self.close));
        if !closed(ids.len())? {
            return Ok((true, None));
        }
        // The fewest tokens that hold the mark.
        let (mut without, mut with) = (0, ids.len());
        while with - without > 1 {
            let middle = without + (with - without) / 2;
            match closed(middle)? {
                true => with = middle,
                false => without = middle,
            }
        }
        Ok((true, Some(with)))
    }

    /// Text to put after a prompt so that an answer begins without thinking: the empty block that
    /// the template writes with `enable_thinking` switched off, or the end of the block that the
    /// prompt opens. Empty where an answer begins at once.
    ///
    /// # Errors
    /// The template refuses the conversation.
    pub fn skipped(&self, template: &ChatTemplate, turns: &[Message]) -> Result<String, ChatError> {
        let prompt = template.render_turns(turns, true)?;
        if let Some(opened) = self.opened_by(&prompt) {
            return Ok(self.closing(opened, ""));
        }
        let switch = "enable_thinking";
        if !self.expected || !template.source().contains(switch) {
            return Ok(String::new());
        }
        let off = template.variables().with(switch, false.into());
        let off = template
            .clone()
            .with_variables(off)
            .render_turns(turns, true)?;
        let added = off.strip_prefix(&prompt).unwrap_or_default();
        Ok(added.to_owned())
    }

    /// From the opening mark on, what a prompt ends with where it opens a block.
    pub(super) fn opened_by<'t>(&self, prompt: &'t str) -> Option<&'t str> {
        let end = prompt.trim_end();
        end.ends_with(self.open)
            .then(|| &prompt[end.len() - self.open.len()..])
    }

    /// What follows `opened`, the end of a prompt, to close the block after these thoughts.
    pub(super) fn closing(&self, opened: &str, thoughts: &str) -> String {
        let line = if opened.ends_with('\n') { "" } else { "\n" };
        format!("{line}{thoughts}\n{}\n\n", self.close)
    }

    /// Thoughts that a turn of a conversation brings in its text.
    pub(super) fn thoughts_in<'t>(&self, content: &'t str) -> &'t str {
        let Some((thoughts, _)) = content.split_once(self.close) else {
            return "";
        };
        let thoughts = thoughts.trim_start();
        thoughts.strip_prefix(self.open).unwrap_or(thoughts).trim()
    }
}

/// An answer that is given as text, without the block of thinking that it begins with.
pub fn after_thinking(text: &str) -> &str {
    let closed = MARKS.iter().find_map(|(open, close)| {
        let thoughts = text.trim_start().strip_prefix(open)?;
        Some(thoughts.split_once(close)?.1)
    });
    closed.map_or(text, str::trim_start)
}

fn tail(prompt: &[u32], tokenizer: &Tokenizer) -> Result<String, ChatError> {
    let tail = &prompt[prompt.len().saturating_sub(TAIL)..];
    let text = tokenizer.decode_with_special(tail)?;
    Ok(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::chat::Conversation;

    /// ChatML; with `tokens`, the marks are one token each, as in Qwen3's vocabulary.
    fn tokenizer(tokens: bool) -> Tokenizer {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/fixtures/models/fixture/tokenizer.json"
        );
        let text = std::fs::read_to_string(Path::new(path)).unwrap();
        let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
        if tokens {
            let next = 1 + json["added_tokens"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(|t| t["id"].as_u64())
                .max()
                .unwrap()
                .max(json["model"]["vocab"].as_object().unwrap().len() as u64);
            for (id, content) in (next..).zip(["<think>", "</think>"]) {
                json["added_tokens"]
                    .as_array_mut()
                    .unwrap()
                    .push(serde_json::json!({
                        "id": id, "content": content, "single_word": false, "lstrip": false,
                        "rstrip": false, "normalized": false, "special": false
                    }));
            }
        }
        Tokenizer::from_bytes(json.to_string().as_bytes(), "test").unwrap()
    }

    fn template(generation_prompt: &str) -> ChatTemplate {
        let source = format!(
            "{{% for m in messages %}}<|im_start|>{{{{ m.role }}}}\n{{{{ m.content }}}}<|im_end|>\n\
             {{% endfor %}}{{% if add_generation_prompt %}}<|im_start|>assistant\n\
             {generation_prompt}{{% endif %}}"
        );
        ChatTemplate::new(&source, BTreeMap::new()).unwrap()
    }

    const OPENS: &str = "<think>\n";
    const SWITCHED: &str = "\
        {%- if enable_thinking is defined and enable_thinking is false %}\
        {{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}";

    fn split(said: &str, opened: bool, tokens: bool) -> (Option<String>, bool, String) {
        let tokenizer = tokenizer(tokens);
        let thinking = Thinking::of(&template(OPENS), &tokenizer);
        let ids = tokenizer.encode(said).unwrap();
        let spoken = thinking.split(&ids, opened, &tokenizer).unwrap();
        let (length, open) = thinking.length(&ids, opened, &tokenizer).unwrap();
        assert_eq!((spoken.thinking_tokens, spoken.open), (length, open));
        (spoken.thinking, spoken.open, spoken.text)
    }

    #[test]
    fn thinking_is_no_part_of_the_answer() {
        for tokens in [false, true] {
            let of = |said, opened| split(said, opened, tokens);
            let thought = |text: &str| Some(text.to_owned());
            assert_eq!(
                of("<think>\n2 + 2 is 5?\n</think>\n\n4.", false),
                (thought("2 + 2 is 5?"), false, "4.".into())
            );
            assert_eq!(
                of("2 + 2 is 5?\n</think>\n\n4.", true),
                (thought("2 + 2 is 5?"), false, "4.".into()),
                "the prompt opened it"
            );
            assert_eq!(
                of("<think>\n\n</think>\n\n4.", false),
                (None, false, "4.".into()),
                "an empty block is no thought"
            );
            assert_eq!(
                of(" 4 <think>.", false),
                (None, false, " 4 <think>.".into())
            );
            assert_eq!(
                of("<think>\n2 + 2", false),
                (thought("2 + 2"), true, String::new()),
                "cut"
            );
            assert_eq!(of("2 + 2", true), (thought("2 + 2"), true, String::new()));
            assert_eq!(of("", true), (thought(""), true, String::new()));
            assert_eq!(of("", false), (None, false, String::new()));
        }
        // Only where the mark is a token of its own, so that no text can be taken for it.
        assert_eq!(
            split("2 + 2?</think>4.", false, true),
            (Some("2 + 2?".into()), false, "4.".into())
        );
        assert_eq!(split("a </think> b", false, false).2, "a </think> b");
    }

    #[test]
    fn a_text_is_the_answer_after_its_thinking() {
        for (text, answer) in [
            ("<think> Not green. </think> Blue.", "Blue."),
            (" <think>\n\n</think>\n\nBlue.", "Blue."),
            ("[THINK]Hm.[/THINK]Blue.", "Blue."),
            (
                " Blue, not <think>green</think>.",
                " Blue, not <think>green</think>.",
            ),
            ("<think> never ended", "<think> never ended"),
        ] {
            assert_eq!(after_thinking(text), answer);
        }
    }

    #[test]
    fn a_prompt_says_whether_its_answer_thinks() {
        let tokenizer = tokenizer(true);
        let of = |source: &ChatTemplate| {
            let thinking = Thinking::of(source, &tokenizer);
            let prompt = source
                .render(&Conversation::prompt(None, "hi"), true)
                .unwrap();
            let ids = tokenizer.encode(&prompt).unwrap();
            let opened = thinking.is_opened(&ids, &tokenizer).unwrap();
            (opened, thinking.is_expected(&ids, &tokenizer).unwrap())
        };
        assert_eq!(of(&template(OPENS)), (true, true));
        assert_eq!(of(&template(SWITCHED)), (false, true));
        let off = crate::chat::Variables::default().with("enable_thinking", false.into());
        assert_eq!(of(&template(SWITCHED).with_variables(off)), (false, false));
        let plain = super::tests::tokenizer(false);
        let none = Thinking::of(&template(""), &plain);
        assert!(!none.is_expected(&[], &plain).unwrap());
    }

    /// Likelihoods are of answers: they begin where an answer without thinking begins.
    #[test]
    fn thinking_can_be_skipped() {
        let tokenizer = tokenizer(true);
        let turns = [Message::user("hi")];
        let skipped = |source: &str| {
            let template = template(source);
            let thinking = Thinking::of(&template, &tokenizer);
            thinking.skipped(&template, &turns).unwrap()
        };
        assert_eq!(skipped(OPENS), "\n</think>\n\n");
        assert_eq!(skipped("<think>"), "\n\n</think>\n\n");
        assert_eq!(skipped(SWITCHED), "<think>\n\n</think>\n\n");
        assert_eq!(skipped(""), "");
    }
}
