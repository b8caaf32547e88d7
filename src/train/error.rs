//! What can go wrong between the examples and the last checkpoint.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Something that would silently do nothing, or something else than it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreflightFinding {
    /// Key or row that it is about.
    pub place: String,
    /// What is wrong.
    pub problem: String,
    /// The rule that it breaks.
    pub rule: String,
    /// What to do.
    pub way_out: String,
}

impl fmt::Display for PreflightFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}\n({}; {})",
            self.place, self.problem, self.rule, self.way_out
        )
    }
}

/// A run that the preflight refuses, with every finding.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct PreflightError {
    /// At least one.
    pub findings: Vec<PreflightFinding>,
}

impl fmt::Display for PreflightError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the preflight refuses this run before step 1:")?;
        for finding in &self.findings {
            write!(f, "\n{finding}")?;
        }
        Ok(())
    }
}

/// Why training stopped without a result.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The device cannot go on.
    #[error(transparent)]
    Model(#[from] crate::model::ModelError),
    /// The loss or a gradient is not a number.
    #[error(
        "step {step}: {what} is {value}; the adapter would be ruined, so training stops. Lower \
         learning_rate, or set max_grad_norm, or, where a GPU computes in float16, \
         dtype = \"bfloat16\" under [model]; checkpoints up to here are untouched"
    )]
    NotFinite {
        /// Optimizer step, from 1.
        step: usize,
        /// Loss, or the gradient of a named matrix.
        what: String,
        /// Its value.
        value: f64,
    },
    /// A trained matrix gets no gradient.
    #[error(
        "step {step}: {name} has no gradient, so it would never learn; check that target_modules \
         and rank_pattern name what you mean, and that alpha is not 0"
    )]
    NoGradient {
        /// Optimizer step, from 1.
        step: usize,
        /// The matrix.
        name: String,
    },
    /// A checkpoint of another run lies in this one's folder.
    #[error(
        "{} was made with other data, settings, or weights than this run; give the run another \
         folder, or restore what it was started with", path.display()
    )]
    OtherRun {
        /// The checkpoint.
        path: std::path::PathBuf,
    },
    /// A checkpoint's state cannot be read.
    #[error("cannot resume from {}: {problem}; remove this folder to resume from the one before", path.display())]
    BadState {
        /// The checkpoint.
        path: std::path::PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The adapter cannot be read or written.
    #[error(transparent)]
    Adapter(#[from] crate::lora::LoraError),
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] crate::atomic_file::FileError),
}
