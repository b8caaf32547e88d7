//! `levenshtein`: few edits turn the answer into an expected text.

use crate::flow::Score;
use crate::text::{bare, ellipsize, fold, plural};

use super::error::CheckError;
use super::evidence::{Check, Evidence, Needs};
use super::params::Params;

/// `levenshtein`.
///
/// | parameter | default | |
/// |---|---|---|
/// | `value` | required | the expected text, or a list of them: the nearest counts |
/// | `max` | `5` | most insertions, deletions, and substitutions of characters (promptfoo's `threshold`) |
///
/// Both sides are normalized as in `equals` first: case, widths, and the marks around the text
/// are no edits. An answer with no more than `max` characters is near every short text: a
/// `max` that reaches half of an expected text is refused.
#[derive(Debug)]
struct Levenshtein {
    expected: Vec<String>,
    max: usize,
}

/// Builds `levenshtein`.
pub(super) fn build(mut params: Params<'_>) -> Result<Box<dyn Check>, CheckError> {
    let expected = params.strings("value");
    let max = params.count_in("max", 0, 10_000, 5);
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let short = expected
        .iter()
        .find(|e| max * 2 >= bare(e).chars().count().max(1));
    if let Some(short) = short.filter(|_| max > 0) {
        let what = format!("is {max}, half of \"{}\" or more", ellipsize(short, 40));
        let rule = "`max` is below half of the characters of every expected text: else an answer that shares nothing with it passes";
        params.refuse("max", what, rule);
    }
    params.finish()?;
    Ok(Box::new(Levenshtein { expected, max }))
}

impl Check for Levenshtein {
    fn needs(&self) -> Needs {
        Needs::answer()
    }

    fn score(&self, evidence: &Evidence<'_>) -> Score {
        let Some(answer) = evidence.answer else {
            return Score::unscored("no answer");
        };
        let said = bare(&answer.text);
        let length = said.chars().count();
        let nearest = self
            .expected
            .iter()
            .map(|text| {
                let wanted = bare(text);
                // The distance is at least the difference in length: an answer of any length
                // costs no more than a short one.
                let gap = length.abs_diff(wanted.chars().count());
                if gap > self.max {
                    (gap, text)
                } else {
                    (strsim::levenshtein(&said, &wanted), text)
                }
            })
            .min_by_key(|(distance, _)| *distance);
        let Some((distance, text)) = nearest else {
            return Score::unscored("no expected text");
        };
        let passed = distance <= self.max;
        let at_least = if passed { "" } else { "at least " };
        Score::of(
            passed,
            format!(
                "\"{}\" is {at_least}{} from \"{}\" (at most {})",
                ellipsize(&fold(&answer.text), 60),
                plural(distance, "edit"),
                ellipsize(text, 60),
                self.max
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use crate::check::golden::tests::{judge, refused, table};

    #[test]
    fn golden_answers() {
        table(
            "levenshtein",
            r#"{"value": "The quick brown fox", "max": 3}"#,
            &[
                "The quick brown fox",
                "the quick brown fox.",
                "The quik brown fox",
                "The quick brown foxes",
                "A quick brown fox",
                "\"The quick brown fox\"",
                "The quick  brown\nfox",
                "The quick brawn fax",
                "Th quick brown fo",
                "The quick brown box!",
            ],
            &[
                "",
                "fox",
                "The slow brown dog",
                "The quick brown fox jumps",
                "the quick",
                "I am Aurora, an assistant.",
                "The thick crown ox",
                "quick brown foxes run",
                "棕色的狐狸",
                "The quick brown fox, they say",
            ],
        );
        table(
            "levenshtein",
            r#"{"value": ["床前明月光，疑是地上霜", "举头望明月，低头思故乡"], "max": 2}"#,
            &[
                "床前明月光，疑是地上霜",
                "床前明月光,疑是地上霜。",
                "床前看月光，疑是地上霜",
                "举头望明月，低头思故乡。",
                "举头望山月，低头思故乡",
                "床前明月光疑是地上霜",
                "“举头望明月，低头思故乡”",
                "床前明月光，疑似地上霜",
                "举头望明月，低首思故乡",
                "床前明月，疑是地上霜",
            ],
            &[
                "",
                "床前明月光",
                "白日依山尽，黄河入海流",
                "静夜思",
                "举头望明月",
                "我是极光，一个助手。",
                "床前明月光，举头望明月",
                "春眠不觉晓，处处闻啼鸟",
                "Moonlight before my bed",
                "疑是地上霜，床前明月光",
            ],
        );
        table(
            "levenshtein",
            r#"{"value": "Paris", "max": 0}"#,
            &["paris."],
            &["Pari"],
        );
    }

    #[test]
    fn evidence_and_errors() {
        insta::assert_snapshot!(
            [
                judge("levenshtein", r#"{"value": "kitten on a mat", "max": 3}"#, "sitting on a mat").explanation().to_owned(),
                judge("levenshtein", r#"{"value": "kitten on a mat", "max": 3}"#, "dogs").explanation().to_owned(),
                refused("levenshtein", r#"{"value": "Paris"}"#),
                refused("levenshtein", r#"{"value": ["a long enough text", "no"], "max": 2}"#),
            ]
            .join("\n"),
            @r#"
        "sitting on a mat" is 3 edits from "kitten on a mat" (at most 3)
        "dogs" is at least 11 edits from "kitten on a mat" (at most 3)
        check `levenshtein`: `max` is 5, half of "Paris" or more (`max` is below half of the characters of every expected text: else an answer that shares nothing with it passes)
        check `levenshtein`: `max` is 2, half of "no" or more (`max` is below half of the characters of every expected text: else an answer that shares nothing with it passes)
        "#
        );
    }
}
