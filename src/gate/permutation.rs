//! The exact sign-flip test for graded scores: is a loss proven?
//!
//! Fisher 1935, Pitman 1937. If base and candidate are exchangeable, every probe's difference is as
//! likely to have the other sign. The p-value is the share of the 2^n sign patterns whose sum is at
//! most the observed one, by convolution, so there are no random numbers. Where it departs from the
//! textbook: differences are rounded to 1/240, which is exact for means of 2, 3, 4, 5, 6, 8, 10, 12,
//! 15 or 16 draws.

use super::mcnemar::mcnemar;

const GRID: f64 = 240.0;

/// p-value of a loss: small when the differences (candidate minus base, in [-1, 1], one a probe)
/// are too low for chance. 1 when nothing changed.
///
/// Fisher 1935, Pitman 1937: the share of the 2^n sign patterns whose sum is at most the observed one.
///
/// ```
/// use qeval::gate::sign_flip;
///
/// // Two of the four patterns of 0.5 and 0.25 sum to -0.25 or less, one to -0.75.
/// assert_eq!(sign_flip(&[-0.5, -0.25]), 0.25);
/// assert_eq!(sign_flip(&[-0.5, 0.25]), 0.5);
/// ```
pub fn sign_flip(differences: &[f64]) -> f64 {
    let on_grid = || {
        differences
            .iter()
            .map(|d| (d * GRID).round_ties_even() as i64)
            .filter(|&k| k != 0)
    };
    let step = on_grid().fold(0, |a, b| greatest_common_divisor(a, b.unsigned_abs()));
    if step == 0 {
        return 1.0;
    }
    let mut sizes: Vec<usize> = on_grid()
        .map(|k| (k.unsigned_abs() / step) as usize)
        .collect();
    if sizes.iter().all(|&size| size == 1) {
        let losses = on_grid().filter(|&k| k < 0).count();
        return mcnemar(losses, sizes.len() - losses);
    }
    // The order changes the work, not the result: small sizes first keep the table short for long.
    sizes.sort_unstable();
    let negative: usize = on_grid()
        .filter(|&k| k < 0)
        .map(|k| (k.unsigned_abs() / step) as usize)
        .sum();
    let all: usize = sizes.iter().sum();

    // chance[j]: the sizes that drew a minus add up to j.
    let mut chance = vec![0.0; all + 1];
    chance[0] = 1.0;
    let mut top = 0;
    for size in sizes {
        for j in (0..=top + size).rev() {
            let with = if j >= size { chance[j - size] } else { 0.0 };
            chance[j] = 0.5 * (chance[j] + with);
        }
        top += size;
    }
    f64::min(chance[negative..].iter().sum(), 1.0)
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Printed by fixtures/reference/verdict_ref.py: "graded n 60 ... p_loss 0.0212118".
    #[test]
    fn matches_the_reference_on_graded_scores() {
        let d: Vec<f64> = [-0.5, -0.25, 0.0, 0.125, 0.25].repeat(12);
        assert!(
            (sign_flip(&d) - 0.0212118).abs() < 1e-7,
            "{}",
            sign_flip(&d)
        );
    }

    // p_loss of fixtures/reference/verdict_ref.py for
    // d = [((i * 7919) % 41 - 22) / 160 for i in range(n)].
    #[test]
    fn matches_the_reference_on_many_different_values() {
        for (probes, p) in [(37, 0.0992637193), (800, 8.62798628e-7)] {
            let d: Vec<f64> = (0..probes)
                .map(|i| f64::from(i * 7919 % 41 - 22) / 160.0)
                .collect();
            assert!((sign_flip(&d) / p - 1.0).abs() < 1e-8, "{}", sign_flip(&d));
        }
    }

    #[test]
    fn equals_counting_every_sign_pattern() {
        let d = [-1.0, 0.75, -0.5, -0.25, 0.5, -0.75, 0.0, -1.0, 0.25, -0.25];
        let observed: f64 = d.iter().sum();
        let patterns = 1u32 << d.len();
        let at_most = (0..patterns)
            .filter(|bits| {
                let sum: f64 = d
                    .iter()
                    .enumerate()
                    .map(|(i, x)| {
                        if bits >> i & 1 == 1 {
                            -x.abs()
                        } else {
                            x.abs()
                        }
                    })
                    .sum();
                sum <= observed + 1e-9
            })
            .count();
        assert!((sign_flip(&d) - at_most as f64 / f64::from(patterns)).abs() < 1e-12);
    }

    #[test]
    fn is_mcnemar_for_pass_and_fail() {
        let d: Vec<f64> = [vec![-1.0; 7], vec![1.0; 2], vec![0.0; 91]].concat();
        assert_eq!(sign_flip(&d), mcnemar(7, 2));
        let halves: Vec<f64> = d.iter().map(|x| x / 2.0).collect();
        assert_eq!(sign_flip(&halves), mcnemar(7, 2), "a common size cancels");
    }

    #[test]
    fn nothing_changed_proves_nothing() {
        assert_eq!(sign_flip(&[]), 1.0);
        assert_eq!(sign_flip(&[0.0; 40]), 1.0);
    }

    #[test]
    fn does_not_depend_on_the_order() {
        let mut d = vec![-0.9, 0.3, -0.1, 0.7, -0.45, -0.2];
        let p = sign_flip(&d);
        d.reverse();
        assert_eq!(p, sign_flip(&d));
    }
}
