//! What a run says while it works. The recorder and every reporter hear the same events.

use super::{Answer, CaseId, CheckScore, Likelihood, Score};

/// A part of the work with a known amount, shown as one progress bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Bytes of weights read.
    Loading,
    /// Optimizer steps.
    Training,
    /// Answers and likelihoods.
    Answering,
    /// Bytes fetched.
    Downloading,
    /// Answers put to a judge.
    Judging,
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum RunEvent {
    /// A phase begins; `total` in the phase's unit, `done` of it found on disk already.
    Begin {
        /// Which.
        phase: Phase,
        /// Amount of work in all.
        total: u64,
        /// Amount that an earlier run finished.
        done: u64,
        /// What it is about: a file, a list of subjects.
        label: String,
    },
    /// More of a phase is done.
    Progress {
        /// Which.
        phase: Phase,
        /// Amount done since the last event.
        more: u64,
        /// Tokens done since the last event, for the rate.
        tokens: u64,
        /// Changing text beside the bar: loss and learning rate, subject names.
        note: Option<String>,
    },
    /// A phase ended.
    End {
        /// Which.
        phase: Phase,
    },
    /// An answer is finished.
    Answered {
        /// Who said it.
        subject: String,
        /// What was said.
        answer: Answer,
    },
    /// A given text's likelihood is known.
    Measured {
        /// Whose.
        subject: String,
        /// How likely.
        likelihood: Likelihood,
    },
    /// An answer, or a probe without one, is scored.
    Scored {
        /// Whose answer.
        subject: String,
        /// To which prompt.
        case: CaseId,
        /// Which sample.
        sample: usize,
        /// Each check's score.
        checks: Vec<CheckScore>,
        /// The lowest of them.
        score: Score,
    },
    /// Something the user should read; never an error that stops the run.
    Notice(String),
}
