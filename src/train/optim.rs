//! AdamW (Loshchilov & Hutter 2019) as PyTorch computes it, in F32, with moments that can be saved.

use crate::lora::{Trainable, Trained};

use super::config::TrainSection;

/// The optimizer and its moments.
#[derive(Debug, Clone, PartialEq)]
pub struct AdamW {
    beta1: f64,
    beta2: f64,
    epsilon: f64,
    weight_decay: f64,
    /// Updates so far.
    pub updates: u64,
    /// First and second moment of every matrix, in the order of [`Trainable::matrices`].
    pub moments: Vec<Moments>,
}

/// Running means of one matrix's gradient.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    /// Of the gradient.
    pub first: Vec<f32>,
    /// Of its square.
    pub second: Vec<f32>,
}

impl AdamW {
    /// An optimizer whose moments are zero.
    pub fn new(section: &TrainSection, trainable: &Trainable) -> Self {
        let zeros = |m: &Trained| Moments {
            first: vec![0.0; m.value.len()],
            second: vec![0.0; m.value.len()],
        };
        AdamW {
            beta1: section.adam_beta1,
            beta2: section.adam_beta2,
            epsilon: section.adam_epsilon,
            weight_decay: section.weight_decay,
            updates: 0,
            moments: trainable.matrices().map(|(_, m)| zeros(m)).collect(),
        }
    }

    /// One update with the gradients as they are.
    pub fn update(&mut self, trainable: &mut Trainable, learning_rate: f64) {
        self.updates += 1;
        let t = self.updates as f64;
        let step_size = (learning_rate / (1.0 - self.beta1.powf(t))) as f32;
        let correction = (1.0 - self.beta2.powf(t)).sqrt() as f32;
        let (b2, epsilon) = (self.beta2 as f32, self.epsilon as f32);
        // Subtracted in F64: 1 - 0.999 in F32 is off by 1e-5 of itself, and so would every update be.
        let (new1, new2) = ((1.0 - self.beta1) as f32, (1.0 - self.beta2) as f32);
        let decay = (1.0 - learning_rate * self.weight_decay) as f32;
        let moments = &mut self.moments;
        trainable.update(|i, matrix| {
            let Moments { first, second } = &mut moments[i];
            let state = first.iter_mut().zip(second);
            for ((p, &g), (m, v)) in matrix.value.iter_mut().zip(&matrix.gradient).zip(state) {
                *m += new1 * (g - *m);
                *v = b2 * *v + new2 * g * g;
                *p = *p * decay - step_size * *m / (v.sqrt() / correction + epsilon);
            }
        });
    }
}

/// Euclidean norm of all gradients together.
pub fn gradient_norm(trainable: &Trainable) -> f64 {
    let square = |g: &f32| f64::from(*g) * f64::from(*g);
    trainable
        .matrices()
        .map(|(_, m)| m.gradient.iter().map(square).sum::<f64>())
        .sum::<f64>()
        .sqrt()
}

/// Scales all gradients so that their norm is at most `max_norm`, as PyTorch's `clip_grad_norm_`;
/// 0 leaves them. Returns the norm before.
pub fn clip(trainable: &mut Trainable, max_norm: f64) -> f64 {
    let norm = gradient_norm(trainable);
    let factor = max_norm / (norm + 1e-6);
    if max_norm > 0.0 && factor < 1.0 {
        trainable.scale_gradients(factor as f32);
    }
    norm
}
