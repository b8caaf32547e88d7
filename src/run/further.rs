//! Further draws of critical probes: where a candidate lost the first draws of one, it and the base
//! are asked again until the verdict can tell a loss from chance.
//!
//! They are answers of a subject of their own, so that a record of first draws is what it always
//! was, and join the measurement at places from [`FIRST_FURTHER`] on.

use crate::flow::{CaseId, FIRST_FURTHER, Measurement, ProbeId, Subject, Suite};
use crate::gate::{ENOUGH_DRAWS, critical_to_ask};

use super::built_checks::BuiltChecks;

/// Temperature of further draws where a probe has a lower one: greedy answers do not vary.
const TEMPERATURE: f64 = 0.7;

/// Ends the names of their subjects.
const SUFFIX: &str = "-further";

/// Added to the seed: other draws than the first ones, and than those of the noise floor.
const SEED: u64 = 2;

/// What has to be asked further, and of whom.
pub struct Further {
    /// The probes, drawn as often as is missing.
    pub suites: Vec<Suite>,
    /// By subject, its probes that are asked further: none of those that are not asked.
    wanted: Vec<Vec<ProbeId>>,
}

impl Further {
    /// What measured subjects leave open, the first of them as the base. `None` where nothing does.
    pub fn of(suites: &[Suite], checks: &BuiltChecks, measured: &[Measurement]) -> Option<Self> {
        let (base, candidates) = measured.split_first()?;
        let generated = |id: &ProbeId| checks.of_probe(id).is_some_and(|c| c.answer);
        let open = candidates.iter().map(|candidate| -> Vec<ProbeId> {
            let open = critical_to_ask(suites, &base.scores, &candidate.scores);
            open.into_iter().filter(generated).collect()
        });
        let open: Vec<Vec<ProbeId>> = open.collect();
        let all: Vec<ProbeId> = open.iter().flatten().cloned().collect();
        if all.is_empty() {
            return None;
        }
        let mut again = Vec::new();
        for suite in suites {
            let mut suite = suite.clone();
            let name = suite.name.clone();
            suite.probes.retain(|probe| {
                all.iter()
                    .any(|id| id.suite == name && id.probe == probe.id)
            });
            for probe in &mut suite.probes {
                let usual = probe.generation.temperature.unwrap_or(0.0);
                let first = base.checks.keys().filter(|(case, sample)| {
                    case.suite == name && case.probe == probe.id && *sample < FIRST_FURTHER
                });
                let missing = ENOUGH_DRAWS.saturating_sub(first.count());
                probe.generation.temperature = Some(usual.max(TEMPERATURE));
                probe.generation.samples = missing.div_ceil(probe.prompts.len().max(1)).max(1);
            }
            if !suite.probes.is_empty() {
                again.push(suite);
            }
        }
        Some(Further {
            suites: again,
            wanted: std::iter::once(all).chain(open).collect(),
        })
    }

    /// Places of the subjects that are asked, the base first.
    pub fn places(&self) -> Vec<usize> {
        let asked = self.wanted.iter().enumerate();
        asked
            .filter(|(_, w)| !w.is_empty())
            .map(|(i, _)| i)
            .collect()
    }

    /// The seed of the draws, of an evaluation with this one.
    pub fn seed(seed: u64) -> u64 {
        seed.wrapping_add(SEED)
    }

    /// The subject whose record holds a subject's further draws.
    pub fn subject(of: &Subject) -> Subject {
        Subject {
            name: format!("{}{SUFFIX}", of.name),
            ..of.clone()
        }
    }

    /// Whether a record holds further draws.
    pub fn is_record_of(name: &str) -> bool {
        name.ends_with(SUFFIX)
    }

