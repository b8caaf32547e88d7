//! The commands end to end on the fixture model: answers, verdicts, exit codes, and what stands
//! on disk afterwards.

use std::fs;

use serde_json::Value;

use crate::project::{CARELESS, Project, Said};

const SUBJECTS: [&str; 4] = ["base", "noop", "good", "harmful"];
const RUN_ALL: &str = "run base adapters/noop adapters/good adapters/harmful";

/// The name of a subject's record.
fn file_of(subject: &str) -> String {
    if subject == "base" { "base".into() } else { format!("adapters-{subject}") }
}

fn expected() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/expected/fixture_answers.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn answers_are_those_of_transformers_and_peft() {
    let project = Project::with_model();
    project.qeval(RUN_ALL).exits(0);
    let expected = expected();
    let mut most = 0.0f64;
    for subject in SUBJECTS {
        let record = project.record("run-0001", &file_of(subject));
        let cases = expected["answers"][subject].as_object().unwrap();
        assert_eq!(record.scores.len(), cases.len(), "{subject}");
        for (case, wanted) in cases {
            // A `choice` has no answer: only its options are measured.
            if let Some(line) = record.answers.get(case) {
                assert_eq!(line["answer"]["text"], wanted["text"], "{subject} {case}");
            }
            let value = record.scores[case]["score"]["scored"]["value"].as_f64().unwrap();
            most = most.max((value - wanted["value"].as_f64().unwrap()).abs());
            assert!(most <= 1e-3, "{subject} {case}: {value}, expected {}", wanted["value"]);
        }
        assert_eq!(record.answers.len(), 53, "{subject}");
    }
    println!("largest difference of a score: {most:.1e}");
}

