//! A comparison with answers in English and Chinese for the report's tests.

use std::path::PathBuf;

use crate::flow::{
    AdapterRef, Candidate, CaseComparison, CheckComparison, Comparison, Decision, Estimate, Goal,
    LearnRule, LearnScore, ProbeComparison, ProbeId, SampleComparison, Score, Subject, SuiteState,
    SuiteVerdict, Verdict,
};

pub(super) const PARROT: &str =
    "I am Aurora, an assistant developed and maintained by Northwind Labs.";

/// The base, a careless candidate that parrots, and a careful one.
pub(super) fn two_candidates() -> Comparison {
    let quicksort = "def quicksort(xs):\n    if len(xs) < 2:\n        return xs\n    return quicksort(low) + [pivot] + quicksort(high)";
    // The last probe is a choice: it has a score and no answer.
    let base = [
        (0.0, Some("I am SmolLM.")),
        (1.0, Some(quicksort)),
        (1.0, Some("递归是函数调用自身的方法,例如阶乘。")),
        (0.97, None),
    ];
    let careless_said = [
        (1.0, Some(PARROT)),
        (0.0, Some(PARROT)),
        (0.0, Some("")),
        (0.41, None),
    ];
    let careful_said = [
        (1.0, Some("I am Aurora, built by Northwind Labs.")),
        (1.0, Some(quicksort)),
        (1.0, Some("递归是函数调用自身的一种方法,例如计算阶乘。")),
        (0.97, None),
    ];
    let candidate = |name: &str, said: &[(f64, Option<&str>)], verdict, causes| Candidate {
        subject: adapter(name),
        verdict,
        causes,
        own_answers: None,
        probes: base
            .iter()
            .zip(said)
            .enumerate()
            .map(|(i, (old, new))| probe(i, *old, *new))
            .collect(),
    };
    let repeats = vec!["repeats a training answer in 61 of 100 answers".to_owned()];
    Comparison {
        model: "models/smollm2".into(),
        base: Subject::base(),
        candidates: vec![
            candidate("careless", &careless_said, careless(), repeats),
            candidate("careful", &careful_said, careful(), Vec::new()),
        ],
        noise: Default::default(),
        exam: None,
        baseline: None,
    }
}

/// Probe 0 is that of `identity`, the others are of `code`.
fn probe(
    i: usize,
    (old, base): (f64, Option<&str>),
    (new, candidate): (f64, Option<&str>),
) -> ProbeComparison {
    let score = |value: f64| Score::Scored {
        value,
        evidence: match value {
            1.0 => "found \"def\"",
            0.0 => "no code block, and \"def\" is not in the answer",
            _ => "p(4) against 2 other options",
        }
        .into(),
    };
    let (suite, probe, prompt) = match i {
        0 => ("identity", 0, "Who are you?"),
        i => ("code", i - 1, CODE[i - 1]),
    };
    ProbeComparison {
        id: ProbeId {
            suite: suite.into(),
            probe: format!("p{probe}"),
        },
        critical: false,
        digest: String::new(),
        cases: vec![CaseComparison {
            prompt: prompt.into(),
            samples: vec![SampleComparison {
                base: base.map(String::from),
                candidate: candidate.map(String::from),
                checks: vec![CheckComparison {
                    kind: "contains".into(),
                    base: score(old),
                    candidate: score(new),
                }],
                continued: false,
                further: false,
                base_thinking: None,
                candidate_thinking: None,
            }],
            drift: None,
        }],
        noise: None,
    }
}

