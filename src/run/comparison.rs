//! Measurements -> a comparison: every candidate judged against the base, probe by probe and draw
//! by draw, with the signs that stand beside its verdict. Training, `gate`, and `diff` all judge
//! here.

use crate::check::Taught;
use crate::digest;
use crate::flow::{
    Baseline, Candidate, CaseComparison, CaseId, CheckComparison, CheckScore, Comparison,
    FIRST_FURTHER, Goal, Measurement, NoiseFloor, Probe, ProbeComparison, SampleComparison, Score,
    SignVerdict, Suite, Verdict,
};
use crate::gate::{Rules, decide_with_signs};
use crate::text::plural;

use super::causes::{common_answer, without_effect};
use super::signs::sign_scores;

/// Judges measured subjects against the first of them. `taught` is what the candidates were trained
/// on, as far as it is known.
pub fn compare(
    model: &str,
    suites: &[Suite],
    rules: &Rules,
    taught: &Taught,
    measured: &[Measurement],
    noise: Option<&NoiseFloor>,
) -> Comparison {
    let (measurable, left_out) = &measurable(suites, measured);
    let (base, others) = measured.split_at(measured.len().min(1));
    let candidates = base.iter().flat_map(|base| {
        others.iter().map(move |candidate| {
            let mut signs = sign_scores(measurable, base, candidate, taught);
            for scores in &mut signs {
                let known = noise.and_then(|noise| noise.signs.get(&scores.sign));
                scores.noise = known.copied();
            }
            let (old, new) = (&base.scores, &candidate.scores);
            let mut verdict = decide_with_signs(measurable, old, new, &signs, rules);
            verdict.notes.extend(left_out.clone());
            let judge = candidate.judge.as_ref();
            verdict.notes.extend(judge.map(ToString::to_string));
            verdict.notes.extend(went_on(base, candidate));
            Candidate {
                subject: candidate.subject.clone(),
                causes: causes(suites, base, candidate, &verdict),
                own_answers: None,
                verdict,
                probes: compare_probes(suites, base, candidate, noise),
            }
        })
    });
    Comparison {
        model: model.to_owned(),
        base: base
            .first()
            .map_or_else(crate::flow::Subject::base, |b| b.subject.clone()),
        candidates: candidates.collect(),
        noise: noise.map(|n| n.suites.clone()).unwrap_or_default(),
        exam: None,
        baseline: baseline(measured),
    }
}

/// Where the base's answers come from, beside those of the candidates.
fn baseline(measured: &[Measurement]) -> Option<Baseline> {
    let (base, others) = measured.split_first()?;
    let others = others.iter().filter_map(|m| m.origin.clone());
    let served = base.subject.server.is_some();
    let origin = base.origin.as_ref().filter(|origin| origin.answers > 0)?;
    Some(Baseline::of(origin, &others.collect::<Vec<_>>(), served))
}

/// The suites without the probes that some subject cannot be asked at all, and what is said of these:
/// they count as neither lost nor missing, whoever answers for the others.
fn measurable(suites: &[Suite], measured: &[Measurement]) -> (Vec<Suite>, Option<String>) {
    let (mut why, mut of_suites, mut count) = (None, Vec::new(), 0);
    let mut left_out = |suite: &Suite, probe: &Probe| {
        let prompts = 0..probe.prompts.len();
        let mut places = prompts.flat_map(|prompt| {
            let case = CaseId {
                suite: suite.name.clone(),
                probe: probe.id.clone(),
                prompt,
            };
            measured
                .iter()
                .map(move |m| m.checks.get(&(case.clone(), 0)))
        });
        let found = places.find_map(|checks| {
            let mut each = checks.into_iter().flatten();
            each.find_map(|check| check.score.why_not_measurable().map(str::to_owned))
        });
        let is_left_out = found.is_some();
        if let Some(found) = found {
            count += 1;
            why.get_or_insert(found);
            if !of_suites.contains(&suite.name) {
                of_suites.push(suite.name.clone());
            }
        }
        is_left_out
    };
    let mut kept: Vec<Suite> = Vec::new();
    for suite in suites {
        let mut suite = suite.clone();
        let asked = suite.probes.clone();
        suite.probes = asked
            .into_iter()
            .filter(|probe| !left_out(&suite, probe))
            .collect();
        if !suite.probes.is_empty() {
            kept.push(suite);
        }
    }
    let said = why.map(|why| {
        format!(
            "left out of the verdict: {} of {}, not measurable where they were asked: {why}",
            plural(count, "probe"),
            of_suites.join(", ")
        )
    });
    (kept, said)
}

/// How many answers were longer than their budget, where any was.
fn went_on(base: &Measurement, candidate: &Measurement) -> Option<String> {
    let [old, new] = [base, candidate].map(Measurement::continued);
    (old + new > 0).then(|| {
        format!(
            "{} of the base and {new} of the candidate went on beyond `max_new_tokens`, where a \
             check could not judge them",
            plural(old, "answer")
        )
    })
}

