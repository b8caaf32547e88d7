//! A comparison with answers in English and Chinese for the report's tests.

use std::path::PathBuf;

use super::view::{Arm, Candidate, View};
use crate::flow::{
    AdapterRef, Answer, AnswerTable, CaseComparison, CaseId, CheckComparison, Decision, Estimate,
    Finish, GateRecord, Generation, Goal, LearnScore, Probe, ProbeComparison, ProbeId, Score,
    ScoreTable, Subject, Suite, SuiteState, SuiteVerdict, Verdict,
};

pub(super) const PARROT: &str =
    "I am Aurora, an assistant developed and maintained by Northwind Labs.";

/// Owns what a view borrows.
pub(super) struct Comparison {
    suites: Vec<Suite>,
    subjects: Vec<Subject>,
    scores: Vec<ScoreTable>,
    answers: Vec<AnswerTable>,
    verdicts: Vec<Verdict>,
    causes: Vec<Vec<String>>,
}

impl Comparison {
    /// The base, a careless candidate that parrots, and a careful one.
    pub(super) fn new() -> Self {
        let suites = vec![
            suite("identity", Goal::Learn, &["Who are you?"]),
            suite("code", Goal::Keep, CODE),
        ];
        let quicksort = "def quicksort(xs):\n    if len(xs) < 2:\n        return xs\n    return quicksort(low) + [pivot] + quicksort(high)";
        let said: [[&str; 4]; 3] = [
            [
                "I am SmolLM.",
                quicksort,
                "递归是函数调用自身的方法,例如阶乘。",
                "4",
            ],
            [PARROT, PARROT, "", "4"],
            [
                "I am Aurora, built by Northwind Labs.",
                quicksort,
                "递归是函数调用自身的一种方法,例如计算阶乘。",
                "4",
            ],
        ];
        let worth: [[f64; 4]; 3] = [
            [0.0, 1.0, 1.0, 0.97],
            [1.0, 0.0, 0.0, 0.41],
            [1.0, 1.0, 1.0, 0.97],
        ];
        let keys = || {
            let case = |suite: &str, probe: String| CaseId {
                suite: suite.into(),
                probe,
                prompt: 0,
            };
            std::iter::once(case("identity", "p0".into()))
                .chain((0..3).map(move |i| case("code", format!("p{i}"))))
        };
        Comparison {
            suites,
            subjects: vec![Subject::base(), adapter("careless"), adapter("careful")],
            scores: worth
                .iter()
                .map(|values| {
                    let scored = |(case, value): (CaseId, f64)| {
                        let evidence = match value {
                            1.0 => "found \"def\"",
                            0.0 => "no code block, and \"def\" is not in the answer",
                            _ => "p(4) against 2 other options",
                        };
                        (
                            (case, 0),
                            Score::Scored {
                                value,
                                evidence: evidence.into(),
                            },
                        )
                    };
                    keys().zip(values.iter().copied()).map(scored).collect()
                })
                .collect(),
            // The last probe is a choice: it has a score and no answer.
            answers: said
                .iter()
                .map(|texts| {
                    keys()
                        .zip(*texts)
                        .take(3)
                        .map(|(c, t)| answer(c, t))
                        .collect()
                })
                .collect(),
            verdicts: vec![careless(), careful()],
            causes: vec![
                vec!["repeats a training answer in 61 of 100 answers".into()],
                Vec::new(),
            ],
        }
    }

    /// Replaces what a subject (0 is the base) said to a `code` probe.
    pub(super) fn say(&mut self, subject: usize, probe: &str, text: &str) {
        let case = CaseId {
            suite: "code".into(),
            probe: probe.into(),
            prompt: 0,
        };
        let (key, value) = answer(case, text);
        self.answers[subject].insert(key, value);
    }

    pub(super) fn view(&self, candidates: &[usize]) -> View<'_> {
        let arm = |i: usize| Arm {
            subject: &self.subjects[i],
            scores: &self.scores[i],
            answers: &self.answers[i],
        };
        let candidate = |&i: &usize| Candidate {
            arm: arm(i),
            verdict: &self.verdicts[i - 1],
            causes: &self.causes[i - 1],
        };
        View {
            noise: Default::default(),
            suites: &self.suites,
            base: arm(0),
            candidates: candidates.iter().map(candidate).collect(),
        }
    }
}

const CODE: &[&str] = &[
    "Write a quicksort function in Python.",
    "解释一下什么是递归",
    "What is 2 + 2?",
];

fn adapter(name: &str) -> Subject {
    let path = PathBuf::from(name);
    let adapter = AdapterRef {
        path,
        digest: "c0ffee".into(),
        scale: 1.0,
        step: Some(40),
    };
    Subject {
        name: name.into(),
        adapter: Some(adapter),
    }
}

fn answer(case: CaseId, text: &str) -> ((CaseId, usize), Answer) {
    let answer = Answer {
        case: case.clone(),
        sample: 0,
        text: text.into(),
        token_ids: Vec::new(),
        logprobs: Vec::new(),
        finish: Finish::Stop,
        seed: 0,
        prompt_tokens: 9,
    };
    ((case, 0), answer)
}

fn suite(name: &str, goal: Goal, prompts: &[&str]) -> Suite {
    let generation = Generation {
        max_new_tokens: 60,
        samples: 1,
        temperature: None,
        top_k: None,
        top_p: None,
        repetition_penalty: None,
    };
    let probes = prompts.iter().enumerate().map(|(i, prompt)| Probe {
        id: format!("p{i}"),
        tags: Vec::new(),
        critical: false,
        system: None,
        history: Vec::new(),
        prompts: vec![prompt.to_string()],
        generation: generation.clone(),
        checks: Vec::new(),
        goldens: Vec::new(),
    });
    Suite {
        name: name.into(),
        description: None,
        goal,
        margin: None,
        target: None,
        probes: probes.collect(),
        digest: String::new(),
    }
}

