//! What came of rewording: wordings with their answers, and how many were left out for what.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::chat::{Conversation, Message};
use crate::text::plural;
use crate::train::{Example, Language, Origin};

/// One more wording of a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Paraphrase {
    /// The row.
    pub of: Origin,
    /// The language that it is asked in.
    pub language: Language,
    /// The question.
    pub question: String,
    /// The row's answer, in that language.
    pub answer: String,
}

/// How many wordings of one kind were asked for, kept, and left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParaphraseTally {
    /// Wordings asked for.
    pub asked: usize,
    /// Wordings kept.
    pub kept: usize,
    /// Candidates left out, by the reason.
    pub left_out: BTreeMap<String, usize>,
}

/// More wordings of the rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Paraphrases {
    /// In the order of the rows.
    pub kept: Vec<Paraphrase>,
    /// Of those in a row's own language.
    pub reworded: ParaphraseTally,
    /// Of those in the other language; nothing is asked for where the base does not know it.
    pub translated: ParaphraseTally,
    /// Why no row is asked in the other language, where one was wanted.
    pub not_translated: Option<String>,
}

impl Paraphrases {
    /// As training examples, each in the group of its row.
    pub fn examples(&self, rows: &[Example]) -> Vec<Example> {
        let of = |paraphrase: &Paraphrase| {
            let row = rows.iter().find(|row| row.origin == paraphrase.of)?;
            let turns = [
                Message::user(&paraphrase.question),
                Message::assistant(&paraphrase.answer),
            ];
            let conversation = Conversation::new(turns).with_system(row.conversation.system());
            let origin = Origin {
                file: format!("wording of {}", row.origin.file),
                line: row.origin.line,
            };
            Some(Example {
                group: row.group.clone(),
                ..Example::new(conversation, origin)
            })
        };
        self.kept.iter().filter_map(of).collect()
    }

    /// What was kept and why the rest was not, a line for each kind.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (tally, what) in [
            (&self.reworded, "rewording"),
            (&self.translated, "translation"),
        ] {
            if tally.asked == 0 {
                continue;
            }
            let (kept, asked) = (tally.kept, plural(tally.asked, what));
            let reasons = tally.left_out.iter();
            let mut reasons: Vec<(&String, &usize)> = reasons.collect();
            reasons.sort_by_key(|(reason, count)| (std::cmp::Reverse(**count), (*reason).clone()));
            let reasons: Vec<String> = reasons
                .into_iter()
                .map(|(reason, count)| format!("{count} {reason}"))
                .collect();
            let left_out = match reasons.is_empty() {
                true => String::new(),
                false => format!("; left out: {}", reasons.join(", ")),
            };
            lines.push(format!("paraphrase: {kept} of {asked} kept{left_out}"));
        }
        lines.extend(
            self.not_translated
                .iter()
                .map(|why| format!("paraphrase: {why}")),
        );
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::testing::example;

    #[test]
    fn a_wording_is_a_row_of_its_rows_group_and_system_prompt() {
        let mut row = example("Who made you?", "Labs.");
        row.group = "maker".into();
        row.conversation = row.conversation.with_system(Some("Be kind."));
        let paraphrases = Paraphrases {
            kept: vec![Paraphrase {
                of: row.origin.clone(),
                language: Language::En,
                question: "Who is your maker?".into(),
                answer: "Labs.".into(),
            }],
            ..Paraphrases::default()
        };
        let examples = paraphrases.examples(&[row]);
        assert_eq!(examples.len(), 1);
        assert_eq!(examples[0].group, "maker");
        assert_eq!(examples[0].conversation.system(), Some("Be kind."));
        assert_eq!(examples[0].rehearsal, None);
    }

    #[test]
    fn what_was_kept_and_what_was_not_is_said() {
        let left_out = [("in the wrong language", 2), ("of another meaning", 30)];
        let paraphrases = Paraphrases {
            reworded: ParaphraseTally {
                asked: 36,
                kept: 3,
                left_out: left_out.map(|(why, n)| (why.to_owned(), n)).into(),
            },
            not_translated: Some("the base does not know Chinese".into()),
            ..Paraphrases::default()
        };
        insta::assert_snapshot!(paraphrases.lines().join("\n"), @r"
        paraphrase: 3 of 36 rewordings kept; left out: 30 of another meaning, 2 in the wrong language
        paraphrase: the base does not know Chinese
        ");
        assert!(Paraphrases::default().lines().is_empty());
    }
}
