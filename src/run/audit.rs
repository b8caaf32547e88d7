//! Suites tested before anything depends on them: golden answers, leaks, duplicates, probes that
//! can show no loss, and what the base does with them.

use std::collections::HashMap;
use std::sync::Arc;

use crate::chat::Role;
use crate::flow::{
    BaseLine, Finding, FindingKind, Goal, Measurement, Probe, ProbeId, RunEvent, Suite, SuiteAudit,
    SuiteLine,
};
use crate::gate::smallest_margin;
use crate::suite::audit::{WrongAnswers, duplicates, leaks, try_wrong_answers};
use crate::train::{Example, Origin};

use super::error::RunError;
use super::golden::{GoldenOutcome, judge_goldens};
use super::judge::Judge;
use super::scoring::Scoring;

/// Cosine from which two questions mean nearly the same.
const NEAR: f64 = 0.9;
/// A score below which the base is said to fail.
const FAILED: f64 = 0.05;
/// Error rate of what a suite excludes.
const LEVEL: f64 = 0.05;

/// Tests suites. `questions` are those of the training data, none when it is not known; `base` is
/// what the base said, when it was asked.
///
/// # Errors
/// A check that cannot be built, or a judge that cannot be asked.
pub fn audit(
    suites: &[Suite],
    questions: &[String],
    scoring: &Scoring,
    judge: Option<&Judge<'_>>,
    base: Option<&Measurement>,
    on_event: &mut dyn FnMut(RunEvent),
) -> Result<SuiteAudit, RunError> {
    let GoldenOutcome {
        kinds,
        misjudged,
        not_put,
    } = judge_goldens(suites, scoring, judge, on_event)?;
    if not_put > 0 {
        scoring.notice(format!(
            "{not_put} golden answers were not put to their checks: a rubric needs a judge \
             (`--base`), `similar` an encoder"
        ));
    }
    let wrong = try_wrong_answers(suites);
    let mut findings = text_findings(suites, questions, &wrong);
    findings.extend(near_leaks(suites, questions, scoring, &findings));
    if let Some(base) = base {
        findings.extend(always_failed(suites, base));
    }
    Ok(SuiteAudit {
        suites: suites.iter().map(|s| line(s, &wrong, base)).collect(),
        kinds,
        misjudged,
        findings,
        judge: judge.map(|j| j.calibration.clone()),
    })
}

/// What the user turns of examples say.
pub fn questions_of(examples: &[Example]) -> Vec<String> {
    let turns = examples.iter().flat_map(|e| &e.conversation.messages);
    turns
        .filter(|m| m.role == Role::User)
        .map(|m| m.content.clone())
        .collect()
}

/// What the first user turn of each example says, with the example's place.
pub fn first_questions(examples: &[Example]) -> Vec<(Origin, String)> {
    let first = |example: &Example| {
        let turns = &example.conversation.messages;
        let question = turns.iter().find(|m| m.role == Role::User)?;
        Some((example.origin.clone(), question.content.clone()))
    };
    examples.iter().filter_map(first).collect()
}

/// Probes that stand in the training data, rehearsal prompts among it.
pub fn leaked(suites: &[Suite], examples: &[Example], rehearsal: &[String]) -> Vec<ProbeId> {
    let mut questions = questions_of(examples);
    questions.extend_from_slice(rehearsal);
    leaks(suites, &questions)
        .into_iter()
        .map(|leak| leak.probe)
        .collect()
}

fn text_findings(suites: &[Suite], questions: &[String], wrong: &[WrongAnswers]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for leak in leaks(suites, questions) {
        findings.push(Finding {
            kind: FindingKind::Leak,
            probe: leak.probe,
            detail: format!("\"{}\" is trained on as \"{}\"", leak.prompt, leak.trained),
        });
    }
    for (probe, earlier, prompt) in duplicates(suites) {
        findings.push(Finding {
            kind: FindingKind::Duplicate,
            probe,
            detail: format!("\"{prompt}\" is asked by {earlier} too"),
        });
    }
    for tried in wrong {
        let (kind, detail) = match (tried.none_caught(), tried.echo) {
            (true, _) => (
                FindingKind::Unfailing,
                "every wrong answer that was tried passes",
            ),
            (false, true) => (FindingKind::Echo, "the prompt itself is a right answer"),
            (false, false) => continue,
        };
        findings.push(Finding {
            kind,
            probe: tried.probe.clone(),
            detail: detail.into(),
        });
    }
    findings
}

