//! Small suites for tests.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::flow::Suite;

use super::error::SuiteErrors;
use super::load::load;
use super::source::SuiteSource;

/// Values of `[vars]`.
pub(super) fn vars() -> BTreeMap<String, String> {
    BTreeMap::from([
        ("name".to_owned(), "Aurora".to_owned()),
        ("author".to_owned(), "Northwind Labs".to_owned()),
    ])
}

/// The text of a suite `s` of one probe: `head` after [suite], `probe` after its prompts.
pub(super) fn one_probe(head: &str, probe: &str) -> String {
    format!(
        "[suite]\nname = \"s\"\ngoal = \"keep\"\n{head}\n[[probe]]\nid = \"p\"\n\
         prompts = [\"Hello\"]\n{probe}\n[[probe.check]]\ntype = \"contains\"\nvalue = \"x\"\n"
    )
}

/// Loads one file's text with [`vars`].
pub(super) fn load_text(text: &str) -> Result<Vec<Suite>, SuiteErrors> {
    load(&[SuiteSource::new("s.toml", text)], &vars())
}

/// Suites by name, one probe a prompt, all with a check that nearly nothing passes.
pub(crate) fn suites_of(suites: &[(&str, &[&str])]) -> Vec<Suite> {
    let sources: Vec<SuiteSource> = suites
        .iter()
        .map(|(name, prompts)| {
            let mut text = format!("[suite]\nname = \"{name}\"\ngoal = \"keep\"\n");
            for (i, prompt) in prompts.iter().enumerate() {
                let _ = write!(
                    text,
                    "[[probe]]\nid = \"p{i}\"\nprompts = [{prompt:?}]\n[[probe.check]]\n\
                     type = \"contains\"\nvalue = \"zebra\"\n"
                );
            }
            SuiteSource::new(format!("{name}.toml"), text)
        })
        .collect();
    load(&sources, &Default::default()).unwrap()
}
