//! What a run leaves on disk: its provenance, and one JSONL of answers and scores per subject.
//!
//! # Format 1
//! ```text
//! runs/
//!   run-0001/
//!     provenance.json       what made the numbers: digests, versions, device, seed, config
//!     train.jsonl           one line a logged step, when the run trains
//!     events.out.tfevents.* the same numbers for TensorBoard, a file a process that trained
//!     checkpoint-40/        adapters; subject `ckpt-40`; its `trainer_state.json` is for others
//!     answers/base.jsonl    one file a subject, below
//!     answers/ckpt-40.jsonl
//!     .lock                 held by the process that writes
//!   history.jsonl           a line a verdict, for `qeval history`
//! ```
//! A file of answers is UTF-8, one JSON object a line, with one key that names its kind:
//!
//! | line | content |
//! |---|---|
//! | `{"header": {..}}` | first and once: `format`, `subject`, `engine`, `base`, `digest` ([`Header`]) |
//! | `{"suites": {name: digest}}` | the suites that later lines are about; a changed digest voids the scores of that suite so far |
//! | `{"answered": {"key": .., "answer": {..}}}` | a finished answer ([`crate::flow::Answer`]), and `at`, when; `continued` where it went on beyond its budget |
//! | `{"measured": {"key": .., "likelihood": {..}}}` | a text's likelihood ([`crate::flow::Likelihood`]) |
//! | `{"scored": {"case": .., "sample": .., "checks": [..], "score": {..}}}` | what the checks said |
//!
//! Each line is one `write` call when its item is finished, and counts once its newline is there:
//! a crash loses the answers in flight, at most one per slot. A torn last line is ignored by
//! readers and cut off by the next writer; a line that cannot be read before it is an error with
//! its number. A later line about the same case and sample replaces an earlier one.
//!
//! `key` is a digest of everything that decides an answer ([`answer_key`]). Answers are looked up
//! by it in the records of every run ([`AnswerCache`]), so that none is generated twice. If a
//! subject of the same name comes back with another digest, its old file is kept for look-ups as
//! `NAME.DIGEST.superseded.jsonl`.
//!
//! A change of any of this raises [`FORMAT`] and leaves a fixture of the old format in
//! `fixtures/records/`, which has to stay readable.

mod cache;
mod commit;
mod error;
mod event_file;
mod format;
mod kept;
mod key;
mod lock;
mod past;
mod provenance;
mod reader;
mod store;
mod subject;
#[cfg(test)]
mod testing;
mod train_log;
mod trainer_state;
mod writer;

pub use cache::AnswerCache;
pub use commit::commit_of;
pub use error::RecordError;
pub use event_file::EventFile;
pub use format::{Answered, FORMAT, Header, MeasuredText, Scored, ServerRecord, SubjectRecord};
pub use kept::{damaged, read_kept};
pub use key::{answer_key, likelihood_key, served_answer_key, served_likelihood_key};
pub use lock::RunLock;
pub use past::{history_file, keep_verdict, read_history};
pub use provenance::{BaseProvenance, Provenance, SuiteProvenance};
pub use reader::{read_header, read_record};
pub use store::{Checkpoint, RecordEntry, Run, Store};
pub use subject::{SubjectSource, SubjectSpec};
pub use train_log::TrainLog;
pub use trainer_state::{TRAINER_STATE, TrainerStateFile};
pub use writer::RecordWriter;
