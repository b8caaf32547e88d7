//! `word-count`: the answer has as many words as asked for.

use crate::flow::Score;
use crate::text::{ellipsize, fold, plural, words};

use super::error::CheckError;
use super::evidence::{Check, Evidence, Needs};
use super::params::Params;

/// `word-count`.
///
/// | parameter | default | |
/// |---|---|---|
/// | `min` | `0` | fewest words |
/// | `max` | none | most words |
///
/// A word is a run of letters and digits, an apostrophe inside included; each Chinese, Japanese,
/// or Korean character is one. `well-known` is two. At least one of the two is given.
#[derive(Debug)]
struct WordCount {
    min: usize,
    max: Option<usize>,
}

const MOST: u64 = 1_000_000;

/// Builds `word-count`.
pub(super) fn build(mut params: Params<'_>) -> Result<Box<dyn Check>, CheckError> {
    let bounded = params.has("max");
    let min = params.count_in("min", 0, MOST, 0);
    let max = params.count_in("max", 0, MOST, MOST);
    let rule = "`word-count` wants `min`, `max`, or both, the smaller first";
    if !bounded && !params.has("min") {
        params.refuse("min", "and `max` are both missing", rule);
    } else if min > max {
        params.refuse("min", format!("is {min}, more than `max`, {max}"), rule);
    }
    params.finish()?;
    let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    Ok(Box::new(WordCount {
        min: count(min),
        max: bounded.then(|| count(max)),
    }))
}

impl Check for WordCount {
    fn needs(&self) -> Needs {
        Needs::answer()
    }

    /// While more words can change what is said of them.
    fn is_cut(&self, answer: &str) -> bool {
        let count = words(answer).len();
        match self.max {
            Some(max) => count <= max,
            None => count < self.min,
        }
    }

    fn score(&self, evidence: &Evidence<'_>) -> Score {
        let Some(answer) = evidence.answer else {
            return Score::unscored("no answer");
        };
        let count = words(&answer.text).len();
        let wanted = match self.max {
            Some(max) if max == self.min => format!("{max}"),
            Some(max) => format!("{} to {max}", self.min),
            None => format!("at least {}", self.min),
        };
        let fits = count >= self.min && self.max.is_none_or(|max| count <= max);
        Score::of(
            fits,
            format!(
                "{} ({wanted} wanted) in \"{}\"",
                plural(count, "word"),
                ellipsize(&fold(&answer.text), 60)
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use crate::check::golden::tests::{check, judge, refused, table};

    #[test]
    fn golden_answers() {
        table(
            "word-count",
            r#"{"min": 1, "max": 1}"#,
            &[
                "Paris",
                "Paris.",
                "**Paris**",
                "\"Yes\"",
                "don't",
                "42",
                "是",
                " Blue!\n",
                "don’t",
                "X1",
            ],
            &[
                "",
                "...",
                "New York",
                "Yes, sir",
                "巴黎",
                "well-known",
                "It is Paris.",
                "1,5 2",
                "是的",
                "I am Aurora, an assistant.",
            ],
        );
        table(
            "word-count",
            r#"{"min": 3}"#,
            &[
                "one two three",
                "天很蓝",
                "It is a long day.",
                "a b c d e f",
                "我爱你",
                "1 2 3",
                "the cat's hat",
                "Red, green, blue",
                "x y\nz",
                "递归就是函数调用自己",
            ],
            &[
                "", "one two", "天蓝", "hello", "a-b", "Yes.", "- -\n-", "don't go", "42", "好。",
            ],
        );
        table(
            "word-count",
            r#"{"max": 5}"#,
            &["", "five words are in here", "今天天气好"],
            &["there are six words in here", "今天天气很好"],
        );
    }

    #[test]
    fn evidence_and_errors() {
        insta::assert_snapshot!(
            [
                judge("word-count", r#"{"min": 2, "max": 2}"#, "Paris").explanation().to_owned(),
                judge("word-count", r#"{"max": 3}"#, "It is in France.").explanation().to_owned(),
                refused("word-count", "{}"),
                refused("word-count", r#"{"min": 5, "max": 2}"#),
                refused("word-count", r#"{"min": -1}"#),
            ]
            .join("\n"),
            @r#"
        1 word (2 wanted) in "Paris"
        4 words (0 to 3 wanted) in "It is in France."
        check `word-count`: `min` and `max` are both missing (`word-count` wants `min`, `max`, or both, the smaller first)
        check `word-count`: `min` is 5, more than `max`, 2 (`word-count` wants `min`, `max`, or both, the smaller first)
        check `word-count`: `min` is -1 (`min` wants a whole number between 0 and 1000000)
        "#
        );
    }

    #[test]
    fn words_are_cut_while_more_of_them_matter() {
        let cut = |params: &str, text: &str| check("word-count", params).is_cut(text);
        let exact = r#"{"min": 2, "max": 3}"#;
        assert!(cut(exact, "") && cut(exact, "one two") && cut(exact, "one two three"));
        assert!(!cut(exact, "one two three four"));
        let least = r#"{"min": 2}"#;
        assert!(cut(least, "one") && !cut(least, "one two"));
    }
}