#[test]
fn finished_work_is_not_repeated() {
    let project = Project::with_model();
    project.qeval("run base adapters/good").exits(0);
    let before = project.files("runs");
    // A model is not even needed to know that there is nothing left to ask.
    let again = project.qeval("run base adapters/good").exits(0);
    assert_eq!(project.files("runs"), before);
    project.qeval("run adapters/good base adapters/noop").exits(0);
    let after = project.files("runs");
    for (name, bytes) in &before {
        assert_eq!(&after[name], bytes, "{name}");
    }
    insta::assert_snapshot!(again.stdout, @"
    base: 65 scored, mean 0.85, 0 unscored
    adapters/good: 65 scored, mean 1.00, 0 unscored
    ");
}

#[test]
fn gate_tells_harm_from_none() {
    let project = Project::with_model();
    let harmful = project.qeval("gate adapters/harmful").exits(1);
    insta::assert_snapshot!(harmful.stdout, @"");
    project.qeval("gate adapters/good").exits(0);
    project.qeval("gate adapters/noop").exits(0);
}

#[test]
fn gate_without_a_candidate_takes_the_configured_one() {
    let project = Project::with_model();
    insta::assert_snapshot!(project.qeval("gate").refusal(), @"");
    project.edit("qeval.toml", "[gate]\n", "[gate]\ncandidate = \"adapters/harmful\"\n");
    project.qeval("gate").exits(1);
}

#[test]
fn diff_shows_tables_changed_answers_and_verdicts() {
    let project = Project::with_model();
    let said = project.qeval("diff base adapters/good adapters/harmful").exits(1);
    insta::assert_snapshot!(said.stdout, @"");
    assert_eq!(project.qeval("diff base adapters/good").code, Some(0));
}

#[test]
fn json_has_the_same_verdicts() {
    let project = Project::with_model();
    let said = project.qeval("diff base adapters/good adapters/harmful --format json").exits(1);
    let report = said.json();
    let decisions: Vec<&Value> = report["candidates"].as_array().unwrap().iter().map(|c| &c["verdict"]["decision"]).collect();
    assert_eq!(decisions, ["pass", "regression"]);
    let run = project.qeval("run base --format json").exits(0).json();
    assert_eq!(run["subjects"][0]["scores"].as_array().unwrap().len(), 65);
    let gate = project.qeval("gate adapters/noop --format json").exits(0).json();
    assert_eq!(gate["candidates"][0]["verdict"]["decision"], "pass");
}

#[test]
fn any_subset_of_the_probes_gets_the_same_answers() {
    let whole = Project::with_model();
    whole.qeval("run base adapters/good").exits(0);
    for (selection, cases) in [
        ("--probe facts::capital-*", 8),
        ("--probe coding::* --slots 1", 17),
        ("--tag en --shard 2/3", 21),
        ("--suite suites/persona.toml --threads 1 --slots 3", 10),
    ] {
        let part = Project::with_model();
        part.qeval(&format!("run base adapters/good {selection}")).exits(0);
        for subject in ["base", "adapters-good"] {
            let (part, whole) = (part.record("run-0001", subject), whole.record("run-0001", subject));
            assert_eq!(part.scores.len(), cases, "{selection}");
            // Equal texts of all numbers: equal bits.
            assert!(part.answers.iter().all(|(case, line)| whole.answers[case] == *line), "{selection}");
            assert!(part.likelihoods.iter().all(|(text, line)| whole.likelihoods[text] == *line), "{selection}");
            assert!(part.scores.iter().all(|(case, line)| whole.scores[case] == *line), "{selection}");
        }
    }
}

#[test]
fn company_in_the_batch_changes_no_answer() {
    let together = Project::with_model();
    together.qeval(RUN_ALL).exits(0);
    for subject in ["base", "good", "harmful"] {
        let alone = Project::with_model();
        let name = if subject == "base" { "base".to_owned() } else { format!("adapters/{subject}") };
        alone.qeval(&format!("run {name}")).exits(0);
        let file = file_of(subject);
        assert_eq!(alone.record("run-0001", &file), together.record("run-0001", &file), "{subject}");
    }
}

#[test]
fn training_that_keeps_everything_ships_its_best_checkpoint() {
    let project = Project::with_model();
    let said = project.qeval("train").exits(0);
    insta::assert_snapshot!(said.stdout, @"");
    let names: Vec<String> = project.files("runs/run-0001").into_keys().collect();
    insta::assert_snapshot!(names.join("\n"), @"");

    // The checkpoint is a PEFT folder like any other, and stays one elsewhere.
    fs::rename(project.path("runs/run-0001/checkpoint-21"), project.path("adapters/mine")).unwrap();
    let said = project.qeval("gate adapters/mine").exits(0);
    assert!(said.stdout.contains("`persona`: 1.00 reaches the target"), "{}", said.stdout);
}

#[test]
fn finished_training_is_not_repeated() {
    let project = Project::with_model();
    let first = project.qeval("train").exits(0);
    let before = project.files("runs");
    let second = project.qeval("train").exits(0);
    assert_eq!(project.files("runs"), before);
    assert_eq!(second.stdout, first.stdout);
}

#[test]
fn training_that_destroys_is_stopped_and_ships_nothing() {
    let project = Project::with_model();
    project.train_with(&CARELESS);
    let said = project.qeval("train").exits(1);
    insta::assert_snapshot!(said.stdout, @"");
    let report = project.qeval("train --format json").exits(1).json();
    assert_eq!(report["best"], Value::Null);
    assert_eq!(report["checkpoints"][0]["verdict"]["decision"], "regression");
}

#[test]
fn comparison_after_training_needs_no_model() {
    let project = Project::with_model();
    let trained = project.qeval("train").exits(0);
    fs::rename(project.path("model"), project.path("moved-away")).unwrap();
    let said = project.qeval("diff base ckpt-42").exits(0);
    assert!(said.stdout.contains("run-0001") || said.stdout.contains("ckpt-42: pass"), "{}", said.stdout);
    project.qeval("diff base run-0001/ckpt-21").exits(0);
    project.qeval("gate").exits(0);
    project.qeval("gate --probe persona::*").exits(0);
    // What was never asked does need it.
    let refusal = project.qeval("gate ckpt-42@0.5").refusal();
    assert!(refusal.contains("model"), "{refusal}");
    drop(trained);
}

#[test]
fn new_project_trains_once_it_names_a_model() {
    let project = Project::empty();
    project.copy("models/fixture", "model");
    let said = project.qeval("init").exits(0);
    insta::assert_snapshot!(said.stdout, @"");
    insta::assert_snapshot!(project.qeval("init").refusal(), @"");
    project.edit("qeval.toml", "path = \"smollm2-135m\" ", "path = \"model\" ");
    // The built-in suites are not for a model that knows sixty sentences.
    fs::remove_dir_all(project.path("suites")).unwrap();
    project.copy("suites", "suites");
    let said = project.qeval("train");
    assert!(matches!(said.code, Some(0..=2)), "{said:?}");
    assert!(said.stdout.contains("learn score"), "{}", said.stdout);
}

/// Neither bars nor colours.
fn is_plain(said: &Said) -> bool {
    !said.stdout.contains('\u{1b}') && !said.stderr.contains(['\u{1b}', '\r'])
}

#[test]
fn output_that_is_no_terminal_is_plain_and_quiet() {
    let project = Project::with_model();
    let said = project.qeval("diff base adapters/harmful").exits(1);
    assert!(is_plain(&said), "{said:?}");
    insta::assert_snapshot!(said.stderr, @"");
    let silent = project.qeval("gate adapters/noop --quiet").exits(0);
    assert_eq!(silent.stderr, "");
    let machine = project.qeval("gate adapters/good --format json").exits(0);
    assert!(is_plain(&machine));
}

#[test]
fn colours_can_be_forced_and_forbidden() {
    let project = Project::with_model();
    let forced = project.qeval("gate adapters/harmful --color always").exits(1);
    assert!(forced.stdout.contains("\u{1b}["), "{}", forced.stdout);
    let project = project.env("NO_COLOR", "1");
    assert!(is_plain(&project.qeval("gate adapters/harmful").exits(1)));
}

#[test]
fn exit_codes_of_usage_and_help() {
    let project = Project::empty();
    project.qeval("--help").exits(0);
    project.qeval("gate --help").exits(0);
    assert_eq!(project.qeval("--version").exits(0).stdout, format!("qeval {}\n", env!("CARGO_PKG_VERSION")));
    for wrong in ["", "gate --typo", "frobnicate", "run", "diff base", "gate --shard 5/4"] {
        let said = project.qeval(wrong).exits(3);
        assert!(said.stdout.is_empty() && !said.stderr.is_empty(), "{wrong}");
    }
}
