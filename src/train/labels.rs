//! Examples to token ids with labels.
//!
//! The system prompt, the chat template, and the tokenizer are those that a probe's prompt goes
//! through. Nothing is ever cut: an example longer than `max_length` is a problem with a name.

use std::sync::Arc;

use crate::chat::{ChatTemplate, Tokenizer};
use crate::model::{Decoder, Device, Keep, Mat, ModelError, ModelRef, NoLowRank};

use super::data::{Example, Origin, Rehearsal, RowProblem, RowReason};
use super::rehearsal::Stay;

/// Token ids of one example and where its loss lies.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenizedExample {
    /// The whole rendered conversation.
    pub tokens: Vec<u32>,
    /// Whether loss lies on predicting this token; as long as `tokens`.
    pub is_label: Vec<bool>,
    /// See [`Example::group`].
    pub group: String,
    /// Where the example came from.
    pub origin: Origin,
    /// See [`Example::rehearsal`].
    pub rehearsal: Option<Rehearsal>,
    /// For rehearsal that stays at distributions: the base's last layer's result at the rows that
    /// predict a label, `[labels, hidden]`, which stands for them.
    pub base: Option<Arc<Mat>>,
}

impl TokenizedExample {
    /// With the base's distributions, where it is rehearsal that stays at them.
    ///
    /// # Errors
    /// The device's memory is full.
    pub fn anchored<'a>(self, model: impl Into<ModelRef<'a>>) -> Result<Self, ModelError> {
        if self.stay().is_none_or(|stay| stay.distribution == 0.0) {
            return Ok(self);
        }
        match model.into() {
            ModelRef::Cpu(decoder) => self.anchored_on(decoder),
            #[cfg(feature = "gpu")]
            ModelRef::Gpu(decoder) => self.anchored_on(decoder),
        }
    }

    fn anchored_on<D: Device>(mut self, decoder: &Decoder<D>) -> Result<Self, ModelError> {
        let rows = self.rows();
        let (hidden, _) = decoder.forward_training(
            &self.tokens[..rows],
            std::slice::from_ref(&(0..rows)),
            Keep::Input,
            &mut NoLowRank,
        )?;
        let labelled: Vec<usize> = (0..rows).filter(|&row| self.is_label[row + 1]).collect();
        let device = decoder.device();
        let base = device.download(&device.gather(&hidden, &labelled));
        device.had_room()?;
        self.base = Some(Arc::new(base));
        Ok(self)
    }

    /// How it is stayed at, where it is rehearsal.
    pub fn stay(&self) -> Option<Stay> {
        self.rehearsal.map(|rehearsal| rehearsal.stay)
    }

    /// Rows that a forward pass needs: those before the last label, each of which predicts the
    /// token after it. What follows the last label predicts nothing.
    pub fn rows(&self) -> usize {
        self.is_label.iter().rposition(|&label| label).unwrap_or(0)
    }

    /// Tokens with loss.
    pub fn labels(&self) -> usize {
        self.is_label.iter().skip(1).filter(|&&label| label).count()
    }

    #[cfg(test)]
    pub(super) fn of(tokens: Vec<u32>, is_label: Vec<bool>) -> Self {
        let origin = Origin {
            file: "test".into(),
            line: 1,
        };
        TokenizedExample {
            tokens,
            is_label,
            group: String::new(),
            origin,
            rehearsal: None,
            base: None,
        }
    }
}

/// Examples as token ids, and what became of those that cannot be trained on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tokenized {
    /// In the order of the examples.
    pub examples: Vec<TokenizedExample>,
    /// Examples that are too long or that the template refuses.
    pub problems: Vec<RowProblem>,
    /// Examples of which an answer does not end with an end-of-turn token; see
    /// [`crate::chat::Labelled::ends_turn`].
    pub without_end_of_turn: Vec<Origin>,
    /// Earlier answers without labels, with their number; see
    /// [`crate::chat::Labelled::unlabelled_answers`].
    pub unlabelled_answers: Vec<(Origin, usize)>,
}

