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
    insta::assert_snapshot!(shown.join("\n\n"), @r#"
    choice {"options":["no","yes"],"answer":"yes"}
    {}

    choice {"options":["no","yes"],"answer":"no"}
    {}

    choice {"options":["no","yes"],"answer":"no","normalize":"bytes"}
    {}

    refused: it has no option number 2
    {}

    refused: `answer` is "maybe", which is not among the options
    {}

    refused: several of its options are right
    {}
    "#);
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
    insta::assert_snapshot!(shown.join("\n\n"), @r#"
    equals {"value":"Paris","case_sensitive":true}
    {"temperature":0}

    equals {"value":["Paris","paris, France"]}
    {"temperature":0}
    the task: `ignore_punctuation`: marks around an answer are ignored, marks in it are not

    icontains {"value":"Paris"}
    {"temperature":0}

    the task: `metric: !function utils.f`: it runs a program
    the task: `metric: bleu`: a probe has one score, and there is no check of it
    "#);
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
    insta::assert_snapshot!(shown.join("\n\n"), @r#"
    equals {"value":"Paris"}
    {"temperature":0}

    regex {"value":"answer is (\\w+)","expected":"B"}
    {"temperature":0}

    regex {"value":"[A-D]","expected":"B","capture":0}
    {"temperature":0}

    number {"value":1000,"which":"first"}
    {"temperature":0}

    the task: the filter `f`: `(?=x)` is no regular expression of Rust's regex crate

    the task: the filter `f`: it takes match -1 of `[A-D]`, and `regex` the first

    the task: the filter `f`: no check does what `majority_vote` does

    the task: the filter `f`: no check does what `!function utils.Last` does
    "#);
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
    insta::assert_snapshot!(shown.join("\n\n"), @r#"
    equals {"value":"x","case_sensitive":true}
    {"temperature":0.7,"max_new_tokens":64,"top_p":0.9}
    the task: `generation_kwargs`, `num_beams: 2`: [generation] has no such setting

    equals {"value":"x","case_sensitive":true}
    {"temperature":0}
    the task: `until: ["\n"]`: an answer ends where the model ends its turn

    likelihood {"text":"x"}
    {}
    the task: `generation_kwargs`: no answer is generated
    "#);
}
