//! The worst-case-probe bound: which mean differences do the probes exclude?
//!
//! Gaffke 2005; Learned-Miller & Thomas 2019 (arXiv 1905.06208). For the lower end, one probe that
//! lost everything is added, the n + 1 values get Dirichlet(1, .., 1) weights, and the end is the
//! quantile of the weighted mean at the error rate. For pass/fail scores it is the interval of Fay &
//! Lumbard 2021, with losses only it is Clopper-Pearson's, and when nothing changed it is the rule
//! of three: there is no width of zero here, so equal answers prove no more than they can.
//!
//! The distribution of the weighted mean is one integral along the saddle-point path, so no random
//! numbers take part: with x = value - t and G ~ Gamma(count, 1), P(mean <= t) = P(sum G x <= 0),
//! whose log-moment function is K(z) = -sum count ln(1 - x z). `fixtures/reference/verdict_ref.py`
//! is the same in Python.

use std::f64::consts::PI;

/// Step of the trapezoid on the path z = z0 + i width sinh(s); the error is below 1e-8 up to 800
/// probes.
const STEP: f64 = 0.03;
const LAST_STEP: usize = 800;

/// Distinct values with their counts. Counts need not be whole numbers: a multiple of the probes at
/// hand stands for "more probes like these".
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Atoms(Vec<(f64, f64)>);

impl Atoms {
    /// The differences, each with weight `times`, and one added probe at `extra`.
    pub(super) fn new(differences: &[f64], times: f64, extra: f64) -> Self {
        let rounded = |d: &f64| ((d * 1e12).round() / 1e12, times);
        let mut values: Vec<(f64, f64)> = differences.iter().map(rounded).collect();
        values.push((extra, 1.0));
        values.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut atoms: Vec<(f64, f64)> = Vec::new();
        for (value, count) in values {
            match atoms.last_mut() {
                Some(atom) if atom.0 == value => atom.1 += count,
                _ => atoms.push((value, count)),
            }
        }
        Self(atoms)
    }

    /// P(weighted mean <= t) with Dirichlet(counts) weights.
    pub(super) fn chance_at_most(&self, t: f64) -> f64 {
        let x: Vec<(f64, f64)> = self.0.iter().map(|&(v, n)| (v - t, n)).collect();
        let mean: f64 = x.iter().map(|(x, n)| x * n).sum();
        if !(x.iter().any(|(x, _)| *x < 0.0) && x.iter().any(|(x, _)| *x > 0.0)) {
            return if mean > 0.0 { 0.0 } else { 1.0 };
        }
        // The integral is taken on the small tail, where it has all its digits.
        let sign = if mean > 0.0 { -1.0 } else { 1.0 };
        let reach = x.iter().map(|(x, _)| sign * x).fold(0.0, f64::max);
        let (mut low, mut high) = (0.0, 1.0 / reach);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            let slope: f64 = x
                .iter()
                .map(|(x, n)| (x * sign * middle, n))
                .map(|(y, n)| n * y / (1.0 - y))
                .sum();
            if slope < 1.0 {
                low = middle;
            } else {
                high = middle;
            }
        }
        let z0 = sign * 0.5 * (low + high);
        let curvature: f64 = x
            .iter()
            .map(|(x, n)| {
                let q = x / (1.0 - x * z0);
                n * q * q
            })
            .sum();
        let width = 1.0 / (curvature + 1.0 / (z0 * z0)).sqrt();

        let mut sum = 0.0;
        for step in 0..LAST_STEP {
            let s = step as f64 * STEP;
            let u = width * s.sinh();
            // K(z) in polar form: each 1 - x z has a positive real part on this path.
            let (mut log_size, mut angle) = (0.0, 0.0);
            for (x, n) in &x {
                let (re, im) = (1.0 - x * z0, -x * u);
                log_size -= 0.5 * n * (re * re + im * im).ln();
                angle -= n * im.atan2(re);
            }
            let size = log_size.exp() * s.cosh();
            let (re, im) = (size * angle.cos(), size * angle.sin());
            let term = (re * z0 + im * u) / (z0 * z0 + u * u);
            sum += if step == 0 { 0.5 * term } else { term };
            // |exp K| only falls along the path, so what is left is below this.
            if size * width < 1e-22 * sum.abs() {
                break;
            }
        }
        let tail = sign * width * sum * STEP / PI;
        (if sign < 0.0 { tail } else { 1.0 - tail }).clamp(0.0, 1.0)
    }
}

/// p-value against "the mean difference is at most -margin", by the bound. Below the error rate
/// exactly when [`lower_end`] is above `-margin`. 1 without probes.
///
/// ```
/// use qeval::gate::p_not_worse;
///
/// // Nothing changed on n probes: (1 - margin)^n, the chance that all of them miss such a loss.
/// assert!((p_not_worse(&[0.0; 99], 0.03) - 0.97f64.powi(99)).abs() < 1e-6);
/// ```
pub fn p_not_worse(differences: &[f64], margin: f64) -> f64 {
    p_not_worse_repeated(differences, margin, 1.0)
}

