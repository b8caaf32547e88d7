//! Verdicts and answers -> text for people and JSON for machines.
//!
//! Everything is rendered to a string from one [`View`], in one [`Style`]; only [`print()`] writes.
//! [`causes`](answer_causes) are worked out here too: they stand beside a verdict, never in it.

mod assertion;
mod audit;
mod causes;
mod checkpoints;
mod diff;
mod json;
mod junit;
mod markdown;
mod print;
mod probe;
mod side_by_side;
mod style;
mod terminal;
#[cfg(test)]
mod testing;
mod view;
mod wrap;

pub use assertion::{
    VERDICT, all_tests, probe_failure, probe_numbers, suite_failure, suite_numbers, verdict_failure,
};
pub use audit::audit_text;
pub use causes::{answer_causes, loss_cause, repeated_training_answer};
pub use checkpoints::{CheckpointRow, checkpoint_table};
pub use diff::changed_answers;
pub use json::{CandidateReport, ChangeReport, CheckpointReport, Report, TrainReport, VERSION};
pub use junit::{TestResult, junit};
pub use markdown::{MOST_CHARACTERS, markdown};
pub use print::print;
pub use probe::probe_changes;
pub use side_by_side::{AnswerCell, AnswerRow, side_by_side};
pub use style::{Style, Tone};
pub use terminal::{preview_lines, suite_table, summary_lines, verdict_block};
pub use view::{Arm, Candidate, Change, View};
