//! How the probes of a suite answer: as measured, or made up.

use std::collections::BTreeMap;

use crate::flow::{Goal, ScoreTable, Suite};
use crate::gate::cluster::intraclass;
use crate::gate::paired::{PairedProbe, pair};
use crate::gate::reduce::mean;
use crate::gate::rules::Rules;

/// How the probes of one `keep` suite answer.
///
/// ```
/// use qeval::gate::SuiteModel;
///
/// let code = SuiteModel::alike("code", 60, 0.7, 0.8);
/// assert_eq!(code.probes(), 60);
/// // Two answers to one probe differ with chance 2 p (1 - p) (1 - correlation).
/// assert!((code.flips() - 0.084).abs() < 1e-12);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct SuiteModel {
    /// Its name.
    pub name: String,
    /// Largest tolerated loss; `None` takes the rules'.
    pub margin: Option<f64>,
    /// Its probes, by how they are judged.
    pub parts: Vec<SuitePart>,
    /// Mean score of generated answers, in [0, 1].
    pub rate: f64,
    /// Correlation of two generated answers to one wording, in [0, 1]: 1 where they never differ.
    pub correlation: f64,
    /// Correlation of the differences of a probe's answers, in [0, 1]: 1 where all of a probe's
    /// wordings change together.
    pub within: f64,
    /// Share of probes that one side has no score for, in [0, 1).
    pub unscored: f64,
    /// How many of the probes are critical.
    pub critical: usize,
}

/// Some probes of a suite.
#[derive(Debug, Clone, PartialEq)]
pub struct SuitePart {
    /// How many.
    pub probes: usize,
    /// What they answer.
    pub answers: Answers,
}

/// What a probe answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Answers {
    /// So many generated answers (wordings times samples), at least 1, each a pass or not.
    Drawn(usize),
    /// A likelihood, which is the same whenever it is asked: one of these scores.
    Known(Vec<f64>),
}

impl SuiteModel {
    /// A suite of probes with one generated answer each.
    pub fn alike(name: &str, probes: usize, rate: f64, correlation: f64) -> Self {
        SuiteModel {
            name: name.to_owned(),
            margin: None,
            parts: vec![SuitePart {
                probes,
                answers: Answers::Drawn(1),
            }],
            rate,
            correlation,
            within: 0.0,
            unscored: 0.0,
            critical: 0,
        }
    }

    /// A `keep` suite as its base answers it, `again` being the base's second answers. Two answers
    /// that never differed may differ yet: half a change is added, as in Jeffreys's rule. `None`
    /// for a `learn` suite and where the base has no score at all.
    pub fn measured(suite: &Suite, base: &ScoreTable, again: &ScoreTable) -> Option<Self> {
        if suite.goal != Goal::Keep {
            return None;
        }
        let own = pair(suite, base, base);
        let twice = pair(suite, base, again);
        let (mut drawn, mut known) = (BTreeMap::<usize, usize>::new(), Vec::new());
        let (mut scores, mut missing, mut critical) = (Vec::new(), 0usize, 0usize);
        for (probe, paired) in suite.probes.iter().zip(&own) {
            critical += usize::from(probe.critical);
            let score = mean(
                paired
                    .pairs
                    .iter()
                    .filter_map(|p| p.base.as_ref().ok().copied()),
            );
            missing += usize::from(score.is_none());
            if probe.is_by_likelihood() {
                known.extend(score);
            } else {
                let draws = probe.prompts.len() * probe.generation.samples;
                *drawn.entry(draws.max(1)).or_default() += 1;
                scores.extend(score);
            }
        }
        if scores.is_empty() && known.is_empty() {
            return None;
        }
        let rate = mean(scores.iter().copied()).unwrap_or(0.0);
        let by_probe: Vec<Vec<f64>> = twice
            .iter()
            .map(changes)
            .filter(|c| !c.is_empty())
            .collect();
        let all: Vec<f64> = by_probe.iter().flatten().copied().collect();
        let square: f64 = all.iter().map(|d| d * d).sum();
        let flips = (square + 0.5) / (all.len() as f64 + 1.0);
        let most = 2.0 * rate * (1.0 - rate);
        let mut parts: Vec<SuitePart> = drawn
            .into_iter()
            .map(|(draws, probes)| SuitePart {
                probes,
                answers: Answers::Drawn(draws),
            })
            .collect();
        let likelihoods = suite.probes.iter().filter(|p| p.is_by_likelihood()).count();
        if likelihoods > 0 && !known.is_empty() {
            parts.push(SuitePart {
                probes: likelihoods,
                answers: Answers::Known(known),
            });
        }
        Some(SuiteModel {
            name: suite.name.clone(),
            margin: suite.margin,
            parts,
            rate,
            correlation: match most > 0.0 && !all.is_empty() {
                true => (1.0 - flips / most).clamp(0.0, 1.0),
                false => 1.0,
            },
            within: intraclass(&by_probe).map_or(0.0, |icc| icc.clamp(0.0, 1.0)),
            unscored: missing as f64 / suite.probes.len().max(1) as f64,
            critical,
        })
    }

