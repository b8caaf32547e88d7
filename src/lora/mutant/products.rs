//! A pair of matrices changed by itself: norms and products, other factorizations, other numbers.

use crate::lora::LowRankPair;
use crate::model::{ModuleId, Projection};
use crate::random::{Draws, Philox, Purpose};

/// The draws of a module.
fn draws(seed: u64, id: ModuleId) -> Draws {
    let kinds = Projection::ALL.len() as u64;
    let kind = Projection::ALL.iter().position(|p| *p == id.projection);
    let place = id.layer as u64 * kinds + kind.unwrap_or_default() as u64;
    Philox::new(seed).draws(Purpose::Mutant, place)
}

/// In (-1, 1).
fn signed(draws: &mut Draws) -> f32 {
    2.0 * draws.uniform() - 1.0
}

/// A copy with every number changed.
pub(super) fn with(pair: &LowRankPair, mut change: impl FnMut(f32) -> f32) -> LowRankPair {
    LowRankPair {
        a: pair.a.iter().map(|x| change(*x)).collect(),
        b: pair.b.iter().map(|x| change(*x)).collect(),
        ..*pair
    }
}

/// The Frobenius norm of `B A`, without the scale: `|BA|^2 = sum of (B^T B) * (A A^T)`.
pub(super) fn norm(pair: &LowRankPair) -> f64 {
    let LowRankPair { rank, a, b, .. } = pair;
    let (rank, inputs) = (*rank, a.len() / rank);
    let mut sum = 0.0;
    for i in 0..rank {
        for j in 0..rank {
            let rows = a[i * inputs..(i + 1) * inputs]
                .iter()
                .zip(&a[j * inputs..(j + 1) * inputs]);
            let of_a: f64 = rows.map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
            let columns = b.chunks_exact(rank);
            let of_b: f64 = columns
                .map(|row| f64::from(row[i]) * f64::from(row[j]))
                .sum();
            sum += of_a * of_b;
        }
    }
    // Rounding may leave a zero product below zero.
    sum.max(0.0).sqrt()
}

/// `B A`, row-major `[out, in]`.
#[cfg(test)]
pub(super) fn product(pair: &LowRankPair) -> Vec<f64> {
    let inputs = pair.a.len() / pair.rank;
    let mut all = Vec::new();
    for row in pair.b.chunks_exact(pair.rank) {
        for i in 0..inputs {
            let each = row.iter().enumerate();
            let sum = each.map(|(r, b)| f64::from(*b) * f64::from(pair.a[r * inputs + i]));
            all.push(sum.sum());
        }
    }
    all
}

/// Random numbers, evenly spread, whose product has the norm of this one's.
pub(super) fn random_like(pair: &LowRankPair, seed: u64, id: ModuleId) -> LowRankPair {
    let mut draws = draws(seed, id);
    let mut random = with(pair, |_| signed(&mut draws));
    let factor = (norm(pair) / norm(&random).max(f64::MIN_POSITIVE)) as f32;
    random.b.iter_mut().for_each(|x| *x *= factor);
    random
}

/// Each number off by up to `most` of itself.
pub(super) fn noisy(pair: &LowRankPair, most: f32, seed: u64, id: ModuleId) -> LowRankPair {
    let mut draws = draws(seed, id);
    with(pair, |x| x * (1.0 + most * signed(&mut draws)))
}

/// Rows of A and columns of B in one other order; of rank 1 the signs of both are turned, which is
/// the one other order that it has.
pub(super) fn permuted(pair: &LowRankPair, seed: u64, id: ModuleId) -> LowRankPair {
    if pair.rank == 1 {
        return with(pair, |x| -x);
    }
    // One step around at least: an order that stays as it is would be no mutant.
    let by = 1 + draws(seed, id).below(pair.rank as u32 - 1) as usize;
    let mut turned = pair.clone();
    turned.a.rotate_left(by * (pair.a.len() / pair.rank));
    for row in turned.b.chunks_exact_mut(pair.rank) {
        row.rotate_left(by);
    }
    turned
}

/// So many ranks more, all zero.
pub(super) fn padded(pair: &LowRankPair, more: usize) -> LowRankPair {
    let LowRankPair { rank, scale, a, b } = pair;
    let inputs = a.len() / rank;
    let zeros = |n: usize| std::iter::repeat_n(0.0, n);
    let rows = b.chunks_exact(*rank);
    LowRankPair {
        rank: rank + more,
        scale: *scale,
        a: a.iter().copied().chain(zeros(more * inputs)).collect(),
        b: rows
            .flat_map(|row| row.iter().copied().chain(zeros(more)))
            .collect(),
    }
}

/// `B R` and `R^-1 A` of a seeded R with a condition of 4 at most: two Householder reflections, which
/// are their own inverses, around a diagonal of numbers from a half to two.
pub(super) fn refactored(pair: &LowRankPair, seed: u64, id: ModuleId) -> LowRankPair {
    let mut draws = draws(seed, id);
    let rank = pair.rank;
    let mut direction = || -> Vec<f64> {
        let v: Vec<f64> = (0..rank)
            .map(|_| f64::from(signed(&mut draws)) + 1.5)
            .collect();
        let length = v.iter().map(|x| x * x).sum::<f64>().sqrt();
        v.iter().map(|x| x / length).collect()
    };
    let (u, v) = (direction(), direction());
    let diagonal: Vec<f64> = (0..rank)
        .map(|_| 2f64.powf(f64::from(signed(&mut draws))))
        .collect();
    // A row of B times R, and a column of A before R^-1: both are vectors of `rank` numbers.
    let change = |x: &mut [f64], first: &[f64], last: &[f64], by: &dyn Fn(usize) -> f64| {
        reflect(x, first);
        x.iter_mut().enumerate().for_each(|(i, x)| *x *= by(i));
        reflect(x, last);
    };
    let inputs = pair.a.len() / rank;
    let mut other = pair.clone();
    for row in other.b.chunks_exact_mut(rank) {
        let mut x: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
        change(&mut x, &u, &v, &|i| diagonal[i]);
        row.iter_mut().zip(&x).for_each(|(to, x)| *to = *x as f32);
    }
    for column in 0..inputs {
        let mut x: Vec<f64> = (0..rank)
            .map(|r| f64::from(pair.a[r * inputs + column]))
            .collect();
        // R = H(u) D H(v), so that R^-1 = H(v) D^-1 H(u): the last reflection of R comes last here
        // too, since a column is multiplied from the other side.
        change(&mut x, &u, &v, &|i| 1.0 / diagonal[i]);
        for (r, x) in x.iter().enumerate() {
            other.a[r * inputs + column] = *x as f32;
        }
    }
    other
}

/// The reflection at the plane across a direction of length 1.
fn reflect(x: &mut [f64], direction: &[f64]) {
    let along: f64 = x.iter().zip(direction).map(|(x, d)| x * d).sum();
    x.iter_mut()
        .zip(direction)
        .for_each(|(x, d)| *x -= 2.0 * along * d);
}
