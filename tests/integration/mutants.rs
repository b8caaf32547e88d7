//! Suites that are put to mutants: adapters made bad and harmless on purpose.

use serde_json::Value;

use crate::project::Project;

/// The fixture model's own suites, judged by their usual margin, and few.
fn project() -> Project {
    let project = Project::with_model();
    project.write(
        "qeval.toml",
        "[model]\npath = \"model\"\n[gate]\nmargin = 0.1\nsuites = [\"suites\"]\n",
    );
    project
}

fn named<'v>(report: &'v Value, list: &str, key: &str, name: &str) -> &'v Value {
    let all = report[list].as_array().unwrap();
    let found = all.iter().find(|entry| entry[key] == name);
    found.unwrap_or_else(|| panic!("no {name} in {all:#?}"))
}

#[test]
fn mutants_are_killed_or_spared_and_asked_once() {
    let project = project();
    let command = "suite check --mutants adapters/good --format json";
    let first = project.qeval(command);
    let report: Value = serde_json::from_str(&first.stdout).unwrap();
    assert_eq!(report["adapter"], "adapters/good");
    assert_eq!(report["adapter_decision"], "pass");
    let mutants = report["mutants"].as_array().unwrap();
    assert_eq!(mutants.len(), 25, "{report:#}");
    for mutant in mutants {
        let (name, decision) = (&mutant["name"], &mutant["decision"]);
        if mutant["wanted"] == "spared" {
            assert_ne!(decision, "regression", "{name}: {}", mutant["sentence"]);
        }
    }
    // The base and an adapter at scale 0 are one.
    let zero = named(&report, "mutants", "name", "scale 0");
    assert_eq!(zero["pooled"]["estimate"]["difference"], 0.0);
    assert_eq!(zero["lost"], serde_json::json!([]));
    for name in ["garbled text", "high rate", "slipped answers", "scaled 8"] {
        let harmful = named(&report, "mutants", "name", name);
        assert_eq!(harmful["decision"], "regression", "{}", harmful["sentence"]);
        assert!(!harmful["killed_by"].as_array().unwrap().is_empty());
        assert!(!harmful["lost"].as_array().unwrap().is_empty());
    }
    let wrong = mutants
        .iter()
        .any(|m| m["wanted"] == "killed" && m["decision"] != "regression");
    assert_eq!(first.code, Some(i32::from(wrong)), "{}", first.stderr);

    // Nothing is trained or asked again, and the runs of the project are its own alone.
    let before = project.files("runs");
    let again = project.qeval(command);
    assert_eq!(again.stdout, first.stdout);
    assert_eq!(project.files("runs"), before);
    let listed = project.qeval("list").exits(0).stdout;
    assert!(!listed.contains("mutants"), "{listed}");
}

#[test]
fn a_base_that_nothing_can_be_lost_of_is_refused() {
    let project = project();
    let suite: String = (0..40)
        .map(|i| {
            format!(
                "[[probe]]\nid = \"p{i}\"\nprompts = [\"What is {i} + 2?\"]\n[[probe.check]]\n\
                 type = \"contains\"\nvalue = \"quicksort\"\n"
            )
        })
        .collect();
    project.write(
        "hopeless.toml",
        format!("[suite]\nname = \"hopeless\"\ngoal = \"keep\"\n[generation]\nmax_new_tokens = 4\n{suite}"),
    );
    let refused = project.qeval("suite check --mutants adapters/good --suite hopeless.toml");
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("too weak for these suites"),
        "{}",
        refused.stderr
    );
}
