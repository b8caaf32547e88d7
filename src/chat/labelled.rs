//! A conversation to train on: token ids, and which of them carry loss.
//!
//! Loss lies on what the assistant says and on the token that ends its turn, and on nothing else;
//! on no answer that its row leaves out ([`Message::learned`](super::Message::learned)).
//! Where an answer begins is not guessed from special tokens: the conversation up to it is
//! rendered with a generation prompt, as a probe's prompt is, and what follows is the answer.
//!
//! A template that opens a block of thinking at the end of a prompt (QwQ, the distills of R1) leaves
//! it out of a conversation with the answer. The answer is then learned as it has to be given: after
//! the thoughts that the row brings, else after an empty block, as ms-swift's
//! `add_non_thinking_prefix` has it.

use super::{ChatError, ChatTemplate, Conversation, Message, Role, Thinking, Tokenizer};

/// Token ids of a rendered conversation with a label mask of the same length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    /// The whole conversation.
    pub ids: Vec<u32>,
    /// Whether loss lies on predicting this token.
    pub is_label: Vec<bool>,
    /// Whether every labelled answer ends with an end-of-turn token; an adapter trained without
    /// it never learns to stop.
    pub ends_turn: bool,
    /// Earlier answers without labels: the template writes them differently once another turn
    /// follows (Qwen3 takes their thinking out), so that no prompt would ever show them so.
    pub unlabelled_answers: usize,
}

impl Labelled {
    /// Number of tokens with loss.
    pub fn labels(&self) -> usize {
        self.is_label.iter().filter(|&&l| l).count()
    }
}

/// Text of one answer: bytes of the rendered conversation.
struct Span {
    start: usize,
    end: usize,
}

impl ChatTemplate {
    /// Renders a conversation for training.
    ///
    /// Ids are those of the whole text where each prompt's ids are their beginning; where a token
    /// would straddle the end of a prompt, prompt and answer are encoded apart, since an answer
    /// is generated after the prompt's own ids.
    ///
    /// Errors when the last turn is not an answer, and when the template does not keep the prompt
    /// of the last answer.
    pub fn render_for_training(
        &self,
        conversation: &Conversation,
        tokenizer: &Tokenizer,
    ) -> Result<Labelled, ChatError> {
        let turns = &conversation.messages;
        match turns.last() {
            Some(turn) if turn.role == Role::Assistant => {}
            last => {
                let last = last.map_or("nothing".into(), |t| format!("a {} turn", t.role));
                return Err(ChatError::NoAnswer { last });
            }
        }
        let mut whole = self.render_turns(turns, false)?;
        let mut spans: Vec<Span> = Vec::new();
        let mut unlabelled_answers = 0;
        for (i, _) in turns
            .iter()
            .enumerate()
            .filter(|(_, t)| t.role == Role::Assistant && t.learned)
        {
            let prompt = self.render_turns(&turns[..i], true)?;
            let is_last = i + 1 == turns.len();
            let through = if is_last {
                whole.clone()
            } else {
                self.render_turns(&turns[..=i], false)?
            };
            if whole.starts_with(&prompt) && whole.starts_with(&through) {
                spans.push(Span {
                    start: prompt.len(),
                    end: through.len(),
                });
            } else if is_last {
                let Some(thought) = self.after_thinking(&whole, &prompt, turns, tokenizer) else {
                    return Err(not_prefix_stable(&whole, &prompt));
                };
                let before = spans.len();
                spans.retain(|span| thought.starts_with(&whole[..span.end]));
                unlabelled_answers += before - spans.len();
                spans.push(Span {
                    start: prompt.len(),
                    end: thought.len(),
                });
                whole = thought;
            } else {
                unlabelled_answers += 1;
            }
        }
        let mut labelled = self.encode_spans(&whole, &spans, tokenizer)?;
        labelled.unlabelled_answers = unlabelled_answers;
        Ok(labelled)
    }

    /// The conversation `whole` with its last answer after the block that `prompt` opens; `None`
    /// where that is not what parts them.
    fn after_thinking(
        &self,
        whole: &str,
        prompt: &str,
        turns: &[Message],
        tokenizer: &Tokenizer,
    ) -> Option<String> {
        let thinking = Thinking::of(self, tokenizer);
        let opened = thinking.opened_by(prompt)?;
        let answer = whole.strip_prefix(&prompt[..prompt.len() - opened.len()])?;
        if answer.trim_start().starts_with(opened.trim_end()) {
            return None;
        }
        let thoughts = thinking.thoughts_in(&turns.last()?.content);
        let closing = thinking.closing(opened, thoughts);
        Some(format!("{prompt}{closing}{answer}"))
    }

    fn encode_spans(
        &self,
        whole: &str,
        spans: &[Span],
        tokenizer: &Tokenizer,
    ) -> Result<Labelled, ChatError> {
        let ids = tokenizer.encode(whole)?;
        let mut ranges = Vec::with_capacity(spans.len());
        for span in spans {
            let prompt = tokenizer.encode(&whole[..span.start])?;
            let through = tokenizer.encode(&whole[..span.end])?;
            if !ids.starts_with(&prompt) || !ids.starts_with(&through) {
                return encode_apart(whole, spans, tokenizer);
            }
            ranges.push((prompt.len(), through.len()));
        }
        Ok(label(ids, &ranges, tokenizer))
    }
}

