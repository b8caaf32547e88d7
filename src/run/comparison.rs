//! Two measurements, probe by probe: what a gate's record, a snapshot, and a test of one probe are
//! made of.

use crate::digest;
use crate::flow::{
    CaseComparison, CaseId, CheckComparison, CheckScore, Probe, ProbeComparison, Score, Suite,
};

use super::evaluate::Measurement;
use super::noise::NoiseFloor;

/// Every probe of the suites as base and candidate answered it. The first sample of each wording
/// is shown.
pub fn compare_probes(
    suites: &[Suite],
    base: &Measurement,
    candidate: &Measurement,
    noise: Option<&NoiseFloor>,
) -> Vec<ProbeComparison> {
    let mut probes = Vec::new();
    for suite in suites {
        for probe in &suite.probes {
            let id = suite.id_of(probe);
            let cases = probe.prompts.iter().enumerate().map(|(prompt, text)| {
                let case = CaseId {
                    suite: suite.name.clone(),
                    probe: probe.id.clone(),
                    prompt,
                };
                case_comparison(text, &(case, 0), base, candidate)
            });
            probes.push(ProbeComparison {
                cases: cases.collect(),
                critical: probe.critical,
                digest: probe_digest(probe),
                noise: noise.and_then(|n| n.probes.get(&id)).copied(),
                id,
            });
        }
    }
    probes
}

fn case_comparison(
    prompt: &str,
    place: &(CaseId, usize),
    base: &Measurement,
    candidate: &Measurement,
) -> CaseComparison {
    let none = Vec::new();
    let of = |m: &Measurement| -> Vec<CheckScore> { m.checks.get(place).unwrap_or(&none).clone() };
    let (old, new) = (of(base), of(candidate));
    let kinds = if old.len() >= new.len() { &old } else { &new };
    let checks = kinds.iter().enumerate().map(|(i, check)| {
        let score = |all: &[CheckScore]| {
            let found = all.get(i).map(|c| c.score.clone());
            found.unwrap_or_else(|| Score::unscored("not measured"))
        };
        CheckComparison {
            kind: check.kind.clone(),
            base: score(&old),
            candidate: score(&new),
        }
    });
    let text = |m: &Measurement| m.answers.get(place).map(|a| a.text.clone());
    CaseComparison {
        prompt: prompt.to_owned(),
        base: text(base),
        candidate: text(candidate),
        checks: checks.collect(),
        drift: None,
    }
}

/// Digest of what a probe asks and how it is judged.
fn probe_digest(probe: &Probe) -> String {
    let mut content = serde_json::json!({
        "system": probe.system,
        "history": probe.history,
        "prompts": probe.prompts,
        "generation": probe.generation,
        "checks": probe.checks,
    });
    content.sort_all_objects();
    digest::bytes(content.to_string())
}
