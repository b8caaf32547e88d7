//! What probably lies behind a verdict, beside the signs that it tests: a candidate that changes
//! nothing, one that says one thing to everything, and a validation loss that turned.
//!
//! Causes are reported beside the verdict and never are it.

use std::collections::HashMap;

use crate::flow::{Answer, Measurement};
use crate::lora::Inert;
use crate::text::{normalize, plural};

/// What most answers have in common, given as (base, candidate) by case and sample. Leave out those
/// of `learn` suites, which should repeat what was trained.
pub fn common_answer(answers: &[(&str, &str)]) -> Option<String> {
    let asked = answers.len();
    let (text, times) = most_common(answers.iter().map(|(_, candidate)| *candidate))?;
    let before = most_common(answers.iter().map(|(base, _)| *base));
    if 2 * times <= asked || before.is_some_and(|(_, before)| 2 * before > asked) {
        return None;
    }
    let said = crate::text::ellipsize(text.trim(), 60);
    Some(if times == asked {
        format!("all {} are equal: \"{said}\"", plural(asked, "answer"))
    } else {
        format!(
            "{times} of {} are equal: \"{said}\"",
            plural(asked, "answer")
        )
    })
}

/// So many answers have to be the base's own before that is worth telling.
const LEAST_EQUAL: usize = 10;

/// Whether a candidate changes anything at all: told from its folder, else from what was measured.
pub(super) fn without_effect(base: &Measurement, candidate: &Measurement) -> Option<String> {
    let adapter = candidate.subject.adapter.as_ref()?;
    // A folder that is gone, as after a run was cleaned up, tells nothing.
    if let Ok(Some(inert)) = Inert::of(&adapter.path, adapter.scale) {
        return Some(format!("this adapter changes nothing: {inert}"));
    }
    let asked = candidate.answers.len();
    let same = |equal: fn(&Answer, &Answer) -> bool| {
        let mut pairs = candidate.answers.iter();
        base.answers.len() == asked
            && pairs.all(|(place, new)| base.answers.get(place).is_some_and(|old| equal(old, new)))
    };
    if asked < LEAST_EQUAL || !same(|old, new| old.text == new.text) {
        return None;
    }
    // What is weighed and not written shows in the scores.
    let to_the_last_bit =
        same(|old, new| old.logprobs == new.logprobs) && base.checks == candidate.checks;
    let probabilities = match to_the_last_bit {
        true => ", and so do their probabilities: nothing that was asked shows a change",
        false => "; their probabilities differ",
    };
    Some(format!(
        "all {asked} answers equal the base's{probabilities}"
    ))
}

