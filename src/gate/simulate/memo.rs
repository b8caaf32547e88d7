//! The two tests of the rule, remembered: simulated comparisons repeat few tables of changes.

use std::collections::HashMap;

use super::answers::Histogram;
use crate::gate::interval::p_not_worse;
use crate::gate::permutation::sign_flip;
use crate::gate::rule::{Evidence, Kind};
use crate::gate::rules::Rules;

/// Differences in steps of 1 / unit, each with how many probes had it.
type Table = (i64, Vec<(i64, u32)>);

/// What was computed already.
#[derive(Default)]
pub(super) struct Memo {
    losses: HashMap<Table, f64>,
    chances: HashMap<(Table, u64), f64>,
}

impl Memo {
    /// As [`Evidence::of`] for the same differences. Without `at_worst` nothing is excluded: whether
    /// a loss is proven does not depend on it, and the bound is the dearer of the two tests.
    pub(super) fn evidence(
        &mut self,
        kind: Kind,
        differences: &Histogram,
        at_worst: Option<&Histogram>,
        margin: f64,
        rules: &Rules,
    ) -> Evidence {
        let (mut probes, mut sum) = (0, 0);
        for (steps, count) in differences.present() {
            probes += count as usize;
            sum += steps * i64::from(count);
        }
        Evidence {
            kind,
            probes,
            mean: sum as f64 / differences.unit() as f64 / probes.max(1) as f64,
            margin,
            p_loss: self.p_loss(differences),
            excluded: at_worst.is_some_and(|d| self.p_not_worse(d, margin) < rules.pass_level()),
        }
    }

    /// p-value of a loss.
    fn p_loss(&mut self, differences: &Histogram) -> f64 {
        // Probes that did not change have no part in it.
        let changed = differences.present().filter(|(steps, _)| *steps != 0);
        let table = (differences.unit(), changed.collect());
        *self
            .losses
            .entry(table)
            .or_insert_with_key(|table| sign_flip(&values(table)))
    }

    /// p-value against a loss of the margin.
    fn p_not_worse(&mut self, at_worst: &Histogram, margin: f64) -> f64 {
        let table = (at_worst.unit(), at_worst.present().collect());
        *self
            .chances
            .entry((table, margin.to_bits()))
            .or_insert_with_key(|(table, _)| p_not_worse(&values(table), margin))
    }
}

fn values((unit, counts): &Table) -> Vec<f64> {
    let mut values = Vec::new();
    for &(steps, count) in counts {
        values.extend(std::iter::repeat_n(
            steps as f64 / *unit as f64,
            count as usize,
        ));
    }
    values
}
