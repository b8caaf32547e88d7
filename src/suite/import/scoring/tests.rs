//! Metrics and filters, and the checks that become of them.

use super::*;
use serde_json::json;

/// The check of a target, and the notes, of a task in YAML.
fn scored(task: &str, target: &Value) -> String {
    let config = yaml::parse("task.yaml", task).unwrap();
    let config = config.as_object().unwrap();
    let mut notes = Notes::default();
    let mut shown = Vec::new();
    if let Some(scoring) = Scoring::of(config, &mut notes) {
        let options = vec!["no".to_owned(), "yes".to_owned()];
        shown.push(match scoring.check(target, options) {
            Ok(check) => format!("{} {}", check.kind, Value::Object(check.params)),
            Err(why) => format!("refused: {why}"),
        });
        shown.push(Value::Object(scoring.generation(config, &mut notes)).to_string());
    }
    shown.extend(notes.into_list().iter().map(ToString::to_string));
    shown.join("\n")
}

#[test]
fn options_are_counted_or_named() {
    let shown = [
        scored("output_type: multiple_choice", &json!(1)),
        scored("output_type: multiple_choice", &json!("no")),
        scored(
            "output_type: multiple_choice\nmetric_list: [{metric: acc_norm}]",
            &json!(0),
        ),
        scored("output_type: multiple_choice", &json!(2)),
        scored("output_type: multiple_choice", &json!("maybe")),
        scored("output_type: multiple_choice", &json!([0, 1])),
    ];
    insta::assert_snapshot!(shown.join("\n\n"), @"");
}

#[test]
fn answers_are_compared_as_their_metric_says() {
    let exact = "metric_list: [{metric: exact_match, ignore_case: true, ignore_punctuation: true}]";
    let shown = [
        scored("{}", &json!("Paris")),
        scored(exact, &json!(["Paris", "paris, France"])),
        scored("metric_list: [{metric: contains}]", &json!("Paris")),
        scored(
            "metric_list: [{metric: bleu}, {metric: !function utils.f}]",
            &json!("Paris"),
        ),
    ];
    insta::assert_snapshot!(shown.join("\n\n"), @"");
}

#[test]
fn filters_become_what_is_read() {
    let filtered = |steps: &str| format!("filter_list: [{{name: f, filter: [{steps}]}}]");
    let shown = [
        scored(
            &filtered("{function: lowercase}, {function: take_first}"),
            &json!("Paris"),
        ),
        scored(
            &filtered(r#"{function: regex, regex_pattern: "answer is (\\w+)"}"#),
            &json!("B"),
        ),
        scored(
            &filtered(r#"{function: regex, regex_pattern: "[A-D]"}"#),
            &json!("B"),
        ),
        scored(
            &filtered(r#"{function: regex, regex_pattern: "(-?\\d+\\.?\\d*)"}"#),
            &json!("1,000"),
        ),
        scored(
            &filtered(r#"{function: regex, regex_pattern: "(?=x)"}"#),
            &json!("B"),
        ),
        scored(
            &filtered(r#"{function: regex, regex_pattern: "[A-D]", group_select: -1}"#),
            &json!("B"),
        ),
        scored(&filtered("{function: majority_vote}"), &json!("B")),
        scored(&filtered("{function: !function utils.Last}"), &json!("B")),
    ];
    insta::assert_snapshot!(shown.join("\n\n"), @"");
}

#[test]
fn generation_settings_are_carried() {
    let shown = [
        scored(
            "generation_kwargs: {max_gen_toks: 64, do_sample: true, temperature: 0.7, top_p: 0.9, num_beams: 2}",
            &json!("x"),
        ),
        scored(
            "generation_kwargs: {until: [\"\\n\"], do_sample: false, temperature: 0.7}",
            &json!("x"),
        ),
        scored(
            "output_type: loglikelihood\ngeneration_kwargs: {max_gen_toks: 1}",
            &json!(" x"),
        ),
    ];
    insta::assert_snapshot!(shown.join("\n\n"), @"");
}
