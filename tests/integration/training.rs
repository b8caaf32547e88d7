//! When training ends, and what it keeps.

use serde_json::Value;

use crate::project::Project;

fn checkpoints(project: &Project) -> Vec<usize> {
    let entries = std::fs::read_dir(project.path("runs/run-0001")).unwrap();
    let mut steps: Vec<usize> = entries
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_prefix("checkpoint-")?.parse().ok()
        })
        .collect();
    steps.sort_unstable();
    steps
}

fn steps_gated(project: &Project) -> Vec<u64> {
    let gates = project.lines("runs/run-0001/train.jsonl", "gate");
    gates.iter().filter_map(|g| g["step"].as_u64()).collect()
}

#[test]
fn patience_ends_a_run_that_gets_no_better() {
    let project = Project::with_model();
    project.edit(
        "qeval.toml",
        "save_steps = 0.5",
        "save_steps = 6\nearly_stopping_patience = 2",
    );
    let said = project.qeval("train --format json").exits(0).json();
    let best = said["best"].as_u64().unwrap();
    let gated = steps_gated(&project);
    let after: Vec<&u64> = gated.iter().filter(|step| **step > best).collect();
    assert_eq!(after.len(), 2, "best {best}, gated {gated:?}");
    assert!(*gated.last().unwrap() < 42, "{gated:?}");
    // A run that ended by patience is shown again and not gone on with.
    let again = project.qeval("train").exits(0);
    let reason = format!("2 gates without a better checkpoint than ckpt-{best}");
    assert!(again.stdout.contains(&reason), "{}", again.stdout);
    assert_eq!(steps_gated(&project), gated);
}

