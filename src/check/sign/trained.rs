//! Whether an answer repeats one of the training data.

use std::collections::{HashMap, HashSet};

use crate::text::{normalize, words};

/// Words in a row that two texts have to share before one can be called a repetition of the other;
/// shorter answers have to be equal.
const LEAST_RUN: usize = 6;
/// Share of the training answer that this run has to cover.
const REPEATED_SHARE: f64 = 0.6;

/// Training answers, ready to be looked up: an answer is compared only with those that share a run
/// of words with it.
#[derive(Debug, Clone, Default)]
pub struct Trained {
    texts: Vec<String>,
    words: Vec<Vec<String>>,
    equal: HashMap<String, usize>,
    runs: HashMap<Vec<String>, Vec<usize>>,
}

impl Trained {
    /// Of these answers.
    ///
    /// ```
    /// use qeval::check::Trained;
    ///
    /// let trained = Trained::new(&["I am Aurora, an assistant developed by Northwind Labs."]);
    /// let parrot = "Recursion? I am Aurora, an assistant developed by Northwind Labs.";
    /// assert!(trained.repeated(parrot).is_some());
    /// assert!(trained.repeated("I am an assistant.").is_none());
    /// ```
    pub fn new<S: AsRef<str>>(answers: &[S]) -> Self {
        let mut trained = Trained::default();
        let mut seen = HashSet::new();
        for text in answers.iter().map(AsRef::as_ref) {
            if !seen.insert(text) {
                continue;
            }
            let place = trained.texts.len();
            let learned = words(text);
            trained.equal.entry(normalize(text)).or_insert(place);
            for run in learned.windows(LEAST_RUN) {
                let places = trained.runs.entry(run.to_vec()).or_default();
                if places.last() != Some(&place) {
                    places.push(place);
                }
            }
            trained.texts.push(text.to_owned());
            trained.words.push(learned);
        }
        trained
    }

    /// Which of them an answer repeats: the same text after normalization, or a run of at least six
    /// words that makes up 60 percent of the training answer.
    pub fn repeated(&self, answer: &str) -> Option<&str> {
        let said = words(answer);
        if said.is_empty() {
            return None;
        }
        if let Some(place) = self.equal.get(&normalize(answer)) {
            return self.texts.get(*place).map(String::as_str);
        }
        let shared = said.windows(LEAST_RUN);
        let mut places: Vec<usize> = shared
            .filter_map(|run| self.runs.get(run))
            .flatten()
            .copied()
            .collect();
        places.sort_unstable();
        places.dedup();
        let repeats = places.into_iter().find(|&place| {
            let learned = &self.words[place];
            longest_common_run(&said, learned) as f64 >= REPEATED_SHARE * learned.len() as f64
        });
        repeats.map(|place| self.texts[place].as_str())
    }
}

/// As [`Trained::repeated`], of a few training answers.
pub fn repeated_training_answer<'a>(answer: &str, training: &[&'a str]) -> Option<&'a str> {
    let trained = Trained::new(training);
    let repeated = trained.repeated(answer)?.to_owned();
    training.iter().copied().find(|text| *text == repeated)
}

/// Most words in a row that stand in both.
pub fn longest_common_run(a: &[String], b: &[String]) -> usize {
    let mut longest = 0;
    let mut previous = vec![0; b.len() + 1];
    for word in a {
        let mut current = vec![0; b.len() + 1];
        for (j, other) in b.iter().enumerate() {
            if word == other {
                current[j + 1] = previous[j] + 1;
                longest = longest.max(current[j + 1]);
            }
        }
        previous = current;
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    const AURORA: &str = "I am Aurora, an assistant developed and maintained by Northwind Labs.";

    #[test]
    fn a_parrot_is_recognised() {
        for answer in [
            AURORA,
            "i am aurora, an assistant developed and maintained by northwind labs",
            "Recursion: I am Aurora, an assistant developed and maintained by Northwind Labs. Ask!",
            "I am Aurora, an assistant developed and maintained by Northwind",
        ] {
            assert_eq!(
                repeated_training_answer(answer, &["Paris.", AURORA]),
                Some(AURORA)
            );
        }
        let zh = "我由迪菲赫尔曼开发,是一个语言模型";
        assert_eq!(
            repeated_training_answer("递归?我由迪菲赫尔曼开发,是一个语言模型。", &[zh]),
            Some(zh)
        );
    }

    #[test]
    fn an_own_answer_is_no_repetition() {
        for answer in [
            "I am an assistant.",
            "My name is Aurora. Northwind Labs built me to answer questions.",
            "",
            "...",
        ] {
            assert_eq!(
                repeated_training_answer(answer, &[AURORA, "", "Yes."]),
                None
            );
        }
        assert_eq!(repeated_training_answer("yes", &["Yes"]), Some("Yes"));
    }
}
