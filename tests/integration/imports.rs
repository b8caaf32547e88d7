//! Imports beside the programs themselves: what lm-evaluation-harness and promptfoo ask and count
//! as right for the files of `fixtures/import` stands in `fixtures/expected`, and the scripts that
//! wrote it in `fixtures/reference`. Every document and every test is imported the same, or named.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use qeval::check::registry::{build, score_of_text};
use qeval::flow::{CheckSpec, Expect, Golden, Probe, Suite};
use qeval::import::{ImportSource, Imported, import};
use qeval::suite::{SuiteSource, load};
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
}

fn expected(name: &str) -> Value {
    let text = std::fs::read_to_string(fixture("expected").join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn loaded(imported: &Imported) -> Suite {
    let source = SuiteSource::new("imported.toml", imported.toml.as_str());
    load(&[source], &BTreeMap::new()).unwrap().remove(0)
}

/// Whether a note names the place, or so many that it names only some.
fn names(imported: &Imported, place: &str) -> bool {
    let mut places = imported.not_carried.iter().map(|note| note.place.as_str());
    places.any(|all| all.contains("more") || all.split(", ").any(|one| one == place))
}

fn texts(value: &Value) -> Vec<String> {
    let texts = value.as_array().unwrap().iter();
    texts
        .map(|text| text.as_str().unwrap().trim().to_owned())
        .collect()
}

/// What a check wants of a document, and what the harness counts as right.
fn assert_right(check: &CheckSpec, theirs: &Value, place: &str) {
    let params = &check.params;
    let wanted = |key: &str| match &params[key] {
        Value::Array(_) => texts(&params[key]),
        one => vec![one.as_str().unwrap().to_owned()],
    };
    match check.kind.as_str() {
        "choice" => {
            assert_eq!(
                texts(&params["options"]),
                texts(&theirs["options"]),
                "{place}"
            );
            let right = theirs["right"].as_array().unwrap();
            let [right] = right.as_slice() else {
                panic!("{place}: {right:?}")
            };
            let right = &theirs["options"][usize::try_from(right.as_u64().unwrap()).unwrap()];
            assert_eq!(params["answer"], right.as_str().unwrap().trim(), "{place}");
        }
        "likelihood" => {
            assert_eq!(
                params["text"],
                theirs["text"].as_str().unwrap().trim(),
                "{place}"
            );
        }
        "number" => {
            let numbers = texts(&theirs["accepted"]);
            let numbers = numbers.iter().map(|text| text.replace(',', ""));
            let numbers: Vec<f64> = numbers.map(|text| text.parse().unwrap()).collect();
            assert_eq!(numbers, [params["value"].as_f64().unwrap()], "{place}");
        }
        "regex" => assert_eq!(wanted("expected"), texts(&theirs["accepted"]), "{place}"),
        _ => assert_eq!(wanted("value"), texts(&theirs["accepted"]), "{place}"),
    }
}

#[test]
fn tasks_ask_and_score_what_the_harness_does() {
    let expected = expected("import_lm_eval.json");
    let (mut compared, mut named) = (0, 0);
    for (task, theirs) in expected["tasks"].as_object().unwrap() {
        let folder = fixture("import/lm_eval");
        let source = ImportSource {
            file: folder.join(format!("{task}.yaml")),
            docs: Some(folder.join(format!("{task}.jsonl"))),
            name: None,
        };
        let imported = import(&source).unwrap_or_else(|error| panic!("{task}: {error}"));
        let suite = loaded(&imported);
        for (n, theirs) in theirs["documents"].as_array().unwrap().iter().enumerate() {
            let place = format!("{task}, document {}", n + 1);
            let id = format!("{task}-{}", n + 1);
            let Some(probe) = suite.probes.iter().find(|probe| probe.id == id) else {
                assert!(names(&imported, &format!("document {}", n + 1)), "{place}");
                named += 1;
                continue;
            };
            assert!(theirs.get("error").is_none(), "{place}: {theirs}");
            assert_eq!(
                probe.system.as_deref(),
                theirs["system"].as_str(),
                "{place}"
            );
            assert_eq!(probe.prompts, [theirs["user"].as_str().unwrap()], "{place}");
            assert_right(&probe.checks[0], theirs, &place);
            compared += 1;
        }
    }
    println!("{compared} documents alike, {named} named");
    assert!(compared >= 20 && named <= 12, "{compared} {named}");
}

/// The turns of one wording, as the reference has them.
fn turns(probe: &Probe, wording: &str) -> Vec<(String, String)> {
    let turn = |role: &str, text: &str| (role.to_owned(), text.to_owned());
    let system = probe.system.iter().map(|text| turn("system", text));
    let history = probe.history.iter().flat_map(|exchange| {
        [
            turn("user", &exchange.user),
            turn("assistant", &exchange.assistant),
        ]
    });
    system
        .chain(history)
        .chain([turn("user", wording)])
        .collect()
}

/// The numbers of the answers that every check passes.
fn passed(probe: &Probe, answers: &[String]) -> Vec<usize> {
    let checks: Vec<_> = probe
        .checks
        .iter()
        .map(|spec| build(spec).unwrap())
        .collect();
    let passes = |answer: &String| {
        let golden = Golden {
            answer: answer.clone(),
            expect: Expect::Pass,
            siblings: Vec::new(),
            training_answers: Vec::new(),
        };
        score_of_text(&checks, &golden).unwrap().value() == Some(1.0)
    };
    let numbered = answers.iter().enumerate();
    numbered
        .filter(|(_, answer)| passes(answer))
        .map(|(n, _)| n)
        .collect()
}

#[test]
fn configurations_ask_and_pass_what_promptfoo_does() {
    let expected = expected("import_promptfoo.json");
    let answers: Vec<String> = serde_json::from_value(expected["answers"].clone()).unwrap();
    let (mut compared, mut named) = (0, 0);
    for (config, theirs) in expected["configs"].as_object().unwrap() {
        let source = ImportSource {
            file: fixture("import/promptfoo").join(format!("{config}.yaml")),
            ..ImportSource::default()
        };
        let imported = import(&source).unwrap_or_else(|error| panic!("{config}: {error}"));
        let suite = loaded(&imported);
        let mut asked: Vec<Vec<(String, String)>> = Vec::new();
        for row in theirs["asked"].as_array().unwrap() {
            if row.get("passed").is_none() {
                named += 1;
                continue;
            }
            let theirs = row["turns"].as_array().unwrap();
            let part = |turn: &Value, key: &str| turn[key].as_str().unwrap().to_owned();
            let theirs: Vec<(String, String)> = theirs
                .iter()
                .map(|turn| (part(turn, "role"), part(turn, "content")))
                .collect();
            let ours = suite.probes.iter().find(|probe| {
                probe
                    .prompts
                    .iter()
                    .any(|wording| turns(probe, wording) == theirs)
            });
            let Some(probe) = ours else {
                assert!(!imported.not_carried.is_empty(), "{config}: {theirs:?}");
                println!("{config}: not asked: {theirs:?}");
                named += 1;
                continue;
            };
            let should: Vec<usize> = serde_json::from_value(row["passed"].clone()).unwrap();
            assert_eq!(passed(probe, &answers), should, "{config}: {theirs:?}");
            asked.push(theirs);
            compared += 1;
        }
        for probe in &suite.probes {
            for wording in &probe.prompts {
                let ours = turns(probe, wording);
                assert!(
                    asked.contains(&ours),
                    "{config}: asked here alone: {ours:?}"
                );
            }
        }
    }
    println!("{compared} prompts alike, {named} named");
    assert!(compared >= 20 && named <= 8, "{compared} {named}");
}
