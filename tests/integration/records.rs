//! What earlier runs and earlier versions left: found where the configuration says, read as it is,
//! and never taken for something that it is not.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::project::Project;
use crate::resume::{has_line, interrupt};

/// Folders right below one.
fn folders(project: &Project, below: &str) -> BTreeSet<String> {
    let Ok(entries) = std::fs::read_dir(project.path(below)) else {
        return BTreeSet::new();
    };
    entries
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect()
}

fn gate_records(project: &Project) -> usize {
    let files = project.files("runs/gates");
    files.keys().filter(|name| name.ends_with(".json")).count()
}

/// Written by qeval 0.1.0 before a run's configuration had a kind. Never edited.
#[test]
fn runs_of_the_version_before_are_judged_without_a_model() {
    let project = Project::with_model();
    project.copy("records/run-v1/runs", "runs");
    std::fs::remove_dir_all(project.path("model")).unwrap();
    let said = project.qeval("gate").exits(0);
    assert!(
        said.stdout.contains("run-0001/ckpt-21: pass"),
        "{}",
        said.stdout
    );
    assert!(
        !said.stderr.contains("system prompt"),
        "the model was loaded: {}",
        said.stderr
    );
    let report = project
        .qeval("diff base ckpt-21 --format json")
        .exits(0)
        .json();
    // The last of two checkpoints: what a pick among them costs is in its rules.
    let pooled = &report["candidates"][0]["verdict"]["pooled"];
    assert_eq!(pooled["state"], "pass");
    assert_eq!(pooled["estimate"]["confidence"], 0.975);
}

#[test]
fn a_run_of_the_version_before_is_finished_and_not_begun_anew() {
    let project = Project::with_model();
    project.copy("records/run-v1/runs", "runs");
    let before = project.files("runs/run-0001");
    project.qeval("train").exits(0);
    assert_eq!(
        folders(&project, "runs").len(),
        2,
        "the two that were there"
    );
    let after = project.files("runs/run-0001");
    // The last verdict is given again, by what answers say that are on disk, and beside it the same
    // checkpoint at other scales.
    let log = "runs/run-0001/train.jsonl";
    for (file, content) in &before {
        assert!(
            file == log || after.get(file) == Some(content),
            "{file} has changed"
        );
    }
    let added: Vec<&str> = after
        .keys()
        .filter(|file| !before.contains_key(*file))
        .filter_map(|file| file.strip_prefix("runs/run-0001/"))
        .collect();
    insta::assert_snapshot!(project.stable_names(added), @"
    answers/ckpt-42@0.5.jsonl
    answers/ckpt-42@0.7.jsonl
    best/adapter_config.json
    best/adapter_model.safetensors
    best/qeval_adapter.json
    checkpoint-42/trainer_state.json
    events.out.tfevents.[time].qeval.[process]
    ");
}

#[test]
fn rules_that_cannot_be_read_are_never_replaced_by_defaults() {
    let project = Project::with_model();
    project.copy("records/run-v1/runs", "runs");
    let file = "runs/run-0001/provenance.json";
    project.edit(file, "\"margin\": 0.1,", "\"margin\": \"wide\",");
    insta::assert_snapshot!(project.qeval("gate").refusal(), @r#"
    error: runs/run-0001/provenance.json: cannot be read: what the run was asked to do (`config`): invalid type: string "wide", expected f64
      Restore the file, or move the whole run folder out of the runs folder.
      Without its rules no checkpoint can be judged as it was in training. To judge by a configuration of yours, name it: `--config qeval.toml`.
    "#);
    // The way out that it names.
    let said = project.qeval("gate --config qeval.toml").exits(0);
    assert!(
        said.stdout.contains("run-0001/ckpt-21: pass"),
        "{}",
        said.stdout
    );
}

#[test]
fn output_dir_is_where_every_command_looks() {
    let project = Project::with_model();
    project.edit("qeval.toml", "seed = 2", "seed = 2\noutput_dir = \"out\"");
    project.qeval("train").exits(0);
    assert_eq!(
        folders(&project, "out"),
        BTreeSet::from(["run-0001".into()])
    );
    for command in ["gate", "diff base ckpt-42", "run base adapters/good"] {
        project.qeval(command).exits(0);
    }
    assert!(folders(&project, "out").contains("run-0002"));
    assert_eq!(folders(&project, "runs"), BTreeSet::new());
    // What is asked for by name is used, even where it is the usual name.
    project.qeval("train --runs runs").exits(0);
    assert_eq!(
        folders(&project, "runs"),
        BTreeSet::from(["run-0001".into()])
    );
}

#[test]
fn a_gate_is_judged_again_after_its_judge_changed() {
    let project = Project::with_model();
    project.qeval("train").exits(0);
    project.qeval("gate").exits(0);
    project.qeval("gate").exits(0);
    assert_eq!(gate_records(&project), 1);
    let checks = "[checks]\njudge_accuracy = 0.9\n[gate]";
    project.edit("qeval.toml", "[gate]", checks);
    project.qeval("gate").exits(0);
    assert_eq!(gate_records(&project), 2);
}

/// The time of day in every prompt: a second later it is another day.
fn with_a_clock() -> Project {
    let project = Project::with_model();
    project.edit(
        "model/tokenizer_config.json",
        "\"chat_template\": \"",
        "\"chat_template\": \"{{ '<|im_start|>system\\\\n' + strftime_now('%T') + '<|im_end|>\\\\n' }}",
    );
    project
}

#[test]
fn killed_training_goes_on_the_next_day() {
    let project = with_a_clock();
    interrupt(&project, "train --slots 1 --threads 1", |p| {
        has_line(p, "runs/run-0001/train.jsonl", "\"step\":30,")
    });
    std::thread::sleep(Duration::from_millis(1100));
    let said = project.qeval("train");
    assert_eq!(
        folders(&project, "runs"),
        BTreeSet::from(["run-0001".into()])
    );
    assert!(
        said.stderr.contains("prompts keep that of run-0001"),
        "{}",
        said.stderr
    );
    let steps: Vec<u64> = project
        .lines("runs/run-0001/train.jsonl", "line")
        .iter()
        .filter_map(|line: &Value| line["step"].as_u64())
        .collect();
    assert_eq!(steps, (1..=steps.len() as u64).collect::<Vec<_>>());
}

#[test]
fn answers_of_the_day_before_are_not_given_again() {
    let project = with_a_clock();
    project.qeval("run base").exits(0);
    let first = project.record("run-0001", "base");
    std::thread::sleep(Duration::from_millis(1100));
    project.qeval("run base adapters/good").exits(0);
    assert_eq!(
        folders(&project, "runs"),
        BTreeSet::from(["run-0001".into()])
    );
    assert!(project.record("run-0001", "base") == first);
}
