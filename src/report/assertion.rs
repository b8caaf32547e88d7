//! A stored comparison as tests: which probes and suites fail, and what a failure says. The test
//! harness and JUnit agree because both ask here.

use std::collections::BTreeSet;
use std::time::Duration;

use super::junit::TestResult;
use super::probe::probe_changes;
use super::style::Style;
use crate::flow::{
    Candidate, Comparison, Decision, Goal, NextCommands, ProbeComparison, ProbeState, SuiteState,
    SuiteVerdict, Verdict,
};

/// Name in front of the tests of verdicts: `verdict::code`, `verdict::pooled`.
pub const VERDICT: &str = "verdict";

/// What a probe's test says when it fails: the probe is lost, in a suite or a whole that is a
/// proven regression, or that was not shown to keep its margin. A loss within the margin of a passing
/// verdict is no failure, see [`probe_remark`].
pub fn probe_failure(
    candidate: &Candidate,
    probe: &ProbeComparison,
    next: &NextCommands,
    style: Style,
) -> Option<String> {
    let kept = candidate.verdict.decision == Decision::Pass;
    if probe.state() != ProbeState::Lost || !is_kept(candidate, probe) {
        return None;
    }
    let why = match whole(candidate, probe) {
        Some(of) => format!("lost, in a proven regression of {of}"),
        None if kept => return None,
        None => "lost, and nothing shows that the whole has lost less than its margin".to_owned(),
    };
    Some(format!(
        "{why}\n{}next: {}\n",
        probe_changes(probe, ("base", "candidate"), style),
        next.probe(&probe.id)
    ))
}

/// What the test of a probe says beside its passing: a loss that the verdict allows is still one.
pub fn probe_remark(
    candidate: &Candidate,
    probe: &ProbeComparison,
    next: &NextCommands,
    style: Style,
) -> Option<String> {
    let fails = probe_failure(candidate, probe, next, style).is_some();
    (probe.state() == ProbeState::Lost && !fails).then(|| {
        let why = match is_kept(candidate, probe) {
            true => "lost, within the margin of a verdict that passes",
            false => "lost; its suite is to be learned, and only its target counts",
        };
        format!(
            "{why}\n{}next: {}\n",
            probe_changes(probe, ("base", "candidate"), style),
            next.probe(&probe.id)
        )
    })
}

/// Whether the probe's suite is to be kept.
fn is_kept(candidate: &Candidate, probe: &ProbeComparison) -> bool {
    let mut suites = candidate.verdict.suites.iter();
    suites.any(|s| s.suite == probe.id.suite && s.goal == Goal::Keep)
}

/// The regression that a probe is part of.
fn whole(candidate: &Candidate, probe: &ProbeComparison) -> Option<String> {
    let all = candidate
        .verdict
        .suites
        .iter()
        .chain([&candidate.verdict.pooled]);
    let guilty: BTreeSet<&str> = all
        .filter(|s| s.state == SuiteState::Regression)
        .map(|s| s.suite.as_str())
        .collect();
    let own = &probe.id.suite;
    let keep = is_kept(candidate, probe);
    if guilty.contains(own.as_str()) {
        Some(format!("`{own}`"))
    } else if guilty.contains(SuiteVerdict::POOLED) && keep {
        Some("all `keep` suites together".into())
    } else {
        None
    }
}

/// What a suite's test says when it fails: a proven regression, a required target that was missed,
/// or too little was scored.
pub fn suite_failure(verdict: &Verdict, suite: &SuiteVerdict) -> Option<String> {
    let missed = verdict.missed().any(|missed| missed.suite == suite.suite);
    let failed = matches!(
        suite.state,
        SuiteState::Regression | SuiteState::NotMeasured
    );
    (failed || missed).then(|| format!("{}\n  {}\n", suite.state, suite.reasons.join("\n  ")))
}

/// What the test of the whole says when it fails: anything but a pass.
pub fn verdict_failure(
    comparison: &Comparison,
    candidate: &Candidate,
    next: &NextCommands,
) -> Option<String> {
    let verdict = &candidate.verdict;
    let passes = verdict.decision == Decision::Pass && verdict.learned_enough();
    if passes && verdict.could_not_measure.is_empty() {
        return None;
    }
    let mut text = format!(
        "{} against {}: {}\n",
        candidate.subject.label(),
        comparison.base_label(),
        verdict.headline()
    );
    let missed: Vec<String> = verdict.missed().map(SuiteVerdict::explained).collect();
    let lines = missed.iter().chain(&verdict.reasons);
    let lines = lines.chain(&verdict.could_not_measure);
    for line in lines.chain(&candidate.causes) {
        text.push_str("  ");
        text.push_str(line);
        text.push('\n');
    }
    text.push_str("next: ");
    text.push_str(&next.diff());
    text.push('\n');
    Some(text)
}

