//! What a run says while it works. Every listener hears the same events.

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
    /// Something the user should read; never an error that stops the run.
    Notice(String),
}
