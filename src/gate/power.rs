//! What a number of probes or draws can prove, known before the run.
//!
//! Two different things: the *smallest provable loss* is the smallest margin that can be excluded,
//! reached when no score changed (the rule of three); the *smallest detectable loss* (minimum
//! detectable effect) is the smallest loss that can be proven, reached when scores only fall.

use super::interval::p_not_worse_repeated;
use super::mcnemar::binomial_at_least;

/// The smallest loss that `probes` probes can exclude at error rate `level`, reached when not one
/// score changed: 1 - level^(1/n). 1 without probes.
///
/// ```
/// use qeval::gate::smallest_margin;
///
/// assert!((smallest_margin(59, 0.05) - 0.0495).abs() < 1e-4);
/// ```
pub fn smallest_margin(probes: usize, level: f64) -> f64 {
    if probes == 0 {
        1.0
    } else {
        1.0 - level.powf(1.0 / probes as f64)
    }
}

/// The smallest loss that `probes` probes can prove at error rate `level`, when scores only fall
/// from 1 to 0; `None` when even losing every probe proves nothing.
///
/// ```
/// use qeval::gate::smallest_detectable_loss;
///
/// // Five losses and no gain have p = 2^-5 = 0.031, four have 0.063.
/// assert_eq!(smallest_detectable_loss(100, 0.05), Some(0.05));
/// assert_eq!(smallest_detectable_loss(4, 0.05), None);
/// ```
pub fn smallest_detectable_loss(probes: usize, level: f64) -> Option<f64> {
    // k losses and no gain have p = 2^-k.
    (1..=probes)
        .find(|&k| 0.5f64.powi(k.min(2000) as i32) <= level)
        .map(|k| k as f64 / probes as f64)
}

