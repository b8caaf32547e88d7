//! What is printed to be typed next works in the state in which it is printed.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::project::{Project, Said};

/// Every command of qeval's that a text tells to type next.
fn printed(text: &str) -> Vec<String> {
    let told = text.lines().filter(|line| {
        let line = line.trim_start().to_lowercase();
        line.starts_with("next") || line.starts_with("explain")
    });
    let command = |line: &str| {
        let from = line.find("cd ").or_else(|| line.find("qeval "))?;
        let rest = &line[from..];
        let end = rest.find(['`', '<']).unwrap_or(rest.len());
        Some(rest[..end].trim().to_owned())
    };
    let commands: Vec<String> = told.filter_map(command).collect();
    assert!(!commands.is_empty(), "nothing to type in {text}");
    commands
}

/// Types a line into a shell in which `qeval` is the program under test.
fn typed(project: &Project, line: &str) -> Said {
    let program = Path::new(env!("CARGO_BIN_EXE_qeval")).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    typed_with(project, line, &format!("{}:{path}", program.display()))
}

/// As [`typed`], where nothing else is on the path: no Python fetches a model.
fn typed_alone(project: &Project, line: &str) -> Said {
    let program = Path::new(env!("CARGO_BIN_EXE_qeval")).parent().unwrap();
    typed_with(project, line, &program.display().to_string())
}

