//! Who answers `llm-rubric` checks: the base itself, or an OpenAI-compatible server. A judge is
//! first put to golden answers; one that is not accurate enough judges nothing.
//!
//! The question is the same for both, asked twice with "yes" and "no" in either order. What counts
//! is the probability of "yes" against "no" as the first word of the reply.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::atomic_file;
use crate::check::{Evidence, Judgement, Judgements, registry};
use crate::digest;
use crate::flow::{Calibration, Expect, Golden, Phase, RunEvent, Suite};
use crate::generate::{Finished, Request, Work};
use crate::record::read_kept;

use super::asking::{Asking, Bar};
use super::error::RunError;
use super::interrupt::Interrupt;
use super::judge_server::JudgeServer;
use super::rubric::{NO, RubricQuestion, SYSTEM, YES};

/// Folder of what judges said to golden answers, in that of the runs.
pub const JUDGES: &str = "judges";
/// Golden answers that every judge is put to, beside those of the suites that are asked.
const GOLDENS: &str = include_str!("../../fixtures/goldens/llm-rubric.toml");

/// Who judges, and how good it has to be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JudgeSettings {
    /// `"base"`, or a server as `http://host:8000/v1#model`.
    pub judge: String,
    /// Environment variable with the server's key; a server without one needs none. Who pays
    /// changes no judgement, so it is no part of a digest.
    #[serde(skip)]
    pub key_variable: String,
    /// Least mean of sensitivity and specificity, in [0, 1].
    pub least: f64,
}

impl Default for JudgeSettings {
    fn default() -> Self {
        JudgeSettings {
            judge: "base".into(),
            key_variable: "QEVAL_JUDGE_KEY".into(),
            least: 0.8,
        }
    }
}

/// A judge with what its golden answers said of it.
pub struct Judge<'a> {
    base: Option<Asking<'a>>,
    interrupt: &'a Interrupt,
    server: Option<JudgeServer>,
    /// What came of its golden answers.
    pub calibration: Calibration,
}

