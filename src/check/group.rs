//! `all` and `any`: several checks as one, with weights.
//!
//! The checks of a probe are an "all" by themselves, of which the lowest decides. A group is for
//! partial credit (`all`: three of four facts) and for alternatives (`any`: a number, or the
//! statement that there is none).

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::flow::{CheckSpec, Score};
use crate::text::ellipsize;

use super::error::CheckError;
use super::evidence::{Check, Evidence, Needs, Program};
use super::params::Params;

/// `all` and `any`.
///
/// | parameter | default | |
/// |---|---|---|
/// | `checks` | required | a list of check tables, each with `type`, its parameters, and optionally `weight` |
/// | `min` | none | at least this value becomes 1, less becomes 0 |
///
/// A `weight` is a number above 0 and at most 1 (default 1). With the members' values v and weights
/// w, `all` is the mean `sum(w v) / sum(w)`, and `any` the largest `w v`: an alternative of weight
/// 0.5 gives half a point. In `all` a member that is unscored leaves the group unscored; in
/// `any` only if no other member could still be beaten by it. Groups nest; at most one member,
/// those of inner groups counted, runs a program.
struct Group {
    any: bool,
    members: Vec<Member>,
    min: Option<f64>,
}

struct Member {
    name: String,
    weight: f64,
    check: Box<dyn Check>,
}

#[derive(Deserialize)]
struct MemberTable {
    r#type: String,
    weight: Option<f64>,
    #[serde(flatten)]
    params: Map<String, Value>,
}

/// Builds the kind that `kind` names.
///
/// `build_member` makes the checks of the group, whatever their kinds.
pub(super) fn build(
    kind: &str,
    mut params: Params<'_>,
    build_member: impl Fn(&CheckSpec) -> Result<Box<dyn Check>, CheckError>,
) -> Result<Box<dyn Check>, CheckError> {
    let expected = "a list of tables { type = \"..\", .. }";
    let tables: Vec<MemberTable> = params.nested("checks", expected).unwrap_or_default();
    let min = params
        .has("min")
        .then(|| params.number_in("min", 0.01, 1.0, 1.0));
    let written = params.has("checks");
    let mut members = Vec::new();
    for table in &tables {
        let weight = table.weight.unwrap_or(1.0);
        if !(weight > 0.0 && weight <= 1.0) {
            let what = format!("has a `weight` of {weight}");
            params.refuse("checks", what, "a `weight` is above 0 and at most 1");
        }
        let (bare, negated) = match table.r#type.strip_prefix("not-") {
            Some(bare) => (bare, true),
            None => (table.r#type.as_str(), false),
        };
        let spec = CheckSpec {
            kind: bare.to_owned(),
            negated,
            params: table.params.clone(),
        };
        match build_member(&spec) {
            Ok(check) => members.push(Member {
                name: table.r#type.clone(),
                weight,
                check,
            }),
            Err(error) => params.refuse(
                "checks",
                format!("has a broken member: {error}"),
                "every member of a group is a check of its own",
            ),
        }
    }
    if written && tables.is_empty() {
        params.refuse("checks", "has no checks", "a group has one or more checks");
    }
    let programs: usize = members.iter().map(|m| m.check.needs().programs).sum();
    if programs > 1 {
        let what = format!("has {programs} `code` checks");
        params.refuse("checks", what, "a group has at most one `code` check");
    }
    params.finish()?;
    Ok(Box::new(Group {
        any: kind == "any",
        members,
        min,
    }))
}

impl Group {
    fn value(&self, scores: &[Score]) -> Option<f64> {
        let weighted = || self.members.iter().zip(scores);
        if !self.any {
            let total: f64 = self.members.iter().map(|m| m.weight).sum();
            let sum = weighted()
                .map(|(m, s)| s.value().map(|v| m.weight * v))
                .sum::<Option<f64>>()?;
            return Some(sum / total);
        }
        let best = weighted()
            .filter_map(|(m, s)| Some(m.weight * s.value()?))
            .fold(None, |best: Option<f64>, v| {
                Some(best.map_or(v, |b| b.max(v)))
            });
        let possible = weighted()
            .filter(|(_, s)| s.value().is_none())
            .map(|(m, _)| m.weight)
            .fold(0.0, f64::max);
        best.filter(|best| *best >= possible)
    }
}