fn typed_with(project: &Project, line: &str, path: &str) -> Said {
    let child = Command::new("/bin/sh")
        .args(["-c", line])
        .current_dir(project.path(""))
        .env("PATH", path)
        .env("QEVAL_CACHE", project.path("no-cache"))
        .env("COLUMNS", "100")
        .env("HF_HUB_OFFLINE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    project.wait(child.unwrap())
}

/// Types all that a text tells to type: none may be refused.
fn works(project: &Project, text: &str) -> Vec<String> {
    let commands = printed(text);
    for line in &commands {
        let said = typed(project, line);
        assert!(
            matches!(said.code, Some(0..=2)),
            "`{line}` ends with {:?}: {}",
            said.code,
            said.stderr
        );
    }
    commands
}

fn junit(project: &Project, file: &str) -> String {
    let xml = String::from_utf8(project.read(file)).unwrap();
    xml.replace("&apos;", "'")
}

/// The failures of a JUnit file, a command a line, each once.
fn of_junit(xml: &str) -> String {
    let mut lines: Vec<&str> = xml
        .lines()
        .filter(|line| line.starts_with("next: "))
        .collect();
    lines.sort_unstable();
    lines.dedup();
    // Each probe has its own: two of them will do.
    lines.into_iter().take(3).collect::<Vec<_>>().join("\n")
}

/// Another run has the newest checkpoints: a name without its run would mean one of those.
#[test]
fn next_commands_of_a_checkpoint_name_its_run() {
    let project = Project::with_model();
    project.qeval("train");
    project.edit("qeval.toml", "seed = 2", "seed = 3");
    project.qeval("train");
    let said = project.qeval("gate run-0001/ckpt-42 --junit j.xml --markdown m.md");
    let commands = works(&project, &said.stdout);
    let [worst, all] = &commands[..] else {
        panic!("{commands:?}");
    };
    assert_eq!(all, "qeval diff base run-0001/ckpt-42");
    assert!(
        worst.starts_with("qeval why ") && worst.ends_with(" run-0001/ckpt-42"),
        "{worst}"
    );
    works(&project, &typed(&project, all).stdout);
    let comment = String::from_utf8(project.read("m.md")).unwrap();
    assert!(
        comment.contains("<code>qeval diff base run-0001/ckpt-42</code>"),
        "{comment}"
    );
}

#[test]
fn next_commands_carry_what_was_typed() {
    let project = Project::with_model();
    let suite = String::from_utf8(project.read("suites/facts.toml")).unwrap();
    project.write("my suites/facts.toml", suite);
    project.write("other.toml", project.read("qeval.toml"));
    std::fs::remove_file(project.path("qeval.toml")).unwrap();
    let options = "--config other.toml --margin 0.3 --suite 'my suites/facts.toml' --runs out";
    let line = format!("qeval gate adapters/harmful --junit j.xml {options}");
    let said = typed(&project, &line).exits(1);
    let commands = works(&project, &said.stdout);
    let typed = "--config other.toml --suite 'my suites/facts.toml' --margin 0.3 --runs out";
    assert_eq!(
        commands,
        [
            format!(
                "qeval why facts::capital-france adapters/harmful {}",
                typed.replace("--margin 0.3 ", "")
            ),
            format!("qeval diff base adapters/harmful {typed}"),
        ]
    );
    let commands = works(&project, &of_junit(&junit(&project, "j.xml")));
    assert!(
        commands.iter().any(|c| c.contains(" --probe facts::")),
        "{commands:?}"
    );
}

/// A probe by itself can exclude no margin, and nobody asked for a verdict.
#[test]
fn one_probe_is_shown_whatever_the_margin() {
    let project = Project::with_model();
    let said = project.qeval("diff base adapters/good --probe facts::capital-peru");
    assert!(matches!(said.code, Some(0..=2)), "{}", said.stderr);
    assert!(said.stdout.contains("a look at 1 probe"), "{}", said.stdout);
    assert!(
        said.stdout.contains("facts::capital-peru#0"),
        "{}",
        said.stdout
    );
    assert!(
        !said.stdout.contains("qeval gate"),
        "it would be refused: {}",
        said.stdout
    );
    project
        .qeval("gate adapters/good --probe facts::capital-peru")
        .exits(3);
}

#[test]
fn training_by_another_file_says_how_to_go_on() {
    let project = Project::with_model();
    let text = String::from_utf8(project.read("qeval.toml")).unwrap();
    let other = text.replace("[train]", "[train]\noutput_dir = \"elsewhere\"");
    project.write("other.toml", other);
    let said = project.qeval("train other.toml");
    works(&project, &said.stdout);
    let said = project.qeval("train --runs kept");
    assert_eq!(works(&project, &said.stdout).len(), 1);
}

#[test]
fn an_import_and_a_new_project_say_what_can_be_done() {
    let project = Project::empty();
    project.copy("import", "import");
    let said = typed(
        &project,
        "qeval suite import import/promptfooconfig.yaml --out 'my suite.toml'",
    );
    let said = said.exits(0);
    let line = said
        .stdout
        .lines()
        .find(|line| line.starts_with("next: "))
        .unwrap();
    works(&project, line);
    let said = project.qeval("init new").exits(0);
    let next = printed(&said.stdout);
    let refused = typed_alone(&project, &next[0]).refusal();
    assert!(
        refused.contains("smollm2-135m"),
        "all but the model is there: {refused}"
    );
}

/// The run goes on under its own settings, and says where the file has come to say otherwise.
#[test]
fn a_changed_file_is_told_where_a_run_is_judged_by_its_own_settings() {
    let project = Project::with_model();
    project.qeval("train");
    let same = project.qeval("gate run-0001/ckpt-42 --verbose");
    assert!(!same.stdout.contains("has since come"), "{}", same.stdout);
    project.edit("qeval.toml", "margin = 0.10", "margin = 0.9");
    let suite = String::from_utf8(project.read("suites/facts.toml")).unwrap();
    project.write(
        "suites/facts.toml",
        suite.replacen("capital of", "capital city of", 1),
    );
    for command in [
        "gate run-0001/ckpt-42 --verbose",
        "diff base run-0001/ckpt-42 --verbose",
    ] {
        let said = project.qeval(command).stdout;
        let said: Vec<&str> = said.split_whitespace().collect();
        let note = "judged by the settings of run-0001; qeval.toml has since come to say otherwise: \
                    margin 0.9 (the run: 0.1), `facts` changed. `--config qeval.toml` judges by the \
                    file";
        assert!(said.join(" ").contains(note), "{}", said.join(" "));
    }
    let by_file = project.qeval("gate run-0001/ckpt-42 --config qeval.toml --verbose");
    assert!(
        !by_file.stdout.contains("has since come"),
        "{}",
        by_file.stdout
    );
}

#[test]
fn a_suite_without_the_configured_tag_is_named() {
    let project = Project::with_model();
    project.edit("qeval.toml", "[gate]", "[gate]\ntags = [\"en\"]");
    project.write(
        "suites/mine.toml",
        "[suite]\nname = \"mine\"\ngoal = \"keep\"\n[[probe]]\nid = \"peru\"\n\
         prompts = [\"What is the capital of Peru?\"]\n[[probe.check]]\ntype = \"contains\"\n\
         value = \"Lima\"\n",
    );
    for command in ["suite check -q", "gate adapters/good -q"] {
        let said = project.qeval(command).stdout;
        assert!(said.contains("not asked: `mine`"), "{command}: {said}");
    }
}