/// Nothing is lost at such a rate, and nothing learned. That is no reason to stop early.
#[test]
fn a_run_that_learned_too_little_ships_nothing() {
    let project = Project::with_model();
    project.edit("qeval.toml", "learning_rate = 3e-3", "learning_rate = 1e-9");
    project.edit("qeval.toml", "[gate]\n", "[gate]\nscales = [1.0]\n");
    let said = project.qeval("train --verbose").exits(1);
    let table = said.shape();
    let from = table.find("┌──────┬").unwrap();
    insta::assert_snapshot!(&table[from..], @r#"
    ┌──────┬───────┬─────────────┬─────────────────────┬────────────────────┐
    │ step ┆ loss  ┆ learn score ┆ keep difference     ┆ verdict            │
    ╞══════╪═══════╪═════════════╪═════════════════════╪════════════════════╡
    │ ##   ┆ #.### ┆ #.##        ┆ #.## [-#.##, +#.##] ┆ learned too little │
    │ ##   ┆ #.### ┆ #.##        ┆ #.## [-#.##, +#.##] ┆ learned too little │
    └──────┴───────┴─────────────┴─────────────────────┴────────────────────┘
    step ##: all ## answers equal the base's; their probabilities differ
    step ##: all ## answers equal the base's; their probabilities differ
    none: do not ship
    none: do not ship (run-####/ckpt-##): learned too little
      because  `persona`: #.## is below the target of #.##, the base #.##
      kept     all `keep` suites: a loss of #.## is excluded (## probes, difference #.##, at worst
               -#.###)
      causes   all ## answers equal the base's; their probabilities differ
      note     `learn = "warn"` under [gate] lets it ship all the same; for a checkpoint of a run add
               `--config qeval.toml`
      next     qeval diff base run-####/ckpt-##
    "#);
    assert_eq!(steps_gated(&project), [21, 42]);
    // By a file in which that is a warning the checkpoint passes, and nothing is trained again.
    project.edit("qeval.toml", "[gate]\n", "[gate]\nlearn = \"warn\"\n");
    project.qeval("gate run-0001/ckpt-42").exits(1);
    project
        .qeval("gate run-0001/ckpt-42 --config qeval.toml")
        .exits(0);
}

#[test]
fn only_the_best_and_the_newest_checkpoints_are_kept() {
    let project = Project::with_model();
    project.edit(
        "qeval.toml",
        "save_steps = 0.5",
        "save_steps = 6\nsave_total_limit = 1",
    );
    let said = project.qeval("train --format json").exits(0).json();
    let best = said["best"].as_u64().unwrap() as usize;
    let mut kept = vec![best, 42];
    kept.dedup();
    assert_eq!(checkpoints(&project), kept);
    assert_eq!(
        steps_gated(&project).len(),
        7,
        "every one of them was gated"
    );
    // What is gone is named, with what is left.
    let gone = (1..=7).map(|n| 6 * n).find(|s| !kept.contains(s)).unwrap();
    let refusal = project.qeval(&format!("diff base ckpt-{gone}")).refusal();
    assert!(
        refusal.contains(&format!("has no checkpoint {gone}")) && refusal.contains("ckpt-42"),
        "{refusal}"
    );
}

#[test]
fn rehearsal_rows_are_the_bases_own_answers() {
    let project = Project::with_model();
    let facts = String::from_utf8(project.read("suites/facts.toml")).unwrap();
    let prompts: Vec<&str> = facts
        .lines()
        .filter(|line| line.starts_with("prompts"))
        .filter_map(|line| line.split('"').nth(1))
        .take(4)
        .collect();
    let rows: String = prompts
        .iter()
        .map(|p| format!("{}\n", serde_json::json!({ "prompt": p })))
        .collect();
    project.write("rehearsal.jsonl", rows);
    project.edit(
        "qeval.toml",
        "sources = [\"examples.jsonl\"]",
        "sources = [\"examples.jsonl\"]\nrehearsal = \"rehearsal.jsonl\"",
    );
    let said = project.qeval("train").exits(0);
    // What is rehearsed can show no improvement.
    assert!(
        said.stderr
            .contains("4 probes in the training data or its rehearsal"),
        "{}",
        said.stderr
    );
    let lines = project.lines("runs/run-0001/train.jsonl", "line");
    let drift: Vec<f64> = lines
        .iter()
        .filter_map(|l| l["rehearsal_kl"].as_f64())
        .collect();
    assert!(
        !drift.is_empty() && drift.iter().all(|kl| *kl >= 0.0),
        "{drift:?}"
    );
    let kept: Value =
        serde_json::from_slice(&project.read("runs/run-0001/provenance.json")).unwrap();
    assert_eq!(kept["config"]["kind"], "training");
    let answers = kept["config"]["training_answers"].as_array().unwrap();
    assert!(
        answers.iter().all(|a| a != "Lima."),
        "the base's answers are no training answers"
    );
}

/// A base that cannot reword stops nothing, and is not asked twice.
#[test]
fn data_is_shown_before_the_first_step_and_what_the_base_makes_is_made_once() {
    let project = Project::with_model();
    project.edit(
        "qeval.toml",
        "sources = [\"examples.jsonl\"]",
        "sources = [\"examples.jsonl\"]\nparaphrase = 1\nrehearsal = \"built-in\"\n\
         rehearsal_prompts = 3\nnear_miss = 2",
    );
    let shown = project.qeval("data show --format json").exits(0).json();
    assert_eq!(shown["with_base"], false);
    assert_eq!(shown["rehearsal"].as_array().unwrap().len(), 5);
    assert!(!project.path("runs").exists() || !project.path("runs/paraphrases").exists());
    let said = project.qeval("data show --base").exits(0);
    assert!(
        said.stdout.contains("Rehearsed: 2 near misses"),
        "{}",
        said.stdout
    );
    assert!(said.stdout.contains("rewordings kept"), "{}", said.stdout);
    let made = std::fs::read_dir(project.path("runs/paraphrases")).unwrap();
    let made: Vec<_> = made.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(made.len(), 1);
    let written = std::fs::metadata(&made[0]).unwrap().modified().unwrap();
    let trained = project.qeval("train").exits(0);
    assert!(
        trained.stderr.contains("rewordings kept"),
        "{}",
        trained.stderr
    );
    let after = std::fs::metadata(&made[0]).unwrap().modified().unwrap();
    assert_eq!(after, written, "the wordings were found");
    let lines = project.lines("runs/run-0001/train.jsonl", "line");
    let has = |key: &str| lines.iter().any(|line| line[key].is_f64());
    assert!(
        has("rehearsal_kl"),
        "pool and near misses are held at their distributions"
    );
    assert!(!has("rehearsal_loss"), "nothing is learned as text");
}
