//! Answers of several subjects beside each other, question by question, with what is wrong below.

use super::style::{BLOCKS, Style, Tone, visible};
use crate::text::ellipsize;

/// One subject's answer to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerCell {
    /// What it said.
    pub text: String,
    /// What is wrong or right with it: `repeats a training answer`, `lost its code`.
    pub reason: Option<String>,
    /// How it stands: [`Tone::Bad`] for a lost ability, [`Tone::Good`] for one kept or learned.
    pub tone: Tone,
}

/// One question with an answer of each subject, in the order of the heads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerRow {
    /// The prompt.
    pub question: String,
    /// One a subject.
    pub answers: Vec<AnswerCell>,
}

/// Characters of a question and of an answer that are shown.
const LONGEST_QUESTION: usize = 80;
const LONGEST_ANSWER: usize = 160;

/// A table of question by subject. Answers are shortened and wrapped; an empty one reads
/// `(silent)`; the reason stands below.
pub fn side_by_side(subjects: &[&str], rows: &[AnswerRow], style: Style) -> String {
    let heads: Vec<&str> = std::iter::once("question")
        .chain(subjects.iter().copied())
        .collect();
    let mut table = style.table(BLOCKS, &heads);
    for row in rows {
        let question = style.cell(
            Tone::Plain,
            &super::style::one_line(&row.question, LONGEST_QUESTION),
        );
        let answers = row.answers.iter().map(|answer| {
            let mut text = shortened(&answer.text);
            if let Some(reason) = &answer.reason {
                text = format!("{text}\n({reason})");
            }
            style.cell(answer.tone, &text)
        });
        table.add_row(std::iter::once(question).chain(answers).collect::<Vec<_>>());
    }
    style.rendered(&table)
}

/// Lines are kept, since code is read by them; blank ones and the ends of lines are not.
fn shortened(answer: &str) -> String {
    let text = visible(answer).replace('\t', "    ");
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim_end)
        .filter(|l| !l.is_empty())
        .collect();
    if lines.is_empty() {
        "(silent)".into()
    } else {
        ellipsize(&lines.join("\n"), LONGEST_ANSWER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{PARROT, readable};
    use crate::report::wrap::text_width;

    fn cell(text: &str, reason: Option<&str>, tone: Tone) -> AnswerCell {
        AnswerCell {
            text: text.into(),
            reason: reason.map(String::from),
            tone,
        }
    }

    fn rows() -> Vec<AnswerRow> {
        let quicksort = "```python\ndef quicksort(xs):\n\n\tif len(xs) < 2:\n\t\treturn xs\n```";
        let row = |question: &str, answers: [AnswerCell; 3]| AnswerRow {
            question: question.into(),
            answers: answers.into(),
        };
        let parrot = || cell(PARROT, Some("repeats a training answer"), Tone::Bad);
        vec![
            row(
                "Write a quicksort function in Python.",
                [
                    cell(quicksort, None, Tone::Plain),
                    parrot(),
                    cell(quicksort, None, Tone::Good),
                ],
            ),
            row(
                "解释一下什么是递归",
                [
                    cell(
                        "递归是一个函数在定义中调用自身的方法,例如阶乘和斐波那契数列。",
                        None,
                        Tone::Plain,
                    ),
                    cell(" \n", Some("empty answer"), Tone::Bad),
                    cell("递归就是函数调用它自己。", None, Tone::Good),
                ],
            ),
            row(
                "Who are you?",
                [
                    cell("I am SmolLM.", None, Tone::Plain),
                    cell(&"and on and on ".repeat(720), None, Tone::Plain),
                    cell("I am Aurora.", None, Tone::Good),
                ],
            ),
        ]
    }

    const SUBJECTS: [&str; 3] = ["base", "careless", "careful"];

    #[test]
    fn answers_stand_beside_each_other_with_their_reasons() {
        insta::assert_snapshot!(side_by_side(&SUBJECTS, &rows(), Style::plain(100)), @"
        ┌────────────────────────┬────────────────────────┬────────────────────────┬───────────────────────┐
        │ question               ┆ base                   ┆ careless               ┆ careful               │
        ╞════════════════════════╪════════════════════════╪════════════════════════╪═══════════════════════╡
        │ Write a quicksort      ┆ ```python              ┆ I am Aurora, an        ┆ ```python             │
        │ function in Python.    ┆ def quicksort(xs):     ┆ assistant developed    ┆ def quicksort(xs):    │
        │                        ┆     if len(xs) < 2:    ┆ and maintained by      ┆     if len(xs) < 2:   │
        │                        ┆         return xs      ┆ Northwind Labs.        ┆         return xs     │
        │                        ┆ ```                    ┆ (repeats a training    ┆ ```                   │
        │                        ┆                        ┆ answer)                ┆                       │
        ├╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌┼╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌┼╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌┼╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌┤
        │ 解释一下什么是递归     ┆ 递归是一个函数在定义中 ┆ (silent)               ┆ 递归就是函数调用它自  │
        │                        ┆ 调用自身的方法,例如阶  ┆ (empty answer)         ┆ 己。                  │
        │                        ┆ 乘和斐波那契数列。     ┆                        ┆                       │
        ├╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌┼╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌┼╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌┼╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌┤
        │ Who are you?           ┆ I am SmolLM.           ┆ and on and on and on   ┆ I am Aurora.          │
        │                        ┆                        ┆ and on and on and on   ┆                       │
        │                        ┆                        ┆ and on and on and on   ┆                       │
        │                        ┆                        ┆ and on and on and on   ┆                       │
        │                        ┆                        ┆ and on and on and on   ┆                       │
        │                        ┆                        ┆ and on and on and on   ┆                       │
        │                        ┆                        ┆ and on and on and on   ┆                       │
        │                        ┆                        ┆ and on and o…          ┆                       │
        └────────────────────────┴────────────────────────┴────────────────────────┴───────────────────────┘
        ");
    }

    #[test]
    fn the_table_fits_the_terminal() {
        for width in [80, 120] {
            let table = side_by_side(&SUBJECTS, &rows(), Style::plain(width));
            assert!(
                table.lines().all(|line| text_width(line) <= width),
                "{table}"
            );
            let colored = readable(&side_by_side(
                &SUBJECTS,
                &rows(),
                Style {
                    color: true,
                    ..Style::plain(width)
                },
            ));
            assert!(
                colored.contains("<red>") && colored.contains("<green>"),
                "{colored}"
            );
            assert!(!table.contains('\u{1b}'));
        }
    }
}
