//! Precision and recall of every check over golden answers that were written from its documented
//! rule, before the check was run on them: `fixtures/goldens`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use qeval::flow::{KindLine, Misjudged};
use qeval::run::{CheckSettings, JudgeSettings, Scoring, judge_goldens};
use qeval::suite::{SuiteSource, load_unjudged};

/// Golden answers of one kind, at least.
const LEAST: usize = 20;
/// Least precision and recall.
const GOOD: f64 = 0.95;
/// What needs a model that plain tests do not fetch.
const NEED_A_MODEL: [&str; 4] = ["similar", "similar-zh", "paraphrase", "llm-rubric"];

/// Judges the files of `fixtures/goldens` that `wanted` takes.
fn judged(wanted: impl Fn(&str) -> bool) -> (Vec<KindLine>, Vec<Misjudged>) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/goldens");
    let mut sources: Vec<SuiteSource> = Vec::new();
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    for file in files {
        let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
        if wanted(&stem) {
            sources.push(SuiteSource::new(
                stem + ".toml",
                std::fs::read(&file).unwrap(),
            ));
        }
    }
    let vars = BTreeMap::from(
        [("name", "Aurora"), ("author", "Northwind Labs")].map(|(k, v)| (k.into(), v.into())),
    );
    let suites = load_unjudged(&sources, &vars).unwrap_or_else(|errors| panic!("{errors}"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let settings = CheckSettings {
        judge: JudgeSettings::default(),
        encoder: "none".into(),
        python: None,
        names: Vec::new(),
    };
    let scoring = Scoring::new(
        runtime.handle().clone(),
        PathBuf::from(env!("CARGO_BIN_EXE_qeval")),
        None,
        settings,
    );
    let outcome = judge_goldens(&suites, &scoring, None, &mut |_| {}).unwrap();
    assert_eq!(outcome.not_put, 0);
    (outcome.kinds, outcome.misjudged)
}

#[test]
fn every_check_is_right_about_golden_answers_in_both_languages() {
    let (kinds, misjudged) = judged(|stem| !NEED_A_MODEL.contains(&stem));
    let mut table = String::from("check            pass  fail  precision  recall\n");
    for kind in &kinds {
        let (precision, recall) = (kind.precision().unwrap(), kind.recall().unwrap());
        writeln!(
            table,
            "{:<15} {:>5} {:>5} {:>10.3} {:>7.3}",
            kind.kind, kind.pass, kind.fail, precision, recall
        )
        .unwrap();
        assert!(kind.pass >= LEAST && kind.fail >= LEAST, "{kind:?}");
        assert!(
            precision >= GOOD && recall >= GOOD,
            "{kind:?}: {misjudged:#?}"
        );
    }
    insta::assert_snapshot!(table, @"
    check            pass  fail  precision  recall
    equals             38    46      1.000   1.000
    contains           36    42      1.000   1.000
    contains-any       30    34      1.000   1.000
    contains-all       28    35      1.000   1.000
    icontains          32    35      1.000   1.000
    icontains-any      30    35      1.000   1.000
    icontains-all      30    34      1.000   1.000
    starts-with        30    38      1.000   1.000
    regex              36    50      1.000   1.000
    number             44    47      1.000   1.000
    levenshtein        32    38      1.000   1.000
    rouge-n            30    36      1.000   1.000
    word-count         33    34      1.000   1.000
    is-json            30    44      1.000   1.000
    contains-json      28    36      1.000   1.000
    code               28    40      1.000   1.000
    language           31    33      1.000   1.000
    refusal            33    30      0.971   1.000
    consistent         26    29      1.000   1.000
    memorized          28    29      1.000   1.000
    all                30    34      1.000   1.000
    any                34    34      1.000   1.000
    ");
}

#[test]
fn both_languages_have_golden_answers_of_both_kinds() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/goldens");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // One encoder for each language, hence one file.
        let languages: &[&str] = match name.as_str() {
            "similar.toml" | "paraphrase.toml" => &["en"],
            "similar-zh.toml" => &["zh"],
            _ => &["en", "zh"],
        };
        let text = std::fs::read_to_string(&path).unwrap();
        for language in languages {
            let of_language = text
                .split("[[probe]]")
                .filter(|probe| probe.contains(&format!("\"{language}\"")));
            let count = |expect: &str| -> usize {
                let line = format!("expect = \"{expect}\"");
                let counts = of_language
                    .clone()
                    .map(|probe| probe.matches(&line).count());
                counts.sum()
            };
            assert!(
                count("pass") >= 10 && count("fail") >= 10,
                "{name}, {language}: {} pass, {} fail",
                count("pass"),
                count("fail")
            );
        }
    }
}
