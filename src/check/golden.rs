//! Answers whose scores are known, against the checks that they stand beside.

use crate::flow::{Answer, CaseId, Expect, Golden, Score};

use super::evidence::{Check, Evidence, Needs};

/// Why the checks of a probe do not say of a golden answer what it expects; `None` when they do,
/// or when that cannot be told from the answer's text alone (checks that want likelihoods,
/// embeddings, training answers, or a program's outcome are left out).
///
/// ```
/// use qeval::check::registry::{build, contradiction};
/// use qeval::flow::{CheckSpec, Expect, Golden};
///
/// let checks = [build(&CheckSpec {
///     kind: "contains".into(),
///     negated: false,
///     params: serde_json::from_str(r#"{"value": "Lima"}"#)?,
/// })?];
/// let golden = |answer: &str| Golden {
///     answer: answer.into(),
///     expect: Expect::Pass,
///     siblings: Vec::new(),
///     training_answers: Vec::new(),
/// };
/// assert_eq!(contradiction(&checks, &golden("It is Lima.")), None);
/// let why = contradiction(&checks, &golden("It is Quito."));
/// assert!(why.is_some_and(|why| why.starts_with("fail: ")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn contradiction(checks: &[Box<dyn Check>], golden: &Golden) -> Option<String> {
    let scores: Vec<Option<Score>> = checks
        .iter()
        .map(|check| score_by_text(check.as_ref(), golden))
        .collect();
    let judged: Vec<&Score> = scores.iter().flatten().collect();
    let all = judged.len() == scores.len();
    let score = Score::lowest(judged);
    let meets = match golden.expect {
        Expect::Pass => score.value().map_or(!all, |value| value == 1.0),
        Expect::Fail => score.value() == Some(0.0) || !all,
        Expect::Unscored => score.value().is_none() || !all,
    };
    if meets {
        return None;
    }
    let says = match score.value() {
        Some(1.0) => "pass".to_owned(),
        Some(0.0) => "fail".to_owned(),
        Some(value) => format!("score {value}"),
        None => "leave it unscored".to_owned(),
    };
    Some(format!("{says}: {}", score.explanation()))
}

/// What all checks together say of a golden answer's text; `None` if one of them wants more.
///
/// ```
/// use qeval::check::registry::{build, score_of_text};
/// use qeval::flow::{CheckSpec, Expect, Golden};
///
/// let checks = [build(&CheckSpec {
///     kind: "contains".into(),
///     negated: false,
///     params: serde_json::from_str(r#"{"value": "Lima"}"#)?,
/// })?];
/// let golden = |answer: &str| Golden {
///     answer: answer.into(),
///     expect: Expect::Pass,
///     siblings: Vec::new(),
///     training_answers: Vec::new(),
/// };
/// let score = score_of_text(&checks, &golden("It is Quito.")).ok_or("more is wanted")?;
/// assert_eq!(score.value(), Some(0.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn score_of_text(checks: &[Box<dyn Check>], golden: &Golden) -> Option<Score> {
    let scores: Option<Vec<Score>> = checks
        .iter()
        .map(|check| score_by_text(check.as_ref(), golden))
        .collect();
    Some(Score::lowest(&scores?))
}

/// A check's score of a golden answer; `None` if the check wants more than the golden has.
fn score_by_text(check: &dyn Check, golden: &Golden) -> Option<Score> {
    let needs = Needs {
        siblings: false,
        training_answers: false,
        // A golden answer without a program is judged by its text.
        programs: 0,
        ..check.needs()
    };
    let wanted = check.needs();
    let lacking = (wanted.siblings && golden.siblings.is_empty())
        || (wanted.training_answers && golden.training_answers.is_empty());
    if lacking || needs != Needs::answer() || check.program(&golden.answer).is_some() {
        return None;
    }
    Some(score_golden(check, golden, Evidence::default()))
}

/// A check's score of a golden answer. `measured` is what was measured of it: embeddings, a
/// program's outcome, judgements.
///
/// ```
/// use qeval::check::registry::{build, score_golden};
/// use qeval::flow::{CheckSpec, Expect, Golden};
///
/// let checks = [build(&CheckSpec {
///     kind: "contains".into(),
///     negated: false,
///     params: serde_json::from_str(r#"{"value": "Lima"}"#)?,
/// })?];
/// let golden = |answer: &str| Golden {
///     answer: answer.into(),
///     expect: Expect::Pass,
///     siblings: Vec::new(),
///     training_answers: Vec::new(),
/// };
/// let score = score_golden(checks[0].as_ref(), &golden("It is Lima."), Default::default());
/// assert_eq!(score.value(), Some(1.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn score_golden(check: &dyn Check, golden: &Golden, measured: Evidence<'_>) -> Score {
    let answer = plain_answer(&golden.answer);
    let siblings: Vec<&str> = golden.siblings.iter().map(String::as_str).collect();
    let trained = &golden.training_answers;
    check.score(&Evidence {
        answer: Some(&answer),
        siblings: &siblings,
        training_answers: (!trained.is_empty()).then_some(trained.as_slice()),
        ..measured
    })
}