impl<'a> Judge<'a> {
    /// Finds a judge and puts it to golden answers, unless `cache`, a folder, knows what it said
    /// to these before. Without a loaded `base` the judge has to be a server.
    ///
    /// # Errors
    /// A server's address that is none, or a prompt that the template refuses.
    pub fn calibrated(
        base: Option<Asking<'a>>,
        interrupt: &'a Interrupt,
        settings: &JudgeSettings,
        suites: &[Suite],
        cache: &Path,
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Result<Self, RunError> {
        let server = match settings.judge.as_str() {
            "base" => None,
            address => Some(JudgeServer::new(address, &settings.key_variable)?),
        };
        let name = match (&server, base) {
            (Some(server), _) => server.model.clone(),
            (None, Some(asking)) => format!("{} (the base)", asking.session.base.name),
            (None, None) => {
                return Err(RunError::Judge {
                    judge: settings.judge.clone(),
                });
            }
        };
        let mut judge = Judge {
            base,
            interrupt,
            server,
            calibration: Calibration {
                judge: name,
                passes: 0,
                passed: 0,
                fails: 0,
                failed: 0,
                least: settings.least,
            },
        };
        let goldens = goldens(suites);
        let key = judge.key(&goldens, settings);
        let file = cache.join(key + ".json");
        let known = read_kept::<Calibration>(&file).unwrap_or_else(|error| {
            on_event(RunEvent::Notice(format!(
                "the judge is asked again: {error}"
            )));
            None
        });
        if let Some(known) = known {
            judge.calibration = Calibration {
                least: settings.least,
                ..known
            };
            return Ok(judge);
        }
        judge.calibrate(&goldens, on_event)?;
        // Silence says nothing of a judge: it is not remembered as one that is wrong.
        if judge.server.as_ref().is_some_and(JudgeServer::has_missed) {
            return Ok(judge);
        }
        // Without a cache the next run asks again: no reason to fail.
        let _ = std::fs::create_dir_all(cache);
        if let Ok(bytes) = serde_json::to_vec_pretty(&judge.calibration) {
            let _ = atomic_file::write(&file, bytes);
        }
        Ok(judge)
    }

    fn calibrate(
        &mut self,
        goldens: &[RubricGolden],
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Result<(), RunError> {
        let asks: Vec<RubricQuestion> = goldens.iter().map(|g| g.ask.clone()).collect();
        let judgements = self.ask(&asks, on_event)?;
        if self.server.as_ref().is_some_and(JudgeServer::is_given_up) {
            return Ok(());
        }
        let calibration = &mut self.calibration;
        for (golden, judgement) in goldens.iter().zip(&judgements) {
            let judgements: Judgements = judgement
                .iter()
                .map(|judgement| (golden.ask.rubric.clone(), *judgement))
                .collect();
            let evidence = Evidence {
                judgements: Some(&judgements),
                ..Evidence::default()
            };
            let says = registry::build(&golden.spec)
                .map(|check| registry::score_golden(check.as_ref(), &golden.golden, evidence));
            let value = says.ok().and_then(|score| score.value());
            match golden.golden.expect {
                Expect::Pass => {
                    calibration.passes += 1;
                    calibration.passed += usize::from(value == Some(1.0));
                }
                Expect::Fail => {
                    calibration.fails += 1;
                    calibration.failed += usize::from(value == Some(0.0));
                }
                Expect::Unscored => {}
            }
        }
        Ok(())
    }

    /// Digest of who judges what.
    fn key(&self, goldens: &[RubricGolden], settings: &JudgeSettings) -> String {
        let mut parts = digest::Parts::new("judge")
            .part("version", env!("CARGO_PKG_VERSION"))
            .part("judge", &settings.judge)
            .part(
                "base",
                self.base
                    .map_or("", |base| base.session.base.digest.as_str()),
            );
        for golden in goldens {
            parts = parts
                .part("question", golden.ask.question(true))
                .part("expect", format!("{:?}", golden.golden.expect));
        }
        parts.finish()[..24].to_owned()
    }

    /// What the judge says of each answer; `None` where it gave no usable reply.
    ///
    /// # Errors
    /// A prompt that the template refuses, or an interrupt.
    pub fn ask(
        &self,
        asks: &[RubricQuestion],
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Result<Vec<Option<Judgement>>, RunError> {
        if asks.is_empty() {
            return Ok(Vec::new());
        }
        let bar = Bar::new(Phase::Judging, &self.calibration.judge, asks.len());
        match (&self.server, self.base) {
            (Some(server), _) => server.ask(asks, bar, self.interrupt, on_event),
            (None, Some(base)) => ask_base(base, asks, bar, on_event),
            (None, None) => Ok(vec![None; asks.len()]),
        }
    }
}

/// Asks the loaded base, by the likelihood of yes and no.
fn ask_base(
    asking: Asking<'_>,
    asks: &[RubricQuestion],
    bar: Bar,
    on_event: &mut dyn FnMut(RunEvent),
) -> Result<Vec<Option<Judgement>>, RunError> {
    let session = asking.session;
    let replies: Vec<Arc<[u32]>> = YES
        .iter()
        .chain(&NO)
        .map(|word| Ok::<_, RunError>(session.tokenizer.encode(word)?.into()))
        .collect::<Result<_, _>>()?;
    let context = session.decoder.config().max_position_embeddings;
    let longest = replies.iter().map(|r| r.len()).max().unwrap_or(1);
    let mut requests = Vec::new();
    for (a, ask) in asks.iter().enumerate() {
        for order in 0..2 {
            let prompt =
                session.prompt_past_thinking(Some(SYSTEM), &[], &ask.question(order == 0))?;
            // What does not fit cannot be judged.
            if prompt.len() + longest > context {
                continue;
            }
            let work = replies.iter().enumerate().map(|(r, text)| Work::Score {
                id: (a * 2 + order) * replies.len() + r,
                text: text.clone(),
            });
            requests.push(Request {
                adapter: None,
                prompt,
                work: work.collect(),
            });
        }
    }
    let mut masses = vec![f64::NEG_INFINITY; asks.len() * 2 * replies.len()];
    let mut open = vec![2 * replies.len(); asks.len()];
    asking.run(&[], requests, bar, on_event, &mut |finished| {
        let Finished::Scored { id, logprobs } = finished else {
            return Ok(0);
        };
        masses[id] = logprobs.iter().map(|&l| f64::from(l)).sum();
        let ask = id / (2 * replies.len());
        open[ask] -= 1;
        Ok(u64::from(open[ask] == 0))
    })?;
    let judgements = masses.chunks(2 * replies.len()).map(|both| {
        let (first, second) = both.split_at(replies.len());
        Some(Judgement {
            yes_first: share_of_yes(first)?,
            no_first: share_of_yes(second)?,
        })
    });
    Ok(judgements.collect())
}

/// Probability of yes against no from the log-probabilities of the yes and the no replies, in that
/// order; `None` when none was measured.
fn share_of_yes(logprobs: &[f64]) -> Option<f64> {
    let top = logprobs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !top.is_finite() {
        return None;
    }
    let weights: Vec<f64> = logprobs.iter().map(|l| (l - top).exp()).collect();
    let yes: f64 = weights[..YES.len()].iter().sum();
    Some(yes / weights.iter().sum::<f64>())
}

/// A golden answer with one of its probe's rubrics.
struct RubricGolden {
    spec: crate::flow::CheckSpec,
    golden: Golden,
    ask: RubricQuestion,
}

/// The golden answers of every `llm-rubric` check: those of the suites, and the built-in ones.
fn goldens(suites: &[Suite]) -> Vec<RubricGolden> {
    let source = crate::suite::SuiteSource::new("built-in/llm-rubric.toml", GOLDENS);
    // The built-in file is loaded in a test.
    let vars = std::collections::BTreeMap::from(
        [("name", "Aurora"), ("author", "Northwind Labs")].map(|(k, v)| (k.into(), v.into())),
    );
    let builtin = crate::suite::load(&[source], &vars).unwrap_or_default();
    let mut all = Vec::new();
    for probe in builtin.iter().chain(suites).flat_map(|s| &s.probes) {
        // With other checks beside it, a golden's expectation is not the rubric's alone.
        let [spec] = probe.checks.as_slice() else {
            continue;
        };
        let rubrics = registry::build(spec).map(|c| c.needs().rubrics);
        let Some(rubric) = rubrics.unwrap_or_default().pop() else {
            continue;
        };
        // In a group, a golden's expectation is not the rubric's alone either.
        if spec.kind != "llm-rubric" {
            continue;
        }
        all.extend(probe.goldens.iter().map(|golden| RubricGolden {
            spec: spec.clone(),
            ask: RubricQuestion {
                prompt: probe.prompts[0].clone(),
                answer: golden.answer.clone(),
                rubric: rubric.clone(),
            },
            golden: golden.clone(),
        }));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yes_and_no_share_what_other_words_leave() {
        let ln = |p: f64| p.ln();
        let share = share_of_yes(&[ln(0.3), ln(0.1), ln(0.05), ln(0.05)]).unwrap();
        assert!((share - 0.8).abs() < 1e-12);
        assert_eq!(share_of_yes(&[f64::NEG_INFINITY; 4]), None);
    }

    #[test]
    fn built_in_golden_answers_are_enough_of_both_kinds() {
        let goldens = goldens(&[]);
        let count = |expect| goldens.iter().filter(|g| g.golden.expect == expect).count();
        assert!(count(Expect::Pass) >= 20 && count(Expect::Fail) >= 20);
    }
}
