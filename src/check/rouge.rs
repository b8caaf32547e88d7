//! `rouge-n`: the answer shares runs of n words with a reference.
//!
//! ROUGE-N (Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", section 2), with
//! the F1 of recall and precision as Google's `rouge_score` reports it: overlap is counted with
//! multiplicity, and the best of several references counts. It says that wordings agree, not that
//! meanings do: "is not Paris" and "is Paris" share most words. Words are those of
//! [`crate::text::words`] without stemming; each Chinese character is one.

use std::collections::HashMap;

use crate::flow::Score;
use crate::text::{ellipsize, fold, words};

use super::error::CheckError;
use super::evidence::{Check, Evidence, Needs};
use super::params::Params;

/// `rouge-n`.
///
/// | parameter | default | |
/// |---|---|---|
/// | `value` | required | the reference, or a list of them |
/// | `n` | `1` | length of the runs in words, 1 to 4 |
/// | `min` | `0.5` | smallest F1 that passes, above 0 and at most 1 |
///
/// A reference with fewer than `n` words is refused.
#[derive(Debug)]
struct Rouge {
    references: Vec<String>,
    n: usize,
    min: f64,
}

/// Builds `rouge-n`.
pub(super) fn build(mut params: Params<'_>) -> Result<Box<dyn Check>, CheckError> {
    let references = params.strings("value");
    let n = params.count_in("n", 1, 4, 1);
    let n = usize::try_from(n).unwrap_or(1);
    let min = params.number_in("min", 0.01, 1.0, 0.5);
    if let Some(short) = references.iter().find(|r| words(r).len() < n) {
        let what = format!(
            "has \"{}\", which has fewer than {n} words",
            ellipsize(short, 40)
        );
        params.refuse("value", what, "a reference has at least `n` words");
    }
    params.finish()?;
    Ok(Box::new(Rouge { references, n, min }))
}

/// How often each run of n words occurs.
fn runs(text: &[String], n: usize) -> HashMap<&[String], usize> {
    let mut counts = HashMap::new();
    for run in text.windows(n) {
        *counts.entry(run).or_default() += 1;
    }
    counts
}

/// F1 of the shared runs, in [0, 1]; 0 where either text has none.
fn f1(answer: &[String], reference: &[String], n: usize) -> f64 {
    let (said, wanted) = (runs(answer, n), runs(reference, n));
    let shared: usize = wanted
        .iter()
        .map(|(run, count)| said.get(run).map_or(0, |own| *own.min(count)))
        .sum();
    let all: usize = said.values().sum::<usize>() + wanted.values().sum::<usize>();
    if all == 0 {
        return 0.0;
    }
    2.0 * shared as f64 / all as f64
}

impl Check for Rouge {
    fn needs(&self) -> Needs {
        Needs::answer()
    }

    fn score(&self, evidence: &Evidence<'_>) -> Score {
        let Some(answer) = evidence.answer else {
            return Score::unscored("no answer");
        };
        let said = words(&answer.text);
        let scored = self
            .references
            .iter()
            .map(|reference| (f1(&said, &words(reference), self.n), reference));
        let Some((best, reference)) = scored.max_by(|a, b| a.0.total_cmp(&b.0)) else {
            return Score::unscored("no reference");
        };
        Score::of(
            best >= self.min,
            format!(
                "ROUGE-{} {best:.3} (at least {}) of \"{}\" with \"{}\"",
                self.n,
                self.min,
                ellipsize(&fold(&answer.text), 60),
                ellipsize(reference, 60)
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::golden::tests::{judge, refused, table};

    #[test]
    fn golden_answers() {
        table(
            "rouge-n",
            r#"{"value": "The Pacific Ocean is the largest ocean on Earth.", "min": 0.6}"#,
            &[
                "The Pacific Ocean is the largest ocean on Earth.",
                "the largest ocean on earth is the Pacific Ocean",
                "The Pacific is the largest ocean on Earth.",
                "The Pacific Ocean is the largest.",
                "The largest ocean is the Pacific Ocean.",
                "**The Pacific Ocean** is the largest ocean of the Earth.",
                "It is the Pacific Ocean, the largest ocean.",
                "The Pacific Ocean is the largest ocean on our planet.",
                "Pacific Ocean is largest ocean on Earth",
                "On Earth the Pacific Ocean is the largest",
            ],
            &[
                "",
                "Pacific",
                "I am Aurora, an assistant developed by Northwind Labs.",
                "Mount Everest is a mountain.",
                "An ocean is a body of salt water that covers much of a planet.",
                "The capital of France is Paris.",
                "There are five oceans.",
                "太平洋",
                "Water.",
                "The sky is blue because of Rayleigh scattering.",
            ],
        );
        table(
            "rouge-n",
            r#"{"value": ["递归是函数直接或间接调用自身", "递归就是函数自己调用自己"], "n": 2, "min": 0.4}"#,
            &[
                "递归是函数直接或间接调用自身",
                "递归是函数直接或间接调用自身。",
                "递归就是函数自己调用自己。",
                "递归，就是一个函数自己调用自己",
                "递归是指函数直接调用自身",
                "递归是函数调用自身",
                "所谓递归就是函数自己调用自己",
                "递归是函数间接或直接调用自身",
                "递归指函数直接或间接地调用自身",
                "编程里，递归就是函数调用自己",
            ],
            &[
                "",
                "循环",
                "函数",
                "我是极光，一个助手。",
                "法国的首都是巴黎",
                "Recursion is a function that calls itself",
                "排序是把元素按顺序排列",
                "栈是后进先出的结构",
                "自身",
                "变量用来保存数据",
            ],
        );
    }

    // python3 -c "from rouge_score import rouge_scorer as r; s = r.RougeScorer(['rouge1', 'rouge2']);
    // print(s.score('police killed the gunman', 'police kill the gunman'), ...)"
    #[test]
    fn f1_is_that_of_rouge_score() {
        let of = |answer: &str, reference: &str, n| f1(&words(answer), &words(reference), n);
        for (answer, reference, one, two) in [
            (
                "police kill the gunman",
                "police killed the gunman",
                0.75,
                1.0 / 3.0,
            ),
            (
                "the gunman kill police",
                "police killed the gunman",
                0.75,
                1.0 / 3.0,
            ),
            ("the the the", "the cat the", 2.0 / 3.0, 0.0),
            ("a b c d", "a b c d", 1.0, 1.0),
            ("a", "a b", 2.0 / 3.0, 0.0),
        ] {
            assert!((of(answer, reference, 1) - one).abs() < 1e-12, "{answer}");
            assert!((of(answer, reference, 2) - two).abs() < 1e-12, "{answer}");
        }
    }

    #[test]
    fn evidence_and_errors() {
        insta::assert_snapshot!(
            [
                judge("rouge-n", r#"{"value": "police killed the gunman", "n": 2}"#, "police kill the gunman").explanation().to_owned(),
                refused("rouge-n", r#"{"value": ["Paris"], "n": 2}"#),
                refused("rouge-n", r#"{"value": "Paris", "n": 9, "min": 0}"#),
            ]
            .join("\n"),
            @r#"
        ROUGE-2 0.333 (at least 0.5) of "police kill the gunman" with "police killed the gunman"
        check `rouge-n`: `value` has "Paris", which has fewer than 2 words (a reference has at least `n` words)
        check `rouge-n`: 2 problems: `n` is 9 (`n` wants a whole number between 1 and 4); `min` is 0 (`min` wants a number between 0.01 and 1)
        "#
        );
    }
}
