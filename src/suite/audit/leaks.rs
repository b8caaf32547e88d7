//! Probes that the training data contains: what was trained on cannot show that something was
//! learned.
//!
//! Long texts are compared by runs of words, as decontamination does (Brown et al. 2020, "Language
//! Models are Few-Shot Learners", appendix C, with runs of 8 to 13 words); short questions have no
//! such run and are compared as wholes.

use std::collections::HashSet;

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

/// Every probe of which a prompt is, nearly is, or shares a long run of words with a question of
/// the training data. The first such prompt of each.
pub fn leaks(suites: &[Suite], questions: &[String]) -> Vec<Leak> {
    let wholes: HashSet<String> = questions.iter().map(|q| bare(q)).collect();
    let runs: HashSet<Vec<String>> = questions
        .iter()
        .flat_map(|q| runs_of(&words(q)).collect::<Vec<_>>())
        .collect();
    let sizes: Vec<usize> = questions.iter().map(|q| words(q).len()).collect();
    let mut found = Vec::new();
    for suite in suites {
        for probe in &suite.probes {
            let leaked = probe.prompts.iter().find_map(|prompt| {
                let said = words(prompt);
                let exact = wholes.contains(&bare(prompt));
                let run = || runs_of(&said).any(|run| runs.contains(&run));
                let is_near = |(question, size): (&String, &usize)| {
                    // Too unlike in length to be nearly the same.
                    let (a, b) = (said.len() as f64, *size as f64);
                    (a - b).abs() <= SAME_QUESTION * a.max(b)
                        && word_distance(prompt, question) <= SAME_QUESTION
                };
                if !exact && !run() && !questions.iter().zip(&sizes).any(is_near) {
                    return None;
                }
                let nearest = questions
                    .iter()
                    .min_by(|a, b| word_distance(prompt, a).total_cmp(&word_distance(prompt, b)));
                Some((prompt.clone(), nearest.cloned().unwrap_or_default()))
            });
            if let Some((prompt, trained)) = leaked {
                found.push(Leak {
                    probe: suite.id_of(probe),
                    prompt,
                    trained,
                });
            }
        }
    }
    found
}

fn runs_of(words: &[String]) -> impl Iterator<Item = Vec<String>> + '_ {
    words.windows(RUN).map(<[String]>::to_vec)
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
