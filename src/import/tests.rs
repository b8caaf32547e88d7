//! The whole way from a file to a suite that loads.

use std::path::{Path, PathBuf};

use crate::flow::Suite;
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

/// The import of a configuration written here, as its text or its error.
fn of_text(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    std::fs::write(&file, text).unwrap();
    let source = ImportSource {
        file,
        ..ImportSource::default()
    };
    let shown = match import(&source) {
        Ok(imported) => imported.toml,
        Err(error) => error.to_string(),
    };
    shown.replace(&folder.path().display().to_string(), "FOLDER")
}

#[test]
fn promptfoo_configuration_becomes_a_suite() {
    let imported = imported("promptfooconfig.yaml", None);
    assert_eq!(imported.name, "import");
    let suite = loaded(&imported);
    // Five tests, one of them twice for its two languages, one without a check; each with
    // a wording as a chat of its own.
    assert_eq!(suite.probes.len(), 12);
    insta::assert_snapshot!(imported.toml, @r#"
    # Imported from promptfooconfig.yaml (promptfoo): 12 probes.
    #
    # Not carried over:
    # - the configuration: `providers`: who answers is a run's matter: the base and its adapters
    # - prompt 4: the prompt: a program makes it, and an import runs none
    # - test 1, test 2, test 3, and 3 more: `latency`: it measures the provider and not the answer
    # - test 1: `similar`: its threshold is an absolute similarity, which says little across encoders:
    #   write `similar` with texts that are `accepted` and others that are `rejected`
    # - test 5: `javascript`: it runs a program of its own, and an import carries no programs

    [suite]
    name = "import"
    description = "Answers of the help desk of a small bicycle shop"
    goal = "keep"

    # Opening hours
    [[probe]]
    id = "opening-hours"
    prompts = [
      "Answer a customer of our bicycle shop in one or two sentences: When are you open on Saturdays?",
      '''
    You work at the bicycle shop Spoke and Wheel.
    Customer: When are you open on Saturdays?
    Reply briefly.''',
    ]
    [[probe.check]]
    type = "not-icontains"
    value = "as an ai language model"
    [[probe.check]]
    type = "contains-any"
    value = ["10 am", "10:00", "ten"]

    # Opening hours
    [[probe]]
    id = "opening-hours-2"
    system = "You are the help desk of the bicycle shop Spoke and Wheel."
    prompts = ["When are you open on Saturdays?"]
    [[probe.check]]
    type = "not-icontains"
    value = "as an ai language model"
    [[probe.check]]
    type = "contains-any"
    value = ["10 am", "10:00", "ten"]

    # Price of a new tube
    [[probe]]
    id = "price-of-a-new-tube"
    prompts = [
      "Answer a customer of our bicycle shop in one or two sentences: What does a new inner tube cost?",
      '''
    You work at the bicycle shop Spoke and Wheel.
    Customer: What does a new inner tube cost?
    Reply briefly.''',
    ]
    [[probe.check]]
    type = "not-icontains"
    value = "as an ai language model"
    [[probe.check]]
    type = "regex"
    value = '(?:€|EUR)\s?\d+'
    [[probe.check]]
    type = "word-count"
    min = 3
    max = 40

    # Price of a new tube
    [[probe]]
    id = "price-of-a-new-tube-2"
    system = "You are the help desk of the bicycle shop Spoke and Wheel."
    prompts = ["What does a new inner tube cost?"]
    [[probe.check]]
    type = "not-icontains"
    value = "as an ai language model"
    [[probe.check]]
    type = "regex"
    value = '(?:€|EUR)\s?\d+'
    [[probe.check]]
    type = "word-count"
    min = 3
    max = 40

    # Flat tyre, as JSON
    [[probe]]
    id = "flat-tyre-as-json"
    prompts = [
      "Answer a customer of our bicycle shop in one or two sentences: My tyre is flat. Reply as JSON with the keys cause and advice.",
      '''
    You work at the bicycle shop Spoke and Wheel.
    Customer: My tyre is flat. Reply as JSON with the keys cause and advice.
    Reply briefly.''',
    ]
    [[probe.check]]
    type = "not-icontains"
    value = "as an ai language model"
    [[probe.check]]
    type = "is-json"
    schema = { type = "object", required = ["cause", "advice"], properties = { cause = { type = "string" }, advice = { type = "string" } } }

    # Flat tyre, as JSON
    [[probe]]
    id = "flat-tyre-as-json-2"
    system = "You are the help desk of the bicycle shop Spoke and Wheel."
    prompts = ["My tyre is flat. Reply as JSON with the keys cause and advice."]
    [[probe.check]]
    type = "not-icontains"
    value = "as an ai language model"
    [[probe.check]]
    type = "is-json"
    schema = { type = "object", required = ["cause", "advice"], properties = { cause = { type = "string" }, advice = { type = "string" } } }

    # Greeting in two languages
    [[probe]]
    id = "greeting-in-two-languages"
    prompts = [
      "Answer a customer of our bicycle shop in one or two sentences: Greet me in German.",
      '''
    You work at the bicycle shop Spoke and Wheel.
    Customer: Greet me in German.
    Reply briefly.''',
    ]
    [[probe.check]]
    type = "not-icontains"
    value = "as an ai language model"
    [[probe.check]]
    type = "all"
    checks = [
      { type = "llm-rubric", value = "The answer greets the customer in German.", weight = 1.0 },
      { type = "icontains-any", value = ["hallo", "guten tag", "bonjour", "salut"], weight = 0.5 },
    ]
    min = 0.5

    # Greeting in two languages
    [[probe]]
    id = "greeting-in-two-languages-2"
    system = "You are the help desk of the bicycle shop Spoke and Wheel."
    prompts = ["Greet me in German."]
    [[probe.check]]
    type = "not-icontains"
    value = "as an ai language model"
    [[probe.check]]
    type = "all"
    checks = [
      { type = "llm-rubric", value = "The answer greets the customer in German.", weight = 1.0 },
      { type = "icontains-any", value = ["hallo", "guten tag", "bonjour", "salut"], weight = 0.5 },
    ]
    min = 0.5

    # Greeting in two languages
    [[probe]]
    id = "greeting-in-two-languages-3"
    prompts = [
      "Answer a customer of our bicycle shop in one or two sentences: Greet me in French.",
      '''
    You work at the bicycle shop Spoke and Wheel.
    Customer: Greet me in French.
    Reply briefly.''',
    ]
    [[probe.check]]
    type = "not-icontains"
    value = "as an ai language model"
    [[probe.check]]
    type = "all"
    checks = [
      { type = "llm-rubric", value = "The answer greets the customer in French.", weight = 1.0 },
      { type = "icontains-any", value = ["hallo", "guten tag", "bonjour", "salut"], weight = 0.5 },
    ]
    min = 0.5

    # Greeting in two languages
    [[probe]]
    id = "greeting-in-two-languages-4"
    system = "You are the help desk of the bicycle shop Spoke and Wheel."
    prompts = ["Greet me in French."]
    [[probe.check]]
    type = "not-icontains"
    value = "as an ai language model"
    [[probe.check]]
    type = "all"
    checks = [
      { type = "llm-rubric", value = "The answer greets the customer in French.", weight = 1.0 },
      { type = "icontains-any", value = ["hallo", "guten tag", "bonjour", "salut"], weight = 0.5 },
    ]
    min = 0.5

    # Length by a program
    [[probe]]
    id = "length-by-a-program"
    prompts = [
      "Answer a customer of our bicycle shop in one or two sentences: What is a derailleur?",
      '''
    You work at the bicycle shop Spoke and Wheel.
    Customer: What is a derailleur?
    Reply briefly.''',
    ]
    [[probe.check]]
    type = "not-icontains"
    value = "as an ai language model"

    # Length by a program
    [[probe]]
    id = "length-by-a-program-2"
    system = "You are the help desk of the bicycle shop Spoke and Wheel."
    prompts = ["What is a derailleur?"]
    [[probe.check]]
    type = "not-icontains"
    value = "as an ai language model"
    "#);
}

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
    # - the task: `metric: acc_norm`: a probe has one score, here that of `acc`; `normalize = "bytes"`
    #   is its like
    # - document 3: the document: `doc_to_target`: invalid operation: 'E' is not in the list

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
    assert_eq!(suite.probes[1].checks[0].params["value"], 1050);
    assert_eq!(suite.probes[1].generation.max_new_tokens, 200);
    insta::assert_snapshot!(imported.toml, @r#"
    # Imported from the lm-evaluation-harness task word_problems: 2 probes.
    #
    # Not carried over:
    # - the task: `fewshot_split: train`: a probe is asked without examples before it
    # - the task: `metadata`: it changes neither prompts nor checks
    # - the task: `num_fewshot: 5`: a probe is asked without examples before it
    # - the task: `metric: !function utils.steps_match`: it runs a program
    # - the task: the filter `strict-match`: a probe reads its answers in one way
    # - the task: `until: ["Question:","</s>"]`: an answer ends where the model ends its turn
    # - document 3: the document: its answer "zero" is no number

    [suite]
    name = "word_problems"
    goal = "keep"

    [generation]
    temperature = 0
    max_new_tokens = 200

    [[probe]]
    id = "word_problems-1"
    prompts = [
      '''
    Question: Nora bakes 4 trays of 12 rolls and sells 30 rolls. How many rolls are left?
    Answer:''',
    ]
    [[probe.check]]
    type = "number"
    value = 18
    which = "last"

    [[probe]]
    id = "word_problems-2"
    prompts = [
      '''
    Question: A tent costs $1,250 and is sold for $200 less. What is its price now?
    Answer:''',
    ]
    [[probe.check]]
    type = "number"
    value = 1050
    which = "last"
    "#);
}

#[test]
fn loglikelihood_task_becomes_likelihoods() {
    let imported = imported("last_word.yaml", Some("last_word.jsonl"));
    let suite = loaded(&imported);
    assert_eq!(suite.probes[0].checks[0].params["text"], "light");
    insta::assert_snapshot!(imported.toml, @r#"
    # Imported from the lm-evaluation-harness task last_word: 2 probes.
    #
    # Not carried over:
    # - the task: `metadata`: it changes neither prompts nor checks
    # - the task: `metric: perplexity`: here the probability of the text is the score, which is 1 over
    #   it
    # - the task: `metric: acc`: here the probability of the text is the score, not whether it is the
    #   likeliest
    # - document 3: the document: `doc_to_text`: unknown method: undefined has no method named split
    #   (`text` is undefined)

    [suite]
    name = "last_word"
    goal = "keep"

    [[probe]]
    id = "last_word-1"
    prompts = [
      "The lighthouse keeper climbed the stairs, cleaned the great lens, and when the fog came in he switched on the",
    ]
    [[probe.check]]
    type = "likelihood"
    text = "light"

    [[probe]]
    id = "last_word-2"
    prompts = [
      "She had looked for her keys in every pocket and every drawer, and in the end the dog had been lying on her",
    ]
    [[probe.check]]
    type = "likelihood"
    text = "keys"
    "#);
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
    let shown = [
        of_text("prompts: [a\ntests: []"),
        of_text("a: 1"),
        of_text("- 1"),
        of_text("group: many\ntask: [a, b]"),
        of_text("task: t\ninclude: config.yaml"),
        of_text("task: t\ninclude: none.yaml"),
        of_text("task: t\ndataset_path: big/set\ndoc_to_text: q\ndoc_to_target: a"),
        of_text("task: t\ndataset_kwargs: {data_files: none.jsonl}\ndoc_to_text: q"),
        of_text("task: t\noutput_type: loglikelihood_rolling"),
        of_text("prompts: ['{{q}}']\ntests:\n  - assert: [{type: cost, threshold: 1}]"),
    ];
    insta::assert_snapshot!(shown.join("\n\n"), @r#"
    FOLDER/config.yaml:2: is no YAML: illegal placement of ':' indicator
      rule: both formats are YAML 1.2 (https://yaml.org)
      way out: mend the file at that place

    FOLDER/config.yaml: is neither a promptfoo configuration nor an lm-evaluation-harness task
      rule: a promptfoo configuration has `prompts` and `tests`, a task has `doc_to_text`
      way out: name a promptfooconfig.yaml or the YAML of a single task

    FOLDER/config.yaml: is neither a promptfoo configuration nor an lm-evaluation-harness task
      rule: a promptfoo configuration has `prompts` and `tests`, a task has `doc_to_text`
      way out: name a promptfooconfig.yaml or the YAML of a single task

    FOLDER/config.yaml: is a group of tasks
      rule: a suite is made of one task
      way out: import the YAML of each task by itself

    FOLDER/config.yaml: is included by a file that it includes
      rule: `include` names a file that does not lead back to this one
      way out: take one of the two `include` lines out

    FOLDER/none.yaml: cannot be read: No such file or directory (os error 2)
      rule: every file that an import needs has to be readable UTF-8 text
      way out: name another file, or change its permissions

    FOLDER/config.yaml: its documents are not here: `dataset_path` is "big/set"
      rule: a task's templates are filled from documents: JSON objects, one a line
      way out: write them with Python's `datasets` (load_dataset(PATH, NAME, split=SPLIT).to_json("docs.jsonl")) and add `--docs docs.jsonl`

    FOLDER/config.yaml: its documents are not here: there is no file FOLDER/none.jsonl
      rule: a task's templates are filled from documents: JSON objects, one a line
      way out: write them with Python's `datasets` (load_dataset(PATH, NAME, split=SPLIT).to_json("docs.jsonl")) and add `--docs docs.jsonl`

    FOLDER/config.yaml: nothing in it could be carried over:
      - the task: `output_type: loglikelihood_rolling`: it scores a text without a prompt, and a probe has one
      rule: a suite has at least one probe with a prompt and a check
      way out: write the probes by hand: `qeval init` leaves suites to start from

    FOLDER/config.yaml: nothing in it could be carried over:
      - test 1: `cost`: it measures the provider and not the answer
      - test 1, prompt 1: the prompt: there is no value for `q`
      rule: a suite has at least one probe with a prompt and a check
      way out: write the probes by hand: `qeval init` leaves suites to start from
    "#);
}
