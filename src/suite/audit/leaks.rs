//! Probes that the training data contains: what was trained on cannot show that something was
//! learned.
//!
//! Long texts are compared by runs of words, as decontamination does (Brown et al. 2020, "Language
//! Models are Few-Shot Learners", appendix C, with runs of 8 to 13 words); short questions have no
//! such run and are compared as wholes.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::flow::{ProbeId, Suite};
use crate::text::{bare, word_distance, words};

/// Words of a run that two texts share by more than chance.
const RUN: usize = 8;
/// Share of words by which two questions may differ and still be one. In a short question one word
/// is all the difference: the capital of Peru is not that of Chile.
const SAME_QUESTION: f64 = 0.1;

/// A probe that stands in the training data.
#[derive(Debug, Clone, PartialEq)]
pub struct Leak {
    /// Which.
    pub probe: ProbeId,
    /// The prompt that leaked.
    pub prompt: String,
    /// What was trained on.
    pub trained: String,
}

/// Texts that others are compared with, for whether they ask the same.
#[derive(Debug, Default)]
pub struct Wordings {
    wholes: HashSet<u64>,
    /// Every run of words of every text, as a number: a data file has millions of them.
    runs: HashSet<u64>,
    /// Each text with its number of words.
    texts: Vec<(String, usize)>,
}

impl Wordings {
    /// The texts to compare with.
    pub fn new<'t>(texts: impl IntoIterator<Item = &'t str>) -> Self {
        let mut wordings = Wordings::default();
        for text in texts {
            let said = words(text);
            wordings.wholes.insert(number_of(&bare(text)));
            wordings.runs.extend(runs_of(&said));
            wordings.texts.push((text.to_owned(), said.len()));
        }
        wordings
    }

    /// Whether a text is, nearly is, or shares a long run of words with one of them.
    pub fn overlap(&self, text: &str) -> bool {
        let said = words(text);
        let is_near = |(other, size): &(String, usize)| {
            // Too unlike in length to be nearly the same.
            let (a, b) = (said.len() as f64, *size as f64);
            (a - b).abs() <= SAME_QUESTION * a.max(b) && word_distance(text, other) <= SAME_QUESTION
        };
        self.wholes.contains(&number_of(&bare(text)))
            || runs_of(&said).any(|run| self.runs.contains(&run))
            || self.texts.iter().any(is_near)
    }
}

/// Every probe of which a prompt is, nearly is, or shares a long run of words with a question of
/// the training data. The first such prompt of each.
pub fn leaks(suites: &[Suite], questions: &[String]) -> Vec<Leak> {
    let trained = Wordings::new(questions.iter().map(String::as_str));
    let mut found = Vec::new();
    for suite in suites {
        for probe in &suite.probes {
            let mut prompts = probe.prompts.iter();
            let Some(prompt) = prompts.find(|prompt| trained.overlap(prompt)) else {
                continue;
            };
            let nearest = questions
                .iter()
                .min_by(|a, b| word_distance(prompt, a).total_cmp(&word_distance(prompt, b)));
            found.push(Leak {
                probe: suite.id_of(probe),
                prompt: prompt.clone(),
                trained: nearest.cloned().unwrap_or_default(),
            });
        }
    }
    found
}

fn runs_of(words: &[String]) -> impl Iterator<Item = u64> + '_ {
    words.windows(RUN).map(number_of)
}

/// Two texts of the same number are the same but for one chance in 10^19.
fn number_of<T: Hash + ?Sized>(text: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::testing::suites_of;

    fn leaked(prompts: &[&str], questions: &[&str]) -> Vec<String> {
        let suites = suites_of(&[("s", prompts)]);
        let questions: Vec<String> = questions.iter().map(|q| (*q).to_owned()).collect();
        leaks(&suites, &questions)
            .into_iter()
            .map(|leak| leak.prompt)
            .collect()
    }

    #[test]
    fn the_same_question_is_a_leak_whatever_its_case_and_marks() {
        assert_eq!(
            leaked(&["Who are you?"], &["who are you"]),
            ["Who are you?"]
        );
        assert_eq!(leaked(&["你是谁？"], &["你是谁"]), ["你是谁？"]);
        assert!(leaked(&["What is your role?"], &["What is your name?"]).is_empty());
    }

    #[test]
    fn one_word_of_twelve_is_no_difference_and_one_of_six_is() {
        let trained = ["Would you please tell me now who it was that made you?"];
        let reworded = "Would you please tell me now who it was that built you?";
        assert_eq!(leaked(&[reworded], &trained).len(), 1);
        let capital = ["What is the capital of Peru?"];
        assert!(leaked(&["What is the capital of Chile?"], &capital).is_empty());
    }

    #[test]
    fn a_long_run_inside_another_text_is_a_leak() {
        let trained = "First read this: the quick brown fox jumps over the lazy dog. Now go on.";
        let probe = "Why does the quick brown fox jumps over the lazy dog matter to typists?";
        assert_eq!(leaked(&[probe], &[trained]).len(), 1);
        assert!(leaked(&["Why do typists like the quick brown fox?"], &[trained]).is_empty());
    }
}