/// Probes whose meaning is near a training question's, and that are no leak by their words.
fn near_leaks(
    suites: &[Suite],
    questions: &[String],
    scoring: &Scoring,
    known: &[Finding],
) -> Vec<Finding> {
    let prompts = suites
        .iter()
        .flat_map(|s| s.probes.iter().flat_map(|p| &p.prompts));
    let texts: Vec<String> = prompts.chain(questions).cloned().collect();
    if questions.is_empty() {
        return Vec::new();
    }
    let Some(embeddings) = scoring.embed(&texts) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for suite in suites {
        for probe in &suite.probes {
            let id = suite.id_of(probe);
            if known
                .iter()
                .any(|f| f.probe == id && f.kind == FindingKind::Leak)
            {
                continue;
            }
            let nearest = probe
                .prompts
                .iter()
                .flat_map(|prompt| questions.iter().map(move |q| (prompt, q)))
                .map(|(prompt, q)| (cosine(&embeddings, prompt, q), prompt, q))
                .max_by(|a, b| a.0.total_cmp(&b.0));
            if let Some((cosine, prompt, question)) = nearest.filter(|n| n.0 >= NEAR) {
                found.push(Finding {
                    kind: FindingKind::NearLeak,
                    probe: id,
                    detail: format!("\"{prompt}\" is at cosine {cosine:.2} to \"{question}\""),
                });
            }
        }
    }
    found
}

fn cosine(embeddings: &HashMap<String, Arc<[f32]>>, a: &str, b: &str) -> f64 {
    let of = |text: &str| embeddings.get(text).cloned().unwrap_or_default();
    let (a, b) = (of(a), of(b));
    a.iter()
        .zip(b.iter())
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum()
}

/// The scores of a probe's prompts and samples.
fn values(base: &Measurement, suite: &Suite, probe: &Probe) -> Vec<f64> {
    let own = base
        .scores
        .iter()
        .filter(|((case, _), _)| case.suite == suite.name && case.probe == probe.id);
    own.filter_map(|(_, score)| score.value()).collect()
}

fn always_failed(suites: &[Suite], base: &Measurement) -> Vec<Finding> {
    let mut found = Vec::new();
    for suite in suites.iter().filter(|s| s.goal == Goal::Keep) {
        for probe in &suite.probes {
            let values = values(base, suite, probe);
            if !values.is_empty() && values.iter().all(|v| *v < FAILED) {
                let of = crate::text::plural(probe.prompts.len(), "prompt");
                found.push(Finding {
                    kind: FindingKind::AlwaysFailed,
                    probe: suite.id_of(probe),
                    detail: format!("below {FAILED} on {of}"),
                });
            }
        }
    }
    found
}

