//! Several hypotheses, one error rate.
//!
//! Holm 1979 with weights: the hypothesis with the smallest p / weight is tested at its share of the
//! error rate; once rejected, it hands its share on to the others.

/// A p-value with its share of the error rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weighted {
    /// p-value.
    pub p: f64,
    /// Positive; only its ratio to the other weights counts.
    pub weight: f64,
}

/// What became of one hypothesis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tested {
    /// Rejected: the loss is proven.
    pub rejected: bool,
    /// The level at which it was tested, or would have been tested next.
    pub level: f64,
}

/// Tests all hypotheses so that a false rejection anywhere has at most chance `level`; the answers
/// are in the order of the input.
///
/// Holm 1979, "A simple sequentially rejective multiple test procedure", section 4 (weights).
///
/// ```
/// use qeval::gate::{Weighted, weighted_holm};
///
/// // The pooled score at half of the error rate, two suites with a quarter each.
/// let tested = weighted_holm(
///     &[
///         Weighted { p: 0.01, weight: 0.5 },
///         Weighted { p: 0.04, weight: 0.25 },
///         Weighted { p: 0.5, weight: 0.25 },
///     ],
///     0.05,
/// );
/// let rejected: Vec<bool> = tested.iter().map(|test| test.rejected).collect();
/// assert_eq!(rejected, [true, false, false]);
/// assert!((tested[1].level - 0.025).abs() < 1e-12, "the first handed its share on");
/// ```
pub fn weighted_holm(hypotheses: &[Weighted], level: f64) -> Vec<Tested> {
    let mut left: Vec<usize> = (0..hypotheses.len()).collect();
    let mut tested = vec![
        Tested {
            rejected: false,
            level: 0.0
        };
        hypotheses.len()
    ];
    let share = |i: usize, left: &[usize]| {
        level * hypotheses[i].weight / left.iter().map(|&j| hypotheses[j].weight).sum::<f64>()
    };
    let ratio = |i: usize| hypotheses[i].p / hypotheses[i].weight;
    while let Some(&next) = left.iter().min_by(|&&a, &&b| ratio(a).total_cmp(&ratio(b))) {
        let own = share(next, &left);
        // Without a budget nothing is proven, not even by a p-value that underflows to zero.
        if own <= 0.0 || hypotheses[next].p > own {
            for &i in &left {
                tested[i].level = share(i, &left);
            }
            break;
        }
        tested[next] = Tested {
            rejected: true,
            level: own,
        };
        left.retain(|&i| i != next);
    }
    tested
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(p: &[f64], weights: &[f64], level: f64) -> Vec<usize> {
        let hypotheses: Vec<Weighted> = p
            .iter()
            .zip(weights)
            .map(|(&p, &weight)| Weighted { p, weight })
            .collect();
        let tested = weighted_holm(&hypotheses, level);
        (0..p.len()).filter(|&i| tested[i].rejected).collect()
    }

    // weighted_holm([0.01, 0.04, 0.5], [0.5, 0.25, 0.25], 0.05) of
    // fixtures/reference/verdict_ref.py rejects the first alone.
    #[test]
    fn matches_the_reference() {
        assert_eq!(rejected(&[0.01, 0.04, 0.5], &[0.5, 0.25, 0.25], 0.05), [0]);
    }

    #[test]
    fn a_rejected_hypothesis_hands_its_share_on() {
        // Alone at a third of 0.05, 0.03 would stay; after two rejections it has the whole.
        assert_eq!(
            rejected(&[0.001, 0.03, 0.002], &[1.0, 1.0, 1.0], 0.05),
            [0, 1, 2]
        );
        assert_eq!(
            rejected(&[0.03, 0.03, 0.03], &[1.0, 1.0, 1.0], 0.05),
            [0; 0]
        );
    }

    #[test]
    fn nothing_is_proven_without_a_budget() {
        assert_eq!(rejected(&[0.0, 0.1], &[1.0, 1.0], 0.0), [0; 0]);
    }

    #[test]
    fn open_hypotheses_tell_their_level() {
        let both = [
            Weighted {
                p: 0.001,
                weight: 0.5,
            },
            Weighted {
                p: 0.2,
                weight: 0.25,
            },
        ];
        let tested = weighted_holm(&both, 0.04);
        assert!(tested[0].rejected && !tested[1].rejected);
        assert!((tested[1].level - 0.04).abs() < 1e-12);
        assert!(weighted_holm(&[], 0.05).is_empty());
    }
}
