//! Prompts + subjects -> answers: one loaded base, any number of adapters, one batch.

mod divergence;
mod engine;
mod engines;
#[cfg(feature = "gpu")]
mod gpu;
mod request;
mod sampler;
mod slots;
mod stepper;

pub use divergence::{Divergence, divergence};
pub use engine::{Engine, EngineOptions, StepReport};
pub use engines::Engines;
pub use request::{Finished, Request, Work};
pub use sampler::{Sampling, draw};
