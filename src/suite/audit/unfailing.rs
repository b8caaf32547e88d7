//! Probes that no answer fails: they can show no loss.

use crate::check::registry;
use crate::flow::{Expect, Goal, Golden, Probe, ProbeId, Suite};

/// How a probe treats wrong answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Unfailing {
    /// Which.
    pub probe: ProbeId,
    /// Every wrong answer passes. Otherwise only an echo of its own prompt does.
    pub always: bool,
}

/// Answers that are wrong to nearly every question: silence, noise, a shrug, a parroted sentence,
/// and the right answers to other questions.
pub fn wrong_answers(suite: &Suite, but: &Probe) -> Vec<String> {
    let mut wrong: Vec<String> = [
        "",
        "asdf qwer",
        "I don't know.",
        "我不知道。",
        "I am Aurora, an assistant developed and maintained by Northwind Labs.",
    ]
    .map(str::to_owned)
    .to_vec();
    // What has to be learned is the same answer to many questions.
    let keep = suite.goal == Goal::Keep;
    let others = suite.probes.iter().filter(|p| keep && p.id != but.id);
    let right = others.filter_map(|p| p.goldens.iter().find(|g| g.expect == Expect::Pass));
    wrong.extend(right.take(8).map(|g| g.answer.clone()));
    wrong
}

/// Probes whose checks judge by the text and pass every wrong answer, and those that pass an echo
/// of their own prompt.
pub fn unfailing(suites: &[Suite]) -> Vec<Unfailing> {
    let mut found = Vec::new();
    for suite in suites {
        for probe in &suite.probes {
            let passes = |answer: &str| passes(probe, answer);
            let wrong = wrong_answers(suite, probe);
            let always = wrong.iter().all(|answer| passes(answer) == Some(true));
            let echo = probe.prompts.iter().any(|p| passes(p) == Some(true));
            if always || echo {
                found.push(Unfailing {
                    probe: ProbeId {
                        suite: suite.name.clone(),
                        probe: probe.id.clone(),
                    },
                    always,
                });
            }
        }
    }
    found
}

/// Whether all checks pass an answer; `None` when one of them wants more than its text.
fn passes(probe: &Probe, answer: &str) -> Option<bool> {
    let golden = Golden {
        answer: answer.to_owned(),
        expect: Expect::Pass,
        siblings: Vec::new(),
        training_answers: Vec::new(),
    };
    let checks = probe.checks.iter().map(registry::build);
    let checks = checks.collect::<Result<Vec<_>, _>>().ok()?;
    registry::score_of_text(&checks, &golden).map(|score| score.value() == Some(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::{SuiteSource, load};

    fn found(checks: &str) -> Vec<bool> {
        let text = format!(
            "[suite]\nname = \"s\"\ngoal = \"keep\"\n[[probe]]\nid = \"p\"\n\
             prompts = [\"Is Paris in France?\"]\n{checks}"
        );
        let suites = load(&[SuiteSource::new("s.toml", text)], &Default::default()).unwrap();
        unfailing(&suites).iter().map(|u| u.always).collect()
    }

    #[test]
    fn a_check_that_everything_passes_is_found() {
        let never = "[[probe.check]]\ntype = \"not-contains\"\nvalue = \"zebra\"\n";
        assert_eq!(found(never), [true]);
        let fact = "[[probe.check]]\ntype = \"icontains-any\"\nvalue = [\"yes\"]\n";
        assert!(found(&format!("{never}{fact}")).is_empty());
    }

    #[test]
    fn an_echo_that_passes_is_found() {
        let echo = "[[probe.check]]\ntype = \"contains\"\nvalue = \"France\"\n";
        assert_eq!(found(echo), [false]);
    }

    #[test]
    fn what_needs_a_model_can_fail() {
        let choice =
            "[[probe.check]]\ntype = \"choice\"\noptions = [\"Yes\", \"No\"]\nanswer = \"Yes\"\n";
        assert!(found(choice).is_empty());
    }
}
