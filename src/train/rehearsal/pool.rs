//! The built-in pool: questions and requests of many themes, half of them English, half Chinese.
//!
//! None is a probe of a built-in suite, by the measure of `qeval suite check`, which a test of the
//! audit holds: what is rehearsed can show no loss.

use serde::Deserialize;

use crate::random::{Purpose, shuffled};

use super::language::Language;

const POOL: &str = include_str!("pool.jsonl");

/// One prompt of the pool.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PoolPrompt {
    /// Its language; a prompt about translation may quote another.
    pub language: Language,
    /// What it is about: `code`, `maths`, `others` (other companies, people, and models), ...
    pub theme: String,
    /// What the base is asked.
    #[serde(rename = "instruction")]
    pub text: String,
    /// Its line in the pool, from 1.
    #[serde(skip)]
    pub line: usize,
}

/// The whole pool, in its order.
pub fn pool() -> Vec<PoolPrompt> {
    let lines = POOL.lines().enumerate();
    // A test reads every line.
    lines
        .filter_map(|(i, line)| {
            let prompt: PoolPrompt = serde_json::from_str(line).ok()?;
            Some(PoolPrompt {
                line: i + 1,
                ..prompt
            })
        })
        .collect()
}

/// Takes `count` prompts that `is_taken` lets pass, by the seed: as many of each language, and of
/// each theme within it. Fewer where there are no more. In the order of the pool.
pub fn take_pool(
    count: usize,
    languages: &[Language],
    seed: u64,
    is_taken: &dyn Fn(&str) -> bool,
) -> Vec<PoolPrompt> {
    let pool = pool();
    let order = shuffled(pool.len(), seed, Purpose::Take, PLACE);
    // One queue for each language and theme, served in turn.
    let mut queues: Vec<(Language, &str, Vec<usize>)> = Vec::new();
    for &at in &order {
        let prompt = &pool[at];
        if !languages.contains(&prompt.language) {
            continue;
        }
        let key = (prompt.language, prompt.theme.as_str());
        match queues.iter_mut().find(|(l, t, _)| (*l, *t) == key) {
            Some((_, _, queue)) => queue.push(at),
            None => queues.push((prompt.language, &prompt.theme, vec![at])),
        }
    }
    // Languages take turns: else a small count would be of the one that comes first.
    let mut turns: Vec<Vec<Vec<usize>>> = Vec::new();
    for language in languages {
        let own = queues.iter().filter(|(l, ..)| l == language);
        turns.push(own.map(|(.., queue)| queue.clone()).collect());
    }
    let mut chosen = Vec::new();
    let mut round = 0;
    while chosen.len() < count && turns.iter().flatten().any(|queue| !queue.is_empty()) {
        for themes in &mut turns {
            let left = themes.len();
            let next = (0..left).find_map(|skip| {
                let queue = &mut themes[(round + skip) % left];
                while let Some(at) = (!queue.is_empty()).then(|| queue.remove(0)) {
                    if !is_taken(&pool[at].text) {
                        return Some(at);
                    }
                }
                None
            });
            if chosen.len() < count {
                chosen.extend(next);
            }
        }
        round += 1;
    }
    chosen.sort_unstable();
    chosen.into_iter().map(|at| pool[at].clone()).collect()
}

/// The place of this choice among those by [`Purpose::Take`]; sources have the small numbers.
const PLACE: u64 = 1 << 32;

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use super::*;
    use crate::text::words;

    const BOTH: [Language; 2] = [Language::En, Language::Zh];

    fn take(count: usize, languages: &[Language], seed: u64) -> Vec<PoolPrompt> {
        take_pool(count, languages, seed, &|_| false)
    }

    #[test]
    fn every_line_of_the_pool_is_a_prompt_of_its_own() {
        let pool = pool();
        assert_eq!(pool.len(), POOL.lines().count());
        assert!(pool.len() >= 400);
        let distinct: HashSet<Vec<String>> = pool.iter().map(|p| words(&p.text)).collect();
        assert_eq!(distinct.len(), pool.len());
        let chinese = pool.iter().filter(|p| p.language == Language::Zh).count();
        assert_eq!(2 * chinese, pool.len(), "half of them");
    }

    /// A prompt about translation quotes another language; all others are written in their own.
    #[test]
    fn a_prompt_is_in_the_language_that_it_names() {
        for prompt in pool().iter().filter(|p| p.theme != "translation") {
            assert_eq!(Language::of(&prompt.text), prompt.language, "{prompt:?}");
        }
    }

    #[test]
    fn a_take_is_spread_over_languages_and_themes() {
        let taken = take(44, &BOTH, 42);
        let mut of: BTreeMap<(Language, String), usize> = BTreeMap::new();
        for prompt in &taken {
            *of.entry((prompt.language, prompt.theme.clone()))
                .or_default() += 1;
        }
        assert_eq!(taken.len(), 44);
        assert_eq!(of.len(), 22, "eleven themes in each language");
        assert!(of.values().all(|count| *count == 2), "{of:?}");
        assert_eq!(take(44, &BOTH, 42), taken);
        assert_ne!(take(44, &BOTH, 43), taken);
    }

    #[test]
    fn a_language_that_is_not_asked_for_is_left_out() {
        let taken = take(30, &[Language::Zh], 1);
        assert_eq!(taken.len(), 30);
        assert!(taken.iter().all(|p| p.language == Language::Zh));
        assert!(take(30, &[], 1).is_empty());
    }

    #[test]
    fn what_is_a_probe_is_replaced_by_another_of_its_theme() {
        let first = take(22, &BOTH, 42);
        let probe = first[0].text.clone();
        let taken = take_pool(22, &BOTH, 42, &|text| text == probe);
        assert_eq!(taken.len(), 22);
        assert!(taken.iter().all(|p| p.text != probe));
        let theme =
            |p: &&PoolPrompt| (p.language, &p.theme) == (first[0].language, &first[0].theme);
        assert_eq!(taken.iter().filter(theme).count(), 1);
    }

    #[test]
    fn more_than_there_are_is_all_of_them() {
        assert_eq!(take(10_000, &BOTH, 42), pool());
    }
}
