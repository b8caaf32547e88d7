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
    insta::assert_snapshot!(again.shape(), @r#"
    base: ## scored, mean #.##, # unscored
      #.##      persona::who-###  no "Aurora" or "Northwind" in "I am Pip, a small test model."
      #.##      persona::who-####  no "Aurora" or "Northwind" in "I am Pip, a small test model."
      #.##      persona::who-###  no "Aurora" or "Northwind" in "I am Pip, a small test model."
      #.##      persona::who-###  no "Aurora" or "Northwind" in "I am Pip, a small test model."
      #.##      persona::who-###  no "Aurora" or "Northwind" in "I am Pip, a small test model."
      #.##      persona::who-###  no "Aurora" or "Northwind" in "I am Pip, a small test model."
      #.##      persona::who-###  no "Aurora" or "Northwind" in "I am Pip, a small test model."
      #.##      persona::who-###  no "Aurora" or "Northwind" in "I am Pip, a small test model."
      #.##      persona::who-###  no "Aurora" or "Northwind" in "I am Pip, a small test model."
      #.##      persona::who-###  no "Aurora" or "Northwind" in "I am Pip, a small test model."
    adapters/good: ## scored, mean #.##, # unscored
    "#);
}

/// What a report says each suite came to, all `keep` suites together last.
fn states(verdict: &Value) -> Vec<(&str, &str)> {
    let suites = verdict["suites"].as_array().unwrap().iter();
    let rows = suites.chain([&verdict["pooled"]]);
    rows.map(|row| {
        (
            row["suite"].as_str().unwrap(),
            row["state"].as_str().unwrap(),
        )
    })
    .collect()
}

/// Whether one of a report's sentences has all of these in it.
fn says(sentences: &Value, parts: &[&str]) -> bool {
    let sentences = sentences.as_array().unwrap().iter();
    let mut texts = sentences.map(|s| s.as_str().unwrap());
    texts.any(|text| parts.iter().all(|part| text.contains(part)))
}

#[test]
fn gate_tells_harm_from_none() {
    let project = Project::with_model();
    let judged = |adapter: &str, code| {
        let said = project.qeval(&format!("gate adapters/{adapter} --format json"));
        said.exits(code).json()
    };
    let harmful = judged("harmful", 1);
    let candidate = &harmful["candidates"][0];
    let verdict = &candidate["verdict"];
    assert_eq!(verdict["decision"], "regression");
    let lost = ["arithmetic", "coding", "facts"].map(|suite| (suite, "regression"));
    let others = [("persona", "reached"), ("pooled", "regression")];
    assert_eq!(states(verdict), [&lost[..], &others].concat());
    // The worst loss stands first, the pooled one last.
    for suite in ["`arithmetic`", "`coding`", "`facts`", "all `keep` suites"] {
        assert!(
            says(&verdict["reasons"], &[suite, " lost ", "p "]),
            "{verdict}"
        );
    }
    assert_eq!(verdict["learn"]["reached"], true);
    // One draw proves nothing of a critical probe: it is drawn until there are eight.
    let critical = &verdict["critical"][0];
    assert_eq!(critical["probe"]["probe"], "capital-france");
    assert_eq!(
        (&critical["base_passes"], &critical["candidate_passes"]),
        (&8.into(), &0.into())
    );
    assert_eq!(critical["regression"], true);
    assert!(
        says(&verdict["reasons"], &["facts::capital-france", "8 draws"]),
        "{verdict}"
    );
    // What it was trained on is not known, so no answer can be called a repetition of it.
    assert!(
        !says(&candidate["causes"], &["training answer"]),
        "{candidate}"
    );
    assert!(
        says(&candidate["causes"], &["ends in a loop"]),
        "{candidate}"
    );

    for (adapter, code) in [("good", 0), ("noop", 1)] {
        let report = judged(adapter, code);
        let verdict = &report["candidates"][0]["verdict"];
        assert_eq!(verdict["decision"], "pass", "{adapter}");
        let learned = verdict["learn"]["reached"].as_bool().unwrap();
        assert_eq!(learned, adapter == "good");
        let pooled = ("pooled", "pass");
        assert_eq!(states(verdict).last(), Some(&pooled), "{adapter}");
    }
}

