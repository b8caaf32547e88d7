//! Suites put to a loaded base: every case with its token ids, its checks, and what they need.

use std::sync::Arc;

use crate::check::{Check, registry};
use crate::digest;
use crate::flow::{CaseId, Generation, Probe, Suite};

use super::error::RunError;
use super::session::Session;

/// A probe's checks, built once.
pub struct ProbeChecks {
    /// As written in TOML, one a check.
    pub kinds: Vec<String>,
    /// The rules.
    pub rules: Vec<Box<dyn Check>>,
    /// At least one rule wants a generated answer.
    pub answer: bool,
    /// A rule compares the answers to the probe's wordings.
    pub siblings: bool,
    /// What a judge is asked, one list a rule.
    pub rubrics: Vec<Vec<String>>,
    /// Every text whose likelihood a rule wants, each once.
    pub continuations: Vec<String>,
}

/// One prompt with all that is asked about it.
pub struct Question {
    /// Which.
    pub case: CaseId,
    /// As the suite has it.
    pub prompt: String,
    /// The rendered prompt.
    pub ids: Arc<[u32]>,
    /// With every default filled in.
    pub generation: Generation,
    /// Place in [`Questions::checks`].
    pub checks: usize,
    /// Token ids of each continuation.
    pub continuation_ids: Vec<Arc<[u32]>>,
}

/// Everything that a set of suites asks.
pub struct Questions {
    /// The suites, as loaded and selected.
    pub suites: Vec<Suite>,
    /// One per probe, in order.
    pub checks: Vec<ProbeChecks>,
    /// One per case, in order.
    pub all: Vec<Question>,
    /// Added to every case's seed.
    pub seed: u64,
}

impl Questions {
    /// Renders every prompt and builds every check.
    ///
    /// # Errors
    /// A prompt that does not fit the context, a check that cannot be built.
    pub fn new(session: &Session, suites: Vec<Suite>, seed: u64) -> Result<Self, RunError> {
        let (mut checks, mut all) = (Vec::new(), Vec::new());
        for suite in &suites {
            for probe in &suite.probes {
                let built = build(probe)?;
                for (prompt, text) in probe.prompts.iter().enumerate() {
                    let case = CaseId {
                        suite: suite.name.clone(),
                        probe: probe.id.clone(),
                        prompt,
                    };
                    all.push(question(session, probe, case, text, &built, checks.len())?);
                }
                checks.push(built);
            }
        }
        Ok(Questions {
            suites,
            checks,
            all,
            seed,
        })
    }

    /// Whether any check wants a judge.
    pub fn wants_judge(&self) -> bool {
        wants_judge(&self.suites)
    }

    /// Key of the random draws of a sample: the same for every subject.
    pub fn seed_of(&self, case: &CaseId, sample: usize) -> u64 {
        let hex = digest::bytes(format!("{}/{case}/{sample}", self.seed));
        u64::from_str_radix(&hex[..16], 16).unwrap_or(self.seed)
    }

    /// Samples of a question: one where no answer is generated, or where it is greedy.
    pub fn samples(&self, question: &Question) -> usize {
        let sampled = question.generation.temperature.is_some_and(|t| t > 0.0);
        if self.checks[question.checks].answer && sampled {
            question.generation.samples
        } else {
            1
        }
    }
}

/// Whether any check of some suites wants a judge, in whatever group it stands.
pub fn wants_judge(suites: &[Suite]) -> bool {
    let mut specs = suites
        .iter()
        .flat_map(|s| &s.probes)
        .flat_map(|p| &p.checks);
    specs.any(|spec| registry::build(spec).is_ok_and(|check| !check.needs().rubrics.is_empty()))
}

fn build(probe: &Probe) -> Result<ProbeChecks, RunError> {
    let mut built = ProbeChecks {
        kinds: Vec::new(),
        rules: Vec::new(),
        answer: false,
        siblings: false,
        rubrics: Vec::new(),
        continuations: Vec::new(),
    };
    for spec in &probe.checks {
        let rule = registry::build(spec)?;
        let needs = rule.needs();
        built.answer |= needs.generates();
        built.siblings |= needs.siblings;
        built.rubrics.push(needs.rubrics);
        for text in needs.continuations {
            if !built.continuations.contains(&text) {
                built.continuations.push(text);
            }
        }
        built.kinds.push(if spec.negated {
            format!("not-{}", spec.kind)
        } else {
            spec.kind.clone()
        });
        built.rules.push(rule);
    }
    Ok(built)
}

fn question(
    session: &Session,
    probe: &Probe,
    case: CaseId,
    text: &str,
    built: &ProbeChecks,
    checks: usize,
) -> Result<Question, RunError> {
    let ids = session.prompt(probe.system.as_deref(), &probe.history, text)?;
    let mut continuation_ids = Vec::new();
    for continuation in &built.continuations {
        let tokens: Arc<[u32]> = session.tokenizer.encode(continuation)?.into();
        if tokens.is_empty() {
            return Err(RunError::NoTokens {
                case,
                text: continuation.clone(),
            });
        }
        continuation_ids.push(tokens);
    }
    let generation = session.resolve(&probe.generation);
    let longest = continuation_ids.iter().map(|c| c.len()).max().unwrap_or(0);
    let answer = longest.max(if built.answer {
        generation.max_new_tokens
    } else {
        0
    });
    let context = session.decoder.config().max_position_embeddings;
    if ids.len() + answer > context {
        return Err(RunError::TooLong {
            case,
            prompt: ids.len(),
            answer,
            context,
        });
    }
    Ok(Question {
        case,
        prompt: text.to_owned(),
        ids,
        generation,
        checks,
        continuation_ids,
    })
}
