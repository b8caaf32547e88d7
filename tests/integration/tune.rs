//! `qeval tune` end to end: what it chooses trains, what is finished is never repeated, and what
//! cannot be tuned is refused before anything is computed.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::project::{Project, Said};
use crate::resume::interrupt;

/// A budget so large that its rungs do not depend on how fast this machine is at the moment.
const TUNE: &str = "tune --full-runs 500 --format json";

fn tuning_project() -> Project {
    let project = Project::with_model();
    let settings = String::from_utf8(project.read("qeval.toml")).unwrap();
    let tune = "[tune]\nlearning_rate = [1e-4, 6e-3]  # low ones learn nothing here\n\
                rank = [2, 4]\nnum_train_epochs = [3, 6]\nsettings = 6\n";
    project.write("qeval.toml", format!("# Mine.\n{settings}{tune}"));
    project
}

/// What a tuning leaves that must not depend on how it got there.
fn result(project: &Project) -> (Value, BTreeMap<String, Vec<u8>>) {
    let mut tuning = stored(project);
    let tuning = tuning.as_object_mut().unwrap();
    // Measured times differ, and what they are said to add up to.
    tuning.remove("spent");
    for key in [
        "step_seconds",
        "answer_seconds",
        "budget_seconds",
        "memory_free",
    ] {
        tuning["plan"].as_object_mut().unwrap().remove(key);
    }
    let mut files = project.files("runs/tune-0001");
    files.retain(|name, _| name.contains("checkpoint-") || name.ends_with(".svg"));
    (Value::Object(tuning.clone()), files)
}

fn stored(project: &Project) -> Value {
    serde_json::from_slice(&project.read("runs/tune-0001/tuning.json")).unwrap()
}

#[track_caller]
fn assert_same(project: &Project, expected: &(Value, BTreeMap<String, Vec<u8>>)) {
    let (tuning, files) = result(project);
    assert_eq!(tuning, expected.0);
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&files), names(&expected.1));
    for (name, bytes) in &files {
        assert!(*bytes == expected.1[name], "{name} differs");
    }
}