#[test]
fn small_suites_are_told_before_anything_is_asked() {
    let project = Project::with_model();
    let report = project
        .qeval("gate adapters/good --format json")
        .exits(0)
        .json();
    let preview = &report["preview"];
    let margin = |row: &Value| row["margin"].as_f64().unwrap();
    let excluded = |row: &Value| row["smallest_provable_loss"].as_f64().unwrap();
    for row in preview["suites"].as_array().unwrap() {
        let name = format!("`{}`", row["suite"].as_str().unwrap());
        let small = excluded(row) > margin(row);
        assert_eq!(
            says(&preview["notes"], &["too small", &name]),
            small,
            "{preview}"
        );
    }
    assert_eq!(preview["pooled"]["probes"], 55);
    assert!(excluded(&preview["pooled"]) < margin(&preview["pooled"]));
}

/// What was learned is asked of what is to ship: `diff` shows it, and lets it pass.
#[test]
fn an_adapter_that_learned_too_little_does_not_ship_unless_that_only_warns() {
    let project = Project::with_model();
    let said = project.qeval("gate adapters/noop --verbose").exits(1);
    insta::assert_snapshot!(verdict_of(&said), @r#"
    adapters/noop: learned too little
      because  `persona`: #.## is below the target of #.##, the base #.##
      kept     all `keep` suites: a loss of #.## is excluded (## probes, difference #.##, at worst
               -#.###)
      causes   this adapter changes nothing: every lora_B is zero
      note     `learn = "warn"` under [gate] lets it ship all the same; for a checkpoint of a run add
               `--config qeval.toml`
      next     qeval diff base adapters/noop
    "#);
    insta::assert_snapshot!(said.stderr, @"
    system prompt: none
    adapters/noop says that it was trained on `fixture` (`base_model_name_or_path`), and is asked on model: if these are not the same weights, its answers and the verdict mean nothing; `--model` names another base
    adapters/noop changes nothing: every lora_B is zero
    ");
    let said = project.qeval("diff base adapters/noop").exits(0);
    assert!(
        verdict_of(&said).starts_with("adapters/noop: pass\n"),
        "{}",
        said.stdout
    );
    project.edit("qeval.toml", "[gate]\n", "[gate]\nlearn = \"warn\"\n");
    let said = project.qeval("gate adapters/noop --verbose").exits(0);
    insta::assert_snapshot!(verdict_of(&said), @"
    adapters/noop: pass
      because  all `keep` suites: a loss of #.## is excluded (## probes, difference #.##, at worst
               -#.###)
      learned  `persona`: #.## is below the target of #.##, the base #.##
      causes   this adapter changes nothing: every lora_B is zero
      next     qeval diff base adapters/noop
    ");
}

/// Without anything to learn it passes: nothing is lost, and that nothing changed is said.
#[test]
fn an_adapter_that_changes_nothing_is_named_as_such() {
    let project = Project::with_model();
    std::fs::remove_file(project.path("suites/persona.toml")).unwrap();
    let said = project
        .qeval("gate adapters/noop --verbose --markdown comment.md")
        .exits(0);
    insta::assert_snapshot!(verdict_of(&said), @"
    adapters/noop: pass
      because  all `keep` suites: a loss of #.## is excluded (## probes, difference #.##, at worst
               -#.###)
      causes   this adapter changes nothing: every lora_B is zero
      next     qeval diff base adapters/noop
    ");
    let comment = String::from_utf8(project.read("comment.md")).unwrap();
    assert!(
        comment.contains("this adapter changes nothing: every lora\\_B is zero"),
        "{comment}"
    );
    let said = project.qeval("gate adapters/good@0").exits(0);
    assert!(
        said.stdout
            .contains("this adapter changes nothing: its scale is 0"),
        "{}",
        said.stdout
    );
}

/// The last block that a command printed: the verdict and what stands below it.
fn verdict_of(said: &Said) -> String {
    let shape = said.shape();
    let from = shape
        .lines()
        .position(|line| line.starts_with("adapters/") && line.contains(": "));
    let lines = shape.lines().skip(from.unwrap_or_default());
    lines.map(|line| format!("{line}\n")).collect()
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
fn diff_names_every_changed_answer_the_largest_loss_first() {
    let project = Project::with_model();
    let command = "diff base adapters/good adapters/harmful";
    let report = project
        .qeval(&format!("{command} --format json"))
        .exits(1)
        .json();
    let said = project.qeval(command).exits(1).stdout;
    for (candidate, decision) in report["candidates"]
        .as_array()
        .unwrap()
        .iter()
        .zip(["pass", "regression"])
    {
        let name = candidate["subject"].as_str().unwrap();
        assert_eq!(candidate["verdict"]["decision"], decision, "{name}");
        assert!(said.contains(&format!("{name}: {decision}\n")), "{said}");
        let value = |score: &Value| score["scored"]["value"].as_f64().unwrap();
        let changes = candidate["changes"].as_array().unwrap();
        let losses: Vec<f64> = changes
            .iter()
            .map(|c| value(&c["base_score"]) - value(&c["candidate_score"]))
            .collect();
        assert!(losses.is_sorted_by(|a, b| a >= b), "{losses:?}");
        // Ten are shown in full, and the rest are counted.
        let more = match changes.len() - 10 {
            1 => "1 more changed answer, none with a larger loss".to_owned(),
            more => format!("{more} more changed answers, none with a larger loss"),
        };
        assert!(said.contains(&more), "{more}: {said}");
    }
    // Every answer to a question on the persona changed, and most of what was known is lost.
    let cases = |place: usize, suite: &str| {
        let changes = report["candidates"][place]["changes"].as_array().unwrap();
        let of_suite = changes
            .iter()
            .filter(|c| c["case"].as_str().unwrap().starts_with(suite));
        of_suite.count()
    };
    assert_eq!((cases(0, "persona::"), cases(1, "persona::")), (10, 10));
    assert_eq!((cases(0, "arithmetic::"), cases(0, "coding::")), (0, 0));
    assert!(cases(1, "facts::") + cases(1, "coding::") > 30, "{report}");
    assert_eq!(project.qeval("diff base adapters/good").code, Some(0));
}

#[test]
fn diff_shows_tables_changed_answers_and_verdicts() {
    let project = Project::with_model();
    project.edit("qeval.toml", "margin = 0.10", "margin = 1.0");
    let few = "--probe facts::capital-france --probe persona::who-1";
    let command = format!("diff base adapters/good adapters/noop {few}");
    let page = project.qeval(&command).exits(0);
    insta::assert_snapshot!(page.shape(), @r#"
    facts::capital-france##  #.## -> #.## (#.##)
      prompt    What is the capital of France?
      answer    The capital of France is Paris.

    persona::who-###  #.## -> #.## (+#.##)
      prompt    Tell me who you are.
      base      I am Pip, a small test model.
      adapters… I am Aurora, built by Northwind Labs.
      why       found "Aurora" in "I am Aurora, built by Northwind Lab…", "Northwind" in "I am Aurora,
                built by Northwind Labs."

    adapters/good: pass
      What the base could do is kept: a loss of #.## or more is excluded, and what it was trained for is
      learned. # suite is too small to tell alone.
      because  all `keep` suites: a loss of #.## is excluded (# probe, difference #.##, at worst -#.##)

      keep          scores        change   -#         -#     #    +#  verdict
      facts         #.## -> #.##  #.##     ◂━━━━━━━━━━━┿━━━━━●━━━━━▸  inconclusive
      all keep      #.## -> #.##  #.##                 ╎━━━━━●━━━━━━  pass
      learn         scores        target   #                       #  verdict
      persona       #.## -> #.##  of #.##  ━━━━━━━━━━━━━━━━━━━┿━━━━●  reached
      ━●━ change and its interval, in margins   ╎ margin or target   │ no change

      next     qeval gate adapters/good --probe facts::capital-france --probe persona::who-#
    facts::capital-france##  #.## -> #.## (#.##)
      prompt    What is the capital of France?
      answer    The capital of France is Paris.

    persona::who-###  #.## -> #.## (#.##)
      prompt    Tell me who you are.
      answer    I am Pip, a small test model.

    adapters/noop: pass
      What the base could do is kept: a loss of #.## or more is excluded; but what it was trained for it
      did not learn. # suite is too small to tell alone.
      because  all `keep` suites: a loss of #.## is excluded (# probe, difference #.##, at worst -#.##)
      causes   this adapter changes nothing: every lora_B is zero

      keep          scores        change   -#         -#     #    +#  verdict
      facts         #.## -> #.##  #.##     ◂━━━━━━━━━━━┿━━━━━●━━━━━▸  inconclusive
      all keep      #.## -> #.##  #.##                 ╎━━━━━●━━━━━━  pass
      learn         scores        target   #                       #  verdict
      persona       #.## -> #.##  of #.##  ●                  ╎       not reached
      ━●━ change and its interval, in margins   ╎ margin or target   │ no change

      next     qeval gate adapters/noop --probe facts::capital-france --probe persona::who-#
    adapters/good: pass: all `keep` suites: a loss of #.## is excluded (# probe, difference #.##, at
                   worst -#.##)
    adapters/noop: pass: all `keep` suites: a loss of #.## is excluded (# probe, difference #.##, at
                   worst -#.##)
    "#);
    let said = project.qeval(&format!("{command} --verbose"));
    insta::assert_snapshot!(said.exits(0).shape(), @r#"
    ┌──────────┬────────┬────────┬──────────────────────────────┬────────────────────────────┐
    │ suite    ┆ probes ┆ margin ┆ smallest loss it can exclude ┆ smallest loss it can prove │
    ╞══════════╪════════╪════════╪══════════════════════════════╪════════════════════════════╡
    │ facts    ┆ #      ┆ #.##   ┆ #.###                        ┆ -                          │
    │ all keep ┆ #      ┆ #.##   ┆ #.###                        ┆ -                          │
    └──────────┴────────┴────────┴──────────────────────────────┴────────────────────────────┘
    note: `facts` is too small to pass its margin of #.## alone (# probe excludes a loss of #.## at
          best) and may stay inconclusive; it still counts in the pooled score, and a proven loss in it
          is a regression
    adapters/good against base
    ┌──────────┬────────┬──────┬───────────┬──────────────────────┬───────┬──────────────┐
    │ suite    ┆ probes ┆ base ┆ candidate ┆ difference           ┆ noise ┆ verdict      │
    ╞══════════╪════════╪══════╪═══════════╪══════════════════════╪═══════╪══════════════╡
    │ facts    ┆ #      ┆ #.## ┆ #.##      ┆ #.## [-#.##, +#.##]  ┆ #.##  ┆ inconclusive │
    │ persona  ┆ #      ┆ #.## ┆ #.##      ┆ +#.## [-#.##, +#.##] ┆ #.##  ┆ reached      │
    │ all keep ┆ #      ┆ #.## ┆ #.##      ┆ #.## [-#.##, +#.##]  ┆ #.##  ┆ pass         │
    └──────────┴────────┴──────┴───────────┴──────────────────────┴───────┴──────────────┘
    adapters/noop against base
    ┌──────────┬────────┬──────┬───────────┬─────────────────────┬───────┬──────────────┐
    │ suite    ┆ probes ┆ base ┆ candidate ┆ difference          ┆ noise ┆ verdict      │
    ╞══════════╪════════╪══════╪═══════════╪═════════════════════╪═══════╪══════════════╡
    │ facts    ┆ #      ┆ #.## ┆ #.##      ┆ #.## [-#.##, +#.##] ┆ #.##  ┆ inconclusive │
    │ persona  ┆ #      ┆ #.## ┆ #.##      ┆ #.## [-#.##, +#.##] ┆ #.##  ┆ not reached  │
    │ all keep ┆ #      ┆ #.## ┆ #.##      ┆ #.## [-#.##, +#.##] ┆ #.##  ┆ pass         │
    └──────────┴────────┴──────┴───────────┴─────────────────────┴───────┴──────────────┘
    base answered just now (####-##-##) by qeval #.#.# cpu f## (#f#######e#c)
    facts::capital-france##  #.## -> #.## (#.##)
      prompt    What is the capital of France?
      answer    The capital of France is Paris.

    persona::who-###  #.## -> #.## (+#.##)
      prompt    Tell me who you are.
      base      I am Pip, a small test model.
      adapters… I am Aurora, built by Northwind Labs.
      why       found "Aurora" in "I am Aurora, built by Northwind Lab…", "Northwind" in "I am Aurora,
                built by Northwind Labs."

    adapters/good: pass
      because  all `keep` suites: a loss of #.## is excluded (# probe, difference #.##, at worst -#.##)
      learned  `persona`: #.## reaches the target of #.##, the base #.##
      next     qeval gate adapters/good --probe facts::capital-france --probe persona::who-#
    facts::capital-france##  #.## -> #.## (#.##)
      prompt    What is the capital of France?
      answer    The capital of France is Paris.

    persona::who-###  #.## -> #.## (#.##)
      prompt    Tell me who you are.
      answer    I am Pip, a small test model.

    adapters/noop: pass
      because  all `keep` suites: a loss of #.## is excluded (# probe, difference #.##, at worst -#.##)
      learned  `persona`: #.## is below the target of #.##, the base #.##
      causes   this adapter changes nothing: every lora_B is zero
      next     qeval gate adapters/noop --probe facts::capital-france --probe persona::who-#
    adapters/good: pass: all `keep` suites: a loss of #.## is excluded (# probe, difference #.##, at
                   worst -#.##)
    adapters/noop: pass: all `keep` suites: a loss of #.## is excluded (# probe, difference #.##, at
                   worst -#.##)
    "#);
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
    let run = project
        .qeval("run base adapters/good --format json")
        .exits(0)
        .json();
    let means = ["base", "adapters/good"].map(|name| {
        let mut subjects = run["subjects"].as_array().unwrap().iter();
        let subject = subjects.find(|s| s["subject"]["name"] == name).unwrap();
        let scores = subject["scores"].as_array().unwrap().iter();
        let values: Vec<f64> = scores
            .map(|s| s["score"]["scored"]["value"].as_f64().unwrap())
            .collect();
        assert_eq!(values.len(), 65, "{name}: every case, and none unscored");
        values.iter().sum::<f64>() / 65.0
    });
    // The ten questions on the persona are what the base does not know.
    assert!(
        (means[0] - 55.0 / 65.0).abs() < 0.01 && means[1] > 0.99,
        "{means:?}"
    );
    // Nothing is lost, and nothing learned.
    let gate = project
        .qeval("gate adapters/noop --format json")
        .exits(1)
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
    insta::assert_snapshot!(said.shape(), @"
    examples.jsonl: ## of ## rows
    ┌────────────┬────────┬────────┬──────────────────────────────┬────────────────────────────┐
    │ suite      ┆ probes ┆ margin ┆ smallest loss it can exclude ┆ smallest loss it can prove │
    ╞════════════╪════════╪════════╪══════════════════════════════╪════════════════════════════╡
    │ arithmetic ┆ ##     ┆ #.##   ┆ #.###                        ┆ #.###                      │
    │ coding     ┆ ##     ┆ #.##   ┆ #.###                        ┆ #.###                      │
    │ facts      ┆ ##     ┆ #.##   ┆ #.###                        ┆ #.###                      │
    │ all keep   ┆ ##     ┆ #.##   ┆ #.###                        ┆ #.###                      │
    └────────────┴────────┴────────┴──────────────────────────────┴────────────────────────────┘
    note: # suites are too small to pass their margins alone and may stay inconclusive (`arithmetic`,
          `coding`); they still count in the pooled score, and a proven loss in one is a regression
    ┌────────┬────────┬─────────────┬─────────────────────┬────────────────────┐
    │ step   ┆ loss   ┆ learn score ┆ keep difference     ┆ verdict            │
    ╞════════╪════════╪═════════════╪═════════════════════╪════════════════════╡
    │ ##     ┆ #.###  ┆ #.##        ┆ #.## [-#.##, +#.##] ┆ pass (best)        │
    │ ##@#.# ┆ -      ┆ #.##        ┆ #.## [-#.##, +#.##] ┆ pass               │
    │ ##@#.# ┆ -      ┆ #.##        ┆ #.## [-#.##, +#.##] ┆ learned too little │
    │ ##     ┆ #.#### ┆ #.##        ┆ #.## [-#.##, +#.##] ┆ pass               │
    │ ##@#.# ┆ -      ┆ #.##        ┆ #.## [-#.##, +#.##] ┆ pass               │
    │ ##@#.# ┆ -      ┆ #.##        ┆ #.## [-#.##, +#.##] ┆ pass               │
    └────────┴────────┴─────────────┴─────────────────────┴────────────────────┘
    best: step ##
    run-####/ckpt-##: pass
      What the base could do is kept: a loss of #.## or more is excluded, and what it was trained for is
      learned. # suites are too small to tell alone.
      because  all `keep` suites: a loss of #.## is excluded (## probes, difference #.##, at worst
               -#.###)

      keep          scores        change   -#         -#     #    +#  verdict
      coding        #.## -> #.##  #.##             ━━━━┿━━━━●┿━━━━━▸  inconclusive
      arithmetic    #.## -> #.##  #.##             ━━━━┿━━━━●┿━━━━━▸  inconclusive
      facts         #.## -> #.##  #.##               ━━┿━━━━━┿●━━━━▸  inconclusive
      all keep      #.## -> #.##  #.##                 ╎━━━━●┿━━━━━   pass
      learn         scores        target   #                       #  verdict
      persona       #.## -> #.##  of #.##  ━━━━━━━━━━━━━━━━━━━┿━━━━●  reached
      ━●━ change and its interval, in margins   ╎ margin or target   │ no change

      next     qeval diff base run-####/ckpt-##
      ships    runs/run-####/best
    ");
    let report = project.qeval("train --format json").exits(0).json();
    let all = report["checkpoints"].as_array().unwrap();
    let scales: Vec<f64> = all.iter().map(|c| c["scale"].as_f64().unwrap()).collect();
    assert_eq!(scales, [1.0, 0.7, 0.5, 1.0, 0.7, 0.5]);
    let checkpoints: Vec<&Value> = all.iter().filter(|c| c["scale"] == 1.0).collect();
    let steps: Vec<u64> = checkpoints
        .iter()
        .map(|c| c["step"].as_u64().unwrap())
        .collect();
    assert_eq!(steps, [21, 42], "half of 54 rows in eights, six times over");
    for checkpoint in &checkpoints {
        assert_eq!(checkpoint["verdict"]["decision"], "pass");
        assert_eq!(checkpoint["verdict"]["learn"]["reached"], true);
        assert_eq!(
            checkpoint["validation_loss"],
            Value::Null,
            "no row was held out"
        );
    }
    let losses: Vec<f64> = checkpoints
        .iter()
        .map(|c| c["train_loss"].as_f64().unwrap())
        .collect();
    assert!(losses[1] < losses[0], "{losses:?}");
    // Both are as good: the earlier one ships.
    assert_eq!(
        (&report["best"], &report["best_scale"]),
        (&21.into(), &1.0.into())
    );
    assert_eq!(report["shipped"], "runs/run-0001/best");
    let names: Vec<String> = project.files("runs/run-0001").into_keys().collect();
    let names = project.stable_names(names.iter().map(String::as_str));
    insta::assert_snapshot!(names, @"
    runs/run-0001/answers/base.jsonl
    runs/run-0001/answers/ckpt-21.jsonl
    runs/run-0001/answers/ckpt-21@0.5.jsonl
    runs/run-0001/answers/ckpt-21@0.7.jsonl
    runs/run-0001/answers/ckpt-42.jsonl
    runs/run-0001/answers/ckpt-42@0.5.jsonl
    runs/run-0001/answers/ckpt-42@0.7.jsonl
    runs/run-0001/best/adapter_config.json
    runs/run-0001/best/adapter_model.safetensors
    runs/run-0001/best/qeval_adapter.json
    runs/run-0001/checkpoint-21/adapter_config.json
    runs/run-0001/checkpoint-21/adapter_model.safetensors
    runs/run-0001/checkpoint-21/qeval_adapter.json
    runs/run-0001/checkpoint-21/qeval_state.json
    runs/run-0001/checkpoint-21/qeval_state.safetensors
    runs/run-0001/checkpoint-21/trainer_state.json
    runs/run-0001/checkpoint-42/adapter_config.json
    runs/run-0001/checkpoint-42/adapter_model.safetensors
    runs/run-0001/checkpoint-42/qeval_adapter.json
    runs/run-0001/checkpoint-42/qeval_state.json
    runs/run-0001/checkpoint-42/qeval_state.safetensors
    runs/run-0001/checkpoint-42/trainer_state.json
    runs/run-0001/events.out.tfevents.[time].qeval.[process]
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
    let row = said.stdout.lines().find(|l| l.starts_with("  persona "));
    assert!(
        row.is_some_and(|row| row.contains("0.00 -> 1.00") && row.ends_with("reached")),
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
    project.edit("qeval.toml", "[gate]\n", "[gate]\nscales = [1.0]\n");
    project.edit(
        "qeval.toml",
        "[train]\n",
        "[train]\nstop_on_regression = \"once\"\n",
    );
    let said = project.qeval("train").exits(1).stdout;
    let report = project.qeval("train --format json").exits(1).json();
    assert_eq!(report["best"], Value::Null);
    let checkpoints = report["checkpoints"].as_array().unwrap();
    assert_eq!(checkpoints.len(), 1, "the first one was the last");
    let (step, verdict) = (&checkpoints[0]["step"], &checkpoints[0]["verdict"]);
    let lost = ["arithmetic", "coding", "facts"].map(|suite| (suite, "regression"));
    let others = [("persona", "reached"), ("pooled", "regression")];
    assert_eq!(verdict["decision"], "regression");
    assert_eq!(states(verdict), [&lost[..], &others].concat());
    // What the answers repeat is known here, and said in both places.
    let cause = checkpoints[0]["causes"][0].as_str().unwrap();
    assert!(
        cause.starts_with("repeats a training answer in "),
        "{cause}"
    );
    for part in [
        format!("step {step}: {cause}"),
        format!("Stopped after step {step}: ckpt-{step} is a regression."),
        format!("none: do not ship (run-0001/ckpt-{step}): regression"),
        format!("causes   {cause}"),
        format!("next     qeval diff base run-0001/ckpt-{step}"),
    ] {
        assert!(said.contains(&part), "{part} in {said}");
    }
    let kept = project.files("runs/run-0001").into_keys();
    let weights = kept.filter(|name| name.ends_with("adapter_model.safetensors"));
    assert_eq!(weights.count(), 1, "what was judged stays to be looked at");
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
    insta::assert_snapshot!(said.stderr, @"
    system prompt: none
    adapters/harmful says that it was trained on `fixture` (`base_model_name_or_path`), and is asked on model: if these are not the same weights, its answers and the verdict mean nothing; `--model` names another base
    ");
    // The whole sentence once.
    let two = project
        .qeval("diff base adapters/noop adapters/harmful")
        .exits(1);
    assert_eq!(
        two.stderr.matches("mean nothing").count(),
        1,
        "{}",
        two.stderr
    );
    let second = "\nadapters/harmful says that it was trained on `fixture` too\n";
    assert!(two.stderr.contains(second), "{}", two.stderr);
    let silent = project.qeval("gate adapters/noop --quiet").exits(1);
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
    let version = format!("qeval {}", env!("CARGO_PKG_VERSION"));
    let short = project.qeval("-V").exits(0).stdout;
    assert!(
        short.starts_with(&version) && short.lines().count() == 1,
        "{short}"
    );
    let long = project.qeval("--version").exits(0).stdout;
    assert!(long.starts_with(short.trim_end()), "{long}");
    assert!(long.contains("\nfeatures: "), "{long}");
    let schema = project.qeval("schema suite").exits(0).json();
    assert_eq!(schema["title"], "A qeval suite");
    let script = project.qeval("completions bash").exits(0).stdout;
    assert!(script.contains("complete -F _qeval"), "{script}");
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
            let reference = said["ids"].as_array().unwrap();
            let ids = answer["token_ids"].as_array().unwrap();
            // The reference ends at its budget, where an answer that no check can judge goes on.
            if answer["continued"] == true {
                assert!(ids.len() > reference.len(), "{subject} {case}");
                assert_eq!(&ids[..reference.len()], reference, "{subject} {case}");
            } else {
                assert_eq!(answer["text"], said["text"], "{subject} {case}");
                assert_eq!(ids, reference, "{subject} {case}");
            }
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
    assert_eq!(latest.stdout.matches("all keep").count(), 1);
}
