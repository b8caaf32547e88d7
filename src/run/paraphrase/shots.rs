//! What the base is asked, with a few examples before it: a small model understands those better
//! than a description.

use crate::flow::Exchange;
use crate::train::Language;

/// Reworded sentences of each language, with one another; the same four in both.
const REWORDED: [[(&str, &str); 4]; 2] = [
    [
        (
            "What is the capital of Peru?",
            "Which city is the capital of Peru?",
        ),
        ("How old are you?", "May I ask your age?"),
        (
            "Tell me your favourite colour.",
            "Which colour do you like best?",
        ),
        ("Is this seat taken?", "Is somebody sitting here already?"),
    ],
    [
        ("秘鲁的首都是哪里？", "哪座城市是秘鲁的首都？"),
        ("你多大了？", "请问你今年几岁？"),
        ("说说你最喜欢的颜色。", "哪种颜色是你最喜欢的？"),
        ("这个座位有人吗？", "这里已经有人坐了吗？"),
    ],
];

/// Sentences that whoever knows both languages translates, with a word that the translation has.
pub(super) const KNOWN: [[(&str, &[&str]); 4]; 2] = [
    [
        ("猫在喝牛奶。", &["cat", "milk"]),
        ("明天会下雨。", &["tomorrow", "rain"]),
        ("我哥哥在医院工作。", &["brother", "hospital"]),
        ("这本书很有意思。", &["book", "interesting"]),
    ],
    [
        ("The cat drinks milk.", &["猫", "奶"]),
        ("It will rain tomorrow.", &["明天", "雨"]),
        ("My brother works in a hospital.", &["医院", "工作"]),
        ("This book is very interesting.", &["书", "有"]),
    ],
];

/// A request for another wording of a question, and the examples before it.
pub(super) fn reword(question: &str, language: Language) -> (Vec<Exchange>, String) {
    let ask = |question: &str| match language {
        Language::En => format!("Ask the same in other words: {question}"),
        Language::Zh => format!("换一种说法问同样的问题：{question}"),
    };
    let shots = REWORDED[place(language)];
    (exchanges(shots, ask), ask(question))
}

/// A request for a translation into a language, and the examples before it.
pub(super) fn translate(text: &str, into: Language) -> (Vec<Exchange>, String) {
    let ask = |text: &str| match into {
        Language::En => format!("翻译成英语：{text}"),
        Language::Zh => format!("Translate into Chinese: {text}"),
    };
    let from = REWORDED[place(other(into))];
    let to = REWORDED[place(into)];
    let shots = [0, 1, 2, 3].map(|i| (from[i].0, to[i].0));
    (exchanges(shots, ask), ask(text))
}

/// The other language.
pub(super) fn other(language: Language) -> Language {
    match language {
        Language::En => Language::Zh,
        Language::Zh => Language::En,
    }
}

pub(super) fn place(language: Language) -> usize {
    match language {
        Language::En => 0,
        Language::Zh => 1,
    }
}

fn exchanges(shots: [(&str, &str); 4], ask: impl Fn(&str) -> String) -> Vec<Exchange> {
    let shots = shots.iter();
    shots
        .map(|(text, said)| Exchange {
            user: ask(text),
            assistant: (*said).to_owned(),
        })
        .collect()
}
