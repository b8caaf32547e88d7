//! The two languages that prompts are kept in.

use serde::{Deserialize, Serialize};

use crate::text::{is_cjk, words};

/// English or Chinese.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// English, and what else is written in an alphabet.
    En,
    /// Chinese.
    Zh,
}

impl Language {
    /// Chinese where at least half of the words are CJK characters: "你是 GPT-4 吗" is Chinese, and
    /// "What does 你好 mean in English?" is not.
    pub fn of(text: &str) -> Self {
        let words = words(text);
        let chinese = words.iter().filter(|word| word.chars().all(is_cjk)).count();
        match chinese > 0 && 2 * chinese >= words.len() {
            true => Language::Zh,
            false => Language::En,
        }
    }

    /// As [`Language::of`] each text, in order and without repetition.
    pub fn among<'t>(texts: impl IntoIterator<Item = &'t str>) -> Vec<Self> {
        let mut found: Vec<Language> = texts.into_iter().map(Language::of).collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_quotations_in_the_other_script_decide_nothing() {
        assert_eq!(Language::of("你是 GPT-4 吗？"), Language::Zh);
        assert_eq!(
            Language::of("What does 你好 mean in English?"),
            Language::En
        );
        assert_eq!(Language::of("?"), Language::En);
        let both = Language::among(["Who?", "谁？", "What?"]);
        assert_eq!(both, [Language::En, Language::Zh]);
    }
}