    /// Its probes.
    pub fn probes(&self) -> usize {
        self.parts.iter().map(|part| part.probes).sum()
    }

    /// Mean score of the base.
    pub fn mean(&self) -> f64 {
        let all = self.parts.iter().map(|part| {
            let score = match &part.answers {
                Answers::Drawn(_) => self.rate,
                Answers::Known(scores) => mean(scores.iter().copied()).unwrap_or(0.0),
            };
            score * part.probes as f64
        });
        all.sum::<f64>() / self.probes().max(1) as f64
    }

    /// Chance that two generated answers to one wording differ.
    pub fn flips(&self) -> f64 {
        2.0 * self.rate * (1.0 - self.rate) * (1.0 - self.correlation)
    }

    /// The margin that it is judged by.
    pub fn margin(&self, rules: &Rules) -> f64 {
        self.margin.unwrap_or(rules.suite_margin)
    }

    /// The same with another number of probes, in the same proportions.
    #[must_use]
    pub fn resized(&self, probes: usize) -> Self {
        let before = self.probes().max(1);
        let mut resized = self.clone();
        let (mut seen, mut given) = (0, 0);
        for part in &mut resized.parts {
            seen += part.probes;
            let up_to = (seen * probes + before / 2) / before;
            part.probes = up_to - given;
            given = up_to;
        }
        resized
    }
}

/// The differences of one probe's second answers to its first.
fn changes(probe: &PairedProbe) -> Vec<f64> {
    let both =
        |p: &crate::gate::paired::Pair| Some(p.candidate.as_ref().ok()? - p.base.as_ref().ok()?);
    probe.pairs.iter().filter_map(both).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::CheckSpec;
    use crate::gate::testing::column;

    /// Probes whose answers are generated.
    fn numbered(name: &str, probes: usize) -> Suite {
        let mut suite = crate::gate::testing::numbered(name, probes);
        for probe in &mut suite.probes {
            probe.checks.push(CheckSpec {
                kind: "contains".into(),
                negated: false,
                params: serde_json::Map::new(),
            });
        }
        suite
    }

    #[test]
    fn a_suite_is_as_its_base_answers_twice() {
        let suite = numbered("code", 100);
        let values = |passes: usize, change: usize| -> Vec<Option<f64>> {
            (0..100)
                .map(|i| Some(f64::from(u8::from((i < passes) != (i >= 100 - change)))))
                .collect()
        };
        let base = column("code", &values(60, 0));
        let again = column("code", &values(60, 12));
        let model = SuiteModel::measured(&suite, &base, &again).unwrap();
        assert_eq!(
            (model.probes(), model.rate, model.unscored),
            (100, 0.6, 0.0)
        );
        assert!(
            (model.flips() - 12.5 / 101.0).abs() < 1e-12,
            "{}",
            model.flips()
        );
        // Equal answers are not taken to be equal for ever.
        let still = SuiteModel::measured(&suite, &base, &base).unwrap();
        assert!((still.flips() - 0.5 / 101.0).abs() < 1e-12);
        let learn = Suite {
            goal: Goal::Learn,
            ..suite
        };
        assert_eq!(SuiteModel::measured(&learn, &base, &again), None);
    }

    #[test]
    fn what_the_base_left_unscored_is_counted() {
        let mut values = vec![Some(1.0); 20];
        values[..2].fill(None);
        let base = column("code", &values);
        let model = SuiteModel::measured(&numbered("code", 20), &base, &base).unwrap();
        assert_eq!((model.unscored, model.rate), (0.1, 1.0));
        let nothing = column("code", &[None; 20]);
        assert_eq!(
            SuiteModel::measured(&numbered("code", 20), &nothing, &nothing),
            None
        );
    }

    #[test]
    fn a_larger_suite_keeps_its_proportions() {
        let mut suite = SuiteModel::alike("code", 30, 0.5, 0.5);
        suite.parts.push(SuitePart {
            probes: 10,
            answers: Answers::Known(vec![0.5, 1.0]),
        });
        let larger = suite.resized(100);
        let sizes: Vec<usize> = larger.parts.iter().map(|p| p.probes).collect();
        assert_eq!(sizes, [75, 25]);
        assert!((larger.mean() - 0.5625).abs() < 1e-12);
    }
}
