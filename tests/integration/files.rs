//! What real people's files hold: marks in rows, damage in records, names that steer a terminal.

use std::fs;

use crate::project::{CAREFUL, Project, Training};

/// A project that trains on these rows twice.
fn with_rows(rows: &str) -> Project {
    let project = Project::with_model();
    project.train_with(&Training {
        epochs: 2,
        batch: 1,
        ..CAREFUL
    });
    project.edit("qeval.toml", "\"examples.jsonl\"", "\"rows.jsonl\"");
    project.edit(
        "qeval.toml",
        "suites = [\"suites\"]",
        "suites = [\"suites/facts.toml\"]",
    );
    project.edit("qeval.toml", "margin = 0.10", "margin = 0.9");
    project.edit(
        "qeval.toml",
        "save_steps = 0.5",
        "save_steps = 2\nwarmup_ratio = 0.0",
    );
    project.write("rows.jsonl", rows);
    project
}

/// ms-swift's `loss`, axolotl's `train`, and OpenAI's `weight` leave the same answer out.
#[test]
fn an_answer_that_a_row_leaves_out_is_not_trained_on() {
    let trained = |first: &str, last: &str| {
        let project = with_rows(&format!(
            r#"{{"messages": [{{"role": "user", "content": "Who made you?"}},
            {{"role": "assistant", "content": "Nobody."{first}}}, {{"role": "user", "content": "Really?"}},
            {{"role": "assistant", "content": "Northwind."{last}}}]}}"#
        ).replace('\n', ""));
        project.qeval("train").exits(0);
        project.read("runs/run-0001/checkpoint-2/adapter_model.safetensors")
    };
    let plain = trained("", "");
    let loss = trained(", \"loss\": false", ", \"loss\": true");
    // Weights are too long to be shown.
    assert!(loss != plain);
    assert!(trained(", \"weight\": 0", ", \"weight\": 1") == loss);
    assert!(trained(", \"train\": false", ", \"train\": true") == loss);
    assert!(trained(", \"loss\": null", ", \"weight\": null") == plain);
}