impl Check for Group {
    fn needs(&self) -> Needs {
        let mut all = Needs::default();
        for needs in self.members.iter().map(|m| m.check.needs()) {
            all.answer |= needs.answer;
            all.continuations.extend(needs.continuations);
            all.embeddings.extend(needs.embeddings);
            all.training_answers |= needs.training_answers;
            all.siblings |= needs.siblings;
            all.rubrics.extend(needs.rubrics);
            all.programs += needs.programs;
        }
        all
    }

    fn program(&self, answer: &str) -> Option<Program> {
        self.members.iter().find_map(|m| m.check.program(answer))
    }

    fn is_cut(&self, answer: &str) -> bool {
        self.members.iter().any(|m| m.check.is_cut(answer))
    }

    fn score(&self, evidence: &Evidence<'_>) -> Score {
        let mut rest = evidence.likelihoods;
        let scores: Vec<Score> = self
            .members
            .iter()
            .map(|member| {
                let wanted = member.check.needs().continuations.len().min(rest.len());
                let (own, others) = rest.split_at(wanted);
                rest = others;
                member.check.score(&Evidence {
                    likelihoods: own,
                    ..*evidence
                })
            })
            .collect();
        let shown: Vec<String> = self
            .members
            .iter()
            .zip(&scores)
            .map(|(member, score)| {
                let value = score
                    .value()
                    .map_or("unscored".into(), |v| format!("{v:.2}"));
                let weight = match member.weight {
                    1.0 => String::new(),
                    w => format!(" x {w}"),
                };
                let why = ellipsize(score.explanation(), 80);
                format!("{} {value}{weight} ({why})", member.name)
            })
            .collect();
        let evidence = shown.join("; ");
        match self.value(&scores) {
            None => Score::unscored(evidence),
            Some(value) => Score::Scored {
                value: match self.min {
                    Some(min) if value >= min => 1.0,
                    Some(_) => 0.0,
                    None => value,
                },
                evidence,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::check::golden::tests::{answer, check, judge, refused, table};
    use crate::check::{Evidence, Judgement, Judgements};

    const EITHER: &str = r#"{"checks": [
        {"type": "number", "value": 0},
        {"type": "icontains-any", "value": ["no solution", "无解"]}]}"#;
    const TWO_OF_THREE: &str = r#"{"min": 0.6, "checks": [
        {"type": "icontains", "value": "red"},
        {"type": "icontains", "value": "green"},
        {"type": "icontains", "value": "蓝"}]}"#;

    #[test]
    fn golden_answers() {
        table(
            "any",
            EITHER,
            &[
                "0",
                "It is zero.",
                "There is no solution.",
                "无解。",
                "No solution exists: 7 is not even.",
                "x = 0",
            ],
            &[
                "",
                "1",
                "There is a solution.",
                "有解",
                "ten",
                "I am Aurora.",
            ],
        );
        table(
            "all",
            TWO_OF_THREE,
            &[
                "red, green, 蓝",
                "RED and green",
                "蓝 and red",
                "green 蓝色",
            ],
            &["red", "blue", "", "绿"],
        );
    }

    #[test]
    fn weights_give_partial_credit() {
        let all = r#"{"checks": [{"type": "contains", "value": "a"},
            {"type": "contains", "value": "b", "weight": 0.5}]}"#;
        for (text, value) in [("ab", 1.0), ("a", 2.0 / 3.0), ("b", 1.0 / 3.0), ("c", 0.0)] {
            let score = judge("all", all, text).value().unwrap();
            assert!((score - value).abs() < 1e-12, "{text}: {score}");
        }
        for (text, value) in [("ab", 1.0), ("a", 1.0), ("b", 0.5), ("c", 0.0)] {
            assert_eq!(judge("any", all, text).value(), Some(value), "{text}");
        }
        assert_eq!(judge("not-any", all, "b").value(), Some(0.5));
    }

    #[test]
    fn an_unscored_member_counts_where_it_could_decide() {
        let with = |kind: &str, text: &str| {
            let params = r#"{"checks": [{"type": "contains", "value": "a"},
                {"type": "memorized", "weight": 0.5}]}"#;
            judge(kind, params, text).value()
        };
        assert_eq!(with("any", "a"), Some(1.0));
        assert_eq!(with("any", "b"), None);
        assert_eq!(with("all", "a"), None);
    }

    #[test]
    fn groups_nest_and_ask_for_what_their_members_need() {
        let params = r#"{"checks": [
            {"type": "all", "checks": [{"type": "contains", "value": "a"}, {"type": "not-contains", "value": "b"}]},
            {"type": "choice", "options": ["x", "y"], "answer": "x"},
            {"type": "likelihood", "text": "z", "weight": 0.1}]}"#;
        let needs = check("any", params).needs();
        assert!(needs.answer);
        assert_eq!(needs.continuations, ["x", "y", "z"]);
        assert_eq!(judge("any", params, "a").value(), Some(1.0));
        let code = r#"{"checks": [{"type": "code", "entry": "f", "cases": [{"args": [], "returns": 1}]}]}"#;
        assert!(
            check("all", code)
                .program("```python\ndef f():\n    return 1\n```")
                .is_some()
        );
    }

    #[test]
    fn each_rubric_of_a_group_has_its_own_judgement() {
        let params = r#"{"checks": [
            {"type": "llm-rubric", "value": "It names a base case."},
            {"type": "all", "checks": [{"type": "llm-rubric", "value": "It is polite."}]}]}"#;
        let group = check("all", params);
        assert_eq!(
            group.needs().rubrics,
            ["It names a base case.", "It is polite."]
        );
        let said = |yes: f64| Judgement {
            yes_first: yes,
            no_first: yes,
        };
        let judgements = Judgements::from([
            ("It names a base case.".to_owned(), said(0.9)),
            ("It is polite.".to_owned(), said(0.1)),
        ]);
        let score = group.score(&Evidence {
            answer: Some(&answer("n == 0, you fool")),
            judgements: Some(&judgements),
            ..Evidence::default()
        });
        assert_eq!(score.value(), Some(0.5), "{}", score.explanation());
    }

    #[test]
    fn a_program_in_an_inner_group_counts() {
        let code = r#"{"type": "code", "entry": "f", "cases": [{"args": [], "returns": 1}]}"#;
        let nested = format!(
            r#"{{"checks": [{code}, {{"type": "any", "checks": [{{"type": "not-code", "entry": "f", "cases": [{{"args": [], "returns": 1}}]}}]}}]}}"#
        );
        insta::assert_snapshot!(
            refused("all", &nested),
            @"check `all`: `checks` has 2 `code` checks (a group has at most one `code` check)"
        );
    }

    #[test]
    fn evidence_and_errors() {
        insta::assert_snapshot!(
            [
                judge("any", EITHER, "x = 2").explanation().to_owned(),
                refused("any", "{}"),
                refused("all", r#"{"checks": []}"#),
                refused("all", r#"{"checks": [{"type": "contians", "value": "a"}]}"#),
                refused("all", r#"{"checks": [{"type": "contains", "value": "a", "weight": 2}]}"#),
                refused("all", r#"{"checks": [{"value": "a"}]}"#),
            ]
            .join("\n"),
            @r#"
        number 0.00 (the last number, "2", is not 0); icontains-any 0.00 (no "no solution" or "无解" in "x = 2")
        check `any`: missing parameter `checks` (`checks` wants a list of tables { type = "..", .. })
        check `all`: `checks` has no checks (a group has one or more checks)
        check `all`: `checks` has a broken member: check `contians`: unknown check type `contians` (a check's type is equals, contains, contains-any, contains-all, icontains, icontains-any, icontains-all, starts-with, regex, number, levenshtein, rouge-n, word-count, is-json, contains-json, code, language, refusal, similar, consistent, likelihood, choice, perplexity, memorized, llm-rubric, all, or any, or one of these after `not-`; nearest: `contains`) (every member of a group is a check of its own)
        check `all`: `checks` has a `weight` of 2 (a `weight` is above 0 and at most 1)
        check `all`: 2 problems: `checks` is wrong: missing field `type` (`checks` wants a list of tables { type = "..", .. }); `checks` has no checks (a group has one or more checks)
        "#
        );
    }
}
