//! Prompts + subjects -> answers: one loaded base, any number of adapters, one batch.

mod divergence;
mod engine;
mod request;
mod sampler;
mod slots;

pub use divergence::{Divergence, divergence};
pub use engine::{Engine, EngineOptions, StepReport};
pub use request::{Finished, Request, Work};
pub use sampler::Sampling;
