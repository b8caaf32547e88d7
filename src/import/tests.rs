//! The whole way from a file to a suite that loads.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::flow::{Goal, Probe, Suite};
use crate::suite::{SuiteSource, load};

use super::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/import")
        .join(name)
}

fn imported(file: &str, docs: Option<&str>) -> Imported {
    let source = ImportSource {
        file: fixture(file),
        docs: docs.map(fixture),
        name: None,
    };
    import(&source).unwrap_or_else(|error| panic!("{error}"))
}

fn loaded(imported: &Imported) -> Suite {
    let source = SuiteSource::new("imported.toml", imported.toml.as_str());
    let suite = load(&[source], &Default::default()).unwrap().remove(0);
    assert_eq!(suite.name, imported.name);
    assert_eq!(suite.probes.len(), imported.probes);
    suite
}

/// Every check of a probe, with its parameters.
fn checks(probe: &Probe) -> Vec<String> {
    let shown = probe.checks.iter().map(|check| {
        let not = if check.negated { "not-" } else { "" };
        format!(
            "{not}{} {}",
            check.kind,
            Value::Object(check.params.clone())
        )
    });
    shown.collect()
}

/// What was left out: where, what, and words of the reason.
fn assert_left_out(imported: &Imported, expected: &[(&str, &str, &str)]) {
    let found: Vec<(&str, &str)> = imported
        .not_carried
        .iter()
        .map(|note| (note.place.as_str(), note.what.as_str()))
        .collect();
    let wanted: Vec<(&str, &str)> = expected
        .iter()
        .map(|(place, what, _)| (*place, *what))
        .collect();
    assert_eq!(found, wanted);
    for (note, (.., why)) in imported.not_carried.iter().zip(expected) {
        assert!(note.why.contains(why), "{note}");
    }
}

#[test]
fn promptfoo_configuration_becomes_a_suite() {
    let imported = imported("promptfooconfig.yaml", None);
    let suite = loaded(&imported);
    assert_eq!((suite.name.as_str(), suite.goal), ("import", Goal::Keep));
    let described = "Answers of the help desk of a small bicycle shop";
    assert_eq!(suite.description.as_deref(), Some(described));
    // Five tests, one of them twice for its two languages, one without a check; each with
    // a wording as a chat of its own.
    let ids: Vec<&str> = suite.probes.iter().map(|probe| probe.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "opening-hours",
            "opening-hours-2",
            "price-of-a-new-tube",
            "price-of-a-new-tube-2",
            "flat-tyre-as-json",
            "flat-tyre-as-json-2",
            "greeting-in-two-languages",
            "greeting-in-two-languages-2",
            "greeting-in-two-languages-3",
            "greeting-in-two-languages-4",
            "length-by-a-program",
            "length-by-a-program-2",
        ]
    );
    for pair in suite.probes.chunks(2) {
        let [plain, chat] = pair else {
            panic!("{pair:?}")
        };
        assert_eq!((plain.prompts.len(), plain.system.as_deref()), (2, None));
        let help_desk = "You are the help desk of the bicycle shop Spoke and Wheel.";
        assert_eq!(
            (chat.prompts.len(), chat.system.as_deref()),
            (1, Some(help_desk))
        );
        let question = &chat.prompts[0];
        let short = "Answer a customer of our bicycle shop in one or two sentences: ";
        assert_eq!(plain.prompts[0], format!("{short}{question}"));
        let long = "You work at the bicycle shop Spoke and Wheel.\nCustomer: ";
        assert_eq!(
            plain.prompts[1],
            format!("{long}{question}\nReply briefly.")
        );
        assert_eq!(plain.checks, chat.checks);
    }
    let plain = suite.probes.iter().step_by(2);
    let (questions, own): (Vec<&str>, Vec<Vec<String>>) = plain
        .zip(suite.probes.iter().skip(1).step_by(2))
        .map(|(plain, chat)| (chat.prompts[0].as_str(), checks(plain)))
        .unzip();
    assert_eq!(
        questions,
        [
            "When are you open on Saturdays?",
            "What does a new inner tube cost?",
            "My tyre is flat. Reply as JSON with the keys cause and advice.",
            "Greet me in German.",
            "Greet me in French.",
            "What is a derailleur?",
        ]
    );
    // The default assertion comes first, then those of the test.
    let default = r#"not-icontains {"value":"as an ai language model"}"#;
    assert!(own.iter().all(|checks| checks[0] == default));
    let own: Vec<&str> = own
        .iter()
        .flat_map(|checks| &checks[1..])
        .map(String::as_str)
        .collect();
    assert_eq!(
        own,
        [
            r#"contains-any {"value":["10 am","10:00","ten"]}"#,
            r#"regex {"value":"(?:€|EUR)\\s?[0-9]+"}"#,
            r#"word-count {"min":3,"max":40}"#,
            r#"is-json {"schema":{"type":"object","required":["cause","advice"],"properties":{"cause":{"type":"string"},"advice":{"type":"string"}}}}"#,
            r#"all {"checks":[{"type":"llm-rubric","value":"The answer greets the customer in German.","weight":1.0},{"type":"icontains-any","value":["hallo","guten tag","bonjour","salut"],"weight":0.5}],"min":0.5}"#,
            r#"all {"checks":[{"type":"llm-rubric","value":"The answer greets the customer in French.","weight":1.0},{"type":"icontains-any","value":["hallo","guten tag","bonjour","salut"],"weight":0.5}],"min":0.5}"#,
        ]
    );
    // A test's description stands above its probe.
    let above = "# Price of a new tube\n[[probe]]\nid = \"price-of-a-new-tube\"\n";
    assert!(imported.toml.contains(above), "{}", imported.toml);
    assert_left_out(
        &imported,
        &[
            ("the configuration", "`providers`", "a run's matter"),
            ("prompt 4", "the prompt", "a program makes it"),
            (
                "test 1, test 2, test 3, and 3 more",
                "`not-icontains`",
                "are folded first",
            ),
            (
                "test 1, test 2, test 3, and 3 more",
                "`latency`",
                "the provider and not the answer",
            ),
            ("test 1", "`contains-any`", "are folded first"),
            (
                "test 1",
                "`similar`",
                "write `similar` with texts that are `accepted`",
            ),
            ("test 2", "`word-count`", "a run of letters and digits"),
            ("test 3", "`is-json`", "a fence around the JSON"),
            ("test 4.1, test 4.2", "`llm-rubric`", "another judge"),
            ("test 4.1, test 4.2", "`icontains-any`", "are folded first"),
            ("test 5", "`javascript`", "it runs a program"),
        ],
    );
}