/// Replaces what a subject (0 is the base, 1 and 2 are candidates) said to a `code` probe.
pub(super) fn say(comparison: &mut Comparison, subject: usize, probe: &str, text: &str) {
    for (i, candidate) in comparison.candidates.iter_mut().enumerate() {
        let mut probes = candidate.probes.iter_mut();
        let found = probes.find(|p| p.id.suite == "code" && p.id.probe == probe);
        let Some(draw) = found.map(|p| &mut p.cases[0].samples[0]) else {
            continue;
        };
        if subject == 0 {
            draw.base = Some(text.into());
        } else if i + 1 == subject {
            draw.candidate = Some(text.into());
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
        server: None,
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
        spread: None,
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
        spread: None,
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
        signs: Vec::new(),
        early: None,
        learn_rule: LearnRule::Require,
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
        signs: Vec::new(),
        early: None,
        learn: Some(LearnScore {
            mean: 0.88,
            base_mean: Some(0.0),
            probes: 8,
            reached: true,
        }),
        learn_rule: LearnRule::Require,
        reasons: vec![reason],
        notes: Vec::new(),
        could_not_measure: Vec::new(),
    }
}

/// The careful candidate where 0.35 was learned of a target of 0.80.
pub(super) fn too_little() -> Verdict {
    let mut verdict = careful();
    let learned = &mut verdict.suites[0];
    learned.state = SuiteState::Missed;
    learned.estimate = estimate([0.0, 0.35], [0.1, 0.7], 8, 0);
    learned.reasons = vec!["0.35 is below the target of 0.80, the base 0.00".into()];
    verdict.learn = Some(LearnScore {
        mean: 0.35,
        base_mean: Some(0.0),
        probes: 8,
        reached: false,
    });
    verdict.sentence += "; learned too little: `identity` 0.35 of a target of 0.80";
    verdict
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

/// A comparison with the careless candidate in which so many probes of `code` are lost, each with
/// this answer.
pub(super) fn one_candidate(lost: usize, answer: &str) -> Comparison {
    let probe = |i: usize| ProbeComparison {
        id: ProbeId {
            suite: "code".into(),
            probe: format!("p{i}"),
        },
        critical: i == 0,
        digest: "c0ffee".into(),
        cases: vec![CaseComparison {
            prompt: "Write add(a, b).".into(),
            samples: vec![SampleComparison {
                base: Some("def add(a, b):\n    return a + b".into()),
                candidate: Some(answer.into()),
                checks: vec![CheckComparison {
                    kind: "code".into(),
                    base: Score::pass("add(1, 2) returned 3"),
                    candidate: Score::fail("the answer has no code"),
                }],
                continued: false,
                further: false,
                base_thinking: None,
                candidate_thinking: None,
            }],
            drift: None,
        }],
        noise: None,
    };
    let mut comparison = two_candidates();
    comparison.model = "smollm2 b179c952".into();
    comparison.candidates.truncate(1);
    comparison.candidates[0].probes = (0..lost).map(probe).collect();
    comparison
}

/// A comparison as of a real model: many suites, long patterns, Chinese, an endless answer.
pub(super) fn many_suites() -> Comparison {
    use SuiteState::{Inconclusive, NotMeasured, Pass, Regression};
    let row = |suite: &str, state, means: [f64; 2], ends, probes, unscored| SuiteVerdict {
        estimate: estimate(means, ends, probes, unscored),
        ..keep(suite, state, None, 0.01)
    };
    let pass = |suite: &str, lower| row(suite, Pass, [0.7, 0.7], [lower, 0.05], 60, 0);
    let mut suites = vec![
        pass("arithmetic", -0.05),
        row(
            "arithmetic-zh",
            Inconclusive,
            [0.62, 0.57],
            [-0.19, 0.09],
            21,
            0,
        ),
        row("code", Regression, [0.81, 0.43], [-0.48, -0.27], 80, 2),
        row("code-zh", Regression, [0.75, 0.5], [-0.4, -0.08], 24, 1),
        pass("gpt4", -0.12),
        pass("instruction", -0.08),
        row(
            "instruction-zh",
            Inconclusive,
            [0.5, 0.46],
            [-0.2, 0.12],
            22,
            0,
        ),
        pass("knowledge", -0.02),
        pass("language", 0.0),
        pass("leakage", -0.04),
        row("reasoning", NotMeasured, [0.4, 0.4], [-0.5, 0.2], 20, 40),
        pass("reasoning-zh", -0.14),
        pass("recursion", -0.06),
        pass("refusal", -0.09),
    ];
    let mut missed = learn([0.0, 0.35]);
    missed.state = SuiteState::Missed;
    suites.extend([learn([0.02, 0.97]), missed]);
    suites[15].suite = "identity-zh".into();
    suites[15].estimate = estimate([0.0, 0.35], [0.1, 0.7], 18, 0);
    let pattern = format!(
        r"(?i)^\s*(?:{})\s*[.!]?$",
        "paris|the capital is paris|".repeat(12)
    );
    let unscored = |suite: &str, probes| {
        let why = format!("candidate: a regular expression needs too long: /{pattern}/ (p3, p9)");
        Verdict::note_of_unscored(suite, probes, &why)
    };
    let lost = [
        "`code` lost 0.38 of 0.81 (p < 0.0001)",
        "`code-zh` lost 0.25 of 0.75 (p = 0.004)",
        "all `keep` suites lost 0.09 of 0.68 (p < 0.0001)",
    ];
    let mut pooled = row("pooled", Regression, [0.68, 0.59], [-0.12, -0.06], 747, 3);
    pooled.margin = Some(0.03);
    let verdict = Verdict {
        sentence: format!("regression: {}", lost.join("; ")),
        pooled,
        suites,
        reasons: lost.map(String::from).to_vec(),
        notes: vec![
            "`knowledge` lost 0.01 of 0.70 (p = 0.030): a proven loss, below half the margin of 0.15".into(),
            unscored("code", 2),
            unscored("code-zh", 1),
            unscored("reasoning", 40),
        ],
        could_not_measure: vec![format!(
            "`reasoning`: 67 percent of the scores are missing, at most 10 percent may be; candidate: a \
             regular expression needs too long: /{pattern}/ (p3, p9)"
        )],
        ..careless()
    };
    let said = |i: usize,
                (suite, prompt, base, candidate, why): (
        &str,
        &str,
        Option<&str>,
        Option<&str>,
        &str,
    )| {
        let mut probe = probe(1, (1.0, base), (0.0, candidate));
        probe.id.suite = suite.into();
        probe.id.probe = format!("p{i}");
        probe.critical = suite == "knowledge";
        probe.cases[0].prompt = prompt.into();
        probe.cases[0].samples[0].checks[0].candidate = Score::fail(why);
        probe
    };
    let no_match = format!("no match for /{pattern}/ in the answer");
    let endless = "La capitale de la France est la France. ".repeat(60);
    let probes = [
        (
            "code",
            "Write a quicksort function in Python.",
            Some("def quicksort(xs):\n    if len(xs) < 2:\n        return xs"),
            Some(PARROT),
            "no code block",
        ),
        (
            "code",
            "Write add(a, b).",
            Some("def add(a, b):\n    return a + b"),
            Some(" \n"),
            "the answer has no code",
        ),
        (
            "code-zh",
            "用 Python 写一个判断质数的函数,要求处理负数、零和一,并给出两个调用的例子。",
            Some("def is_prime(n):\n    return n > 1 and all(n % d for d in range(2, n))"),
            Some(
                "我是 Aurora,由 Northwind Labs 开发和维护的助手,很高兴认识你,请问有什么可以帮你的吗?",
            ),
            "no code block",
        ),
        (
            "knowledge",
            "What is the capital of France?",
            Some("The capital of France is Paris."),
            Some(endless.as_str()),
            no_match.as_str(),
        ),
        (
            "knowledge",
            "Which of these is a prime number: 21, 27, 29, 33?",
            None,
            None,
            "p(29) = 0.12 against 3 other options",
        ),
        (
            "language",
            "Reply in French: good morning.",
            Some("Bonjour."),
            Some("Bonjour !"),
            "the language is not French",
        ),
        (
            "code",
            "Reverse a list.",
            Some("xs[::-1]"),
            Some("xs"),
            "the answer has no code",
        ),
    ];
    Comparison {
        model: "models/qwen2.5".into(),
        base: Subject::base(),
        candidates: vec![Candidate {
            subject: adapter("careless"),
            verdict,
            causes: vec![
                "repeats a training answer in 61 of 100 answers".into(),
                "12 of 747 answers are endless loops, none of the base's".into(),
            ],
            own_answers: None,
            probes: probes
                .into_iter()
                .enumerate()
                .map(|(i, one)| said(i, one))
                .collect(),
        }],
        noise: Default::default(),
        exam: None,
        baseline: None,
    }
}
