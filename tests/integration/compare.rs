//! Result files of other programs, as they wrote them: `fixtures/results`, made by
//! `fixtures/reference/make_results.py`. Expected means and p-values are by SciPy, as said beside
//! them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::project::Project;

const LM_EVAL: &str = "2026-11-30T12-00-00.000000";

/// A folder with the results of all programs in `base` and `candidate`.
fn results() -> Project {
    let project = Project::empty();
    project.copy("results", "results");
    // lm-eval names the folder of a model that has no name at random.
    for side in ["base", "candidate"] {
        let folder = project.path(&format!("results/lm_eval/{side}"));
        let model = only(&folder);
        fs::rename(&model, project.path(side)).unwrap();
    }
    project
}

fn only(folder: &Path) -> PathBuf {
    let mut entries = fs::read_dir(folder).unwrap();
    let entry = entries.next().unwrap().unwrap();
    assert!(entries.next().is_none(), "{}", folder.display());
    entry.path()
}

fn judged(project: &Project, arguments: &str, code: i32) -> Value {
    let command = format!("compare {arguments} --margin 0.2 --format json");
    let report = project.qeval(&command).exits(code).json();
    report["candidates"][0]["verdict"].clone()
}

fn suite<'v>(verdict: &'v Value, name: &str) -> &'v Value {
    let mut suites = verdict["suites"].as_array().unwrap().iter();
    suites.find(|suite| suite["suite"] == name).unwrap()
}

fn samples(task: &str) -> String {
    format!("samples_{task}_{LM_EVAL}.jsonl")
}

/// `scipy.stats.binomtest(13, 13, 0.5, alternative="greater").pvalue` is 0.0001220703125, the exact
/// one-sided McNemar test of 13 items that only the base has right.
const P_OF_13: f64 = 0.000_122_070_312_5;

#[test]
fn lm_eval_is_judged_by_the_metric_that_is_chosen() {
    let project = results();
    let verdict = judged(
        &project,
        "base candidate --metric sums=exact_match,last-number",
        1,
    );
    assert_eq!(verdict["decision"], "regression");
    let sums = suite(&verdict, "sums");
    assert_eq!(sums["state"], "regression");
    let estimate = &sums["estimate"];
    assert_eq!(estimate["probes"], 60);
    // 57 and 44 of 60, as lm-eval's own results_*.json say.
    assert!((estimate["base_mean"].as_f64().unwrap() - 0.95).abs() < 1e-9);
    assert!((estimate["candidate_mean"].as_f64().unwrap() - 44.0 / 60.0).abs() < 1e-9);
    assert_eq!(
        (estimate["losses"].as_u64(), estimate["gains"].as_u64()),
        (Some(13), Some(0))
    );
    assert!(
        (sums["p_loss"].as_f64().unwrap() - P_OF_13).abs() < 1e-12,
        "{sums}"
    );
    assert_eq!(suite(&verdict, "colours")["estimate"]["losses"], 1);
}

/// Under lm-eval's first filter nothing matches: neither side has anything, and that is no pass.
#[test]
fn nothing_to_lose_is_no_pass() {
    let project = results();
    let verdict = judged(&project, "base candidate", 3);
    assert_eq!(verdict["decision"], "inconclusive");
    assert_eq!(suite(&verdict, "sums")["state"], "not_measured");
    let why = verdict["could_not_measure"][0].as_str().unwrap();
    insta::assert_snapshot!(why, @"`sums`: the base scores 0 in all of it, so that nothing could be lost: choose another metric (--metric), or leave it out (--task)");
    let colours = judged(&project, "base candidate --task colours", 2);
    assert_eq!(colours["decision"], "inconclusive");
}

