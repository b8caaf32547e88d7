//! What README and the guide show is true: their suites load, and their commands are understood.

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
