//! Training and validation side, by group.

use std::collections::HashMap;

use crate::random::{Purpose, shuffled};

/// Places of the examples on each side, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Trained on.
    pub train: Vec<usize>,
    /// Held out; empty when no validation was asked for, and when it cannot be had.
    pub validation: Vec<usize>,
    /// Number of groups in all.
    pub groups: usize,
}

/// Holds out whole groups, about `ratio` of the examples and at least one group, chosen by the
/// seed. With fewer than two groups nothing is held out: one side would be empty.
pub fn split(groups: &[&str], ratio: f64, seed: u64) -> Split {
    let mut members: Vec<Vec<usize>> = Vec::new();
    let mut place_of: HashMap<&str, usize> = HashMap::new();
    for (i, group) in groups.iter().enumerate() {
        let place = *place_of.entry(group).or_insert_with(|| {
            members.push(Vec::new());
            members.len() - 1
        });
        members[place].push(i);
    }
    let mut validation = Vec::new();
    if ratio > 0.0 && members.len() > 1 {
        let target = ((groups.len() as f64 * ratio).round() as usize).max(1);
        let order = shuffled(members.len(), seed, Purpose::Split, 0);
        let mut held_out = 0;
        for &group in &order {
            // The last group stays, whatever the ratio.
            if held_out + 1 == members.len() {
                break;
            }
            if validation.len() + members[group].len() <= target {
                validation.extend(&members[group]);
                held_out += 1;
            }
        }
        if validation.is_empty()
            && let Some(&smallest) = order.iter().min_by_key(|&&group| members[group].len())
        {
            validation.extend(&members[smallest]);
        }
        validation.sort_unstable();
    }
    let train = (0..groups.len())
        .filter(|i| validation.binary_search(i).is_err())
        .collect();
    Split {
        train,
        validation,
        groups: members.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_never_torn_apart() {
        let groups = ["a", "b", "a", "c", "b", "d", "e", "f", "g", "h"];
        for seed in 0..50 {
            let split = split(&groups, 0.3, seed);
            assert!(!split.train.is_empty());
            assert!((1..=3).contains(&split.validation.len()));
            for &held_out in &split.validation {
                assert!(split.train.iter().all(|&i| groups[i] != groups[held_out]));
            }
            assert_eq!(split.train.len() + split.validation.len(), groups.len());
        }
    }

    #[test]
    fn neither_side_is_ever_empty_when_there_are_two_groups() {
        for ratio in [0.001, 0.5, 0.999] {
            let split = split(&["a", "a", "a", "b", "b"], ratio, 1);
            assert!(
                !split.train.is_empty() && !split.validation.is_empty(),
                "{ratio}"
            );
        }
    }

    #[test]
    fn one_group_holds_nothing_out() {
        assert_eq!(split(&["a"; 8], 0.5, 1).validation, [0usize; 0]);
        assert_eq!(split(&["a", "b"], 0.0, 1).validation, [0usize; 0]);
    }
}
