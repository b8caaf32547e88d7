//! Assertions and the checks, or the notes, that become of them.

use super::*;
use serde_json::json;

/// Checks as `kind params`, and notes, of YAML assertions.
fn translated(yaml_text: &str, threshold: Option<f64>) -> String {
    let asserts = yaml::parse("a.yaml", yaml_text).unwrap();
    let templates = json!({"polite": {"type": "icontains", "value": "please"}});
    let vars = json!({"city": "Paris", "n": 3});
    let translator = Translator {
        renderer: &Renderer::new(),
        folder: &Folder::of("fixtures/import/promptfooconfig.yaml".as_ref()),
        templates: templates.as_object(),
        vars: &vars,
    };
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
- {$ref: "#/assertionTemplates/polite"}
"##,
        None
    ), @"");
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
- {type: equals, value: {a: 1}}
- {type: perplexity}
- {type: wonderful}
- {$ref: "#/assertionTemplates/none"}
- contains Paris
"##,
        None
    ), @"");
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
    ), @"");
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
    insta::assert_snapshot!(shown.join("\n\n"), @"");
}
