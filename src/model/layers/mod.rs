//! The parts of a decoder layer, each with its forward and its backward written by hand: weights
//! are frozen, so only gradients by activations and by low-rank parts exist.

mod attention;
mod linear;
mod mlp;
mod rms_norm;
mod rotary;

pub use attention::{Attention, Mixed};
pub use linear::{LayerSite, Linear, LowRank, LowRankGradient, NoLowRank, Share, Site};
pub use mlp::{Gated, Mlp};
pub use rms_norm::RmsNorm;
pub use rotary::Rotary;
