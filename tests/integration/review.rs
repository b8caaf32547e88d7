//! What a reviewer sees: suites that are tested, comments for a pull request, changed answers.

use std::collections::BTreeMap;

use crate::project::Project;

/// A project that gates and trains on nothing.
fn project() -> Project {
    let project = Project::with_model();
    project.write(
        "qeval.toml",
        "[model]\npath = \"model\"\n[gate]\nmargin = 0.1\nsuites = [\"suites\"]\n",
    );
    // What the environment of these tests says of snapshots is not meant.
    project.env("CI", "").env("INSTA_UPDATE", "auto")
}

#[test]
fn a_leaked_probe_and_a_wrong_golden_answer_fail_the_suites() {
    let project = project();
    let clean = project.qeval("suite check").exits(0);
    assert!(
        clean.stdout.ends_with("suites: clean\n"),
        "{}",
        clean.stdout
    );

    let suite = String::from_utf8(project.read("suites/facts.toml")).unwrap();
    let first = suite
        .lines()
        .skip_while(|line| *line != "id = \"capital-peru\"")
        .find(|line| line.starts_with("prompts"))
        .unwrap();
    let prompt = first.split('"').nth(1).unwrap();
    project.write(
        "data.jsonl",
        format!("{{\"instruction\": \"{prompt}\", \"output\": \"x\"}}\n"),
    );
    let leaked = project.qeval("suite check --data data.jsonl").exits(1);
    assert!(
        leaked.stdout.contains("1 probe: in the training data"),
        "{}",
        leaked.stdout
    );

    let json = project.qeval("suite check --base --format json").exits(0);
    let audit: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    let suites = audit["suites"].as_array().unwrap();
    let facts = suites.iter().find(|s| s["suite"] == "facts").unwrap();
    assert_eq!(facts["base"]["always_failed"], 0, "{facts}");
    assert_eq!(facts["base"]["can_lose"], 21, "{facts}");
}

#[test]
fn a_simulation_tells_how_often_the_gate_is_right() {
    let project = project();
    let refused = project
        .qeval("suite check --simulate --comparisons 10")
        .exits(3);
    assert!(
        refused.stderr.contains("it is from 1000 to 1000000"),
        "{}",
        refused.stderr
    );
    let simulate = "suite check --simulate --comparisons 1000";
    let text = project.qeval(simulate).exits(0).stdout;
    assert!(
        text.contains("false alarms: claimed at most 5.0 of 100"),
        "{text}"
    );
    assert!(text.contains("a true loss of 0.10 in `facts`"), "{text}");
    // The base is not asked again, and the same seed draws the same.
    assert_eq!(project.qeval(simulate).exits(0).stdout, text);
    let json = project.qeval(&format!("{simulate} --looks 4 --format json"));
    let json: serde_json::Value = serde_json::from_str(&json.exits(0).stdout).unwrap();
    assert_eq!(json["comparisons"], 1000);
    let runs = json["runs"].as_array().unwrap();
    let run = runs.last().unwrap();
    assert_eq!((&runs[0]["looks"], &run["looks"]), (&1.into(), &4.into()));
    assert!(run["false_alarms"].as_f64().unwrap() <= 0.05, "{run}");
}

#[test]
fn a_changed_answer_waits_for_a_reviewer_and_is_settled_by_one() {
    let pending = |files: &BTreeMap<String, Vec<u8>>| {
        files.keys().filter(|f| f.ends_with(".snap.new")).count()
    };
    let project = project();
    std::fs::create_dir_all(project.path("snapshots/answers")).unwrap();
    let gate = "gate --markdown comment.md";
    let project = project.env("INSTA_UPDATE", "always");
    project.qeval(&format!("{gate} adapters/good")).exits(0);
    let accepted = project.files("snapshots/answers");
    assert_eq!((accepted.len(), pending(&accepted)), (65, 0));

    let project = project.env("INSTA_UPDATE", "auto");
    project.qeval(&format!("{gate} adapters/good")).exits(0);
    assert_eq!(project.files("snapshots/answers"), accepted);

    project.qeval(&format!("{gate} adapters/harmful")).exits(1);
    let waiting = pending(&project.files("snapshots/answers"));
    assert!(waiting > 30, "{waiting}");
    let comment = String::from_utf8(project.read("comment.md")).unwrap();
    assert!(comment.starts_with("## ❌ qeval: regression"), "{comment}");
    assert!(
        comment.contains(&format!("{waiting} answers differ")),
        "{comment}"
    );
    assert!(comment.chars().count() < 65_000);

    project.qeval("snapshot list").exits(2);
    project.qeval("snapshot accept facts/capital-peru").exits(2);
    project.qeval("snapshot reject").exits(0);
    let files = project.files("snapshots/answers");
    assert_eq!(pending(&files), 0);
    let changed: Vec<&String> = files
        .iter()
        .filter(|(name, text)| accepted.get(*name) != Some(text))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(changed, ["snapshots/answers/facts/capital-peru.snap"]);
}

