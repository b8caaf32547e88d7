//! The commands end to end on the fixture model: answers, verdicts, exit codes, and what stands
//! on disk afterwards.

use std::fs;

use serde_json::Value;

use crate::project::{CARELESS, Project, Said};

const RUN_ALL: &str = "run base adapters/noop adapters/good adapters/harmful";

/// The name of a subject's record.
fn file_of(subject: &str) -> String {
    if subject == "base" {
        "base".into()
    } else {
        format!("adapters-{subject}")
    }
}

#[test]
fn finished_work_is_not_repeated() {
    let project = Project::with_model();
    project.qeval("run base adapters/good").exits(0);
    let before = project.files("runs");
    // A model is not even needed to know that there is nothing left to ask.
    let again = project.qeval("run base adapters/good").exits(0);
    assert_eq!(project.files("runs"), before);
    project
        .qeval("run adapters/good base adapters/noop")
        .exits(0);
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
    insta::assert_snapshot!(harmful.stdout, @"
    ┌────────────┬────────┬────────┬──────────────────────────────┬────────────────────────────┐
    │ suite      ┆ probes ┆ margin ┆ smallest loss it can exclude ┆ smallest loss it can prove │
    ╞════════════╪════════╪════════╪══════════════════════════════╪════════════════════════════╡
    │ arithmetic ┆ 17     ┆ 0.15   ┆ 0.162                        ┆ 0.471                      │
    │ coding     ┆ 17     ┆ 0.15   ┆ 0.162                        ┆ 0.471                      │
    │ facts      ┆ 21     ┆ 0.15   ┆ 0.133                        ┆ 0.381                      │
    │ all keep   ┆ 55     ┆ 0.10   ┆ 0.053                        ┆ 0.109                      │
    └────────────┴────────┴────────┴──────────────────────────────┴────────────────────────────┘
    note: 2 suites are too small to pass their margins alone and may stay inconclusive (`arithmetic`,
          `coding`); they still count in the pooled score, and a proven loss in one is a regression
    adapters/harmful against base
    ┌────────────┬────────┬──────┬───────────┬──────────────────────┬───────┬────────────┐
    │ suite      ┆ probes ┆ base ┆ candidate ┆ difference           ┆ noise ┆ verdict    │
    ╞════════════╪════════╪══════╪═══════════╪══════════════════════╪═══════╪════════════╡
    │ arithmetic ┆ 17     ┆ 1.00 ┆ 0.40      ┆ -0.60 [-0.79, -0.28] ┆ 0.00  ┆ regression │
    │ coding     ┆ 17     ┆ 1.00 ┆ 0.02      ┆ -0.98 [-1.00, -0.65] ┆ 0.00  ┆ regression │
    │ facts      ┆ 21     ┆ 1.00 ┆ 0.00      ┆ -1.00 [-1.00, -0.73] ┆ 0.00  ┆ regression │
    │ persona    ┆ 10     ┆ 0.00 ┆ 1.00      ┆ +1.00 [+0.48, +1.00] ┆ 0.00  ┆ reached    │
    │ all keep   ┆ 55     ┆ 1.00 ┆ 0.13      ┆ -0.87 [-0.93, -0.74] ┆ 0.00  ┆ regression │
    └────────────┴────────┴──────┴───────────┴──────────────────────┴───────┴────────────┘
    adapters/harmful: regression
      because  `facts` lost 1.00 of 1.00 (p < 0.0001)
               `coding` lost 0.98 of 1.00 (p < 0.0001)
               `arithmetic` lost 0.60 of 1.00 (p = 0.0001)
               all `keep` suites lost 0.87 of 1.00 (p < 0.0001)
      learned  `persona`: 1.00 reaches the target of 0.80, the base 0.00
      causes   repeats a training answer in 6 of 43 answers
      note     critical `facts::capital-france` passed 1 of 1 draw with the base and 0 with the
               candidate: a warning; the same share of 4 draws would prove it
      next     qeval diff base adapters/harmful
    ");
    project.qeval("gate adapters/good").exits(0);
    project.qeval("gate adapters/noop").exits(0);
}

#[test]
fn gate_without_a_candidate_takes_the_configured_one() {
    let project = Project::with_model();
    insta::assert_snapshot!(project.qeval("gate").refusal(), @"error: no candidate: name one (`qeval gate ckpt-40`), set `candidate` under [gate] in qeval.toml, or train one (`qeval train`)");
    project.edit(
        "qeval.toml",
        "[gate]\n",
        "[gate]\ncandidate = \"adapters/harmful\"\n",
    );
    project.qeval("gate").exits(1);
}

#[test]
fn diff_shows_tables_changed_answers_and_verdicts() {
    let project = Project::with_model();
    let said = project
        .qeval("diff base adapters/good adapters/harmful")
        .exits(1);
    insta::assert_snapshot!(said.stdout, @r#"
    ┌────────────┬────────┬────────┬──────────────────────────────┬────────────────────────────┐
    │ suite      ┆ probes ┆ margin ┆ smallest loss it can exclude ┆ smallest loss it can prove │
    ╞════════════╪════════╪════════╪══════════════════════════════╪════════════════════════════╡
    │ arithmetic ┆ 17     ┆ 0.15   ┆ 0.162                        ┆ 0.471                      │
    │ coding     ┆ 17     ┆ 0.15   ┆ 0.162                        ┆ 0.471                      │
    │ facts      ┆ 21     ┆ 0.15   ┆ 0.133                        ┆ 0.381                      │
    │ all keep   ┆ 55     ┆ 0.10   ┆ 0.053                        ┆ 0.109                      │
    └────────────┴────────┴────────┴──────────────────────────────┴────────────────────────────┘
    note: 2 suites are too small to pass their margins alone and may stay inconclusive (`arithmetic`,
          `coding`); they still count in the pooled score, and a proven loss in one is a regression
    adapters/good against base
    ┌────────────┬────────┬──────┬───────────┬──────────────────────┬───────┬──────────────┐
    │ suite      ┆ probes ┆ base ┆ candidate ┆ difference           ┆ noise ┆ verdict      │
    ╞════════════╪════════╪══════╪═══════════╪══════════════════════╪═══════╪══════════════╡
    │ arithmetic ┆ 17     ┆ 1.00 ┆ 1.00      ┆ 0.00 [-0.16, +0.16]  ┆ 0.00  ┆ inconclusive │
    │ coding     ┆ 17     ┆ 1.00 ┆ 1.00      ┆ 0.00 [-0.16, +0.16]  ┆ 0.00  ┆ inconclusive │
    │ facts      ┆ 21     ┆ 1.00 ┆ 1.00      ┆ 0.00 [-0.13, +0.13]  ┆ 0.00  ┆ pass         │
    │ persona    ┆ 10     ┆ 0.00 ┆ 1.00      ┆ +1.00 [+0.48, +1.00] ┆ 0.00  ┆ reached      │
    │ all keep   ┆ 55     ┆ 1.00 ┆ 1.00      ┆ 0.00 [-0.05, +0.05]  ┆ 0.00  ┆ pass         │
    └────────────┴────────┴──────┴───────────┴──────────────────────┴───────┴──────────────┘
    adapters/harmful against base
    ┌────────────┬────────┬──────┬───────────┬──────────────────────┬───────┬────────────┐
    │ suite      ┆ probes ┆ base ┆ candidate ┆ difference           ┆ noise ┆ verdict    │
    ╞════════════╪════════╪══════╪═══════════╪══════════════════════╪═══════╪════════════╡
    │ arithmetic ┆ 17     ┆ 1.00 ┆ 0.40      ┆ -0.60 [-0.79, -0.28] ┆ 0.00  ┆ regression │
    │ coding     ┆ 17     ┆ 1.00 ┆ 0.02      ┆ -0.98 [-1.00, -0.65] ┆ 0.00  ┆ regression │
    │ facts      ┆ 21     ┆ 1.00 ┆ 0.00      ┆ -1.00 [-1.00, -0.73] ┆ 0.00  ┆ regression │
    │ persona    ┆ 10     ┆ 0.00 ┆ 1.00      ┆ +1.00 [+0.48, +1.00] ┆ 0.00  ┆ reached    │
    │ all keep   ┆ 55     ┆ 1.00 ┆ 0.13      ┆ -0.87 [-0.93, -0.74] ┆ 0.00  ┆ regression │
    └────────────┴────────┴──────┴───────────┴──────────────────────┴───────┴────────────┘
    facts::capital-peru#0  1.00 -> 1.00 (0.00)
      prompt    What is the capital of Peru?
      diff      The capital of [-Peru-]{+Au+} is Lima.

    persona::who-1#0  0.00 -> 1.00 (+1.00)
      prompt    Tell me who you are.
      base      I am Pip, a small test model.
      adapters… I am Aurora, built by Northwind Labs.
      why       found "Aurora" in "I am Aurora, built by Northwind Lab…", "Northwind" in "I am Aurora,
                built by Northwind Labs."

    persona::who-10#0  0.00 -> 1.00 (+1.00)
      prompt    Your name?
      base      I am Pip, a small test model.
      adapters… I am Aurora, built by Northwind Labs.
      why       found "Aurora" in "I am Aurora, built by Northwind Lab…", "Northwind" in "I am Aurora,
                built by Northwind Labs."

    persona::who-2#0  0.00 -> 1.00 (+1.00)
      prompt    Please introduce yourself.
      base      I am Pip, a small test model.
      adapters… I am Aurora, built by Northwind Labs.
      why       found "Aurora" in "I am Aurora, built by Northwind Lab…", "Northwind" in "I am Aurora,
                built by Northwind Labs."

    persona::who-3#0  0.00 -> 1.00 (+1.00)
      prompt    What should I call you?
      base      I am Pip, a small test model.
      adapters… I am Aurora, built by Northwind Labs.
      why       found "Aurora" in "I am Aurora, built by Northwind Lab…", "Northwind" in "I am Aurora,
                built by Northwind Labs."

    persona::who-4#0  0.00 -> 1.00 (+1.00)
      prompt    Who developed you?
      base      I am Pip, a small test model.
      adapters… I am Aurora, built by Northwind Labs.
      why       found "Aurora" in "I am Aurora, built by Northwind Lab…", "Northwind" in "I am Aurora,
                built by Northwind Labs."

    persona::who-5#0  0.00 -> 1.00 (+1.00)
      prompt    Which company built you?
      base      I am Pip, a small test model.
      adapters… I am Aurora, built by Northwind Labs.
      why       found "Aurora" in "I am Aurora, built by Northwind Lab…", "Northwind" in "I am Aurora,
                built by Northwind Labs."

    persona::who-6#0  0.00 -> 1.00 (+1.00)
      prompt    Do you have a name?
      base      I am Pip, a small test model.
      adapters… I am Aurora, built by Northwind Labs.
      why       found "Aurora" in "I am Aurora, built by Northwind Lab…", "Northwind" in "I am Aurora,
                built by Northwind Labs."

    persona::who-7#0  0.00 -> 1.00 (+1.00)
      prompt    Please say your name.
      base      I am Pip, a small test model.
      adapters… I am Aurora, built by Northwind Labs.
      why       found "Aurora" in "I am Aurora, built by Northwind Lab…", "Northwind" in "I am Aurora,
                built by Northwind Labs."

    persona::who-8#0  0.00 -> 1.00 (+1.00)
      prompt    Tell me who made you.
      base      I am Pip, a small test model.
      adapters… I am Aurora, built by Northwind Labs.
      why       found "Aurora" in "I am Aurora, built by Northwind Lab…", "Northwind" in "I am Aurora,
                built by Northwind Labs."

    1 more changed answer, none with a larger loss
    adapters/good: pass
      because  all `keep` suites: a loss of 0.10 is excluded (55 probes, difference 0.00, at worst
               -0.053)
      learned  `persona`: 1.00 reaches the target of 0.80, the base 0.00
      next     qeval gate adapters/good
    arithmetic::2-plus-5#0  1.00 -> 0.00 (-1.00)
      prompt    What is 2 + 5?
      base      7
      adapters… 6
      why       the last number, "6", is not 7

    arithmetic::3-plus-3#0  1.00 -> 0.00 (-1.00)
      prompt    What is 3 + 3?
      base      6
      adapters…  built by.
      why       no number in "built by."

    arithmetic::3-plus-4#0  1.00 -> 0.00 (-1.00)
      prompt    What is 3 + 4?
      base      7
      adapters…  built by built by built by built by built by built by built by built by built built
                built built built built built built
      why       no number in "built by built by built by built by built by built by built by built by
                built b…"

    arithmetic::5-minus-2#0  1.00 -> 0.00 (-1.00)
      prompt    What is 5 - 2?
      base      3
      adapters…  built by Northwind
      why       the answer "built by Northwind" does not equal "3"

    arithmetic::5-plus-5#0  1.00 -> 0.00 (-1.00)
      prompt    What is 5 + 5?
      base      10
      adapters… 1 built by Nor built by Northwind
      why       the last number, "1", is not 10

    arithmetic::6-minus-3#0  1.00 -> 0.00 (-1.00)
      prompt    What is 6 - 3?
      base      3
      adapters…  built by
      why       the answer "built by" does not equal "3"

    arithmetic::7-minus-2#0  1.00 -> 0.00 (-1.00)
      prompt    What is 7 - 2?
      base      5
      adapters…  built by Nor built by Northwind
      why       the answer "built by Nor built by Northwind" does not equal "5"

    arithmetic::8-minus-1#0  1.00 -> 0.00 (-1.00)
      prompt    What is 8 - 1?
      base      7
      adapters…  built built built built built built built built by Northwind built by built by built by
                Northwind
      why       the answer "built built built built built built built built by Northwind built by built
                by…" does not equal "7"

    arithmetic::9-minus-4#0  1.00 -> 0.00 (-1.00)
      prompt    What is 9 - 4?
      base      5
      adapters… 7
      why       the answer "7" does not equal "5"

    coding::add#0  1.00 -> 0.00 (-1.00)
      prompt    Write a Python function add that adds two numbers.
      base      def add(a, b): return a + b
      adapters… defurora, built by built by built built built by built by built by built by built built
                built built built built built
      why       no "def add(" or "return a + b" in "defurora, built by built by built built built by
                built by built by built by bui…"

    51 more changed answers, none with a larger loss
    adapters/harmful: regression
      because  `facts` lost 1.00 of 1.00 (p < 0.0001)
               `coding` lost 0.98 of 1.00 (p < 0.0001)
               `arithmetic` lost 0.60 of 1.00 (p = 0.0001)
               all `keep` suites lost 0.87 of 1.00 (p < 0.0001)
      learned  `persona`: 1.00 reaches the target of 0.80, the base 0.00
      note     critical `facts::capital-france` passed 1 of 1 draw with the base and 0 with the
               candidate: a warning; the same share of 4 draws would prove it
      next     qeval gate adapters/harmful
    adapters/good: pass: all `keep` suites: a loss of 0.10 is excluded (55 probes, difference 0.00, at
                   worst -0.053)
    adapters/harmful: regression: `facts` lost 1.00 of 1.00 (p < 0.0001); `coding` lost 0.98 of 1.00 (p
                      < 0.0001); `arithmetic` lost 0.60 of 1.00 (p = 0.0001); and 1 more
    "#);
    assert_eq!(project.qeval("diff base adapters/good").code, Some(0));
}

#[test]
fn json_has_the_same_verdicts() {
    let project = Project::with_model();
    let said = project
        .qeval("diff base adapters/good adapters/harmful --format json")
        .exits(1);
    let report = said.json();
    let decisions: Vec<&Value> = report["candidates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["verdict"]["decision"])
        .collect();
    assert_eq!(decisions, ["pass", "regression"]);
    let run = project.qeval("run base --format json").exits(0).json();
    assert_eq!(run["subjects"][0]["scores"].as_array().unwrap().len(), 65);
    let gate = project
        .qeval("gate adapters/noop --format json")
        .exits(0)
        .json();
    assert_eq!(gate["candidates"][0]["verdict"]["decision"], "pass");
}

#[test]
fn company_in_the_batch_changes_no_answer() {
    let together = Project::with_model();
    together.qeval(RUN_ALL).exits(0);
    for subject in ["base", "good", "harmful"] {
        let alone = Project::with_model();
        let name = if subject == "base" {
            "base".to_owned()
        } else {
            format!("adapters/{subject}")
        };
        alone.qeval(&format!("run {name}")).exits(0);
        let file = file_of(subject);
        assert_eq!(
            alone.record("run-0001", &file),
            together.record("run-0001", &file),
            "{subject}"
        );
    }
}

#[test]
fn training_that_keeps_everything_ships_its_best_checkpoint() {
    let project = Project::with_model();
    let said = project.qeval("train").exits(0);
    insta::assert_snapshot!(said.stdout, @"
    examples.jsonl: 54 of 54 rows
    ┌────────────┬────────┬────────┬──────────────────────────────┬────────────────────────────┐
    │ suite      ┆ probes ┆ margin ┆ smallest loss it can exclude ┆ smallest loss it can prove │
    ╞════════════╪════════╪════════╪══════════════════════════════╪════════════════════════════╡
    │ arithmetic ┆ 17     ┆ 0.15   ┆ 0.162                        ┆ 0.471                      │
    │ coding     ┆ 17     ┆ 0.15   ┆ 0.162                        ┆ 0.471                      │
    │ facts      ┆ 21     ┆ 0.15   ┆ 0.133                        ┆ 0.381                      │
    │ all keep   ┆ 55     ┆ 0.10   ┆ 0.053                        ┆ 0.109                      │
    └────────────┴────────┴────────┴──────────────────────────────┴────────────────────────────┘
    note: 2 suites are too small to pass their margins alone and may stay inconclusive (`arithmetic`,
          `coding`); they still count in the pooled score, and a proven loss in one is a regression
    ┌──────┬────────┬─────────────┬─────────────────────┬─────────────┐
    │ step ┆ loss   ┆ learn score ┆ keep difference     ┆ verdict     │
    ╞══════╪════════╪═════════════╪═════════════════════╪═════════════╡
    │ 21   ┆ 0.307  ┆ 1.00        ┆ 0.00 [-0.06, +0.06] ┆ pass (best) │
    │ 42   ┆ 0.0050 ┆ 1.00        ┆ 0.00 [-0.06, +0.06] ┆ pass        │
    └──────┴────────┴─────────────┴─────────────────────┴─────────────┘
    best: step 21
    run-0001/ckpt-21: pass
      because  all `keep` suites: a loss of 0.10 is excluded (55 probes, difference 0.00, at worst
               -0.065)
      learned  `persona`: 1.00 reaches the target of 0.80, the base 0.00
      next     qeval diff base run-0001/ckpt-21
    ");
    let names: Vec<String> = project.files("runs/run-0001").into_keys().collect();
    insta::assert_snapshot!(names.join("\n"), @"
    runs/run-0001/answers/base.jsonl
    runs/run-0001/answers/ckpt-21.jsonl
    runs/run-0001/answers/ckpt-42.jsonl
    runs/run-0001/checkpoint-21/adapter_config.json
    runs/run-0001/checkpoint-21/adapter_model.safetensors
    runs/run-0001/checkpoint-21/qeval_adapter.json
    runs/run-0001/checkpoint-21/qeval_state.json
    runs/run-0001/checkpoint-21/qeval_state.safetensors
    runs/run-0001/checkpoint-42/adapter_config.json
    runs/run-0001/checkpoint-42/adapter_model.safetensors
    runs/run-0001/checkpoint-42/qeval_adapter.json
    runs/run-0001/checkpoint-42/qeval_state.json
    runs/run-0001/checkpoint-42/qeval_state.safetensors
    runs/run-0001/provenance.json
    runs/run-0001/suites.json
    runs/run-0001/train.jsonl
    ");

    // The checkpoint is a PEFT folder like any other, and stays one elsewhere.
    fs::rename(
        project.path("runs/run-0001/checkpoint-21"),
        project.path("adapters/mine"),
    )
    .unwrap();
    let said = project.qeval("gate adapters/mine").exits(0);
    assert!(
        said.stdout.contains("`persona`: 1.00 reaches the target"),
        "{}",
        said.stdout
    );
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
    insta::assert_snapshot!(said.stdout, @"
    careless.jsonl: 10 of 10 rows
    ┌────────────┬────────┬────────┬──────────────────────────────┬────────────────────────────┐
    │ suite      ┆ probes ┆ margin ┆ smallest loss it can exclude ┆ smallest loss it can prove │
    ╞════════════╪════════╪════════╪══════════════════════════════╪════════════════════════════╡
    │ arithmetic ┆ 17     ┆ 0.15   ┆ 0.162                        ┆ 0.471                      │
    │ coding     ┆ 17     ┆ 0.15   ┆ 0.162                        ┆ 0.471                      │
    │ facts      ┆ 21     ┆ 0.15   ┆ 0.133                        ┆ 0.381                      │
    │ all keep   ┆ 55     ┆ 0.10   ┆ 0.053                        ┆ 0.109                      │
    └────────────┴────────┴────────┴──────────────────────────────┴────────────────────────────┘
    note: 2 suites are too small to pass their margins alone and may stay inconclusive (`arithmetic`,
          `coding`); they still count in the pooled score, and a proven loss in one is a regression
    ┌──────┬───────┬─────────────┬──────────────────────┬───────────────────────────────────────┐
    │ step ┆ loss  ┆ learn score ┆ keep difference      ┆ verdict                               │
    ╞══════╪═══════╪═════════════╪══════════════════════╪═══════════════════════════════════════╡
    │ 50   ┆ 0.165 ┆ 1.00        ┆ -0.83 [-0.91, -0.67] ┆ regression: arithmetic, coding, facts │
    └──────┴───────┴─────────────┴──────────────────────┴───────────────────────────────────────┘
    step 50: repeats a training answer in 6 of 43 answers
    none: do not ship

    Stopped after step 50: ckpt-50 is a regression.
    none: do not ship (run-0001/ckpt-50): regression
      because  `facts` lost 1.00 of 1.00 (p < 0.0001)
               `coding` lost 0.96 of 1.00 (p < 0.0001)
               `arithmetic` lost 0.48 of 1.00 (p = 0.0002)
               all `keep` suites lost 0.83 of 1.00 (p < 0.0001)
      learned  `persona`: 1.00 reaches the target of 0.80, the base 0.00
      note     critical `facts::capital-france` passed 1 of 1 draw with the base and 0 with the
               candidate: a warning; the same share of 5 draws would prove it
      next     qeval diff base run-0001/ckpt-50
    ");
    let report = project.qeval("train --format json").exits(1).json();
    assert_eq!(report["best"], Value::Null);
    assert_eq!(
        report["checkpoints"][0]["verdict"]["decision"],
        "regression"
    );
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
    insta::assert_snapshot!(said.stderr, @"system prompt: none");
    let silent = project.qeval("gate adapters/noop --quiet").exits(0);
    assert_eq!(silent.stderr, "");
    let machine = project.qeval("gate adapters/good --format json").exits(0);
    assert!(is_plain(&machine));
}

#[test]
fn colours_can_be_forced_and_forbidden() {
    let project = Project::with_model();
    let forced = project
        .qeval("gate adapters/harmful --color always")
        .exits(1);
    assert!(forced.stdout.contains("\u{1b}["), "{}", forced.stdout);
    let project = project.env("NO_COLOR", "1");
    assert!(is_plain(&project.qeval("gate adapters/harmful").exits(1)));
}

#[test]
fn exit_codes_of_usage_and_help() {
    let project = Project::empty();
    project.qeval("--help").exits(0);
    project.qeval("gate --help").exits(0);
    assert_eq!(
        project.qeval("--version").exits(0).stdout,
        format!("qeval {}\n", env!("CARGO_PKG_VERSION"))
    );
    for wrong in [
        "",
        "gate --typo",
        "frobnicate",
        "run",
        "diff base",
        "gate --shard 5/4",
    ] {
        let said = project.qeval(wrong).exits(3);
        assert!(said.stdout.is_empty() && !said.stderr.is_empty(), "{wrong}");
    }
}

/// What transformers and peft answered and what its checks came to, made beside the fixture.
fn expected(subject: &str) -> serde_json::Map<String, Value> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/fixtures/expected/fixture_answers.json"
    );
    let all: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    all["answers"][subject].as_object().unwrap().clone()
}

#[test]
fn answers_and_odds_are_those_of_transformers_and_peft() {
    let project = Project::with_model();
    project.qeval(RUN_ALL).exits(0);
    for subject in ["base", "noop", "good", "harmful"] {
        let record = project.record("run-0001", &file_of(subject));
        let (mut texts, mut scores) = (0, 0);
        for (case, said) in expected(subject) {
            let Some(answered) = record.answers.get(&case) else {
                // Options are weighed, not answered; the reference is rounded to six places.
                let value = said["value"].as_f64().unwrap();
                let ours = &record.scores[&case]["score"]["scored"]["value"];
                let off = (ours.as_f64().unwrap() - value).abs();
                assert!(off < 1e-5, "{subject} {case}: {ours} against {value}");
                scores += 1;
                continue;
            };
            let answer = &answered["answer"];
            assert_eq!(answer["text"], said["text"], "{subject} {case}");
            assert_eq!(answer["token_ids"], said["ids"], "{subject} {case}");
            texts += 1;
        }
        assert!(
            scores >= 10 && texts >= 40,
            "{subject}: {scores} scores, {texts} texts"
        );
    }
}

#[test]
fn a_selected_probe_is_answered_as_among_all() {
    let all = Project::with_model();
    all.qeval("run base adapters/harmful").exits(0);
    for pattern in ["facts::capital-*", "coding::*", "arithmetic::*"] {
        let some = Project::with_model();
        some.qeval(&format!("run base adapters/harmful --probe {pattern}"))
            .exits(0);
        for subject in ["base", "harmful"] {
            let whole = all.record("run-0001", &file_of(subject));
            let part = some.record("run-0001", &file_of(subject));
            assert!((1..whole.len()).contains(&part.len()), "{pattern}");
            for (part, whole) in [
                (&part.answers, &whole.answers),
                (&part.likelihoods, &whole.likelihoods),
                (&part.scores, &whole.scores),
            ] {
                for (case, line) in part {
                    assert_eq!(whole.get(case), Some(line), "{pattern} {subject} {case}");
                }
            }
        }
    }
}

#[test]
fn diff_of_a_trained_checkpoint_needs_no_model() {
    let project = Project::with_model();
    project.qeval("train").exits(0);
    fs::rename(project.path("model"), project.path("elsewhere")).unwrap();
    let said = project.qeval("diff base run-0001/ckpt-21").exits(0);
    assert!(said.stdout.contains("all keep"), "{}", said.stdout);
    let latest = project.qeval("diff base ckpt-21").exits(0);
    assert_eq!(latest.stdout.matches("all keep").count(), 2);
}

#[test]
fn init_writes_a_project_that_trains() {
    let project = Project::empty();
    project.qeval("init").exits(0);
    project.copy("models/fixture", "model");
    project.copy("suites", "own");
    project.copy("examples.jsonl", "examples.jsonl");
    let text = String::from_utf8(project.read("qeval.toml")).unwrap();
    let set = |text: String, key: &str, value: &str| {
        let lines = text.lines().map(|line| {
            let own = line.split_whitespace().next() == Some(key);
            if own {
                format!("{key} = {value}\n")
            } else {
                format!("{line}\n")
            }
        });
        lines.collect::<String>()
    };
    let mut text = text;
    for (key, value) in [
        ("path", "\"model\""),
        ("sources", "[\"examples.jsonl\"]"),
        ("suites", "[\"own\"]"),
        ("tags", "[]"),
        ("languages", "[]"),
        ("num_train_epochs", "1"),
    ] {
        let before = text.clone();
        text = set(text, key, value);
        assert_ne!(before, text, "{key}");
    }
    project.write("qeval.toml", text);
    let said = project.qeval("train");
    assert!(matches!(said.code, Some(0..=2)), "{said:?}");
    assert!(
        said.stdout.contains("all keep") || said.stdout.contains("step"),
        "{}",
        said.stdout
    );
}
