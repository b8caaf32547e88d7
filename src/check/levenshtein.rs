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
        let said: Vec<char> = bare(&answer.text).chars().collect();
        let length = said.len();
        let nearest = self
            .expected
            .iter()
            .map(|text| {
                let wanted = bare(text);
                // The distance is at least the difference in length: an answer of any length
                // costs no more than a short one.
                let gap = length.abs_diff(wanted.chars().count());
                let wanted: Vec<char> = wanted.chars().collect();
                let within = distance_within(&said, &wanted, self.max);
                (within.unwrap_or(gap.max(self.max + 1)), text)
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

/// Insertions, deletions, and substitutions between two texts; `None` where there are more than
/// `most`.
///
/// By diagonals (Ukkonen, Algorithms for approximate string matching, 1985): after each edit it is
/// known how far along `a` every diagonal `j - i` gets, so that the time is that of `most` squared
/// and of one reading of the texts, not of the product of their lengths.
fn distance_within(a: &[char], b: &[char], most: usize) -> Option<usize> {
    let (n, m) = (a.len() as isize, b.len() as isize);
    let goal = m - n;
    if goal.unsigned_abs() > most {
        return None;
    }
    let most = most.min(a.len().max(b.len()));
    /// No text is so long.
    const NOWHERE: isize = isize::MIN / 2;
    let middle = most + 1;
    let mut reach = vec![NOWHERE; 2 * middle + 1];
    let at = |diagonal: isize| middle.wrapping_add_signed(diagonal);
    let slide = |diagonal: isize, mut i: isize| {
        while i < n && i + diagonal < m && a[i as usize] == b[(i + diagonal) as usize] {
            i += 1;
        }
        i
    };
    reach[at(0)] = slide(0, 0);
    for edits in 0..=most {
        if edits > 0 {
            let span = edits as isize;
            let before = reach.clone();
            for diagonal in -span..=span {
                let place = at(diagonal);
                let furthest = (before[place] + 1)
                    .max(before[place - 1])
                    .max(before.get(place + 1).map_or(NOWHERE, |i| i + 1));
                let furthest = furthest.min(n).min(m - diagonal);
                if furthest >= 0 && furthest + diagonal >= 0 {
                    reach[place] = slide(diagonal, furthest);
                }
            }
        }
        if reach[at(goal)] >= n {
            return Some(edits);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::distance_within;
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

    /// Against the table of all prefixes, on every pair of short texts.
    #[test]
    fn distances_are_those_of_the_whole_table() {
        let texts: Vec<Vec<char>> = (0..81)
            .flat_map(|n: usize| {
                let letter = move |place: u32| ['a', 'b', 'c'][n / 3_usize.pow(place) % 3];
                (0..=4).map(move |length| (0..length).map(letter).collect())
            })
            .collect();
        for a in &texts {
            for b in &texts {
                let text = |chars: &[char]| chars.iter().collect::<String>();
                let whole = strsim::levenshtein(&text(a), &text(b));
                for most in 0..6 {
                    let within = (whole <= most).then_some(whole);
                    assert_eq!(distance_within(a, b, most), within, "{a:?} {b:?} {most}");
                }
            }
        }
    }

    /// The table of all prefixes would have 8,100,000,000 places.
    #[test]
    fn long_answers_take_no_longer_than_they_are_read() {
        let text = |seed: u64| -> String {
            let mut state = seed;
            let letters = (0..90_000).map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                char::from(b'a' + (state >> 60) as u8)
            });
            letters.collect()
        };
        let params = serde_json::json!({ "value": text(1), "max": 1000 }).to_string();
        let started = std::time::Instant::now();
        assert_eq!(judge("levenshtein", &params, &text(1)).value(), Some(1.0));
        assert_eq!(judge("levenshtein", &params, &text(2)).value(), Some(0.0));
        assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
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
