//! Templates and documents, and the probes that become of them.

use super::*;

/// `id: prompt, check` of every probe, and the notes, of a task with its documents.
fn probes(task: &str, documents: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let docs = folder.path().join("docs.jsonl");
    std::fs::write(&docs, documents).unwrap();
    let source = ImportSource {
        file: folder.path().join("quiz.yaml"),
        docs: Some(docs),
        name: None,
    };
    let Value::Object(config) = yaml::parse("quiz.yaml", task).unwrap() else {
        panic!("no table");
    };
    let mut notes = Notes::default();
    let draft = read(&source, config, &mut notes).unwrap();
    let probes = draft.probes.iter().map(|probe| {
        let params = Value::Object(probe.checks[0].params.clone());
        format!(
            "{}: {:?}, {} {params}",
            probe.id, probe.prompts[0], probe.checks[0].kind
        )
    });
    let notes = notes.into_list();
    let notes = notes.iter().map(ToString::to_string);
    probes.chain(notes).collect::<Vec<_>>().join("\n")
}

#[test]
fn templates_may_be_fields_and_fixed_values() {
    let documents = r#"{"id": 7, "q": "Is ice cold?", "right": "1"}
{"doc_id": "B 2", "q": "Is fire cold?", "right": "0"}
{"q": "Is it?", "right": "no"}"#;
    insta::assert_snapshot!(probes(
        "output_type: multiple_choice\ndoc_to_text: q\ndoc_to_target: right\n\
         doc_to_choice: ['no', 'yes']\ndescription: \"Answer yes or no.\\n\"\n\
         target_delimiter: \" -> \"",
        documents
    ), @r#"
    7: "Answer yes or no.\nIs ice cold? ->", choice {"options":["no","yes"],"answer":"yes"}
    b-2: "Answer yes or no.\nIs fire cold? ->", choice {"options":["no","yes"],"answer":"no"}
    quiz-3: "Answer yes or no.\nIs it? ->", choice {"options":["no","yes"],"answer":"no"}
    "#);
}

#[test]
fn documents_that_give_nothing_are_named() {
    let documents = r#"{"q": "One?", "a": "x", "o": ["x", "y"]}
{"q": "Two?", "a": "x", "o": ["x", "x"]}
{"q": "Three?", "a": "z", "o": ["x", "y"]}
{"q": "Four?", "a": "x", "o": "x or y"}
{"q": "Five?", "o": ["x", "y"]}
{"q": "Use {{braces}}?", "a": "x", "o": ["x", "y"]}
{"q": "", "a": "x", "o": ["x", "y"]}"#;
    insta::assert_snapshot!(probes(
        "output_type: multiple_choice\ndoc_to_text: '{{q}}'\ndoc_to_target: '{{a}}'\n\
         doc_to_choice: '{{o}}'",
        documents
    ), @r#"
    quiz-1: "One?", choice {"options":["x","y"],"answer":"x"}
    document 2: the document: `options` has "x" twice
    document 3: the document: `answer` is "z", which is not among the options; "x" is
    document 4: the document: `doc_to_choice` gives no list: "x or y"
    document 5: the document: `doc_to_target`: there is no value for `a`
    document 6: the probe: its text has `{{braces}}`, which a suite would fill from [vars]
    document 7: the probe: its prompt is empty
    "#);
}

#[test]
fn programs_are_named_and_not_run() {
    insta::assert_snapshot!(probes(
        "process_docs: !function utils.process\ndoc_to_text: !function utils.text\n\
         doc_to_target: a\nnum_fewshot: 3\nuse_prompt: all\ngen_prefix: So\nrepeats: 4",
        r#"{"a": "x"}"#
    ), @"
    the task: `use_prompt: all`: it names a prompt of promptsource, which is not read
    the task: `gen_prefix: So`: an answer begins where the chat template lets it begin
    the task: `process_docs: !function utils.process`: it runs a program on every document: give documents that are processed already
    the task: `num_fewshot: 3`: a probe is asked without examples before it
    the task: `repeats: 4`: write `samples` and a temperature under [generation]
    document 1: the document: `doc_to_text: !function utils.text` runs a program
    ");
}

#[test]
fn choice_of_contexts_is_named() {
    insta::assert_snapshot!(probes(
        "output_type: multiple_choice\ndoc_to_text: '{{n}}'\ndoc_to_target: a\n\
         doc_to_choice: [a, b]",
        r#"{"n": 1, "a": "a"}"#
    ), @"document 1: the document: `doc_to_text` gives a number: of several contexts the best is chosen, and a probe has one");
}
