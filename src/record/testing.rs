//! Small records for the tests of this folder.

use tempfile::TempDir;

use super::{Answered, Header, MeasuredText, Provenance, RunLock, Scored, Store};
use crate::flow::{Answer, CaseId, CheckScore, Finish, Likelihood, Score, Subject};

/// A run in a temporary folder, held for writing.
pub(super) fn locked_run() -> (TempDir, RunLock) {
    let runs = tempfile::tempdir().unwrap();
    let store = Store::open(runs.path()).unwrap();
    let lock = store
        .create(None, &Provenance::started("run"))
        .unwrap()
        .lock()
        .unwrap();
    (runs, lock)
}

pub(super) fn header(subject: &str) -> Header {
    let subject = Subject {
        name: subject.into(),
        adapter: None,
        server: None,
    };
    Header::new(subject, "qeval 0.1.0, cpu, f32", "b1")
}

pub(super) fn case(prompt: usize) -> CaseId {
    CaseId {
        suite: "code".into(),
        probe: "quicksort".into(),
        prompt,
    }
}

pub(super) fn answered(prompt: usize, sample: usize) -> Answered {
    let answer = Answer {
        case: case(prompt),
        sample,
        text: "def quicksort(xs):\n    ...".into(),
        token_ids: vec![1, 2, 49_151],
        logprobs: vec![-0.5, -1.0e-7, -17.25],
        finish: Finish::Stop,
        seed: u64::MAX - 1,
        prompt_tokens: 31,
        continued: false,
        thinking: None,
        served: None,
    };
    Answered {
        key: format!("key-{prompt}-{sample}"),
        answer,
        at: None,
    }
}

pub(super) fn measured(prompt: usize, text: &str) -> MeasuredText {
    let likelihood = Likelihood {
        case: case(prompt),
        text: text.into(),
        logprobs: vec![-0.25, -3.5],
    };
    MeasuredText {
        key: format!("key-{prompt}-{text}"),
        likelihood,
        at: None,
    }
}

pub(super) fn scored(prompt: usize, sample: usize, score: Score) -> Scored {
    let checks = vec![CheckScore {
        kind: "code".into(),
        score: score.clone(),
    }];
    Scored {
        case: case(prompt),
        sample,
        checks,
        score,
    }
}

/// A text with a temporary folder's path shown as `[runs]`.
pub(super) fn redacted(error: impl std::fmt::Display, runs: &TempDir) -> String {
    error
        .to_string()
        .replace(&runs.path().display().to_string(), "[runs]")
}
