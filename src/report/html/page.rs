//! The data of a page, as its script reads it.
//!
//! Texts stand once, in [`Page::texts`], and are named by their place there: the answers of a base
//! and its candidates are mostly the same. Numbers come with the words that the other reports use
//! for them, so that no two reports round in two ways.

use serde::{Deserialize, Serialize};

use crate::flow::{Goal, ProbeState};
use crate::report::style::Tone;

use super::run::PageRun;

/// Version of [`Page`]. A page carries its own script, so nothing else has to read it; programs that
/// do find it here.
pub const PAGE_VERSION: u32 = 1;

/// All that a page shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// [`PAGE_VERSION`].
    pub version: u32,
    /// Version of the program that wrote it.
    pub qeval: String,
    /// Who the candidates are compared with.
    pub base: PageBase,
    /// In the order to show.
    pub candidates: Vec<PageCandidate>,
    /// Training runs with their checkpoints.
    pub runs: Vec<PageRun>,
    /// What the probes are of.
    pub suites: Vec<PageSuite>,
    /// Every probe that was asked.
    pub probes: Vec<PageProbe>,
    /// Every text that the probes name.
    pub texts: Vec<String>,
    /// What a reader should know of the page.
    pub notes: Vec<String>,
}

/// The control arm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageBase {
    /// As the user named it.
    pub name: String,
    /// With what identifies it.
    pub label: String,
}

/// A candidate with its verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PageCandidate {
    /// As the user named it.
    pub name: String,
    /// With what identifies it.
    pub label: String,
    /// Its verdict is shown at the top; those of other checkpoints are in a table.
    pub featured: bool,
    /// Its answers are in the page.
    pub answers: bool,
    /// The verdict in a word or three.
    pub headline: String,
    /// How the headline is meant.
    pub tone: Tone,
    /// Reasons, causes, notes.
    pub lines: Vec<PageLine>,
    /// One a suite.
    pub rows: Vec<PageRow>,
    /// All `keep` suites together, where any was measured.
    pub pooled: Option<PageRow>,
    /// What to type next; empty where nothing would do.
    pub next: String,
}

/// A sentence beside a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageLine {
    /// What it is: `because`, `learned`, `note`.
    pub head: String,
    /// How it is meant.
    pub tone: Tone,
    /// The sentence; names stand between back ticks.
    pub text: String,
}

/// What a suite, or all `keep` suites together, came to: words for a table, numbers for a bar.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PageRow {
    /// Name of the suite.
    pub suite: String,
    /// Keep or learn.
    pub goal: Goal,
    /// It is the row of all `keep` suites.
    pub pooled: bool,
    /// What it came to.
    pub state: String,
    /// How that is meant.
    pub tone: Tone,
    /// `keep -0.10`, `learn 0.80`.
    pub aim: String,
    /// How many, and how many were left out.
    pub probes: Option<String>,
    /// Mean of the base.
    pub base: Option<String>,
    /// Mean of the candidate.
    pub candidate: Option<String>,
    /// The difference with its ends.
    pub change: Option<String>,
    /// How far the base differs from itself.
    pub noise: Option<String>,
    /// Why it is what it is.
    pub reasons: Vec<String>,
    /// `keep`: largest tolerated loss.
    pub margin: Option<f64>,
    /// `learn`: mean to reach.
    pub target: Option<f64>,
    /// `keep`: the smallest loss that this many probes can exclude.
    pub smallest: Option<f64>,
    /// For the bar; `None` where nothing was measured.
    pub numbers: Option<PageNumbers>,
}

/// The numbers of a bar, as in [`crate::flow::Estimate`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PageNumbers {
    /// Mean of the base, in [0, 1].
    pub base_mean: f64,
    /// Mean of the candidate, in [0, 1].
    pub candidate_mean: f64,
    /// Candidate minus base, in [-1, 1].
    pub difference: f64,
    /// Its lower end.
    pub lower: f64,
    /// Its upper end.
    pub upper: f64,
    /// Of each end by itself.
    pub confidence: f64,
    /// Probes in the means.
    pub probes: usize,
}

/// A suite by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageSuite {
    /// Its name.
    pub name: String,
    /// Keep or learn; `None` where only answers of it are known.
    pub goal: Option<Goal>,
    /// What it watches.
    pub description: Option<String>,
}

/// A probe with every answer to it. `usize` names a text but in `suite`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PageProbe {
    /// Place in [`Page::suites`].
    pub suite: usize,
    /// Its name in the suite.
    pub id: String,
    /// Free words of the suite's file.
    pub tags: Vec<String>,
    /// It can be a regression on its own.
    pub critical: bool,
    /// How far the base differs from itself here.
    pub noise: Option<f64>,
    /// Its own system prompt.
    pub system: Option<usize>,
    /// User and assistant of what was said before.
    pub history: Vec<[usize; 2]>,
    /// One a candidate, in their order; `None` where it was not asked.
    pub of: Vec<Option<PageOf>>,
    /// Its wordings.
    pub cases: Vec<PageCase>,
}

/// What a probe came to for one candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PageOf {
    /// Kept, lost, gained, unscored.
    pub state: ProbeState,
    /// Mean score of the base over the draws that both were scored on.
    pub base: Option<f64>,
    /// The candidate's.
    pub score: Option<f64>,
    /// Candidate minus base.
    pub change: Option<f64>,
    /// A text or a score of it is another.
    pub changed: bool,
}

/// A wording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PageCase {
    /// The prompt.
    pub prompt: usize,
    /// One a draw.
    pub draws: Vec<PageDraw>,
    /// One a candidate, how it parts from the accepted answer; empty where none does.
    pub drift: Vec<Option<PageDrift>>,
}

/// One draw of all: lists begin with the base, and go on in the order of the candidates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PageDraw {
    /// What was said; `None` where only likelihoods were measured or nothing was asked.
    pub answers: Vec<Option<usize>>,
    /// What was thought before; empty where nobody thought.
    pub thinking: Vec<Option<usize>>,
    /// The lowest of the checks; `None` where unscored.
    pub scores: Vec<Option<f64>>,
    /// One went on beyond its `max_new_tokens`.
    pub continued: bool,
    /// In the order of the suite.
    pub checks: Vec<PageCheck>,
}

/// One check of all answers of a draw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PageCheck {
    /// As written in the suite.
    pub kind: String,
    /// `None` where unscored.
    pub scores: Vec<Option<f64>>,
    /// Evidence, or why there is no score; `None` where nothing was asked.
    pub reasons: Vec<Option<usize>>,
}

/// How an answer parts from the accepted one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PageDrift {
    /// The first token that differs.
    pub token: usize,
    /// The accepted text from there on.
    pub accepted: usize,
    /// The new one.
    pub now: usize,
    /// Log-probability of the new token less that of the accepted one.
    pub gap: Option<f64>,
}
