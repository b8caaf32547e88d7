//! `contains`, `contains-any`, `contains-all`, and their `icontains` forms, and `starts-with`:
//! texts that stand in the answer.
//!
//! Both sides are folded first ([`crate::text::fold`]: widths, quotes, dashes, line breaks).
//! Letter case counts in `contains*` and `starts-with`, not in `icontains*`. The text may be a
//! part of a longer word (`cat` is in `concatenate`) unless `whole_word` is set.

use crate::flow::Score;
use crate::text::{ellipsize, excerpt, find, fold, normalize, one_of};

use super::error::CheckError;
use super::evidence::{Check, Evidence, Needs};
use super::params::Params;

/// How many of the texts have to be there.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Quantity {
    Any,
    All,
}

/// `contains` and its family.
///
/// | parameter | default | |
/// |---|---|---|
/// | `value` | required | the text; in the `-any` and `-all` forms a list of texts |
/// | `whole_word` | `false` | letters and digits may not continue the text on either side |
#[derive(Debug)]
struct Contains {
    texts: Vec<String>,
    quantity: Quantity,
    ignore_case: bool,
    whole_word: bool,
}

/// Builds the kind that `kind` names.
pub(super) fn build(kind: &str, mut params: Params<'_>) -> Result<Box<dyn Check>, CheckError> {
    let texts = if kind.ends_with("-any") || kind.ends_with("-all") {
        params.strings("value")
    } else {
        vec![params.string("value")]
    };
    let whole_word = params.flag("whole_word", false);
    params.finish()?;
    let quantity = if kind.ends_with("-any") {
        Quantity::Any
    } else {
        Quantity::All
    };
    let ignore_case = kind.starts_with('i');
    Ok(Box::new(Contains {
        texts,
        quantity,
        ignore_case,
        whole_word,
    }))
}

/// Letter case aside or not, the form in which texts are compared.
fn form(text: &str, ignore_case: bool) -> String {
    if ignore_case {
        normalize(text)
    } else {
        fold(text)
    }
}

/// The form of a text that is looked for: white space at its ends stays, so that `def ` is not
/// in `default`.
fn needle(text: &str, ignore_case: bool) -> String {
    let space = |edge: Option<char>| {
        if edge.is_some_and(char::is_whitespace) {
            " "
        } else {
            ""
        }
    };
    let (first, last) = (space(text.chars().next()), space(text.chars().next_back()));
    format!("{first}{}{last}", form(text, ignore_case))
}

impl Check for Contains {
    fn needs(&self) -> Needs {
        Needs::answer()
    }

    fn score(&self, evidence: &Evidence<'_>) -> Score {
        let Some(answer) = evidence.answer else {
            return Score::unscored("no answer");
        };
        let said = form(&answer.text, self.ignore_case);
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for text in &self.texts {
            let wanted = needle(text, self.ignore_case);
            match find(&said, &wanted, self.whole_word) {
                Some(at) => found.push(format!(
                    "\"{text}\" in \"{}\"",
                    excerpt(&said, at, at + wanted.len(), 24)
                )),
                None => missing.push(format!("\"{text}\"")),
            }
        }
        match (self.quantity, found.as_slice(), missing.as_slice()) {
            (Quantity::All, _, []) => Score::pass(format!("found {}", found.join(", "))),
            (Quantity::Any, [first, ..], _) => Score::pass(format!("found {first}")),
            _ => Score::fail(format!(
                "no {} in \"{}\"",
                one_of(&missing),
                ellipsize(&fold(&answer.text), 80)
            )),
        }
    }
}

/// `starts-with`.
///
/// | parameter | default | |
/// |---|---|---|
/// | `value` | required | the beginning, or a list of accepted ones |
/// | `ignore_case` | `false` | letter case does not count |
/// | `whole_word` | `false` | a letter or digit may not follow: `No` does not begin `Nothing` |
///
/// White space, quotes, and emphasis marks before the first word are passed over.
#[derive(Debug)]
struct StartsWith {
    texts: Vec<String>,
    ignore_case: bool,
    whole_word: bool,
}

/// Builds `starts-with`.
pub(super) fn build_starts_with(mut params: Params<'_>) -> Result<Box<dyn Check>, CheckError> {
    let texts = params.strings("value");
    let ignore_case = params.flag("ignore_case", false);
    let whole_word = params.flag("whole_word", false);
    params.finish()?;
    Ok(Box::new(StartsWith {
        texts,
        ignore_case,
        whole_word,
    }))
}

impl Check for StartsWith {
    fn needs(&self) -> Needs {
        Needs::answer()
    }

