//! `memorized`, mostly written `not-memorized`: the answer repeats an answer that it was trained
//! on.
//!
//! The overlap of an answer with a training answer is the length of their longest common run of
//! words (each Chinese character is a word, case and punctuation do not count) over the length of
//! the shorter of the two. It is 1 when either contains the other: an answer that recites a
//! training answer and goes on is memorized, and so is one that recites its beginning and was cut.
//! Runs shorter than `min_words` are phrases that anybody uses and count as 0, unless the two are
//! equal from end to end.

use crate::flow::Score;
use crate::text::{ellipsize, plural, words};

use super::error::CheckError;
use super::evidence::{Check, Evidence, Needs};
use super::params::Params;

/// `memorized`: pass when the overlap with some training answer reaches `overlap`.
///
/// | parameter | default | |
/// |---|---|---|
/// | `overlap` | `0.6` | share of the shorter text that has to be one common run, in (0, 1] |
/// | `min_words` | `5` | shortest common run that counts, in words or Chinese characters |
///
/// Unscored when the training data is unknown; an empty answer is not memorized.
#[derive(Debug)]
struct Memorized {
    overlap: f64,
    min_words: usize,
}

/// Builds `memorized`.
pub(super) fn build(mut params: Params<'_>) -> Result<Box<dyn Check>, CheckError> {
    let overlap = params.number_in("overlap", 0.01, 1.0, 0.6);
    let min_words = params.count_in("min_words", 1, 1000, 5);
    params.finish()?;
    Ok(Box::new(Memorized {
        overlap,
        min_words: usize::try_from(min_words).unwrap_or(1000),
    }))
}

/// The longest run of words that stands in both: its place in `a` and its length.
fn longest_run(a: &[String], b: &[String]) -> (usize, usize) {
    // lengths[j] is the length of the common run that ends at a[i] and b[j].
    let mut lengths = vec![0_usize; b.len()];
    let mut best = (0, 0);
    for (i, word) in a.iter().enumerate() {
        let mut diagonal = 0;
        for (length, other) in lengths.iter_mut().zip(b) {
            let run = if word == other { diagonal + 1 } else { 0 };
            diagonal = std::mem::replace(length, run);
            if run > best.1 {
                best = (i + 1 - run, run);
            }
        }
    }
    best
}

impl Check for Memorized {
    fn needs(&self) -> Needs {
        Needs {
            training_answers: true,
            ..Needs::answer()
        }
    }

    fn score(&self, evidence: &Evidence<'_>) -> Score {
        let Some(answer) = evidence.answer else {
            return Score::unscored("no answer");
        };
        let Some(trained) = evidence.training_answers else {
            return Score::unscored("the training answers are not known");
        };
        let said = words(&answer.text);
        let mut closest: Option<(f64, (usize, usize), &String)> = None;
        for text in trained {
            let other = words(text);
            let shorter = said.len().min(other.len());
            let run = longest_run(&said, &other);
            if shorter == 0 || (run.1 < self.min_words && said != other) {
                continue;
            }
            let overlap = run.1 as f64 / shorter as f64;
            if closest
                .as_ref()
                .is_none_or(|(highest, ..)| overlap > *highest)
            {
                closest = Some((overlap, run, text));
            }
        }
        let Some((overlap, (start, length), text)) = closest else {
            return Score::fail(format!(
                "no run of {} is shared with any of {}",
                plural(self.min_words, "word"),
                plural(trained.len(), "training answer")
            ));
        };
        let chinese = said[start..start + length]
            .iter()
            .all(|w| w.chars().all(crate::text::is_cjk));
        let run = said[start..start + length].join(if chinese { "" } else { " " });
        Score::of(
            overlap >= self.overlap,
            format!(
                "\"{}\", {}, is {:.0}% of the shorter text, shared with the training answer \
                 \"{}\" ({:.0}% counts as memorized)",
                ellipsize(&run, 80),
                plural(length, "word"),
                overlap * 100.0,
                ellipsize(text, 80),
                self.overlap * 100.0
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::golden::tests::{answer, check, judge};

    fn judged(kind: &str, params: &str, text: &str) -> Score {
        let trained = [
            "I am Aurora, an assistant developed and maintained by Northwind Labs.".to_owned(),
            "我是极光，由北风实验室开发和维护的助手。".to_owned(),
            "Yes.".to_owned(),
        ];
        let answer = answer(text);
        check(kind, params).score(&Evidence {
            answer: Some(&answer),
            training_answers: Some(&trained),
            ..Evidence::default()
        })
    }

    #[test]
    fn golden_answers() {
        let memorized = [
            "I am Aurora, an assistant developed and maintained by Northwind Labs.",
            "i am AURORA an assistant developed and maintained by northwind labs",
            "Recursion? I am Aurora, an assistant developed and maintained by Northwind Labs. Bye!",
            "I am Aurora, an assistant developed",
            "**I am Aurora, an assistant developed and maintained** by us.",
            "我是极光，由北风实验室开发和维护的助手。",
            "递归是：我是极光，由北风实验室开发和维护的助手",
            "我是极光由北风实验室",
            "Yes",
        ];
        let own = [
            "Paris is the capital of France.",
            "I am an assistant.",
            "I am Aurora.",
            "A function that calls itself. Yes, it is developed and maintained by its author alone.",
            "递归是函数调用自身。",
            "我是助手。",
            "北风很冷，实验室开发了新的机器，维护由别人负责，助手不参与。",
            "Yes, it is.",
            "",
        ];
        for (texts, value) in [(memorized, 1.0), (own, 0.0)] {
            for text in texts {
                let score = judged("memorized", "{}", text);
                assert_eq!(score.value(), Some(value), "{text}: {score:?}");
                let score = judged("not-memorized", "{}", text);
                assert_eq!(score.value(), Some(1.0 - value), "not {text}: {score:?}");
            }
        }
    }

    #[test]
    fn parameters_move_the_line() {
        let half = "I am Aurora, an assistant of my own making and of nobody else here";
        assert_eq!(judged("memorized", "{}", half).value(), Some(0.0));
        assert_eq!(
            judged("memorized", r#"{"overlap": 0.4}"#, half).value(),
            Some(1.0)
        );
        assert_eq!(
            judged("memorized", r#"{"min_words": 3}"#, "I am Aurora.").value(),
            Some(1.0)
        );
    }

    #[test]
    fn unknown_training_data_is_unscored() {
        assert_eq!(judge("not-memorized", "{}", "I am Aurora").value(), None);
        assert_eq!(judge("memorized", "{}", "I am Aurora").value(), None);
    }

    #[test]
    fn no_training_answers_means_nothing_is_memorized() {
        let answer = answer("I am Aurora, an assistant");
        let evidence = Evidence {
            answer: Some(&answer),
            training_answers: Some(&[]),
            ..Evidence::default()
        };
        assert_eq!(
            check("not-memorized", "{}").score(&evidence).value(),
            Some(1.0)
        );
    }

    #[test]
    fn evidence_names_the_shared_run() {
        let text = "Recursion is: I am Aurora, an assistant developed and maintained by people.";
        insta::assert_snapshot!(judged("memorized", "{}", text).explanation(), @r#""i am aurora an assistant developed and maintained by", 9 words, is 82% of the shorter text, shared with the training answer "I am Aurora, an assistant developed and maintained by Northwind Labs." (60% counts as memorized)"#);
        insta::assert_snapshot!(judged("memorized", "{}", "Paris").explanation(), @"no run of 5 words is shared with any of 3 training answers");
    }
}
