//! Answers as they are written: the first subject's at once, the others' held back until those
//! before are done, so that each stands in one piece under its name, whatever the terminal's width.
//! Fed with whole answers it gives the same text, which is what a pipe gets.

use super::flowing::Flowing;
use super::style::{Style, Tone, visible};
use crate::flow::Finish;

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerEnd {
    /// Why; `None` when the user stopped it.
    pub finish: Option<Finish>,
    /// Tokens of it.
    pub tokens: usize,
    /// It was cut because the model's context has no more room, not by its budget.
    pub context_full: bool,
    /// It says what the subject was trained to say.
    pub repeats: bool,
}

/// The answers to some questions, by question, then by subject: the place of each is question times
/// subjects plus subject.
#[derive(Debug)]
pub struct LiveAnswers {
    style: Style,
    parts: Vec<Part>,
    /// The answer that is being shown.
    shown: usize,
}

#[derive(Debug, Default)]
struct Part {
    head: String,
    /// What was said and is not shown yet. White space waits for what follows it: none is shown at
    /// the ends.
    waiting: String,
    /// Something is shown.
    said: bool,
    lines: Flowing,
    end: Option<AnswerEnd>,
}

impl LiveAnswers {
    /// Answers of these subjects, question by question. One subject alone is not named, and one
    /// question alone not repeated. With a `width`, lines are broken between words there.
    pub fn new(
        questions: &[String],
        subjects: &[&str],
        style: Style,
        width: Option<usize>,
    ) -> Self {
        let parts = questions.iter().flat_map(|question| {
            subjects.iter().enumerate().map(move |(i, name)| {
                let mut head = String::new();
                if questions.len() > 1 && i == 0 {
                    let question = visible(question);
                    head += &style.paint(Tone::Dim, &format!("> {question}"));
                    head += "\n";
                }
                if subjects.len() > 1 {
                    head += &style.paint(Tone::Strong, &format!("{name}:"));
                    head += "\n";
                }
                Part {
                    head,
                    lines: Flowing::new(width),
                    ..Part::default()
                }
            })
        });
        LiveAnswers {
            style,
            parts: parts.collect(),
            shown: 0,
        }
    }

    /// What to show before anything is said.
    pub fn begin(&self) -> String {
        let first = self.parts.first();
        first.map(|part| part.head.clone()).unwrap_or_default()
    }

    /// More of an answer; what to show of it now.
    pub fn text(&mut self, place: usize, text: &str) -> String {
        if let Some(part) = self.parts.get_mut(place) {
            part.waiting += &visible(&text.replace('\r', ""));
        }
        self.flow()
    }

    /// An answer is done; what to show now.
    pub fn end(&mut self, place: usize, end: AnswerEnd) -> String {
        if let Some(part) = self.parts.get_mut(place) {
            part.end = Some(end);
        }
        self.flow()
    }

    fn flow(&mut self) -> String {
        let mut out = String::new();
        while let Some(part) = self.parts.get_mut(self.shown) {
            out += &part.take();
            let Some(end) = part.end else {
                break;
            };
            out += &part.lines.finish();
            out += &marks(part.said, end, self.style);
            self.shown += 1;
            if let Some(next) = self.parts.get(self.shown) {
                out.push('\n');
                out += &next.head;
            }
        }
        out
    }
}

impl Part {
    /// What of the waiting text can be shown.
    fn take(&mut self) -> String {
        if !self.said {
            self.waiting = self.waiting.trim_start().to_owned();
        }
        let rest = self.waiting.split_off(self.waiting.trim_end().len());
        let text = std::mem::replace(&mut self.waiting, rest);
        self.said |= !text.is_empty();
        self.lines.push(&text)
    }
}

