//! `y = x / sqrt(mean(x^2) + eps) * weight` (Zhang & Sennrich 2019), over rows or over heads.

use crate::model::device::Device;

/// A frozen RMS norm.
pub struct RmsNorm<D: Device> {
    /// One number a feature.
    pub weight: D::Vector,
    /// Added to the mean square.
    pub eps: f32,
}
