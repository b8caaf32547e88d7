//! Everything that one subject said and scored, by case and sample.

use std::collections::BTreeMap;

use super::{AnswerOrigin, AnswerTable, Calibration, CaseId, CheckScore, ScoreTable, Subject};

/// What one subject said and scored.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// Who.
    pub subject: Subject,
    /// Scores by case and sample.
    pub scores: ScoreTable,
    /// Each check's score, by case and sample.
    pub checks: BTreeMap<(CaseId, usize), Vec<CheckScore>>,
    /// Answers by case and sample.
    pub answers: AnswerTable,
    /// Where its answers come from, where that is known.
    pub origin: Option<AnswerOrigin>,
    /// How far the judge of its `llm-rubric` checks can be trusted, where one was asked.
    pub judge: Option<Calibration>,
}

impl Measurement {
    /// Of a subject that has said nothing yet.
    pub fn of(subject: Subject) -> Self {
        Measurement {
            subject,
            scores: ScoreTable::new(),
            checks: BTreeMap::new(),
            answers: AnswerTable::new(),
            origin: None,
            judge: None,
        }
    }

    /// Adds what the same subject said to other cases.
    pub fn add(&mut self, more: Measurement) {
        self.scores.extend(more.scores);
        self.checks.extend(more.checks);
        self.answers.extend(more.answers);
        match (&mut self.origin, more.origin) {
            (Some(own), Some(more)) => own.add(&more),
            (own, more) => *own = own.take().or(more),
        }
        self.judge = self.judge.take().or(more.judge);
    }

    /// Answers that went on beyond their probe's `max_new_tokens`.
    pub fn continued(&self) -> usize {
        self.answers.values().filter(|a| a.continued).count()
    }
}
