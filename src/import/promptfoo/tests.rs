//! Tests of a configuration and the probes that become of them.

use super::*;

/// `id: prompts` of every probe, and the notes, of a configuration with files beside it.
fn probes(config: &str, files: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let source = ImportSource {
        file: folder.path().join("shop.yaml"),
        ..ImportSource::default()
    };
    let config = yaml::parse("shop.yaml", config, yaml::Dialect::JavaScript).unwrap();
    let mut notes = Notes::default();
    let draft = read(&source, config.as_object().unwrap(), &mut notes).unwrap();
    assert_eq!(draft.name, "shop");
    let probes = draft.probes.iter().map(|probe| {
        let system = probe.system.as_deref().unwrap_or("-");
        format!(
            "{} (system {system}): {:?}, {} checks",
            probe.id,
            probe.prompts,
            probe.checks.len()
        )
    });
    // What every check of a kind does otherwise is told in `assertion::kinds`.
    let notes = notes
        .into_list()
        .into_iter()
        .filter(|note| !note.what.starts_with("`contains`"));
    let notes = notes.map(|note| note.to_string());
    probes.chain(notes).collect::<Vec<_>>().join("\n")
}

#[test]
fn prompts_that_a_probe_cannot_hold_together_are_split() {
    insta::assert_snapshot!(probes(
        r#"
prompts: ["Q: {{q}}", "Question: {{q}}", "Q: {{q}}", "问题：{{q}}",
          '[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "{{q}}"}]']
defaultTest: {assert: [{type: contains, value: a}]}
tests: [{vars: {q: Why?}}]
"#,
        &[]
    ), @r#"
    why (system -): ["Q: Why?", "Question: Why?"], 1 checks
    why-2 (system -): ["问题：Why?"], 1 checks
    why-3 (system Be brief.): ["Why?"], 1 checks
    "#);
}

#[test]
fn lists_of_variables_are_tests_of_their_own() {
    insta::assert_snapshot!(probes(
        r#"
prompts: ["{{a}} {{b}}"]
tests:
  - {vars: {a: ["1", "2"], b: [x, y]}, assert: [{type: contains, value: "{{a}}"}]}
  - {vars: {a: [1, 2], b: x}, assert: [{type: contains, value: "{{b}}"}]}
  - {vars: {a: [1, 2], b: x}, options: {disableVarExpansion: true, prefix: "> ", suffix: " <"},
     assert: [{type: contains, value: z}]}
"#,
        &[]
    ), @r#"
    1 (system -): ["1 x"], 1 checks
    1-2 (system -): ["1 y"], 1 checks
    2 (system -): ["2 x"], 1 checks
    2-2 (system -): ["2 y"], 1 checks
    x (system -): ["1,2 x"], 1 checks
    x-2 (system -): ["> 1,2 x <"], 1 checks
    "#);
}

#[test]
fn tests_and_variables_come_from_files() {
    insta::assert_snapshot!(probes(
        r#"
prompts: "{{q}} {{text}}"
defaultTest: file://default.yaml
tests: [file://more.yaml, file://more.jsonl, file://more.csv, file://more.py]
"#,
        &[
            ("default.yaml", "assert: [{type: contains, value: file://wanted.txt}]"),
            ("more.yaml", "- vars: {q: One?, text: file://long.txt}"),
            ("more.jsonl", r#"{"vars": {"q": "Two?", "text": "{{q}}!"}}"#),
            ("long.txt", "A long text.\n"),
            ("wanted.txt", "yes\n"),
        ]
    ), @r#"
    one (system -): ["One? A long text."], 1 checks
    two (system -): ["Two? Two?!"], 1 checks
    tests: `file://more.csv`: it cannot be read: No such file or directory (os error 2)
    tests: `file://more.py`: a program makes it, and an import runs none
    "#);
}

#[test]
fn what_a_test_cannot_say_here_is_named() {
    insta::assert_snapshot!(probes(
        r#"
prompts: ["{{q}}"]
providers: [openai:gpt-5]
scenarios: []
tests:
  - {vars: {q: One?}, provider: x, metadata: {a: 1}, assert: [{type: contains, value: a}]}
  - {vars: {q: Two?}, options: {transform: output.trim()}, assert: [{type: contains, value: a}]}
  - {vars: {other: Three?}, assert: [{type: contains, value: a}]}
  - {vars: {q: file://make.py}, assert: [{type: contains, value: a}]}
  - {vars: {q: Four?}}
  - {vars: {q: "Who is {{name}}?", name: "{% raw %}{{me}}{% endraw %}"}, assert: [{type: contains, value: a}]}
  - !python tests.make
"#,
        &[]
    ), @r#"
    one (system -): ["One?"], 1 checks
    the configuration: `providers`: who answers is a run's matter: the base and its adapters
    tests: `{"!python":"tests.make"}`: it is no test
    test 1: `provider: x`: who answers is a run's matter: the base and its adapters
    test 1: `metadata`: it changes neither prompts nor checks
    test 2, options: `transform: output.trim()`: it runs a program on what is asked or judged
    test 3, prompt 1: the prompt: there is no value for `q`
    test 4: the test: `q`: a program makes it, and an import runs none
    test 5: the probe: no check is left that could score its answers
    test 6: the probe: its text has `{{me}}`, which a suite would fill from [vars]
    "#);
}

#[test]
fn tests_are_rows_patterns_and_scenarios() {
    insta::assert_snapshot!(probes(
        r#"
prompts: ["{{q}}"]
tests: [file://cases/*.yaml, rows.csv, {path: rows.yaml}, none*.yaml]
scenarios:
  - config: [{vars: {lang: French}}, {vars: {lang: Dutch}}]
    tests: [{vars: {q: "Greet me in {{lang}}."}, assert: [{type: contains, value: a}]}]
"#,
        &[
            ("cases/a.yaml", "- {vars: {q: A?}, assert: [{type: contains, value: a}]}"),
            ("cases/b.yaml", "{vars: {q: B?}, assert: file://cases/assert.json}"),
            ("cases/assert.json", r#"[{"type": "contains", "value": "b"}]"#),
            ("rows.csv", "q,__expected,__description\nC?,contains: c,Row C\n\"D, d?\",d,\n"),
            ("rows.yaml", "- {q: E?, __expected: 'contains: e'}"),
        ]
    ), @r#"
    a (system -): ["A?"], 1 checks
    b (system -): ["B?"], 1 checks
    row-c (system -): ["C?"], 1 checks
    row-2 (system -): ["D, d?"], 1 checks
    row-1 (system -): ["E?"], 1 checks
    french (system -): ["Greet me in French."], 1 checks
    dutch (system -): ["Greet me in Dutch."], 1 checks
    tests: `none*.yaml`: there is no such file
    test 4: `equals`: blanks around the answer, quotes, dashes, and widths of letters are folded first, there every character counts
    "#);
}

#[test]
fn defaults_are_merged_as_promptfoo_merges_them() {
    insta::assert_snapshot!(probes(
        r#"
prompts: [{raw: "Short: {{q}}", label: short}, {raw: "Long: {{q}}", label: long}]
defaultTest:
  vars: {q: Default?}
  assert: [{type: contains, value: a}]
  options: {prefix: "> "}
tests:
  - {}
  - {description: own, vars: {q: Own?}, assert: [{type: contains, value: b}], prompts: [long]}
  - {vars: {q: Without?}, options: {disableDefaultAsserts: true, suffix: "!"}, assert: [{type: contains, value: b}]}
  - {vars: {q: None?}, prompts: [other]}
  - {vars: {q: Written?}, providerOutput: a}
"#,
        &[]
    ), @r#"
    default (system -): ["> Short: Default?", "> Long: Default?"], 1 checks
    own (system -): ["> Long: Own?"], 2 checks
    without (system -): ["> Short: Without?!", "> Long: Without?!"], 1 checks
    test 5: `providerOutput: a`: its answer is written down, and none is asked for
    test 4: the test: none of the prompts is asked in it
    "#);
}
