//! What looks for the cause of a loss, end to end on the fixture model: `adapter ablate`, `bisect`,
//! `why`.

use std::fs;

use serde_json::Value;

use crate::project::{CARELESS, Project};

/// The lines of a text that begin with one of these words.
fn lines<'a>(text: &'a str, leads: &[&str]) -> Vec<&'a str> {
    let begins = |line: &&str| leads.iter().any(|lead| line.trim_start().starts_with(lead));
    text.lines().filter(begins).collect()
}

#[test]
fn parts_of_a_harmful_adapter_are_switched_off() {
    let project = Project::with_model();
    let text = project.qeval("adapter ablate adapters/harmful").exits(0);
    insta::assert_snapshot!(text.shape(), @"");
    let json = project
        .qeval("adapter ablate adapters/harmful --format json")
        .exits(0)
        .json();
    let parts: Vec<&str> = json["parts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| part["typed"].as_str().unwrap())
        .collect();
    assert_eq!(parts.len(), 9, "{parts:?}");
    // Layers alone, modules alone.
    let by = |what: &str| {
        let asked = format!("adapter ablate adapters/harmful --by {what} --format json");
        project.qeval(&asked).exits(0).json()["parts"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!([by("layers"), by("modules")], [2, 7]);
}

/// The folder that is written answers as the adapter did with the part off.
#[test]
fn an_adapter_without_a_part_is_written_as_it_was_measured() {
    let project = Project::with_model();
    let asked = "adapter ablate adapters/harmful --without 1 --all --format json";
    let json = project
        .qeval(&format!("{asked} --out adapters/mended"))
        .exits(0)
        .json();
    assert_eq!(json["written"]["part"], "layer 1");
    assert_eq!(json["written"]["folder"], "adapters/mended");
    let gated = project.qeval("gate adapters/mended --format json").json();
    let row = &json["parts"][0]["kept"];
    let verdict = &gated["candidates"][0]["verdict"]["pooled"]["estimate"];
    assert!(row["difference"].is_number());
    for key in ["difference", "probes", "losses", "gains"] {
        assert_eq!(row[key], verdict[key], "{key}");
    }
    // What is there is not replaced.
    let again = project.qeval(&format!("{asked} --out adapters/mended"));
    assert!(again.refusal().contains("something is there already"));
}

#[test]
fn the_first_bad_checkpoint_is_found_by_halves() {
    let project = Project::with_model();
    project.train_with(&CARELESS);
    project.edit("qeval.toml", "save_steps = 0.5", "save_steps = 0.25");
    project.edit("qeval.toml", "learning_rate = 1e-2", "learning_rate = 2e-3");
    project.edit(
        "qeval.toml",
        "seed = 2",
        "seed = 2\nstop_on_regression = \"never\"",
    );
    let trained = project.qeval("train");
    let said = project.qeval("bisect run-0001");
    assert!(
        matches!(said.code, Some(0..=2)),
        "{}\n{}",
        trained.stdout,
        said.stderr
    );
    let from_log = project.qeval("bisect run-0001 --format json").json();
    assert_eq!(from_log["asked"], 0, "{from_log}");
    assert_eq!(from_log["path"].as_array().unwrap().len(), 0);
    // Without the log nothing is known, and half of the checkpoints are judged.
    let folder = "runs/run-0001";
    fs::create_dir(project.path("checkpoints")).unwrap();
    for entry in fs::read_dir(project.path(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("checkpoint-") {
            fs::rename(entry.path(), project.path(&format!("checkpoints/{name}"))).unwrap();
        }
    }
    let judged = project.qeval("bisect checkpoints --format json").json();
    let steps = |report: &Value, key: &str| report[key].as_array().unwrap().len();
    let all = from_log["looks"].as_array().unwrap().len();
    assert!(
        steps(&judged, "path") < all && steps(&judged, "path") > 0,
        "{judged}"
    );
    assert!(
        judged["asked"].as_u64() < judged["asked_for_all"].as_u64(),
        "{judged}"
    );
    // The folders are gone, and the log still knows.
    let gone = project.qeval("bisect run-0001 --format json").json();
    assert_eq!(steps(&gone, "gone"), all);
    assert_eq!(gone["first_bad"], from_log["first_bad"]);
}

#[test]
fn a_lost_probe_is_explained() {
    let project = Project::with_model();
    let lost = "facts::capital-france";
    let said = project
        .qeval(&format!("why {lost} adapters/harmful"))
        .exits(0);
    insta::assert_snapshot!(said.shape(), @"");
    let json = project
        .qeval(&format!("why {lost} adapters/harmful --format json"))
        .exits(0)
        .json();
    assert_eq!(json["state"], "lost");
    assert_eq!(json["scales"].as_array().unwrap().len(), 10);
    // What is printed to be typed next works.
    let next = lines(&said.stdout, &["next"])[0].trim_start_matches("  next     qeval ");
    let next = project.qeval(next);
    assert!(matches!(next.code, Some(0..=2)), "{}", next.stderr);
}

#[test]
fn what_cannot_be_explained_is_refused_with_the_way_out() {
    let project = Project::with_model();
    let refused = |asked: &str| project.qeval(asked).refusal();
    insta::assert_snapshot!([
        refused("why facts::capitl-france adapters/harmful"),
        refused("why coding adapters/harmful"),
        refused("why facts::capital-france base"),
        refused("adapter ablate base"),
        refused("adapter ablate http://127.0.0.1:9/v1#m"),
        refused("adapter ablate adapters/harmful --without 40-44"),
        refused("adapter ablate adapters/harmful --without q_porj"),
        refused("adapter ablate adapters/harmful --layers 0"),
        refused("bisect adapters"),
        refused("bisect run-0009"),
    ].join("\n"), @"");
}

/// Help without the sections that are the same in `gate --help`.
#[test]
fn help_says_what_each_of_them_does() {
    let project = Project::empty();
    let gate = project.qeval("gate --help").exits(0).stdout;
    let own = |command: &str| {
        let text = project.qeval(&format!("{command} --help")).exits(0).stdout;
        let own: Vec<&str> = text
            .split("\n\n")
            .filter(|section| !gate.contains(section.trim_end()))
            .collect();
        own.join("\n\n")
    };
    insta::assert_snapshot!(own("why"), @"");
    insta::assert_snapshot!(own("bisect"), @"");
    insta::assert_snapshot!(own("adapter ablate"), @"");
}
