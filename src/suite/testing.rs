//! Small suites for tests.

use std::fmt::Write as _;

use crate::flow::Suite;

use super::load::{SuiteSource, load};

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
