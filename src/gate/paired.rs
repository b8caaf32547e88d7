//! Joins the scores of base and candidate by case and sample.

use std::collections::BTreeSet;

use crate::flow::{CaseId, FIRST_FURTHER, ProbeId, Score, ScoreTable, Suite};

/// One draw: the same case and sample, answered by both.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pair {
    pub(super) base: Result<f64, String>,
    pub(super) candidate: Result<f64, String>,
}

/// All draws of one probe. Its paraphrases and samples are one cluster.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PairedProbe {
    pub(super) id: ProbeId,
    pub(super) critical: bool,
    pub(super) pairs: Vec<Pair>,
    /// Further draws of a critical probe that both have.
    pub(super) further: Vec<Pair>,
}

/// The probes of a suite in their order, each with every draw that either side has. A probe that
/// neither answered has no pairs.
pub(super) fn pair(suite: &Suite, base: &ScoreTable, candidate: &ScoreTable) -> Vec<PairedProbe> {
    let of_probe = |probe: &str| -> (Vec<Pair>, Vec<Pair>) {
        let case = |prompt| CaseId {
            suite: suite.name.clone(),
            probe: probe.to_string(),
            prompt,
        };
        let range = (case(0), 0)..=(case(usize::MAX), usize::MAX);
        let keys: BTreeSet<_> = base
            .range(range.clone())
            .chain(candidate.range(range))
            .map(|(key, _)| key)
            .collect();
        let (further, first): (Vec<_>, Vec<_>) =
            keys.into_iter().partition(|key| key.1 >= FIRST_FURTHER);
        let pair = |key| Pair {
            base: value(base.get(key)),
            candidate: value(candidate.get(key)),
        };
        // The base was asked further for another candidate's sake too.
        let asked =
            |key: &&(CaseId, usize)| base.contains_key(*key) && candidate.contains_key(*key);
        (
            first.into_iter().map(pair).collect(),
            further.into_iter().filter(asked).map(pair).collect(),
        )
    };
    suite
        .probes
        .iter()
        .map(|probe| {
            let (pairs, further) = of_probe(&probe.id);
            PairedProbe {
                id: suite.id_of(probe),
                critical: probe.critical,
                pairs,
                further,
            }
        })
        .collect()
}

/// The score's value, or why there is none. Records can be edited by hand, so a value outside its
/// range is no score.
fn value(score: Option<&Score>) -> Result<f64, String> {
    match score {
        None => Err("no answer".into()),
        Some(Score::Unscored { reason }) => Err(reason.clone()),
        Some(Score::Scored { value, .. }) if (0.0..=1.0).contains(value) => Ok(*value),
        Some(Score::Scored { value, .. }) => Err(format!("score {value} is not between 0 and 1")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::testing::{suite, table};

    #[test]
    fn draws_are_joined_by_case_and_sample() {
        let suite = suite("code", &["a", "ab"]);
        let mut base = table("code", &[("a", &[1.0, 0.5]), ("ab", &[0.0])]);
        let candidate = table("code", &[("a", &[0.0, 0.5, 1.0]), ("ab", &[1.0])]);
        base.remove(&(
            CaseId {
                suite: "code".into(),
                probe: "a".into(),
                prompt: 0,
            },
            0,
        ));

        let probes = pair(&suite, &base, &candidate);
        assert_eq!(probes.len(), 2);
        let missing = || Err("no answer".to_string());
        assert_eq!(
            probes[0].pairs,
            [
                Pair {
                    base: missing(),
                    candidate: Ok(0.0)
                },
                Pair {
                    base: Ok(0.5),
                    candidate: Ok(0.5)
                },
                Pair {
                    base: missing(),
                    candidate: Ok(1.0)
                },
            ]
        );
        assert_eq!(
            probes[1].pairs,
            [Pair {
                base: Ok(0.0),
                candidate: Ok(1.0)
            }]
        );
    }

    #[test]
    fn scores_of_other_suites_and_removed_probes_are_left_alone() {
        let scores = table("other", &[("a", &[1.0])]);
        assert!(
            pair(&suite("code", &["a"]), &scores, &scores)[0]
                .pairs
                .is_empty()
        );
    }

    #[test]
    fn a_value_out_of_range_is_no_score() {
        let scores = table("code", &[("a", &[7.0])]);
        let probes = pair(&suite("code", &["a"]), &scores, &scores);
        assert_eq!(
            probes[0].pairs[0].base,
            Err("score 7 is not between 0 and 1".into())
        );
    }
}
