//! A LoRA trainer wrapped in a test framework: every checkpoint, and the base model as checkpoint
//! 0, answers probe suites; a run fails like a unit test when general ability regresses against the
//! base, and the verdict says how sure it is.
//!
//! ```text
//!                suites/*.toml                        examples.jsonl
//!                      |                                     |
//!                    suite                                 train ----> checkpoint-N/
//!                      |                                     |               |
//!      +--> Case + Subject (base, base + adapter)            |   each one, at its step
//!      |               |                                     |               |
//!      |           generate   one loaded base (model), any   |<--------------+
//!      |               |      adapters (lora), one batch     |
//!      |            Answer                                   |
//!      |               |                                     |
//!      |             check   -> Score                      continue, or stop
//!      |               |                                     |
//!      |            record   runs/RUN/answers/*.jsonl        |
//!      |               |                                     |
//!      |              gate   -> Verdict ---------------------+
//!      |               |
//!      +---- run    report, exit code
//!              |
//!           project  one order: opened, measured, recorded once
//!            /    \\
//!          cli   harness
//! ```
//!
//! | module | what it is |
//! |---|---|
//! | [`flow`] | the nouns that stages hand to each other: plain data, no I/O, no tensors |
//! | [`suite`] | TOML -> suites, probes, cases |
//! | [`import`] | other programs' files -> suite files |
//! | [`results`] | other programs' results -> what a gate judges |
//! | [`trainers`] | other trainers' folders -> checkpoints, whole or not yet |
//! | [`check`] | an answer and its evidence -> a score |
//! | [`chat`] | conversations <-> token ids |
//! | [`model`] | weights -> a decoder with forward and backward |
//! | [`lora`] | adapters on disk, in a batch, in training |
//! | [`generate`] | prompts and subjects -> answers, in one batch |
//! | [`server`] | the same of a model behind an OpenAI-compatible server |
//! | [`train`] | examples -> checkpoints |
//! | [`record`] | what a run leaves on disk |
//! | [`gate`] | paired scores -> a verdict; pure statistics |
//! | [`snapshot`] | what was said -> reviewed `.snap` files |
//! | [`report`] | records and verdicts -> people and machines |
//! | [`run`] | the wiring, the only place where stages meet |
//! | [`project`] | what a user asks of a project: opened once, ordered once, measured, recorded |
//! | [`config`] | `qeval.toml` |
//! | [`hub`] | a model's name -> files on disk |
//! | [`harness`] | the gate as a test binary |
//! | [`cli`] | one file per command |
//! | [`toml_file`] | TOML that people write, with every mistake and its place |
//! | [`guide`] | the guide, one topic a page |
//! | `gpu` | an NVIDIA GPU without a model: memory, products, kernels; with the feature `gpu` |
//! | [`exit`], [`text`], [`digest`], [`random`], [`half_type`], [`atomic_file`], [`file_text`], [`python_json`], [`child_process`] | leaves: they import nothing of ours |
//!
//! # Import rule
//! Leaves import nothing of ours; `flow`, `toml_file`, `chat`, and `gpu` import leaves alone. `check`,
//! `gate`, `record`, `snapshot`, and `report` import `flow` and leaves, never each other, never candle.
//! `suite` also imports `check::registry`, to refuse a bad check at load time, and like `config`
//! reads a `toml_file`; `import` imports `check::registry` and `suite`; `trainers` imports leaves
//! alone, and `server` and `results` `flow` and leaves, `config` the section of `server`. `lora` imports `model`; `generate` and
//! `train` import `chat`, `model`, `lora`, and `flow`, not each other: `train` shows its checkpoints to
//! a trait, which `run` implements with a gate. What runs on a GPU in `model`, `lora`,
//! `generate`, and `train` imports `gpu`. `project` imports stages and `run`, but no `report`: it shows
//! nothing. `cli` and `harness` stand above it, import all, and not each other. `tests/tidy.rs` reads
//! every `use crate::` and fails on another edge.

pub mod atomic_file;
pub mod chat;
pub mod check;
pub mod child_process;
pub mod cli;
pub mod config;
pub mod digest;
pub mod exit;
pub mod file_text;
pub mod flow;
pub mod gate;
pub mod generate;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod guide;
pub mod half_type;
pub mod harness;
pub mod hub;
pub mod import;
pub mod lora;
pub mod model;
pub mod project;
pub mod python_json;
pub mod random;
pub mod record;
pub mod report;
pub mod results;
pub mod run;
pub mod server;
pub mod snapshot;
pub mod suite;
pub mod text;
pub mod toml_file;
pub mod train;
pub mod trainers;
