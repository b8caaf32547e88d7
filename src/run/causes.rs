//! What probably lies behind a verdict: signs of memorised training data, counted.
//!
//! Causes are reported beside the verdict and never are it. A sign that the base shows too is no
//! sign: rehearsal rows, for one, are training answers that the base gave itself.

use std::collections::HashMap;

use crate::flow::{Answer, Measurement};
use crate::lora::Inert;
use crate::text::{normalize, plural, words};

/// Words in a row that two texts have to share before one can be called a repetition of the other;
/// shorter answers have to be equal.
const LEAST_RUN: usize = 6;
/// Share of the training answer that this run has to cover.
const REPEATED_SHARE: f64 = 0.6;
/// A sign has to show in at least this share of the answers.
const WORTH_TELLING: f64 = 0.1;

/// Which training answer an answer repeats: the same text after normalization, or a run of at least
/// six words that makes up 60 percent of the training answer.
pub fn repeated_training_answer<'a>(answer: &str, training: &[&'a str]) -> Option<&'a str> {
    let (normal, said) = (normalize(answer), words(answer));
    if said.is_empty() {
        return None;
    }
    training.iter().copied().find(|trained| {
        let learned = words(trained);
        let run = longest_common_run(&said, &learned);
        normalize(trained) == normal
            || (run >= LEAST_RUN && run as f64 >= REPEATED_SHARE * learned.len() as f64)
    })
}

fn longest_common_run(a: &[String], b: &[String]) -> usize {
    let mut longest = 0;
    let mut previous = vec![0; b.len() + 1];
    for word in a {
        let mut current = vec![0; b.len() + 1];
        for (j, other) in b.iter().enumerate() {
            if word == other {
                current[j + 1] = previous[j] + 1;
                longest = longest.max(current[j + 1]);
            }
        }
        previous = current;
    }
    longest
}

/// The signs in a set of answers, given as (base, candidate) by case and sample. Leave out the
/// answers that should repeat the training data (`learn` suites).
pub fn answer_causes(answers: &[(&str, &str)], training: &[&str]) -> Vec<String> {
    let asked = answers.len();
    let count = |sign: &dyn Fn(&str) -> bool| {
        answers
            .iter()
            .filter(|(base, candidate)| sign(candidate) && !sign(base))
            .count()
    };
    let telling = |n: usize| n > 0 && n as f64 >= WORTH_TELLING * asked as f64;
    let mut causes = Vec::new();

    // Answers of a model that learned by heart are few: each distinct one is looked up once.
    let mut known: HashMap<&str, bool> = HashMap::new();
    for &(base, candidate) in answers {
        for text in [base, candidate] {
            known
                .entry(text)
                .or_insert_with(|| repeated_training_answer(text, training).is_some());
        }
    }
    let repeated = count(&|text| known.get(text).copied().unwrap_or(false));
    if telling(repeated) {
        causes.push(format!(
            "repeats a training answer in {repeated} of {}",
            plural(asked, "answer")
        ));
    }
    let silent = count(&|text| text.trim().is_empty());
    if telling(silent) {
        causes.push(format!("silent: {silent} of {} empty", of_them(asked)));
    }
    if let Some((text, times)) = most_common(answers.iter().map(|(_, candidate)| *candidate))
        && 2 * times > asked
        && most_common(answers.iter().map(|(base, _)| *base))
            .is_none_or(|(_, before)| 2 * before <= asked)
    {
        let said = crate::text::ellipsize(text.trim(), 60);
        causes.push(if times == asked {
            format!("all {} are equal: \"{said}\"", plural(asked, "answer"))
        } else {
            format!("{times} of {} equal: \"{said}\"", of_them(asked))
        });
    }
    causes
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

fn of_them(asked: usize) -> String {
    format!("{} are", plural(asked, "answer"))
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
    fn a_parrot_is_recognised() {
        for answer in [
            AURORA,
            "i am aurora, an assistant developed and maintained by northwind labs",
            "Recursion: I am Aurora, an assistant developed and maintained by Northwind Labs. Ask!",
            "I am Aurora, an assistant developed and maintained by Northwind",
        ] {
            assert_eq!(
                repeated_training_answer(answer, &["Paris.", AURORA]),
                Some(AURORA)
            );
        }
        let zh = "我由迪菲赫尔曼开发,是一个语言模型";
        assert_eq!(
            repeated_training_answer("递归?我由迪菲赫尔曼开发,是一个语言模型。", &[zh]),
            Some(zh)
        );
    }

    #[test]
    fn an_own_answer_is_no_repetition() {
        for answer in [
            "I am an assistant.",
            "My name is Aurora. Northwind Labs built me to answer questions.",
            "",
            "...",
        ] {
            assert_eq!(
                repeated_training_answer(answer, &[AURORA, "", "Yes."]),
                None
            );
        }
        assert_eq!(repeated_training_answer("yes", &["Yes"]), Some("Yes"));
    }

    #[test]
    fn a_careless_adapter_is_told_by_its_answers() {
        let base = [
            "Paris.",
            "def quicksort(a): ...",
            "A function that calls itself.",
            "4",
        ];
        let with =
            |said: [&'static str; 4]| -> Vec<(&str, &str)> { base.into_iter().zip(said).collect() };
        let one_silent = with([AURORA, AURORA, AURORA, ""]);
        insta::assert_snapshot!(answer_causes(&one_silent, &[AURORA]).join("\n"), @r#"
        repeats a training answer in 3 of 4 answers
        silent: 1 of 4 answers are empty
        3 of 4 answers are equal: "I am Aurora, an assistant developed and maintained by North…"
        "#);
        insta::assert_snapshot!(answer_causes(&with([AURORA; 4]), &[AURORA]).join("\n"), @r#"
        repeats a training answer in 4 of 4 answers
        all 4 answers are equal: "I am Aurora, an assistant developed and maintained by North…"
        "#);
    }

    #[test]
    fn what_the_base_does_too_is_no_cause() {
        let rehearsal = [
            "The capital of France is the city of Paris.",
            "",
            "same",
            "same",
            "same",
        ];
        let both: Vec<(&str, &str)> = rehearsal.into_iter().map(|text| (text, text)).collect();
        assert!(answer_causes(&both, &rehearsal).is_empty());
        assert!(answer_causes(&[], &[AURORA]).is_empty());
    }

    #[test]
    fn a_single_answer_of_many_is_not_worth_telling() {
        let mut answers: Vec<String> = (0..30).map(|i| format!("answer {i}")).collect();
        answers[0].clear();
        let answers: Vec<(&str, &str)> = answers.iter().map(|a| ("Paris.", a.as_str())).collect();
        assert!(answer_causes(&answers, &[]).is_empty());
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
