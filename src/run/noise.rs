//! The noise floor: how far the base's own answers and scores move when only the random draws
//! change. A difference to a candidate that is no larger says nothing.
//!
//! The base answers every generated probe a second time, with other seeds and at a temperature
//! above 0, also where the suite asks for greedy answers: greedy answers do not vary on one
//! machine, and the question is by how much an equally good answer may. Likelihoods have no draws
//! and no noise.

use crate::check::Taught;
use crate::flow::{
    CaseId, Measurement, NoiseFloor, ProbeId, ProbeNoise, Subject, Suite, SuiteNoise,
};
use crate::text::word_distance;

use super::built_checks::BuiltChecks;
use super::signs::sign_noise;

/// Temperature of the second answers where a probe has a lower one.
const TEMPERATURE: f64 = 0.7;

/// The subject whose record holds the base's second answers.
pub fn second_base() -> Subject {
    Subject {
        name: "base-again".into(),
        adapter: None,
        server: None,
    }
}

/// The probes of which the base answers each wording once more.
pub fn asked_again(suites: &[Suite], checks: &BuiltChecks) -> Vec<Suite> {
    let mut again = Vec::new();
    for suite in suites {
        let mut suite = suite.clone();
        let name = suite.name.clone();
        suite.probes.retain(|probe| {
            let id = ProbeId {
                suite: name.clone(),
                probe: probe.id.clone(),
            };
            checks.of_probe(&id).is_some_and(|c| c.answer)
        });
        for probe in &mut suite.probes {
            let usual = probe.generation.temperature.unwrap_or(0.0);
            probe.generation.temperature = Some(usual.max(TEMPERATURE));
            probe.generation.samples = 1;
        }
        if !suite.probes.is_empty() {
            again.push(suite);
        }
    }
    again
}

/// Compares the base with its second answers; `taught` is what candidates were trained on. A wording that either time could not be scored is
/// left out.
pub fn noise_floor(
    again: &[Suite],
    taught: &Taught,
    base: &Measurement,
    second: &Measurement,
) -> NoiseFloor {
    let mut floor = NoiseFloor {
        signs: sign_noise(again, base, second, taught),
        ..NoiseFloor::default()
    };
    for suite in again {
        let mut changes = Vec::new();
        for probe in &suite.probes {
            let mut scores = Vec::new();
            let mut text = 0.0_f64;
            for prompt in 0..probe.prompts.len() {
                let place = (
                    CaseId {
                        suite: suite.name.clone(),
                        probe: probe.id.clone(),
                        prompt,
                    },
                    0,
                );
                let value = |m: &Measurement| m.scores.get(&place).and_then(|s| s.value());
                if let (Some(a), Some(b)) = (value(base), value(second)) {
                    scores.push(b - a);
                }
                if let (Some(a), Some(b)) = (base.answers.get(&place), second.answers.get(&place)) {
                    text = text.max(word_distance(&a.text, &b.text));
                }
            }
            if scores.is_empty() {
                continue;
            }
            let mean = scores.iter().sum::<f64>() / scores.len() as f64;
            changes.push(mean);
            let id = suite.id_of(probe);
            let score = scores.iter().fold(0.0_f64, |most, s| most.max(s.abs()));
            floor.probes.insert(id, ProbeNoise { score, text });
        }
        if changes.is_empty() {
            continue;
        }
        let count = changes.len() as f64;
        floor.suites.insert(
            suite.name.clone(),
            SuiteNoise {
                mean_change: changes.iter().map(|c| c.abs()).sum::<f64>() / count,
                difference: changes.iter().sum::<f64>() / count,
                probes: changes.len(),
                losses: changes.iter().filter(|c| **c < -1e-9).count(),
                gains: changes.iter().filter(|c| **c > 1e-9).count(),
            },
        );
    }
    floor
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use crate::flow::{Answer, Score};
    use crate::suite::{SuiteSource, load};

    fn suites() -> Vec<Suite> {
        let text = "[suite]\nname = \"s\"\ngoal = \"keep\"\n\
                    [[probe]]\nid = \"a\"\nprompts = [\"A?\", \"a?\"]\n\
                    [[probe.check]]\ntype = \"contains\"\nvalue = \"x\"\n\
                    [[probe]]\nid = \"b\"\nprompts = [\"B?\"]\n\
                    [[probe.check]]\ntype = \"choice\"\noptions = [\"1\", \"2\"]\nanswer = \"1\"\n";
        load(&[SuiteSource::new("s.toml", text)], &BTreeMap::new()).unwrap()
    }

    fn again() -> Vec<Suite> {
        let suites = suites();
        asked_again(&suites, &BuiltChecks::of(&suites).unwrap())
    }

    fn measured(said: &[(usize, f64, &str)]) -> Measurement {
        let mut measurement = Measurement::of(Subject::base());
        for (prompt, value, text) in said {
            let case = CaseId {
                suite: "s".into(),
                probe: "a".into(),
                prompt: *prompt,
            };
            let place = (case.clone(), 0);
            let answer = Answer::of_text(case, 0, *text);
            measurement.answers.insert(place.clone(), answer);
            let score = Score::Scored {
                value: *value,
                evidence: String::new(),
            };
            measurement.scores.insert(place, score);
        }
        measurement
    }

    #[test]
    fn only_generated_answers_are_asked_for_again() {
        let again = again();
        assert_eq!(again[0].probes.len(), 1);
        let generation = &again[0].probes[0].generation;
        assert_eq!((generation.temperature, generation.samples), (Some(0.7), 1));
    }

    #[test]
    fn the_floor_is_what_moved() {
        let base = measured(&[(0, 1.0, "one two three four"), (1, 1.0, "x")]);
        let second = measured(&[(0, 1.0, "one two three five"), (1, 0.5, "x")]);
        let floor = noise_floor(&again(), &Taught::default(), &base, &second);
        let suite = floor.suites["s"];
        assert_eq!(
            (suite.mean_change, suite.difference, suite.probes),
            (0.25, -0.25, 1)
        );
        assert_eq!((suite.losses, suite.gains), (1, 0));
        let probe = floor.probes.values().next().unwrap();
        assert_eq!((probe.score, probe.text), (0.5, 0.25));
    }

    #[test]
    fn nothing_measured_is_no_floor() {
        let none = Measurement::of(Subject::base());
        assert_eq!(
            noise_floor(&again(), &Taught::default(), &none, &none),
            NoiseFloor::default()
        );
    }
}
