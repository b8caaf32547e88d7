//! What other programs read of what qeval writes: each opens the files with its own reader, and what
//! it found is compared with the records.
//!
//! The readers are in `readers/`. The answers are partly hostile: control characters, markup,
//! formulas, 100,000 characters, an answer that could not be judged, and one that was not yet.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::project::Project;

/// What one of the readers says.
fn read(reader: &str, project: &Project, arguments: &[&str]) -> Value {
    let python = std::env::var_os("QEVAL_PEERS_PYTHON").unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/readers");
    let home = project.path("home");
    fs::create_dir_all(&home).unwrap();
    let output = Command::new(python)
        .arg(script.join(reader))
        .args(arguments)
        .current_dir(project.path("."))
        .env("HOME", &home)
        .env("HF_HUB_OFFLINE", "1")
        .env("PYTHONIOENCODING", "utf-8")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{reader}: {errors}");
    let last = said.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{reader}: {error}: {said}{errors}"))
}

/// What a model may say.
fn hostile() -> [(&'static str, String); 5] {
    [
        (
            "arithmetic::1-plus-2#0",
            "=HYPERLINK(\"http://x\")\0\u{1b}[31m\r\nnext,\"cell\"".into(),
        ),
        (
            "arithmetic::2-plus-2#0",
            "</script><img src=x onerror=alert(1)>".into(),
        ),
        ("arithmetic::3-plus-4#0", "长".repeat(100_000)),
        (
            "arithmetic::5-plus-5#0",
            "NaN, \"NaN\": [Infinity] \u{202e}\u{2028}🦀".into(),
        ),
        ("arithmetic::4-plus-1#0", String::new()),
    ]
}

/// A run of base and one adapter, some of whose answers are hostile, one unscored, and one not yet
/// judged.
fn measured() -> Project {
    let project = Project::with_model();
    project.qeval("run base adapters/good").exits(0);
    let hostile: BTreeMap<&str, String> = hostile().into();
    let file = "runs/run-0001/answers/base.jsonl";
    let text = String::from_utf8(project.read(file)).unwrap();
    let mut lines = String::new();
    for line in text.lines() {
        let mut line: Value = serde_json::from_str(line).unwrap();
        if let Some(answer) = line.pointer_mut("/answered/answer")
            && let Some(text) = hostile.get(name(&answer["case"]).as_str())
        {
            answer["text"] = json!(text);
        }
        if let Some(scored) = line.get_mut("scored") {
            match name(&scored["case"]).as_str() {
                "arithmetic::2-plus-5#0" => {
                    let unscored = json!({"unscored": {"reason": "=no judge\n\"there\""}});
                    scored["checks"][0]["score"] = unscored.clone();
                    scored["score"] = unscored;
                }
                "arithmetic::3-plus-3#0" => continue,
                _ => {}
            }
        }
        lines += &line.to_string();
        lines.push('\n');
    }
    project.write(file, lines);
    project
}

fn name(case: &Value) -> String {
    let of = |key: &str| case[key].as_str().unwrap().to_owned();
    format!("{}::{}#{}", of("suite"), of("probe"), case["prompt"])
}

/// Answer and score of each case of a subject, as recorded. What is only weighed has no answer, and
/// what could not be judged no score.
fn recorded(project: &Project, subject: &str) -> BTreeMap<String, (String, Value)> {
    let record = project.record("run-0001", subject);
    let cases = record.answers.keys().chain(record.scores.keys());
    let of = |case: &String| {
        let answer = record.answers.get(case);
        let text = answer.map_or("", |line| line["answer"]["text"].as_str().unwrap());
        let scored = record.scores.get(case);
        let score = scored.map_or(Value::Null, |s| s["score"]["scored"]["value"].clone());
        (text.to_owned(), score)
    };
    cases.map(|case| (case.clone(), of(case))).collect()
}

/// The names that an export gives the subjects of [`measured`], with those of their records.
fn subjects(project: &Project) -> Vec<(String, &'static str)> {
    let mut folders: Vec<String> = fs::read_dir(project.path("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    folders.sort();
    let [adapter, base] = folders.try_into().unwrap();
    assert!(adapter.starts_with("adapters_good-"), "{adapter}");
    vec![(base, "base"), (adapter, "adapters-good")]
}

pub fn inspect_reads_every_log() {
    let project = measured();
    project.qeval("export --to inspect --out out").exits(0);
    for (folder, record) in subjects(&project) {
        let logs = read("inspect_logs.py", &project, &[&format!("out/{folder}")]);
        let logs = logs.as_array().unwrap();
        assert_eq!(logs.len(), 4, "one a suite");
        let mut found = BTreeMap::new();
        for log in logs {
            let task = log["task"].as_str().unwrap();
            assert_eq!(log["listed"], task);
            assert_eq!(log["status"], "success");
            let samples = log["samples"].as_array().unwrap();
            let scores: Vec<f64> = samples.iter().filter_map(|s| s["score"].as_f64()).collect();
            let mean = scores.iter().sum::<f64>() / scores.len() as f64;
            assert!((log["mean"].as_f64().unwrap() - mean).abs() < 1e-9);
            assert_eq!(log["scored"], scores.len());
            assert_eq!(log["unscored"], samples.len() - scores.len());
            for sample in samples {
                assert_eq!(sample["epoch"], 1);
                let case = format!("{task}::{}", sample["id"].as_str().unwrap());
                let answer = sample["answer"].as_str().unwrap().to_owned();
                assert!(!sample["question"].as_str().unwrap().is_empty());
                if case == "arithmetic::2-plus-5#0" && record == "base" {
                    assert_eq!(sample["explanation"], "=no judge\n\"there\"");
                }
                found.insert(case, (answer, sample["score"].clone()));
            }
        }
        assert_eq!(found, recorded(&project, record), "{record}");
    }
}

pub fn lm_eval_reads_results_and_samples() {
    let project = measured();
    project.qeval("export --to lm-eval --out out").exits(0);
    for (folder, record) in subjects(&project) {
        let arguments = [format!("out/{folder}"), "cache".to_owned()];
        let read = read(
            "lm_eval_results.py",
            &project,
            &[&arguments[0], &arguments[1]],
        );
        let table = read["table"].as_str().unwrap();
        let mut found = BTreeMap::new();
        for (task, samples) in read["samples"].as_object().unwrap() {
            assert!(table.contains(&format!("|{task}")), "{table}");
            for sample in samples.as_array().unwrap() {
                let case = format!(
                    "{task}::{}#{}",
                    sample["probe"].as_str().unwrap(),
                    sample["prompt"]
                );
                let said = sample["answers"].as_array().unwrap();
                assert_eq!(said.len(), 1);
                let answer = said[0].as_str().unwrap().to_owned();
                let unscored = sample["unscored"].as_array().unwrap();
                assert_eq!(unscored.is_empty(), !sample["score"].is_null());
                found.insert(case, (answer, sample["score"].clone()));
            }
        }
        assert_eq!(found, recorded(&project, record), "{record}");
    }
}

pub fn evalscope_reads_every_report() {
    let project = measured();
    project.qeval("export --to evalscope --out out").exits(0);
    let read = read("evalscope_reports.py", &project, &["out/reports"]);
    let reports = read["reports"].as_object().unwrap();
    assert_eq!(reports.len(), 8, "two subjects, four suites");
    let base = recorded(&project, "base");
    for suite in ["arithmetic", "coding", "facts", "persona"] {
        let report = &reports[&format!("base/{suite}")];
        let own = base.iter().filter(|(case, _)| case.starts_with(suite));
        let scores: Vec<Option<f64>> = own.map(|(_, (_, score))| score.as_f64()).collect();
        let known: Vec<f64> = scores.iter().copied().flatten().collect();
        let mean = known.iter().sum::<f64>() / known.len() as f64;
        // evalscope rounds to four places.
        assert!(
            (report["score"].as_f64().unwrap() - mean).abs() < 1e-4,
            "{report}"
        );
        assert_eq!(report["num"], known.len());
        assert_eq!(report["requested"], scores.len());
        assert_eq!(report["incomplete"], known.len() < scores.len());
        assert!(read["table"].as_str().unwrap().contains(suite));
    }
}

pub fn pyarrow_and_csv_read_the_same_table() {
    let project = measured();
    project
        .qeval("export run-0001/base --to csv,parquet --out out")
        .exits(0);
    for format in ["csv", "parquet"] {
        let file = format!("base.{format}");
        project.write(&file, project.read(&format!("out/{format}/{file}")));
    }
    let read = read("tables.py", &project, &["base"]);
    assert_eq!(read["types"]["score"], "double");
    assert_eq!(read["types"]["seed"], "uint64");
    let rows = |of: &str| read[of].as_array().unwrap().clone();
    let (typed, plain) = (rows("parquet"), rows("csv"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut found = BTreeMap::new();
    for (typed, plain) in typed.iter().zip(&plain) {
        let case = format!(
            "{}::{}#{}",
            text(&typed["suite"]),
            text(&typed["probe"]),
            typed["prompt"]
        );
        let answer = typed["answer"].as_str().unwrap_or_default().to_owned();
        // A table that people open in a spreadsheet holds no formula.
        let shown = text(&plain["answer"]);
        let formula = answer.starts_with(['=', '+', '-', '@', '\t', '\r']);
        let expected = answer.replace('\0', "\u{fffd}");
        let apostrophe = if formula { "'" } else { "" };
        assert_eq!(shown, format!("{apostrophe}{expected}"), "{case}");
        let score = text(&plain["score"]);
        assert_eq!(score.parse().ok(), typed["score"].as_f64(), "{case}");
        assert_eq!(typed["score"].is_null(), !typed["unscored"].is_null());
        let seed = typed["seed"].as_u64();
        assert_eq!(
            text(&plain["seed"]),
            seed.map_or(String::new(), |s| s.to_string())
        );
        found.insert(case, (answer, typed["score"].clone()));
    }
    assert_eq!(typed.len(), plain.len());
    assert_eq!(found, recorded(&project, "base"));
}

/// What TensorBoard shows of the only run: by tag, steps and values.
fn shown(project: &Project) -> BTreeMap<String, Vec<(u64, f64)>> {
    let runs = read("tensorboard_events.py", project, &["runs"]);
    let tags = runs["run-0001"].as_object().unwrap();
    let points = |points: &Value| {
        let each = points.as_array().unwrap().iter();
        each.map(|p| (p[0].as_u64().unwrap(), p[1].as_f64().unwrap()))
            .collect()
    };
    tags.iter()
        .map(|(tag, p)| (tag.clone(), points(p)))
        .collect()
}

/// A run that was killed three times, once in the middle of a write, is shown as one that was not.
pub fn tensorboard_shows_what_was_logged_once_whatever_killed_it() {
    let undisturbed = Project::with_model();
    undisturbed.qeval("train").exits(0);
    let tags = shown(&undisturbed);
    let log = undisturbed.lines("runs/run-0001/train.jsonl", "line");
    let losses: Vec<(u64, f64)> = log
        .iter()
        .filter_map(|line| Some((line["step"].as_u64()?, line["loss"].as_f64()?)))
        .collect();
    assert_eq!(tags["train/loss"].len(), losses.len());
    for (shown, logged) in tags["train/loss"].iter().zip(&losses) {
        assert_eq!(shown.0, logged.0);
        assert!(
            (shown.1 - logged.1).abs() <= 1e-6 * logged.1.abs(),
            "{shown:?} {logged:?}"
        );
    }
    for tag in [
        "train/learning_rate",
        "train/grad_norm",
        "eval/keep",
        "eval/learn",
    ] {
        assert!(!tags[tag].is_empty(), "{tag}");
    }
    let gates = undisturbed.lines("runs/run-0001/train.jsonl", "gate");
    assert_eq!(tags["eval/keep"].len(), gates.len());

    let project = Project::with_model();
    for lines in [3, 25, 40] {
        let mut child = project.start("train");
        let log = project.path("runs/run-0001/train.jsonl");
        let written = || fs::read_to_string(&log).map_or(0, |text| text.lines().count());
        while written() < lines && child.try_wait().unwrap().is_none() {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let _ = child.kill();
        child.wait().unwrap();
        if lines == 25 {
            let mut files: Vec<_> = project
                .files("runs/run-0001")
                .into_keys()
                .filter(|file| file.contains("tfevents"))
                .collect();
            files.sort();
            let newest = files.pop().unwrap();
            let bytes = project.read(&newest);
            project.write(&newest, &bytes[..bytes.len() - 5]);
        }
    }
    project.qeval("train").exits(0);
    assert_eq!(shown(&project), tags);
}

pub fn transformers_reads_the_state_of_a_checkpoint() {
    let project = Project::with_model();
    project.qeval("train").exits(0);
    let log = project.lines("runs/run-0001/train.jsonl", "gate");
    let last = log.last().unwrap()["step"].as_u64().unwrap();
    let folder = format!("runs/run-0001/checkpoint-{last}");
    let file = format!("{folder}/trainer_state.json");
    let state = read("trainer_states.py", &project, &[&file]);
    assert_eq!(state["global_step"], last);
    assert_eq!(state["max_steps"], last);
    let best = state["best_model_checkpoint"].as_str().unwrap();
    assert!(project.path(best).is_dir(), "{best}");
    let history = state["log_history"].as_array().unwrap();
    let losses = history.iter().filter(|e| !e["loss"].is_null()).count();
    let evaluations = history.iter().filter(|e| !e["eval_keep"].is_null()).count();
    assert_eq!(evaluations, log.len());
    assert_eq!(losses as u64, last);
    assert!(
        history
            .iter()
            .all(|e| e["step"].is_u64() && e["epoch"].is_f64())
    );
}
