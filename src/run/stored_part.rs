//! What a record holds of some suites, whole or not: no model is asked for the rest.

use crate::flow::{AnswerOrigin, Measurement, ProbeId, Suite};
use crate::record::SubjectRecord;

use super::built_checks::BuiltChecks;
use super::error::RunError;
use super::scoring::CheckSettings;
use super::stored::scored_suite;

/// What there is of a subject.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredPart {
    /// The suites with at least one answer or score, in the order given.
    pub suites: Vec<Suite>,
    /// What was said and scored.
    pub measurement: Measurement,
    /// Suites that the record holds in another form than the one given, by name: their scores are
    /// left out, as nobody knows what was asked.
    pub changed: Vec<String>,
    /// Suites that the record holds and that were not given.
    pub others: Vec<String>,
    /// Answers of probes that the given suites do not have.
    pub left_out: usize,
}

/// What a record holds of suites. Of several with one name the first that it is about counts.
///
/// # Errors
/// A check that cannot be built.
pub fn stored_part(
    record: &SubjectRecord,
    suites: &[Suite],
    settings: &CheckSettings,
) -> Result<StoredPart, RunError> {
    let mut known: Vec<&Suite> = Vec::new();
    for suite in suites {
        let built = BuiltChecks::of(std::slice::from_ref(suite))?;
        let scored = scored_suite(suite, &built, settings);
        let digest = record.suites.get(&suite.name);
        let is_about = digest.is_some_and(|d| *d == suite.digest || *d == scored);
        if is_about && known.iter().all(|other| other.name != suite.name) {
            known.push(suite);
        }
    }
    let mut part = StoredPart {
        suites: Vec::new(),
        measurement: Measurement::of(record.header.subject.clone()),
        changed: Vec::new(),
        others: Vec::new(),
        left_out: 0,
    };
    for name in record.suites.keys() {
        if known.iter().any(|suite| suite.name == *name) {
            continue;
        }
        match suites.iter().any(|suite| suite.name == *name) {
            true => part.changed.push(name.clone()),
            false => part.others.push(name.clone()),
        }
    }
    let asked = |id: &ProbeId, prompt: usize| {
        let suite = known.iter().find(|suite| suite.name == id.suite)?;
        let probe = suite.probes.iter().find(|probe| probe.id == id.probe);
        Some(probe.is_some_and(|probe| prompt < probe.prompts.len()))
    };
    let mut origin = AnswerOrigin::of(&record.header.engine, &record.header.base);
    for (place, answered) in &record.answers {
        match asked(&place.0.probe_id(), place.0.prompt) {
            Some(true) => {
                origin.count(answered.at);
                let answer = answered.answer.clone();
                part.measurement.answers.insert(place.clone(), answer);
            }
            Some(false) => part.left_out += 1,
            None => {}
        }
    }
    for ((case, _), text) in &record.likelihoods {
        if asked(&case.probe_id(), case.prompt) == Some(true) {
            origin.count(text.at);
        }
    }
    part.measurement.origin = Some(origin);
    for (place, scored) in &record.scores {
        if asked(&place.0.probe_id(), place.0.prompt) == Some(true) {
            let (place, scored) = (place.clone(), scored.clone());
            let measurement = &mut part.measurement;
            measurement.checks.insert(place.clone(), scored.checks);
            measurement.scores.insert(place, scored.score);
        }
    }
    let measurement = &part.measurement;
    let has_any = |suite: &&Suite| {
        let mut scores = measurement.scores.keys();
        let mut answers = measurement.answers.keys();
        scores.any(|(case, _)| case.suite == suite.name)
            || answers.any(|(case, _)| case.suite == suite.name)
    };
    part.suites = known.into_iter().filter(has_any).cloned().collect();
    Ok(part)
}
