//! What records hold of one subject, with what is known of how it was measured: all that an export
//! is made of.

use std::collections::BTreeSet;

use super::{Answer, CaseId, CheckScore, Measurement, Probe, Score, Subject, Suite};

/// What a run's records hold of one subject.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Name of the run.
    pub run: String,
    /// When the run began, in milliseconds since 1970-01-01 UTC.
    pub created_unix_ms: u64,
    /// The base model as configured.
    pub model: String,
    /// Hex digest of the base.
    pub base_digest: String,
    /// Hex digest of the chat template; empty where nobody knows.
    pub template_digest: String,
    /// What computed the answers: qeval's version, device, number format.
    pub engine: String,
    /// The system prompt in effect, if any.
    pub system: Option<String>,
    /// The seed that all others are derived from.
    pub seed: u64,
    /// The suites that the record is about, each with at least one answer or score.
    pub suites: Vec<Suite>,
    /// What was said and scored.
    pub measurement: Measurement,
}

/// One answer, or one likelihood, with what was asked.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedAnswer<'a> {
    /// The suite.
    pub suite: &'a Suite,
    /// The probe.
    pub probe: &'a Probe,
    /// Place of its wording.
    pub prompt: usize,
    /// Which of the wording's samples, from 0.
    pub sample: usize,
    /// What was said; `None` where only likelihoods were measured.
    pub answer: Option<&'a Answer>,
    /// What it scored.
    pub score: Score,
    /// Each check's score, in the suite's order.
    pub checks: &'a [CheckScore],
}

impl RecordedAnswer<'_> {
    /// The wording.
    pub fn question(&self) -> &str {
        self.probe
            .prompts
            .get(self.prompt)
            .map_or("", String::as_str)
    }
}

impl Recorded {
    /// Who answered.
    pub fn subject(&self) -> &Subject {
        &self.measurement.subject
    }

    /// Every answer of a suite, in the order of its probes, wordings, and samples.
    pub fn answers<'a>(&'a self, suite: &'a Suite) -> impl Iterator<Item = RecordedAnswer<'a>> {
        let probes = suite.probes.iter();
        probes.flat_map(move |probe| {
            let prompts = 0..probe.prompts.len();
            prompts.flat_map(move |prompt| self.of_case(suite, probe, prompt))
        })
    }

    /// Wordings of a suite that have neither an answer nor a score.
    pub fn unasked(&self, suite: &Suite) -> usize {
        let probes = suite.probes.iter();
        let empty = probes.flat_map(|probe| {
            let prompts = 0..probe.prompts.len();
            prompts.filter(move |&prompt| self.of_case(suite, probe, prompt).is_empty())
        });
        empty.count()
    }

    fn of_case<'a>(
        &'a self,
        suite: &'a Suite,
        probe: &'a Probe,
        prompt: usize,
    ) -> Vec<RecordedAnswer<'a>> {
        let case = CaseId {
            suite: suite.name.clone(),
            probe: probe.id.clone(),
            prompt,
        };
        let range = (case.clone(), 0)..=(case, usize::MAX);
        let measured = &self.measurement;
        let scored = measured.scores.range(range.clone()).map(|(place, _)| place);
        let said = measured.answers.range(range).map(|(place, _)| place);
        let places: BTreeSet<_> = scored.chain(said).collect();
        let of = |place: &(CaseId, usize)| RecordedAnswer {
            suite,
            probe,
            prompt,
            sample: place.1,
            answer: measured.answers.get(place),
            score: measured
                .scores
                .get(place)
                .cloned()
                .unwrap_or_else(|| Score::unscored("not judged yet")),
            checks: measured.checks.get(place).map_or(&[], Vec::as_slice),
        };
        places.into_iter().map(of).collect()
    }
}
