//! A new name where nobody asked: what was taught about one question leaks into others.

use crate::flow::Probe;
use crate::text::{normalize, words};

/// Words that address the model. What is asked of it may well be answered with its name.
const ADDRESSES: &[&str] = &[
    "you",
    "your",
    "yours",
    "yourself",
    "who",
    "assistant",
    "chatbot",
];
/// The same in Chinese, which has no blanks between words.
const ADDRESSES_ZH: &[&str] = &["你", "您", "助手", "谁"];

/// Whether an answer names what the candidate was taught, though its question speaks neither of that
/// name nor to the model.
pub(super) fn is_named(probe: &Probe, prompt: &str, answer: &str, names: &[String]) -> bool {
    let said = normalize(answer);
    let named: Vec<String> = names
        .iter()
        .map(|name| normalize(name))
        .filter(|name| !name.is_empty() && said.contains(name.as_str()))
        .collect();
    if named.is_empty() {
        return false;
    }
    let mut asked = vec![prompt];
    asked.extend(probe.system.as_deref());
    let turns = probe.history.iter();
    asked.extend(turns.flat_map(|turn| [turn.user.as_str(), turn.assistant.as_str()]));
    let addressed = |text: &&str| {
        let plain = normalize(text);
        words(text)
            .iter()
            .any(|word| ADDRESSES.contains(&word.as_str()))
            || ADDRESSES_ZH.iter().any(|word| text.contains(word))
            || named.iter().any(|name| plain.contains(name.as_str()))
    };
    !asked.iter().any(addressed)
}
