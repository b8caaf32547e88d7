//! Which differences of a suite move together: within a probe's answers, and within a tag.
//!
//! The verdict rests on probes as independent draws. Answers to one probe never count as more than
//! it, so what they share costs nothing but sharpness. Probes of one theme may rise and fall
//! together too, and then so many of them are worth fewer: the design effect says how many.
//!
//! A probe belongs to the group of the rarest of its tags that another probe has too: a theme, where
//! others are a language or a size.

use std::collections::BTreeMap;

use super::cluster::alike;
use super::paired::PairedProbe;
use crate::flow::{Spread, Suite};

/// The differences of some probes, by what they have in common.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Groups {
    answers: Vec<Vec<f64>>,
    tags: Vec<Vec<f64>>,
}

impl Groups {
    /// Those of a suite, whose probes `paired` has in their order.
    pub(super) fn of(suite: &Suite, paired: &[PairedProbe]) -> Self {
        let answers: Vec<Vec<f64>> = paired.iter().map(differences).collect();
        let mut carriers: BTreeMap<&str, usize> = BTreeMap::new();
        for probe in &suite.probes {
            for tag in &probe.tags {
                *carriers.entry(tag).or_default() += 1;
            }
        }
        let mut tags: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        let mut alone = Vec::new();
        for (probe, answers) in suite.probes.iter().zip(&answers) {
            if answers.is_empty() {
                continue;
            }
            let mean = answers.iter().sum::<f64>() / answers.len() as f64;
            let shared = probe.tags.iter().filter(|tag| carriers[tag.as_str()] > 1);
            match shared.min_by_key(|tag| (carriers[tag.as_str()], tag.as_str())) {
                Some(tag) => tags.entry(tag).or_default().push(mean),
                None => alone.push(vec![mean]),
            }
        }
        Groups {
            answers,
            tags: tags.into_values().chain(alone).collect(),
        }
    }

    /// All of several suites; a tag of two suites is two groups.
    pub(super) fn together<'a>(all: impl Iterator<Item = &'a Groups>) -> Self {
        all.fold(Groups::default(), |mut sum, groups| {
            sum.answers.extend(groups.answers.iter().cloned());
            sum.tags.extend(groups.tags.iter().cloned());
            sum
        })
    }

    /// `None` where neither can be told.
    pub(super) fn spread(&self) -> Option<Spread> {
        let spread = Spread {
            answers: alike(&self.answers),
            tags: alike(&self.tags),
        };
        (spread.answers.is_some() || spread.tags.is_some()).then_some(spread)
    }
}

/// The differences of a probe's answers that both sides have a score for.
fn differences(probe: &PairedProbe) -> Vec<f64> {
    let pairs = probe.pairs.iter();
    let both = pairs.filter_map(|p| Some(p.candidate.as_ref().ok()? - p.base.as_ref().ok()?));
    both.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::paired::pair;
    use crate::gate::testing::{column, numbered, table};

    /// 40 probes of four themes, in English, one of which loses everything.
    fn themed(lost: usize) -> Option<Spread> {
        let mut suite = numbered("code", 40);
        for (i, probe) in suite.probes.iter_mut().enumerate() {
            probe.tags.push(format!("theme{}", i / 10));
        }
        let values = |lost: usize| -> Vec<Option<f64>> {
            (0..40)
                .map(|i| Some(f64::from(u8::from(i >= lost))))
                .collect()
        };
        let (base, candidate) = (column("code", &values(0)), column("code", &values(lost)));
        Groups::of(&suite, &pair(&suite, &base, &candidate)).spread()
    }

    #[test]
    fn a_theme_that_is_lost_as_a_whole_is_worth_one_probe() {
        let tags = themed(10).unwrap().tags.unwrap();
        assert_eq!(tags.correlation, 1.0);
        assert!((tags.design_effect - 10.0).abs() < 1e-9, "{tags:?}");
        assert_eq!((tags.values, tags.effective, tags.clear), (40, 4.0, true));
        assert_eq!(themed(0), None, "nothing changed");
    }

    #[test]
    fn a_language_that_all_probes_have_makes_no_groups() {
        let suite = numbered("code", 4);
        let base = column("code", &[Some(1.0); 4]);
        let candidate = column("code", &[Some(0.0), Some(1.0), Some(1.0), Some(1.0)]);
        assert_eq!(
            Groups::of(&suite, &pair(&suite, &base, &candidate)).spread(),
            None
        );
    }

    #[test]
    fn answers_of_a_probe_that_change_together_are_worth_one() {
        let suite = crate::gate::testing::suite("code", &["a", "b", "c"]);
        let base = table(
            "code",
            &[("a", &[1.0; 3]), ("b", &[1.0; 3]), ("c", &[1.0; 3])],
        );
        let candidate = table(
            "code",
            &[("a", &[0.0; 3]), ("b", &[1.0; 3]), ("c", &[1.0; 3])],
        );
        let answers = Groups::of(&suite, &pair(&suite, &base, &candidate))
            .spread()
            .unwrap()
            .answers
            .unwrap();
        assert_eq!((answers.correlation, answers.values), (1.0, 9));
        assert!((answers.effective - 3.0).abs() < 1e-9);
    }
}