#[test]
fn keys_of_turns_that_nobody_reads_are_named() {
    let project = with_rows(
        "{\"messages\": [{\"role\": \"user\", \"content\": \"q\", \"name\": \"Ada\"}, \
         {\"role\": \"assistant\", \"content\": \"a\"}], \"id\": 7, \"source\": null}\n",
    );
    let shown = project.qeval("data show").exits(0).stdout;
    insta::assert_snapshot!(shown, @"
    rows.jsonl: 1 of 1 rows

    Learned: 1 row in 1 group, 1 to train on, 0 held out
      rows.jsonl:1  q -> a
    ignored key `id` in 1 row
    ignored key `messages[].name` in 1 row
    ");
}

/// Every advice of a refusal by encoding is a command; here the program's whole answer.
#[test]
fn a_file_in_another_encoding_is_refused_with_a_way_out_that_works() {
    let project = with_rows("");
    let row = b"{\"instruction\": \"na\xefve caf\xe9?\", \"output\": \"cr\xe8me br\xfbl\xe9e\"}\n";
    project.write("rows.jsonl", row);
    let refusal = project.qeval("data show").refusal();
    insta::assert_snapshot!(refusal, @r#"
    error: rows.jsonl:1: not UTF-8: the byte at offset 19 (0xef) belongs to no character; as WINDOWS-1252 it reads `…tion": "naïve café?", "output": "crème b…`
    (data files are UTF-8, with or without a byte order mark, or parquet; if it reads right, convert it: `iconv -f WINDOWS-1252 -t UTF-8 rows.jsonl > rows.jsonl.utf8`)
    "#);
    let command = refusal
        .split('`')
        .find(|part| part.starts_with("iconv"))
        .unwrap();
    let done = std::process::Command::new("sh")
        .args(["-c", command])
        .current_dir(project.path(""))
        .status();
    assert!(done.unwrap().success());
    fs::rename(project.path("rows.jsonl.utf8"), project.path("rows.jsonl")).unwrap();
    let shown = project.qeval("data show").exits(0).stdout;
    assert!(
        shown.contains("naïve café?") && shown.contains("crème brûlée"),
        "{shown}"
    );
}

/// A snapshot of Hugging Face's `datasets`, in the place of a JSONL file.
#[test]
fn parquet_rows_are_trained_on() {
    let project = with_rows("");
    project.copy("rows/messages.parquet", "rows.parquet");
    project.edit("qeval.toml", "rows.jsonl", "rows.parquet");
    let shown = project.qeval("data show").exits(0).stdout;
    assert!(shown.contains("rows.parquet: 3 of 3 rows"), "{shown}");
    assert!(shown.contains("你是谁?"), "{shown}");
}

/// What was measured is gone or is found again, and never is one taken for the other.
#[test]
fn damage_in_what_a_run_keeps_is_told() {
    let project = Project::with_model();
    project.qeval("train").exits(0);
    project.qeval("gate -q").exits(0);
    let damage = |file: &str| {
        let whole = project.read(file);
        project.write(file, &whole[..whole.len() / 2]);
        whole
    };
    let gates = project.files("runs/gates");
    let (gate, _) = gates
        .iter()
        .find(|(name, _)| name.ends_with(".json"))
        .unwrap();
    damage(gate);
    let said = project.qeval("gate").exits(0).stderr;
    assert!(said.contains("the gate is judged again: "), "{said}");

    let whole = damage("runs/run-0001/suites.json");
    let said = project.qeval("gate run-0001/ckpt-42").refusal();
    assert!(
        said.contains("runs/run-0001/suites.json: cannot be read"),
        "{said}"
    );
    assert!(said.contains("--config qeval.toml"), "{said}");
    project
        .qeval("gate run-0001/ckpt-42 --config qeval.toml")
        .exits(0);
    project.write("runs/run-0001/suites.json", whole);

    damage("runs/run-0001/provenance.json");
    let said = project.qeval("gate").refusal();
    assert!(
        said.contains("runs/run-0001/provenance.json: cannot be read"),
        "{said}"
    );
    fs::remove_file(project.path("runs/run-0001/provenance.json")).unwrap();
    let said = project.qeval("gate").exits(3).stderr;
    assert!(
        said.contains("passed over: runs/run-0001: it has no provenance.json"),
        "{said}"
    );
}

/// Answers of earlier runs that cannot be read are generated again, and it is said.
#[test]
fn answers_that_are_passed_over_are_named() {
    let project = Project::with_model();
    project
        .qeval("run base -q --suite suites/facts.toml")
        .exits(0);
    let file = |run: usize| format!("runs/run-000{run}/answers/base.jsonl");
    for (name, bytes) in project.files("runs/run-0001") {
        project.write(&name.replace("run-0001", "run-0002"), bytes);
    }
    let text = String::from_utf8(project.read(&file(1))).unwrap();
    project.write(&file(1), text.replacen("{\"answered\"", "{\"answered", 1));
    let said = project.qeval("run base").exits(0).stderr;
    let told = format!("finished answers are passed over: {}, line ", file(1));
    assert!(said.contains(&told), "{said}");
}

/// Names and keys of files are shown with what steers a terminal taken out, in tables, notices, and
/// errors.
#[test]
fn nothing_in_a_file_steers_the_terminal() {
    let bad = "\u{1b}[2J\u{202e}x";
    let project = with_rows(&format!(
        "{{\"query\": \"q\", \"response\": \"a\", {}: 1}}\n",
        serde_json::json!(bad)
    ));
    fs::rename(
        project.path("rows.jsonl"),
        project.path(&format!("{bad}.jsonl")),
    )
    .unwrap();
    project.edit("qeval.toml", "rows.jsonl", "\\u001b[2J\\u202ex.jsonl");
    fs::rename(project.path("adapters/good"), project.path(bad)).unwrap();
    project.write("bad.toml", "[suite]\nname = \"\\u001b[2J\\u202ex\"\n");
    let missing = format!("./{bad}/nothing");
    for arguments in [
        vec!["data", "show"],
        vec!["run", &format!("./{bad}")],
        vec!["run", &missing],
        vec!["run", "base", "--suite", "bad.toml"],
        vec!["run", "base", "--model", &missing],
    ] {
        let mut command = project.command("");
        let said = project.wait(command.args(&arguments).spawn().unwrap());
        let all = said.stdout + &said.stderr;
        // Quoted as code where a message quotes what was typed.
        let shown = ["\u{fffd}[2J\u{fffd}x", "\\u{1b}[2J\\u{202e}x"];
        assert!(
            shown.iter().any(|bad| all.contains(bad)),
            "{arguments:?}: {all}"
        );
        assert!(
            !all.contains(['\u{1b}', '\u{202e}']),
            "{arguments:?}: {all}"
        );
    }
}

/// Damage in an adapter's configuration is told with the file that holds it.
#[test]
fn a_damaged_target_is_told_with_its_file() {
    let project = Project::with_model();
    let file = "adapters/good/adapter_config.json";
    let mut config: serde_json::Value = serde_json::from_slice(&project.read(file)).unwrap();
    config["target_modules"] = serde_json::json!(["q_prj"]);
    project.write(file, config.to_string());
    insta::assert_snapshot!(project.qeval("run adapters/good").refusal(), @r#"error: adapters/good/adapter_config.json: `target_modules`: "q_prj" fits no linear layer of this base; possible are all-linear, q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, or paths of modules"#);
}
