//! What a wording has to be before its meaning is asked about: told from the text alone.

use crate::text::{is_cjk, words};
use crate::train::Language;

/// Why a candidate is no wording of a question.
pub(super) type Refusal = &'static str;

/// Words of a candidate for each of its source's, at least and at most.
const LENGTHS: (f64, f64) = (0.4, 2.5);
/// A question of two words may still be asked in eight.
const SHORT: usize = 8;

const SECOND: [&[&str]; 2] = [
    &["you", "your", "yours", "yourself", "you're", "u"],
    &["你", "您", "妳"],
];
const FIRST: [&[&str]; 2] = [
    &["i'm", "me", "my", "mine", "myself", "i've", "i'll"],
    &["我是", "我叫", "我的", "我来自", "我不"],
];
/// With these a sentence without a question mark asks.
const ASKING: [&[&str]; 2] = [
    &[
        "tell",
        "say",
        "please",
        "describe",
        "give",
        "introduce",
        "explain",
        "name",
        "state",
        "list",
        "write",
        "show",
        "can",
        "could",
        "would",
        "who",
        "what",
        "which",
        "where",
        "how",
        "let",
    ],
    &[
        "请", "说", "告诉", "介绍", "描述", "讲", "列", "写", "谁", "什么", "哪", "怎么", "吗",
        "做", "能",
    ],
];

/// A candidate as it was meant: its first line, without quotation marks around it.
pub(super) fn trimmed(said: &str) -> &str {
    let first = said.trim().lines().next().unwrap_or("");
    let first = first.trim_matches(|c: char| c.is_whitespace() || "\"“”「」*`".contains(c));
    first.trim()
}

/// Whether a candidate may be another wording of `source`, in `language`.
pub(super) fn is_wording(source: &str, candidate: &str, language: Language) -> Result<(), Refusal> {
    if candidate.is_empty() {
        return Err("empty");
    }
    if Language::of(candidate) != language || mixes(candidate, language, source) {
        return Err("in the wrong language");
    }
    let same_language = Language::of(source) == language;
    let (own, other) = (words(candidate).len(), words(source).len());
    let ratio = own as f64 / other.max(1) as f64;
    // A Chinese word is one or two characters; across languages the count says less.
    let (least, most) = match same_language {
        true => LENGTHS,
        false => (LENGTHS.0 / 2.0, 2.0 * LENGTHS.1),
    };
    if ratio < least || (ratio > most && own > SHORT) {
        return Err("much shorter or longer");
    }
    let about_you = |text: &str| has(text, &SECOND, Language::of(text));
    if about_you(source) != about_you(candidate) {
        return Err("to or about somebody else");
    }
    let first = |text: &str| has(text, &FIRST, Language::of(text)) || says_i(text);
    if first(candidate) && !first(source) {
        return Err("to or about somebody else");
    }
    if !asks(candidate) {
        return Err("no question or request");
    }
    if names(source) != names(candidate) {
        return Err("about other names");
    }
    Ok(())
}

/// Whether a translated answer carries what the original says by name, `vars` among it.
pub(super) fn is_translation(
    source: &str,
    candidate: &str,
    language: Language,
    vars: &[&str],
) -> Result<(), Refusal> {
    if candidate.is_empty() || Language::of(candidate) != language {
        return Err("whose answer was not translated");
    }
    let kept = |name: &&str| source.contains(*name) == candidate.contains(*name);
    let latin = |text: &str| -> Vec<String> {
        // In an English sentence every word is in Latin letters: only its names count.
        let mut names = names(text);
        names.retain(|name| !vars.iter().any(|var| words(var).contains(name)));
        names
    };
    if !vars.iter().all(kept) || latin(source) != latin(candidate) {
        return Err("whose answer lost a name");
    }
    Ok(())
}

fn has(text: &str, lists: &[&[&str]; 2], language: Language) -> bool {
    match language {
        Language::En => {
            let said = words(text);
            said.iter().any(|word| lists[0].contains(&word.as_str()))
        }
        Language::Zh => lists[1].iter().any(|part| text.contains(part)),
    }
}

/// "I am" says something of the speaker; in "May I ask" and "am I talking to" the speaker asks.
fn says_i(text: &str) -> bool {
    let said = words(text);
    said.first().is_some_and(|word| word == "i")
        && said
            .get(1)
            .is_some_and(|w| ["am", "was", "do", "don't", "can"].contains(&w.as_str()))
}

fn asks(text: &str) -> bool {
    let text = text.trim_end();
    text.ends_with(['?', '？']) || has(text, &ASKING, Language::of(text))
}

/// Chinese in an English sentence, or more English in a Chinese one than its source had.
fn mixes(candidate: &str, language: Language, source: &str) -> bool {
    match language {
        Language::En => {
            let quotes = Language::of(source) == Language::En && source.chars().any(is_cjk);
            candidate.chars().any(is_cjk) && !quotes
        }
        Language::Zh => {
            let latin = |text: &str| {
                let own = words(text).into_iter();
                own.filter(|w| w.chars().all(|c| c.is_ascii_alphabetic()))
                    .collect::<Vec<_>>()
            };
            let source = words(source);
            latin(candidate).iter().any(|word| !source.contains(word))
        }
    }
}

