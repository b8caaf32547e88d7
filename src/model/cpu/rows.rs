//! Kernels of one row at a time: normalization, rotary embedding, gated activation, softmax.

use rayon::prelude::*;

use super::simd::{LANES, add_lanes, exp, vectorized};
use crate::model::Activation;

/// Numbers below which a loop is not worth handing to other threads.
const PARALLEL_FROM: usize = 1 << 15;

/// Calls `f(row index, row of out)` for every row of `out`, in parallel when there is enough work.
fn for_rows(out: &mut [f32], cols: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    if out.len() < PARALLEL_FROM {
        out.chunks_exact_mut(cols)
            .enumerate()
            .for_each(|(i, row)| f(i, row));
    } else {
        let batch = (out.len() / cols)
            .div_ceil(rayon::current_num_threads() * 4)
            .max(1);
        out.par_chunks_mut(cols * batch)
            .enumerate()
            .for_each(|(b, rows)| {
                rows.chunks_exact_mut(cols)
                    .enumerate()
                    .for_each(|(i, row)| f(b * batch + i, row));
            });
    }
}

vectorized! {
    /// Sum of the products of two rows.
    pub fn dot(a: &[f32], b: &[f32]) -> f32 {
        let mut lanes = [0.0f32; LANES];
        let (a_whole, b_whole) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
        let (a_rest, b_rest) = (a_whole.remainder(), b_whole.remainder());
        for (x, y) in a_whole.zip(b_whole) {
            for i in 0..LANES {
                lanes[i] += x[i] * y[i];
            }
        }
        for i in 0..a_rest.len().min(b_rest.len()) {
            lanes[i] += a_rest[i] * b_rest[i];
        }
        add_lanes(lanes)
    }
}

vectorized! {
    fn scale_into(x: &[f32], w: &[f32], s: f32, y: &mut [f32]) {
        for ((y, x), w) in y.iter_mut().zip(x).zip(w) {
            *y = x * s * w;
        }
    }
}

/// `y = x / sqrt(mean(x^2) + eps) * weight` for every row (Zhang & Sennrich 2019).
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32, y: &mut [f32]) {
    let n = weight.len();
    for_rows(y, n, |i, y| {
        let x = &x[i * n..(i + 1) * n];
        scale_into(x, weight, 1.0 / (dot(x, x) / n as f32 + eps).sqrt(), y);
    });
}

vectorized! {
    fn norm_gradient(x: &[f32], w: &[f32], dy: &[f32], inverse: f32, dx: &mut [f32]) {
        let mut lanes = [0.0f32; LANES];
        for ((x, w), dy) in x.chunks(LANES).zip(w.chunks(LANES)).zip(dy.chunks(LANES)) {
            for i in 0..x.len() {
                lanes[i] += x[i] * w[i] * dy[i];
            }
        }
        let pull = add_lanes(lanes) * inverse * inverse * inverse / x.len() as f32;
        for (((dx, x), w), dy) in dx.iter_mut().zip(x).zip(w).zip(dy) {
            *dx += inverse * w * dy - pull * x;
        }
    }
}

/// `dx += ` the gradient of [`rms_norm`] by `x`, given the gradient `dy` by its result.
pub fn rms_norm_backward(x: &[f32], weight: &[f32], eps: f32, dy: &[f32], dx: &mut [f32]) {
    let n = weight.len();
    for_rows(dx, n, |i, dx| {
        let (x, dy) = (&x[i * n..(i + 1) * n], &dy[i * n..(i + 1) * n]);
        norm_gradient(x, weight, dy, 1.0 / (dot(x, x) / n as f32 + eps).sqrt(), dx);
    });
}

vectorized! {
    fn add_row(x: &[f32], y: &mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y += x;
        }
    }
}

/// `y += x`.
pub fn add(x: &[f32], y: &mut [f32]) {
    const CHUNK: usize = 4096;
    if y.len() < PARALLEL_FROM {
        add_row(x, y);
    } else {
        y.par_chunks_mut(CHUNK)
            .zip(x.par_chunks(CHUNK))
            .for_each(|(y, x)| add_row(x, y));
    }
}

/// Adds `bias` to every row of `y`.
pub fn add_bias(bias: &[f32], y: &mut [f32]) {
    for_rows(y, bias.len(), |_, row| add_row(bias, row));
}