#[test]
fn a_clean_comment_says_that_nothing_differs() {
    let project = project();
    let comment = || {
        project
            .qeval("gate adapters/good --markdown comment.md")
            .exits(0);
        String::from_utf8(project.read("comment.md")).unwrap()
    };
    // Nothing was ever accepted.
    let without = comment();
    assert!(without.starts_with("## ✅ qeval: pass"), "{without}");
    assert!(!without.contains("snapshots"), "{without}");
    std::fs::create_dir_all(project.path("snapshots/answers")).unwrap();
    let with = comment();
    assert!(with.contains("No answer differs"), "{with}");
}

#[test]
fn every_command_of_a_review_speaks_json() {
    let project = project();
    std::fs::create_dir_all(project.path("snapshots/answers")).unwrap();
    project.qeval("gate adapters/harmful").exits(1);
    let json = |command: &str, code: i32| {
        let said = project.qeval(&format!("{command} --format json"));
        said.exits(code).json()
    };
    let shown = json("snapshot show facts/*", 2);
    let first = &shown["pending"][0];
    let name = first["name"].as_str().unwrap().to_owned();
    assert!(name.starts_with("facts/"), "{first}");
    assert!(
        first["accepted"].is_null() && first["new"].is_string(),
        "{first}"
    );
    let accepted = json(&format!("snapshot accept {name}"), 2);
    assert_eq!(accepted["accepted"][0]["name"], name.as_str());
    let waiting = accepted["pending"].as_array().unwrap().len();
    let rejected = json("snapshot reject facts/*", 2);
    let gone = rejected["rejected"].as_array().unwrap().len();
    let left = rejected["pending"].as_array().unwrap().len();
    assert_eq!(gone + left, waiting);
    json("snapshot reject", 0);
    project.write(
        "snapshots/answers/facts/gone.snap",
        "---\n---\nProbe: kept\n",
    );
    let orphans = json("snapshot orphans", 0);
    let files = orphans["orphans"].as_array().unwrap();
    assert!(
        files[0].as_str().unwrap().ends_with("facts/gone.snap"),
        "{orphans}"
    );
    assert_eq!(json("snapshot orphans --remove", 0)["removed"], true);
    assert!(!project.path("snapshots/answers/facts/gone.snap").exists());
}

/// Removing it would lose what a reviewer accepted.
#[test]
fn a_probe_that_is_not_asked_today_is_no_orphan() {
    let project = project();
    project.edit("qeval.toml", "[gate]", "[gate]\ntags = [\"sandbox\"]");
    project.write(
        "snapshots/answers/facts/capital-peru.snap",
        "---\n---\nProbe: kept\n",
    );
    project.write(
        "snapshots/answers/facts/gone.snap",
        "---\n---\nProbe: kept\n",
    );
    let orphans = project
        .qeval("snapshot orphans --format json")
        .exits(0)
        .json();
    let files = orphans["orphans"].as_array().unwrap();
    assert_eq!(files.len(), 1, "{orphans}");
    assert!(
        files[0].as_str().unwrap().ends_with("facts/gone.snap"),
        "{orphans}"
    );
}

#[test]
fn init_speaks_json() {
    let project = Project::empty();
    let said = project.qeval("init new --format json").exits(0).json();
    let written = said["written"].as_array().unwrap();
    assert_eq!(written.last().unwrap(), "qeval.toml");
    assert!(project.path("new/qeval.toml").is_file());
}