/// Probes needed to exclude a loss of `margin` when `losses` of them fall from 1 to 0 and the rest
/// is unchanged; `None` when no number will do.
///
/// ```
/// use qeval::gate::probes_to_pass;
///
/// assert_eq!(probes_to_pass(0.05, 0.05, 0), Some(59));
/// assert_eq!(probes_to_pass(0.05, 0.05, 1), Some(93), "one loss asks for more");
/// ```
pub fn probes_to_pass(margin: f64, level: f64, losses: usize) -> Option<usize> {
    if !(margin > 0.0 && level > 0.0) {
        return None;
    }
    let chance = |n: usize| 1.0 - binomial_at_least(losses + 1, n, margin);
    let mut high = losses + 1;
    while chance(high) > level {
        high = high.checked_mul(2).filter(|&n| n < 1 << 24)?;
    }
    let mut low = losses;
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if chance(middle) > level {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(high)
}

/// How many probes like these would exclude a loss of `margin`; `None` when 100 times as many would
/// not, because the observed loss is too close to the margin or beyond it.
pub(super) fn probes_like_these(differences: &[f64], margin: f64, level: f64) -> Option<usize> {
    const MOST: f64 = 100.0;
    let excluded = |times: f64| p_not_worse_repeated(differences, margin, times) < level;
    if differences.is_empty() || !excluded(MOST) {
        return None;
    }
    let (mut low, mut high) = (1.0, MOST);
    while high / low > 1.01 {
        let middle = f64::sqrt(low * high);
        if excluded(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some((high * differences.len() as f64).ceil() as usize)
}

/// How many probes like these would prove the observed loss at error rate `level`, by the normal
/// approximation of the sign-flip test; `None` when there is no loss to prove.
pub(super) fn probes_to_prove(differences: &[f64], level: f64) -> Option<usize> {
    let n = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / n;
    if differences.is_empty() || mean >= 0.0 || level <= 0.0 {
        return None;
    }
    let square = differences.iter().map(|d| d * d).sum::<f64>() / n;
    let probes = normal_quantile(level).powi(2) * square / (mean * mean);
    // However large the changes, so many of them are the least: k changes have p >= 2^-k.
    let changed = differences.iter().filter(|d| **d != 0.0).count() as f64;
    let least = n * -level.log2() / changed;
    Some((f64::max(probes, least).ceil() as usize).max(differences.len() + 1))
}

/// The value that a standard normal variable exceeds with chance `level` (below one half), by
/// Abramowitz & Stegun 26.2.23; the error is below 4.5e-4.
fn normal_quantile(level: f64) -> f64 {
    let t = (-2.0 * level.min(0.5).ln()).sqrt();
    let above = 2.515517 + t * (0.802853 + t * 0.010328);
    let below = 1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308));
    t - above / below
}

/// Largest chance, over every pass rate of the base, that an identical candidate loses `drop` or
/// more of `draws` answers against it: P(Bin(2 draws, 1/2) >= draws + drop).
///
/// ```
/// use qeval::gate::critical_bound;
///
/// // All of four draws lost: P(Bin(8, 1/2) >= 8).
/// assert!((critical_bound(4, 4) - 1.0 / 256.0).abs() < 1e-12);
/// ```
pub fn critical_bound(draws: usize, drop: usize) -> f64 {
    binomial_at_least(draws + drop, 2 * draws, 0.5)
}

/// Smallest drop (base passes minus candidate passes) of a critical probe that keeps the false
/// alarms of `critical` such probes within `budget`; `None` when no drop of so few draws does.
///
/// ```
/// use qeval::gate::critical_drop;
///
/// assert_eq!(critical_drop(8, 10, 0.01), Some(7));
/// assert_eq!(critical_drop(1, 1, 0.01), None, "one answer only warns");
/// ```
pub fn critical_drop(draws: usize, critical: usize, budget: f64) -> Option<usize> {
    (1..=draws).find(|&drop| critical as f64 * critical_bound(draws, drop) <= budget)
}

#[cfg(test)]
mod tests {
    use super::*;

    // smallest_margin(n) of fixtures/reference/verdict_ref.py; the figures of the design: 14 points
    // at 20 probes, 5 at 59, 3 at 99, 1.5 at 200.
    #[test]
    fn unchanged_answers_exclude_three_in_n() {
        for (probes, margin) in [(20, 0.1391), (59, 0.0495), (99, 0.0298), (200, 0.0149)] {
            assert!(
                (smallest_margin(probes, 0.05) - margin).abs() < 1e-4,
                "{probes}"
            );
        }
        assert_eq!(smallest_margin(0, 0.05), 1.0);
    }

    // probes_to_pass(margin) of fixtures/reference/verdict_ref.py.
    #[test]
    fn probes_to_pass_matches_the_reference() {
        for (margin, probes) in [
            (0.02, 149),
            (0.03, 99),
            (0.05, 59),
            (0.10, 29),
            (0.15, 19),
            (0.20, 14),
        ] {
            assert_eq!(probes_to_pass(margin, 0.05, 0), Some(probes));
        }
        assert_eq!(probes_to_pass(0.03, 0.0025, 0), Some(197));
        // probes_to_pass(0.05, 0.05, losses) for 1 and 3 losses.
        assert_eq!(probes_to_pass(0.05, 0.05, 1), Some(93));
        assert_eq!(probes_to_pass(0.05, 0.05, 3), Some(153));
        assert_eq!(probes_to_pass(0.0, 0.05, 0), None);
    }

    #[test]
    fn probes_like_these_is_enough_and_not_much_too_much() {
        let d = [vec![-1.0; 2], vec![1.0], vec![0.0; 57]].concat();
        let needed = probes_like_these(&d, 0.05, 0.05).unwrap();
        let times = needed as f64 / 60.0;
        assert!(p_not_worse_repeated(&d, 0.05, times) < 0.05);
        assert!(p_not_worse_repeated(&d, 0.05, times * 0.97) > 0.05);
        let lost = [vec![-1.0; 6], vec![0.0; 54]].concat();
        assert_eq!(
            probes_like_these(&lost, 0.05, 0.05),
            None,
            "the loss is beyond the margin"
        );
    }

    #[test]
    fn probes_to_prove_matches_repeating_the_probes() {
        let d = [vec![-1.0; 3], vec![1.0], vec![0.0; 56]].concat();
        let needed = probes_to_prove(&d, 0.02).unwrap();
        let times = needed as f64 / 60.0;
        let p = |times: f64| {
            super::super::mcnemar::mcnemar((3.0 * times).round() as usize, times.round() as usize)
        };
        assert!(p(1.5 * times) < 0.02 && p(0.6 * times) > 0.02, "{needed}");
        // Four losses alone: six are needed, half as many probes again.
        let d = [vec![-1.0; 4], vec![0.0; 116]].concat();
        assert_eq!(probes_to_prove(&d, 0.02), Some(170));
        assert_eq!(probes_to_prove(&[0.5, 0.0], 0.02), None);
    }

    #[test]
    fn detectable_loss_is_the_smallest_that_is_proven() {
        assert_eq!(smallest_detectable_loss(100, 0.05), Some(0.05));
        assert_eq!(smallest_detectable_loss(100, 0.02), Some(0.06));
        assert_eq!(smallest_detectable_loss(4, 0.05), None);
        assert_eq!(smallest_detectable_loss(0, 0.05), None);
    }

    // The table of smallest drops at a budget of 1 percent, and critical_drop of
    // fixtures/reference/verdict_ref.py.
    #[test]
    fn critical_drops_match_the_reference() {
        for (draws, critical, drop) in [
            (4, 1, Some(4)),
            (4, 2, Some(4)),
            (4, 3, None),
            (6, 2, Some(5)),
            (6, 40, Some(6)),
            (8, 10, Some(7)),
            (8, 40, Some(8)),
            (12, 5, Some(8)),
            (12, 400, Some(10)),
            (1, 1, None),
        ] {
            assert_eq!(
                critical_drop(draws, critical, 0.01),
                drop,
                "{draws} {critical}"
            );
        }
    }

    #[test]
    fn normal_quantiles_are_known() {
        for (level, z) in [(0.05, 1.6449), (0.02, 2.0537), (0.001, 3.0902)] {
            assert!((normal_quantile(level) - z).abs() < 5e-4);
        }
    }
}
