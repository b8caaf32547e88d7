//! `similar`: the answer means what the accepted texts mean, rather than what the rejected ones
//! mean.
//!
//! An absolute cosine says little: for one encoder 0.6 is a paraphrase, for another it is any two
//! sentences on one subject. So the best accepted reference is compared with the best rejected
//! one, for the same answer and the same encoder, and only the difference counts:
//! `max cos(answer, accepted) - max cos(answer, rejected) >= margin`.

use std::collections::HashMap;
use std::sync::Arc;

use crate::flow::Score;
use crate::text::{ellipsize, fold};

use super::error::CheckError;
use super::evidence::{Check, Evidence, Needs};
use super::params::Params;

/// `similar`.
///
/// | parameter | default | |
/// |---|---|---|
/// | `accepted` | required | texts that mean what the answer should mean, or one of them |
/// | `rejected` | required | texts on the same subject that mean something else |
/// | `margin` | `0.05` | by how much the best accepted cosine has to exceed the best rejected |
///
/// An empty answer fails; without an encoder the answer is unscored.
///
/// What it cannot judge, as measured with all-MiniLM-L6-v2: texts are ranked by shared subject
/// words and sentence frame, so a claim that differs from an accepted one only in a negation, a
/// swap of roles or order, a number, or a name looks the same ("Ben owes Anna" and "Anna owes Ben"
/// are at cosine 0.98), and an answer that leaves the subject out looks foreign. Put a check of the
/// fact beside it. all-MiniLM-L6-v2 knows English only; `[checks] encoder` names another.
#[derive(Debug)]
struct Similar {
    accepted: Vec<String>,
    rejected: Vec<String>,
    margin: f64,
}

/// Builds `similar`.
pub(super) fn build(mut params: Params<'_>) -> Result<Box<dyn Check>, CheckError> {
    let accepted = params.strings("accepted");
    let rejected = params.strings("rejected");
    let margin = params.number_in("margin", 0.0, 1.0, 0.05);
    if let Some(both) = accepted.iter().find(|a| rejected.contains(a)) {
        let what = format!("has \"{}\", which is accepted too", ellipsize(both, 40));
        params.refuse("rejected", what, "a text is either accepted or rejected");
    }
    params.finish()?;
    Ok(Box::new(Similar {
        accepted,
        rejected,
        margin,
    }))
}

type Embeddings = HashMap<String, Arc<[f32]>>;

/// The text of a list that is nearest to the answer, with its cosine. `None` when a text was not
/// embedded or an embedding is no unit-length vector of the answer's size.
fn best<'a>(answer: &[f32], texts: &'a [String], known: &Embeddings) -> Option<(f64, &'a str)> {
    let mut best: Option<(f64, &str)> = None;
    for text in texts {
        let other = known
            .get(text)
            .filter(|other| other.len() == answer.len())?;
        let cosine: f64 = answer
            .iter()
            .zip(other.iter())
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum();
        if !cosine.is_finite() {
            return None;
        }
        if best.is_none_or(|(highest, _)| cosine > highest) {
            best = Some((cosine, text));
        }
    }
    best
}

impl Check for Similar {
    fn needs(&self) -> Needs {
        let embeddings = self
            .accepted
            .iter()
            .chain(&self.rejected)
            .cloned()
            .collect();
        Needs {
            answer: true,
            embeddings,
            ..Needs::default()
        }
    }

