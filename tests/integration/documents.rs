//! What README, the guide, and `init` hand to a newcomer is true: suites load, commands are understood,
//! and the project trains.

use std::collections::BTreeMap;
use std::path::Path;

use qeval::guide::TOPICS;
use qeval::suite::{SuiteSource, load};

use crate::project::Project;

/// README and the guide's pages, by name.
fn documents() -> Vec<(String, String)> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let pages = TOPICS
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    std::iter::once(("README".to_owned(), readme))
        .chain(pages)
        .collect()
}

/// The fenced blocks of a language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let opening = format!("```{language}\n");
    text.split(&opening)
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect()
}

#[test]
fn suites_that_are_shown_load() {
    let mut loaded = 0;
    for (name, text) in documents() {
        for suite in blocks(&text, "toml") {
            let source = SuiteSource::new(name.clone(), suite);
            load(&[source], &BTreeMap::new()).unwrap_or_else(|errors| panic!("{errors}"));
            loaded += 1;
        }
    }
    assert!(loaded >= 2, "README and the page of suites each show one");
}

#[test]
fn commands_that_are_shown_are_understood() {
    let project = Project::empty();
    let mut seen = 0;
    for (_, text) in documents() {
        let lines = blocks(&text, "console").into_iter().flat_map(str::lines);
        for line in lines.filter_map(|line| line.strip_prefix("$ qeval ")) {
            let command = line.split('#').next().unwrap_or_default().replace('\'', "");
            // With `--help` behind it a command is read and not run.
            project
                .qeval(&format!("{} --help", command.trim()))
                .exits(0);
            seen += 1;
        }
    }
    assert!(seen >= 10, "{seen}");
}

#[test]
fn init_writes_a_project_that_trains() {
    let project = Project::empty();
    project.qeval("init").exits(0);
    project.copy("models/fixture", "model");
    project.copy("suites", "own");
    project.copy("examples.jsonl", "examples.jsonl");
    let text = String::from_utf8(project.read("qeval.toml")).unwrap();
    let set = |text: String, key: &str, value: &str| {
        let lines = text.lines().map(|line| {
            let own = line.split_whitespace().next() == Some(key);
            if own {
                format!("{key} = {value}\n")
            } else {
                format!("{line}\n")
            }
        });
        lines.collect::<String>()
    };
    let mut text = text;
    for (key, value) in [
        ("path", "\"model\""),
        ("sources", "[\"examples.jsonl\"]"),
        ("suites", "[\"own\"]"),
        ("tags", "[]"),
        ("languages", "[]"),
        ("num_train_epochs", "1"),
    ] {
        let before = text.clone();
        text = set(text, key, value);
        assert_ne!(before, text, "{key}");
    }
    project.write("qeval.toml", text);
    let said = project.qeval("train");
    assert!(matches!(said.code, Some(0..=2)), "{said:?}");
    assert!(
        said.stdout.contains("all keep") || said.stdout.contains("step"),
        "{}",
        said.stdout
    );
}