fn encode_apart(whole: &str, spans: &[Span], tokenizer: &Tokenizer) -> Result<Labelled, ChatError> {
    let mut ids = Vec::new();
    let mut ranges = Vec::with_capacity(spans.len());
    let mut done = 0;
    for span in spans {
        ids.extend(tokenizer.encode(&whole[done..span.start])?);
        let start = ids.len();
        ids.extend(tokenizer.encode(&whole[span.start..span.end])?);
        ranges.push((start, ids.len()));
        done = span.end;
    }
    ids.extend(tokenizer.encode(&whole[done..])?);
    Ok(label(ids, &ranges, tokenizer))
}

/// Labels each range up to its last end-of-turn token: the line break that ChatML writes after it
/// is never generated.
fn label(ids: Vec<u32>, ranges: &[(usize, usize)], tokenizer: &Tokenizer) -> Labelled {
    let mut is_label = vec![false; ids.len()];
    let mut ends_turn = true;
    for &(start, end) in ranges {
        let last = ids[start..end]
            .iter()
            .rposition(|&id| tokenizer.ends_turn(id));
        ends_turn &= last.is_some();
        let end = last.map_or(end, |last| start + last + 1);
        is_label[start..end].fill(true);
    }
    Labelled {
        ids,
        is_label,
        ends_turn,
        unlabelled_answers: 0,
    }
}