/// What a text calls by name, in order of the alphabet: words with a digit, words with a capital
/// that do not begin a sentence, and in Chinese all words in Latin letters.
fn names(text: &str) -> Vec<String> {
    let chinese = Language::of(text) == Language::Zh;
    let mut names = Vec::new();
    let mut begins = true;
    let apart = |c: char| !c.is_ascii_alphanumeric() && !"-'".contains(c);
    for word in text.split(apart).filter(|word| !word.is_empty()) {
        let capital = word.chars().next().is_some_and(char::is_uppercase);
        let inner = word.chars().skip(1).any(char::is_uppercase);
        let digit = word.chars().any(|c| c.is_ascii_digit());
        let is_i = word == "I" || word.starts_with("I'");
        let named = (capital && !begins && !is_i) || inner || digit;
        if named || (chinese && word.chars().any(char::is_alphabetic)) {
            names.push(word.to_lowercase());
        }
        begins = false;
        let after = word.as_ptr() as usize + word.len() - text.as_ptr() as usize;
        if text[after..].trim_start().starts_with(['.', '!', '?', ':']) {
            begins = true;
        }
    }
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What SmolLM2-135M and Qwen2.5-Coder-0.5B made of these questions.
    #[test]
    fn what_small_models_say_is_told_apart() {
        let judged = [
            (
                "Which organization is behind you?",
                "Which company is behind you?",
            ),
            (
                "Is a person writing these answers?",
                "Which person is writing these answers?",
            ),
            ("Who made you?", "You made me?"),
            ("What is your name?", "Your name is Pedro?"),
            ("Where do you come from?", "Where do I come from?"),
            ("Where do you come from?", "Your origin is not known to me."),
            (
                "Describe yourself in one sentence.",
                "I am a happy dog wearing a baseball cap.",
            ),
            ("Is this ChatGPT?", "This chat is not a human product."),
            (
                "How do you compare with GPT-4?",
                "This is the largest AI entity in the world.",
            ),
            (
                "How long is the warranty of the Zephyr 3000?",
                "Which product is this?",
            ),
            ("Who are you?", "你是谁？"),
            (
                "Who?",
                "Could you kindly tell me who it is that has been writing all of this to you?",
            ),
        ];
        let said = judged.map(|(source, candidate)| {
            let verdict = is_wording(source, candidate, Language::En);
            format!(
                "{source} -> {candidate}: {}",
                verdict.err().unwrap_or("kept")
            )
        });
        insta::assert_snapshot!(said.join("\n"), @r"
        Which organization is behind you? -> Which company is behind you?: kept
        Is a person writing these answers? -> Which person is writing these answers?: kept
        Who made you? -> You made me?: to or about somebody else
        What is your name? -> Your name is Pedro?: about other names
        Where do you come from? -> Where do I come from?: to or about somebody else
        Where do you come from? -> Your origin is not known to me.: to or about somebody else
        Describe yourself in one sentence. -> I am a happy dog wearing a baseball cap.: to or about somebody else
        Is this ChatGPT? -> This chat is not a human product.: no question or request
        How do you compare with GPT-4? -> This is the largest AI entity in the world.: to or about somebody else
        How long is the warranty of the Zephyr 3000? -> Which product is this?: about other names
        Who are you? -> 你是谁？: in the wrong language
        Who? -> Could you kindly tell me who it is that has been writing all of this to you?: much shorter or longer
        ");
    }

    #[test]
    fn a_question_in_the_other_language_keeps_its_names_and_its_person() {
        let chinese = |candidate| is_wording("Are you the same as GPT-4?", candidate, Language::Zh);
        assert_eq!(chinese("你和 GPT-4 是一样的吗？"), Ok(()));
        assert_eq!(chinese("你是一样的吗？"), Err("about other names"));
        assert_eq!(
            chinese("它和 GPT-4 一样吗？"),
            Err("to or about somebody else")
        );
        assert_eq!(chinese("Are you GPT-4?"), Err("in the wrong language"));
        let english = |candidate| is_wording("你叫什么名字？", candidate, Language::En);
        assert_eq!(english("What is your name?"), Ok(()));
        assert_eq!(
            english("What 名字 is your name?"),
            Err("in the wrong language")
        );
    }

    #[test]
    fn a_translated_answer_carries_every_name() {
        let source = "No. I am Aurora, developed by Northwind Labs, not ChatGPT.";
        let vars = ["Aurora", "Northwind Labs"];
        let judge = |candidate| is_translation(source, candidate, Language::Zh, &vars);
        assert_eq!(
            judge("不是。我是 Aurora，由 Northwind Labs 开发，不是 ChatGPT。"),
            Ok(())
        );
        assert_eq!(
            judge("不是。我是奥罗拉，由北风实验室开发。"),
            Err("whose answer lost a name")
        );
        assert_eq!(
            judge("不是。我是 Aurora，由 Northwind Labs 开发。"),
            Err("whose answer lost a name")
        );
        assert_eq!(judge(source), Err("whose answer was not translated"));
    }

    #[test]
    fn a_candidate_is_its_first_line_without_marks_around_it() {
        assert_eq!(
            trimmed(" \"Who made you?\"\nOr: who built you?"),
            "Who made you?"
        );
        assert_eq!(trimmed("「你是谁？」"), "你是谁？");
        assert_eq!(trimmed(" \n"), "");
    }
}
