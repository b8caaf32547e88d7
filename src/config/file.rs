//! A whole `qeval.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::server::ServerSection;
use crate::toml_file::{Place, in_order, read, text};
use crate::train::{DataSection, LoraSection, TrainSection};

use super::error::{ConfigError, ConfigErrorKind, ConfigErrors};
use super::foreign::FOREIGN;
use super::keys::{
    read_checks, read_data, read_gate, read_lora, read_model, read_server, read_train,
};
use super::sections::{ChecksSection, GateSection, ModelSection};
use super::tune::{TuneSection, read_tune};

/// The commented file that `qeval init` writes: every key with its default and effect.
pub const DEFAULT_TOML: &str = include_str!("default.toml");

/// [`DEFAULT_TOML`] with data files to train on, prompts to rehearse, the example's `[vars]`, and
/// what suits a small model and few rows: a file that trains as it stands.
pub fn sample_toml(sources: &[&str]) -> String {
    let list: Vec<String> = sources.iter().map(|source| format!("{source:?}")).collect();
    let sources = format!("sources = [{}]  #", list.join(", "));
    let changes = [
        (
            "# Every key is here with its default; a key left out keeps it, an unknown key is refused.",
            "# Every key is here, most with their defaults; a key left out has its default, an unknown key\n\
             # is refused. What differs suits the sample: SmolLM2-135M, which knows English only, and few\n\
             # rows. `tags` and `margin` are for a quick look: [\"standard\"] and 0.03 decide more.",
        ),
        ("sources = []                  #", &sources),
        (
            "# rehearsal = \"built-in\"        #",
            "rehearsal = \"built-in\"          #",
        ),
        ("rehearsal_prompts = 150", "rehearsal_prompts = 75 "),
        ("rehearsal_tokens = 16 ", "rehearsal_tokens = 8  "),
        ("num_train_epochs = 2 ", "num_train_epochs = 5 "),
        ("learning_rate = 1e-4 ", "learning_rate = 7e-4 "),
        ("warmup_ratio = 0.05 ", "warmup_ratio = 0.1  "),
        (
            "gradient_accumulation_steps = 16 ",
            "gradient_accumulation_steps = 4  ",
        ),
        (
            "eval_steps = 0.25             # validation loss, in steps or as a part of all steps: four times",
            "eval_steps = 0.75             # validation loss, in steps or as a part of all steps",
        ),
        ("margin = 0.03 ", "margin = 0.10 "),
        ("tags = []       ", "tags = [\"smoke\"]"),
        ("\nlanguages = []    ", "\nlanguages = [\"en\"]"),
        ("# name = ", "name = "),
        ("# author = ", "author = "),
    ];
    changes
        .iter()
        .fold(DEFAULT_TOML.to_owned(), |text, (from, to)| {
            text.replacen(from, to, 1)
        })
}

/// Settings with every default filled in. Serialized, it is the resolved config of a record.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct QevalConfig {
    /// The base.
    pub model: ModelSection,
    /// The adapter.
    pub lora: LoraSection,
    /// The examples.
    pub data: DataSection,
    /// The optimizer and the loop.
    pub train: TrainSection,
    /// What a checkpoint is asked, and how much may be lost.
    pub gate: GateSection,
    /// What checks may use.
    pub checks: ChecksSection,
    /// How models behind a server are asked.
    #[serde(default)]
    pub server: ServerSection,
    /// Among which settings `qeval tune` chooses.
    #[serde(default)]
    pub tune: TuneSection,
    /// Values of `{{name}}` and its like in suites and data.
    pub vars: BTreeMap<String, String>,
    /// The folder that relative paths start from: that of the file.
    #[serde(skip)]
    pub folder: PathBuf,
}

impl QevalConfig {
    /// A path of the file as seen from here.
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }
}

/// Reads a file.
///
/// Errors: every mistake in it at once.
pub fn load(path: &Path) -> Result<QevalConfig, ConfigErrors> {
    let file = path.display().to_string();
    let alone = |place, kind| ConfigErrors(vec![ConfigError { place, kind }]);
    let bytes = std::fs::read(path).map_err(|error| {
        let kind = ConfigErrorKind::Unreadable(error.to_string());
        alone(Place::file(&file), kind)
    })?;
    let mut config = read_bytes(&file, &bytes)?;
    config.folder = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
    Ok(config)
}

/// Reads the bytes of a file; `file` names it in errors. Relative paths start from the current folder.
///
/// # Errors
/// As [`load`].
pub fn read_bytes(file: &str, bytes: &[u8]) -> Result<QevalConfig, ConfigErrors> {
    let text = text(file, bytes).map_err(|error| {
        let (place, mistake) = *error;
        let kind = mistake.into();
        ConfigErrors(vec![ConfigError { place, kind }])
    })?;
    parse(file, &text)
}

