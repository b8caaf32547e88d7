//! Suites put to a loaded base: every case with its token ids, its checks, and what they need.

use std::sync::Arc;

use crate::digest;
use crate::flow::{CaseId, Generation, Probe, Suite};

use super::built_checks::{BuiltChecks, ProbeChecks};
use super::error::RunError;
use super::session::Session;

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
    pub checks: Vec<Arc<ProbeChecks>>,
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
        let checks = BuiltChecks::of(&suites)?;
        Self::with_checks(session, suites, &checks, seed)
    }

    /// As [`Questions::new`], with checks that are built already: of these suites, or of more.
    ///
    /// # Errors
    /// A prompt that does not fit the context, a check that cannot be built.
    pub fn with_checks(
        session: &Session,
        suites: Vec<Suite>,
        built: &BuiltChecks,
        seed: u64,
    ) -> Result<Self, RunError> {
        let (mut checks, mut all) = (Vec::new(), Vec::new());
        for suite in &suites {
            for probe in &suite.probes {
                let own = match built.of_probe(&suite.id_of(probe)) {
                    Some(own) => own.clone(),
                    None => Arc::new(ProbeChecks::build(probe)?),
                };
                for (prompt, text) in probe.prompts.iter().enumerate() {
                    let case = CaseId {
                        suite: suite.name.clone(),
                        probe: probe.id.clone(),
                        prompt,
                    };
                    all.push(question(session, probe, case, text, &own, checks.len())?);
                }
                checks.push(own);
            }
        }
        Ok(Questions {
            suites,
            checks,
            all,
            seed,
        })
    }

    /// The checks by probe.
    pub fn built(&self) -> BuiltChecks {
        let probes = self.suites.iter();
        let ids = probes.flat_map(|s| s.probes.iter().map(|p| s.id_of(p)));
        ids.zip(self.checks.iter().cloned()).collect()
    }

    /// Whether any check wants a judge.
    pub fn wants_judge(&self) -> bool {
        self.checks.iter().any(|c| c.wants_judge())
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
