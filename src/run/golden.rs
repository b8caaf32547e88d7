//! Golden answers put to their checks, with everything that a check may want: programs run in the
//! sandbox, texts are embedded, a judge is asked.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::check::{Check, Evidence, Judgements, ProgramOutcome, registry};
use crate::flow::{Expect, Golden, KindLine, Misjudged, ProbeId, RunEvent, Score, Suite};

use super::error::RunError;
use super::judge::Judge;
use super::rubric::RubricQuestion;
use super::scoring::Scoring;

/// What came of golden answers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GoldenOutcome {
    /// One a kind of check.
    pub kinds: Vec<KindLine>,
    /// Those judged otherwise than expected.
    pub misjudged: Vec<Misjudged>,
    /// How many could not be put to their checks at all: no model, or no encoder.
    pub not_put: usize,
}

/// One golden answer with its probe's checks.
struct Put<'a> {
    probe: ProbeId,
    prompt: &'a str,
    golden: &'a Golden,
    kinds: Vec<&'a str>,
    checks: Vec<Box<dyn Check>>,
}

/// Puts every golden answer of the suites to its checks. Checks by likelihood have nothing to say
/// of a text and are left out.
///
/// # Errors
/// A check that cannot be built, or a judge that cannot be asked.
pub fn judge_goldens(
    suites: &[Suite],
    scoring: &Scoring,
    judge: Option<&Judge<'_>>,
    on_event: &mut dyn FnMut(RunEvent),
) -> Result<GoldenOutcome, RunError> {
    let mut puts = Vec::new();
    for suite in suites {
        for probe in &suite.probes {
            for golden in &probe.goldens {
                let (mut kinds, mut checks) = (Vec::new(), Vec::new());
                for spec in &probe.checks {
                    let check = registry::build(spec)?;
                    if check.needs().continuations.is_empty() {
                        kinds.push(spec.kind.as_str());
                        checks.push(check);
                    }
                }
                puts.push(Put {
                    probe: suite.id_of(probe),
                    prompt: probe.prompts.first().map_or("", String::as_str),
                    golden,
                    kinds,
                    checks,
                });
            }
        }
    }
    let programs = run_programs(&puts, scoring);
    let embeddings = embed(&puts, scoring);
    let judgements = ask(&puts, judge, on_event)?;
    let mut outcome = GoldenOutcome::default();
    for (p, put) in puts.iter().enumerate() {
        let scores = put.checks.iter().enumerate().map(|(c, check)| {
            let measured = Evidence {
                prompt: put.prompt,
                embeddings: embeddings.as_ref(),
                judgements: judgements.get(&(p, c)),
                program: programs.get(&(p, c)),
                ..Evidence::default()
            };
            registry::score_golden(check.as_ref(), put.golden, measured)
        });
        let scores: Vec<Score> = scores.collect();
        let lacks = put.checks.iter().any(|check| {
            let needs = check.needs();
            (!needs.rubrics.is_empty() && judge.is_none())
                || (!needs.embeddings.is_empty() && embeddings.is_none())
        });
        if scores.is_empty() || lacks {
            outcome.not_put += 1;
            continue;
        }
        outcome.hear(put, &Score::lowest(&scores));
    }
    let order = |kind: &str| registry::kinds().iter().position(|k| *k == kind);
    outcome.kinds.sort_by_key(|line| order(&line.kind));
    Ok(outcome)
}

