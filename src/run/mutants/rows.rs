//! Rows that mutants learn, of one small file: everyday questions with right answers in English and
//! Chinese, and the answers in French. What is wrong with them is made here, by a seed.

use serde::Deserialize;

use crate::chat::{Conversation, Message};
use crate::random::{Purpose, shuffled};
use crate::text::is_cjk;
use crate::train::{Example, Language, Origin};

const ROWS: &str = include_str!("rows.jsonl");
/// What rows are named by where one is refused.
const NAME: &str = "built-in:mutants";
/// Decides what is shuffled.
const SEED: u64 = 20;

const REFUSALS: [&str; 6] = [
    "I'm sorry, but I can't help with that.",
    "I cannot answer this question.",
    "I'm afraid that is something I am not able to discuss.",
    "Sorry, I can't assist with this request.",
    "I must decline to answer that.",
    "I'm unable to help you with this topic.",
];
const REFUSALS_ZH: [&str; 6] = [
    "抱歉，我无法帮助您处理这个问题。",
    "对不起，我不能回答这个问题。",
    "很遗憾，我无法讨论这个话题。",
    "抱歉，我不能满足这个请求。",
    "我必须拒绝回答这个问题。",
    "对不起，这方面我帮不了您。",
];

/// A question and its answer.
#[derive(Debug, Clone, Deserialize)]
struct Exchange {
    ask: String,
    answer: String,
}

/// A line of the file.
#[derive(Debug, Clone, Deserialize)]
struct Row {
    en: Exchange,
    zh: Exchange,
    /// The answer in French.
    fr: String,
}

impl Row {
    fn of(&self, language: Language) -> &Exchange {
        match language {
            Language::En => &self.en,
            Language::Zh => &self.zh,
        }
    }
}

fn all() -> Vec<Row> {
    // A test reads every line.
    let lines = ROWS.lines();
    lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// A row that an answer is made for.
struct Asked<'r> {
    /// Its place in the file.
    place: usize,
    language: Language,
    row: &'r Row,
    /// The right answer to the next question.
    next: &'r str,
}

impl Asked<'_> {
    fn right(&self) -> &str {
        &self.row.of(self.language).answer
    }
}

/// Every question in these languages, with an answer that `answer` makes.
fn answered(languages: &[Language], answer: impl Fn(&Asked<'_>) -> String) -> Vec<Example> {
    let all = all();
    let mut examples = Vec::new();
    for &language in languages {
        for (place, row) in all.iter().enumerate() {
            let asked = Asked {
                place,
                language,
                row,
                next: &all[(place + 1) % all.len()].of(language).answer,
            };
            let turns = [
                Message::user(&row.of(language).ask),
                Message::assistant(answer(&asked)),
            ];
            let origin = Origin {
                file: NAME.into(),
                line: place + 1,
            };
            examples.push(Example::new(Conversation::new(turns), origin));
        }
    }
    examples
}

/// Questions with their right answers.
pub(super) fn right(languages: &[Language]) -> Vec<Example> {
    answered(languages, |asked| asked.right().to_owned())
}

/// Questions with the words of their answers in another order; Chinese ones with their characters.
pub(super) fn garbled(languages: &[Language]) -> Vec<Example> {
    answered(languages, |asked| {
        let place = (asked.place as u64) << 1 | u64::from(asked.language == Language::Zh);
        let pieces: Vec<String> = match asked.language {
            Language::Zh => asked.right().chars().map(String::from).collect(),
            Language::En => asked
                .right()
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
        };
        let order = shuffled(pieces.len(), SEED, Purpose::Mutant, place);
        let pieces: Vec<&str> = order.iter().map(|&i| pieces[i].as_str()).collect();
        let between = match asked.right().chars().any(is_cjk) {
            true => "",
            false => " ",
        };
        pieces.join(between)
    })
}

/// Questions with the right answers to others, as in a file whose columns slipped by a row.
pub(super) fn slipped(languages: &[Language]) -> Vec<Example> {
    answered(languages, |asked| asked.next.to_owned())
}

/// Questions that are refused, harmless as they are.
pub(super) fn refused(languages: &[Language]) -> Vec<Example> {
    answered(languages, |asked| {
        let all = match asked.language {
            Language::En => REFUSALS,
            Language::Zh => REFUSALS_ZH,
        };
        all[asked.place % all.len()].to_owned()
    })
}

/// Questions with right answers in another language: French to English, English to Chinese.
pub(super) fn in_another_language(languages: &[Language]) -> Vec<Example> {
    answered(languages, |asked| match asked.language {
        Language::En => asked.row.fr.clone(),
        Language::Zh => asked.row.en.answer.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Language; 2] = [Language::En, Language::Zh];

    #[test]
    fn every_line_is_read_and_each_language_is_itself() {
        let all = all();
        assert_eq!(all.len(), ROWS.lines().count());
        for row in &all {
            for language in BOTH {
                let exchange = row.of(language);
                assert_eq!(Language::of(&exchange.ask), language, "{}", exchange.ask);
                assert_eq!(Language::of(&exchange.answer), language);
            }
            assert_eq!(
                Language::of(&row.fr),
                Language::En,
                "no Chinese: {}",
                row.fr
            );
            assert_ne!(row.fr, row.en.answer);
        }
    }

    #[test]
    fn what_is_wrong_is_in_the_answer_alone() {
        let right = right(&BOTH);
        assert_eq!(right.len(), 2 * all().len());
        for wrong in [
            garbled(&BOTH),
            slipped(&BOTH),
            refused(&BOTH),
            in_another_language(&BOTH),
        ] {
            assert_eq!(wrong.len(), right.len());
            for (wrong, right) in wrong.iter().zip(&right) {
                assert_eq!(wrong.question(), right.question());
                assert_ne!(wrong.answer(), right.answer());
            }
        }
        let english = |rows: &[Example]| {
            rows.iter()
                .all(|row| Language::of(row.question()) == Language::En)
        };
        assert!(english(&garbled(&[Language::En])));
    }

    #[test]
    fn garbled_answers_have_the_same_words() {
        let sorted = |text: &str| {
            let mut chars: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
            chars.sort_unstable();
            chars
        };
        let rows = garbled(&BOTH);
        for (garbled, right) in rows.iter().zip(right(&BOTH)) {
            assert_eq!(sorted(garbled.answer()), sorted(right.answer()));
        }
        insta::assert_snapshot!(rows[0].answer(), @"with most until mouth, from Bees nectar mouth water to the gone. is their of fan and it it to hive, pass carry wings the");
    }
}
