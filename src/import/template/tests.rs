//! Both languages on one set of templates.

use serde_json::{Value, json};

use super::*;

fn render(template: &str, vars: &Value, language: Language) -> Result<String, String> {
    let vars = Vars::new(vars.as_object().unwrap(), language);
    Template::parse(template, language)?.render(&vars)
}

/// What Jinja2 3.1.6 with lm-evaluation-harness's environment, and Nunjucks 3.2.4 with promptfoo's,
/// made of each template: `fixtures/reference/make_import_templates.py` and `.mjs`.
#[test]
fn templates_are_rendered_as_their_programs_render_them() {
    let expected = include_str!("../../../fixtures/expected/import_templates.json");
    let expected: Value = serde_json::from_str(expected).unwrap();
    let vars = &expected["vars"];
    let (mut compared, mut refused) = (0, 0);
    for case in expected["cases"].as_array().unwrap() {
        let template = case["template"].as_str().unwrap();
        for (language, key) in [
            (Language::Python, "jinja"),
            (Language::JavaScript, "nunjucks"),
        ] {
            let theirs = case[key].as_str();
            match (render(template, vars, language), theirs) {
                (Ok(ours), Some(theirs)) => {
                    assert_eq!(ours, theirs, "{template} {key}");
                    compared += 1;
                }
                (Ok(ours), None) => panic!("{template} {key}: {ours:?}, and an error there"),
                // What is not read is refused, never guessed.
                (Err(_), _) => refused += 1,
            }
        }
    }
    assert!(compared > 150 && refused < compared, "{compared} {refused}");
}

