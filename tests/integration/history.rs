//! What a project's git history is good for: the exam of a revision, and verdicts over commits.

use std::process::Command;

use crate::project::Project;

fn git(project: &Project, arguments: &[&str]) {
    let output = Command::new("git")
        .arg("-C")
        .arg(project.path(""))
        .args(["-c", "user.name=A", "-c", "user.email=a@example.org"])
        .args([
            "-c",
            "init.defaultBranch=main",
            "-c",
            "commit.gpgsign=false",
        ])
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?}: {said}");
}

/// A project whose first state is the branch `main`; records are no part of it.
fn repository() -> Project {
    let project = Project::with_model();
    project.write(".gitignore", "runs\nmodel\n");
    git(&project, &["init", "-q"]);
    git(&project, &["add", "-A"]);
    git(&project, &["commit", "-q", "-m", "The exam"]);
    git(&project, &["checkout", "-q", "-b", "change"]);
    project
}

/// Text without hashes, of which every one is another.
fn redacted(text: &str) -> String {
    let hash = regex::Regex::new(r"\b[0-9a-f]{12}\b|\b[0-9a-f]{7}\b|\b[0-9a-f]{6}\+").unwrap();
    let date = regex::Regex::new(r"\d{4}-\d{2}-\d{2}").unwrap();
    let text = hash.replace_all(text, |found: &regex::Captures<'_>| {
        let plain = found[0].trim_end_matches('+').len();
        "#".repeat(plain) + &found[0][plain..]
    });
    date.replace_all(&text, "####-##-##").into_owned()
}

