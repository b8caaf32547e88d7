//! The rule over a grid of made-up suites: what is claimed beside what is measured.
//!
//! Every cell is four equal suites of one answer a probe, judged by the usual rules, pooled and each.
//! Unscored answers are allowed in any number here, so that the rule is tried on them at all: by
//! default a suite with more than a tenth of them is not measured, and nothing passes.

use super::model::SuiteModel;
use super::world::{Truth, World};
use crate::flow::{GridCell, GridRates};
use crate::gate::rules::Rules;

/// Suites of a cell.
const SUITES: usize = 4;

/// Probes of all suites together.
const PROBES: [usize; 6] = [20, 50, 100, 200, 400, 800];
/// Mean scores of the base.
const RATES: [f64; 5] = [0.1, 0.3, 0.5, 0.8, 0.95];
/// Correlations of two answers to one probe.
const CORRELATIONS: [f64; 4] = [0.0, 0.3, 0.6, 0.9];
/// Looks.
const LOOKS: [usize; 3] = [1, 5, 20];
/// Shares of probes that a side has no score for.
const UNSCORED: [f64; 2] = [0.0, 0.2];

/// Every cell, in the order of the table. Of several looks, which take so many times as long, there are
/// the lowest, the middle, and the highest rate, and three of the correlations.
pub fn grid() -> Vec<GridCell> {
    let mut cells = Vec::new();
    for looks in LOOKS {
        let (rates, correlations) = match looks {
            1 => (&RATES[..], &CORRELATIONS[..]),
            _ => (&[RATES[0], RATES[2], RATES[4]][..], &[0.0, 0.6, 0.9][..]),
        };
        for probes in PROBES {
            for &rate in rates {
                for &correlation in correlations {
                    cells.extend(UNSCORED.map(|unscored| GridCell {
                        probes,
                        rate,
                        correlation,
                        looks,
                        unscored,
                    }));
                }
            }
        }
    }
    cells
}

/// What the rule does in one cell. Power is measured where every answer is scored and the base has
/// so much to lose.
pub fn grid_rates(cell: &GridCell, comparisons: u64, seed: u64) -> GridRates {
    let suite = |i: usize| {
        let probes = cell.probes / SUITES + usize::from(i < cell.probes % SUITES);
        let mut suite = SuiteModel::alike(&format!("s{i}"), probes, cell.rate, cell.correlation);
        // Either side can be the one without a score.
        suite.unscored = 1.0 - (1.0 - cell.unscored).sqrt();
        suite
    };
    let rules = Rules {
        max_unscored_share: 1.0,
        ..Rules::default()
    };
    let margin = rules.margin;
    let world = World {
        looks: cell.looks,
        ..World::of((0..SUITES).map(suite).collect(), rules)
    };
    let harmless = world.simulate(Truth::Harmless, comparisons, seed);
    let at_margin = world.simulate(Truth::Loss(margin), comparisons, seed);
    let lost = |loss: f64| {
        (cell.unscored == 0.0 && loss <= cell.rate + 1e-9).then(|| {
            let counts = world.simulate(Truth::Loss(loss), comparisons, seed);
            [counts.first_alarms, counts.run_alarms].map(|count| counts.share(count))
        })
    };
    GridRates {
        flips: world.suites[0].flips(),
        false_alarms: harmless.share(harmless.run_alarms),
        passes: harmless.share(harmless.picked_passes),
        passes_at_margin: at_margin.share(at_margin.picked_passes),
        found_5: lost(0.05),
        found_10: lost(0.10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::share_error;

    #[test]
    fn the_grid_is_whole() {
        let cells = grid();
        assert_eq!(cells.len(), 6 * 2 * (5 * 4 + 2 * 3 * 3));
        let reach = |value: fn(&GridCell) -> f64| {
            let values: Vec<f64> = cells.iter().map(value).collect();
            let (low, high) = (values.iter().copied(), values.iter().copied());
            (low.fold(f64::MAX, f64::min), high.fold(0.0, f64::max))
        };
        assert_eq!(reach(|c| c.probes as f64), (20.0, 800.0));
        assert_eq!(reach(|c| c.rate), (0.1, 0.95));
        assert_eq!(reach(|c| c.correlation), (0.0, 0.9));
        assert_eq!(reach(|c| c.looks as f64), (1.0, 20.0));
        assert_eq!(reach(|c| c.unscored), (0.0, 0.2));
    }

    /// A part of the table in the guide's page on error rates; all of it takes minutes.
    #[test]
    fn error_rates_are_what_is_claimed_in_part_of_the_grid() {
        let comparisons = 1500;
        for (probes, rate, correlation, looks, unscored) in [
            (20, 0.5, 0.0, 1, 0.0),
            (100, 0.8, 0.6, 1, 0.1),
            (100, 0.95, 0.3, 5, 0.0),
            (50, 0.5, 0.9, 20, 0.2),
        ] {
            let cell = GridCell {
                probes,
                rate,
                correlation,
                looks,
                unscored,
            };
            let rates = grid_rates(&cell, comparisons, 1);
            let most = 0.05 + 2.0 * share_error(0.05, comparisons);
            assert!(rates.false_alarms <= most, "{cell:?} {rates:?}");
            assert!(rates.passes_at_margin <= most, "{cell:?} {rates:?}");
        }
    }
}
