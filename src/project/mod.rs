//! What a user asks of a project: a [`Project`] is opened once, an [`Order`] says what is measured
//! and how it is judged, and what came of it is stored under the digest of the order. Commands and
//! the test harness stand above it and only show.

mod ablating;
mod apart;
mod bisecting;
mod candidate;
mod data;
mod differences;
mod error;
mod exam;
mod gate_record;
mod history;
mod interview;
mod measure;
mod mutant_kinds;
mod mutant_report;
mod mutant_sizes;
mod mutants;
mod open;
mod order;
mod overrides;
mod recorded;
mod scaling;
mod serving;
mod simulating;
mod suites;
#[cfg(test)]
pub(crate) mod testing;
mod training;
mod tuning;
mod watch;
mod why;

pub use ablating::{Ablated, AblatedPart, Ablation, AblationProbes, Carries};
pub use bisecting::{BisectLook, BisectSearch, Bisected, VerdictSource};
pub use error::ProjectError;
pub use exam::ExamError;
pub use gate_record::{GatedCandidate, snapshot_context};
pub use history::History;
pub use interview::{Interview, InterviewOrder};
pub use measure::MeasuredOrder;
pub use mutants::MutantsError;
pub use open::{Listener, Project, use_threads};
pub use order::Order;
pub use overrides::Overrides;
pub use scaling::{ScaleFound, ScaleLook, ScaleSearch};
pub use training::{PreparedTraining, model_path};
pub use tuning::Tuned;
pub use watch::{CheckpointVerdict, Left, WatchEnd, WatchError, WatchEvent, WatchOrder, Watched};
pub use why::{ScaleScore, TrainingRow, Why};
