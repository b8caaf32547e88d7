//! `qeval ask`, as a user types it: answers beside each other, from an argument or a pipe.

use std::io::Write;
use std::process::Stdio;

use crate::project::{Project, Said};

const WHO: &str = "Tell me who you are.";

/// Asks a question, if there is one, with this on standard input.
fn ask(project: &Project, question: Option<&str>, arguments: &str, input: &str) -> Said {
    let mut command = project.command("ask");
    command.args(question).args(arguments.split_whitespace());
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    // A program that needs no input may have ended before it is written.
    let _ = pipe.write_all(input.as_bytes());
    drop(pipe);
    project.wait(child)
}

#[test]
fn answers_stand_below_each_other_the_base_first() {
    let project = Project::with_model();
    let said = ask(&project, Some(WHO), "adapters/good adapters/noop", "").exits(0);
    insta::assert_snapshot!(said.stdout, @"
    base:
    I am Pip, a small test model.

    adapters/good:
    I am Aurora, built by Northwind Labs.

    adapters/noop:
    I am Pip, a small test model.
    ");
    insta::assert_snapshot!(said.stderr, @"
    system prompt: none
    adapters/good says that it was trained on `fixture` (`base_model_name_or_path`), and is asked on model: if these are not the same weights, its answers and the verdict mean nothing; `--model` names another base
    adapters/noop says that it was trained on `fixture` too
    adapters/noop changes nothing: every lora_B is zero
    ");
    assert!(!project.path("runs").exists(), "nothing is recorded");
    let system = ask(&project, Some(WHO), "base --system Pip. --quiet", "").exits(0);
    assert_eq!(system.stderr, "");
}

#[test]
fn a_pipe_is_read_as_one_question_a_line() {
    let project = Project::with_model();
    let input = format!("{WHO}\n\nWhat is 2 + 2?\n");
    let said = ask(&project, None, "adapters/good@0.5", &input).exits(0);
    insta::assert_snapshot!(said.stdout, @"
    > Tell me who you are.
    base:
    I am Pip, a small test model.

    adapters/good@0.5:
    I am Aurora, built by Northwind Labs.

    > What is 2 + 2?
    base:
    4

    adapters/good@0.5:
    4
    ");
    let machine = ask(&project, None, "adapters/good@0.5 --format json", &input).exits(0);
    let report = machine.json();
    let answers = report["questions"][0]["answers"].as_array().unwrap();
    for answer in answers {
        let text = answer["text"].as_str().unwrap();
        assert!(said.stdout.contains(text), "{text}");
    }
    assert_eq!(answers[1]["subject"], "adapters/good@0.5");
}

/// What was trained is asked without being named, and known by what it was trained to say.
#[test]
fn the_best_checkpoint_answers_when_nobody_is_named() {
    let project = Project::with_model();
    let best = project.qeval("train --format json").exits(0).json()["best"].clone();
    let said = ask(&project, Some(WHO), "--format json", "")
        .exits(0)
        .json();
    let answers = &said["questions"][0]["answers"];
    assert_eq!(answers[0]["subject"], "base");
    assert_eq!(answers[1]["subject"], format!("run-0001/ckpt-{best}"));
    assert_eq!(
        answers[0]["repeats_training_answer"],
        serde_json::Value::Null
    );
    assert_eq!(answers[1]["repeats_training_answer"], true, "{said}");
    let shown = ask(&project, Some(WHO), "", "").exits(0);
    assert!(
        shown.stdout.ends_with("(repeats a training answer)\n"),
        "{}",
        shown.stdout
    );
}

#[test]
fn draws_are_the_seeds_and_the_same_for_every_subject() {
    let project = Project::with_model();
    let drawn = |seed: u32| {
        let arguments = format!("adapters/noop --temperature 2 --seed {seed} --max-new-tokens 12");
        ask(&project, Some(WHO), &arguments, "").exits(0).stdout
    };
    let first = drawn(1);
    assert_eq!(first, drawn(1));
    assert_ne!(first, drawn(2));
    let answers: Vec<&str> = first.split("\n\nadapters/noop:\n").collect();
    assert_eq!(
        answers[0].strip_prefix("base:\n"),
        answers[1].strip_suffix('\n')
    );
}

#[test]
fn what_cannot_be_asked_is_told_with_the_way_out() {
    let project = Project::with_model();
    let refused = |question, arguments| ask(&project, question, arguments, "").refusal();
    insta::assert_snapshot!(refused(None, ""), @r#"error: no question: give one (`qeval ask "Who are you?"`), pipe some in, one a line, or start `qeval ask` on a terminal without `--format json` for a conversation"#);
    insta::assert_snapshot!(refused(Some(" "), "base --format json"), @r#"error: no question: give one (`qeval ask "Who are you?"`), pipe some in, one a line, or start `qeval ask` on a terminal without `--format json` for a conversation"#);
    let unknown = ask(&project, Some("ckpt-9"), "", WHO).refusal();
    insta::assert_snapshot!(unknown, @r#"
    error: subject "ckpt-9": no run in runs has a checkpoint
      `qeval train` makes them; an adapter of another trainer is named by its folder.
    "#);
    insta::assert_snapshot!(refused(Some("Who?"), "adapters/god"), @r#"
    error: subject "adapters/god" is not known, and no such folder exists
      A subject is `base`, `ckpt-N` of the latest run that trained, `RUN/ckpt-N`, a PEFT folder, each adapter with an optional scale such as `@0.5`, or `http://HOST:PORT/v1#MODEL`. There is base
    "#);
    let long = "word ".repeat(400);
    insta::assert_snapshot!(refused(Some(&long), ""), @"error: questions: the longest prompt with its answer has 1614 tokens, the model's context 256; shorten it");
    let usage = ask(&project, Some("Who?"), "--temperature=-1", "").refusal();
    insta::assert_snapshot!(usage, @"
    error: invalid value '-1' for '--temperature <T>': give a number, 0 or more, such as 0.7

    For more information, try '--help'.
    ");
}