/// What stands beside a verdict: whether there is any change, the signs that are no regression and
/// worth telling, and what most answers of `keep` suites have in common.
fn causes(
    suites: &[Suite],
    base: &Measurement,
    candidate: &Measurement,
    verdict: &Verdict,
) -> Vec<String> {
    let keep = |case: &CaseId| {
        suites
            .iter()
            .any(|s| s.name == case.suite && s.goal == Goal::Keep)
    };
    let pairs: Vec<(&str, &str)> = base
        .answers
        .iter()
        .filter(|((case, sample), _)| keep(case) && *sample < FIRST_FURTHER)
        .filter_map(|(place, answer)| {
            let other = candidate.answers.get(place)?;
            Some((answer.text.as_str(), other.text.as_str()))
        })
        .collect();
    let nothing = without_effect(base, candidate).into_iter();
    let signs = verdict.signs.iter().filter(|sign| sign.is_worth_telling());
    nothing
        .chain(signs.map(SignVerdict::told))
        .chain(common_answer(&pairs))
        .collect()
}

/// Every probe of the suites as base and candidate answered it.
fn compare_probes(
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
                case_comparison(text, &case, base, candidate)
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

/// Every draw that either of the two has; one that neither has is there all the same.
fn case_comparison(
    prompt: &str,
    case: &CaseId,
    base: &Measurement,
    candidate: &Measurement,
) -> CaseComparison {
    let draws = |m: &Measurement| {
        let range = (case.clone(), 0)..(case.clone(), FIRST_FURTHER);
        let last = m.checks.range(range).next_back();
        last.map_or(0, |((_, sample), _)| sample + 1)
    };
    let count = draws(base).max(draws(candidate)).max(1);
    let further = (case.clone(), FIRST_FURTHER)..=(case.clone(), usize::MAX);
    let further = candidate.checks.range(further).map(|(place, _)| place);
    let further = further.filter(|place| base.checks.contains_key(place));
    let samples = (0..count)
        .chain(further.map(|(_, sample)| *sample))
        .map(|s| sample_comparison(&(case.clone(), s), base, candidate));
    CaseComparison {
        prompt: prompt.to_owned(),
        samples: samples.collect(),
        drift: None,
    }
}

fn sample_comparison(
    place: &(CaseId, usize),
    base: &Measurement,
    candidate: &Measurement,
) -> SampleComparison {
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
    let thinking = |m: &Measurement| {
        let thought = m.answers.get(place)?.thinking.as_ref()?;
        Some(thought.text.clone())
    };
    let continued = |m: &Measurement| m.answers.get(place).is_some_and(|a| a.continued);
    SampleComparison {
        base: text(base),
        candidate: text(candidate),
        checks: checks.collect(),
        continued: continued(base) || continued(candidate),
        further: place.1 >= FIRST_FURTHER,
        base_thinking: thinking(base),
        candidate_thinking: thinking(candidate),
    }
}

/// Digest of what a probe asks and how it is judged.
pub fn probe_digest(probe: &Probe) -> String {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::flow::{ProbeState, Subject};
    use crate::suite::{SuiteSource, load};

    fn suites() -> Vec<Suite> {
        let text = "[suite]\nname = \"s\"\ngoal = \"keep\"\nmargin = 1.0\n[generation]\n\
                    temperature = 0.7\nsamples = 4\n[[probe]]\nid = \"a\"\nprompts = [\"A?\"]\n\
                    [[probe.check]]\ntype = \"contains\"\nvalue = \"x\"\n";
        load(&[SuiteSource::new("s.toml", text)], &BTreeMap::new()).unwrap()
    }

    fn measured(name: &str, values: &[f64]) -> Measurement {
        let mut measurement = Measurement::of(Subject {
            name: name.into(),
            adapter: None,
            server: None,
        });
        for (sample, value) in values.iter().enumerate() {
            let case = CaseId {
                suite: "s".into(),
                probe: "a".into(),
                prompt: 0,
            };
            let score = Score::Scored {
                value: *value,
                evidence: String::new(),
            };
            let check = CheckScore {
                kind: "contains".into(),
                score: score.clone(),
            };
            measurement
                .checks
                .insert((case.clone(), sample), vec![check]);
            measurement.scores.insert((case, sample), score);
        }
        measurement
    }

    /// The verdict counts all four draws, and so does what a test of the probe sees.
    #[test]
    fn a_probe_and_its_verdict_count_the_same_draws() {
        let rules = Rules {
            margin: 1.0,
            ..Rules::default()
        };
        let all = [
            measured("base", &[1.0, 1.0, 1.0, 1.0]),
            measured("ckpt-1", &[1.0, 0.0, 0.0, 0.0]),
        ];
        let comparison = compare("m", &suites(), &rules, &Taught::default(), &all, None);
        let candidate = &comparison.candidates[0];
        assert_eq!(candidate.probes[0].cases[0].samples.len(), 4);
        assert_eq!(candidate.probes[0].state(), ProbeState::Lost);
        let estimate = candidate.verdict.suites[0].estimate.clone().unwrap();
        assert_eq!(
            candidate.probes[0].means(),
            Some((estimate.base_mean, estimate.candidate_mean))
        );
    }

    #[test]
    fn what_was_not_measured_is_unscored() {
        let all = [measured("base", &[1.0]), measured("ckpt-1", &[])];
        let comparison = compare(
            "m",
            &suites(),
            &Rules::default(),
            &Taught::default(),
            &all,
            None,
        );
        let candidate = &comparison.candidates[0];
        assert_eq!(candidate.probes[0].state(), ProbeState::Unscored);
    }
}
