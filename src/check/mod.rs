//! Rules that turn an answer into a score.
//!
//! A suite names a rule by its kind and parameters ([`crate::flow::CheckSpec`]); [`registry`]
//! makes it a [`Check`]. A check says what it wants measured ([`Needs`]): an answer, likelihoods
//! of given texts, embeddings, training answers, a program's outcome. The run measures that and
//! hands it back as [`Evidence`]. A check calls no model, starts no process, and never guesses:
//! without its evidence the answer is unscored.
//!
//! ```
//! use qeval::check::registry;
//! use qeval::flow::{CheckSpec, Expect, Golden};
//!
//! let check = registry::build(&CheckSpec {
//!     kind: "number".into(),
//!     negated: false,
//!     params: serde_json::from_str(r#"{"value": 12, "unit": "km"}"#)?,
//! })?;
//! let score = |text: &str| {
//!     let golden = Golden {
//!         answer: text.into(),
//!         expect: Expect::Pass,
//!         siblings: Vec::new(),
//!         training_answers: Vec::new(),
//!     };
//!     registry::score_golden(check.as_ref(), &golden, Default::default())
//! };
//! assert_eq!(score("It is twelve km.").value(), Some(1.0));
//! assert_eq!(score("It is 12 miles.").value(), Some(0.0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod code;
mod consistent;
mod contains;
mod error;
mod evidence;
mod exact;
mod golden;
mod group;
mod json;
mod language;
mod length;
mod levenshtein;
mod likelihood;
mod memorized;
mod negate;
mod number;
mod params;
mod pattern;
mod perplexity;
mod refusal;
pub mod registry;
mod rouge;
mod rubric;
mod schema_size;
mod sign;
mod similarity;

pub use code::{
    ALL_CASES_SECONDS, PARENT_VARIABLE, PYTHON_VARIABLE, WORKER_CODE, WORKER_MEMORY_MIB,
    WORKER_PYTHON, WORKER_VARIABLE, python_outcome, run_worker_if_asked,
};
pub use error::{CheckError, CheckProblem};
pub use evidence::{
    CaseResult, Check, Evidence, Judgement, Judgements, Needs, Program, ProgramCase, ProgramOutcome,
};
pub use sign::{Taught, Trained, longest_common_run, repeated_training_answer, signs_of};
