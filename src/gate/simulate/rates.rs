//! Pass rates of probes: a Beta distribution, cut into cells of equal chance.
//!
//! With mean p and a = p (1 - r) / r, b = (1 - p) (1 - r) / r, two answers to one probe have the
//! correlation r, and differ with chance 2 p (1 - p) (1 - r): the beta-binomial model of Skellam
//! 1948. A cell stands for its mean, so the mean of all is exact and the spread nearly so.

/// Cells; an index is ten bits of a random word.
const CELLS: usize = 1024;
/// Points on which the density is summed.
const POINTS: usize = 40_000;

/// The rates, one a cell, as thresholds for a random word: a word below it is a pass.
#[derive(Debug, Clone)]
pub(super) struct Rates(Vec<u64>);

impl Rates {
    /// `mean` in [0, 1], `correlation` in [0, 1].
    pub(super) fn new(mean: f64, correlation: f64) -> Self {
        Rates(
            cells(mean, correlation)
                .into_iter()
                .map(threshold)
                .collect(),
        )
    }

    /// The rate that a random word picks, as a threshold.
    pub(super) fn pick(&self, word: u32) -> u64 {
        self.0[word as usize >> 22]
    }
}

/// A chance as a threshold: a random word is below it with that chance.
pub(super) fn threshold(chance: f64) -> u64 {
    (chance.clamp(0.0, 1.0) * 4_294_967_296.0).round() as u64
}

fn cells(mean: f64, correlation: f64) -> Vec<f64> {
    if correlation <= 1e-9 || mean <= 0.0 || mean >= 1.0 {
        return vec![mean.clamp(0.0, 1.0); CELLS];
    }
    let odds = (1.0 - correlation).max(1e-6) / correlation;
    let (a, b) = (mean * odds, (1.0 - mean) * odds);
    // In x = logit(rate) the density is rate^a (1 - rate)^b: smooth, and falling like exp(a x) and
    // exp(-b x), also where the density of the rate itself is without bound.
    let middle = (a / b).ln();
    let spread = 12.0 * (1.0 / a + 1.0 / b).sqrt();
    let (low, high) = (middle - spread.max(45.0 / a), middle + spread.max(45.0 / b));
    let rate = |x: f64| 1.0 / (1.0 + (-x).exp());
    // ln(1 + e^x) without overflow.
    let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
    let log_density = |x: f64| -a * softplus(-x) - b * softplus(x);
    let peak = log_density(middle);
    let step = (high - low) / POINTS as f64;
    let points = (0..POINTS).map(|i| low + (i as f64 + 0.5) * step);
    let mass: Vec<(f64, f64)> = points
        .map(|x| (rate(x), (log_density(x) - peak).exp()))
        .collect();
    let all: f64 = mass.iter().map(|(_, m)| m).sum();

    let room = all / CELLS as f64;
    let mut cells = Vec::with_capacity(CELLS);
    let (mut filled, mut sum) = (0.0, 0.0);
    for (rate, mut left) in mass {
        while left > 0.0 {
            let part = left.min(room - filled);
            sum += part * rate;
            filled += part;
            left -= part;
            if filled >= room * (1.0 - 1e-12) {
                cells.push(sum / filled);
                (filled, sum) = (0.0, 0.0);
            }
        }
    }
    // Rounding can leave the last cell a hair short.
    while cells.len() < CELLS {
        cells.push(if filled > 0.0 { sum / filled } else { 1.0 });
    }
    cells.truncate(CELLS);
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_correlation_are_those_asked_for() {
        for (mean, correlation) in [
            (0.5, 0.0),
            (0.5, 0.05),
            (0.1, 0.3),
            (0.95, 0.6),
            (0.5, 0.9),
            (0.02, 0.99),
        ] {
            let cells = cells(mean, correlation);
            let count = CELLS as f64;
            let got = cells.iter().sum::<f64>() / count;
            assert!((got - mean).abs() < 2e-4, "{mean} {correlation}: {got}");
            let variance = cells.iter().map(|r| (r - got).powi(2)).sum::<f64>() / count;
            let wanted = correlation * mean * (1.0 - mean);
            assert!(
                (variance - wanted).abs() < 0.01 * wanted + 1e-9,
                "{mean} {correlation}: {variance} for {wanted}"
            );
        }
    }

    #[test]
    fn thresholds_reach_from_never_to_always() {
        assert_eq!(threshold(0.0), 0);
        assert!(threshold(1.0) > u64::from(u32::MAX));
        let certain = Rates::new(1.0, 0.5);
        assert!(certain.pick(u32::MAX) > u64::from(u32::MAX));
    }
}
