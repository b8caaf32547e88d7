//! Which training answers an answer is nearest to, by words: what was learned by heart shows as a long
//! run of the same words, what was learned by pattern as many short ones.

use crate::check::longest_common_run;
use crate::text::words;

/// Words in a row below which a run says nothing: "the capital of" stands everywhere.
const LEAST_RUN: usize = 3;

/// A training answer beside an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NearRow {
    /// Its place among the training answers.
    pub row: usize,
    /// Words in a row that both have.
    pub run: usize,
    /// Words of the training answer.
    pub words: usize,
    /// Words in a row that the base's answer has of it.
    pub base_run: usize,
}

/// The training answers that share the longest run of words with an answer, at most `most`, each
/// text once: at least three words, or all of a shorter one. Longer runs stand first, then those that
/// make up more of their row. `base` is the base's answer to the same.
pub fn nearest_by_words(answer: &str, base: &str, training: &[&str], most: usize) -> Vec<NearRow> {
    let (said, before) = (words(answer), words(base));
    let mut seen = std::collections::HashSet::new();
    let mut near: Vec<NearRow> = Vec::new();
    for (row, text) in training.iter().enumerate() {
        if !seen.insert(text.trim()) {
            continue;
        }
        let learned = words(text);
        let run = longest_common_run(&said, &learned);
        if run >= LEAST_RUN.min(learned.len().max(1)) {
            near.push(NearRow {
                row,
                run,
                words: learned.len(),
                base_run: longest_common_run(&before, &learned),
            });
        }
    }
    near.sort_by(|a, b| {
        let share = |near: &NearRow| near.run as f64 / near.words as f64;
        let by_run = b.run.cmp(&a.run);
        by_run.then(share(b).total_cmp(&share(a)))
    });
    near.truncate(most);
    near
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::testing::{AURORA, PIP};

    #[test]
    fn the_longest_run_stands_first_and_each_text_once() {
        let training = [
            "Yes.",
            AURORA,
            "I am Aurora, and you?",
            AURORA,
            "A loop runs code.",
        ];
        let near = nearest_by_words(AURORA, PIP, &training, 5);
        let rows: Vec<(usize, usize, usize)> =
            near.iter().map(|n| (n.row, n.run, n.base_run)).collect();
        assert_eq!(rows, [(1, 7, 2), (2, 3, 2)]);
        assert_eq!(near[0].words, 7);
        assert_eq!(nearest_by_words("Yes", PIP, &training, 5)[0].row, 0);
        assert!(nearest_by_words("", PIP, &training, 5).is_empty());
    }

    #[test]
    fn chinese_is_compared_by_characters() {
        let training = ["我由北风实验室开发", "今天天气很好"];
        let near = nearest_by_words("我是由北风实验室做的", "我是小助手", &training, 5);
        assert_eq!(near.len(), 1);
        assert_eq!((near[0].row, near[0].run), (0, 6));
    }
}
