//! Frequencies of the rotary embedding.
//!
//! Without scaling, frequency `i` of `head_dim / 2` is `rope_theta^(-2i / head_dim)`. The
//! arithmetic is in F32, step by step as transformers does it (`modeling_rope_utils.py`), because
//! a late position multiplies every rounding of a frequency by the position.

/// How a checkpoint stretches its rotary embedding over more positions than it was trained on.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// Every frequency divided by one factor.
    Linear {
        /// At least 1.
        factor: f64,
    },
    /// Llama 3: low frequencies divided, high ones kept, a ramp between.
    Llama3 {
        /// Divides the low frequencies; at least 1.
        factor: f64,
        /// Wavelengths above `original_max_position_embeddings / low_freq_factor` are low.
        low_freq_factor: f64,
        /// Wavelengths below `original_max_position_embeddings / high_freq_factor` are high.
        high_freq_factor: f64,
        /// Positions before the stretch.
        original_max_position_embeddings: usize,
    },
    /// Each frequency divided by its own factor, as the `rope_freqs.weight` of a GGUF file says.
    PerFrequency {
        /// `head_dim / 2` positive numbers.
        factors: Vec<f32>,
    },
}

/// The `head_dim / 2` frequencies, in radians a position.
pub(super) fn inv_freq(
    head_dim: usize,
    rope_theta: f64,
    scaling: Option<&RopeScaling>,
) -> Vec<f32> {
    let plain = (0..head_dim / 2).map(|i| {
        let exponent = (2 * i) as f32 / head_dim as f32;
        1.0 / (rope_theta.powf(f64::from(exponent)) as f32)
    });
    match scaling {
        None => plain.collect(),
        Some(RopeScaling::Linear { factor }) => plain.map(|f| f / *factor as f32).collect(),
        Some(RopeScaling::PerFrequency { factors }) => {
            plain.zip(factors).map(|(f, by)| f / by).collect()
        }
        Some(RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_position_embeddings,
        }) => {
            let (factor, low, high) = (
                *factor as f32,
                *low_freq_factor as f32,
                *high_freq_factor as f32,
            );
            let original = *original_max_position_embeddings as f32;
            plain
                .map(|f| {
                    let wavelength = 2.0 * std::f32::consts::PI / f;
                    if wavelength > original / low {
                        f / factor
                    } else if wavelength < original / high {
                        f
                    } else {
                        let smooth = (original / wavelength - low) / (high - low);
                        (1.0 - smooth) * f / factor + smooth * f
                    }
                })
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_frequencies_fall_from_one() {
        let f = inv_freq(8, 10_000.0, None);
        for (found, expected) in f.iter().zip([1.0, 0.1, 0.01, 0.001]) {
            assert!((found / expected - 1.0).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn linear_divides_every_frequency() {
        let scaling = RopeScaling::Linear { factor: 4.0 };
        assert_eq!(inv_freq(4, 10_000.0, Some(&scaling)), [0.25, 0.0025]);
    }

    #[test]
    fn per_frequency_divides_each_by_its_own() {
        let scaling = RopeScaling::PerFrequency {
            factors: vec![1.0, 8.0],
        };
        let plain = inv_freq(4, 10_000.0, None);
        assert_eq!(
            inv_freq(4, 10_000.0, Some(&scaling)),
            [plain[0], plain[1] / 8.0]
        );
    }

    /// By hand from the formula, for the numbers of Llama 3.1: head 128, theta 500,000, factor 8,
    /// low 1, high 4, 8192 positions. The ramp covers wavelengths from 2048 to 8192.
    #[test]
    fn llama3_keeps_high_divides_low_and_ramps_between() {
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 8192,
        };
        let plain = inv_freq(128, 500_000.0, None);
        let scaled = inv_freq(128, 500_000.0, Some(&scaling));
        let mut kinds = [0; 3];
        for (p, s) in plain.iter().zip(&scaled) {
            let wavelength = 2.0 * std::f64::consts::PI / f64::from(*p);
            let kind = if wavelength < 2048.0 {
                assert_eq!(p, s);
                0
            } else if wavelength > 8192.0 {
                assert_eq!(p / 8.0, *s);
                2
            } else {
                let share = (8192.0 / wavelength - 1.0) / 3.0;
                let expected = f64::from(*p) * ((1.0 - share) / 8.0 + share);
                assert!(
                    (f64::from(*s) / expected - 1.0).abs() < 1e-6,
                    "{s} {expected}"
                );
                1
            };
            kinds[kind] += 1;
        }
        assert_eq!(kinds, [29, 6, 29]);
    }
}