/// The mean scores of a probe.
pub fn probe_numbers(probe: &ProbeComparison) -> Vec<(String, String)> {
    let mut numbers = vec![("state".to_owned(), probe.state().to_string())];
    if let Some((base, candidate)) = probe.means() {
        numbers.push(("base".into(), format!("{base:.3}")));
        numbers.push(("candidate".into(), format!("{candidate:.3}")));
    }
    numbers
}

/// The numbers of a suite.
pub fn suite_numbers(suite: &SuiteVerdict) -> Vec<(String, String)> {
    let mut numbers = vec![("state".to_owned(), suite.state.to_string())];
    if let Some(e) = &suite.estimate {
        for (key, value) in [
            ("base", e.base_mean),
            ("candidate", e.candidate_mean),
            ("difference", e.difference),
            ("lower", e.lower),
            ("upper", e.upper),
        ] {
            numbers.push((key.into(), format!("{value:.4}")));
        }
        numbers.push(("probes".into(), e.probes.to_string()));
    }
    numbers
}

/// Every test of a candidate, as `qeval gate --junit` writes them.
pub fn all_tests(
    comparison: &Comparison,
    candidate: &Candidate,
    next: &NextCommands,
) -> Vec<TestResult> {
    let plain = Style::plain(100);
    let result = |suite: &str, name: &str, failure, properties| TestResult {
        suite: suite.to_owned(),
        name: name.to_owned(),
        failure,
        output: None,
        properties,
        took: Duration::ZERO,
    };
    let probes = candidate.probes.iter().map(|probe| {
        let failure = probe_failure(candidate, probe, next, plain);
        TestResult {
            output: probe_remark(candidate, probe, next, plain),
            ..result(
                &probe.id.suite,
                &probe.id.probe,
                failure,
                probe_numbers(probe),
            )
        }
    });
    let suites = candidate.verdict.suites.iter().map(|suite| {
        result(
            VERDICT,
            &suite.suite,
            suite_failure(&candidate.verdict, suite),
            suite_numbers(suite),
        )
    });
    let pooled = result(
        VERDICT,
        SuiteVerdict::POOLED,
        verdict_failure(comparison, candidate, next),
        suite_numbers(&candidate.verdict.pooled),
    );
    probes.chain(suites).chain([pooled]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::LearnRule;
    use crate::report::testing::{one_candidate, too_little};

    /// `cargo test` and JUnit fail where `qeval gate` exits 1.
    #[test]
    fn a_required_target_that_was_missed_fails_its_test_and_that_of_the_whole() {
        let mut comparison = one_candidate(0, "");
        comparison.candidates[0].verdict = too_little();
        let failures = |comparison: &Comparison| -> Vec<(String, Option<String>)> {
            let next = NextCommands::new("run-0002/ckpt-4", String::new(), String::new());
            let tests = all_tests(comparison, &comparison.candidates[0], &next).into_iter();
            tests.map(|test| (test.name, test.failure)).collect()
        };
        let failed = failures(&comparison);
        assert_eq!(failed[1], ("code".into(), None));
        insta::assert_snapshot!(failed[0].1.as_deref().unwrap(), @"
        not reached
          0.35 is below the target of 0.80, the base 0.00
        ");
        insta::assert_snapshot!(failed[2].1.as_deref().unwrap(), @"
        careless c0ffee against smollm2 b179c952: learned too little
          `identity`: 0.35 is below the target of 0.80, the base 0.00
          all `keep` suites: a loss of 0.10 is excluded (100 probes, difference -0.01, at worst -0.047)
          repeats a training answer in 61 of 100 answers
        next: qeval diff base run-0002/ckpt-4
        ");
        comparison.candidates[0].verdict.learn_rule = LearnRule::Warn;
        assert!(
            failures(&comparison)
                .iter()
                .all(|(_, failure)| failure.is_none())
        );
    }
}