fn line(suite: &Suite, wrong: &[WrongAnswers], base: Option<&Measurement>) -> SuiteLine {
    let probes = &suite.probes;
    let own = || wrong.iter().filter(|w| w.probe.suite == suite.name);
    let tried: usize = own().map(|w| w.tried).sum();
    let caught: usize = own().map(|w| w.caught).sum();
    let unfailing: Vec<&ProbeId> = own()
        .filter(|w| w.none_caught())
        .map(|w| &w.probe)
        .collect();
    let base = base.map(|base| {
        let scored: Vec<(&Probe, Vec<f64>)> = probes
            .iter()
            .map(|p| (p, values(base, suite, p)))
            .filter(|(_, v)| !v.is_empty())
            .collect();
        let means = scored
            .iter()
            .map(|(_, v)| v.iter().sum::<f64>() / v.len() as f64);
        let failed = |v: &[f64]| v.iter().all(|v| *v < FAILED);
        BaseLine {
            mean: means.sum::<f64>() / scored.len().max(1) as f64,
            scored: scored.len(),
            always_failed: scored.iter().filter(|(_, v)| failed(v)).count(),
            can_lose: scored
                .iter()
                .filter(|(p, v)| !failed(v) && !unfailing.contains(&&suite.id_of(p)))
                .count(),
        }
    });
    SuiteLine {
        suite: suite.name.clone(),
        goal: suite.goal,
        probes: probes.len(),
        prompts: probes.iter().map(|p| p.prompts.len()).sum(),
        likelihoods: probes.iter().filter(|p| p.is_by_likelihood()).count(),
        goldens: probes.iter().map(|p| p.goldens.len()).sum(),
        wrong_caught: (tried > 0).then(|| caught as f64 / tried as f64),
        smallest_provable_loss: smallest_margin(probes.len(), LEVEL),
        base,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Conversation, Message};
    use crate::flow::{Score, Subject};
    use crate::run::testing::{Stage, case, example, suites};
    use crate::train::Origin;

    fn probes() -> Vec<Suite> {
        suites(
            r#"
            [[probe]]
            id = "peru"
            prompts = ["What is the capital of Peru?", "Name Peru's capital."]
            check = [{ type = "contains", value = "Lima" }]
            [[probe]]
            id = "sum"
            prompts = ["What is 2 + 2?"]
            check = [{ type = "number", value = 4 }]
            "#,
        )
    }

    /// The base's scores of prompts; `None` could not be judged.
    fn scored(scores: &[(&str, usize, Option<f64>)]) -> Measurement {
        let mut base = Measurement::of(Subject::base());
        for (probe, prompt, value) in scores {
            let score = match value {
                Some(value) => Score::Scored {
                    value: *value,
                    evidence: String::new(),
                },
                None => Score::unscored("no judge"),
            };
            base.scores.insert((case(probe, *prompt), 0), score);
        }
        base
    }

    fn found(suites: &[Suite], questions: &[&str], base: Option<&Measurement>) -> SuiteAudit {
        let stage = Stage::new();
        let questions: Vec<String> = questions.iter().map(ToString::to_string).collect();
        let scoring = stage.scoring();
        audit(suites, &questions, &scoring, None, base, &mut |_| {}).unwrap()
    }

    #[test]
    fn a_probe_that_is_trained_on_makes_a_suite_unclean() {
        let suites = probes();
        assert!(found(&suites, &["Who wrote Emma?"], None).is_clean());
        let audit = found(&suites, &["what is the capital of peru"], None);
        assert!(!audit.is_clean());
        let kinds: Vec<_> = audit.findings.iter().map(|f| (f.kind, &f.probe)).collect();
        assert_eq!(
            kinds,
            [(FindingKind::Leak, &suites[0].id_of(&suites[0].probes[0]))]
        );
    }

    /// What the base answers itself is trained on too.
    #[test]
    fn a_prompt_of_rehearsal_is_a_leak_like_any_row() {
        let suites = probes();
        let rows = [example("Who are you?", "Pip.")];
        let leaks = |rehearsal: &[String]| leaked(&suites, &rows, rehearsal).len();
        assert_eq!((leaks(&[]), leaks(&["What is 2 + 2?".into()])), (0, 1));
    }

    #[test]
    fn questions_are_what_the_user_says_in_every_turn() {
        let turns = [
            Message::system("Be brief."),
            Message::user("Hello?"),
            Message::assistant("Hi."),
            Message::user("And now?"),
            Message::assistant("Bye."),
        ];
        let origin = Origin {
            file: "rows.jsonl".into(),
            line: 1,
        };
        let row = Example::new(Conversation::new(turns), origin);
        assert_eq!(questions_of(&[row]), ["Hello?", "And now?"]);
    }

    #[test]
    fn a_probe_that_the_base_always_fails_can_show_no_loss() {
        let mut suites = probes();
        let failed = [
            ("peru", 0, Some(0.0)),
            ("peru", 1, Some(0.0)),
            ("sum", 0, Some(1.0)),
        ];
        let audit = found(&suites, &[], Some(&scored(&failed)));
        let kinds: Vec<_> = audit
            .findings
            .iter()
            .map(|f| (f.kind, f.probe.probe.as_str()))
            .collect();
        assert_eq!(kinds, [(FindingKind::AlwaysFailed, "peru")]);
        assert!(audit.is_clean(), "worth a look, and no fault");
        let base = audit.suites[0].base.unwrap();
        assert_eq!(
            (base.mean, base.scored, base.always_failed, base.can_lose),
            (0.5, 2, 1, 1)
        );
        // One wording that passes is something to lose, and there is nothing to lose to learn.
        let once = [("peru", 0, Some(0.0)), ("peru", 1, Some(1.0))];
        assert_eq!(found(&suites, &[], Some(&scored(&once))).findings, []);
        suites[0].goal = Goal::Learn;
        assert_eq!(found(&suites, &[], Some(&scored(&failed))).findings, []);
    }

    #[test]
    fn a_probe_that_could_not_be_judged_is_not_failed() {
        let unscored = [("peru", 0, None), ("peru", 1, None), ("sum", 0, Some(1.0))];
        let audit = found(&probes(), &[], Some(&scored(&unscored)));
        assert_eq!(audit.findings, []);
        let base = audit.suites[0].base.unwrap();
        assert_eq!((base.mean, base.scored, base.always_failed), (1.0, 1, 0));
    }
}
