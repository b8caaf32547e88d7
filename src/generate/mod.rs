//! Prompts + subjects -> answers: one loaded base, any number of adapters, one batch.

mod divergence;
mod engine;
#[cfg(feature = "gpu")]
mod gpu;
mod request;
mod sampler;
mod slots;
mod spread;
mod stepper;

pub use divergence::{Divergence, divergence};
pub use engine::{Engine, EngineOptions, StepReport};
pub use request::{Finished, Request, Work};
pub use sampler::{Sampling, draw};
pub use spread::Spread;
