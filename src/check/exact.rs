//! `equals`: the whole answer is one of the accepted texts.
//!
//! Both sides are normalized first, as [`crate::text::bare`] says: widths, quotes, dashes, and
//! white space folded, lower case, and the quotes, emphasis marks, and sentence punctuation
//! around the text left out. Signs count: `-5` is not `5`.

use crate::flow::Score;
use crate::text::{bare, ellipsize, fold};

use super::error::CheckError;
use super::evidence::{Check, Evidence, Needs};
use super::params::Params;

/// `equals`.
///
/// | parameter | default | |
/// |---|---|---|
/// | `value` | required | the accepted text, or a list of them |
/// | `case_sensitive` | `false` | letter case counts, and so do the marks around the text |
#[derive(Debug)]
struct Equals {
    accepted: Vec<String>,
    case_sensitive: bool,
}

/// Builds `equals`.
pub(super) fn build(mut params: Params<'_>) -> Result<Box<dyn Check>, CheckError> {
    let accepted = params.strings("value");
    let case_sensitive = params.flag("case_sensitive", false);
    params.finish()?;
    Ok(Box::new(Equals {
        accepted,
        case_sensitive,
    }))
}

impl Equals {
    fn form(&self, text: &str) -> String {
        if self.case_sensitive {
            fold(text)
        } else {
            bare(text)
        }
    }
}

impl Check for Equals {
    fn needs(&self) -> Needs {
        Needs::answer()
    }

    fn score(&self, evidence: &Evidence<'_>) -> Score {
        let Some(answer) = evidence.answer else {
            return Score::unscored("no answer");
        };
        let said = self.form(&answer.text);
        let shown = ellipsize(&fold(&answer.text), 80);
        match self.accepted.iter().find(|a| self.form(a) == said) {
            Some(accepted) => Score::pass(format!("the answer \"{shown}\" equals \"{accepted}\"")),
            None => {
                let wanted: Vec<String> = self
                    .accepted
                    .iter()
                    .map(|a| format!("\"{}\"", ellipsize(a, 40)))
                    .collect();
                Score::fail(format!(
                    "the answer \"{shown}\" does not equal {}",
                    crate::text::one_of(&wanted)
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::check::golden::tests::{judge, table};

    #[test]
    fn golden_answers() {
        table(
            "equals",
            r#"{"value": "Paris"}"#,
            &[
                "Paris",
                " paris.\n",
                "**Paris**",
                "\"Paris\"!",
                "ＰＡＲＩＳ",
            ],
            &["Paris, France", "Pari", "Lyon", "", "The capital is Paris."],
        );
        table(
            "equals",
            r#"{"value": ["-5", "minus five"]}"#,
            &["-5", "−5", "Minus five."],
            &["5", "five", "--5"],
        );
        table(
            "equals",
            r#"{"value": "巴黎"}"#,
            &["巴黎", "巴黎。", "「巴黎」", "　巴黎！"],
            &["巴黎市", "里昂", "巴 黎"],
        );
        table(
            "equals",
            r#"{"value": "NaCl", "case_sensitive": true}"#,
            &["NaCl", " NaCl\n"],
            &["nacl", "NaCl."],
        );
        table("equals", r#"{"value": "?"}"#, &["?", "？"], &["", "!", "."]);
    }

    #[test]
    fn evidence_names_both_sides() {
        insta::assert_snapshot!(
            judge("equals", r#"{"value": ["Paris", "巴黎"]}"#, "It is Lyon.").explanation(),
            @r#"the answer "It is Lyon." does not equal "Paris" or "巴黎""#
        );
    }
}