    fn score(&self, evidence: &Evidence<'_>) -> Score {
        let Some(answer) = evidence.answer else {
            return Score::unscored("no answer");
        };
        let said = form(&answer.text, self.ignore_case);
        let unmarked = said.trim_start_matches(['"', '\'', '*', '_', '`', ' ']);
        let begins = |text: &String| {
            let wanted = needle(text, self.ignore_case);
            [said.as_str(), unmarked].iter().any(|said| {
                said.starts_with(&wanted) && find(said, &wanted, self.whole_word) == Some(0)
            })
        };
        let shown = ellipsize(&fold(&answer.text), 60);
        match self.texts.iter().find(|text| begins(text)) {
            Some(text) => Score::pass(format!("\"{shown}\" starts with \"{text}\"")),
            None => {
                let wanted: Vec<String> = self.texts.iter().map(|t| format!("\"{t}\"")).collect();
                Score::fail(format!(
                    "\"{shown}\" does not start with {}",
                    one_of(&wanted)
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::check::golden::tests::{judge, table};

    #[test]
    fn contains_golden_answers() {
        table(
            "contains",
            r#"{"value": "Paris"}"#,
            &["Paris", "It is Paris.", "the\nParisian way", "Ｐａｒｉｓ"],
            &["paris", "Par is", "", "Lyon"],
        );
        table(
            "contains",
            r#"{"value": "base case"}"#,
            &["the base\ncase stops it", "a base  case"],
            &["the base", "basecase", "case base"],
        );
        table(
            "contains",
            r#"{"value": "递归"}"#,
            &["递归是函数调用自身", "这叫递归。"],
            &["递 归", "循环", "遞歸"],
        );
    }

    #[test]
    fn part_of_a_word_counts_unless_whole_words_are_asked_for() {
        table(
            "contains",
            r#"{"value": "cat", "whole_word": true}"#,
            &["cat", "a cat.", "concat a cat", "我的cat很可爱", "cat-like"],
            &["concatenate", "cats", "cat5", "Cat"],
        );
        table(
            "contains",
            r#"{"value": "cat"}"#,
            &["concatenate"],
            &["c at"],
        );
    }

    #[test]
    fn icontains_golden_answers() {
        table(
            "icontains",
            r#"{"value": "OpenAI"}"#,
            &[
                "made by OPENAI.",
                "openai",
                "OpenAI's GPT-4",
                "由OpenAI开发",
            ],
            &["Open AI", "Anthropic", "", "open-ai"],
        );
    }

    #[test]
    fn contains_any_golden_answers() {
        table(
            "contains-any",
            r#"{"value": ["Pacific", "Atlantic"]}"#,
            &[
                "the Pacific Ocean",
                "Atlantic",
                "Atlantic and Pacific",
                "Pacifics",
            ],
            &["pacific", "the Indian Ocean", "", "Paci fic"],
        );
        table(
            "icontains-any",
            r#"{"value": ["太平洋", "pacific"]}"#,
            &["是太平洋。", "PACIFIC"],
            &["大西洋", "太平", "pacify"],
        );
    }

    #[test]
    fn contains_all_golden_answers() {
        table(
            "contains-all",
            r#"{"value": ["def ", "return"]}"#,
            &[
                "def f(): return 1",
                "return; def g",
                "def a\n  return",
                "undef x returns",
            ],
            &["def f(): pass", "return", "", "Def f Return", "defreturn"],
        );
        table(
            "icontains-all",
            r#"{"value": ["Red", "green", "蓝"]}"#,
            &["RED, GREEN, 蓝色", "蓝 green red"],
            &["red and green", "蓝"],
        );
    }

    #[test]
    fn starts_with_golden_answers() {
        table(
            "starts-with",
            r#"{"value": "No"}"#,
            &["No.", "No, it is not", "  No", "**No**, sorry", "Nothing"],
            &["no", "Yes. No.", "", "I say No"],
        );
        table(
            "starts-with",
            r#"{"value": ["No", "不"], "ignore_case": true, "whole_word": true}"#,
            &["no!", "不是", "NO way", "“No”"],
            &["Nothing", "Notably", "是不", "know"],
        );
        table(
            "starts-with",
            r#"{"value": "\"Hi"}"#,
            &["\"Hi\"", "“Hi”"],
            &["Hi"],
        );
    }

    #[test]
    fn not_form_swaps() {
        table(
            "not-icontains",
            r#"{"value": "Aurora"}"#,
            &["Paris", ""],
            &["I am AURORA", "Auroras"],
        );
        table(
            "not-contains-all",
            r#"{"value": ["a", "b"]}"#,
            &["a", "b", "c"],
            &["ab"],
        );
        table(
            "not-contains-any",
            r#"{"value": ["x", "y"]}"#,
            &["a", ""],
            &["ax", "y"],
        );
    }

    #[test]
    fn evidence_shows_the_place() {
        let long =
            "Recursion is when a function calls itself on a smaller input until the base case.";
        insta::assert_snapshot!(
            judge("contains", r#"{"value": "calls itself"}"#, long).explanation(),
            @r#"found "calls itself" in "…sion is when a function calls itself on a smaller input unti…""#
        );
        insta::assert_snapshot!(
            judge("contains-all", r#"{"value": ["smaller", "stack", "heap"]}"#, long).explanation(),
            @r#"no "stack" or "heap" in "Recursion is when a function calls itself on a smaller input until the base cas…""#
        );
    }
}
