//! Wrong answers put to probes: one that none fails can show no loss.

use crate::check::registry;
use crate::flow::{Expect, Goal, Golden, Probe, ProbeId, Suite};

/// How a probe's checks treat wrong answers.
#[derive(Debug, Clone, PartialEq)]
pub struct WrongAnswers {
    /// Which probe.
    pub probe: ProbeId,
    /// Wrong answers that the checks could judge by the text alone.
    pub tried: usize,
    /// Those of them that do not pass.
    pub caught: usize,
    /// Whether one of the probe's own prompts passes as its answer.
    pub echo: bool,
}

impl WrongAnswers {
    /// Whether every wrong answer passes: the probe can show no loss.
    pub fn none_caught(&self) -> bool {
        self.tried > 0 && self.caught == 0
    }
}

/// Puts wrong answers and the probe's own prompts to the checks of every probe.
pub fn try_wrong_answers(suites: &[Suite]) -> Vec<WrongAnswers> {
    let probes = suites
        .iter()
        .flat_map(|suite| suite.probes.iter().map(move |probe| (suite, probe)));
    probes
        .map(|(suite, probe)| treatment(suite, probe))
        .collect()
}

fn treatment(suite: &Suite, probe: &Probe) -> WrongAnswers {
    let checks = probe.checks.iter().map(registry::build);
    let checks = checks.collect::<Result<Vec<_>, _>>().ok();
    // `None` when a check wants more than the text.
    let passes = |answer: String| {
        let golden = Golden {
            answer,
            expect: Expect::Fail,
            siblings: Vec::new(),
            training_answers: Vec::new(),
        };
        let score = registry::score_of_text(checks.as_ref()?, &golden)?;
        Some(score.value() == Some(1.0))
    };
    let judged: Vec<bool> = wrong_answers(suite, probe)
        .into_iter()
        .filter_map(passes)
        .collect();
    WrongAnswers {
        probe: suite.id_of(probe),
        tried: judged.len(),
        caught: judged.iter().filter(|passed| !**passed).count(),
        echo: probe
            .prompts
            .iter()
            .any(|p| passes(p.clone()) == Some(true)),
    }
}

/// Answers that are wrong to nearly every question: silence, noise, a shrug, a parroted sentence,
/// and the right answers to other questions.
fn wrong_answers(suite: &Suite, but: &Probe) -> Vec<String> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::{SuiteSource, load};

    /// Whether no wrong answer is caught, and whether an echo passes.
    fn found(checks: &str) -> (bool, bool) {
        let text = format!(
            "[suite]\nname = \"s\"\ngoal = \"keep\"\n[[probe]]\nid = \"p\"\n\
             prompts = [\"Is Paris in France?\"]\n{checks}"
        );
        let suites = load(&[SuiteSource::new("s.toml", text)], &Default::default()).unwrap();
        let tried = try_wrong_answers(&suites);
        (tried[0].none_caught(), tried[0].echo)
    }

    #[test]
    fn a_check_that_everything_passes_is_found() {
        let never = "[[probe.check]]\ntype = \"not-contains\"\nvalue = \"zebra\"\n";
        assert_eq!(found(never), (true, true));
        let fact = "[[probe.check]]\ntype = \"icontains-any\"\nvalue = [\"yes\"]\n";
        assert_eq!(found(&format!("{never}{fact}")), (false, false));
    }

    #[test]
    fn an_echo_that_passes_is_found() {
        let echo = "[[probe.check]]\ntype = \"contains\"\nvalue = \"France\"\n";
        assert_eq!(found(echo), (false, true));
    }

    #[test]
    fn what_needs_a_model_can_fail() {
        let choice =
            "[[probe.check]]\ntype = \"choice\"\noptions = [\"Yes\", \"No\"]\nanswer = \"Yes\"\n";
        assert_eq!(found(choice), (false, false));
    }
}