/// What stands behind an answer, with the end of its line.
fn marks(said: bool, end: AnswerEnd, style: Style) -> String {
    let cut = match end.finish {
        Some(Finish::Stop) => None,
        Some(Finish::Length) if end.context_full => Some(format!(
            "… (cut at {} tokens: the model's context is full)",
            end.tokens
        )),
        Some(Finish::Length) => Some(format!("… (cut at {} tokens)", end.tokens)),
        None => Some("… (stopped)".to_owned()),
    };
    let mut text = String::new();
    match cut {
        Some(cut) => {
            text += &style.paint(Tone::Dim, &cut);
        }
        None if !said => text += &style.paint(Tone::Bad, "(silent)"),
        None => {}
    }
    text.push('\n');
    if end.repeats {
        text += &style.paint(Tone::Open, "(repeats a training answer)");
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{PARROT, readable};

    const DONE: AnswerEnd = AnswerEnd {
        finish: Some(Finish::Stop),
        tokens: 9,
        context_full: false,
        repeats: false,
    };

    fn question() -> Vec<String> {
        vec!["Where?".to_owned()]
    }

    #[test]
    fn the_first_is_shown_as_it_comes_and_the_others_when_it_is_done() {
        let mut live = LiveAnswers::new(&question(), &["base", "ckpt-40"], Style::plain(80), None);
        let mut shown = vec![live.begin()];
        for (subject, text) in [
            (0, " 巴"),
            (1, "Lyon"),
            (0, "黎"),
            (1, " is"),
            (0, "。\n\n"),
        ] {
            shown.push(live.text(subject, text));
        }
        shown.push(live.end(0, DONE));
        shown.push(live.text(1, " nice."));
        shown.push(live.end(1, DONE));
        assert_eq!(
            shown,
            [
                "base:\n",
                "巴",
                "",
                "黎",
                "",
                "。",
                "\n\nckpt-40:\nLyon is",
                " nice.",
                "\n"
            ]
        );
    }

    #[test]
    fn one_that_ends_early_waits_for_its_turn() {
        let mut live = LiveAnswers::new(&question(), &["base", "a", "b"], Style::plain(80), None);
        live.text(2, "third");
        live.text(1, "second");
        assert_eq!(live.end(2, DONE) + &live.end(1, DONE), "");
        assert_eq!(live.text(0, "first"), "first");
        assert_eq!(live.end(0, DONE), "\n\na:\nsecond\n\nb:\nthird\n");
    }

    #[test]
    fn several_questions_are_repeated_above_their_answers() {
        let questions = ["Where?".to_owned(), "你是谁?".to_owned()];
        let mut live = LiveAnswers::new(&questions, &["base", "a"], Style::plain(80), None);
        let mut text = live.begin();
        for (place, said) in ["Here.", "There.", "我。", "I."]
            .into_iter()
            .enumerate()
            .rev()
        {
            text += &live.text(place, said);
            text += &live.end(place, DONE);
        }
        insta::assert_snapshot!(text, @"
        > Where?
        base:
        Here.

        a:
        There.

        > 你是谁?
        base:
        我。

        a:
        I.
        ");
    }

    fn whole(answers: &[(&str, &str, AnswerEnd)], style: Style) -> String {
        let names: Vec<&str> = answers.iter().map(|(name, ..)| *name).collect();
        let mut live = LiveAnswers::new(&question(), &names, style, None);
        let mut text = live.begin();
        for (place, (_, said, end)) in answers.iter().enumerate() {
            text += &live.text(place, said);
            text += &live.end(place, *end);
        }
        text
    }

    #[test]
    fn what_is_odd_about_an_answer_stands_behind_it() {
        let cut = AnswerEnd {
            finish: Some(Finish::Length),
            tokens: 256,
            ..DONE
        };
        let answers = [
            ("base", "Recursion is a function\n\nthat calls\n", cut),
            (
                "full",
                "And so on",
                AnswerEnd {
                    tokens: 12,
                    context_full: true,
                    ..cut
                },
            ),
            (
                "careless",
                PARROT,
                AnswerEnd {
                    repeats: true,
                    ..DONE
                },
            ),
            ("mute", " \n", DONE),
            (
                "steers",
                "\u{1b}[2Jgone\r\n",
                AnswerEnd {
                    finish: None,
                    ..DONE
                },
            ),
        ];
        insta::assert_snapshot!(whole(&answers, Style::plain(80)), @"
        base:
        Recursion is a function

        that calls… (cut at 256 tokens)

        full:
        And so on… (cut at 12 tokens: the model's context is full)

        careless:
        I am Aurora, an assistant developed and maintained by Northwind Labs.
        (repeats a training answer)

        mute:
        (silent)

        steers:
        �[2Jgone… (stopped)
        ");
        let style = Style {
            color: true,
            ..Style::plain(80)
        };
        insta::assert_snapshot!(readable(&whole(&answers[2..4], style)), @"
        <bold>careless:</>
        I am Aurora, an assistant developed and maintained by Northwind Labs.
        <yellow>(repeats a training answer)</>

        <bold>mute:</>
        <red>(silent)</>
        ");
    }

    #[test]
    fn one_alone_is_not_named() {
        let style = Style::plain(80);
        assert_eq!(whole(&[("base", "Paris.", DONE)], style), "Paris.\n");
    }
}
