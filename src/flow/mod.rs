//! The nouns of qeval: plain data that one stage hands to the next.
//!
//! No I/O and no tensors here. Every stage imports these types; no type here knows a stage.

mod answer;
mod audit;
mod baseline;
mod calibration;
mod case;
mod commit;
mod comparison;
mod data;
mod drift;
mod event;
mod exam;
mod history;
mod measurement;
mod mutants;
mod next;
mod noise;
mod own_answers;
mod parting;
mod recorded;
mod score;
mod sign;
mod simulated;
mod spread;
mod subject;
mod tuning;
mod verdict;

pub use answer::{Answer, Finish, Likelihood, ServedAnswer, Thought};
pub use audit::{BaseLine, Finding, FindingKind, KindLine, Misjudged, SuiteAudit, SuiteLine};
pub use baseline::{AnswerOrigin, Baseline};
pub use calibration::Calibration;
pub use case::{
    CaseId, CheckSpec, Exchange, Expect, Generation, Goal, Golden, Probe, ProbeId, Suite,
};
pub use commit::Commit;
pub use comparison::{
    Candidate, CaseComparison, CheckComparison, Comparison, ProbeComparison, ProbeState,
    SAME_SCORE, SampleComparison,
};
pub use data::{DataOverview, DataRow, DataSource, LeftOutRow, RehearsalRow, Side};
pub use drift::Drift;
pub use event::{Phase, RunEvent};
pub use exam::{Exam, ExamSide, SettingDifference, SuiteDifference};
pub use history::{PastKeep, PastSuite, PastVerdict, asked_digest};
pub use measurement::Measurement;
pub use mutants::{LoneProbe, MutantLine, MutantReport, MutantSuite, Wanted};
pub use next::NextCommands;
pub use noise::{NoiseFloor, ProbeNoise, SuiteNoise};
pub use own_answers::{OwnAnswers, Predicted};
pub use parting::{PartedToken, Parting};
pub use recorded::{Recorded, RecordedAnswer};
pub use score::{CheckScore, Score};
pub use sign::{Sign, SignNoise, SignRule, SignVerdict};
pub use simulated::{
    FoundInRun, FoundShare, Grid, GridCell, GridRates, SimulatedGroup, SimulatedRun, Simulation,
    share_error,
};
pub use spread::{Alike, Spread};
pub use subject::{AdapterRef, ScaledCheckpoint, ServedModel, Subject};
#[cfg(test)]
pub(crate) use tuning::testing as tuning_testing;
pub use tuning::{
    TUNING_VERSION, TuneChoice, TuneFailure, TuneLoss, TunePlan, TunePoint, TuneRung, TuneSetting,
    TuneSpent, Tuning,
};
pub use verdict::*;
