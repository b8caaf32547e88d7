//! The wiring of stages, the only place where they meet: a loaded base ([`Session`]) is asked
//! [`Questions`] by an [`Evaluation`], a [`TrainingJob`] trains with an evaluation and a gate at
//! every checkpoint, and [`rehearse`] has the base answer prompts that are then trained on.

mod ask;
mod audit;
mod bench;
mod comparison;
mod drift;
pub mod embed;
mod error;
mod evaluate;
mod gating;
mod golden;
mod interrupt;
mod judge;
mod judge_server;
mod memory;
mod noise;
mod questions;
mod rehearsal;
mod sandbox;
mod scoring;
mod session;
mod stored;
mod training;

pub use ask::ask;
pub use audit::{audit, leaked, questions_of};
pub use bench::{Bench, Measured, Part, Rates, shape};
pub use comparison::compare_probes;
pub use drift::{Changed, drifts};
pub use embed::Embeddings;
pub use error::RunError;
pub use evaluate::{Candidate, Evaluation, Measurement};
pub use gating::{Gated, TrainEntry};
pub use golden::{GoldenOutcome, judge_goldens};
pub use interrupt::Interrupt;
pub use judge::{Ask, JUDGES, Judge, JudgeSettings};
pub use noise::{NoiseFloor, asked_again, noise_floor, second_base};
pub use questions::{ProbeChecks, Question, Questions};
pub use rehearsal::rehearse;
pub use sandbox::{Sandbox, SandboxLimits};
pub use scoring::{CheckSettings, Scoring};
pub use session::{Session, is_adapter};
pub use stored::{SUITES_FILE, recorded};
pub use training::{TrainOutcome, TrainingJob, training_answers};
