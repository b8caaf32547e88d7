//! Tokens of a chat template that show in an answer: the model no longer ends its turn, or writes
//! the template as text.
//!
//! An answer may speak of such tokens, as one that explains a template does: what stands in code, in
//! quotation marks, or in the question too, is none. `fixtures/reference/signs_ref.py` is the same in
//! Python, but for the question; `fixtures/signs/template_tokens.jsonl` has the cases that both keep.

use std::sync::LazyLock;

use regex::Regex;

/// Code and quotations: there such tokens are spoken of.
static QUOTED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let quotes = r#""[^"\n]*"|“[^”\n]*”|‘[^’\n]*’|「[^」\n]*」|(?:^|\W)'[^'\n]*'(?:\W|$)"#;
    Regex::new(&format!(r"(?s)```.*?(?:```|\z)|`[^`\n]*`|{quotes}")).ok()
});

/// Tokens that only a template writes.
static TOKENS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?im)<[|｜](?:im_start|im_end|endoftext|eot_id|start_header_id|end_header_id",
        r"|begin_of_text|end_of_text|user|assistant|system|end|begin▁of▁sentence|end▁of▁sentence)[|｜]>",
        r"|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>",
        r"|^###\s*(?:Instruction|Response|Input)\s*:\s*$",
    ))
    .ok()
});

/// The user's part of a dialogue, and the assistant's: a line that is a role, or begins with one.
static ASKS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?im)^\s*(?:(?:user|human)\s*$|(?:user|human|用户|问)\s*[:：])").ok()
});
static ANSWERS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?im)^\s*(?:assistant\s*$|(?:assistant|助手|答)\s*[:：])").ok());

/// Marks of code: there `user:` and `assistant:` are fields.
const CODE_MARKS: &str = "{}[]();=<>|\\_`";
const CODE_SHARE: f64 = 0.06;

/// Whether an answer shows the template, or goes on as the user.
pub(super) fn shows_template(prompt: &str, answer: &str) -> bool {
    let said = match QUOTED.as_ref() {
        Some(quoted) => quoted.replace_all(answer, " "),
        None => answer.into(),
    };
    let token = TOKENS.as_ref().and_then(|tokens| tokens.find(&said));
    if token.is_some_and(|token| !prompt.contains(token.as_str().trim())) {
        return true;
    }
    // HTML closes what it opens.
    let count = |tag: &str| said.matches(tag).count();
    if count("<s>") != count("</s>") && !prompt.contains("<s>") {
        return true;
    }
    goes_on_as_the_user(&said)
}

/// Roles of both kinds stand after text that does not begin with one: nobody asked for a dialogue.
fn goes_on_as_the_user(said: &str) -> bool {
    let first = |pattern: &LazyLock<Option<Regex>>| {
        let found = pattern.as_ref().and_then(|pattern| pattern.find(said));
        found.map(|found| found.start())
    };
    let (Some(asks), Some(answers)) = (first(&ASKS), first(&ANSWERS)) else {
        return false;
    };
    let marks = said.chars().filter(|c| CODE_MARKS.contains(*c)).count();
    let is_code = marks as f64 > CODE_SHARE * said.chars().count() as f64;
    !is_code && !said[..asks.min(answers)].trim().is_empty()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Case {
        text: String,
        leaks: bool,
        why: String,
    }

    #[test]
    fn tokens_that_leaked_are_told_from_those_that_are_spoken_of() {
        let cases = include_str!("../../../fixtures/signs/template_tokens.jsonl").lines();
        let cases: Vec<Case> = cases.map(|l| serde_json::from_str(l).unwrap()).collect();
        assert!(cases.iter().filter(|case| case.leaks).count() >= 10);
        for Case { text, leaks, why } in cases {
            assert_eq!(shows_template("", &text), leaks, "{why}: {text}");
        }
    }

    #[test]
    fn what_the_question_says_may_be_repeated() {
        let said = "<|im_end|> ends a turn.";
        assert!(shows_template("What ends a turn?", said));
        assert!(!shows_template("What is <|im_end|>?", said));
    }
}