#[test]
fn one_file_its_summary_and_its_folder_are_the_same_results() {
    let project = results();
    let metric = "--task sums --metric exact_match,last-number";
    let folder = judged(&project, &format!("base candidate {metric}"), 1);
    let file = samples("sums");
    let summary = format!("results_{LM_EVAL}.json");
    for name in [&file, &summary] {
        let arguments = format!("base/{name} candidate/{name} {metric}");
        assert_eq!(judged(&project, &arguments, 1), folder, "{name}");
    }
}

/// Epochs sharpen an item, and never add to their number.
#[test]
fn inspect_pairs_by_sample_and_epoch() {
    let project = results();
    let logs = "results/inspect/base.json results/inspect/candidate.json";
    let verdict = judged(&project, logs, 1);
    let sums = suite(&verdict, "sums");
    assert_eq!(sums["estimate"]["probes"], 30);
    assert_eq!(sums["estimate"]["losses"], 13);
    assert!((sums["p_loss"].as_f64().unwrap() - P_OF_13).abs() < 1e-12);
    let by_includes = judged(&project, &format!("{logs} --metric includes"), 1);
    assert_eq!(suite(&by_includes, "sums")["estimate"], sums["estimate"]);
}

#[test]
fn evalscope_is_judged_by_its_main_score() {
    let project = results();
    let verdict = judged(
        &project,
        "results/evalscope/base results/evalscope/candidate",
        1,
    );
    let sums = suite(&verdict, "general_qa_sums");
    assert_eq!(sums["estimate"]["losses"], 13);
    assert!((sums["p_loss"].as_f64().unwrap() - P_OF_13).abs() < 1e-12);
}

#[test]
fn a_result_equals_itself() {
    let project = results();
    for results in ["results/inspect/base.json", "results/evalscope/base"] {
        let verdict = judged(&project, &format!("{results} {results}"), 0);
        assert_eq!(verdict["decision"], "pass", "{results}");
        assert_eq!(verdict["pooled"]["estimate"]["losses"], 0);
    }
}

