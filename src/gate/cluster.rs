//! Values that belong together: how alike are they, and how many independent ones are they worth?
//!
//! The intraclass correlation by one-way analysis of variance (Fisher 1925; for groups of unequal
//! size Donner 1986, "A review of inference procedures for the intraclass correlation coefficient"),
//! and the design effect 1 + (m - 1) icc of Kish 1965, m being the mean size of a group as values see
//! it. Where a correlation is below 0, the groups are no more alike than chance makes them, and the
//! design effect is taken as 1: nothing is worth more than itself.

use crate::flow::Alike;

/// Standard deviations above 1 from which on the F ratio of groups to members is no chance.
const CLEAR: f64 = 3.0;

/// Mean squares between and within groups, and the size that groups of unequal size are worth.
struct Variance {
    groups: f64,
    between: f64,
    inside: f64,
    size: f64,
}

impl Variance {
    /// `None` where no group has two values, or all are one.
    fn of(groups: &[Vec<f64>]) -> Option<Self> {
        let groups: Vec<&Vec<f64>> = groups.iter().filter(|g| !g.is_empty()).collect();
        let (count, all) = (groups.len(), groups.iter().map(|g| g.len()).sum::<usize>());
        if count < 2 || all <= count {
            return None;
        }
        let (k, n) = (count as f64, all as f64);
        let grand = groups.iter().flat_map(|g| g.iter()).sum::<f64>() / n;
        let (mut between, mut inside, mut squares) = (0.0, 0.0, 0.0);
        for group in groups {
            let size = group.len() as f64;
            let mean = group.iter().sum::<f64>() / size;
            between += size * (mean - grand).powi(2);
            inside += group.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
            squares += size * size;
        }
        Some(Variance {
            groups: k,
            between: between / (k - 1.0),
            inside: inside / (n - k),
            size: (n - squares / n) / (k - 1.0),
        })
    }

    fn correlation(&self) -> Option<f64> {
        let spread = self.between + (self.size - 1.0) * self.inside;
        (spread > 1e-15).then(|| (self.between - self.inside) / spread)
    }

    /// Whether groups differ more than independent values make them.
    fn is_clear(&self) -> bool {
        let most = 1.0 + CLEAR * (2.0 / (self.groups - 1.0)).sqrt();
        self.between > most * self.inside
    }
}

/// Intraclass correlation of values in groups, at most 1; below 0 where groups differ less than
/// their values do. `None` where nothing varies, or where no group has two values, or all are one.
pub(super) fn intraclass(groups: &[Vec<f64>]) -> Option<f64> {
    Variance::of(groups)?.correlation()
}

/// The same with what follows from it.
pub(super) fn alike(groups: &[Vec<f64>]) -> Option<Alike> {
    let variance = Variance::of(groups)?;
    let correlation = variance.correlation()?;
    let sizes = groups.iter().map(|g| g.len() as f64);
    let (all, squares) = sizes.fold((0.0, 0.0), |(a, s), n| (a + n, s + n * n));
    let design_effect = (1.0 + (squares / all - 1.0) * correlation).max(1.0);
    Some(Alike {
        correlation,
        design_effect,
        values: all as usize,
        effective: all / design_effect,
        clear: variance.is_clear(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn design_effect(groups: &[Vec<f64>]) -> Option<f64> {
        alike(groups).map(|a| a.design_effect)
    }

    #[test]
    fn matches_an_analysis_of_variance_by_hand() {
        let groups = [vec![0.0, 0.5], vec![1.0, 1.5], vec![1.5, 2.0]];
        let between: f64 = 2.0
            * ((0.25f64 - 13.0 / 12.0).powi(2)
                + (1.25f64 - 13.0 / 12.0).powi(2)
                + (1.75f64 - 13.0 / 12.0).powi(2))
            / 2.0;
        let inside = 0.125;
        let expected = (between - inside) / (between + inside);
        assert!((intraclass(&groups).unwrap() - expected).abs() < 1e-12);
        assert!((design_effect(&groups).unwrap() - (1.0 + expected)).abs() < 1e-12);
    }

    #[test]
    fn equal_values_of_a_group_are_worth_one() {
        let groups = [vec![0.0; 4], vec![-1.0; 4], vec![0.0; 4], vec![1.0; 4]];
        assert_eq!(intraclass(&groups), Some(1.0));
        assert_eq!(design_effect(&groups), Some(4.0));
    }

    #[test]
    fn groups_that_differ_less_than_their_values_cost_nothing() {
        let groups = [vec![0.0, 1.0], vec![1.0, 0.0], vec![0.0, 1.0]];
        assert_eq!(intraclass(&groups), Some(-1.0));
        assert_eq!(design_effect(&groups), Some(1.0));
    }

    #[test]
    fn nothing_to_tell_apart_has_no_correlation() {
        for groups in [
            vec![],
            vec![vec![0.0, 1.0]],
            vec![vec![0.0], vec![1.0]],
            vec![vec![0.0, 0.0], vec![0.0, 0.0], vec![]],
        ] {
            assert_eq!(intraclass(&groups), None, "{groups:?}");
        }
    }
}