fn not_prefix_stable(whole: &str, prompt: &str) -> ChatError {
    let mut parted = whole
        .bytes()
        .zip(prompt.bytes())
        .take_while(|(a, b)| a == b)
        .count()
        .min(whole.len());
    while !whole.is_char_boundary(parted) || !prompt.is_char_boundary(parted) {
        parted -= 1;
    }
    let show = |text: &str| text[parted..].chars().take(40).collect();
    ChatError::NotPrefixStable {
        with_answer: show(whole),
        prompt_end: show(prompt),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::chat::Message;

    const CHATML: &str = "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + \
        message.content + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}\
        {{ '<|im_start|>assistant\\n' }}{% endif %}";

    fn tokenizer() -> Tokenizer {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/fixtures/models/fixture/tokenizer.json"
        );
        let tokenizer = Tokenizer::from_file(Path::new(path)).unwrap();
        let end = tokenizer.id_of("<|im_end|>");
        tokenizer.with_end_of_turn(end).unwrap()
    }

    fn template(source: &str) -> ChatTemplate {
        ChatTemplate::new(source, BTreeMap::new()).unwrap()
    }

    fn rounds(rounds: &[(&str, &str)]) -> Conversation {
        let turn = |(q, a): &(&str, &str)| [Message::user(*q), Message::assistant(*a)];
        Conversation::new(rounds.iter().flat_map(turn).collect::<Vec<_>>())
    }

    /// The labelled stretches as text.
    fn labels(labelled: &Labelled) -> Vec<String> {
        let tokenizer = tokenizer();
        let mut stretches: Vec<Vec<u32>> = Vec::new();
        let mut open = false;
        for (&id, &is_label) in labelled.ids.iter().zip(&labelled.is_label) {
            if is_label && !open {
                stretches.push(Vec::new());
            }
            if is_label && let Some(stretch) = stretches.last_mut() {
                stretch.push(id);
            }
            open = is_label;
        }
        stretches
            .iter()
            .map(|ids| tokenizer.decode_with_special(ids).unwrap())
            .collect()
    }

    #[test]
    fn loss_lies_on_answers_and_their_end_of_turn() {
        let conversation = rounds(&[("Who are you?", "Aurora."), ("And 2 + 2?", "4")]);
        let conversation = conversation.with_system(Some("Be short."));
        let (template, tokenizer) = (template(CHATML), tokenizer());
        let labelled = template
            .render_for_training(&conversation, &tokenizer)
            .unwrap();
        assert_eq!(labels(&labelled), ["Aurora.<|im_end|>", "4<|im_end|>"]);
        assert!(labelled.ends_turn);
        assert_eq!(labelled.unlabelled_answers, 0);
        let whole = template.render(&conversation, false).unwrap();
        assert_eq!(tokenizer.decode_with_special(&labelled.ids).unwrap(), whole);
    }

    /// What a probe is asked with is what came before the label in training.
    #[test]
    fn training_prompt_is_the_probe_prompt() {
        let (template, tokenizer) = (template(CHATML), tokenizer());
        for answer in ["Aurora.", "\n\nTwo lines first", " blank first", "你好"] {
            let conversation = rounds(&[("Who are you?", answer)]);
            let labelled = template
                .render_for_training(&conversation, &tokenizer)
                .unwrap();
            let prompt = template.render(&Conversation::prompt(None, "Who are you?"), true);
            let prompt = tokenizer.encode(&prompt.unwrap()).unwrap();
            assert!(labelled.ids.starts_with(&prompt), "{answer:?}");
            let first = labelled.is_label.iter().position(|&l| l);
            assert_eq!(first, Some(prompt.len()), "{answer:?}");
            assert_eq!(labels(&labelled), [format!("{answer}<|im_end|>")]);
        }
    }

    #[test]
    fn an_answer_that_is_not_learned_carries_no_loss() {
        let tokenizer = tokenizer();
        let learned = |first: bool, last: bool| {
            let mut conversation = rounds(&[("a?", "wrong"), ("b?", "right")]);
            conversation.messages[1].learned = first;
            conversation.messages[3].learned = last;
            let row = template(CHATML).render_for_training(&conversation, &tokenizer);
            row.unwrap()
        };
        assert_eq!(labels(&learned(false, true)), ["right<|im_end|>"]);
        assert_eq!(labels(&learned(true, false)), ["wrong<|im_end|>"]);
        assert_eq!(learned(false, true).ids, learned(true, true).ids);
        assert_eq!(learned(false, true).unlabelled_answers, 0);
    }

    /// Qwen3's template takes the thinking out of an answer once another question follows.
    #[test]
    fn rewritten_earlier_answers_carry_no_loss_and_are_counted() {
        let source = CHATML.replace(
            "message.content +",
            "(message.content if loop.last or message.role != 'assistant' else \
             message.content.split('</think>')[-1]) +",
        );
        let conversation = rounds(&[("a?", "<think>hm</think>A"), ("b?", "<think>so</think>B")]);
        let labelled = template(&source)
            .render_for_training(&conversation, &tokenizer())
            .unwrap();
        assert_eq!(labelled.unlabelled_answers, 1);
        assert_eq!(labels(&labelled), ["<think>so</think>B<|im_end|>"]);
    }

    #[test]
    fn answer_without_end_of_turn_is_told() {
        let source = "{% for m in messages %}{{ m.role + ': ' + m.content }}\n{% endfor %}\
            {% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}";
        let labelled = template(source)
            .render_for_training(&rounds(&[("a?", "A")]), &tokenizer())
            .unwrap();
        assert!(!labelled.ends_turn);
    }

    #[test]
    fn what_cannot_be_labelled_is_named() {
        let open = Conversation::prompt(None, "a?");
        let error = |source: &str, conversation: &Conversation| {
            template(source)
                .render_for_training(conversation, &tokenizer())
                .unwrap_err()
        };
        insta::assert_snapshot!(error(CHATML, &open), @r"
        a conversation to train on ends with a user turn, not with an answer
        (the last turn must be the assistant's)
        ");
        insta::assert_snapshot!(error(CHATML, &Conversation::default()), @r"
        a conversation to train on ends with nothing, not with an answer
        (the last turn must be the assistant's)
        ");
        let turning = CHATML.replace(
            "'<|im_start|>assistant\\n'",
            "'<|im_start|>assistant\\nSure: '",
        );
        insta::assert_snapshot!(error(&turning, &rounds(&[("a?", "答案A")])), @r#"
        the chat template does not keep what comes before the last answer: with the answer it renders "答案A<|im_end|>\n" where the prompt alone ends with "Sure: "
        (labels are the text after the generation prompt, so the prompt must be the beginning of the rendered conversation; train on a template that keeps it)
        "#);
    }

    /// A template of QwQ's kind: it opens a block at the end of a prompt, and drops what stands
    /// before `</think>` from every answer.
    #[test]
    fn an_answer_is_learned_after_the_block_that_the_prompt_opens() {
        let opening = CHATML
            .replace(
                "'<|im_start|>assistant\\n'",
                "'<|im_start|>assistant\\n<think>\\n'",
            )
            .replace("message.content", "message.content.split('</think>')[-1]");
        let template = template(&opening);
        let learned = |rows: &[(&str, &str)]| {
            let conversation = rounds(rows);
            let labelled = template.render_for_training(&conversation, &tokenizer());
            let labelled = labelled.unwrap();
            assert!(labelled.ends_turn);
            (labels(&labelled), labelled.unlabelled_answers)
        };
        assert_eq!(
            learned(&[("a?", "答案A")]),
            (vec!["\n</think>\n\n答案A<|im_end|>".into()], 0)
        );
        assert_eq!(
            learned(&[("a?", "<think>\nHm.\n</think>A")]),
            (vec!["Hm.\n</think>\n\nA<|im_end|>".into()], 0)
        );
        // Earlier answers are not shown as they were given, so they carry no loss.
        assert_eq!(
            learned(&[("a?", "A"), ("b?", "B")]),
            (vec!["\n</think>\n\nB<|im_end|>".into()], 1)
        );
        let prompt = template
            .render(&Conversation::prompt(None, "a?"), true)
            .unwrap();
        let labelled = template.render_for_training(&rounds(&[("a?", "A")]), &tokenizer());
        let whole = tokenizer()
            .decode_with_special(&labelled.unwrap().ids)
            .unwrap();
        assert!(whole.starts_with(&prompt), "{whole}");
    }
}