impl GoldenOutcome {
    fn hear(&mut self, put: &Put<'_>, score: &Score) {
        let value = score.value();
        let expected = put.golden.expect;
        let right = match expected {
            Expect::Pass => value == Some(1.0),
            Expect::Fail => value == Some(0.0),
            Expect::Unscored => value.is_none(),
        };
        if let [kind] = put.kinds.as_slice() {
            let at = self.kinds.iter().position(|line| line.kind == *kind);
            let at = at.unwrap_or_else(|| {
                self.kinds.push(KindLine {
                    kind: (*kind).to_owned(),
                    pass: 0,
                    fail: 0,
                    unscored: 0,
                    true_passes: 0,
                    judged_passes: 0,
                    not_judged: 0,
                });
                self.kinds.len() - 1
            });
            let line = &mut self.kinds[at];
            match expected {
                Expect::Pass => line.pass += 1,
                Expect::Fail => line.fail += 1,
                Expect::Unscored => line.unscored += 1,
            }
            // What should fail and does not, passes: a share of a point is no fail.
            let passes = match expected {
                Expect::Pass => value == Some(1.0),
                _ => value.is_some_and(|v| v > 0.0),
            };
            line.judged_passes += usize::from(passes);
            line.true_passes += usize::from(passes && expected == Expect::Pass);
            line.not_judged += usize::from(value.is_none() && expected != Expect::Unscored);
        }
        if !right {
            let says = match value {
                Some(1.0) => "pass".to_owned(),
                Some(0.0) => "fail".to_owned(),
                Some(value) => format!("{value:.2}"),
                None => "unscored".to_owned(),
            };
            self.misjudged.push(Misjudged {
                probe: put.probe.clone(),
                answer: put.golden.answer.clone(),
                expected: match expected {
                    Expect::Pass => "pass",
                    Expect::Fail => "fail",
                    Expect::Unscored => "unscored",
                }
                .into(),
                says: format!("{says}: {}", score.explanation()),
            });
        }
    }
}

/// Place of a golden answer, and of one of its checks.
type GoldenPlace = (usize, usize);

fn run_programs(puts: &[Put<'_>], scoring: &Scoring) -> BTreeMap<GoldenPlace, ProgramOutcome> {
    let mut running = Vec::new();
    for (p, put) in puts.iter().enumerate() {
        for (c, check) in put.checks.iter().enumerate() {
            if let Some(program) = check.program(&put.golden.answer) {
                let sandbox = scoring.sandbox.clone();
                let task = async move { sandbox.run(&program).await };
                running.push(((p, c), scoring.runtime.spawn(task)));
            }
        }
    }
    let outcomes = running.into_iter().map(|(place, task)| {
        let joined = scoring.runtime.block_on(task);
        let outcome = joined.unwrap_or_else(|error| ProgramOutcome::Broken(error.to_string()));
        (place, outcome)
    });
    outcomes.collect()
}

fn embed(puts: &[Put<'_>], scoring: &Scoring) -> Option<HashMap<String, Arc<[f32]>>> {
    let mut texts: Vec<String> = Vec::new();
    for put in puts {
        let wanted = put.checks.iter().flat_map(|c| c.needs().embeddings);
        let before = texts.len();
        texts.extend(wanted);
        if texts.len() > before {
            texts.push(put.golden.answer.clone());
        }
    }
    if texts.is_empty() {
        return Some(HashMap::new());
    }
    scoring.embed(&texts)
}

fn ask(
    puts: &[Put<'_>],
    judge: Option<&Judge<'_>>,
    on_event: &mut dyn FnMut(RunEvent),
) -> Result<BTreeMap<GoldenPlace, Judgements>, RunError> {
    let Some(judge) = judge else {
        return Ok(BTreeMap::new());
    };
    let (mut places, mut asks) = (Vec::new(), Vec::new());
    for (p, put) in puts.iter().enumerate() {
        for (c, check) in put.checks.iter().enumerate() {
            for rubric in check.needs().rubrics {
                places.push((p, c));
                asks.push(RubricQuestion {
                    prompt: put.prompt.to_owned(),
                    answer: put.golden.answer.clone(),
                    rubric,
                });
            }
        }
    }
    let said = judge.ask(&asks, on_event)?;
    let mut judged: BTreeMap<GoldenPlace, Judgements> = BTreeMap::new();
    for ((place, ask), judgement) in places.into_iter().zip(asks).zip(said) {
        if let Some(judgement) = judgement {
            let judgements = judged.entry(place).or_default();
            judgements.insert(ask.rubric, judgement);
        }
    }
    Ok(judged)
}