    /// Adds what each of [`Further::places`] said, in that order, to what it had said before.
    pub fn join(&self, measured: &mut [Measurement], said: Vec<Measurement>) {
        for (place, more) in self.places().into_iter().zip(said) {
            let wanted =
                |(case, _): &&(CaseId, usize)| self.wanted[place].contains(&case.probe_id());
            let own = &mut measured[place];
            let later = |(case, sample): &(CaseId, usize)| (case.clone(), FIRST_FURTHER + sample);
            for key in more.checks.keys().filter(wanted) {
                own.checks.insert(later(key), more.checks[key].clone());
            }
            for key in more.scores.keys().filter(wanted) {
                own.scores.insert(later(key), more.scores[key].clone());
            }
            for key in more.answers.keys().filter(wanted) {
                own.answers.insert(later(key), more.answers[key].clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{CheckScore, Decision, Score};
    use crate::gate::{Rules, decide};
    use crate::run::testing::suites;

    fn probes() -> Vec<Suite> {
        suites(
            r#"
            [[probe]]
            id = "france"
            critical = true
            prompts = ["What is the capital of France?", "Name the capital of France."]
            generation = { temperature = 0.0 }
            [[probe.check]]
            type = "contains"
            value = "Paris"
            [[probe]]
            id = "weighed"
            critical = true
            prompts = ["What is the capital of Peru?"]
            [[probe.check]]
            type = "choice"
            options = ["Lima", "Rome"]
            answer = "Lima"
            "#,
        )
    }

    fn measured(name: &str, draws: &[(&str, usize, usize, f64)]) -> Measurement {
        let mut measurement = Measurement::of(Subject {
            name: name.into(),
            ..Subject::base()
        });
        for (probe, prompt, sample, value) in draws {
            let case = CaseId {
                suite: "s".into(),
                probe: (*probe).into(),
                prompt: *prompt,
            };
            let score = Score::Scored {
                value: *value,
                evidence: String::new(),
            };
            let check = CheckScore {
                kind: "contains".into(),
                score: score.clone(),
            };
            let place = (case, *sample);
            measurement.checks.insert(place.clone(), vec![check]);
            measurement.scores.insert(place, score);
        }
        measurement
    }

    fn first(name: &str, france: f64) -> Measurement {
        let wordings = [("france", 0, 0, france), ("france", 1, 0, france)];
        let peru = ("weighed", 0, 0, france);
        measured(name, &[wordings[0], wordings[1], peru])
    }

    fn open(measured: &[Measurement]) -> Option<Further> {
        let suites = probes();
        Further::of(&suites, &BuiltChecks::of(&suites).unwrap(), measured)
    }

    #[test]
    fn what_no_candidate_lost_is_not_asked_again() {
        assert!(open(&[first("base", 1.0), first("kept", 1.0)]).is_none());
        assert!(open(&[first("base", 0.0), first("same", 0.0)]).is_none());
        assert!(open(&[first("base", 1.0)]).is_none(), "nobody to compare");
    }

    /// Eight draws in all: two first ones, and three more of each wording.
    #[test]
    fn what_a_candidate_lost_is_drawn_until_there_are_enough() {
        let all = [first("base", 1.0), first("kept", 1.0), first("lost", 0.0)];
        let further = open(&all).unwrap();
        assert_eq!(further.places(), [0, 2]);
        let [suite] = &further.suites[..] else {
            panic!("one suite");
        };
        let [probe] = &suite.probes[..] else {
            panic!("a likelihood has no draws");
        };
        let generation = &probe.generation;
        assert_eq!((generation.samples, generation.temperature), (3, Some(0.7)));
        assert_eq!(Further::subject(&all[2].subject).name, "lost-further");
    }

    /// What the further draws prove is red; where they do not, the first draws were chance.
    #[test]
    fn further_draws_decide_and_enter_no_mean() {
        let draws = |value: f64| -> Vec<(&'static str, usize, usize, f64)> {
            let each = |prompt| (0..3).map(move |sample| ("france", prompt, sample, value));
            (0..2).flat_map(each).collect()
        };
        let rules = Rules {
            margin: 1.0,
            suite_margin: 1.0,
            ..Rules::default()
        };
        for (again, decision) in [(0.0, Decision::Regression), (1.0, Decision::Inconclusive)] {
            let mut all = [first("base", 1.0), first("lost", 0.0)];
            let further = open(&all).unwrap();
            let said = vec![
                measured("base-further", &draws(1.0)),
                measured("lost-further", &draws(again)),
            ];
            further.join(&mut all, said);
            assert!(open(&all).is_none(), "asked once");
            let mut suites = probes();
            suites[0].probes.truncate(1);
            let verdict = decide(&suites, &all[0].scores, &all[1].scores, &rules);
            let [critical] = &verdict.critical[..] else {
                panic!("one critical probe");
            };
            assert_eq!((critical.draws, critical.base_passes), (8, 8));
            assert_eq!(verdict.decision, decision, "{}", verdict.sentence);
            let estimate = verdict.pooled.estimate.unwrap();
            assert_eq!(estimate.difference, -1.0, "the mean is of the first draws");
        }
    }
}
