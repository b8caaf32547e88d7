//! What a run's records hold already: measurements that need no model.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::digest;
use crate::flow::{Answer, AnswerOrigin, CaseId, Finish, Measurement, Probe, Subject, Suite};
use crate::record::{RecordError, Run, SubjectRecord, read_record};

use super::built_checks::{BuiltChecks, ProbeChecks};
use super::calibration::read_calibration;
use super::continuing::MOST_BUDGETS;
use super::scoring::CheckSettings;

/// File of a training run that holds its suites as they were asked.
pub const SUITES_FILE: &str = "suites.json";

/// Digest by name of what scores are about: a suite, with the settings that its checks use. Scores
/// made under other ones do not count.
pub(super) fn scored_suites(
    suites: &[Suite],
    checks: &BuiltChecks,
    settings: &CheckSettings,
) -> BTreeMap<String, String> {
    let digest = |suite: &Suite| (suite.name.clone(), scored_suite(suite, checks, settings));
    suites.iter().map(digest).collect()
}

/// The suite's own digest as long as every setting that its checks use is the default, so that
/// records of versions that did not look at settings stay good.
pub(super) fn scored_suite(
    suite: &Suite,
    checks: &BuiltChecks,
    settings: &CheckSettings,
) -> String {
    let usual = CheckSettings::default();
    let uses = |what: fn(&ProbeChecks) -> bool| {
        let mut own = suite.probes.iter().map(|p| suite.id_of(p));
        own.any(|id| checks.of_probe(&id).is_some_and(|c| what(c)))
    };
    let mut parts = digest::Parts::new("scored").part("suite", &suite.digest);
    let mut differs = false;
    if settings.judge != usual.judge && uses(ProbeChecks::wants_judge) {
        parts = parts
            .part("judge", &settings.judge.judge)
            .part("least", settings.judge.least.to_bits().to_le_bytes());
        differs = true;
    }
    if settings.encoder != usual.encoder && uses(|c| c.embeds) {
        parts = parts.part("encoder", &settings.encoder);
        differs = true;
    }
    if settings.python != usual.python && uses(|c| c.programs) {
        parts = parts.part("python", settings.python.as_deref().unwrap_or_default());
        differs = true;
    }
    if differs {
        parts.finish()
    } else {
        suite.digest.clone()
    }
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
    checks: &BuiltChecks,
    settings: &CheckSettings,
) -> Result<Option<Measurement>, RecordError> {
    let Some(entry) = run.record_of(&subject.name)? else {
        return Ok(None);
    };
    let adapter = |s: &Subject| {
        s.adapter
            .as_ref()
            .map(|a| (a.digest.clone(), a.scale.to_bits()))
    };
    if adapter(&entry.header.subject) != adapter(subject) {
        return Ok(None);
    }
    let record = read_record(&entry.path)?;
    let mut measurement = Measurement::of(subject.clone());
    let header = &record.header;
    let mut origin = AnswerOrigin::of(&header.engine, &header.base);
    for suite in suites {
        if record.suites.get(&suite.name) != Some(&scored_suite(suite, checks, settings)) {
            return Ok(None);
        }
        for probe in &suite.probes {
            let own = checks.of_probe(&suite.id_of(probe));
            let wanted = wanted_samples(probe, own);
            for prompt in 0..probe.prompts.len() {
                let case = CaseId {
                    suite: suite.name.clone(),
                    probe: probe.id.clone(),
                    prompt,
                };
                if !take_case(&record, wanted, &case, &mut measurement, &mut origin)
                    || (0..wanted).any(|sample| {
                        let answer = measurement.answers.get(&(case.clone(), sample));
                        answer.is_some_and(|a| may_go_on(a, probe, own))
                    })
                {
                    return Ok(None);
                }
            }
        }
    }
    measurement.origin = Some(origin);
    if checks.wants_judge() {
        measurement.judge = read_calibration(run)?;
    }
    Ok(Some(measurement))
}

/// Adds every sample of a case that the suite asks for; `false` when one of them has no score yet.
fn take_case(
    record: &SubjectRecord,
    samples: usize,
    case: &CaseId,
    measurement: &mut Measurement,
    origin: &mut AnswerOrigin,
) -> bool {
    let weighed = record.likelihoods.range((case.clone(), String::new())..);
    for (_, text) in weighed.take_while(|((of, _), _)| of == case) {
        origin.count(text.at);
    }
    for sample in 0..samples {
        let place = (case.clone(), sample);
        let Some(scored) = record.scores.get(&place) else {
            return false;
        };
        if let Some(answered) = record.answers.get(&place) {
            origin.count(answered.at);
            let answer = answered.answer.clone();
            measurement.answers.insert(place.clone(), answer);
        }
        let scored = scored.clone();
        measurement.checks.insert(place.clone(), scored.checks);
        measurement.scores.insert(place, scored.score);
    }
    true
}

