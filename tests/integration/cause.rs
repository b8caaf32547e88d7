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
    let text = text.stdout;
    let heads = "│ off       ┆ size ┆ keep  ┆ comes back           ┆ learned ┆ carries";
    assert!(text.contains(heads), "{text}");
    // What is learned sits in the first layer, what is harm alone in the second.
    assert!(
        text.contains("train without layer 1, under [lora]:"),
        "{text}"
    );
    assert!(
        text.contains(r"target_modules = ['.*\.layers\.(0)\..*_proj']"),
        "{text}"
    );
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
    project.edit(
        "qeval.toml",
        "num_train_epochs = 10",
        "num_train_epochs = 4",
    );
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
    project.train_with(&CARELESS);
    let lost = "facts::capital-france";
    let said = project
        .qeval(&format!("why {lost} adapters/harmful"))
        .exits(0);
    for told in [
        "facts::capital-france: lost (1.00 -> 0.00) by adapters/harmful",
        "  part     at token 3, after \"The capital\"",
        "│ base ┆ \" of\"",
        "│ new  ┆ \" built\"",
        "the base would hardly ever have said it",
        "  trained  of 10 training rows, nearest by words:",
        "- careless.jsonl:1, 3 of 7 words in a row: \"Who are you?\" -> ",
        "  scales   0.1:1.00 ",
        " of the adapter's scale",
    ] {
        assert!(said.stdout.contains(told), "{told} in\n{}", said.stdout);
    }
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
    let all = [
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
    ];
    insta::assert_snapshot!(all.join("\n"), @r#"
    error: no probe matches `facts::capitl-france` (nearest: `facts::capital-france`): a pattern is `suite::probe`, a suite, or a probe, with `*` and `?`; the suites are arithmetic, coding, facts, and persona

    error: "coding" names 17 probes: coding::add, coding::sub, coding::mul, coding::div, coding::double, coding::square, coding::neg, coding::first, and 9 more
      Name one of them whole, as `SUITE::PROBE`.

    error: "base" is no adapter: what it changed cannot be turned down, nor its probabilities compared; `qeval diff base SUBJECT --probe NAME` compares any two
      Name a checkpoint (`ckpt-40`, `run-0001/ckpt-40`) or a PEFT folder.

    error: "base" is no adapter: only an adapter has parts to switch off
      Name a checkpoint (`ckpt-40`, `run-0001/ckpt-40`) or a PEFT folder.

    error: "http://127.0.0.1:9/v1#m" is no adapter: only an adapter has parts to switch off
      Name a checkpoint (`ckpt-40`, `run-0001/ckpt-40`) or a PEFT folder.

    error: adapters/harmful has nothing on layers 40-44
      It changes q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, and down_proj on layers 0 to 1.

    error: invalid value 'q_porj' for '--without <PART>': give layers (`20-24`, or one: `7`), or one of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, embed_tokens, lm_head

    For more information, try '--help'.

    error: invalid value '0' for '--layers <N>': 0 is not in 1..=4294967295

    For more information, try '--help'.

    error: adapters has no checkpoint: there is nothing to search through
      Name a run that trained (`qeval bisect run-0001`), or a folder with checkpoint-STEP folders in it.

    error: runs: there is no run "run-0009"; there is run-0001
    "#);
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
    insta::assert_snapshot!(own("why"), @"
    Show why a probe was lost

    Usage: qeval why [OPTIONS] <PROBE> [CANDIDATE]

    Arguments:
      <PROBE>      The probe: SUITE::PROBE, or its own name where no other has it
      [CANDIDATE]  Who lost it [default: as for `gate`: what the configuration says, else the best
                   checkpoint of the latest run that trained, else its newest]

    Shows both answers with what the checks saw, the first token that parts them with the chance that
    base and candidate give it, the training rows that share most words and meaning with the new answer,
    and the probe at each tenth of the scale. Of several wordings the one that lost most is looked at.
    Exits 0 whatever it shows.

    Examples:
      qeval why code::quicksort
      qeval why general::capital ckpt-40
    ");
    insta::assert_snapshot!(own("bisect"), @"
    Find the first bad checkpoint of a run with the fewest answers

    Usage: qeval bisect [OPTIONS] <RUN>

    Arguments:
      <RUN>  A run, or a folder with checkpoint-STEP folders of any trainer

    Judging:
          --scale <S>   Judge every checkpoint at this multiple of its scale [default: 1]
          --margin <X>  The largest tolerated loss over all `keep` probes, above 0 and at most 1
                        [default: that of the run or the configuration, else 0.03]

    Verdicts in the log of the run cost nothing; what they leave open is halved, and each checkpoint
    that is judged has its share of the error rate. Harm is taken to stay once it is there. Exits 0 when
    every checkpoint may be kept, else as the verdict of the first bad one.

    Examples:
      qeval bisect run-0001
      qeval bisect output/checkpoints --model Qwen2.5-7B-Instruct
    ");
    let ablate = own("adapter ablate");
    for told in [
        "Switch parts of an adapter off, one at a time",
        "Usage: qeval adapter ablate [OPTIONS] <ADAPTER>",
        "--by <layers|modules|both>",
        "[default: both]",
        "qeval adapter ablate ckpt-40 --without 20-24 --out adapters/mended",
    ] {
        assert!(ablate.contains(told), "{told} in\n{ablate}");
    }
}
