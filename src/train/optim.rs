//! AdamW (Loshchilov & Hutter 2019) as PyTorch computes it, in F32, with moments that can be saved.

use crate::lora::{Trainable, TrainedMatrix};

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
        let zeros = |m: &TrainedMatrix| Moments {
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

    /// The numbers of the next update, which counts as done.
    pub fn next_update(&mut self, learning_rate: f64) -> UpdateNumbers {
        self.updates += 1;
        let t = self.updates as f64;
        UpdateNumbers {
            // Subtracted in F64: 1 - 0.999 in F32 is off by 1e-5 of itself, and so would every
            // update be.
            new_first: (1.0 - self.beta1) as f32,
            new_second: (1.0 - self.beta2) as f32,
            old_second: self.beta2 as f32,
            epsilon: self.epsilon as f32,
            decay: (1.0 - learning_rate * self.weight_decay) as f32,
            step: (learning_rate / (1.0 - self.beta1.powf(t))) as f32,
            correction: (1.0 - self.beta2.powf(t)).sqrt() as f32,
        }
    }

    /// One update with the gradients as they are.
    pub fn update(&mut self, trainable: &mut Trainable, learning_rate: f64) {
        let n = self.next_update(learning_rate);
        let moments = &mut self.moments;
        trainable.update(|i, matrix| {
            let Moments { first, second } = &mut moments[i];
            let state = first.iter_mut().zip(second);
            for ((p, &g), (m, v)) in matrix.value.iter_mut().zip(&matrix.gradient).zip(state) {
                *m += n.new_first * (g - *m);
                *v = n.old_second * *v + n.new_second * g * g;
                *p = *p * n.decay - n.step * *m / (v.sqrt() / n.correction + n.epsilon);
            }
        });
    }
}

/// What one update multiplies and adds, whatever device it runs on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UpdateNumbers {
    /// 1 - beta1.
    pub new_first: f32,
    /// beta2.
    pub old_second: f32,
    /// 1 - beta2.
    pub new_second: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// 1 - learning rate * weight decay.
    pub decay: f32,
    /// learning rate / (1 - beta1^t).
    pub step: f32,
    /// sqrt(1 - beta2^t).
    pub correction: f32,
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
    if let Some(factor) = clip_factor(norm, max_norm) {
        trainable.scale_gradients(factor as f32);
    }
    norm
}

/// What gradients of this norm are multiplied with; `None` leaves them.
pub(super) fn clip_factor(norm: f64, max_norm: f64) -> Option<f64> {
    let factor = max_norm / (norm + 1e-6);
    (max_norm > 0.0 && factor < 1.0).then_some(factor)
}