/// Reads the text of a file; `file` names it in errors. Relative paths start from the current
/// folder.
pub fn parse(file: &str, text: &str) -> Result<QevalConfig, ConfigErrors> {
    let read = read(text, "qeval.toml", FOREIGN, |mut top| {
        let config = QevalConfig {
            model: read_model(top.section("model", "[model]")),
            lora: read_lora(top.section("lora", "[lora]")),
            data: read_data(top.section("data", "[data]")),
            train: read_train(top.section("train", "[train]")),
            gate: read_gate(top.section("gate", "[gate]")),
            checks: read_checks(top.section("checks", "[checks]")),
            server: read_server(top.section("server", "[server]")),
            tune: read_tune(top.section("tune", "[tune]")),
            vars: top
                .map("vars", "a string", |value| value.as_str().map(String::from))
                .unwrap_or_default(),
            folder: PathBuf::new(),
        };
        top.finish();
        config
    });
    match read.value {
        Some(config) if read.mistakes.is_empty() => Ok(config),
        _ => {
            let errors = in_order(file, text, read.mistakes).map(|(place, mistake)| ConfigError {
                place,
                kind: mistake.into(),
            });
            Err(ConfigErrors(errors.collect()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::{Every, RowFormat, Source, TargetSelection};

    fn errors(text: &str) -> String {
        parse("qeval.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn default_file_says_the_defaults() {
        let mut written = parse("qeval.toml", DEFAULT_TOML).unwrap();
        // A base that stands there was told, be it the default.
        assert!(std::mem::take(&mut written.model.is_named));
        assert_eq!(written, QevalConfig::default());
        assert_eq!(parse("qeval.toml", "").unwrap(), QevalConfig::default());
    }

    /// A key that is commented out stands there too.
    #[test]
    fn default_file_names_every_key() {
        let shown: String = DEFAULT_TOML
            .lines()
            .map(|line| line.strip_prefix("# ").unwrap_or(line))
            .fold(String::new(), |text, line| {
                text + line.split(" # ").next().unwrap_or("") + "\n"
            });
        let resolved = serde_json::to_value(QevalConfig::default()).unwrap();
        for (section, keys) in resolved.as_object().unwrap() {
            assert!(shown.contains(&format!("[{section}]")), "{section}");
            for key in keys.as_object().unwrap().keys() {
                assert!(shown.contains(&format!("\n{key} =")), "{section}.{key}");
            }
        }
    }

    #[test]
    fn sample_file_trains_as_it_stands() {
        let text = sample_toml(&["data/a.jsonl", "data/b.json#20"]);
        let config = parse("qeval.toml", &text).unwrap();
        assert_eq!(config.data.rehearsal, ["built-in"]);
        let data = &config.data;
        assert_eq!((data.rehearsal_prompts, data.rehearsal_tokens), (75, 8));
        assert_eq!(config.vars["name"], "Aurora");
        assert_eq!(config.vars["author"], "Northwind Labs");
        let (train, gate) = (&config.train, &config.gate);
        assert_eq!(
            (
                train.num_train_epochs,
                train.learning_rate,
                train.warmup_ratio
            ),
            (5.0, 7e-4, 0.1)
        );
        assert_eq!(
            (train.gradient_accumulation_steps, train.rehearsal_weight),
            (4, 10.0)
        );
        assert_eq!(train.eval_steps, crate::train::Every::Part(0.75));
        assert_eq!((gate.margin, gate.tags.len()), (0.1, 1));
        assert_eq!(gate.languages, ["en"]);
        assert!(config.data.paraphrase_languages.is_empty());
        assert_eq!(
            config.data.sources,
            [
                Source::parse("data/a.jsonl"),
                Source::parse("data/b.json#20")
            ]
        );
    }

    #[test]
    fn every_kind_of_value_is_read() {
        let text = r#"
            model = { path = "m" }
            [lora]
            alpha = 8
            target_modules = ["q_proj", "v_proj"]
            rank_pattern = { "layers.0" = 4 }
            [data]
            sources = ["a.json#200", { path = "b.jsonl", take = 3 }]
            format = "query-response"
            [train]
            eval_steps = 20
            save_steps = 0.5
            save_total_limit = 2
            early_stopping_patience = 0
            system = ""
            [vars]
            name = "Aurora"
        "#;
        let config = parse("qeval.toml", text).unwrap();
        assert_eq!(config.lora.alpha, 8.0);
        let modules = vec!["q_proj".to_string(), "v_proj".to_string()];
        assert_eq!(config.lora.target_modules, TargetSelection::Named(modules));
        assert_eq!(config.lora.rank_pattern["layers.0"], 4);
        assert_eq!(config.data.sources[0].take, Some(200));
        assert_eq!(config.data.sources[1].take, Some(3));
        assert_eq!(config.data.format, RowFormat::QueryResponse);
        assert_eq!(config.train.eval_steps, Every::Steps(20));
        assert_eq!(config.train.gate_every(), Every::Part(0.5));
        assert_eq!(config.train.save_total_limit, Some(2));
        assert_eq!(config.train.early_stopping_patience, None);
        assert_eq!(config.train.system.as_deref(), Some(""));
        assert_eq!(config.vars["name"], "Aurora");
    }

    #[test]
    fn rehearsal_is_one_source_or_several() {
        let read = |text: &str| parse("qeval.toml", &format!("[data]\n{text}\n"));
        let sources = |text: &str| read(text).unwrap().data.rehearsal;
        assert_eq!(sources("rehearsal = \"built-in\""), ["built-in"]);
        let both = sources("rehearsal = [\"built-in\", \"own.jsonl\"]");
        assert_eq!(both, ["built-in", "own.jsonl"]);
        let wrong = [
            "rehearsal = \"\"",
            "rehearsal = 3",
            "rehearsal = [\"a\", \"a\"]",
            "rehearsal_prompts = 0",
            "rehearsal_target = \"txt\"",
            "near_miss = -1",
            "near_miss_weight = 0",
            "paraphrase = 1.5",
            "paraphrase_languages = [\"fr\"]",
        ];
        let said = wrong.map(|text| read(text).unwrap_err().to_string());
        insta::assert_snapshot!(said.join("\n"), @r#"
        qeval.toml:2:13: `rehearsal` in [data] is empty
          2 | rehearsal = ""
            |             ^^
          rule: `rehearsal` wants "built-in", a file of prompts, or a list of these

        1 error in qeval.toml
        qeval.toml:2:13: `rehearsal` in [data] is neither a string nor a list
          2 | rehearsal = 3
            |             ^
          rule: `rehearsal` wants "built-in", a file of prompts, or a list of these

        1 error in qeval.toml
        qeval.toml:2:13: `rehearsal` in [data] names "a" twice
          2 | rehearsal = ["a", "a"]
            |             ^^^^^^^^^^
          rule: a prompt is rehearsed once: name each source once

        1 error in qeval.toml
        qeval.toml:2:21: `rehearsal_prompts` in [data] is 0
          2 | rehearsal_prompts = 0
            |                     ^
          rule: `rehearsal_prompts` wants a whole number, 1 or more

        1 error in qeval.toml
        qeval.toml:2:20: `rehearsal_target` in [data] is "txt"
          2 | rehearsal_target = "txt"
            |                    ^^^^^
          rule: `rehearsal_target` wants "distribution", "text", or "both"
          nearest: `text`

        1 error in qeval.toml
        qeval.toml:2:13: `near_miss` in [data] is -1
          2 | near_miss = -1
            |             ^^
          rule: `near_miss` wants a whole number, 0 or more

        1 error in qeval.toml
        qeval.toml:2:20: `near_miss_weight` in [data] is 0
          2 | near_miss_weight = 0
            |                    ^
          rule: `near_miss_weight` wants a number above 0

        1 error in qeval.toml
        qeval.toml:2:14: `paraphrase` in [data] is the number 1.5
          2 | paraphrase = 1.5
            |              ^^^
          rule: `paraphrase` wants a whole number, 0 or more

        1 error in qeval.toml
        qeval.toml:2:25: `paraphrase_languages` in [data] has "fr"
          2 | paraphrase_languages = ["fr"]
            |                         ^^^^
          rule: rows are asked in "en" and "zh"; an empty list asks in both where the base knows both

        1 error in qeval.toml
        "#);
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let text = "[lora]\nlora_rank = 8\nalpha = \"16\"\ndropout = 1.0\ntarget_modules = \"q_proj\"\n\
             rank = -1\n[train]\nlearning_rte = 1e-4\neval_steps = 1.5\nrecompute = \"ful\"\n\
             [data]\nsources = [\"a\", { path = \"b\", share = 2 }, 3]\n[gaet]\n[vars]\nname = 3\n";
        let ConfigErrors(errors) = parse("qeval.toml", text).unwrap_err();
        let expected = [
            (
                "2:1",
                "unknown key `lora_rank` in [lora]",
                "write `rank` under [lora]",
            ),
            ("3:9", "the string \"16\"", "a number above 0"),
            ("4:11", "`dropout` in [lora] is 1.0", "from 0 to below 1"),
            (
                "5:18",
                "`target_modules` in [lora] is a single string",
                "\"all-linear\" or a list",
            ),
            ("6:8", "`rank` in [lora] is -1", "a whole number, 1 or more"),
            (
                "8:1",
                "unknown key `learning_rte`",
                "nearest: `learning_rate`",
            ),
            (
                "9:14",
                "neither a number of steps nor a part",
                "between 0 and 1",
            ),
            (
                "10:13",
                "`recompute` in [train] is \"ful\"",
                "nearest: `full`",
            ),
            (
                "12:11",
                "some sources in [data] have a `share`",
                "every source a share",
            ),
            (
                "12:44",
                "neither a path nor a table",
                "{ path, take, share }",
            ),
            (
                "13:2",
                "unknown key `gaet` in qeval.toml",
                "nearest: `gate`",
            ),
            (
                "15:8",
                "`vars.name` in qeval.toml is the number 3",
                "a string",
            ),
        ];
        assert_eq!(errors.len(), expected.len(), "{errors:?}");
        for (error, (place, what, way_out)) in errors.iter().zip(expected) {
            assert_eq!(error.place.to_string(), format!("qeval.toml:{place}"));
            assert!(error.kind.to_string().contains(what), "{error}");
            assert!(error.to_string().contains(way_out), "{error}");
        }
    }

    #[test]
    fn sources_that_would_give_nothing_are_refused() {
        let of = |sources: &str| {
            let text = format!("[data]\nsources = [{sources}]\n");
            parse("qeval.toml", &text).map_err(|errors| errors.to_string())
        };
        for sources in ["\"a.json\", \"b.json#0\"", "{ path = \"b.json#0\" }"] {
            let told = of(sources).unwrap_err();
            assert!(
                told.contains("the source \"b.json#0\" takes no rows"),
                "{told}"
            );
        }
        assert!(of("{ path = \"b.json\", take = 0 }").is_err());
        assert!(of("\"a.json#1\"").is_ok());
    }

    /// The shape in which all of them are told.
    #[test]
    fn mistakes_are_told_with_line_rule_and_way_out() {
        insta::assert_snapshot!(errors("[lora]\nlora_rank = 8\nrank = 0\n"), @"
        qeval.toml:2:1: unknown key `lora_rank` in [lora]
          2 | lora_rank = 8
            | ^^^^^^^^^
          rule: [lora] takes rank, alpha, dropout, target_modules, use_rslora, rank_pattern, and alpha_pattern
          way out: write `rank` under [lora]

        qeval.toml:3:8: `rank` in [lora] is 0
          3 | rank = 0
            |        ^
          rule: `rank` wants a whole number, 1 or more

        2 errors in qeval.toml
        ");
    }

    #[test]
    fn broken_toml_is_shown_with_its_place() {
        insta::assert_snapshot!(errors("[lora\nrank = 8\n[train]\nseed = \n"), @"
        qeval.toml:1:6: unclosed table, expected `]`
          1 | [lora
            |      ^
          rule: the file is TOML (https://toml.io)

        qeval.toml:4:8: string values must be quoted, expected literal string
          4 | seed =
            |        ^
          rule: the file is TOML (https://toml.io)

        2 errors in qeval.toml
        ");
        insta::assert_snapshot!(errors("[lora]\nrank = 8\nrank = 4\n"), @"
        qeval.toml:3:1: duplicate key
          3 | rank = 4
            | ^^^^
          rule: the file is TOML (https://toml.io)

        1 error in qeval.toml
        ");
    }

    #[test]
    fn caret_stands_under_wide_characters() {
        insta::assert_snapshot!(errors("gate = { suites = [\"三\"], margin = \"三\" }"), @r#"
        qeval.toml:1:35: `margin` in [gate] is the string "三"
          1 | gate = { suites = ["三"], margin = "三" }
            |                                    ^^^^
          rule: `margin` wants a number above 0, at most 1

        1 error in qeval.toml
        "#);
    }

    #[test]
    fn a_missed_target_may_only_warn() {
        use crate::flow::LearnRule;
        let learn = |text: &str| parse("qeval.toml", text).unwrap().gate.learn;
        assert_eq!(learn(""), LearnRule::Require);
        assert_eq!(learn("[gate]\nlearn = \"warn\"\n"), LearnRule::Warn);
        insta::assert_snapshot!(errors("[gate]\nlearn = \"warning\"\n"), @r#"
        qeval.toml:2:9: `learn` in [gate] is "warning"
          2 | learn = "warning"
            |         ^^^^^^^^^
          rule: `learn` wants "require" or "warn"
          nearest: `warn`

        1 error in qeval.toml
        "#);
    }

    #[test]
    fn missing_file_names_the_next_command() {
        let error = load(Path::new("nowhere/qeval.toml")).unwrap_err();
        assert!(error.to_string().contains("`qeval init`"), "{error}");
    }
}