    fn score(&self, evidence: &Evidence<'_>) -> Score {
        let Some(answer) = evidence.answer else {
            return Score::unscored("no answer");
        };
        let shown = ellipsize(&fold(&answer.text), 60);
        if shown.is_empty() {
            return Score::fail("the answer is empty");
        }
        let Some(known) = evidence.embeddings else {
            return Score::unscored("no sentence encoder was at hand");
        };
        let Some(own) = known.get(&answer.text) else {
            return Score::unscored("the answer was not embedded");
        };
        let accepted = best(own, &self.accepted, known);
        let rejected = best(own, &self.rejected, known);
        let (Some((yes, nearest)), Some((no, opposite))) = (accepted, rejected) else {
            return Score::unscored("a reference text has no usable embedding");
        };
        Score::of(
            yes - no >= self.margin,
            format!(
                "\"{shown}\" is at cosine {yes:.3} to the accepted \"{}\" and {no:.3} to the \
                 rejected \"{}\": {:+.3}, wanted {:+.3}",
                ellipsize(nearest, 60),
                ellipsize(opposite, 60),
                yes - no,
                self.margin
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::golden::tests::{answer, check, judge, refused};

    /// A stand-in for an encoder: one axis for each subject word, the rest shared. It gives
    /// texts about the same subject the same direction.
    fn embed(text: &str) -> Arc<[f32]> {
        let subjects = [
            ["itself", "自身", "自己"],
            ["loop", "循环", "repeat"],
            ["france", "法国", "paris"],
        ];
        let text = text.to_lowercase();
        let mut vector = [0.0, 0.0, 0.0, 0.5];
        for (axis, words) in subjects.iter().enumerate() {
            let hits = words.iter().map(|w| text.matches(w).count()).sum::<usize>();
            vector[axis] = hits as f32;
        }
        let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        vector.iter().map(|x| x / norm).collect()
    }

    fn judged(params: &str, text: &str) -> Score {
        let check = check("similar", params);
        let mut known: Embeddings = check
            .needs()
            .embeddings
            .into_iter()
            .map(|t| (t.clone(), embed(&t)))
            .collect();
        known.insert(text.to_owned(), embed(text));
        let answer = answer(text);
        check.score(&Evidence {
            answer: Some(&answer),
            embeddings: Some(&known),
            ..Evidence::default()
        })
    }

    const RECURSION: &str = r#"{
        "accepted": ["a function that calls itself", "函数调用自身"],
        "rejected": ["a loop runs code again", "循环执行代码"]
    }"#;

    #[test]
    fn golden_answers() {
        let pass = [
            "Recursion is when something calls itself.",
            "It refers to itself, itself, and itself.",
            "函数在内部调用自身",
            "自己调用自己",
            "Not a loop: it calls itself, itself!",
            "itself",
            "A definition that uses itself in Paris",
            "方法调用自己。",
        ];
        let fail = [
            "Recursion is a loop.",
            "Repeat with a loop",
            "用循环重复",
            "The capital of France is Paris.",
            "I am an assistant.",
            "我是助手",
            "a loop that repeats itself",
            "",
        ];
        for (texts, value) in [(pass, 1.0), (fail, 0.0)] {
            for text in texts {
                let score = judged(RECURSION, text);
                assert_eq!(score.value(), Some(value), "{text}: {score:?}");
            }
        }
    }

    #[test]
    fn margin_is_between_best_accepted_and_best_rejected() {
        let both = "it calls itself twice, itself, in a loop";
        let spec = |margin: f64| {
            format!(
                "{},\"margin\": {margin}}}",
                RECURSION.trim_end_matches(['}', '\n', ' '])
            )
        };
        assert_eq!(judged(&spec(0.1), both).value(), Some(1.0));
        assert_eq!(judged(&spec(0.5), both).value(), Some(0.0));
    }

    #[test]
    fn without_embeddings_nothing_is_judged() {
        assert_eq!(judge("similar", RECURSION, "itself").value(), None);
        let check = check("similar", RECURSION);
        let answer = answer("itself");
        let known = HashMap::from([("itself".to_owned(), embed("itself"))]);
        let evidence = Evidence {
            answer: Some(&answer),
            embeddings: Some(&known),
            ..Evidence::default()
        };
        assert_eq!(
            check.score(&evidence),
            Score::unscored("a reference text has no usable embedding")
        );
    }

    #[test]
    fn broken_embeddings_are_unscored() {
        let check = check("similar", RECURSION);
        let answer = answer("itself");
        let mut known: Embeddings = check
            .needs()
            .embeddings
            .into_iter()
            .map(|t| (t, Arc::from([f32::NAN, 0.0, 0.0, 0.0])))
            .collect();
        known.insert("itself".to_owned(), embed("itself"));
        let evidence = Evidence {
            answer: Some(&answer),
            embeddings: Some(&known),
            ..Evidence::default()
        };
        assert_eq!(check.score(&evidence).value(), None);
    }

    #[test]
    fn evidence_names_the_nearest_references() {
        insta::assert_snapshot!(judged(RECURSION, "It calls itself.").explanation(), @r#""It calls itself." is at cosine 1.000 to the accepted "a function that calls itself" and 0.200 to the rejected "a loop runs code again": +0.800, wanted +0.050"#);
    }

    #[test]
    fn both_lists_are_required_and_apart() {
        insta::assert_snapshot!(
            [
                refused("similar", r#"{"accepted": ["a"]}"#),
                refused("similar", r#"{"accepted": ["a"], "rejected": ["a", "b"]}"#),
                refused("similar", r#"{"accepted": "a", "rejected": "b", "margin": 2}"#),
            ]
            .join("\n"),
            @r#"
            check `similar`: missing parameter `rejected` (`rejected` wants a list of strings)
            check `similar`: `rejected` has "a", which is accepted too (a text is either accepted or rejected)
            check `similar`: `margin` is 2 (`margin` wants a number between 0 and 1)
            "#
        );
    }
}
