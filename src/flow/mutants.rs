//! What suites made of adapters that are known to be bad, and of others that are known to be harmless.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Decision, ProbeId, SuiteVerdict};

/// What good suites make of a mutant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wanted {
    /// It does harm: a regression is wanted.
    Killed,
    /// It is as good as what it was made of: no regression is wanted.
    Spared,
    /// It may do harm or not, as the adapter is: it is shown, and counted on neither side.
    Either,
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Wanted::Killed => "killed",
            Wanted::Spared => "spared",
            Wanted::Either => "either",
        })
    }
}

/// One mutant, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MutantLine {
    /// Its name: `scaled 8`.
    pub name: String,
    /// What was done to make it.
    pub made: String,
    /// What is wanted.
    pub wanted: Wanted,
    /// What the gate says of it, as a candidate by itself. A regression kills.
    pub decision: Decision,
    /// The same in a sentence.
    pub sentence: String,
    /// All `keep` suites together.
    pub pooled: SuiteVerdict,
    /// What killed it: suites that are red by themselves, in their order, then the row of all together,
    /// and last [`MutantLine::SIGNS`].
    pub killed_by: Vec<String>,
    /// Signs over all answers that are red, in words.
    pub signs: Vec<String>,
    /// Probes that the base passes and it does not.
    pub lost: Vec<ProbeId>,
    /// Why a suite could not be measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub could_not_measure: Vec<String>,
}

impl MutantLine {
    /// What stands in `killed_by` for signs that show over all answers.
    pub const SIGNS: &str = "signs";

    /// Whether the suites caught it.
    pub fn is_killed(&self) -> bool {
        self.decision == Decision::Regression
    }

    /// Whether it is not what was wanted.
    pub fn is_wrong(&self) -> bool {
        match self.wanted {
            Wanted::Killed => !self.is_killed(),
            Wanted::Spared => self.is_killed(),
            Wanted::Either => false,
        }
    }
}

/// What one suite made of the harmful mutants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MutantSuite {
    /// Its name.
    pub suite: String,
    /// Its probes.
    pub probes: usize,
    /// Those that the base passes: no other can be lost.
    pub passed: usize,
    /// Whether it would kill an adapter that fails every probe.
    pub can_kill: bool,
    /// Harmful mutants that it kills by itself.
    pub kills: usize,
    /// Those of them that nothing else kills: neither the row of all suites together nor a sign.
    pub alone: Vec<String>,
    /// Harmless mutants that it would have stopped.
    pub false_alarms: usize,
    /// Probes that the base passes, and every harmful mutant too.
    pub silent: Vec<ProbeId>,
}

/// A probe that caught what no other probe did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoneProbe {
    /// Which.
    pub probe: ProbeId,
    /// Harmful mutants that lose this probe and no other.
    pub mutants: Vec<String>,
}

/// All of a test with mutants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MutantReport {
    /// The base.
    pub model: String,
    /// The adapter that most of them were made of.
    pub adapter: String,
    /// What the gate says of it as it is.
    pub adapter_decision: Decision,
    /// One a mutant.
    pub mutants: Vec<MutantLine>,
    /// One a `keep` suite.
    pub suites: Vec<MutantSuite>,
    /// Probes that caught what no other did.
    pub lone: Vec<LoneProbe>,
    /// What a reader should know beside it.
    pub notes: Vec<String>,
}

impl MutantReport {
    /// Those of which this is wanted.
    pub fn of(&self, wanted: Wanted) -> impl Iterator<Item = &MutantLine> {
        self.mutants.iter().filter(move |m| m.wanted == wanted)
    }

    /// Harmful mutants that are killed, and all.
    pub fn kills(&self) -> (usize, usize) {
        let killed = self.of(Wanted::Killed).filter(|m| m.is_killed()).count();
        (killed, self.of(Wanted::Killed).count())
    }

    /// Harmless mutants that are killed, and all.
    pub fn false_alarms(&self) -> (usize, usize) {
        let killed = self.of(Wanted::Spared).filter(|m| m.is_killed()).count();
        (killed, self.of(Wanted::Spared).count())
    }

    /// Whether all harmful mutants are killed, and no harmless one.
    pub fn is_clean(&self) -> bool {
        !self.mutants.iter().any(MutantLine::is_wrong)
    }
}
