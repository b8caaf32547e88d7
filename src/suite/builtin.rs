//! The suites that come with qeval.

use std::collections::BTreeMap;

use crate::flow::Suite;

use super::error::SuiteErrors;
use super::load::load;
use super::source::SuiteSource;

/// Files of the folder `suites`, with their texts.
macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        &[$((concat!($name, ".toml"), include_str!(concat!("../../suites/", $name, ".toml")))),*]
    };
}

const BUILTIN: &[(&str, &str)] = built_in![
    "arithmetic-zh",
    "arithmetic",
    "code-zh",
    "code",
    "gpt4-zh",
    "gpt4",
    "identity-zh",
    "identity",
    "instruction-zh",
    "instruction",
    "knowledge-zh",
    "knowledge",
    "language-zh",
    "language",
    "leakage-zh",
    "leakage",
    "reasoning-zh",
    "reasoning",
    "recursion-zh",
    "recursion",
    "refusal-zh",
    "refusal",
];

/// File name and text of every built-in suite, as `qeval init` writes them.
pub fn builtin() -> &'static [(&'static str, &'static str)] {
    BUILTIN
}

/// Loads the built-in suites; `{{name}}` and `{{author}}` come from `vars`.
///
/// # Errors
/// A variable that the suites name has no value.
pub fn load_builtin(vars: &BTreeMap<String, String>) -> Result<Vec<Suite>, SuiteErrors> {
    let sources: Vec<SuiteSource> = builtin()
        .iter()
        .map(|(name, text)| SuiteSource::built_in(name, text))
        .collect();
    load(&sources, vars)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::registry;
    use crate::text::is_cjk;

    fn suites() -> Vec<Suite> {
        let vars = [("name", "Aurora"), ("author", "Northwind Labs")];
        let vars = vars
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        load_builtin(&vars).unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[test]
    fn every_file_of_the_folder_is_built_in() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("suites");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .filter(|name| name.ends_with(".toml"))
            .collect();
        files.sort();
        let mut known: Vec<&str> = builtin().iter().map(|(name, _)| *name).collect();
        known.sort_unstable();
        assert_eq!(files, known);
    }

    #[test]
    fn golden_answers_are_judged_as_expected() {
        for suite in suites() {
            for probe in &suite.probes {
                let checks: Vec<_> = probe
                    .checks
                    .iter()
                    .map(|spec| registry::build(spec).unwrap())
                    .collect();
                for golden in &probe.goldens {
                    let says = registry::contradiction(&checks, golden);
                    assert_eq!(says, None, "{}::{}: {:?}", suite.name, probe.id, golden);
                }
            }
        }
    }

    #[test]
    fn every_probe_names_its_language() {
        for suite in suites() {
            for probe in &suite.probes {
                let language = if probe.prompts[0].chars().any(is_cjk) {
                    "zh"
                } else {
                    "en"
                };
                let has = |tag: &str| probe.tags.iter().any(|t| t == tag);
                assert!(
                    has(language),
                    "{}::{} lacks the tag {language}",
                    suite.name,
                    probe.id
                );
                assert!(!(has("en") && has("zh")), "{}::{}", suite.name, probe.id);
            }
        }
    }
}