vectorized! {
    /// Rotates one head by its position, half against half as in the Hugging Face layout.
    /// `sign` is 1, or -1 to rotate back (the transpose, hence the gradient).
    pub fn rotate(head: &mut [f32], cos: &[f32], sin: &[f32], sign: f32) {
        let (low, high) = head.split_at_mut(cos.len());
        for (((a, b), c), s) in low.iter_mut().zip(high).zip(cos).zip(sin) {
            let (x, y, s) = (*a, *b, s * sign);
            *a = x * c - y * s;
            *b = y * c + x * s;
        }
    }
}

vectorized! {
    fn silu_row(gate: &[f32], up: &[f32], y: &mut [f32]) {
        for ((y, g), u) in y.iter_mut().zip(gate).zip(up) {
            *y = g / (1.0 + exp(-g)) * u;
        }
    }
}

/// `2 * sqrt(2 / pi)`, and the factor of the cube: GELU's tanh form is `x * sigmoid` of
/// `2 * sqrt(2 / pi) * (x + 0.044715 x^3)`, since `1 + tanh(a) = 2 sigmoid(2 a)`.
const GELU_SLOPE: f32 = 1.595_769;
const GELU_CUBE: f32 = 0.044_715;

vectorized! {
    fn gelu_row(gate: &[f32], up: &[f32], y: &mut [f32]) {
        for ((y, g), u) in y.iter_mut().zip(gate).zip(up) {
            let inner = GELU_SLOPE * (g + GELU_CUBE * g * g * g);
            *y = g / (1.0 + exp(-inner)) * u;
        }
    }
}

/// `y = act(gate) * up`, where a row of `gate_up` holds the gate's `n` numbers, then the up's.
pub fn gate(gate_up: &[f32], n: usize, activation: Activation, y: &mut [f32]) {
    for_rows(y, n, |i, y| {
        let (gate, up) = gate_up[i * 2 * n..(i + 1) * 2 * n].split_at(n);
        match activation {
            Activation::Silu => silu_row(gate, up, y),
            Activation::GeluTanh => gelu_row(gate, up, y),
        }
    });
}

vectorized! {
    fn silu_gradient(gate: &[f32], up: &[f32], dy: &[f32], d_gate: &mut [f32], d_up: &mut [f32]) {
        for ((((g, u), dy), dg), du) in gate.iter().zip(up).zip(dy).zip(d_gate).zip(d_up) {
            let sigmoid = 1.0 / (1.0 + exp(-g));
            *dg = dy * u * sigmoid * (1.0 + g * (1.0 - sigmoid));
            *du = dy * g * sigmoid;
        }
    }
}

vectorized! {
    fn gelu_gradient(gate: &[f32], up: &[f32], dy: &[f32], d_gate: &mut [f32], d_up: &mut [f32]) {
        for ((((g, u), dy), dg), du) in gate.iter().zip(up).zip(dy).zip(d_gate).zip(d_up) {
            let inner = GELU_SLOPE * (g + GELU_CUBE * g * g * g);
            let slope = GELU_SLOPE * (1.0 + 3.0 * GELU_CUBE * g * g);
            let sigmoid = 1.0 / (1.0 + exp(-inner));
            *dg = dy * u * sigmoid * (1.0 + g * slope * (1.0 - sigmoid));
            *du = dy * g * sigmoid;
        }
    }
}

/// The gradient of [`gate`] by gate and up, in the layout of `gate_up`.
pub fn gate_backward(
    gate_up: &[f32],
    n: usize,
    activation: Activation,
    dy: &[f32],
    d_gate_up: &mut [f32],
) {
    for_rows(d_gate_up, 2 * n, |i, row| {
        let (gate, up) = gate_up[i * 2 * n..(i + 1) * 2 * n].split_at(n);
        let (d_gate, d_up) = row.split_at_mut(n);
        let dy = &dy[i * n..(i + 1) * n];
        match activation {
            Activation::Silu => silu_gradient(gate, up, dy, d_gate, d_up),
            Activation::GeluTanh => gelu_gradient(gate, up, dy, d_gate, d_up),
        }
    });
}

