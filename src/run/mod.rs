//! The wiring of stages, the only place where they meet: a loaded base ([`Session`]) is asked
//! ([`Asking`]) [`Questions`] by an [`Evaluation`], what was measured is judged ([`compare`]), a
//! [`TrainingJob`] trains with an evaluation and a gate at every checkpoint, [`rehearse`] has the
//! base answer prompts that are then trained on, and a [`TuningJob`] tries many settings of one.

mod answer;
mod ask;
mod asking;
mod audit;
mod bench;
mod built_checks;
mod calibration;
mod causes;
mod comparison;
mod continuing;
mod drift;
mod early;
pub mod embed;
mod error;
mod evaluate;
mod findings;
mod further;
mod gating;
mod golden;
mod interrupt;
mod judge;
mod judge_server;
mod lora_settings;
mod memory;
mod mutants;
mod nearest_rows;
mod noise;
mod own_answers;
mod paraphrase;
mod parting;
mod prompting;
mod questions;
mod rehearsal;
mod rehearsal_choice;
mod rendering;
mod respondent;
mod room;
mod rubric;
mod run_config;
mod sandbox;
mod scoring;
mod serving;
mod session;
mod signs;
mod stored;
mod stored_part;
#[cfg(test)]
pub(crate) mod testing;
mod traces;
mod training;
mod training_request;
mod training_rows;
mod tuning;

pub use answer::{AnswerSettings, Heard, Listening, Put, Said, answer};
pub use ask::ask;
pub use asking::{Asking, Bar};
pub use audit::{audit, leaked, questions_of};
pub use bench::{Bench, Benchmark, Part, Rates, shape};
pub use built_checks::{BuiltChecks, ProbeChecks};
pub use causes::{common_answer, loss_cause};
pub use comparison::{compare, probe_digest};
pub use drift::{Changed, drifts};
pub use early::judge_checkpoint;
pub use embed::Embeddings;
pub use error::RunError;
pub use evaluate::{Evaluation, LoadedSubject};
pub use further::Further;
pub use gating::{GateResult, GatedCheckpoint, GatedScale, TrainEntry, looks};
pub use golden::{GoldenOutcome, judge_goldens};
pub use interrupt::{Glances, Interrupt};
pub use judge::{JUDGES, Judge, JudgeSettings};
pub use mutants::{BadTraining, MUTANTS, TrainedMutants, train_mutants};
pub use nearest_rows::{NearRow, nearest_by_words};
pub use noise::{asked_again, noise_floor, second_base};
pub use own_answers::own_answers;
pub use paraphrase::{
    PARAPHRASES, Paraphrase, ParaphrasePlan, ParaphraseTally, Paraphrases, paraphrase,
};
pub use parting::parting;
pub use prompting::{Prompting, USUAL_THINKING};
pub use questions::{Question, Questions};
pub use rehearsal::rehearse;
pub use rehearsal_choice::{RehearsalChoice, RehearsalFile, choose_rehearsal};
pub use rendering::Rendering;
pub use room::{Demand, Planned, may_load, plan, size};
pub use rubric::RubricQuestion;
pub use run_config::{
    EvaluationConfig, RunConfig, RunProvenance, TrainingConfig, begun, begun_served,
    evaluation_run, training_run,
};
pub use sandbox::{Sandbox, SandboxLimits};
pub use scoring::{CheckSettings, Scoring};
pub use serving::{Serving, served_identity};
pub use session::Session;
pub use stored::{SUITES_FILE, recorded};
pub use stored_part::{StoredPart, stored_part};
pub use training::{TrainOutcome, TrainingJob};
pub use training_request::{TrainingRequest, training_answers};
pub use tuning::{Setting, TuneBudget, TuneOutcome, TuningConfig, TuningJob, unseen};
