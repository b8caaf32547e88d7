//! Everything together, on the small models of `fixtures/`, in seconds.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

/// The reference for gradients.
mod autograd;
/// Gradients and optimizer against PyTorch.
mod gradients;
/// What must not change a bit.
mod invariance;
/// Logits against transformers and peft.
mod parity;
/// Hostile programs.
mod sandbox;
/// What the others share.
mod support;
