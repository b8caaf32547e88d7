//! Golden answers put to their checks, with everything that a check may want: programs run in the
//! sandbox, texts are embedded, a judge is asked.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::chat::after_thinking;
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
    golden: Golden,
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
                    // Written as a model writes it, with what it thinks before: as that is judged.
                    golden: Golden {
                        answer: after_thinking(&golden.answer).to_owned(),
                        ..golden.clone()
                    },
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
            registry::score_golden(check.as_ref(), &put.golden, measured)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::testing::Stage;
    use crate::suite::{SuiteSource, load_unjudged};

    fn judged(probes: &str) -> GoldenOutcome {
        let text = format!("[suite]\nname = \"s\"\ngoal = \"keep\"\n{probes}");
        let source = SuiteSource::new("s.toml", text);
        let suites = load_unjudged(&[source], &BTreeMap::new()).unwrap();
        judge_goldens(&suites, &Stage::new().scoring(), None, &mut |_| {}).unwrap()
    }

    /// A probe with these checks and golden answers.
    fn probe(id: &str, checks: &[&str], goldens: &[(&str, &str)]) -> String {
        let checks = checks.iter().map(|c| format!("[[probe.check]]\n{c}\n"));
        let goldens = goldens.iter().map(|(answer, expect)| {
            format!("[[probe.golden]]\nanswer = \"{answer}\"\nexpect = \"{expect}\"\n")
        });
        let head = format!("[[probe]]\nid = \"{id}\"\nprompts = [\"{id}?\"]\n");
        head + &checks.collect::<String>() + &goldens.collect::<String>()
    }

    const LIMA: &str = "type = \"contains\"\nvalue = \"Lima\"";
    const FOUR: &str = "type = \"number\"\nvalue = 4";

    #[test]
    fn answers_judged_otherwise_are_counted_and_named() {
        let outcome = judged(&probe(
            "peru",
            &[LIMA],
            &[
                ("Lima.", "pass"),
                ("Quito.", "pass"),
                ("Lima?", "fail"),
                ("Rome", "fail"),
            ],
        ));
        let line = &outcome.kinds[0];
        assert_eq!(
            (line.pass, line.fail, line.true_passes, line.judged_passes),
            (2, 2, 1, 2)
        );
        let told: Vec<_> = outcome
            .misjudged
            .iter()
            .map(|m| (m.answer.as_str(), m.expected.as_str()))
            .collect();
        assert_eq!(told, [("Quito.", "pass"), ("Lima?", "fail")]);
        assert!(
            outcome.misjudged[1].says.starts_with("pass: "),
            "{:?}",
            outcome.misjudged
        );
    }

    /// Half of the others agree: that is no pass and no fail, whichever was expected.
    #[test]
    fn a_share_of_a_point_is_right_about_nothing() {
        let golden = |expect: &str| {
            format!(
                "[[probe.golden]]\nanswer = \"Lima\"\nsiblings = [\"Lima\", \"Rome\"]\n\
                 expect = \"{expect}\"\n"
            )
        };
        let outcome = judged(&format!(
            "[[probe]]\nid = \"peru\"\nprompts = [\"A?\", \"B?\", \"C?\"]\n\
             [[probe.check]]\ntype = \"consistent\"\n{}{}",
            golden("pass"),
            golden("fail")
        ));
        let says: Vec<&str> = outcome.misjudged.iter().map(|m| &m.says[..5]).collect();
        assert_eq!(says, ["0.50:", "0.50:"]);
        // What should fail and does not, passes.
        let line = &outcome.kinds[0];
        assert_eq!((line.true_passes, line.judged_passes), (0, 1));
    }

    #[test]
    fn kinds_stand_in_the_order_of_the_documentation() {
        let lines =
            probe("sum", &[FOUR], &[("4", "pass")]) + &probe("peru", &[LIMA], &[("Lima", "pass")]);
        let outcome = judged(&lines);
        let kinds: Vec<&str> = outcome
            .kinds
            .iter()
            .map(|line| line.kind.as_str())
            .collect();
        assert_eq!(kinds, ["contains", "number"]);
    }

    #[test]
    fn an_answer_to_two_checks_says_nothing_of_either_kind() {
        let outcome = judged(&probe("both", &[LIMA, FOUR], &[("Lima", "pass")]));
        assert_eq!(outcome.kinds, []);
        assert_eq!(outcome.misjudged.len(), 1, "both together have to pass");
    }

    /// Without a judge or an encoder nothing is known: that is no wrong judgement.
    #[test]
    fn what_lacks_its_evidence_is_not_put() {
        let rubric = "type = \"llm-rubric\"\nvalue = \"It is polite.\"";
        let similar = "type = \"similar\"\naccepted = [\"Lima is it.\"]\nrejected = [\"Rome is.\"]";
        let lines = probe("polite", &[rubric], &[("Please.", "pass"), ("No!", "fail")])
            + &probe("near", &[similar], &[("Lima", "pass")]);
        let outcome = judged(&lines);
        assert_eq!((outcome.not_put, outcome.misjudged.len()), (3, 0));
        assert_eq!(outcome.kinds, []);
    }

    /// A sandbox that does not start says nothing of the answer.
    #[test]
    fn a_program_that_could_not_be_run_is_not_judged() {
        let code = "type = \"code\"\nentry = \"f\"\ncases = [{ args = [], returns = 1 }]";
        let outcome = judged(&probe("code", &[code], &[("def f(): return 1", "pass")]));
        let line = &outcome.kinds[0];
        assert_eq!((line.pass, line.judged_passes, line.not_judged), (1, 0, 1));
        assert!(
            outcome.misjudged[0].says.starts_with("unscored: "),
            "{:?}",
            outcome.misjudged
        );
    }
}