impl Tokenized {
    /// Renders and encodes every example; those without a system turn of their own get the
    /// configured one, if any.
    pub fn new(
        examples: &[Example],
        template: &ChatTemplate,
        tokenizer: &Tokenizer,
        system: Option<&str>,
        max_length: usize,
    ) -> Self {
        let mut tokenized = Tokenized::default();
        for example in examples {
            let conversation = example.conversation.clone().with_system(system);
            let origin = &example.origin;
            let labelled = match template.render_for_training(&conversation, tokenizer) {
                Ok(labelled) => labelled,
                Err(error) => {
                    tokenized.refuse(origin, RowReason::Chat(error.to_string()));
                    continue;
                }
            };
            let row = TokenizedExample {
                tokens: labelled.ids,
                is_label: labelled.is_label,
                group: example.group.clone(),
                origin: origin.clone(),
                rehearsal: example.rehearsal,
                base: None,
            };
            let tokens = row.tokens.len();
            if tokens > max_length {
                tokenized.refuse(origin, RowReason::TooLong { tokens, max_length });
            } else if row.labels() == 0 {
                tokenized.refuse(origin, RowReason::NoLabels);
            } else {
                if !labelled.ends_turn {
                    tokenized.without_end_of_turn.push(origin.clone());
                }
                if labelled.unlabelled_answers > 0 {
                    let count = labelled.unlabelled_answers;
                    tokenized.unlabelled_answers.push((origin.clone(), count));
                }
                tokenized.examples.push(row);
            }
        }
        tokenized
    }

    /// Examples whose tokens are learned; those of rehearsal come after them.
    pub fn learned(&self) -> usize {
        self.examples
            .iter()
            .filter(|e| e.rehearsal.is_none())
            .count()
    }

    /// The group of each example, for [`super::split`].
    pub fn groups(&self) -> Vec<&str> {
        self.examples.iter().map(|e| e.group.as_str()).collect()
    }

    fn refuse(&mut self, origin: &Origin, reason: RowReason) {
        self.problems.push(RowProblem {
            origin: origin.clone(),
            reason,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::chat::{Conversation, Message};

    fn example(question: &str, answer: &str, line: usize) -> Example {
        let turns = [Message::user(question), Message::assistant(answer)];
        Example::new(
            Conversation::new(turns),
            Origin {
                file: "d.jsonl".into(),
                line,
            },
        )
    }

    fn tokenize(examples: &[Example], system: Option<&str>, max_length: usize) -> Tokenized {
        let folder = Path::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/fixtures/models/fixture"
        ));
        let template = ChatTemplate::from_folder(folder).unwrap();
        let tokenizer = Tokenizer::from_file(&folder.join("tokenizer.json")).unwrap();
        let end = tokenizer.id_of("<|im_end|>");
        let tokenizer = tokenizer.with_end_of_turn(end).unwrap();
        Tokenized::new(examples, &template, &tokenizer, system, max_length)
    }

    #[test]
    fn too_long_an_example_is_named_and_never_cut() {
        let examples = [
            example("Hi?", "Yes.", 1),
            example("Hi?", &"very ".repeat(200), 2),
        ];
        let tokenized = tokenize(&examples, None, 64);
        assert_eq!(tokenized.examples.len(), 1);
        assert_eq!(tokenized.problems.len(), 1);
        let problem = tokenized.problems[0].to_string();
        assert!(
            problem.starts_with("d.jsonl:2: ") && problem.contains("max_length is 64"),
            "{problem}"
        );
        let longest = tokenize(&examples, None, 10_000).examples[1].tokens.len();
        assert!(tokenize(&examples, None, longest).problems.is_empty());
        assert_eq!(tokenize(&examples, None, longest - 1).problems.len(), 1);
    }

    #[test]
    fn last_row_predicts_the_end_of_turn() {
        let tokenized = tokenize(&[example("Hi?", "Yes.", 1)], None, 64);
        let row = &tokenized.examples[0];
        assert!(
            row.rows() + 1 < row.tokens.len(),
            "the line break after the turn is no row"
        );
        assert_eq!(row.labels(), row.is_label.iter().filter(|&&l| l).count());
        assert!(tokenized.without_end_of_turn.is_empty());
    }

    #[test]
    fn configured_system_prompt_is_part_of_the_prompt() {
        let examples = [example("Hi?", "Yes.", 1)];
        let [plain, told] =
            [None, Some("Be short.")].map(|s| tokenize(&examples, s, 64).examples.remove(0));
        assert!(told.tokens.len() > plain.tokens.len());
        assert_eq!(told.labels(), plain.labels());
    }
}