/// The same for `times` as many probes like these.
pub(super) fn p_not_worse_repeated(differences: &[f64], margin: f64, times: f64) -> f64 {
    if margin > 1.0 {
        return 0.0;
    }
    Atoms::new(differences, times, -1.0).chance_at_most(-margin)
}

/// One-sided lower end of the mean difference at error rate `level`; -1 without probes.
///
/// `differences` are candidate minus base, one a probe, in [-1, 1].
///
/// Gaffke 2005; Learned-Miller & Thomas 2019, arXiv 1905.06208.
///
/// ```
/// use qeval::gate::lower_end;
///
/// // Equal answers on 20 probes exclude no loss below 14 points: 1 - 0.05^(1/20).
/// assert!((lower_end(&[0.0; 20], 0.05) + 0.1391).abs() < 1e-4);
/// ```
pub fn lower_end(differences: &[f64], level: f64) -> f64 {
    let mean = differences.iter().sum::<f64>() / differences.len().max(1) as f64;
    if differences.is_empty() || mean <= -1.0 + 1e-12 {
        return -1.0;
    }
    let atoms = Atoms::new(differences, 1.0, -1.0);
    let excess = |t: f64| atoms.chance_at_most(t) - level;
    // Illinois's rule: a secant that never leaves the bracket and does not stall at one end.
    let (mut low, mut high) = (-1.0 + 1e-12, mean);
    let (mut at_low, mut at_high) = (excess(low), excess(high));
    if at_high <= 0.0 {
        return high;
    }
    if at_low >= 0.0 {
        return low;
    }
    let mut moved_low = None;
    for round in 0..200 {
        if high - low < 1e-11 {
            break;
        }
        // A bisection now and then bounds the number of rounds.
        let t = if round % 4 == 3 {
            0.5 * (low + high)
        } else {
            (low * at_high - high * at_low) / (at_high - at_low)
        };
        let at = excess(t);
        if at < 0.0 {
            (low, at_low) = (t, at);
            if moved_low == Some(true) {
                at_high *= 0.5;
            }
            moved_low = Some(true);
        } else {
            (high, at_high) = (t, at);
            if moved_low == Some(false) {
                at_low *= 0.5;
            }
            moved_low = Some(false);
        }
        if at.abs() < 1e-13 {
            return t;
        }
    }
    0.5 * (low + high)
}

