//! A LoRA trainer wrapped in a test framework.

pub mod chat;
pub mod flow;
pub mod model;
pub mod random;
