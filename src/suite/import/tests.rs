//! The whole way from a file to a suite that loads.

use std::path::Path;

use super::*;
use crate::flow::Suite;

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
    insta::assert_snapshot!(imported.toml, @"");
}

#[test]
fn multiple_choice_task_becomes_choices() {
    let imported = imported("arc_style.yaml", Some("arc_style.jsonl"));
    let suite = loaded(&imported);
    assert_eq!(suite.probes[0].checks[0].params["answer"], "the leaf");
    insta::assert_snapshot!(imported.toml, @"");
}

#[test]
fn generating_task_becomes_numbers() {
    let imported = imported("word_problems.yaml", None);
    let suite = loaded(&imported);
    assert_eq!(suite.probes[1].checks[0].params["value"], 1050);
    assert_eq!(suite.probes[1].generation.max_new_tokens, 200);
    insta::assert_snapshot!(imported.toml, @"");
}

#[test]
fn loglikelihood_task_becomes_likelihoods() {
    let imported = imported("last_word.yaml", Some("last_word.jsonl"));
    let suite = loaded(&imported);
    assert_eq!(suite.probes[0].checks[0].params["text"], "light");
    insta::assert_snapshot!(imported.toml, @"");
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
    insta::assert_snapshot!(shown.join("\n\n"), @"");
}