vectorized! {
    fn largest(x: &[f32]) -> f32 {
        let mut lanes = [f32::NEG_INFINITY; LANES];
        for chunk in x.chunks(LANES) {
            for i in 0..chunk.len() {
                lanes[i] = if chunk[i] > lanes[i] { chunk[i] } else { lanes[i] };
            }
        }
        lanes.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
}

vectorized! {
    fn exp_and_sum(x: &mut [f32], scale: f32, top: f32) -> f32 {
        let mut lanes = [0.0f32; LANES];
        for chunk in x.chunks_mut(LANES) {
            for i in 0..chunk.len() {
                chunk[i] = exp((chunk[i] - top) * scale);
                lanes[i] += chunk[i];
            }
        }
        add_lanes(lanes)
    }
}

vectorized! {
    fn multiply(x: &mut [f32], by: f32) {
        for x in x {
            *x *= by;
        }
    }
}

/// `x = softmax(scale * x)` in place; `scale` is positive.
pub fn softmax(x: &mut [f32], scale: f32) {
    let top = largest(x);
    let sum = exp_and_sum(x, scale, top);
    multiply(x, 1.0 / sum);
}

vectorized! {
    fn sum_exp(x: &[f32], top: f32) -> f32 {
        let mut lanes = [0.0f32; LANES];
        for chunk in x.chunks(LANES) {
            for i in 0..chunk.len() {
                lanes[i] += exp(chunk[i] - top);
            }
        }
        add_lanes(lanes)
    }
}

/// Natural logarithm of the sum of e^x: what turns logits into log-probabilities.
pub fn log_sum_exp(x: &[f32]) -> f32 {
    let top = largest(x);
    top + sum_exp(x, top).ln()
}

vectorized! {
    /// `dx = x * (dx - sum(x * dx)) * scale`: the gradient of [`softmax`] by its input, in place
    /// of the gradient by its result `x`.
    pub fn softmax_backward(x: &[f32], dx: &mut [f32], scale: f32) {
        let mut lanes = [0.0f32; LANES];
        for (x, dx) in x.chunks(LANES).zip(dx.chunks(LANES)) {
            for i in 0..x.len() {
                lanes[i] += x[i] * dx[i];
            }
        }
        let mean = add_lanes(lanes);
        for (dx, x) in dx.iter_mut().zip(x) {
            *dx = x * (*dx - mean) * scale;
        }
    }
}

/// Cross-entropy of one row of logits against `label`: returns the loss in nats and turns the
/// logits into the gradient, `(softmax - one at label) * weight`.
pub fn cross_entropy(logits: &mut [f32], label: usize, weight: f32) -> f32 {
    let top = largest(logits);
    let target = logits[label];
    let sum = exp_and_sum(logits, 1.0, top);
    multiply(logits, weight / sum);
    logits[label] -= weight;
    top + sum.ln() - target
}

/// Kullback-Leibler divergence of one row of logits from another, KL(softmax(target) ||
/// softmax(logits)), in nats; turns the logits into its gradient, `(softmax(logits) -
/// softmax(target)) * weight`, and the target into its probabilities.
pub fn divergence(logits: &mut [f32], target: &mut [f32], weight: f32) -> f32 {
    let (top, target_top) = (largest(logits), largest(target));
    // sum p (log p - log q) = sum p (t - x) + log Z_q - log Z_p; the sum in F64: its terms cancel.
    let weighted: f64 = logits
        .iter()
        .zip(target.iter())
        .map(|(&x, &t)| f64::from((t - target_top).exp()) * f64::from(t - x))
        .sum();
    let sum = exp_and_sum(logits, 1.0, top);
    let target_sum = exp_and_sum(target, 1.0, target_top);
    multiply(logits, weight / sum);
    multiply(target, 1.0 / target_sum);
    for (q, &p) in logits.iter_mut().zip(target.iter()) {
        *q -= p * weight;
    }
    let log_z = |top: f32, sum: f32| f64::from(top) + f64::from(sum.ln());
    let nats = weighted / f64::from(target_sum) + log_z(top, sum) - log_z(target_top, target_sum);
    nats.max(0.0) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divergence_is_zero_at_home_and_its_gradient_is_its_slope() {
        let x = wave(9, 0.7);
        let mut same = (x.clone(), x.clone());
        assert!(divergence(&mut same.0, &mut same.1, 1.0) < 1e-6);
        assert!(same.0.iter().all(|g| g.abs() < 1e-6));
        let target = wave(9, 1.3);
        let nats = |x: &[f32]| f64::from(divergence(&mut x.to_vec(), &mut target.clone(), 1.0));
        let softmax = |x: &[f32]| {
            let sum: f64 = x.iter().map(|&v| f64::from(v).exp()).sum();
            x.iter()
                .map(|&v| f64::from(v).exp() / sum)
                .collect::<Vec<_>>()
        };
        let (p, q) = (softmax(&target), softmax(&x));
        let expected: f64 = p.iter().zip(&q).map(|(p, q)| p * (p / q).ln()).sum();
        assert!((nats(&x) - expected).abs() < 1e-5);
        let mut gradient = x.clone();
        divergence(&mut gradient, &mut target.clone(), 1.0);
        assert_gradient(&x, &gradient, nats);
    }

    fn wave(n: usize, f: f32) -> Vec<f32> {
        (0..n).map(|i| (i as f32 * f).sin() * 2.0).collect()
    }

    /// Central difference of `f` at `x` against `gradient`.
    fn assert_gradient(x: &[f32], gradient: &[f32], f: impl Fn(&[f32]) -> f64) {
        for i in 0..x.len() {
            let (mut up, mut down) = (x.to_vec(), x.to_vec());
            up[i] += 1e-2;
            down[i] -= 1e-2;
            let slope = (f(&up) - f(&down)) / 2e-2;
            assert!(
                (slope - f64::from(gradient[i])).abs() < 2e-3,
                "{i}: {slope} against {}",
                gradient[i]
            );
        }
    }

    fn weighted(y: &[f32], by: &[f32]) -> f64 {
        y.iter()
            .zip(by)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum()
    }

    #[test]
    fn norm_gradient_is_the_slope() {
        let (x, w, dy) = (wave(21, 0.7), wave(21, 0.3), wave(21, 1.1));
        let mut dx = vec![0.0; 21];
        rms_norm_backward(&x, &w, 1e-5, &dy, &mut dx);
        assert_gradient(&x, &dx, |x| {
            let mut y = vec![0.0; 21];
            rms_norm(x, &w, 1e-5, &mut y);
            weighted(&y, &dy)
        });
    }

    #[test]
    fn gate_gradient_is_the_slope() {
        let (x, dy) = (wave(38, 0.7), wave(19, 1.1));
        for activation in [Activation::Silu, Activation::GeluTanh] {
            let mut dx = vec![0.0; 38];
            gate_backward(&x, 19, activation, &dy, &mut dx);
            assert_gradient(&x, &dx, |x| {
                let mut y = vec![0.0; 19];
                gate(x, 19, activation, &mut y);
                weighted(&y, &dy)
            });
        }
    }

    /// `torch.nn.functional.gelu(x, approximate="tanh")`, PyTorch 2.15.
    #[test]
    fn gelu_is_that_of_pytorch() {
        let x = [-30.0f32, -3.0, -1.0, -0.1, 0.0, 0.5, 2.0, 30.0];
        let expected = [
            -0.0,
            -0.003_637_433,
            -0.158_808,
            -0.046_017_25,
            0.0,
            0.345_714,
            1.954_597_7,
            30.0,
        ];
        let both: Vec<f32> = x.iter().copied().chain([1.0; 8]).collect();
        let mut y = vec![0.0; 8];
        gate(&both, 8, Activation::GeluTanh, &mut y);
        for (found, expected) in y.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn softmax_gradient_is_the_slope() {
        let (x, dy) = (wave(37, 0.7), wave(37, 1.1));
        let mut y = x.clone();
        softmax(&mut y, 0.5);
        assert!((y.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        let mut dx = dy.clone();
        softmax_backward(&y, &mut dx, 0.5);
        assert_gradient(&x, &dx, |x| {
            let mut y = x.to_vec();
            softmax(&mut y, 0.5);
            weighted(&y, &dy)
        });
    }

    #[test]
    fn cross_entropy_is_minus_log_probability_with_its_slope() {
        let x = wave(50, 0.9);
        let mut gradient = x.clone();
        let loss = cross_entropy(&mut gradient, 7, 1.0);
        assert!((loss - (log_sum_exp(&x) - x[7])).abs() < 1e-5);
        assert_gradient(&x, &gradient, |x| f64::from(log_sum_exp(x) - x[7]));
    }

    #[test]
    fn rotating_back_restores() {
        let x = wave(32, 0.4);
        let (cos, sin): (Vec<f32>, Vec<f32>) = (0..16)
            .map(|i| ((i as f32).cos(), (i as f32).sin()))
            .unzip();
        let mut y = x.clone();
        rotate(&mut y, &cos, &sin, 1.0);
        assert!(y.iter().zip(&x).any(|(a, b)| (a - b).abs() > 0.1));
        rotate(&mut y, &cos, &sin, -1.0);
        assert!(y.iter().zip(&x).all(|(a, b)| (a - b).abs() < 1e-6));
    }
}