/// One-sided upper end of the mean difference at error rate `level`; 1 without probes.
///
/// ```
/// use qeval::gate::{lower_end, upper_end};
///
/// let mut differences = vec![0.0; 95];
/// differences.extend([-1.0; 5]);
/// // 5 of 100 lost: between 10.2 and 0.5 points.
/// assert!((lower_end(&differences, 0.05) + 0.1023).abs() < 1e-4);
/// assert!((upper_end(&differences, 0.05) + 0.0047).abs() < 1e-4);
/// ```
pub fn upper_end(differences: &[f64], level: f64) -> f64 {
    let mirrored: Vec<f64> = differences.iter().map(|d| -d).collect();
    -lower_end(&mirrored, level)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(losses: usize, gains: usize, probes: usize) -> Vec<f64> {
        [
            vec![-1.0; losses],
            vec![1.0; gains],
            vec![0.0; probes - losses - gains],
        ]
        .concat()
    }

    // Printed by fixtures/reference/verdict_ref.py.
    #[test]
    fn matches_the_reference() {
        for (losses, gains, probes, lower, upper) in [
            (0, 0, 60, -0.048703, 0.048703),
            (1, 1, 60, -0.065105, 0.065105),
            (3, 2, 100, -0.060859, 0.039589),
            (5, 0, 100, -0.102253, -0.004713),
            (6, 1, 100, -0.107400, 0.002938),
            (12, 4, 400, -0.039863, -0.001240),
            (20, 20, 800, -0.014387, 0.014387),
        ] {
            let d = changed(losses, gains, probes);
            let (got_lower, got_upper) = (lower_end(&d, 0.05), upper_end(&d, 0.05));
            assert!(
                (got_lower - lower).abs() < 6e-7,
                "{losses} {gains} {probes}: {got_lower}"
            );
            assert!(
                (got_upper - upper).abs() < 6e-7,
                "{losses} {gains} {probes}: {got_upper}"
            );
        }
    }

    // Printed by fixtures/reference/verdict_ref.py: "graded n 60".
    #[test]
    fn matches_the_reference_on_graded_scores() {
        let d: Vec<f64> = [-0.5, -0.25, 0.0, 0.125, 0.25].repeat(12);
        assert!((lower_end(&d, 0.05) + 0.152712).abs() < 6e-7);
        assert!((upper_end(&d, 0.05) - 0.005486).abs() < 6e-7);
        let mirrored: Vec<f64> = d.iter().map(|x| -x).collect();
        assert!(
            (p_not_worse(&mirrored, 0.0) - 0.0658165).abs() < 1e-6,
            "p_mean_loss"
        );
    }

    // lower_end, upper_end and p_not_worse(d, 0.03) of fixtures/reference/verdict_ref.py for
    // d = [((i * 7919) % 41 - 22) / 160 for i in range(n)].
    #[test]
    fn matches_the_reference_on_many_different_values() {
        for (probes, level, lower, upper, p) in [
            (37, 0.05, -0.095710992, 0.065116163, 0.63066073),
            (37, 0.0025, -0.166041808, 0.137826483, 0.63066073),
            (800, 0.05, -0.018728411, -0.006540739, 6.6986108e-6),
            (800, 0.0025, -0.022768404, -0.002435321, 6.6986108e-6),
        ] {
            let d: Vec<f64> = (0..probes)
                .map(|i| f64::from(i * 7919 % 41 - 22) / 160.0)
                .collect();
            assert!((lower_end(&d, level) - lower).abs() < 2e-9, "{probes}");
            assert!((upper_end(&d, level) - upper).abs() < 2e-9, "{probes}");
            assert!((p_not_worse(&d, 0.03) / p - 1.0).abs() < 1e-6, "{probes}");
        }
    }

    // Every sample of 20 probes, by its chance: no Monte Carlo. Bootstrap and t intervals cover as
    // little as 5 percent in the first cells.
    #[test]
    fn covers_the_true_difference_in_every_cell() {
        const PROBES: usize = 20;
        let ends: Vec<Vec<f64>> = (0..=PROBES)
            .map(|losses| {
                (0..=PROBES - losses)
                    .map(|gains| lower_end(&changed(losses, gains, PROBES), 0.05))
                    .collect()
            })
            .collect();
        let log_factorial = |n: usize| (1..=n).map(|k| (k as f64).ln()).sum::<f64>();
        for (loss, gain) in [
            (0.003, 0.0),
            (0.02, 0.001),
            (0.05, 0.05),
            (0.1, 0.02),
            (0.14, 1e-9),
            (0.2, 0.1),
            (0.05, 0.2),
        ] {
            let mut covered = 0.0;
            for (losses, of_losses) in ends.iter().enumerate() {
                for (gains, end) in of_losses.iter().enumerate() {
                    let same = PROBES - losses - gains;
                    let ways = log_factorial(PROBES)
                        - log_factorial(losses)
                        - log_factorial(gains)
                        - log_factorial(same);
                    let log_chance =
                        |p: f64, k: usize| if k == 0 { 0.0 } else { k as f64 * p.ln() };
                    let chance = ways
                        + log_chance(loss, losses)
                        + log_chance(gain, gains)
                        + log_chance(1.0 - loss - gain, same);
                    if *end <= gain - loss {
                        covered += chance.exp();
                    }
                }
            }
            assert!(covered >= 0.95, "{loss} {gain}: {covered}");
        }
    }

    #[test]
    fn unchanged_answers_give_the_rule_of_three() {
        for probes in [1, 20, 60, 100, 200, 800] {
            for level in [0.05, 0.0025] {
                let expected = -(1.0 - f64::powf(level, 1.0 / probes as f64));
                assert!((lower_end(&vec![0.0; probes], level) - expected).abs() < 1e-8);
            }
        }
    }

    #[test]
    fn upper_end_below_zero_is_mcnemar() {
        for (losses, gains, probes) in [(5, 0, 60), (7, 2, 100), (12, 4, 400), (3, 3, 20)] {
            let mirrored = changed(gains, losses, probes);
            let p = crate::gate::mcnemar::mcnemar(losses, gains);
            assert!(
                (p_not_worse(&mirrored, 0.0) - p).abs() < 1e-9,
                "{losses} {gains}"
            );
        }
    }

    #[test]
    fn p_value_and_lower_end_agree() {
        let graded: Vec<f64> = (0..90)
            .map(|i| f64::from(i % 7 - 3) / 12.0 - 0.01)
            .collect();
        for d in [changed(3, 2, 100), changed(0, 0, 30), graded] {
            for level in [0.05, 0.0125, 0.0025] {
                let end = -lower_end(&d, level);
                assert!((p_not_worse(&d, end) - level).abs() < 1e-6);
                assert!(p_not_worse(&d, end + 1e-3) < level);
                assert!(p_not_worse(&d, end - 1e-3) > level);
            }
        }
    }

    #[test]
    fn one_more_loss_never_raises_an_end() {
        let ends: Vec<f64> = (0..12)
            .map(|k| lower_end(&changed(k, 3, 60), 0.05))
            .collect();
        assert!(ends.is_sorted_by(|a, b| a > b), "{ends:?}");
    }

    #[test]
    fn extremes_stay_in_range() {
        assert_eq!(lower_end(&[], 0.05), -1.0);
        assert_eq!(upper_end(&[], 0.05), 1.0);
        assert_eq!(lower_end(&[-1.0; 30], 0.05), -1.0);
        let won = lower_end(&[1.0; 30], 0.05);
        assert!(won > 0.79 && won < 1.0, "{won}");
        assert_eq!(p_not_worse(&[], 0.03), 1.0);
    }
}
