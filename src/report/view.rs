//! One view of a comparison, so that no two formats can disagree.

use std::collections::{BTreeMap, BTreeSet};

use crate::flow::{AnswerTable, CaseId, Score, ScoreTable, Subject, Suite, SuiteNoise, Verdict};

/// What one subject said and how it was scored.
#[derive(Debug, Clone, Copy)]
pub struct Arm<'a> {
    /// Who.
    pub subject: &'a Subject,
    /// Scores by case and sample.
    pub scores: &'a ScoreTable,
    /// Answers by case and sample.
    pub answers: &'a AnswerTable,
}

/// A candidate with its verdict against the base.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// What it said.
    pub arm: Arm<'a>,
    /// What that came to.
    pub verdict: &'a Verdict,
    /// What probably lies behind it; never the verdict itself.
    pub causes: &'a [String],
}

/// A base and its candidates.
#[derive(Debug, Clone)]
pub struct View<'a> {
    /// The suites, in the order of the verdicts.
    pub suites: &'a [Suite],
    /// The control arm.
    pub base: Arm<'a>,
    /// At least one, in the order to show.
    pub candidates: Vec<Candidate<'a>>,
    /// By suite, how far the base differs from itself; empty when that was not measured.
    pub noise: BTreeMap<String, SuiteNoise>,
}

/// One case and sample whose answer or score changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Change<'a> {
    /// Which prompt.
    pub case: &'a CaseId,
    /// Which sample.
    pub sample: usize,
    /// The prompt's text; empty when the suites no longer have it.
    pub prompt: &'a str,
    /// The base's score; `None` when it has no entry.
    pub base_score: Option<&'a Score>,
    /// The candidate's score.
    pub candidate_score: Option<&'a Score>,
    /// The base's answer; `None` where only likelihoods were measured.
    pub base_text: Option<&'a str>,
    /// The candidate's answer.
    pub candidate_text: Option<&'a str>,
}

impl Change<'_> {
    /// Candidate minus base; `None` when either has no score.
    pub fn difference(&self) -> Option<f64> {
        Some(self.candidate_score?.value()? - self.base_score?.value()?)
    }
}

/// Scores by likelihood move a little with every weight; less than this is no change to look at.
const SCORE_CHANGE: f64 = 0.01;

impl<'a> View<'a> {
    /// What changed between base and candidate, the largest loss first; changes without a score
    /// stand after the losses, gains come last.
    pub fn changes(&self, candidate: &Candidate<'a>) -> Vec<Change<'a>> {
        let (base, other) = (&self.base, &candidate.arm);
        let keys: BTreeSet<&(CaseId, usize)> = base
            .scores
            .keys()
            .chain(other.scores.keys())
            .chain(base.answers.keys())
            .chain(other.answers.keys())
            .collect();
        let mut changes: Vec<Change<'a>> = keys
            .into_iter()
            .map(|key| Change {
                case: &key.0,
                sample: key.1,
                prompt: self.prompt(&key.0),
                base_score: base.scores.get(key),
                candidate_score: other.scores.get(key),
                base_text: base.answers.get(key).map(|a| a.text.as_str()),
                candidate_text: other.answers.get(key).map(|a| a.text.as_str()),
            })
            .filter(|change| {
                let value = |score: Option<&Score>| score.and_then(Score::value);
                let moved = match change.difference() {
                    Some(difference) => difference.abs() >= SCORE_CHANGE,
                    None => value(change.base_score) != value(change.candidate_score),
                };
                moved || change.base_text != change.candidate_text
            })
            .collect();
        let rank = |change: &Change| change.difference().unwrap_or(0.0);
        changes.sort_by(|a, b| rank(a).total_cmp(&rank(b)));
        changes
    }

    fn prompt(&self, case: &CaseId) -> &'a str {
        let suite = self.suites.iter().find(|suite| suite.name == case.suite);
        let probe = suite.and_then(|suite| suite.probes.iter().find(|p| p.id == case.probe));
        probe
            .and_then(|probe| probe.prompts.get(case.prompt))
            .map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use crate::report::testing::Comparison;

    #[test]
    fn losses_come_first_and_gains_last() {
        let comparison = Comparison::new();
        let view = comparison.view(&[1]);
        let changes = view.changes(&view.candidates[0]);
        let order: Vec<String> = changes.iter().map(|c| c.case.to_string()).collect();
        assert_eq!(
            order,
            ["code::p0#0", "code::p1#0", "code::p2#0", "identity::p0#0"]
        );
        assert_eq!(changes[3].difference(), Some(1.0));
        assert_eq!(changes[3].prompt, "Who are you?");
        assert_eq!(
            (changes[2].base_text, changes[2].candidate_text),
            (None, None)
        );
    }

    #[test]
    fn an_equal_answer_is_no_change() {
        let comparison = Comparison::new();
        let view = comparison.view(&[2]);
        let changes = view.changes(&view.candidates[0]);
        assert!(
            changes
                .iter()
                .all(|c| c.case.probe != "p0" || c.case.suite == "identity")
        );
        assert_eq!(changes.len(), 2);
    }
}
