//! What changed between a base and a candidate, the largest loss first.

use crate::flow::{Candidate, CaseId, SampleComparison, Score};

/// One case and sample whose answer or score changed.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangedAnswer<'a> {
    /// Which prompt.
    pub case: CaseId,
    /// Which sample.
    pub sample: usize,
    /// The prompt's text.
    pub prompt: &'a str,
    /// The base's score.
    pub base_score: Score,
    /// The candidate's score.
    pub candidate_score: Score,
    /// The base's answer; `None` where only likelihoods were measured.
    pub base_text: Option<&'a str>,
    /// The candidate's answer.
    pub candidate_text: Option<&'a str>,
    /// What each thought before its answer, the base first.
    pub thinking: [Option<&'a str>; 2],
}

impl<'a> ChangedAnswer<'a> {
    /// A draw of a wording, changed or not.
    pub fn of(case: CaseId, sample: usize, prompt: &'a str, draw: &'a SampleComparison) -> Self {
        ChangedAnswer {
            case,
            sample,
            prompt,
            base_score: draw.base_score(),
            candidate_score: draw.candidate_score(),
            base_text: draw.base.as_deref(),
            candidate_text: draw.candidate.as_deref(),
            thinking: [&draw.base_thinking, &draw.candidate_thinking].map(|t| t.as_deref()),
        }
    }

    /// Candidate minus base; `None` when either has no score.
    pub fn difference(&self) -> Option<f64> {
        Some(self.candidate_score.value()? - self.base_score.value()?)
    }
}

/// Whether a draw's text or score is another than the base's.
pub(super) fn is_change(draw: &SampleComparison) -> bool {
    let (base, candidate) = (draw.base_score().value(), draw.candidate_score().value());
    let moved = match (base, candidate) {
        (Some(base), Some(candidate)) => (candidate - base).abs() >= SCORE_CHANGE,
        (base, candidate) => base != candidate,
    };
    moved || draw.base != draw.candidate
}

/// Scores by likelihood move a little with every weight; less than this is no change to look at.
const SCORE_CHANGE: f64 = 0.01;

/// What changed, the largest loss first; changes without a score stand after the losses, gains
/// come last. With `unchanged`, what did not change stands between losses and gains.
pub fn changes(candidate: &Candidate, unchanged: bool) -> Vec<ChangedAnswer<'_>> {
    let mut changes = Vec::new();
    for probe in &candidate.probes {
        for (prompt, case) in probe.cases.iter().enumerate() {
            for (sample, draw) in case.samples.iter().enumerate() {
                let id = CaseId {
                    suite: probe.id.suite.clone(),
                    probe: probe.id.probe.clone(),
                    prompt,
                };
                if unchanged || is_change(draw) {
                    changes.push(ChangedAnswer::of(id, sample, &case.prompt, draw));
                }
            }
        }
    }
    let rank = |change: &ChangedAnswer<'_>| change.difference().unwrap_or(0.0);
    changes.sort_by(|a, b| {
        let by_place = || (&a.case, a.sample).cmp(&(&b.case, b.sample));
        rank(a).total_cmp(&rank(b)).then_with(by_place)
    });
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::two_candidates;

    #[test]
    fn losses_come_first_and_gains_last() {
        let comparison = two_candidates();
        let changes = changes(&comparison.candidates[0], false);
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
        let comparison = two_candidates();
        let changes = changes(&comparison.candidates[1], false);
        assert!(
            changes
                .iter()
                .all(|c| c.case.probe != "p0" || c.case.suite == "identity")
        );
        assert_eq!(changes.len(), 2);
    }
}
