//! Metrics and filters, and the checks that become of them.

use super::super::documents::Documents;
use super::super::formats::Formats;
use super::*;
use crate::import::yaml;
use serde_json::json;

/// The check of a document's column `t`, and the notes, of a task in YAML.
fn scored(task: &str, target: &Value) -> String {
    let config = yaml::parse("task.yaml", task, yaml::Dialect::Python).unwrap();
    let mut config = config.as_object().cloned().unwrap_or_default();
    let mut notes = Notes::default();
    let mut shown = Vec::new();
    if let Some(scoring) = Scoring::of(&config, &mut notes) {
        config.insert("doc_to_text".into(), "q".into());
        config.insert("doc_to_target".into(), "t".into());
        if matches!(scoring, Scoring::Choice { .. }) {
            config.insert("doc_to_choice".into(), json!(["no", "yes"]));
        }
        let document = Map::from_iter([("t".to_owned(), target.clone())]);
        let documents = Documents::new(vec![document]);
        let formats = Formats::of(&config, &documents).unwrap();
        let asked = formats.document(documents.iter().next().unwrap());
        shown.push(match scoring.check(&asked, "document 1", &mut notes) {
            Ok(check) => format!("{} {}", check.kind, Value::Object(check.params)),
            Err(why) => format!("refused: {why}"),
        });
        shown.push(Value::Object(scoring.generation(&config, &mut notes)).to_string());
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
        scored("output_type: multiple_choice", &json!([1])),
        scored("output_type: multiple_choice", &json!(true)),
        scored("output_type: multiple_choice", &json!(1.0)),
        scored("output_type: multiple_choice", &json!(null)),
        scored("output_type: multiple_choice", &json!("1")),
        scored("output_type: multiple_choice", &json!(-1)),
        scored(
            "output_type: multiple_choice\nmetric_list: [{metric: f1}]",
            &json!(1),
        ),
        scored(
            "output_type: multiple_choice\nmetric_list: [{metric: !function a.b}]",
            &json!(1),
        ),
    ];
    insta::assert_snapshot!(shown.join("\n\n"), @r#"
    choice {"options":["no","yes"],"answer":"yes"}
    {}
    the task: `metric: acc`: here the probability of the right option among all is the score, there it is whether that option is the likeliest
    the task: `metric: acc_norm`: a probe has one score, here that of `acc`; `normalize = "bytes"` is its like

    choice {"options":["no","yes"],"answer":"no"}
    {}
    the task: `metric: acc`: here the probability of the right option among all is the score, there it is whether that option is the likeliest
    the task: `metric: acc_norm`: a probe has one score, here that of `acc`; `normalize = "bytes"` is its like

    choice {"options":["no","yes"],"answer":"no","normalize":"bytes"}
    {}
    the task: `metric: acc_norm`: here the probability of the right option among all is the score, there it is whether that option is the likeliest, after a division by characters, here by bytes

    refused: it has no option number 2: the harness counts every answer as wrong
    {}
    the task: `metric: acc`: here the probability of the right option among all is the score, there it is whether that option is the likeliest
    the task: `metric: acc_norm`: a probe has one score, here that of `acc`; `normalize = "bytes"` is its like

    refused: "maybe" is none of its options: the harness counts every answer as wrong
    {}
    the task: `metric: acc`: here the probability of the right option among all is the score, there it is whether that option is the likeliest
    the task: `metric: acc_norm`: a probe has one score, here that of `acc`; `normalize = "bytes"` is its like

    refused: several of its options are right
    {}
    the task: `metric: acc`: here the probability of the right option among all is the score, there it is whether that option is the likeliest
    the task: `metric: acc_norm`: a probe has one score, here that of `acc`; `normalize = "bytes"` is its like

    choice {"options":["no","yes"],"answer":"yes"}
    {}
    the task: `metric: acc`: here the probability of the right option among all is the score, there it is whether that option is the likeliest
    the task: `metric: acc_norm`: a probe has one score, here that of `acc`; `normalize = "bytes"` is its like

    choice {"options":["no","yes"],"answer":"yes"}
    {}
    the task: `metric: acc`: here the probability of the right option among all is the score, there it is whether that option is the likeliest
    the task: `metric: acc_norm`: a probe has one score, here that of `acc`; `normalize = "bytes"` is its like

    refused: `doc_to_target` gives 1.0, which names no option
    {}
    the task: `metric: acc`: here the probability of the right option among all is the score, there it is whether that option is the likeliest
    the task: `metric: acc_norm`: a probe has one score, here that of `acc`; `normalize = "bytes"` is its like

    refused: `doc_to_target` gives None, which names no option
    {}
    the task: `metric: acc`: here the probability of the right option among all is the score, there it is whether that option is the likeliest
    the task: `metric: acc_norm`: a probe has one score, here that of `acc`; `normalize = "bytes"` is its like

    refused: "1" is none of its options: the harness counts every answer as wrong
    {}
    the task: `metric: acc`: here the probability of the right option among all is the score, there it is whether that option is the likeliest
    the task: `metric: acc_norm`: a probe has one score, here that of `acc`; `normalize = "bytes"` is its like

    refused: it has no option number -1: the harness counts every answer as wrong
    {}
    the task: `metric: acc`: here the probability of the right option among all is the score, there it is whether that option is the likeliest
    the task: `metric: acc_norm`: a probe has one score, here that of `acc`; `normalize = "bytes"` is its like

    choice {"options":["no","yes"],"answer":"yes"}
    {}
    the task: `metric: f1`: here the probability of the right option among all is the score

    the task: `metric: !function a.b`: a program computes it
    "#);
}

#[test]
fn answers_are_compared_as_their_metric_says() {
    let exact = "metric_list: [{metric: exact_match, ignore_case: true, ignore_punctuation: true}]";
    let shown = [
        scored("{}", &json!("Paris")),
        scored(exact, &json!(["Paris", "paris, France"])),
        scored("{}", &json!(true)),
        scored("{}", &json!(9.0)),
        scored("{}", &json!({"a": [1, null]})),
        scored("{}", &json!([])),
        scored(
            "metric_list: [{metric: exact_match, ignore_numbers: true}]",
            &json!("7"),
        ),
        scored(
            "metric_list: [{metric: exact_match, regexes_to_ignore: [',', '\\.$']}]",
            &json!("1,000."),
        ),
        scored(
            "metric_list: [{metric: bleu}, {metric: !function utils.f}]",
            &json!("Paris"),
        ),
    ];
    insta::assert_snapshot!(shown.join("\n\n"), @r#"
    equals {"value":"Paris","case_sensitive":true}
    {"max_new_tokens":256,"temperature":0}
    the task: `metric: exact_match`: blanks around the answer, quotes, dashes, and widths of letters are folded before `equals` compares, there every character counts

    equals {"value":["Paris","paris, France"]}
    {"max_new_tokens":256,"temperature":0}
    the task: `metric: exact_match`: `equals` leaves out the marks around an answer, and counts those in it

    equals {"value":"True","case_sensitive":true}
    {"max_new_tokens":256,"temperature":0}
    the task: `metric: exact_match`: blanks around the answer, quotes, dashes, and widths of letters are folded before `equals` compares, there every character counts

    equals {"value":"9.0","case_sensitive":true}
    {"max_new_tokens":256,"temperature":0}
    the task: `metric: exact_match`: blanks around the answer, quotes, dashes, and widths of letters are folded before `equals` compares, there every character counts

    equals {"value":"{'a': [1, None]}","case_sensitive":true}
    {"max_new_tokens":256,"temperature":0}
    the task: `metric: exact_match`: blanks around the answer, quotes, dashes, and widths of letters are folded before `equals` compares, there every character counts

    equals {"value":"[]","case_sensitive":true}
    {"max_new_tokens":256,"temperature":0}
    the task: `metric: exact_match`: blanks around the answer, quotes, dashes, and widths of letters are folded before `equals` compares, there every character counts

    the task, exact_match: `ignore_numbers: true`: it leaves every digit out, and here digits count

    equals {"value":"1000","case_sensitive":true}
    {"max_new_tokens":256,"temperature":0}
    the task: `metric: exact_match`: blanks around the answer, quotes, dashes, and widths of letters are folded before `equals` compares, there every character counts
    the task: `regexes_to_ignore`: it is cut out of what is expected, and not out of an answer

    the task: `metric: !function utils.f`: a program computes it
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
            &filtered("{function: lowercase}, {function: take_first}"),
            &json!("paris"),
        ),
        scored(
            &filtered(r#"{function: lowercase}, {function: regex, regex_pattern: "is (\\w+)"}"#),
            &json!("paris"),
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
    refused: a filter changes the letter case of every answer, and the expected one is in another: the harness counts every answer as wrong
    {"max_new_tokens":256,"temperature":0}
    the task: `metric: exact_match`: `equals` leaves out the marks around an answer too, and folds quotes, dashes, and widths of letters

    equals {"value":"paris"}
    {"max_new_tokens":256,"temperature":0}
    the task: `metric: exact_match`: `equals` leaves out the marks around an answer too, and folds quotes, dashes, and widths of letters

    the task: the filter `f`: it searches an answer whose letter case is gone

    regex {"value":"answer is (\\w+)","expected":"B"}
    {"max_new_tokens":256,"temperature":0}
    the task: the filter `f`: what it captures is compared without regard to letter case and to the marks around it

    regex {"value":"[A-D]","expected":"B","capture":0}
    {"max_new_tokens":256,"temperature":0}
    the task: the filter `f`: what it captures is compared without regard to letter case and to the marks around it

    number {"value":1000,"which":"first"}
    {"max_new_tokens":256,"temperature":0}
    the task: the filter `f`: the first number of the answer is compared by its value, in digits or in words, there its digits are

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
    {"max_new_tokens":64,"temperature":0.7,"top_p":0.9}
    the task: `metric: exact_match`: blanks around the answer, quotes, dashes, and widths of letters are folded before `equals` compares, there every character counts
    the task: `generation_kwargs`, `num_beams: 2`: [generation] has no such setting

    equals {"value":"x","case_sensitive":true}
    {"max_new_tokens":256,"temperature":0}
    the task: `metric: exact_match`: blanks around the answer, quotes, dashes, and widths of letters are folded before `equals` compares, there every character counts
    the task: `until: ["\n"]`: an answer ends where the model ends its turn

    likelihood {"text":"x"}
    {}
    the task: `metric: perplexity`: here the probability of the text is the score, which is 1 over it
    the task: `metric: acc`: here the probability of the text is the score, not whether it is the likeliest
    document 1: what the answer is: blanks around it are cut: an answer begins on its own
    the task: `generation_kwargs`: no answer is generated
    "#);
}
