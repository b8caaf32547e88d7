//! `y = x / sqrt(mean(x^2) + eps) * weight` (Zhang & Sennrich 2019), over rows or over heads.

use crate::model::Mat;
use crate::model::cpu;

/// A frozen RMS norm.
pub struct RmsNorm {
    /// One number a feature.
    pub weight: Vec<f32>,
    /// Added to the mean square.
    pub eps: f32,
}

impl RmsNorm {
    /// `[rows, n] -> [rows, n]`.
    pub fn forward(&self, x: &Mat) -> Mat {
        let mut y = Mat::zeros(x.rows(), x.cols);
        cpu::rms_norm(&x.data, &self.weight, self.eps, &mut y.data);
        y
    }

    /// Adds the gradient by `x` to `dx`.
    pub fn backward(&self, x: &Mat, dy: &Mat, dx: &mut Mat) {
        cpu::rms_norm_backward(&x.data, &self.weight, self.eps, &dy.data, &mut dx.data);
    }

    /// Normalizes one head in place.
    pub fn head(&self, head: &mut [f32]) {
        let x = head.to_vec();
        cpu::rms_norm(&x, &self.weight, self.eps, head);
    }

    /// Replaces the gradient by a normalized head with the gradient by the head `x`.
    pub fn head_backward(&self, x: &[f32], gradient: &mut [f32]) {
        let dy = gradient.to_vec();
        gradient.fill(0.0);
        cpu::rms_norm_backward(x, &self.weight, self.eps, &dy, gradient);
    }
}