#[test]
fn what_fails_is_said() {
    let vars = json!({"a": ["x"], "n": 1, "d": {"!timestamp": "2020-01-01"}, "m": {"items": 1}});
    let shown = [
        "{{b}} {{c}}",
        "{{a.index('y')}}",
        "{{a",
        "{{a|nope}}",
        "{{a.b.c}}",
        "{{a is nope}}",
        "{% macro x() %}{% endmacro %}",
        "{% if a %}",
        "{% endif %}",
        "{{ lipsum() }}",
        "{{a b}}",
        "{{d}}",
        "{{m.items}}",
        "{{n + 'x'}}",
        "{{n / 0}}",
        "{{[1, 2}}",
        "{{'x}}",
        "{{ a[0:1:0] }}",
        "{{ 'x'|replace('x', n) }}",
        "{{ (1, 2) }}",
        "{{ a|map(attribute='x') }}",
        "{# open",
        "{% raw %}x",
        "{{ ? }}",
        "{{ 12abc }}",
        "{% for a, b in [[1]] %}{% endfor %}",
        "{{ 2 ** 3 }}",
    ];
    let shown = shown.map(|template| {
        let why = render(template, &vars, Language::Python).unwrap_err();
        format!("{template}  ->  {why}")
    });
    insta::assert_snapshot!(shown.join("\n"), @r#"
    {{b}} {{c}}  ->  there is no value for `b`
    {{a.index('y')}}  ->  "y" is not in the list
    {{a  ->  a tag is not closed by `}}`
    {{a|nope}}  ->  the filter `nope` is not read here
    {{a.b.c}}  ->  there is no value for `b`
    {{a is nope}}  ->  the test `nope` is not read here
    {% macro x() %}{% endmacro %}  ->  the tag `macro` is not read
    {% if a %}  ->  there is no `endif`
    {% endif %}  ->  the tag `endif` is not read
    {{ lipsum() }}  ->  the function `lipsum` is not read
    {{a b}}  ->  a tag has more than one expression
    {{d}}  ->  `timestamp 2020-01-01` is printed in a form of the program's own
    {{m.items}}  ->  `.items` is a method of every map there
    {{n + 'x'}}  ->  `+` between a number and a text
    {{n / 0}}  ->  `/` between a number and a number
    {{[1, 2}}  ->  a tag misses a `]`
    {{'x}}  ->  a text in a tag is not closed
    {{ a[0:1:0] }}  ->  a slice with a step of 0
    {{ 'x'|replace('x', n) }}  ->  the filter `replace` is not read here
    {{ (1, 2) }}  ->  a tuple is not read
    {{ a|map(attribute='x') }}  ->  arguments by name are not read
    {# open  ->  a comment is not closed
    {% raw %}x  ->  `raw` is not closed
    {{ ? }}  ->  `?` is not read in a tag
    {{ 12abc }}  ->  `12abc }}` is no number that is read
    {% for a, b in [[1]] %}{% endfor %}  ->  a `for` with more names than parts
    {{ 2 ** 3 }}  ->  `**` is not read
    "#);
}

/// A template is somebody's program: whatever it is, it ends soon with a text or a reason.
#[test]
fn programs_without_end_are_refused() {
    let vars = json!({"a": "x", "m": {"a": "x"}});
    let many = |part: &str, times: usize| part.repeat(times);
    let doubling: String = (0..60).map(|_| "{% set a = a ~ a %}").collect();
    let hostile = [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}x"
            .to_owned(),
        format!("{doubling}{{{{a}}}}"),
        format!("{{{{ {}1 }}}}", many("not ", 50_000)),
        format!("{{{{ {}1 }}}}", many("-", 50_000)),
        format!("{{{{ a{} }}}}", many("|upper", 20_000)),
        format!("{{{{ m{} }}}}", many(".a", 50_000)),
        format!("{{{{ a{} }}}}", many(" ~ a", 30_000)),
        format!("{{{{ {}1{} }}}}", many("(", 50_000), many(")", 50_000)),
        format!("{{{{ {}1{} }}}}", many("[", 50_000), many("]", 50_000)),
        format!("{{{{ {}1 }}}}", many("1 if a else ", 15_000)),
        format!(
            "{}x{}",
            many("{% if a %}", 9_000),
            many("{% endif %}", 9_000)
        ),
        "{{ 'x' * 9999999999 }}".to_owned(),
        "{{ range(999999999)|list }}".to_owned(),
        "{{ 'x' * 9999 }}{{ ('x' * 30000)|replace('x', 'y' * 30000) }}".to_owned(),
        "{{ ('a' * 30000)|regex_replace('(a+)', '\\\\1\\\\1\\\\1' * 1000) }}".to_owned(),
        "{{ a|regex_replace('(x{1000}){1000}', 'y') }}".to_owned(),
        many("{{ a }}", 100_000),
    ];
    let told = hostile.map(|template| {
        begin();
        let begun = std::time::Instant::now();
        let told = render(&template, &vars, Language::Python).unwrap_err();
        assert!(begun.elapsed().as_secs() < 20, "{told}");
        told
    });
    insta::assert_snapshot!(told.join("\n"), @"
    its template makes more than 34 MB of text
    its template makes more than 34 MB of text
    its template has more than 200000 bytes
    an expression nests more than 40 deep
    an expression has more than 200 parts in a row
    an expression has more than 200 parts in a row
    an expression has more than 200 parts in a row
    an expression nests more than 40 deep
    an expression nests more than 40 deep
    an expression nests more than 40 deep
    its tags nest more than 40 deep
    its template makes more than 34 MB of text
    `range` has more than 100000 numbers
    its template makes more than 34 MB of text
    its template makes more than 34 MB of text
    `(x{1000}){1000}` is no regular expression of Rust's regex crate
    its template has more than 200000 bytes
    ");
    for text in [many("[", 100_000), format!("[{}]", many("'x', ", 900_000))] {
        literal(&text).unwrap_err();
    }
}

/// An allowance for all: a template that is costly for each of many documents ends too.
#[test]
fn costly_templates_end_for_all_documents() {
    begin();
    let vars = json!({"a": "x"});
    let template = "{{ ('x' * 30000000)|length }}";
    let mut rendered = 0;
    while let Ok(text) = render(template, &vars, Language::Python) {
        assert_eq!(text, "30000000");
        rendered += 1;
    }
    assert!((20..200).contains(&rendered), "{rendered}");
    begin();
}

#[test]
fn literals_are_those_of_python() {
    for (text, expected) in [
        ("['yes', \"it's\"]", Some(json!(["yes", "it's"]))),
        (
            "[1, -2, 0.5, True, None]",
            Some(json!([1, -2, 0.5, true, null])),
        ),
        ("('a', 'b')", Some(json!(["a", "b"]))),
        ("{'a': ['b']}", Some(json!({"a": ["b"]}))),
        (r"['a\nb\x41\u4e2d']", Some(json!(["a\nbA中"]))),
        ("['a' 'b']", Some(json!(["ab"]))),
        ("[a]", None),
        ("['a' + 'b']", None),
        ("['a'", None),
        ("x", None),
    ] {
        assert_eq!(literal(text).ok(), expected, "{text}");
    }
}
