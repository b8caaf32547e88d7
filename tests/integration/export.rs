//! `qeval export`: which records are found by which names, and what is said of what is left out. That
//! other programs open the files is tested beside them, in `tests/peers`.

use std::collections::BTreeSet;

use crate::project::Project;

fn exported(project: &Project, arguments: &str) -> BTreeSet<String> {
    project
        .qeval(&format!("export {arguments} --out out"))
        .exits(0);
    let files = project.files("out").into_keys().collect();
    std::fs::remove_dir_all(project.path("out")).unwrap();
    files
}

fn trained() -> Project {
    let project = Project::with_model();
    project.qeval("train").exits(0);
    project
}

#[test]
fn runs_and_subjects_are_found_by_the_names_that_other_commands_use() {
    let project = trained();
    let all = exported(&project, "--to csv");
    assert!(all.contains("out/base.csv"), "{all:?}");
    assert!(!all.iter().any(|file| file.contains("again")), "{all:?}");
    assert_eq!(exported(&project, "run-0001 --to csv"), all);
    let one = |name: &str| exported(&project, &format!("{name} --to csv"));
    let checkpoint = all
        .iter()
        .find(|f| f.contains("ckpt-") && !f.contains('@'))
        .unwrap();
    let step = checkpoint
        .trim_start_matches("out/ckpt-")
        .trim_end_matches(".csv");
    for name in [
        format!("ckpt-{step}"),
        format!("checkpoint-{step}"),
        format!("run-0001/ckpt-{step}"),
        format!("run-0001/checkpoint-{step}"),
    ] {
        assert_eq!(one(&name), BTreeSet::from([checkpoint.clone()]), "{name}");
    }
    // A subject of the newest run that has it, and each once.
    project.qeval("run base adapters/good").exits(0);
    let adapter = one("adapters/good adapters/good run-0002");
    assert_eq!(adapter.len(), 2, "{adapter:?}");
    let both = exported(&project, "run-0001/base run-0002/base --to csv,parquet");
    let expected = ["csv", "parquet"].into_iter().flat_map(|format| {
        ["run-0001", "run-0002"].map(|run| format!("out/{format}/{run}/base.{format}"))
    });
    assert_eq!(both, expected.collect());
}

#[test]
fn verdicts_are_those_of_the_gate() {
    let project = Project::with_model();
    project
        .qeval("gate adapters/harmful --markdown gate.md --junit gate.xml")
        .exits(1);
    project
        .qeval("export --to junit,markdown --out out")
        .exits(0);
    let files = project.files("out");
    let of = |ending: &str| {
        let mut found = files.iter().filter(|(name, _)| name.ends_with(ending));
        let text = String::from_utf8(found.next().unwrap().1.clone()).unwrap();
        assert!(found.next().is_none());
        text
    };
    // What a candidate makes of the base's own answers is weighed with the model.
    let told = |text: &str| -> Vec<String> {
        let lines = text
            .lines()
            .filter(|l| !l.contains("own answers less likely"));
        lines.map(str::to_owned).collect()
    };
    let gate = String::from_utf8(project.read("gate.xml")).unwrap();
    assert_eq!(told(&of(".xml")), told(&gate));
    // The noise floor is a measurement of its own.
    let without_noise = |text: &str| -> Vec<String> {
        let rows = text.lines().filter(|line| !line.starts_with("| "));
        let rows = rows.filter(|line| !line.contains("own answers less likely"));
        rows.map(str::to_owned).collect()
    };
    let gate = String::from_utf8(project.read("gate.md")).unwrap();
    assert_eq!(without_noise(&of(".md")), without_noise(&gate));
}

#[test]
fn what_is_not_there_is_refused_and_nothing_is_written() {
    let project = Project::with_model();
    let refused = |arguments: &str| {
        let said = project.qeval(&format!("export {arguments}")).exits(3);
        project.redact(&said.refusal())
    };
    insta::assert_snapshot!(refused("--to csv --out out"), @"
    error: nothing is recorded in runs: no run has answers
      Name a run, RUN/SUBJECT, or a subject that was measured; `qeval run SUBJECT` measures one.
    ");
    project.qeval("run base").exits(0);
    insta::assert_snapshot!(refused("ckpt-4 --to csv --out out"), @r#"
    error: nothing is recorded of "ckpt-4" in runs; there are run-0001/base
      Name a run, RUN/SUBJECT, or a subject that was measured; `qeval run SUBJECT` measures one.
    "#);
    insta::assert_snapshot!(refused("base --to junit --out out"), @"
    error: run-0001/base: a verdict compares a candidate with the base of its run, and no candidate is among them
      `qeval gate CANDIDATE` measures both.
    ");
    insta::assert_snapshot!(refused("base --to xlsx --out out"), @"
    error: invalid value 'xlsx' for '--to <FORMAT>'
      [possible values: lm-eval, inspect, evalscope, junit, markdown, csv, parquet]

    For more information, try '--help'.
    ");
    assert!(!project.path("out").exists());
    project.write("out/mine.txt", "mine");
    insta::assert_snapshot!(refused("base --to csv --out out"), @"
    error: out: nothing was written, because something is there already
      Name another folder (`--out exports/NAME`), or move it away.
    ");
    insta::assert_snapshot!(refused("base --to csv --out out/mine.txt"), @"
    error: out/mine.txt: nothing was written, because something is there already
      Name another folder (`--out exports/NAME`), or move it away.
    ");
    insta::assert_snapshot!(refused("base --to csv --out out/mine.txt/below"), @"error: cannot create out/mine.txt: File exists (os error 17)");
    assert_eq!(project.read("out/mine.txt"), b"mine");
    project
        .qeval("export base --to csv --out new/folder")
        .exits(0);
    assert!(project.path("new/folder/base.csv").is_file());
}

#[test]
fn what_a_record_holds_of_other_suites_is_named() {
    let project = Project::with_model();
    project.qeval("run base").exits(0);
    let said = project.qeval("export --to csv --out all").exits(0);
    insta::assert_snapshot!(said.stdout, @"
    run-0001/base: 65 answers of 4 suites
    wrote 1 file to all
    ");
    let said = project
        .qeval("export --to csv --out some --suite suites/facts.toml")
        .exits(0);
    insta::assert_snapshot!(project.redact(&(said.stderr + &said.stdout)), @"
    run-0001/base: left out of its suites: not selected: arithmetic, coding, and persona
    run-0001/base: 21 answers of 1 suite
    wrote 1 file to some
    ");
    let facts = project.path("suites/facts.toml");
    let text = std::fs::read_to_string(&facts).unwrap();
    std::fs::write(
        &facts,
        text.replacen("prompts = [\"", "prompts = [\"Please: ", 1),
    )
    .unwrap();
    let said = project.qeval("export --to csv --out rest").exits(0);
    insta::assert_snapshot!(project.redact(&said.stderr), @"run-0001/base: left out of its suites: changed since, or judged by other settings: facts");
    let refused = project
        .qeval("export --to csv --out none --suite suites/facts.toml")
        .exits(3);
    insta::assert_snapshot!(project.redact(&refused.refusal()), @"
    error: run-0001/base holds no answer of the suites as they are now: changed since, or judged by other settings: facts; not selected: arithmetic, coding, and persona
      Name them as they were asked (--suite, --config), or measure again: `qeval run base`.
    ");
}