#[test]
fn the_chosen_file_trains_and_finished_work_is_not_repeated() {
    let project = tuning_project();
    let report = project.qeval(TUNE).exits(0).json();
    let tuning = &report["tuning"];
    let plan = &tuning["plan"];
    assert_eq!(
        (&report["version"], &tuning["version"]),
        (&1.into(), &1.into())
    );
    assert_eq!(plan["settings"].as_array().unwrap().len(), 6);
    let configured = &plan["settings"][0];
    assert_eq!(
        (&configured["rank"], &configured["learning_rate"]),
        (&4.into(), &3e-3.into())
    );
    // Six settings to half of their steps, three to their end, each at three scales.
    let looks = |rung: u64| {
        let points = tuning["points"].as_array().unwrap().iter();
        points.filter(|p| p["rung"] == rung).count()
    };
    assert_eq!(looks(0), 18);
    assert!((3..=9).contains(&looks(1)), "{}", looks(1));
    let planned: u64 = plan["rungs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["steps"].as_u64().unwrap())
        .sum();
    assert!(tuning["spent"]["steps"].as_u64().unwrap() <= planned);
    // Half of the probes had no part in it.
    let chosen_on = plan["chosen_on"].as_array().unwrap().len() as u64;
    assert!(
        chosen_on * 2 <= plan["probes"].as_u64().unwrap() + 4,
        "{chosen_on}"
    );
    let choice = &tuning["choice"];
    let best = report["frontier"]
        .as_array()
        .unwrap()
        .iter()
        .any(|p| (&p["setting"], &p["scale"]) == (&choice["setting"], &choice["scale"]));
    assert!(best, "what was chosen is on the frontier: {report}");

    let svg = String::from_utf8(project.read("runs/tune-0001/frontier.svg")).unwrap();
    assert!(
        svg.starts_with("<svg ") && svg.contains("chosen: "),
        "{svg}"
    );
    let written = String::from_utf8(project.read("qeval.tuned.toml")).unwrap();
    let own = String::from_utf8(project.read("qeval.toml")).unwrap();
    assert!(
        written.starts_with("# Written by `qeval tune` (tune-0001)"),
        "{written}"
    );
    assert!(written.contains("# Mine.") && written.contains("# low ones learn nothing here"));
    let others = |text: &str| -> Vec<String> {
        let keys = [
            "rank",
            "alpha",
            "target_modules",
            "learning_rate",
            "num_train_epochs",
            "# Written",
        ];
        let lines = text.lines().take_while(|line| *line != "[tune]");
        let lines = lines.filter(|line| keys.iter().all(|key| !line.starts_with(key)));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(others(&written), others(&own));

    let before = project.files("runs");
    let again = project.qeval(TUNE).exits(0).json();
    assert_eq!(again, report);
    assert_eq!(project.files("runs"), before, "nothing is done twice");

    let train = project
        .qeval("train qeval.tuned.toml --format json")
        .exits(0)
        .json();
    assert!(train["best"].is_number(), "{train}");
}

#[test]
fn a_confirmed_choice_is_told_on_the_probes_that_did_not_choose_it() {
    let project = tuning_project();
    let said = project
        .qeval("tune --full-runs 500 --settings 2 --confirm")
        .exits(0);
    assert!(said.stdout.contains("chosen: setting"), "{}", said.stdout);
    assert!(said.stdout.contains("best: step"), "{}", said.stdout);
    let last = said.stdout.lines().rev().take(3).collect::<Vec<_>>();
    let last = last.into_iter().rev().collect::<Vec<_>>().join(" ");
    assert!(
        last.contains("Without the") && last.contains("that chose it"),
        "{last}"
    );
    let again = project
        .qeval("tune --full-runs 500 --settings 2 --confirm --format json")
        .exits(0);
    let told: serde_json::Value = serde_json::from_str(&again.stdout).expect("one document");
    assert!(told["confirmed"]["best"].is_number(), "{told}");
    assert!(told["unseen"]["decision"].is_string(), "{told}");
    assert!(told["tuning"]["plan"].is_object(), "{told}");
}

#[test]
fn an_interrupted_tuning_goes_on_where_it_was() {
    let undisturbed = tuning_project();
    let expected = undisturbed.qeval(TUNE).exits(0);
    let expected = (expected, result(&undisturbed));
    let moments: [&dyn Fn(&Project) -> bool; 2] = [
        // While the third setting trains.
        &|p| folder_is_there(p, "setting-03"),
        // While adapters are asked.
        &|p| has_answers(p, "runs/tune-0001/answers"),
    ];
    for reached in moments {
        let project = tuning_project();
        let said = interrupt(&project, &format!("{TUNE} --slots 1 --threads 1"), reached);
        assert!(
            said.refusal()
                .contains("interrupted; what was finished is kept")
        );
        let finished = project.files("runs/tune-0001");
        project.qeval(TUNE).exits(0);
        assert_same(&project, &expected.1);
        for (name, bytes) in finished
            .iter()
            .filter(|(name, _)| name.contains("checkpoint-"))
        {
            assert_eq!(&project.read(name), bytes, "{name} was made again");
        }
    }
}

#[test]
fn a_killed_tuning_goes_on_where_it_was() {
    let undisturbed = tuning_project();
    undisturbed.qeval(TUNE).exits(0);
    let expected = result(&undisturbed);
    let project = tuning_project();
    for setting in ["setting-02", "setting-05"] {
        let mut child = project.start(&format!("{TUNE} --slots 1 --threads 1"));
        while !folder_is_there(&project, setting) {
            assert!(
                child.try_wait().unwrap().is_none(),
                "it ended before {setting}"
            );
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    project.qeval(TUNE).exits(0);
    assert_same(&project, &expected);
}

fn folder_is_there(project: &Project, setting: &str) -> bool {
    project.path(&format!("runs/tune-0001/{setting}")).is_dir()
}

fn has_answers(project: &Project, folder: &str) -> bool {
    let files = fs::read_dir(project.path(folder)).into_iter().flatten();
    files.filter_map(Result::ok).any(|file| {
        let name = file.file_name().to_string_lossy().into_owned();
        let text = fs::read_to_string(file.path()).unwrap_or_default();
        name.contains("setting") && text.contains("answered")
    })
}

#[test]
fn a_plan_alone_tries_nothing() {
    let project = tuning_project();
    let plan = project.qeval("tune --plan --format json").exits(0).json();
    assert_eq!(plan["plan"]["settings"].as_array().unwrap().len(), 6);
    assert!(!project.path("runs/tune-0001").exists());
    assert!(!project.path("qeval.tuned.toml").exists());
    let said = project.qeval("tune --plan").exits(0);
    assert!(
        said.stdout
            .contains("6 settings, the configured one among them"),
        "{}",
        said.stdout
    );
}

/// What `qeval tune` refuses, after a change to the project.
fn refused(arguments: &str, change: impl Fn(&Project)) -> Said {
    let project = tuning_project();
    change(&project);
    let said = project.qeval(&format!("tune {arguments}"));
    assert!(
        !project.path("runs/tune-0001").exists(),
        "something was tried"
    );
    said
}

#[test]
fn what_cannot_be_tuned_is_refused_before_anything_is_tried() {
    let keep =
        "--suite suites/arithmetic.toml --suite suites/facts.toml --suite suites/coding.toml";
    let nothing = |_: &Project| {};
    let refusals = [
        refused(keep, nothing),
        refused("", |p| {
            p.edit(
                "qeval.toml",
                "settings = 6",
                "target_modules = [[\"q_prj\"]]",
            )
        }),
        refused("", |p| {
            p.edit("qeval.toml", "settings = 6", "rehearsal_weight = [1, 10]")
        }),
        refused("", |p| {
            p.edit(
                "qeval.toml",
                "num_train_epochs = [3, 6]",
                "num_train_epochs = [6]\ntarget_modules = [\"all-linear\"]",
            );
            p.edit("qeval.toml", "rank = [2, 4]", "rank = [4]");
            p.edit("qeval.toml", "[1e-4, 6e-3]", "[3e-3, 3e-3]");
        }),
        refused("", |p| {
            p.edit(
                "qeval.toml",
                "num_train_epochs = [3, 6]",
                "num_train_epochs = [0.2]",
            );
        }),
        refused("", |p| p.write("qeval.tuned.toml", "# mine\n")),
        refused("", |p| {
            p.edit(
                "qeval.toml",
                "sources = [\"examples.jsonl\"]",
                "sources = []",
            )
        }),
        refused("--minutes 0", nothing),
    ];
    let told: Vec<String> = refusals.into_iter().map(Said::refusal).collect();
    insta::assert_snapshot!(told.join("--\n"), @r#"
    error: there is nothing to learn: no suite that is asked has `goal = "learn"`, or all its probes stand in the training data
      Tuning maximizes the score of such suites. Write one, or name one with `--suite` beside the others: `qeval help suites`.
    --
    error: setting 2 of [tune] (4.5e-4 r4 q_prj e6) cannot be trained: `target_modules`: "q_prj" fits no linear layer of this base; possible are all-linear, q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, or paths of modules
    --
    error: [tune] rehearsal_weight names weights, but nothing is rehearsed: each of them would train the same
      Name prompts with `rehearsal` under [data], or take the key out.
    --
    error: [tune] holds one setting, the configured one: there is nothing to choose
      Give a key under [tune] more values, or train it: `qeval train`.
    --
    error: a run of 2 steps is too short to be halved: the first rung would have less than two
      Raise num_train_epochs, under [tune] too, or lower gradient_accumulation_steps.
    --
    error: qeval.tuned.toml is there, and `qeval tune` has not written it
      The chosen setting goes there: move the file away.
    --
    error: [data]: no examples: `sources` is empty
    (training needs a file at least: sources = ["data/identity.jsonl"])
    --
    error: invalid value '0' for '--minutes <M>': give a number above 0, such as 6 or 2.5

    For more information, try '--help'.
    "#);
}

#[test]
fn a_time_that_does_not_hold_it_is_refused_with_one_that_does() {
    let project = tuning_project();
    let refusal = project.qeval("tune --minutes 0.0001").refusal();
    assert!(
        refusal.contains("6 settings take ") && refusal.contains(" at least, and "),
        "{refusal}"
    );
    let (_, way_out) = refusal.split_once("Way out: ").unwrap();
    // The way out is one: what it says is enough, whatever the machine does meanwhile.
    assert!(way_out.contains("`--minutes 1`"), "{way_out}");
    project.qeval("tune --plan --minutes 1").exits(0);
}
