//! What a run's records hold already: measurements that need no model.

use crate::atomic_file;
use crate::flow::{Calibration, Subject, Suite};
use crate::record::{RecordError, Run, read_record};

use super::evaluate::Measurement;

/// File of a training run that holds its suites as they were asked.
pub const SUITES_FILE: &str = "suites.json";

/// File of a run that says how far the judge of its `llm-rubric` checks can be trusted.
const JUDGE_FILE: &str = "judge.json";

/// Keeps what a judge was found to be beside the scores that rest on it.
///
/// # Errors
/// The file cannot be written.
pub(super) fn write_calibration(run: &Run, calibration: &Calibration) -> Result<(), RecordError> {
    let json = serde_json::to_vec_pretty(calibration).unwrap_or_default();
    atomic_file::write(&run.folder().join(JUDGE_FILE), json)?;
    Ok(())
}

/// A subject's measurement of all cases of `suites`, when the run's record has it whole; `None`
/// when something has to be answered or scored first.
///
/// # Errors
/// The record cannot be read.
pub fn recorded(
    run: &Run,
    subject: &Subject,
    suites: &[Suite],
) -> Result<Option<Measurement>, RecordError> {
    let Some(entry) = run.record_of(&subject.name)? else {
        return Ok(None);
    };
    let digest = |s: &Subject| {
        s.adapter
            .as_ref()
            .map(|a| (a.digest.clone(), a.scale.to_bits()))
    };
    if digest(&entry.header.subject) != digest(subject) {
        return Ok(None);
    }
    let record = read_record(&entry.path)?;
    let mut measurement = Measurement::default();
    for suite in suites {
        if record.suites.get(&suite.name) != Some(&suite.digest) {
            return Ok(None);
        }
        for probe in &suite.probes {
            for prompt in 0..probe.prompts.len() {
                let of_case = |case: &crate::flow::CaseId| {
                    case.suite == suite.name && case.probe == probe.id && case.prompt == prompt
                };
                let scores: Vec<_> = record
                    .scores
                    .iter()
                    .filter(|((case, _), _)| of_case(case))
                    .collect();
                let wanted = if probe.generation.temperature.is_some_and(|t| t > 0.0) {
                    probe.generation.samples
                } else {
                    1
                };
                if scores.is_empty() || scores.len() < wanted.min(scores.len().max(1)) {
                    return Ok(None);
                }
                for (place, scored) in scores {
                    measurement
                        .scores
                        .insert(place.clone(), scored.score.clone());
                    measurement
                        .checks
                        .insert(place.clone(), scored.checks.clone());
                }
                let answers = record.answers.iter().filter(|((case, _), _)| of_case(case));
                measurement.answers.extend(
                    answers.map(|(place, answered)| (place.clone(), answered.answer.clone())),
                );
            }
        }
    }
    let mut rubrics = measurement.checks.values().flatten();
    if rubrics.any(|c| c.kind.ends_with("llm-rubric")) {
        let bytes = std::fs::read(run.folder().join(JUDGE_FILE)).ok();
        measurement.judge = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    }
    Ok(Some(measurement))
}
