//! Rotary position embedding (Su et al. 2021) in the half-split layout of Hugging Face.
//!
//! Tables are F32 whatever the model's dtype: bf16 rounds positions past 256.

/// Cosines and sines by position.
pub struct Rotary {
    half: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Rotary {
    /// Tables of `positions` rows from the inverse frequencies, one a pair of numbers.
    pub fn new(inv_freq: &[f32], positions: usize) -> Self {
        let angles = (0..positions).flat_map(|p| inv_freq.iter().map(move |f| p as f32 * f));
        let (cos, sin) = angles.map(|a| (a.cos(), a.sin())).unzip();
        Rotary {
            half: inv_freq.len(),
            cos,
            sin,
        }
    }

    /// Cosines and sines of one position.
    pub fn at(&self, position: usize) -> (&[f32], &[f32]) {
        let range = position * self.half..(position + 1) * self.half;
        (&self.cos[range.clone()], &self.sin[range])
    }
}