/// Whether a recorded answer is cut where it would now go on; a version that threw such answers
/// away left them so.
fn may_go_on(answer: &Answer, probe: &Probe, checks: Option<&Arc<ProbeChecks>>) -> bool {
    let most = probe.generation.max_new_tokens.saturating_mul(MOST_BUDGETS);
    // How long thinking may be stands with the model.
    if answer.is_cut_in_thought() {
        return true;
    }
    answer.finish == Finish::Length
        && answer.token_ids.len() < most
        && checks.is_some_and(|c| c.is_cut(&answer.text))
}

/// Samples that make a case whole. A probe that leaves the temperature to the model counts as
/// sampled: where it was greedy, loading the model tells.
fn wanted_samples(probe: &Probe, checks: Option<&Arc<ProbeChecks>>) -> usize {
    let greedy = probe.generation.temperature.is_some_and(|t| t <= 0.0);
    if checks.is_none_or(|c| c.answer) && !greedy {
        probe.generation.samples
    } else {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{CheckScore, Score};
    use crate::record::{Answered, Header, Provenance, RecordWriter, Scored, Store};
    use crate::run::JudgeSettings;
    use crate::suite::{SuiteSource, load};

    fn suite(check: &str) -> Suite {
        let text = format!(
            "[suite]\nname = \"s\"\ngoal = \"keep\"\n[generation]\ntemperature = 0.7\nsamples = 3\n\
             [[probe]]\nid = \"a\"\nprompts = [\"A?\"]\n[[probe.check]]\n{check}\n"
        );
        load(&[SuiteSource::new("s.toml", text)], &BTreeMap::new())
            .unwrap()
            .remove(0)
    }

    /// A run in which the base scored so many samples of the only case.
    fn scored(suite: &Suite, samples: usize, settings: &CheckSettings) -> (tempfile::TempDir, Run) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let run = store.create(None, &Provenance::started("run")).unwrap();
        let lock = run.lock().unwrap();
        let header = Header::new(Subject::base(), "cpu", "base");
        let suites = std::slice::from_ref(suite);
        let suites = scored_suites(suites, &BuiltChecks::of(suites).unwrap(), settings);
        let writer = RecordWriter::open(&lock, header, &suites).unwrap();
        for sample in 0..samples {
            let case = CaseId {
                suite: "s".into(),
                probe: "a".into(),
                prompt: 0,
            };
            let answer = Answer {
                case: case.clone(),
                sample,
                text: "x".into(),
                token_ids: Vec::new(),
                logprobs: Vec::new(),
                finish: Finish::Stop,
                seed: 0,
                prompt_tokens: 1,
                continued: false,
                thinking: None,
                served: None,
            };
            let key = sample.to_string();
            let at = None;
            writer.answered(Answered { key, answer, at }).unwrap();
            let score = Score::pass("found");
            writer
                .scored(Scored {
                    case,
                    sample,
                    checks: vec![CheckScore {
                        kind: "contains".into(),
                        score: score.clone(),
                    }],
                    score,
                })
                .unwrap();
        }
        drop(lock);
        (folder, run)
    }

    fn found(run: &Run, suite: &Suite, settings: &CheckSettings) -> Option<Measurement> {
        let suites = std::slice::from_ref(suite);
        let checks = BuiltChecks::of(suites).unwrap();
        recorded(run, &Subject::base(), suites, &checks, settings).unwrap()
    }

    fn digest(suite: &Suite, settings: &CheckSettings) -> String {
        let checks = BuiltChecks::of(std::slice::from_ref(suite)).unwrap();
        scored_suite(suite, &checks, settings)
    }

    #[test]
    fn a_sampled_case_is_whole_with_every_sample_scored() {
        let suite = suite("type = \"contains\"\nvalue = \"x\"");
        let settings = CheckSettings::default();
        for (samples, whole) in [(0, false), (1, false), (2, false), (3, true)] {
            let (_folder, run) = scored(&suite, samples, &settings);
            let found = found(&run, &suite, &settings);
            assert_eq!(found.is_some(), whole, "{samples} of 3 samples");
            if let Some(found) = found {
                assert_eq!((found.scores.len(), found.answers.len()), (3, 3));
            }
        }
    }

    #[test]
    fn scores_of_another_judge_do_not_count() {
        let settings = CheckSettings::default();
        let other = CheckSettings {
            judge: JudgeSettings {
                judge: "http://localhost:8000/v1#m".into(),
                ..JudgeSettings::default()
            },
            ..CheckSettings::default()
        };
        let judged = suite("type = \"llm-rubric\"\nvalue = \"It is polite.\"");
        let (_folder, run) = scored(&judged, 3, &settings);
        assert!(found(&run, &judged, &settings).is_some());
        assert!(found(&run, &judged, &other).is_none());
        // A suite that asks no judge does not care who it is.
        let plain = suite("type = \"contains\"\nvalue = \"x\"");
        assert_eq!(digest(&plain, &other), plain.digest);
    }

    #[test]
    fn settings_that_are_the_default_leave_a_suites_digest_alone() {
        let settings = CheckSettings::default();
        for check in [
            "type = \"llm-rubric\"\nvalue = \"It is polite.\"",
            "type = \"code\"\nentry = \"f\"\ncases = [{ args = [], returns = 1 }]",
        ] {
            let suite = suite(check);
            assert_eq!(digest(&suite, &settings), suite.digest);
        }
    }
}