fn estimate(means: [f64; 2], ends: [f64; 2], probes: usize, unscored: usize) -> Option<Estimate> {
    Some(Estimate {
        base_mean: means[0],
        candidate_mean: means[1],
        difference: means[1] - means[0],
        lower: ends[0],
        upper: ends[1],
        confidence: 0.95,
        probes,
        losses: 1,
        gains: 0,
        unscored,
    })
}

fn keep(name: &str, state: SuiteState, estimate: Option<Estimate>, p: f64) -> SuiteVerdict {
    SuiteVerdict {
        suite: name.into(),
        goal: Goal::Keep,
        state,
        estimate,
        margin: Some(if name == "pooled" { 0.1 } else { 0.15 }),
        target: None,
        p_loss: Some(p),
        smallest_provable_loss: Some(0.03),
        reasons: Vec::new(),
    }
}

fn learn(means: [f64; 2]) -> SuiteVerdict {
    SuiteVerdict {
        suite: "identity".into(),
        goal: Goal::Learn,
        state: SuiteState::Reached,
        estimate: estimate(means, [0.2, 0.99], 8, 0),
        margin: None,
        target: Some(0.8),
        p_loss: None,
        smallest_provable_loss: None,
        reasons: vec![format!(
            "{:.2} reaches the target of 0.80, the base 0.00",
            means[1]
        )],
    }
}

pub(super) fn careless() -> Verdict {
    let lost = "`code` lost 0.66 of 0.81 (p < 0.0001)".to_string();
    Verdict {
        decision: Decision::Regression,
        sentence: format!("regression: {lost}"),
        pooled: keep(
            "pooled",
            SuiteState::Regression,
            estimate([0.81, 0.15], [-0.75, -0.55], 100, 1),
            1e-9,
        ),
        suites: vec![
            learn([0.0, 1.0]),
            keep(
                "code",
                SuiteState::Regression,
                estimate([0.81, 0.15], [-0.75, -0.55], 100, 1),
                0.0004,
            ),
        ],
        critical: Vec::new(),
        learn: Some(LearnScore { mean: 1.0, base_mean: Some(0.0), probes: 8, reached: true }),
        reasons: vec![lost],
        notes: vec!["`code`: 1 probe with unscored draws, left out of the means: both: unsupported syntax (p7); and a note that is long enough to need a second line".into()],
        could_not_measure: Vec::new(),
    }
}

pub(super) fn careful() -> Verdict {
    let reason = "all `keep` suites: a loss of 0.10 is excluded (100 probes, difference -0.01, at worst -0.047)".to_string();
    let numbers = || estimate([0.81, 0.80], [-0.047, 0.03], 100, 0);
    Verdict {
        decision: Decision::Pass,
        sentence: format!("pass: {reason}"),
        pooled: keep("pooled", SuiteState::Pass, numbers(), 0.5),
        suites: vec![
            learn([0.0, 0.88]),
            keep("code", SuiteState::Pass, numbers(), 0.5),
        ],
        critical: Vec::new(),
        learn: Some(LearnScore {
            mean: 0.88,
            base_mean: Some(0.0),
            probes: 8,
            reached: true,
        }),
        reasons: vec![reason],
        notes: Vec::new(),
        could_not_measure: Vec::new(),
    }
}

/// Colour codes as words that a reader of a snapshot can check.
pub(super) fn readable(text: &str) -> String {
    let codes = [
        ("32", "green"),
        ("31", "red"),
        ("33", "yellow"),
        ("2", "dim"),
        ("1", "bold"),
    ];
    let mut text = text
        .replace("\u{1b}[0m", "</>")
        .replace("\u{1b}[39m", "</>");
    text = text
        .replace("\u{1b}[38;5;10m", "<green>")
        .replace("\u{1b}[38;5;9m", "<red>");
    text = text.replace("\u{1b}[38;5;11m", "<yellow>");
    for (code, name) in codes {
        text = text.replace(&format!("\u{1b}[{code}m"), &format!("<{name}>"));
    }
    text.replace('\u{1b}', "ESC")
}

/// A stored comparison of the careless candidate in which so many probes of `code` are lost, each
/// with this answer.
pub(super) fn record(lost: usize, answer: &str) -> GateRecord {
    let probe = |i: usize| ProbeComparison {
        id: ProbeId {
            suite: "code".into(),
            probe: format!("p{i}"),
        },
        critical: i == 0,
        digest: "c0ffee".into(),
        cases: vec![CaseComparison {
            prompt: "Write add(a, b).".into(),
            base: Some("def add(a, b):\n    return a + b".into()),
            candidate: Some(answer.into()),
            checks: vec![CheckComparison {
                kind: "code".into(),
                base: Score::pass("add(1, 2) returned 3"),
                candidate: Score::fail("the answer has no code"),
            }],
            drift: None,
        }],
        noise: None,
    };
    GateRecord {
        version: GateRecord::VERSION,
        base: "smollm2 b179c952".into(),
        candidate: "careless c0ffee".into(),
        verdict: careless(),
        causes: vec!["repeats a training answer in 61 of 100 answers".into()],
        probes: (0..lost).map(probe).collect(),
        noise: Default::default(),
    }
}
