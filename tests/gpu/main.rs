//! The GPU against the CPU: every operation, the decoder, answers, and training. Each test passes
//! with a word about it where there is no GPU.

#![cfg(feature = "gpu")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(
    clippy::print_stderr,
    reason = "how far apart the devices are is worth seeing"
)]

mod answers;
mod decoder;
mod operations;
mod real_model;
mod support;
mod training;
