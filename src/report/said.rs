//! What one subject answered, and why each answer scored what it did: without a base beside it, and
//! so without a verdict.

use std::collections::BTreeMap;

use super::diff::answer;
use super::style::{Style, Tone, one_line, score};
use super::wrap::wrapped;
use crate::flow::{CaseId, FIRST_FURTHER, Measurement, ProbeId, Score, Suite};
use crate::text::plural;

/// The prompts of suites, by probe.
fn prompts(suites: &[Suite]) -> BTreeMap<ProbeId, &[String]> {
    let each = |suite: &'_ Suite| -> Vec<ProbeId> {
        suite
            .probes
            .iter()
            .map(|probe| suite.id_of(probe))
            .collect()
    };
    let ids = suites.iter().flat_map(each);
    let texts = suites.iter().flat_map(|suite| &suite.probes);
    ids.zip(texts.map(|probe| probe.prompts.as_slice()))
        .collect()
}

/// The tone of a score.
fn tone(score: &Score) -> Tone {
    match score.value() {
        None => Tone::Open,
        Some(value) if value >= 1.0 => Tone::Good,
        Some(_) => Tone::Bad,
    }
}

/// A score in a word.
fn value(of: &Score) -> String {
    of.value().map_or_else(|| "unscored".to_owned(), score)
}

fn name(case: &CaseId, sample: usize) -> String {
    match sample {
        0 => case.to_string(),
        FIRST_FURTHER.. => format!("{case} further {}", sample - FIRST_FURTHER),
        sample => format!("{case} sample {sample}"),
    }
}

/// Every answer of a subject with its prompt, its score, and the reason, in the order of names.
pub fn said_by(measurement: &Measurement, suites: &[Suite], style: Style) -> String {
    let prompts = prompts(suites);
    let mut text = String::new();
    for ((case, sample), score) in &measurement.scores {
        let head = [
            (Tone::Strong, name(case, *sample)),
            (tone(score), format!("  {}", value(score))),
        ];
        text.push_str(&wrapped("", &head, style));
        let id = ProbeId {
            suite: case.suite.clone(),
            probe: case.probe.clone(),
        };
        let mut part = |head: &str, tone: Tone, said: String| {
            let lead = format!("  {head:<9} ");
            text.push_str(&wrapped(&lead, &[(tone, said)], style));
        };
        if let Some(prompt) = prompts.get(&id).and_then(|all| all.get(case.prompt)) {
            part("prompt", Tone::Dim, one_line(prompt, 400));
        }
        match measurement.answers.get(&(case.clone(), *sample)) {
            Some(said) => part("answer", Tone::Plain, answer(&said.text)),
            None => part(
                "answer",
                Tone::Dim,
                "none: judged by likelihoods".to_owned(),
            ),
        }
        let checks = measurement.checks.get(&(case.clone(), *sample));
        for check in checks.into_iter().flatten() {
            let why = one_line(check.score.explanation(), 400);
            part(&check.kind, tone(&check.score), why);
        }
        text.push('\n');
    }
    text
}

/// Answers of a subject that failed, with less than half a point, or that have no score, the lowest
/// first, each with its reason; at most `most`, and how many more there are.
pub fn failed_of(measurement: &Measurement, most: usize, style: Style) -> String {
    let mut failed: Vec<(&CaseId, usize, &Score)> = measurement
        .scores
        .iter()
        .filter(|(_, score)| score.value().is_none_or(|value| value < 0.5))
        .map(|((case, sample), score)| (case, *sample, score))
        .collect();
    // What has no score at all stands behind what failed.
    let rank = |score: &Score| score.value().unwrap_or(1.0);
    failed.sort_by(|a, b| rank(a.2).total_cmp(&rank(b.2)));
    let mut text = String::new();
    for (case, sample, score) in failed.iter().take(most) {
        let lead = format!("  {:<8}  ", value(score));
        let spans = [
            (tone(score), name(case, *sample)),
            (
                Tone::Plain,
                format!("  {}", one_line(score.explanation(), 200)),
            ),
        ];
        text.push_str(&wrapped(&lead, &spans, style));
    }
    let rest = failed.len().saturating_sub(most);
    if rest > 0 {
        text += "  and ";
        text += &plural(rest, "more answer");
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{CheckScore, Subject};

    fn measured() -> (Measurement, Vec<Suite>) {
        let mut measurement = Measurement::of(Subject::base());
        let suite = serde_json::json!({
            "name": "facts", "goal": "keep", "digest": "",
            "probes": [{
                "id": "peru", "tags": [], "critical": false,
                "prompts": ["What is the capital of Peru?"], "checks": [], "goldens": [],
                "generation": { "max_new_tokens": 8, "samples": 1 },
            }],
        });
        let suites = vec![serde_json::from_value(suite).unwrap()];
        let case = CaseId {
            suite: "facts".into(),
            probe: "peru".into(),
            prompt: 0,
        };
        for (sample, score) in [
            Score::pass("contains \"Lima\""),
            Score::fail("\"Quito\" has no \"Lima\""),
            Score::unscored("no judge"),
        ]
        .into_iter()
        .enumerate()
        {
            let place = (case.clone(), sample);
            let check = CheckScore {
                kind: "contains".into(),
                score: score.clone(),
            };
            measurement.checks.insert(place.clone(), vec![check]);
            measurement.scores.insert(place, score);
        }
        (measurement, suites)
    }

    #[test]
    fn an_answer_has_its_prompt_its_score_and_its_reason() {
        let (measurement, suites) = measured();
        insta::assert_snapshot!(said_by(&measurement, &suites, Style::plain(80)), @r#"
        facts::peru#0  1.00
          prompt    What is the capital of Peru?
          answer    none: judged by likelihoods
          contains  contains "Lima"

        facts::peru#0 sample 1  0.00
          prompt    What is the capital of Peru?
          answer    none: judged by likelihoods
          contains  "Quito" has no "Lima"

        facts::peru#0 sample 2  unscored
          prompt    What is the capital of Peru?
          answer    none: judged by likelihoods
          contains  no judge
        "#);
    }

    #[test]
    fn what_failed_stands_before_what_has_no_score() {
        let (measurement, _) = measured();
        insta::assert_snapshot!(failed_of(&measurement, 1, Style::plain(80)), @r#"
        0.00      facts::peru#0 sample 1  "Quito" has no "Lima"
        and 1 more answer
        "#);
        insta::assert_snapshot!(failed_of(&measurement, 9, Style::plain(80)), @r#"
        0.00      facts::peru#0 sample 1  "Quito" has no "Lima"
        unscored  facts::peru#0 sample 2  no judge
        "#);
    }
}