/// The whole file, as whoever imports one reads it.
#[test]
fn multiple_choice_task_becomes_choices() {
    let imported = imported("arc_style.yaml", Some("arc_style.jsonl"));
    let suite = loaded(&imported);
    assert_eq!(suite.probes[0].checks[0].params["answer"], "the leaf");
    insta::assert_snapshot!(imported.toml, @r#"
    # Imported from the lm-evaluation-harness task arc_style: 2 probes.
    #
    # Not carried over:
    # - the task: `tag`: it changes neither prompts nor checks
    # - the task: `should_decontaminate: true`: `qeval suite check --data` looks for probes in the
    #   training data
    # - the task: `doc_to_decontamination_query: Question: {{question}} Answer:`: `qeval suite check
    #   --data` looks for probes in the training data
    # - the task: `metadata`: it changes neither prompts nor checks
    # - the task: `metric: acc`: here the probability of the right option among all is the score, there
    #   it is whether that option is the likeliest
    # - the task: `metric: acc_norm`: a probe has one score, here that of `acc`; `normalize = "bytes"`
    #   is its like
    # - document 3: the document: `doc_to_target`: "E" is not in the list

    [suite]
    name = "arc_style"
    goal = "keep"

    [[probe]]
    id = "leaf_01"
    prompts = [
      '''
    Question: Which part of a plant takes in most of the sunlight?
    Answer:''',
    ]
    [[probe.check]]
    type = "choice"
    options = ["the root", "the leaf", "the seed", "the bark"]
    answer = "the leaf"

    [[probe]]
    id = "ice_02"
    prompts = [
      '''
    Question: A tray of water is left in a freezer overnight. What happens to the water?
    Answer:''',
    ]
    [[probe.check]]
    type = "choice"
    options = ["It boils.", "It turns into a gas.", "It turns into a solid.", "It gets warmer."]
    answer = "It turns into a solid."
    "#);
}

#[test]
fn generating_task_becomes_numbers() {
    let imported = imported("word_problems.yaml", None);
    let suite = loaded(&imported);
    assert_eq!(
        (suite.name.as_str(), suite.goal),
        ("word_problems", Goal::Keep)
    );
    let ids: Vec<&str> = suite.probes.iter().map(|probe| probe.id.as_str()).collect();
    assert_eq!(ids, ["word_problems-1", "word_problems-2"]);
    for (probe, (question, check)) in suite.probes.iter().zip([
        (
            "Nora bakes 4 trays of 12 rolls and sells 30 rolls. How many rolls are left?",
            r#"number {"value":18,"which":"last"}"#,
        ),
        (
            "A tent costs $1,250 and is sold for $200 less. What is its price now?",
            r#"number {"value":1050,"which":"last"}"#,
        ),
    ]) {
        assert_eq!(probe.prompts, [format!("Question: {question}\nAnswer:")]);
        assert_eq!(checks(probe), [check]);
        let generation = &probe.generation;
        assert_eq!(
            (generation.max_new_tokens, generation.temperature),
            (200, Some(0.0))
        );
    }
    assert_left_out(
        &imported,
        &[
            (
                "the task",
                "`fewshot_split: train`",
                "without examples before it",
            ),
            ("the task", "`metadata`", "neither prompts nor checks"),
            ("the task", "`num_fewshot: 5`", "without examples before it"),
            (
                "the task",
                "`metric: !function utils.steps_match`",
                "a program computes it",
            ),
            ("the task", "the filter `strict-match`", "in one way"),
            (
                "the task",
                "the filter `flexible-extract`",
                "compared by its value",
            ),
            (
                "the task",
                "`until: [\"Question:\",\"</s>\"]`",
                "where the model ends its turn",
            ),
            (
                "document 3",
                "the document",
                "its answer \"zero\" is no number",
            ),
        ],
    );
}

#[test]
fn loglikelihood_task_becomes_likelihoods() {
    let imported = imported("last_word.yaml", Some("last_word.jsonl"));
    let suite = loaded(&imported);
    assert_eq!((suite.name.as_str(), suite.goal), ("last_word", Goal::Keep));
    for (probe, (id, end, check)) in suite.probes.iter().zip([
        (
            "last_word-1",
            "came in he switched on the",
            r#"likelihood {"text":"light"}"#,
        ),
        (
            "last_word-2",
            "had been lying on her",
            r#"likelihood {"text":"keys"}"#,
        ),
    ]) {
        assert_eq!(probe.id, id);
        assert!(probe.prompts[0].ends_with(end), "{:?}", probe.prompts);
        assert_eq!(
            (probe.prompts.len(), checks(probe)),
            (1, vec![check.to_owned()])
        );
    }
    assert_eq!(suite.probes.len(), 2);
    assert_left_out(
        &imported,
        &[
            ("the task", "`metadata`", "neither prompts nor checks"),
            ("the task", "`metric: perplexity`", "which is 1 over it"),
            (
                "the task",
                "`metric: acc`",
                "not whether it is the likeliest",
            ),
            (
                "document 1, document 2",
                "what the answer is",
                "blanks around it are cut",
            ),
            ("document 3", "the document", "`split` of null is not read"),
        ],
    );
}

#[test]
fn every_note_stands_in_the_file() {
    for (file, docs) in [
        ("promptfooconfig.yaml", None),
        ("arc_style.yaml", Some("arc_style.jsonl")),
        ("word_problems.yaml", None),
        ("last_word.yaml", Some("last_word.jsonl")),
    ] {
        let imported = imported(file, docs);
        let comments = imported
            .toml
            .lines()
            .map_while(|line| line.strip_prefix('#'));
        let words: Vec<&str> = comments.flat_map(str::split_whitespace).collect();
        let comment = words.join(" ");
        for note in &imported.not_carried {
            assert!(comment.contains(&note.to_string()), "{file}: {note}");
        }
    }
}

#[test]
fn name_that_was_asked_for_is_taken() {
    let source = ImportSource {
        file: fixture("word_problems.yaml"),
        name: Some("Sums".into()),
        ..ImportSource::default()
    };
    assert_eq!(loaded(&import(&source).unwrap()).name, "sums");
}

#[test]
fn what_cannot_be_imported_says_why() {
    for (text, file, kind, phrase) in [
        (
            "prompts: [a\ntests: []",
            "config.yaml:2",
            "Yaml",
            "illegal placement of ':'",
        ),
        (
            "a: 1",
            "config.yaml",
            "UnknownFormat",
            "neither a promptfoo",
        ),
        ("- 1", "config.yaml", "UnknownFormat", "neither a promptfoo"),
        (
            "group: many\ntask: [a, b]",
            "config.yaml",
            "Group",
            "each task by itself",
        ),
        (
            "task: t\ninclude: config.yaml",
            "config.yaml",
            "IncludeLoop",
            "one of the `include` lines",
        ),
        (
            "task: t\ninclude: none.yaml",
            "none.yaml",
            "Unreadable",
            "No such file",
        ),
        (
            "task: t\ndataset_path: big/set\ndoc_to_text: q\ndoc_to_target: a",
            "config.yaml",
            "NoDocuments",
            "`dataset_path` is \"big/set\"",
        ),
        (
            "task: t\ndataset_kwargs: {data_files: none.jsonl}\ndoc_to_text: q",
            "config.yaml",
            "NoDocuments",
            "none.jsonl",
        ),
        (
            "task: t\noutput_type: loglikelihood_rolling",
            "config.yaml",
            "Nothing",
            "the task: `output_type: loglikelihood_rolling`: it scores a text without a prompt",
        ),
        (
            "prompts: ['{{q}}']\ntests:\n  - assert: [{type: cost, threshold: 1}]",
            "config.yaml",
            "Nothing",
            "test 1: `cost`: it measures the provider",
        ),
        (
            "prompts: ['{{q}}']\ntests:\n  - assert: [{type: cost, threshold: 1}]",
            "config.yaml",
            "Nothing",
            "test 1, prompt 1: the prompt: there is no value for `q`",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let source = ImportSource {
            file: folder.path().join("config.yaml"),
            ..ImportSource::default()
        };
        std::fs::write(&source.file, text).unwrap();
        let error = import(&source).unwrap_err();
        let place = folder.path().join(file);
        assert_eq!(error.place, place.display().to_string(), "{text}");
        assert!(
            format!("{:?}", error.kind).starts_with(kind),
            "{text}: {error:?}"
        );
        let told = error.to_string();
        assert!(told.contains(phrase), "{text}: {told}");
        assert!(
            told.contains("\n  rule: ") && told.contains("\n  way out: "),
            "{told}"
        );
    }
}
