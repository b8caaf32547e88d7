//! Suites and score tables for the gate's tests.

use crate::flow::{CaseId, Generation, Goal, Probe, Score, ScoreTable, Suite};

pub(super) fn suite(name: &str, probes: &[&str]) -> Suite {
    let generation = Generation {
        max_new_tokens: 60,
        samples: 1,
        temperature: None,
        top_k: None,
        top_p: None,
        repetition_penalty: None,
    };
    Suite {
        name: name.into(),
        description: None,
        goal: Goal::Keep,
        margin: None,
        target: None,
        probes: probes
            .iter()
            .map(|id| Probe {
                id: id.to_string(),
                tags: vec!["en".into()],
                critical: false,
                system: None,
                history: Vec::new(),
                prompts: vec!["?".into()],
                generation: generation.clone(),
                checks: Vec::new(),
                goldens: Vec::new(),
            })
            .collect(),
        digest: String::new(),
    }
}

/// A suite whose probes are `p0`, `p1`, ...
pub(super) fn numbered(name: &str, probes: usize) -> Suite {
    let ids: Vec<String> = (0..probes).map(|i| format!("p{i}")).collect();
    suite(name, &ids.iter().map(String::as_str).collect::<Vec<_>>())
}

fn key(suite: &str, probe: &str, sample: usize) -> (CaseId, usize) {
    (
        CaseId {
            suite: suite.into(),
            probe: probe.into(),
            prompt: 0,
        },
        sample,
    )
}

/// Each probe's samples.
pub(super) fn table(suite: &str, scores: &[(&str, &[f64])]) -> ScoreTable {
    let cells = scores.iter().flat_map(|(probe, values)| {
        values.iter().enumerate().map(move |(sample, &value)| {
            (
                key(suite, probe, sample),
                Score::Scored {
                    value,
                    evidence: String::new(),
                },
            )
        })
    });
    cells.collect()
}

/// One sample for each of `p0`, `p1`, ...; `None` is unscored.
pub(super) fn column(suite: &str, values: &[Option<f64>]) -> ScoreTable {
    let cells = values.iter().enumerate().map(|(i, value)| {
        let score = match value {
            Some(value) => Score::Scored {
                value: *value,
                evidence: String::new(),
            },
            None => Score::unscored("unsupported syntax"),
        };
        (key(suite, &format!("p{i}"), 0), score)
    });
    cells.collect()
}

/// `passed` ones, then zeros, up to `probes`.
pub(super) fn passes(suite: &str, passed: usize, probes: usize) -> ScoreTable {
    let values: Vec<Option<f64>> = (0..probes)
        .map(|i| Some(if i < passed { 1.0 } else { 0.0 }))
        .collect();
    column(suite, &values)
}