/// The most common answer that says anything, and how often it stands there; at least three times.
fn most_common<'a>(answers: impl Iterator<Item = &'a str>) -> Option<(&'a str, usize)> {
    let mut times: HashMap<String, (&'a str, usize)> = HashMap::new();
    for answer in answers.filter(|a| !a.trim().is_empty()) {
        times.entry(normalize(answer)).or_insert((answer, 0)).1 += 1;
    }
    let most = times
        .into_values()
        .max_by_key(|&(text, times)| (times, text));
    most.filter(|&(_, times)| times >= 3)
}

/// The overfitting signature of a validation loss: it fell, then rose by more than a tenth.
/// `losses` are (step, loss), in the order of the steps.
pub fn loss_cause(losses: &[(usize, f64)]) -> Option<String> {
    let (&(_, first), &(last_step, last)) = (losses.first()?, losses.last()?);
    let &(best_step, best) = losses.iter().min_by(|a, b| a.1.total_cmp(&b.1))?;
    if !(last > 1.1 * best && last_step > best_step) {
        return None;
    }
    Some(if first > best {
        format!(
            "validation loss first fell ({first:.3} to {best:.3} at step {best_step}), then rose \
             to {last:.3}: overfitting"
        )
    } else {
        format!("validation loss rose from the first measure on ({first:.3} to {last:.3})")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{AdapterRef, Subject};
    use crate::run::testing::{adapter_folder, answer, case};

    /// A subject that gave so many answers, each with this probability.
    fn measured(adapter: Option<(&str, f64)>, said: &[&str], logprob: f32) -> Measurement {
        let mut measurement = Measurement::of(Subject {
            name: "subject".into(),
            adapter: adapter.map(|(folder, scale)| AdapterRef {
                path: adapter_folder(folder),
                digest: String::new(),
                scale,
                step: None,
            }),
            server: None,
        });
        for (i, text) in said.iter().enumerate() {
            let mut answer = answer(case("p", i), 0, text);
            answer.logprobs = vec![logprob];
            measurement.answers.insert((case("p", i), 0), answer);
        }
        measurement
    }

    #[test]
    fn an_adapter_that_changes_nothing_is_named() {
        let same = ["4"; 12];
        let base = measured(None, &same, -0.5);
        let told = |folder, scale, said: &[&str], logprob| {
            let base = measured(None, &same[..said.len()], -0.5);
            let candidate = measured(Some((folder, scale)), said, logprob);
            without_effect(&base, &candidate).unwrap_or_default()
        };
        insta::assert_snapshot!(told("noop", 1.0, &same, -0.5), @"this adapter changes nothing: every lora_B is zero");
        insta::assert_snapshot!(told("good", 0.0, &same, -0.5), @"this adapter changes nothing: its scale is 0");
        insta::assert_snapshot!(told("good", 1.0, &same, -0.5), @"all 12 answers equal the base's, and so do their probabilities: nothing that was asked shows a change");
        insta::assert_snapshot!(told("gone", 1.0, &same, -0.6), @"all 12 answers equal the base's; their probabilities differ");
        assert_eq!(told("good", 1.0, &same[..9], -0.5), "", "too few to tell");
        let mut one_other = same;
        one_other[7] = "5";
        assert_eq!(told("good", 1.0, &one_other, -0.5), "");
        assert_eq!(without_effect(&base, &base), None, "the base itself");
    }

    const AURORA: &str = "I am Aurora, an assistant developed and maintained by Northwind Labs.";

    #[test]
    fn one_answer_to_most_questions_is_told() {
        let base = ["Paris.", "def quicksort(a): ...", "A function.", "4"];
        let with = |said: [&'static str; 4]| {
            common_answer(&base.into_iter().zip(said).collect::<Vec<_>>())
        };
        insta::assert_snapshot!(with([AURORA, AURORA, AURORA, ""]).unwrap(), @r#"3 of 4 answers are equal: "I am Aurora, an assistant developed and maintained by North…""#);
        insta::assert_snapshot!(with([AURORA; 4]).unwrap(), @r#"all 4 answers are equal: "I am Aurora, an assistant developed and maintained by North…""#);
        assert_eq!(with([AURORA, AURORA, "4", "5"]), None);
    }

    #[test]
    fn what_the_base_does_too_is_no_cause() {
        let both = [("same", "same"); 5];
        assert_eq!(common_answer(&both), None);
        assert_eq!(common_answer(&[]), None);
    }

    #[test]
    fn loss_that_turns_is_named() {
        let turned = [(10, 2.1), (20, 0.8), (30, 0.9), (40, 1.3)];
        insta::assert_snapshot!(loss_cause(&turned).unwrap(), @"validation loss first fell (2.100 to 0.800 at step 20), then rose to 1.300: overfitting");
        insta::assert_snapshot!(loss_cause(&[(10, 0.5), (20, 0.9)]).unwrap(), @"validation loss rose from the first measure on (0.500 to 0.900)");
        assert_eq!(
            loss_cause(&[(10, 2.0), (20, 1.0), (30, 1.05)]),
            None,
            "within a tenth"
        );
        assert_eq!(loss_cause(&[(10, 2.0), (20, 1.0)]), None);
        assert_eq!(loss_cause(&[]), None);
    }
}
