//! `qeval run`: subjects answer and are scored; nothing is compared.

use crate::exit::Outcome;
use crate::flow::Measurement;
use crate::project::Order;
use crate::report::failed_of;
use crate::text::plural;

use super::args::{OutputFormat, RunArgs};
use super::error::CliError;
use super::output::Screen;

/// Answers that failed that are named of a subject; `qeval show` has all.
const FAILED: usize = 20;

/// Runs the command.
///
/// # Errors
/// Whatever stops it; finished answers are on disk.
pub fn run(args: &RunArgs, screen: &Screen) -> Result<Outcome, CliError> {
    let project = screen.open(args.measure.overrides())?;
    let order = Order {
        // Nothing is compared here.
        noise: false,
        ..Order::new(&project, &args.subjects)?
    };
    order.notes.iter().for_each(|note| screen.notice(note));
    let measured = project.measure(&order)?.measurements;
    match screen.format {
        OutputFormat::Text => {
            for measurement in &measured {
                screen.print(&summary(measurement))?;
                screen.print(&failed_of(measurement, FAILED, screen.style))?;
            }
        }
        OutputFormat::Json => {
            let subjects: Vec<_> = measured.iter().map(answers).collect();
            screen.print_json(&serde_json::json!({ "version": 1, "subjects": subjects }))?;
        }
    }
    Ok(Outcome::Pass)
}

fn summary(measurement: &Measurement) -> String {
    let scores = &measurement.scores;
    let values: Vec<f64> = scores.values().filter_map(|s| s.value()).collect();
    let (scored, unscored) = (values.len(), scores.len() - values.len());
    // Nothing has no mean.
    let mean = match scored {
        0 => String::new(),
        _ => format!(", mean {:.2}", values.iter().sum::<f64>() / scored as f64),
    };
    let went_on = match measurement.continued() {
        0 => String::new(),
        count => format!(
            "; {} went on beyond `max_new_tokens`",
            plural(count, "answer")
        ),
    };
    format!(
        "{}: {scored} scored{mean}, {unscored} unscored{went_on}\n",
        measurement.subject
    )
}

/// What a subject answered and scored, for machines.
pub(super) fn answers(measurement: &Measurement) -> serde_json::Value {
    let each = measurement.scores.iter().map(|((case, sample), score)| {
        let answer = measurement.answers.get(&(case.clone(), *sample));
        let mut line =
            serde_json::json!({ "case": case.to_string(), "sample": sample, "score": score });
        if let Some(answer) = answer {
            line["answer"] = answer.text.as_str().into();
        }
        if answer.is_some_and(|a| a.continued) {
            line["continued"] = true.into();
        }
        if let Some(thought) = answer.and_then(|a| a.thinking.as_ref()) {
            line["thinking"] = thought.text.as_str().into();
        }
        line
    });
    serde_json::json!({
        "subject": measurement.subject,
        "scores": each.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{CaseId, Score, Subject};

    fn measured(scores: Vec<Score>) -> Measurement {
        let mut measurement = Measurement::of(Subject::base());
        for (sample, score) in scores.into_iter().enumerate() {
            let case = CaseId {
                suite: "s".into(),
                probe: "a".into(),
                prompt: 0,
            };
            measurement.scores.insert((case, sample), score);
        }
        measurement
    }

    #[test]
    fn answers_that_went_on_are_told() {
        let mut measurement = measured(vec![Score::pass(""), Score::pass("")]);
        let places: Vec<_> = measurement.scores.keys().cloned().collect();
        for (place, continued) in places.into_iter().zip([true, false]) {
            let mut answer = crate::run::testing::answer(place.0.clone(), place.1, "so 5");
            answer.continued = continued;
            measurement.answers.insert(place, answer);
        }
        assert_eq!(
            summary(&measurement),
            "base: 2 scored, mean 1.00, 0 unscored; 1 answer went on beyond `max_new_tokens`\n"
        );
        let json = answers(&measurement);
        assert_eq!(json["scores"][0]["continued"], true);
        assert_eq!(json["scores"][1].get("continued"), None);
    }

    #[test]
    fn nothing_has_no_mean() {
        let measurement = measured(vec![Score::unscored("no judge")]);
        assert_eq!(summary(&measurement), "base: 0 scored, 1 unscored\n");
    }

    #[test]
    fn unscored_answers_are_counted_and_enter_no_mean() {
        let measurement = measured(vec![
            Score::pass(""),
            Score::fail(""),
            Score::unscored("no judge"),
        ]);
        assert_eq!(
            summary(&measurement),
            "base: 2 scored, mean 0.50, 1 unscored\n"
        );
        let json = answers(&measurement);
        assert_eq!(json["scores"][2]["score"]["unscored"]["reason"], "no judge");
        assert_eq!(json["scores"][0]["case"], "s::a#0");
    }
}
