//! The checks of suites, built once for all who ask what they want: records, the noise floor, the
//! questions that are put to a base.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::check::{Check, CheckError, registry};
use crate::flow::{Probe, ProbeId, Suite};

/// A probe's checks.
pub struct ProbeChecks {
    /// As written in TOML, one a check.
    pub kinds: Vec<String>,
    /// The rules.
    pub rules: Vec<Box<dyn Check>>,
    /// At least one rule wants a generated answer.
    pub answer: bool,
    /// A rule compares the answers to the probe's wordings.
    pub siblings: bool,
    /// A rule compares meanings.
    pub embeds: bool,
    /// A rule runs programs.
    pub programs: bool,
    /// What a judge is asked, one list a rule.
    pub rubrics: Vec<Vec<String>>,
    /// Every text whose likelihood a rule wants, each once.
    pub continuations: Vec<String>,
}

impl ProbeChecks {
    /// Builds them.
    ///
    /// # Errors
    /// A check that the registry refuses.
    pub fn build(probe: &Probe) -> Result<Self, CheckError> {
        let mut built = ProbeChecks {
            kinds: Vec::new(),
            rules: Vec::new(),
            answer: false,
            siblings: false,
            embeds: false,
            programs: false,
            rubrics: Vec::new(),
            continuations: Vec::new(),
        };
        for spec in &probe.checks {
            let rule = registry::build(spec)?;
            let needs = rule.needs();
            built.answer |= needs.generates();
            built.siblings |= needs.siblings;
            built.embeds |= !needs.embeddings.is_empty();
            built.programs |= needs.programs > 0;
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

    /// Whether a rule cannot judge an answer that was cut after this text ([`Check::is_cut`]).
    pub fn is_cut(&self, answer: &str) -> bool {
        self.rules.iter().any(|rule| rule.is_cut(answer))
    }

    /// Whether a judge is asked, in whatever group its check stands.
    pub fn wants_judge(&self) -> bool {
        self.rubrics.iter().any(|r| !r.is_empty())
    }
}

/// The checks of every probe of some suites.
#[derive(Default, Clone)]
pub struct BuiltChecks(BTreeMap<ProbeId, Arc<ProbeChecks>>);

impl BuiltChecks {
    /// Builds them.
    ///
    /// # Errors
    /// A check that the registry refuses.
    pub fn of(suites: &[Suite]) -> Result<Self, CheckError> {
        let mut built = BTreeMap::new();
        for suite in suites {
            for probe in &suite.probes {
                built.insert(suite.id_of(probe), Arc::new(ProbeChecks::build(probe)?));
            }
        }
        Ok(BuiltChecks(built))
    }

    /// Those of one probe.
    pub fn of_probe(&self, id: &ProbeId) -> Option<&Arc<ProbeChecks>> {
        self.0.get(id)
    }

    /// Whether any check wants a judge.
    pub fn wants_judge(&self) -> bool {
        self.0.values().any(|c| c.wants_judge())
    }
}

impl FromIterator<(ProbeId, Arc<ProbeChecks>)> for BuiltChecks {
    fn from_iter<I: IntoIterator<Item = (ProbeId, Arc<ProbeChecks>)>>(checks: I) -> Self {
        BuiltChecks(checks.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::{SuiteSource, load};

    #[test]
    fn a_group_wants_what_its_members_want() {
        let text = "[suite]\nname = \"s\"\ngoal = \"keep\"\n\
            [[probe]]\nid = \"a\"\nprompts = [\"A?\"]\n[[probe.check]]\ntype = \"not-any\"\n\
            checks = [{ type = \"llm-rubric\", value = \"It is rude.\" }, \
            { type = \"code\", entry = \"f\", cases = [{ args = [], returns = 1 }] }]\n\
            [[probe]]\nid = \"b\"\nprompts = [\"B?\"]\n[[probe.check]]\ntype = \"choice\"\n\
            options = [\"x\", \"y\"]\nanswer = \"x\"\n[[probe.check]]\ntype = \"likelihood\"\n\
            text = \"x\"\n";
        let suites = load(&[SuiteSource::new("s.toml", text)], &BTreeMap::new()).unwrap();
        let built = BuiltChecks::of(&suites).unwrap();
        let of = |i: usize| {
            built
                .of_probe(&suites[0].id_of(&suites[0].probes[i]))
                .unwrap()
        };
        let (a, b) = (of(0), of(1));
        assert!(a.wants_judge() && a.programs && a.answer && !a.embeds);
        assert_eq!(a.kinds, ["not-any"]);
        assert!(!b.answer && !b.wants_judge());
        // A text that two rules want is measured once.
        assert_eq!(b.continuations, ["x", "y"]);
        assert!(built.wants_judge());
    }
}
