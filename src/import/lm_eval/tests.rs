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
    let Value::Object(config) = yaml::parse("quiz.yaml", task, Dialect::Python).unwrap() else {
        panic!("no table");
    };
    let mut notes = Notes::default();
    let draft = read(&source, config, &mut notes).unwrap();
    let probes = draft.probes.iter().map(|probe| {
        let params = Value::Object(probe.checks[0].params.clone());
        format!(
            "{}: {}{:?}, {} {params}",
            probe.id,
            probe
                .system
                .as_deref()
                .map(|s| format!("({s:?}) "))
                .unwrap_or_default(),
            probe.prompts[0],
            probe.checks[0].kind
        )
    });
    let notes = notes.into_list();
    let notes = notes.iter().map(ToString::to_string);
    probes.chain(notes).collect::<Vec<_>>().join("\n")
}

#[test]
fn templates_may_be_fields_and_fixed_values() {
    let documents = r#"{"id": "7", "q": "Is ice cold?", "right": "yes"}
{"doc_id": "B 2", "q": "Is fire cold?", "right": "no"}
{"q": "Is it?", "right": "1"}"#;
    insta::assert_snapshot!(probes(
        "output_type: multiple_choice\ndoc_to_text: q\ndoc_to_target: right\n\
         doc_to_choice: ['no', 'yes']\ndescription: \"Answer yes or no.\\n\"\n\
         target_delimiter: \" -> \"",
        documents
    ), @r#"
    7: ("Answer yes or no.\n") "Is ice cold?", choice {"options":["no","yes"],"answer":"yes"}
    quiz-2: ("Answer yes or no.\n") "Is fire cold?", choice {"options":["no","yes"],"answer":"no"}
    the task: `metric: acc`: here the probability of the right option among all is the score, there it is whether that option is the likeliest
    the task: `metric: acc_norm`: a probe has one score, here that of `acc`; `normalize = "bytes"` is its like
    the task: `target_delimiter: -> `: with a chat template the harness leaves it out too
    document 3: the document: "1" is none of its options: the harness counts every answer as wrong
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
    the task: `metric: acc`: here the probability of the right option among all is the score, there it is whether that option is the likeliest
    the task: `metric: acc_norm`: a probe has one score, here that of `acc`; `normalize = "bytes"` is its like
    document 2: the document: `options` has "x" twice
    document 3: the document: "z" is none of its options: the harness counts every answer as wrong
    document 4: the document: `doc_to_choice` gives no list: "x or y"
    document 5: the document: "None" is none of its options: the harness counts every answer as wrong
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
    the task: `use_prompt: all`: its prompts are kept by promptsource
    the task: `gen_prefix: So`: an answer begins where the chat template lets it begin
    the task: `num_fewshot: 3`: a probe is asked without examples before it
    the task: `repeats: 4`: write `samples` and a temperature under [generation]
    the task: `process_docs: !function utils.process`: a program makes the documents: those of `--docs` are taken as it has left them
    the task: `metric: exact_match`: blanks around the answer, quotes, dashes, and widths of letters are folded before `equals` compares, there every character counts
    ");
}

#[test]
fn choice_of_contexts_is_named() {
    insta::assert_snapshot!(probes(
        "output_type: multiple_choice\ndoc_to_text: '{{n}}'\ndoc_to_target: a\n\
         doc_to_choice: [a, b]",
        r#"{"n": 1, "a": "a"}"#
    ), @r#"
    the task: `metric: acc`: here the probability of the right option among all is the score, there it is whether that option is the likeliest
    the task: `metric: acc_norm`: a probe has one score, here that of `acc`; `normalize = "bytes"` is its like
    the task: the task: `doc_to_text` gives a number: of several contexts the best is chosen, and a probe has one
    "#);
}

#[test]
fn documents_of_a_program_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("quiz.yaml");
    std::fs::write(folder.path().join("d.jsonl"), "{\"a\": \"x\"}").unwrap();
    let task = "process_docs: !function utils.f\ndoc_to_text: q\ndoc_to_target: a\n\
                dataset_kwargs: {data_files: d.jsonl}";
    let Value::Object(config) = yaml::parse("quiz.yaml", task, Dialect::Python).unwrap() else {
        panic!("no table");
    };
    let source = ImportSource {
        file,
        ..ImportSource::default()
    };
    let error = read(&source, config, &mut Notes::default()).unwrap_err();
    insta::assert_snapshot!(error.to_string().replace(&folder.path().display().to_string(), "FOLDER"), @r#"
    FOLDER/quiz.yaml: its documents are made by a program: `process_docs: !function utils.f`
      rule: an import runs no program that a file names
      way out: let the harness write them: python -c 'import json; from lm_eval.tasks import TaskManager; task = TaskManager(include_path="FOLDER").load(["TASK"])["tasks"]["TASK"]; print(*(json.dumps(dict(doc)) for doc in task.eval_docs), sep="\n")' > docs.jsonl; then add `--docs docs.jsonl`
    "#);
}
