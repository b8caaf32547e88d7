//! A conversation to train on: token ids, and which of them carry loss.
//!
//! Loss lies on what the assistant says and on the token that ends its turn, and on nothing else.
//! Where an answer begins is not guessed from special tokens: the conversation up to it is
//! rendered with a generation prompt, as a probe's prompt is, and what follows is the answer.

use super::{ChatError, ChatTemplate, Conversation, Role, Tokenizer};

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
        let whole = self.render_turns(turns, false)?;
        let mut spans = Vec::new();
        let mut unlabelled_answers = 0;
        for (i, _) in turns.iter().enumerate().filter(|(_, t)| t.role == Role::Assistant) {
            let prompt = self.render_turns(&turns[..i], true)?;
            let is_last = i + 1 == turns.len();
            let through =
                if is_last { whole.clone() } else { self.render_turns(&turns[..=i], false)? };
            if whole.starts_with(&prompt) && whole.starts_with(&through) {
                spans.push(Span { start: prompt.len(), end: through.len() });
            } else if is_last {
                return Err(not_prefix_stable(&whole, &prompt));
            } else {
                unlabelled_answers += 1;
            }
        }
        let mut labelled = self.encode_spans(&whole, &spans, tokenizer)?;
        labelled.unlabelled_answers = unlabelled_answers;
        Ok(labelled)
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

fn encode_apart(
    whole: &str,
    spans: &[Span],
    tokenizer: &Tokenizer,
) -> Result<Labelled, ChatError> {
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
        let last = ids[start..end].iter().rposition(|&id| tokenizer.ends_turn(id));
        ends_turn &= last.is_some();
        let end = last.map_or(end, |last| start + last + 1);
        is_label[start..end].fill(true);
    }
    Labelled { ids, is_label, ends_turn, unlabelled_answers: 0 }
}

fn not_prefix_stable(whole: &str, prompt: &str) -> ChatError {
    let mut parted =
        whole.bytes().zip(prompt.bytes()).take_while(|(a, b)| a == b).count().min(whole.len());
    while !whole.is_char_boundary(parted) || !prompt.is_char_boundary(parted) {
        parted -= 1;
    }
    let show = |text: &str| text[parted..].chars().take(40).collect();
    ChatError::NotPrefixStable { with_answer: show(whole), prompt_end: show(prompt) }
}