/// An answer of which only the text is known.
fn plain_answer(text: &str) -> Answer {
    let nowhere = CaseId {
        suite: String::new(),
        probe: String::new(),
        prompt: 0,
    };
    Answer::of_text(nowhere, 0, text)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::check::registry;
    use crate::flow::CheckSpec;

    /// A check as a suite would write it: `kind` may start with `not-`.
    pub(in crate::check) fn spec(kind: &str, params: &str) -> CheckSpec {
        let (kind, negated) = match kind.strip_prefix("not-") {
            Some(kind) => (kind, true),
            None => (kind, false),
        };
        let params = serde_json::from_str(params).unwrap();
        CheckSpec {
            kind: kind.into(),
            negated,
            params,
        }
    }

    /// The check of a kind.
    pub(in crate::check) fn check(kind: &str, params: &str) -> Box<dyn Check> {
        registry::build(&spec(kind, params)).unwrap()
    }

    /// The text of the error that refuses a check.
    pub(in crate::check) fn refused(kind: &str, params: &str) -> String {
        match registry::build(&spec(kind, params)) {
            Ok(_) => panic!("{kind} {params} was accepted"),
            Err(error) => error.to_string(),
        }
    }

    /// An answer of which only the text is known.
    pub(in crate::check) fn answer(text: &str) -> Answer {
        plain_answer(text)
    }

    /// A check's score of a text.
    pub(in crate::check) fn judge(kind: &str, params: &str, text: &str) -> Score {
        let answer = answer(text);
        check(kind, params).score(&Evidence {
            answer: Some(&answer),
            ..Evidence::default()
        })
    }

    /// A check passes and fails what it should, its `not-` form the other way round.
    pub(in crate::check) fn table(kind: &str, params: &str, pass: &[&str], fail: &[&str]) {
        table_of(kind, params, pass, fail);
        let opposite = match kind.strip_prefix("not-") {
            Some(kind) => kind.to_owned(),
            None => format!("not-{kind}"),
        };
        table_of(&opposite, params, fail, pass);
    }

    /// A check passes and fails what it should.
    pub(in crate::check) fn table_of(kind: &str, params: &str, pass: &[&str], fail: &[&str]) {
        for (texts, value) in [(pass, 1.0), (fail, 0.0)] {
            for text in texts {
                let score = judge(kind, params, text);
                assert_eq!(
                    score.value(),
                    Some(value),
                    "{kind} {params} of {text:?}: {score:?}"
                );
            }
        }
    }

    fn golden(answer: &str, expect: Expect) -> Golden {
        Golden {
            answer: answer.into(),
            expect,
            siblings: Vec::new(),
            training_answers: Vec::new(),
        }
    }

    #[test]
    fn contradiction_says_what_the_checks_saw() {
        let checks = [
            check("contains", r#"{"value": "Paris"}"#),
            check("not-icontains", r#"{"value": "sorry"}"#),
        ];
        assert_eq!(
            contradiction(&checks, &golden("It is Paris.", Expect::Pass)),
            None
        );
        assert_eq!(
            contradiction(&checks, &golden("Sorry, Paris.", Expect::Fail)),
            None
        );
        insta::assert_snapshot!(
            contradiction(&checks, &golden("Sorry, Paris.", Expect::Pass)).unwrap(),
            @r#"fail: found "sorry" in "sorry, paris.""#
        );
        insta::assert_snapshot!(
            contradiction(&checks, &golden("Paris", Expect::Unscored)).unwrap(),
            @r#"pass: found "Paris" in "Paris""#
        );
    }

    #[test]
    fn what_a_text_cannot_tell_is_no_contradiction() {
        let unknown = check("similar", r#"{"accepted": ["a"], "rejected": ["b"]}"#);
        let known = check("contains", r#"{"value": "Paris"}"#);
        let checks = [unknown, known];
        for expect in [Expect::Pass, Expect::Fail, Expect::Unscored] {
            assert_eq!(
                contradiction(&checks, &golden("Paris", expect)),
                None,
                "{expect:?}"
            );
        }
        assert!(contradiction(&checks, &golden("Lyon", Expect::Pass)).is_some());
        assert_eq!(contradiction(&checks, &golden("Lyon", Expect::Fail)), None);
        assert_eq!(
            contradiction(&checks[..1], &golden("Lyon", Expect::Pass)),
            None
        );
    }
}
