//! Assertions and the checks, or the notes, that become of them.

use super::*;
use serde_json::json;

/// Checks as `kind params`, and notes, of YAML assertions.
fn translated(yaml_text: &str, threshold: Option<f64>) -> String {
    let asserts = yaml::parse("a.yaml", yaml_text, Dialect::JavaScript).unwrap();
    let vars = json!({"city": "Paris", "n": 3, "yes": true, "half": 0.5});
    let folder = Folder::of("fixtures/import/promptfooconfig.yaml".as_ref());
    let translator = Translator::new(&folder, vars.as_object().unwrap());
    let mut notes = Notes::default();
    let checks = translator.checks(asserts.as_array().unwrap(), threshold, "test 1", &mut notes);
    let checks = checks.iter().map(|check| {
        let not = if check.negated { "not-" } else { "" };
        format!(
            "{not}{} {}",
            check.kind,
            Value::Object(check.params.clone())
        )
    });
    let notes = notes.into_list();
    let notes = notes.iter().map(ToString::to_string);
    checks.chain(notes).collect::<Vec<_>>().join("\n")
}

#[test]
fn kinds_of_the_same_name_are_carried() {
    insta::assert_snapshot!(translated(
        r##"
- {type: equals, value: "{{city}}"}
- {type: equals, value: 4}
- {type: not-contains, value: Lyon}
- {type: icontains-any, value: "paris, capital"}
- {type: contains-all, value: ["{{city}}", France]}
- {type: starts-with, value: The}
- {type: regex, value: '\d{2,}'}
- {type: is-json}
- {type: contains-json, value: {type: object, required: [city]}}
- {type: is-json, value: '{"type": "array"}'}
- {type: not-is-refusal}
- {type: levenshtein, value: The capital is Paris., threshold: 4}
- {type: rouge-n, value: The capital is Paris.}
- {type: perplexity, threshold: 12.5}
- {type: word-count, value: {min: 2, max: "{{n}}"}}
- {type: word-count, value: 5}
- {type: llm-rubric, value: "The answer names {{city}}."}
- {type: equals, value: "{{yes}} {{half}} {{n}}"}
- {type: equals, value: 9.0}
- {type: equals, value: true}
- {type: equals, value: {city: "{{city}}"}}
- {type: icontains-any, value: 'paris, "lyon, france", "say \"hi\""'}
- {type: contains-any, value: [1, 2.0, true]}
- {type: contains, value: 42}
- {type: regex, value: '^[\w-]+$'}
- {type: is-json, value: {type: array, items: [{type: number}]}}
"##,
        None
    ), @r#"
    equals {"value":"Paris","case_sensitive":true}
    equals {"value":"4","case_sensitive":true}
    not-contains {"value":"Lyon"}
    icontains-any {"value":["paris","capital"]}
    contains-all {"value":["Paris","France"]}
    starts-with {"value":"The"}
    regex {"value":"[0-9]{2,}"}
    is-json {}
    contains-json {"schema":{"type":"object","required":["city"]}}
    is-json {"schema":{"type":"array"}}
    not-refusal {}
    levenshtein {"value":"The capital is Paris.","max":4}
    rouge-n {"value":"The capital is Paris.","min":0.75}
    perplexity {"max":12.5}
    word-count {"min":5,"max":5}
    llm-rubric {"value":"The answer names Paris."}
    equals {"value":"true 0.5 3","case_sensitive":true}
    equals {"value":"9","case_sensitive":true}
    equals {"value":"true","case_sensitive":true}
    icontains-any {"value":["paris","lyon, france","say \"hi\""]}
    contains-any {"value":["1","2","true"]}
    contains {"value":"42"}
    regex {"value":"^[0-9A-Za-z_-]+$"}
    is-json {"schema":{"type":"array","items":[{"type":"number"}],"$schema":"http://json-schema.org/draft-07/schema#"}}
    test 1: `equals`: blanks around the answer, quotes, dashes, and widths of letters are folded first, there every character counts
    test 1: `not-contains`: blanks, quotes, dashes, and widths of letters are folded first, there every character counts
    test 1: `icontains-any`: blanks, quotes, dashes, and widths of letters are folded first, there every character counts
    test 1: `contains-all`: blanks, quotes, dashes, and widths of letters are folded first, there every character counts
    test 1: `starts-with`: blanks, quotes, and emphasis marks before the first word are passed over
    test 1: `is-json`: a fence around the JSON is taken off first
    test 1: `contains-json`: JSON alone is found, there also what is nearly JSON
    test 1: `not-is-refusal`: it is told by other phrases, in Chinese too
    test 1: `levenshtein`: letter case and the marks around a text are no edits
    test 1: `rouge-n`: words are cut at other places, and Chinese characters are words
    test 1: `word-count`: its `value` is no number of words
    test 1: `word-count`: a word is a run of letters and digits, and a Chinese character is one, there it is what stands between blanks
    test 1: `llm-rubric`: another judge with another prompt says yes or no
    test 1: `equals`: its text has `{{city}}`, which a suite would fill from [vars]
    test 1: `contains-any`: blanks, quotes, dashes, and widths of letters are folded first, there every character counts
    test 1: `contains`: blanks, quotes, dashes, and widths of letters are folded first, there every character counts
    "#);
}

#[test]
fn what_has_no_check_is_named() {
    insta::assert_snapshot!(translated(
        r##"
- {type: javascript, value: "output.length > 3"}
- {type: python, value: file://check.py}
- {type: webhook, value: "https://example.com"}
- {type: latency, threshold: 100}
- {type: cost, threshold: 0.01}
- {type: similar, value: Paris, threshold: 0.8}
- {type: not-similar, value: Paris, threshold: 0.8}
- {type: contains, value: file://make.js}
- {type: contains, value: Paris, transform: output.trim()}
- {type: contains, value: "{{country}}"}
- {type: regex, value: "(?=Paris)"}
- {type: levenshtein, value: Paris}
- {type: contains, value: true}
- {type: contains, value: ""}
- {type: starts-with, value: 4}
- {type: contains-any, value: 'a, "b'}
- {type: regex, value: "(?i)paris"}
- {type: contains, value: file://none.txt}
- {type: perplexity}
- {type: wonderful}
- {$ref: "#/assertionTemplates/none"}
- contains Paris
"##,
        None
    ), @r##"
    test 1: `javascript`: it runs a program of its own, and an import carries no programs
    test 1: `python`: it runs a program of its own, and an import carries no programs
    test 1: `webhook`: it asks a server
    test 1: `latency`: it measures the provider and not the answer
    test 1: `cost`: it measures the provider and not the answer
    test 1: `similar`: its threshold is an absolute similarity, which says little across encoders: write `similar` with texts that are `accepted` and others that are `rejected`
    test 1: `not-similar`: its threshold is an absolute similarity, which says little across encoders: write `similar` with texts that are `accepted` and others that are `rejected`
    test 1: `contains`: its value: a program makes it, and an import runs none
    test 1, `contains`: `transform: output.trim()`: it judges what a program makes of the answer
    test 1: `contains`: there is no value for `country`
    test 1: `regex`: `value` is no regular expression: look-around, including look-ahead and look-behind, is not supported
    test 1: `levenshtein`: `max` is 5, half of "Paris" or more
    test 1: `contains`: its `value` is neither a text nor a number, which promptfoo refuses
    test 1: `starts-with`: its `value` is no text, which promptfoo refuses
    test 1: `contains-any`: a quote in its `value` is not closed, which promptfoo refuses
    test 1: `regex`: JavaScript has no flags in front of an expression: it never matches there
    test 1: `contains`: file://none.txt cannot be read: No such file or directory (os error 2)
    test 1: `perplexity`: without a `threshold` it passes every answer
    test 1: `wonderful`: there is no check of this kind
    test 1: {"$ref":"#/assertionTemplates/none"}: nothing stands at the place that it names
    test 1: "contains Paris": it is no assertion
    "##);
}

#[test]
fn parts_of_a_carried_assertion_are_named() {
    insta::assert_snapshot!(translated(
        r##"
- {type: llm-rubric, value: It is kind., threshold: 0.8, provider: "openai:gpt-5", metric: tone}
- {type: contains, value: a, threshold: 1, weight: 2}
- {type: contains, value: b, weight: 0}
"##,
        None
    ), @r#"
    llm-rubric {"value":"It is kind."}
    contains {"value":"a"}
    test 1, `llm-rubric`: `provider: openai:gpt-5`: the judge of a run is the base model, or what [checks] says, with its own prompt
    test 1, `llm-rubric`: `metric: tone`: the checks of a probe have no names of their own
    test 1: `threshold: 0.8` of `llm-rubric`: there it is a grade that the judge gives, here the judge says yes or no
    test 1: `llm-rubric`: another judge with another prompt says yes or no
    test 1: `weight: 2` of `contains`: outside a group the lowest check decides
    test 1: `threshold: 1` of `contains`: this check says yes or no
    test 1: `contains`: blanks, quotes, dashes, and widths of letters are folded first, there every character counts
    test 1: `weight: 0` of `contains`: it never decides there, and every check does here
    "#);
}

#[test]
fn thresholds_over_several_become_groups() {
    let set = r#"
- type: assert-set
  threshold: 0.5
  assert:
    - {type: contains, value: a, weight: 2}
    - {type: not-contains, value: b}
- type: assert-set
  assert:
    - {type: contains, value: c}
    - {type: contains, value: d}
"#;
    let whole = "- {type: contains, value: a}\n- {type: contains, value: b}";
    let missing = "- {type: contains, value: a}\n- {type: cost, threshold: 1}";
    let shown = [
        translated(set, None),
        translated(whole, Some(0.5)),
        translated(missing, Some(0.5)),
    ];
    insta::assert_snapshot!(shown.join("\n\n"), @r#"
    all {"checks":[{"type":"contains","value":"a","weight":1.0},{"type":"not-contains","value":"b","weight":0.5}],"min":0.5}
    contains {"value":"c"}
    contains {"value":"d"}
    test 1: `contains`: blanks, quotes, dashes, and widths of letters are folded first, there every character counts
    test 1: `not-contains`: blanks, quotes, dashes, and widths of letters are folded first, there every character counts

    all {"checks":[{"type":"contains","value":"a"},{"type":"contains","value":"b"}],"min":0.5}
    test 1: `contains`: blanks, quotes, dashes, and widths of letters are folded first, there every character counts

    test 1: `contains`: blanks, quotes, dashes, and widths of letters are folded first, there every character counts
    test 1: `cost`: it measures the provider and not the answer
    test 1: the group of assertions: one of its assertions is not carried over, and its threshold counts all
    "#);
}