/// The texts of a comparison, and the files that it writes.
#[test]
fn a_comparison_is_told_as_a_gate_is() {
    let project = results();
    let said = project
        .qeval(
            "compare results/inspect/base.json results/inspect/candidate.json --margin 0.2 \
             --junit c.xml --markdown c.md --html c.html",
        )
        .exits(1);
    insta::assert_snapshot!(said.stdout, @"
    results/inspect/candidate.json: regression
      The candidate is worse than the base: that is proven, and enough to matter.
      because  `sums` lost 0.43 of 0.97 (p = 0.0001)
               all `keep` suites lost 0.43 of 0.97 (p = 0.0001)

      keep          scores        change   -3         -1     0    +1  verdict
      sums          0.97 -> 0.53  -0.43    ◂●━━━━━━━━  ╎     │        regression
      all keep      0.97 -> 0.53  -0.43    ━━━━━●━━━━━━╎     │        regression
      ━●━ change and its interval, in margins   ╎ margin or target   │ no change

      26 changed answers, 26 score lower; the worst:
      sums::sum-12  1.00 -> 0.00  What is 4 plus 3?
        base       It is 7
        candidate  It is 8  (match)
      sums::sum-16  1.00 -> 0.00  What is 4 plus 7?
        base       It is 11
        candidate  It is 12  (match)
      sums::sum-20  1.00 -> 0.00  What is 5 plus 5?
        base       It is 10
        candidate  It is 11  (match)
      sums::sum-24  1.00 -> 0.00  What is 6 plus 3?
        base       It is 9
        candidate  It is 10  (match)
      sums::sum-28  1.00 -> 0.00  What is 6 plus 7?
        base       It is 13
        candidate  It is 14  (match)

      note     `sums` is judged by `match`; --metric chooses includes
      next     qeval compare results/inspect/base.json results/inspect/candidate.json --margin 0.2 --html compare.html
    ");
    let said = project
        .qeval(
            "compare results/inspect/base.json results/inspect/candidate.json --margin 0.2 \
             --verbose",
        )
        .exits(1);
    insta::assert_snapshot!(said.stdout, @"
    ┌──────────┬────────┬────────┬──────────────────────────────┬────────────────────────────┐
    │ suite    ┆ probes ┆ margin ┆ smallest loss it can exclude ┆ smallest loss it can prove │
    ╞══════════╪════════╪════════╪══════════════════════════════╪════════════════════════════╡
    │ sums     ┆ 30     ┆ 0.15   ┆ 0.095                        ┆ 0.200                      │
    │ all keep ┆ 30     ┆ 0.20   ┆ 0.095                        ┆ 0.200                      │
    └──────────┴────────┴────────┴──────────────────────────────┴────────────────────────────┘
    results/inspect/candidate.json against base
    ┌──────────┬────────┬──────┬───────────┬──────────────────────┬────────────┐
    │ suite    ┆ probes ┆ base ┆ candidate ┆ difference           ┆ verdict    │
    ╞══════════╪════════╪══════╪═══════════╪══════════════════════╪════════════╡
    │ sums     ┆ 30     ┆ 0.97 ┆ 0.53      ┆ -0.43 [-0.60, -0.23] ┆ regression │
    │ all keep ┆ 30     ┆ 0.97 ┆ 0.53      ┆ -0.43 [-0.60, -0.23] ┆ regression │
    └──────────┴────────┴──────┴───────────┴──────────────────────┴────────────┘
    results/inspect/candidate.json: regression
      because  `sums` lost 0.43 of 0.97 (p = 0.0001)
               all `keep` suites lost 0.43 of 0.97 (p = 0.0001)
      note     `sums` is judged by `match`; --metric chooses includes
      next     qeval compare results/inspect/base.json results/inspect/candidate.json --margin 0.2 --html compare.html
    ");
    let junit = String::from_utf8(project.read("c.xml")).unwrap();
    assert!(
        junit.contains("tests=\"32\" skipped=\"0\" failures=\"15\""),
        "{junit}"
    );
    let comment = String::from_utf8(project.read("c.md")).unwrap();
    assert!(
        comment.starts_with("## ❌ qeval: regression\n"),
        "{comment}"
    );
    assert!(
        comment.contains("What is"),
        "what was asked and said: {comment}"
    );
    assert!(project.read("c.html").len() > 10_000);
}

/// Rewrites the lines of a file of lm-eval.
fn edit(project: &Project, file: &str, change: impl Fn(usize, &mut Value) -> bool) {
    let text = String::from_utf8(project.read(file)).unwrap();
    let mut lines = String::new();
    for (number, line) in text.lines().enumerate() {
        let mut line: Value = serde_json::from_str(line).unwrap();
        if change(number + 1, &mut line) {
            lines += &line.to_string();
            lines.push('\n');
        }
    }
    project.write(file, lines);
}

/// What is missing is named and counts as lost where a pass rests on it.
#[test]
fn items_of_one_side_are_named_and_counted() {
    let project = results();
    let file = format!("candidate/{}", samples("colours"));
    edit(&project, &file, |number, _| ![2, 5].contains(&number));
    let verdict = judged(&project, "base candidate --task colours", 2);
    let notes: Vec<&str> = verdict["notes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|note| note.as_str().unwrap())
        .collect();
    insta::assert_snapshot!(notes.join("\n"), @"
    `colours` is judged by `acc,none`; --metric chooses acc_norm,none
    `colours`: 2 items of the other side missing in the candidate: 1, 4
    `colours`: 2 probes with unscored draws, left out of the means: candidate: no answer (1, 4); what the candidate left unscored counts as lost in the lower end
    ");
    let estimate = &suite(&verdict, "colours")["estimate"];
    assert_eq!(
        (estimate["probes"].as_u64(), estimate["unscored"].as_u64()),
        (Some(18), Some(2))
    );
    // A whole task is no other.
    fs::remove_file(project.path(&file)).unwrap();
    let sums = samples("sums");
    project.write(
        &format!("candidate/{sums}"),
        project.read(&format!("base/{sums}")),
    );
    let metric = "--metric sums=exact_match,last-number";
    let verdict = judged(&project, &format!("base candidate {metric}"), 3);
    insta::assert_snapshot!(verdict["could_not_measure"][0].as_str().unwrap(), @"`colours`: 100 percent of the scores are missing, at most 10 percent may be; candidate: no answer (0, 1, 2, 3, 4, and 15 more)");
    judged(&project, &format!("base candidate {metric} --task sums"), 0);
}

/// What two files cannot be compared for.
#[test]
fn what_cannot_be_compared_is_refused_by_name() {
    let refused = |change: &dyn Fn(&Project), arguments: &str| {
        let project = results();
        change(&project);
        let said = project
            .qeval(&format!("compare {arguments} --margin 0.2"))
            .exits(3);
        project.redact(&said.refusal())
    };
    let of = |arguments: &str| refused(&|_| {}, arguments);
    let sums = samples("sums");
    let candidate = format!("candidate/{sums}");
    let edited = |change: &dyn Fn(usize, &mut Value) -> bool| {
        refused(
            &|project| edit(project, &candidate, change),
            "base candidate --task sums --metric exact_match,last-number",
        )
    };
    insta::assert_snapshot!(of("base results/inspect/candidate.json"), @"error: the base is of lm-eval, the candidate of Inspect: both have to be of one program, since no two ask alike");
    insta::assert_snapshot!(of("base candidate --task colors"), @r#"error: no task "colors"; there are colours and sums"#);
    insta::assert_snapshot!(of("base candidate --task sums --metric f1"), @r#"
    error: task `sums` has no metric "f1" in base/samples_sums_2026-11-30T12-00-00.000000.jsonl; it has exact_match,strict or exact_match,last-number
      Choose one for this task alone: --metric TASK=METRIC
    "#);
    insta::assert_snapshot!(of(&format!("base/{sums} candidate/{}", samples("colours"))), @"
    error: no task is in both: the base has sums, the candidate colours
      Compare files of the same task.
    ");
    insta::assert_snapshot!(of("results/lm_eval results/inspect"), @"
    error: results/lm_eval: has no result file
      Read are samples_*.jsonl of lm-eval (--log_samples), .json logs of Inspect (--log-format json), and reviews/*.jsonl of evalscope.
    ");
    insta::assert_snapshot!(of("results/evalscope results/evalscope"), @"
    error: results/evalscope: has results of several models: results/evalscope/base/reviews/base, results/evalscope/candidate/reviews/candidate
      Name the folder of one.
    ");
    insta::assert_snapshot!(of("results/evalscope/base/reports/base/general_qa.json base"), @"
    error: results/evalscope/base/reports/base/general_qa.json: is a report of evalscope, which has means and no items
      Name the folder of the run, or its reviews/MODEL folder.
    ");
    insta::assert_snapshot!(of("results/evalscope/base/predictions/base/general_qa_sums.jsonl base"), @"
    error: results/evalscope/base/predictions/base/general_qa_sums.jsonl, line 1: holds answers of evalscope without scores
      Name the folder of the run, or its reviews/MODEL folder.
    ");
    insta::assert_snapshot!(of("nowhere base"), @"error: nowhere: cannot be read: No such file or directory (os error 2)");
    let changed = |key: &'static str, value: Value| {
        move |number: usize, line: &mut Value| {
            if number > 30 {
                line[key] = value.clone();
            }
            true
        }
    };
    insta::assert_snapshot!(edited(&changed("prompt_hash", json!("other"))), @"
    error: task `sums`: 30 of 60 items were put with different prompts in base and candidate, the first of them 33 (base/samples_sums_2026-11-30T12-00-00.000000.jsonl, line 34; candidate/samples_sums_2026-11-30T12-00-00.000000.jsonl, line 34)
      Evaluate both with the same examples, chat template, and system prompt.
    ");
    insta::assert_snapshot!(edited(&changed("target_hash", json!("other"))), @"
    error: task `sums`: 30 of 60 items were judged by different targets in base and candidate, the first of them 33 (base/samples_sums_2026-11-30T12-00-00.000000.jsonl, line 34; candidate/samples_sums_2026-11-30T12-00-00.000000.jsonl, line 34)
      Evaluate both on the same data.
    ");
    insta::assert_snapshot!(edited(&changed("doc_id", json!(7))), @"
    error: candidate/samples_sums_2026-11-30T12-00-00.000000.jsonl, line 31: item 7 stands twice, first in line 8
      lm-eval appends to a file that is there already: evaluate into an empty folder.
    ");
    insta::assert_snapshot!(edited(&|_, line| {
        line["exact_match"] = json!(12.5);
        true
    }), @"
    error: candidate/samples_sums_2026-11-30T12-00-00.000000.jsonl, line 1: item 0: `exact_match,last-number` is 12.5, and a score that can be judged is a number from 0 to 1
      Choose another: --metric exact_match,strict
    ");
    insta::assert_snapshot!(edited(&|_, line| {
        line["exact_match"] = json!([1.0, 2.0]);
        true
    }), @"
    error: candidate/samples_sums_2026-11-30T12-00-00.000000.jsonl, line 1: item 0: `exact_match,last-number` is a list, and a score that can be judged is a number from 0 to 1
      Choose another: --metric exact_match,strict
    ");
    insta::assert_snapshot!(edited(&|_, line| {
        line["doc_hash"] = json!("other");
        true
    }), @"
    error: task `sums`: base (60 items) and candidate (60 items) have no item in common
      Evaluate both on the same data.
    ");
    let summary = format!("candidate/results_{LM_EVAL}.json");
    let another_version = |project: &Project| {
        let text = String::from_utf8(project.read(&summary)).unwrap();
        let mut results: Value = serde_json::from_str(&text).unwrap();
        results["versions"]["sums"] = json!(3.0);
        project.write(&summary, results.to_string());
    };
    insta::assert_snapshot!(refused(&another_version, "base candidate --task sums"), @"
    error: task `sums` is version 1.0 in the base and 3.0 in the candidate: their scores cannot be compared
      Evaluate both with one version.
    ");
    let without_samples = |project: &Project| {
        for task in ["sums", "colours"] {
            fs::remove_file(project.path(&format!("candidate/{}", samples(task)))).unwrap();
        }
    };
    insta::assert_snapshot!(refused(&without_samples, &format!("base {summary}")), @"
    error: candidate/results_2026-11-30T12-00-00.000000.json: has means and no items, and no samples_*.jsonl of the same date lies beside it
      Evaluate with --log_samples, and name the folder.
    ");
    let packed = |project: &Project| project.write("log.eval", b"PK\x03\x04rest");
    insta::assert_snapshot!(refused(&packed, "log.eval base"), @"
    error: log.eval: is an .eval log of Inspect, whose layout is not fixed
      Convert it: inspect log convert --to json --output-dir logs log.eval
    ");
}

/// Fewer is better: turned, and said.
#[test]
fn a_metric_of_which_less_is_better_is_turned() {
    let project = results();
    for side in ["base", "candidate"] {
        let file = format!("{side}/results_{LM_EVAL}.json");
        let text = String::from_utf8(project.read(&file)).unwrap();
        let mut results: Value = serde_json::from_str(&text).unwrap();
        results["higher_is_better"]["sums"]["exact_match"] = json!(false);
        project.write(&file, results.to_string());
    }
    let verdict = judged(
        &project,
        "candidate base --task sums --metric exact_match,last-number",
        1,
    );
    let estimate = &suite(&verdict, "sums")["estimate"];
    assert!((estimate["base_mean"].as_f64().unwrap() - 16.0 / 60.0).abs() < 1e-9);
    assert_eq!(estimate["losses"], 13);
    let note = verdict["notes"][0].as_str().unwrap();
    insta::assert_snapshot!(note, @"`sums` is judged by `exact_match,last-number`, turned (1 minus it), as less of it is better; --metric chooses exact_match,strict");
}

/// Damage of every kind gets a message with the file, never a panic.
#[test]
fn damaged_files_are_named_with_their_line() {
    let project = results();
    let whole = project.read(&format!("base/{}", samples("sums")));
    let second = whole.iter().position(|b| *b == b'\n').unwrap() + 1;
    for end in [1, 100, second + 1, second + 700, whole.len() - 2] {
        project.write("cut.jsonl", &whole[..end]);
        let said = project.qeval("compare cut.jsonl cut.jsonl --margin 0.2");
        if said.code != Some(0) {
            let refusal = said.exits(3).refusal();
            assert!(refusal.contains("cut.jsonl"), "{end}: {refusal}");
        }
    }
    let log = project.read("results/inspect/base.json");
    for end in (0..log.len()).step_by(log.len() / 40) {
        project.write("cut.json", &log[..end]);
        let refusal = project
            .qeval("compare cut.json cut.json")
            .exits(3)
            .refusal();
        assert!(refusal.contains("cut.json"), "{end}: {refusal}");
    }
    for (name, bytes) in [
        ("empty.jsonl", &b""[..]),
        ("binary.json", b"\xff\xfe\0\0{"),
        ("list.json", b"[1, 2]"),
        ("text.jsonl", b"hello\n"),
        ("other.json", b"{\"eval\": 1, \"samples\": []}"),
        ("deep.json", "[".repeat(100_000).as_bytes()),
        (
            "version.json",
            b"{\"version\": 9, \"eval\": {\"task\": \"t\"}, \"samples\": []}",
        ),
        (
            "sample.jsonl",
            b"{\"doc_id\": {}, \"resps\": [[[]]], \"filtered_resps\": 1}\n",
        ),
        ("review.jsonl", b"{\"sample_score\": {\"score\": 3}}\n"),
    ] {
        project.write(name, bytes);
        let refusal = project
            .qeval(&format!("compare {name} {name}"))
            .exits(3)
            .refusal();
        assert!(refusal.contains(name), "{refusal}");
        assert!(!refusal.contains("panicked"), "{refusal}");
    }
}

/// What an export holds is judged as the records are.
#[test]
fn an_export_is_judged_as_its_records_are() {
    let project = Project::with_model();
    let gated = project
        .qeval("gate adapters/harmful --format json")
        .exits(1)
        .json();
    let gated = &gated["candidates"][0]["verdict"];
    project
        .qeval("export --to lm-eval,inspect --out out")
        .exits(0);
    for format in ["lm-eval", "inspect"] {
        let folders: Vec<PathBuf> = fs::read_dir(project.path(&format!("out/{format}")))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        let candidate = folders.iter().find(|f| !f.ends_with("base")).unwrap();
        let candidate = candidate.file_name().unwrap().to_str().unwrap();
        let keep: Vec<String> = gated["suites"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|suite| suite["goal"] == "keep")
            .map(|suite| suite["suite"].as_str().unwrap().to_owned())
            .collect();
        let tasks: String = keep.iter().map(|name| format!(" --task {name}")).collect();
        let report = project
            .qeval(&format!(
                "compare out/{format}/base out/{format}/{candidate}{tasks} --format json"
            ))
            .exits(1)
            .json();
        let verdict = &report["candidates"][0]["verdict"];
        for name in &keep {
            let (ours, theirs) = (suite(gated, name), suite(verdict, name));
            assert_eq!(theirs["estimate"], ours["estimate"], "{format} {name}");
            assert_eq!(theirs["p_loss"], ours["p_loss"], "{format} {name}");
        }
        assert_eq!(verdict["pooled"]["estimate"], gated["pooled"]["estimate"]);
    }
}
