//! Suites, probes, and cases: what is asked, and what an answer has to satisfy.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a suite wants from a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Goal {
    /// General ability: not worse than the base by more than a margin.
    Keep,
    /// New knowledge: reach a target score on wordings that were never trained on.
    Learn,
}

/// One TOML file of probes on one theme.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Suite {
    /// Name of the suite, also its snapshot folder. `[a-z0-9_-]+`.
    pub name: String,
    /// One sentence on what the suite watches.
    pub description: Option<String>,
    /// Keep or learn.
    pub goal: Goal,
    /// Largest tolerated loss of the mean score, in (0, 1]. Of this suite alone; `None` takes the
    /// gate's `suite_margin`.
    pub margin: Option<f64>,
    /// Mean score that a `learn` suite has to reach, in (0, 1].
    pub target: Option<f64>,
    /// The probes, in file order.
    pub probes: Vec<Probe>,
    /// Hex digest of everything that can change an answer or a score.
    pub digest: String,
}

impl Suite {
    /// The name of one of its probes among those of all suites.
    pub fn id_of(&self, probe: &Probe) -> ProbeId {
        ProbeId {
            suite: self.name.clone(),
            probe: probe.id.clone(),
        }
    }
}

/// One behaviour under watch. The unit of pairing and of statistics: its prompts (paraphrases)
/// and samples are one cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Unique within its suite. `[a-z0-9_-]+`.
    pub id: String,
    /// Free words for selection; the language is one of them (`en`, `zh`).
    pub tags: Vec<String>,
    /// A critical probe can be a regression on its own.
    pub critical: bool,
    /// System prompt of this probe alone. `None` takes the configured one.
    pub system: Option<String>,
    /// Finished exchanges before the prompt, the first one first: they make it a probe of several
    /// turns. Every wording follows the same ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Exchange>,
    /// The wordings, one case each, at least one, all in one language.
    pub prompts: Vec<String>,
    /// How its answers are generated.
    pub generation: Generation,
    /// At least one. An answer's score is the lowest of its checks' scores.
    pub checks: Vec<CheckSpec>,
    /// Answers whose scores are known; they test the checks.
    pub goldens: Vec<Golden>,
}

impl Probe {
    /// Whether only the likelihood of given texts is judged: nothing is generated.
    pub fn is_by_likelihood(&self) -> bool {
        self.checks
            .iter()
            .all(|c| matches!(c.kind.as_str(), "choice" | "likelihood"))
    }
}

/// What was said and answered before a prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    /// The user's turn.
    pub user: String,
    /// The assistant's turn, the same for every subject.
    pub assistant: String,
}

/// How answers are generated. `None` takes the model's `generation_config.json`, then greedy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Generation {
    /// Tokens that an answer has to say what is wanted, at least 1. One that a check cannot judge
    /// where it is cut there goes on, up to four times as many.
    pub max_new_tokens: usize,
    /// Answers per case; at least 1. With temperature 0 more than one is refused at load.
    pub samples: usize,
    /// Softmax temperature; 0 is greedy.
    pub temperature: Option<f64>,
    /// Only the k most likely tokens can be drawn.
    pub top_k: Option<usize>,
    /// Only the most likely tokens up to this mass can be drawn, in (0, 1].
    pub top_p: Option<f64>,
    /// Logits of tokens already in the context are divided (multiplied when negative) by this.
    pub repetition_penalty: Option<f64>,
}

/// A check as written in TOML: kind and parameters, not yet a rule. `check::registry` turns it
/// into one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckSpec {
    /// The kind without `not-`.
    pub kind: String,
    /// Written as `not-KIND`: pass and fail are swapped, unscored stays unscored.
    pub negated: bool,
    /// Every other key of the table.
    pub params: serde_json::Map<String, serde_json::Value>,
}

impl CheckSpec {
    /// The kind as written in the suite, `not-` included.
    pub fn written_kind(&self) -> String {
        let not = if self.negated { "not-" } else { "" };
        format!("{not}{}", self.kind)
    }
}

/// An answer whose score is known, written beside the check to test it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Golden {
    /// The answer's text.
    pub answer: String,
    /// What all checks of the probe together have to say.
    pub expect: Expect,
    /// Answers to the probe's other wordings, for checks that compare them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub siblings: Vec<String>,
    /// What the candidate was trained to say, for checks that look for repeats.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub training_answers: Vec<String>,
}

/// What a golden answer's checks have to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expect {
    /// A score of 1.
    Pass,
    /// A score of 0.
    Fail,
    /// Could not be judged.
    Unscored,
}

/// Names a probe in all suites: `suite::probe`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProbeId {
    /// Suite name.
    pub suite: String,
    /// Probe id.
    pub probe: String,
}

impl fmt::Display for ProbeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.suite, self.probe)
    }
}

/// Names one concrete prompt of a probe: `suite::probe#2`, counted from 0.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CaseId {
    /// Suite name.
    pub suite: String,
    /// Probe id.
    pub probe: String,
    /// Place in the probe's `prompts`.
    pub prompt: usize,
}

impl CaseId {
    /// The probe that this case belongs to.
    pub fn probe_id(&self) -> ProbeId {
        ProbeId {
            suite: self.suite.clone(),
            probe: self.probe.clone(),
        }
    }
}

impl fmt::Display for CaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}#{}", self.suite, self.probe, self.prompt)
    }
}
