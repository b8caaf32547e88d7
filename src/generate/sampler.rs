//! Logits -> the next token: greedy, or drawn after temperature, top-k, and top-p.
//!
//! The order is that of Hugging Face transformers: repetition penalty (Keskar et al. 2019),
//! temperature, top-k (Fan et al. 2018), top-p (Holtzman et al. 2020).

use crate::random::{Philox, Purpose, unit};

/// How tokens are chosen.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Sampling {
    /// Softmax temperature; 0 is greedy.
    pub temperature: f32,
    /// Only the k most likely tokens can be drawn; 0 is no limit.
    pub top_k: usize,
    /// Only the most likely tokens up to this mass can be drawn; 1 is no limit.
    pub top_p: f32,
    /// Logits of tokens in the context are divided by this (multiplied when negative); 1 is none.
    pub repetition_penalty: f32,
}

impl Default for Sampling {
    /// Greedy.
    fn default() -> Self {
        Sampling {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            repetition_penalty: 1.0,
        }
    }
}

/// The number in [0, 1) that token `place` of the answer with this seed is drawn with. Subjects
/// share seeds, so base and candidate draw the same numbers.
pub fn draw(seed: u64, place: usize) -> f32 {
    let place = place as u64;
    unit(
        Philox::new(seed).block([
            0,
            place as u32,
            (place >> 32) as u32,
            Purpose::Sampling as u32,
        ])[0],
    )
}

impl Sampling {
    /// Chooses among `logits`; `context` yields every token so far, `u` is in [0, 1). The lowest
    /// id wins a tie.
    pub fn choose(&self, logits: &[f32], context: impl Iterator<Item = u32>, u: f32) -> u32 {
        let penalized;
        let mut logits = logits;
        if self.repetition_penalty != 1.0 {
            penalized = self.penalize(logits, context);
            logits = &penalized;
        }
        if self.temperature <= 0.0 {
            return greedy(logits);
        }
        let mut ranked: Vec<u32> = (0..logits.len() as u32).collect();
        let by_logit = |a: &u32, b: &u32| {
            logits[*b as usize]
                .total_cmp(&logits[*a as usize])
                .then(a.cmp(b))
        };
        if self.top_k > 0 && self.top_k < ranked.len() {
            ranked.select_nth_unstable_by(self.top_k - 1, by_logit);
            ranked.truncate(self.top_k);
        }
        ranked.sort_unstable_by(by_logit);
        let top = logits[ranked[0] as usize];
        let weights: Vec<f64> = ranked
            .iter()
            .map(|&id| f64::from((logits[id as usize] - top) / self.temperature).exp())
            .collect();
        let total: f64 = weights.iter().sum();
        let mut kept = weights.len();
        if self.top_p < 1.0 {
            let mut mass = 0.0;
            // A token stays when the mass before it has not reached top_p: one always stays.
            kept = weights
                .iter()
                .take_while(|w| {
                    let stays = mass < f64::from(self.top_p) * total;
                    mass += **w;
                    stays
                })
                .count()
                .max(1);
        }
        let mut left = f64::from(u) * weights[..kept].iter().sum::<f64>();
        for (id, weight) in ranked.iter().zip(&weights[..kept]) {
            left -= weight;
            if left < 0.0 {
                return *id;
            }
        }
        ranked[kept - 1]
    }

    fn penalize(&self, logits: &[f32], context: impl Iterator<Item = u32>) -> Vec<f32> {
        let mut penalized = logits.to_vec();
        for id in context {
            // From the untouched logits: a token that occurs twice is penalized once.
            let (Some(target), Some(&logit)) =
                (penalized.get_mut(id as usize), logits.get(id as usize))
            else {
                continue;
            };
            *target = if logit > 0.0 {
                logit / self.repetition_penalty
            } else {
                logit * self.repetition_penalty
            };
        }
        penalized
    }
}

fn greedy(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (id, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = id;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 5] = [0.0, 2.0, 1.0, 2.0, -1.0];

    fn frequencies(sampling: Sampling) -> Vec<f64> {
        let mut counts = vec![0.0; LOGITS.len()];
        for place in 0..20_000 {
            counts[sampling.choose(&LOGITS, std::iter::empty(), draw(7, place)) as usize] +=
                1.0 / 20_000.0;
        }
        counts
    }

    fn softmax(temperature: f64, ids: &[usize]) -> Vec<f64> {
        let weight = |id: usize| (f64::from(LOGITS[id]) / temperature).exp();
        let total: f64 = ids.iter().map(|&id| weight(id)).sum();
        (0..LOGITS.len())
            .map(|id| {
                if ids.contains(&id) {
                    weight(id) / total
                } else {
                    0.0
                }
            })
            .collect()
    }

    #[test]
    fn greedy_takes_the_first_of_equals() {
        assert_eq!(
            Sampling::default().choose(&LOGITS, std::iter::empty(), 0.9),
            1
        );
    }

    #[test]
    fn draws_follow_the_distribution() {
        let sampling = Sampling {
            temperature: 0.7,
            ..Default::default()
        };
        for (got, want) in frequencies(sampling)
            .iter()
            .zip(softmax(0.7, &[0, 1, 2, 3, 4]))
        {
            assert!((got - want).abs() < 0.015, "{got} against {want}");
        }
    }

    #[test]
    fn top_k_and_top_p_cut_the_tail() {
        let k = frequencies(Sampling {
            temperature: 1.0,
            top_k: 3,
            ..Default::default()
        });
        for (got, want) in k.iter().zip(softmax(1.0, &[1, 2, 3])) {
            assert!((got - want).abs() < 0.015, "{got} against {want}");
        }
        // 0.39 + 0.39 reach 0.6: the rest is cut.
        let p = frequencies(Sampling {
            temperature: 1.0,
            top_p: 0.6,
            ..Default::default()
        });
        for (got, want) in p.iter().zip(softmax(1.0, &[1, 3])) {
            assert!((got - want).abs() < 0.015, "{got} against {want}");
        }
    }

    #[test]
    fn repetition_penalty_counts_a_token_once() {
        let sampling = Sampling {
            repetition_penalty: 1.5,
            ..Default::default()
        };
        assert_eq!(sampling.choose(&LOGITS, [1, 1, 1].into_iter(), 0.0), 3);
        let penalized = sampling.penalize(&LOGITS, [1, 1, 4].into_iter());
        assert_eq!(penalized, [0.0, 2.0 / 1.5, 1.0, 2.0, -1.5]);
    }

    #[test]
    fn draws_depend_on_seed_and_place_alone() {
        assert_eq!(draw(1, 5), draw(1, 5));
        assert_ne!(draw(1, 5), draw(2, 5));
        assert_ne!(draw(1, 5), draw(1, 6));
    }
}