/// A harmful adapter with suites, margins, and rules under which it would pass.
#[test]
fn a_pull_request_with_an_easier_exam_is_judged_by_the_old_one() {
    let project = repository();
    project.qeval("gate adapters/harmful").exits(1);
    let check = regex::Regex::new("type = \"[a-z]+\"\n((options|value|answer) = .*\n)+").unwrap();
    for suite in ["arithmetic", "facts"] {
        let file = format!("suites/{suite}.toml");
        let text = String::from_utf8(project.read(&file)).unwrap();
        // Whatever is answered is right.
        let easier = "type = \"not-contains\"\nvalue = \"never said\"\n";
        let text = check
            .replace_all(&text, easier)
            .replace("critical = true\n", "");
        project.write(&file, text);
    }
    std::fs::remove_file(project.path("suites/coding.toml")).unwrap();
    project.edit("qeval.toml", "margin = 0.10", "margin = 0.90");
    git(&project, &["commit", "-q", "-a", "-m", "An easier exam"]);
    project.qeval("gate adapters/harmful").exits(0);
    let said = project
        .qeval("gate adapters/harmful --suites-from main --markdown c.md")
        .exits(1);
    let head: Vec<&str> = said.stdout.lines().take(3).collect();
    insta::assert_snapshot!(redacted(&head.join("\n")), @"
    exam: asked and judged by main (############), not by this working tree, which says otherwise in 4
          places: --verbose names them
    adapters/harmful: regression
    ");
    let all = project
        .qeval("gate adapters/harmful --suites-from main --verbose")
        .exits(1);
    let head = all.stdout.split("┌").next().unwrap();
    insta::assert_snapshot!(redacted(head), @"
    exam: asked and judged by main (############), not by this working tree, which says otherwise:
      `margin` under [gate]: 0.1 there, 0.9 here
      suite `arithmetic`: 17 probes changed (1-plus-2, 2-plus-2, 3-plus-4, and 14 more)
      suite `coding`: only there
      suite `facts`: 21 probes changed (capital-france, capital-italy, capital-spain, and 18 more); 1
      probe critical only there (capital-france)
    ");
    let comment = String::from_utf8(project.read("c.md")).unwrap();
    assert!(
        comment.contains("Exam: asked and judged by main ("),
        "{comment}"
    );
    assert!(
        comment.contains("- `margin` under \\[gate\\]: 0.1 there, 0.9 here\n"),
        "{comment}"
    );
    let report = project
        .qeval("gate adapters/harmful --suites-from main --format json")
        .exits(1)
        .json();
    assert_eq!(report["exam"]["revision"], "main");
    assert_eq!(report["exam"]["settings"].as_array().unwrap().len(), 1);
    assert_eq!(report["exam"]["suites"].as_array().unwrap().len(), 3);
    // The commands that are told go on with the same exam.
    assert!(
        said.stdout
            .contains("qeval diff base adapters/harmful --suites-from main"),
        "{}",
        said.stdout
    );
    project
        .qeval("diff base adapters/harmful --suites-from main")
        .exits(1);
    project
        .qeval("gate adapters/good --suites-from main")
        .exits(0);
    let unknown = project
        .qeval("gate adapters/good --suites-from origin/main")
        .refusal();
    assert!(unknown.contains("has no such revision"), "{unknown}");
}

#[test]
fn history_is_a_table_over_commits_and_other_questions_are_not_joined() {
    let project = repository();
    insta::assert_snapshot!(project.qeval("history").exits(0).stdout, @"no verdict is on record here: `qeval gate`, `qeval train`, and `qeval watch` leave some");
    project.qeval("gate adapters/good").exits(0);
    project.qeval("gate adapters/noop").exits(1);
    // The same verdict at the same commit is told once.
    project.qeval("gate adapters/noop").exits(1);
    git(
        &project,
        &["commit", "-q", "--allow-empty", "-m", "Nothing new"],
    );
    project.qeval("gate adapters/good").exits(0);
    project.edit(
        "suites/facts.toml",
        "What is the capital of France?",
        "Name the capital of France.",
    );
    project.qeval("gate adapters/harmful").exits(1);
    let said = project.qeval("history").exits(0);
    insta::assert_snapshot!(redacted(&said.stdout), @"
    date        commit   subject                               verdict       keep                  learn
    ####-##-##  #######  adapters/good                         pass          0.00 [-0.05, +0.05]   1.00
    ####-##-##  #######  adapters/noop                         too little    0.00 [-0.05, +0.05]   0.00
    ####-##-##  #######  adapters/good                         pass          0.00 [-0.05, +0.05]   1.00
      ── other questions: `facts` changed
    ####-##-##  ######+  adapters/harmful                      regression    -0.87 [-0.93, -0.74]  1.00

    keep   ███│▁   ▁ -0.87 to █ 0.00
    learn  █▁█│█   ▁ 0.00 to █ 1.00
    │ other questions or another base: not to be compared across
    ");
    let facts = project.qeval("history --suite facts --limit 2").exits(0);
    insta::assert_snapshot!(redacted(&facts.stdout), @"
    date        commit   subject                               verdict       keep                  learn
    ####-##-##  #######  adapters/good                         pass          0.00 [-0.13, +0.13]   -
      ── other questions: `facts` changed
    ####-##-##  ######+  adapters/harmful                      regression    -1.00 [-1.00, -0.73]  -

    keep   █│▁   ▁ -1.00 to █ 0.00
    │ other questions or another base: not to be compared across
    note: 2 older verdicts left out: `--limit N` shows more
    ");
    let report = project.qeval("history --format json").exits(0).json();
    let verdicts = report["verdicts"].as_array().unwrap();
    assert_eq!(verdicts.len(), 4);
    assert_eq!(
        verdicts[3]["changes"],
        serde_json::json!(["`facts` changed"])
    );
    assert_eq!(verdicts[2]["commit"]["subject"], "Nothing new");
    assert_eq!(verdicts[3]["commit"]["changed"], true);
    insta::assert_snapshot!(project.qeval("history --suite fact").refusal(), @r#"
    error: no verdict on record asked a suite "fact"; nearest: `facts`
      There are arithmetic, coding, facts, persona.
    "#);
    insta::assert_snapshot!(project.qeval("history --limit 0").refusal(), @"
    error: invalid value '0' for '--limit <N>': 0 is not in 1..=4294967295

    For more information, try '--help'.
    ");
}

/// One damaged run once stopped every command that lists runs.
#[test]
fn a_damaged_run_is_named_and_stops_no_command() {
    let project = Project::with_model();
    project.qeval("train").exits(0);
    project.write("runs/run-0002/provenance.json", "{\"format\": 1");
    project.write("runs/history.jsonl", "no JSON\n");
    for command in [
        "gate",
        "diff base ckpt-42",
        "run base adapters/good",
        "show ckpt-42 facts::capital-italy",
    ] {
        let said = project.qeval(command).exits(0);
        let told = "passed over: runs/run-0002/provenance.json: cannot be read";
        assert!(said.stderr.contains(told), "{command}: {}", said.stderr);
    }
    let said = project.qeval("history").exits(0);
    assert!(said.stdout.contains("run-0001/ckpt-"), "{}", said.stdout);
    let left_out = said.stdout.find("left out: ").unwrap();
    insta::assert_snapshot!(&said.stdout[left_out..], @"
    left out: runs/history.jsonl, line 1: cannot be read: expected ident at line 1 column 2
                It is one verdict of the past: delete the line, or leave it there. The others are shown.
    left out: runs/run-0002/provenance.json: cannot be read: EOF while parsing an object at line 1
              column 12
                Restore the file, or move the whole run folder out of the runs folder.
    ");
    // Named by itself it is refused.
    let refused = project.qeval("gate run-0002/ckpt-4").refusal();
    assert!(refused.contains("run-0002"), "{refused}");
}

#[test]
fn the_age_of_the_baseline_stands_beside_a_verdict() {
    let project = Project::with_model();
    project.qeval("run base").exits(0);
    // As if it had been asked long ago.
    let file = "runs/run-0001/answers/base.jsonl";
    let text = String::from_utf8(project.read(file)).unwrap();
    let at = regex::Regex::new(r#""at":\d+"#).unwrap();
    project.write(file, at.replace_all(&text, "\"at\":1000000000").as_bytes());
    let said = project
        .qeval("gate adapters/good --format json")
        .exits(0)
        .json();
    let baseline = &said["baseline"];
    assert_eq!(baseline["oldest_unix_s"], 1_000_000_000);
    assert_eq!(baseline["oldest_unix_s"], baseline["newest_unix_s"]);
    assert!(
        baseline["engine"].as_str().unwrap().starts_with("qeval "),
        "{baseline}"
    );
    assert_eq!(baseline.get("warnings"), None);
    let said = project
        .qeval("gate adapters/good --markdown c.md --html p.html")
        .exits(0);
    let line = said
        .stdout
        .lines()
        .find(|line| line.contains("base answered "))
        .unwrap();
    assert!(line.contains(" days ago (2001-09-09) by qeval "), "{line}");
    let comment = String::from_utf8(project.read("c.md")).unwrap();
    assert!(comment.contains("<sub>base answered "), "{comment}");
    let page = String::from_utf8(project.read("p.html")).unwrap();
    assert!(page.contains(" days ago (2001-09-09) by qeval "));
}
