//! Suite files to suites: every error of every file at once, or all suites.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use crate::digest;
use crate::flow::Suite;
use crate::toml_file::{Issue, Place, in_order};

use super::error::{SuiteError, SuiteErrorKind, SuiteErrors};
use super::file::parse;
use super::source::SuiteSource;
use super::validate::Validator;

/// Loads suites; `{{name}}` is replaced from `vars`.
///
/// # Errors
/// Every error of every file, in the order of files and places. A golden answer that its checks
/// judge otherwise is one.
pub fn load(
    sources: &[SuiteSource],
    vars: &BTreeMap<String, String>,
) -> Result<Vec<Suite>, SuiteErrors> {
    read_all(sources, vars, true)
}

/// As [`load`], for whoever measures golden answers: one that is judged otherwise is no error.
///
/// # Errors
/// As [`load`], but for golden answers.
pub fn load_unjudged(
    sources: &[SuiteSource],
    vars: &BTreeMap<String, String>,
) -> Result<Vec<Suite>, SuiteErrors> {
    read_all(sources, vars, false)
}

fn read_all(
    sources: &[SuiteSource],
    vars: &BTreeMap<String, String>,
    judge_goldens: bool,
) -> Result<Vec<Suite>, SuiteErrors> {
    let mut errors = Vec::new();
    let mut suites = Vec::new();
    let mut names: HashMap<String, String> = HashMap::new();
    for source in sources {
        let text = match source.text() {
            Ok(text) => text,
            Err(error) => {
                errors.push(*error);
                continue;
            }
        };
        let read = parse(&text);
        let mistakes = read.mistakes.into_iter();
        let mut issues: Vec<Issue<SuiteErrorKind>> = mistakes
            .map(|(span, mistake)| (span, mistake.into()))
            .collect();
        if let Some(file) = read.value {
            let mut suite = Validator::new(&source.name, &text, vars, &mut issues).suite_of(&file);
            if source.tested || !judge_goldens {
                issues.retain(|(_, kind)| !matches!(kind, SuiteErrorKind::Golden { .. }));
            }
            suite.digest = digest(&suite);
            let name = file
                .suite
                .as_ref()
                .and_then(|suite| suite.get_ref().name.as_ref());
            if let Some(name) = name {
                let place = Place::at(&source.name, &text, &name.span()).to_string();
                if let Some(first) = names.get(name.get_ref()) {
                    let kind = SuiteErrorKind::Duplicate {
                        what: "suite",
                        name: name.get_ref().clone(),
                        first: first.clone(),
                        rule: "a suite's `name` is unique among all suites of a run: snapshots \
                               and records are named by it",
                    };
                    issues.push((name.span(), kind));
                } else {
                    names.insert(name.get_ref().clone(), place);
                }
            }
            suites.push(suite);
        }
        let issues = in_order(&source.name, &text, issues);
        errors.extend(issues.map(|(place, kind)| SuiteError { place, kind }));
    }
    if errors.is_empty() {
        Ok(suites)
    } else {
        Err(SuiteErrors(errors))
    }
}

/// Digest of what can change an answer or a score: prompts, system prompts, generation, and
/// checks, in file order, whatever the order of keys; variables are filled in. Tags, golden
/// answers, margins, and descriptions do not count.
fn digest(suite: &Suite) -> String {
    let probes: Vec<Value> = suite
        .probes
        .iter()
        .map(|probe| {
            let mut content = json!({
                "id": probe.id,
                "system": probe.system,
                "prompts": probe.prompts,
                "generation": probe.generation,
                "checks": probe.checks,
            });
            if !probe.history.is_empty() {
                content["history"] = json!(probe.history);
            }
            content
        })
        .collect();
    let mut content = json!({ "name": suite.name, "probes": probes });
    content.sort_all_objects();
    digest::bytes(content.to_string())
}

#[cfg(test)]
mod tests {
    use crate::suite::testing::{load_text, one_probe};

    #[test]
    fn a_right_file_becomes_nouns() {
        let suites = load_text(&one_probe(
            "description = \"d\"\nmargin = 1",
            "tags = [\"en\"]\ncritical = true\nsystem = \"You are {{name}}.\"",
        ))
        .unwrap();
        let suite = &suites[0];
        assert_eq!((suite.name.as_str(), suite.margin), ("s", Some(1.0)));
        let probe = &suite.probes[0];
        assert!(probe.critical);
        assert_eq!(probe.system.as_deref(), Some("You are Aurora."));
        assert_eq!(
            (probe.generation.samples, probe.generation.temperature),
            (1, None)
        );
        assert_eq!(probe.checks[0].params["value"], "x");
    }

    #[test]
    fn digest_follows_what_changes_scores_only() {
        let digest = |text: &str| load_text(text).unwrap()[0].digest.clone();
        let plain = digest(&one_probe("", ""));
        assert_eq!(
            plain,
            digest(&one_probe("description = \"other\"", "tags = [\"en\"]"))
        );
        assert_ne!(plain, digest(&one_probe("", "system = \"\"")));
        assert_ne!(plain, digest(&one_probe("[generation]\nsamples = 2", "")));
        assert_ne!(plain, digest(&one_probe("", "").replace("Hello", "Hello!")));
        let swapped = one_probe("", "").replace(
            "type = \"contains\"\nvalue = \"x\"",
            "value = \"x\"\ntype = \"contains\"",
        );
        assert_eq!(plain, digest(&swapped));
    }

    #[test]
    fn negated_kinds_are_split() {
        let suite =
            load_text(&one_probe("", "").replace("\"contains\"", "\"not-contains\"")).unwrap();
        let check = &suite[0].probes[0].checks[0];
        assert_eq!((check.kind.as_str(), check.negated), ("contains", true));
    }

    #[test]
    fn byte_order_mark_and_windows_line_ends_are_fine() {
        let unix = one_probe("", "").replace("\"Hello\"", "\"\"\"\nLine one.\nLine two.\n\"\"\"");
        assert_eq!(
            load_text(&unix).unwrap()[0].probes[0].prompts,
            ["Line one.\nLine two.\n"]
        );
        for line_end in ["\r\n", "\r"] {
            let text = format!("\u{FEFF}{}", unix.replace('\n', line_end));
            assert_eq!(load_text(&text), load_text(&unix), "with the digest");
        }
    }
}
