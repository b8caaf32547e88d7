//! McNemar's exact test for pass/fail scores, and the binomial tail that it rests on.
//!
//! McNemar 1947 compares two paired proportions by the pairs that changed; the exact one-sided form
//! is a sign test on them. For differences in {-1, 0, 1} it equals the sign-flip test of
//! [`super::permutation`], and needs no table.

/// P(X >= k) for X ~ Binomial(n, chance), summed from its largest terms in log space.
pub(super) fn binomial_at_least(k: usize, n: usize, chance: f64) -> f64 {
    if k == 0 {
        return 1.0;
    }
    if k > n || chance <= 0.0 {
        return 0.0;
    }
    if chance >= 1.0 {
        return 1.0;
    }
    let (log_yes, log_no) = (chance.ln(), (-chance).ln_1p());
    let mut log_choose = 0.0;
    let mut sum = 0.0;
    for j in 0..=n {
        if j >= k {
            sum += (log_choose + j as f64 * log_yes + (n - j) as f64 * log_no).exp();
        }
        log_choose += ((n - j) as f64).ln() - ((j + 1) as f64).ln();
    }
    f64::min(sum, 1.0)
}

/// p-value of a loss: the chance of at least this many losses among the probes that changed, when
/// each is a loss or a gain with equal chance. 1 when nothing changed.
///
/// McNemar 1947, in its exact one-sided form: P(Bin(losses + gains, 1/2) >= losses).
///
/// ```
/// use qeval::gate::mcnemar;
///
/// assert!((mcnemar(5, 0) - 0.5f64.powi(5)).abs() < 1e-12);
/// assert_eq!(mcnemar(0, 0), 1.0);
/// ```
pub fn mcnemar(losses: usize, gains: usize) -> f64 {
    binomial_at_least(losses, losses + gains, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    // scipy.stats.binom.sf(losses - 1, losses + gains, 0.5); the self-test of
    // fixtures/reference/verdict_ref.py prints the same numbers as p_loss.
    #[test]
    fn matches_the_reference() {
        for (losses, gains, p) in [
            (0, 0, 1.0),
            (1, 1, 0.75),
            (3, 2, 0.5),
            (5, 0, 0.03125),
            (6, 1, 0.0625),
        ] {
            assert!(
                (mcnemar(losses, gains) - p).abs() < 1e-12,
                "{losses} {gains}"
            );
        }
        assert!((mcnemar(12, 4) - 0.0384064).abs() < 1e-6);
        assert!((mcnemar(20, 20) - 0.562685).abs() < 1e-6);
    }

    #[test]
    fn tails_of_a_binomial_add_up() {
        for (n, chance) in [(1, 0.3), (17, 0.5), (400, 0.03), (900, 0.999)] {
            for k in 0..n {
                let above = binomial_at_least(k + 1, n, chance);
                let below = binomial_at_least(n - k, n, 1.0 - chance);
                assert!((above + below - 1.0).abs() < 1e-9, "{k} {n} {chance}");
            }
        }
    }

    #[test]
    fn certain_events_are_certain() {
        assert_eq!(binomial_at_least(0, 5, 0.0), 1.0);
        assert_eq!(binomial_at_least(5, 5, 1.0), 1.0);
        assert_eq!(binomial_at_least(6, 5, 1.0), 0.0);
        assert_eq!(binomial_at_least(1, 5, 0.0), 0.0);
    }
}
