//! Verdicts and answers -> text for people and JSON for machines.
//!
//! Every report on a comparison is rendered from one [`crate::flow::Comparison`], so that no two can
//! disagree, to a string in one [`Style`]; only [`print()`] and the progress bars write.

mod ablation;
mod answers;
mod assertion;
mod audit;
mod bars;
mod baseline;
mod bisect;
mod changes;
mod checkpoints;
mod data;
mod diff;
mod exam;
mod export;
mod flowing;
mod frontier;
mod frontier_svg;
mod glance;
mod history;
mod html;
mod json;
mod junit;
mod markdown;
mod mutants;
mod print;
mod probe;
mod progress;
mod said;
mod scales;
mod side_by_side;
mod simulation;
mod simulation_grid;
mod spread;
mod standing;
mod style;
mod suite_list;
mod terminal;
#[cfg(test)]
mod testing;
mod why;
mod worst;
mod wrap;

pub use ablation::{AblatedRow, AblationReport, AskedProbes, WrittenWithout, ablation_text};
pub use answers::{AnswerEnd, LiveAnswers};
pub use assertion::{
    VERDICT, all_tests, probe_failure, probe_numbers, probe_remark, suite_failure, suite_numbers,
    verdict_failure,
};
pub use audit::audit_text;
pub use baseline::{baseline_lines, baseline_notes};
pub use bisect::{BisectReport, BisectRow, bisect_text};
pub use changes::{ChangedAnswer, changes};
pub use checkpoints::{CheckpointRow, checkpoint_table};
pub use data::data_text;
pub use diff::{AnswerLength, changed_answers};
pub use exam::{exam_lines, exam_notes};
pub use export::{Exporter, PutFile, csv, evalscope, file_name, inspect, lm_eval, parquet};
pub use frontier::{tune_plan, tune_summary, tune_table, unseen_lines};
pub use frontier_svg::frontier_svg;
pub use glance::Glance;
pub use history::{PastVerdicts, history_text};
pub use html::{
    PAGE_VERSION, Page, PageBase, PageCandidate, PageCase, PageCheck, PageCheckpoint, PageDraw,
    PageDrift, PageLine, PageNumbers, PageOf, PageParts, PageProbe, PageRow, PageRun, PageSubject,
    PageSuite, RunLosses, html, page,
};
pub use json::{CandidateReport, ChangeReport, CheckpointReport, Report, TrainReport, VERSION};
pub use junit::{TestResult, junit};
pub use markdown::{MOST_CHARACTERS, markdown};
pub use mutants::mutants_text;
pub use print::print;
pub use probe::probe_changes;
pub use progress::Progress;
pub use said::{failed_of, said_by};
pub use scales::{ScaleLookReport, ScaleReport, ScaleRow, scale_table};
pub use side_by_side::{AnswerCell, AnswerRow, side_by_side};
pub use simulation::simulation_text;
pub use simulation_grid::grid_text;
pub use spread::spread_lines;
pub use style::{Style, Tone};
pub use suite_list::suite_list;
pub use terminal::{preview_lines, suite_table, summary_lines, verdict_block};
pub use why::{NearestRow, WhyReport, WhyScale, why_text};
pub use worst::worst_answers;
