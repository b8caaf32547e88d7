//! A whole `qeval.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::de::DeTable;

use crate::train::{DataSection, LoraSection, TrainSection};

use super::error::{ConfigError, ConfigErrors, Problem};
use super::reader::{Problems, Table};
use super::sections::{
    ChecksSection, GateSection, ModelSection, read_checks, read_data, read_gate, read_lora,
    read_model, read_train,
};

/// The commented file that `qeval init` writes: every key with its default and effect.
pub const DEFAULT_TOML: &str = include_str!("default.toml");

/// [`DEFAULT_TOML`] with data files to train on, prompts to rehearse, the example's `[vars]`, and
/// what suits a small model and few rows: a file that trains as it stands.
pub fn sample_toml(sources: &[&str], rehearsal: &str) -> String {
    let list: Vec<String> = sources.iter().map(|source| format!("{source:?}")).collect();
    let sources = format!("sources = [{}]  #", list.join(", "));
    let rehearsal = format!("rehearsal = {rehearsal:?}  #");
    let changes = [
        (
            "# Every key is here with its default; a key left out keeps it, an unknown key is refused.",
            "# Every key is here, most with their defaults; a key left out has its default, an unknown key\n\
             # is refused. What differs suits the sample: SmolLM2-135M, which knows English only, and few\n\
             # rows. `tags` and `margin` are for a quick look: [\"standard\"] and 0.03 decide more.",
        ),
        ("sources = []                  #", &sources),
        ("# rehearsal = \"prompts.jsonl\"   #", &rehearsal),
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
        ("rehearsal_weight = 1.0 ", "rehearsal_weight = 10.0"),
        ("margin = 0.03 ", "margin = 0.10 "),
        ("tags = []       ", "tags = [\"smoke\"]"),
        ("languages = []    ", "languages = [\"en\"]"),
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
    let one = |error| ConfigErrors(vec![error]);
    let bytes = std::fs::read(path).map_err(|source| {
        one(ConfigError::Read {
            path: path.to_path_buf(),
            source,
        })
    })?;
    let file = path.display().to_string();
    let text = std::str::from_utf8(&bytes).map_err(|e| {
        one(ConfigError::NotUtf8 {
            file: file.clone(),
            offset: e.valid_up_to(),
        })
    })?;
    let mut config = parse(&file, text)?;
    config.folder = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
    Ok(config)
}

/// Reads the text of a file; `file` names it in errors. Relative paths start from the current
/// folder.
pub fn parse(file: &str, text: &str) -> Result<QevalConfig, ConfigErrors> {
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let (document, syntax) = DeTable::parse_recoverable(text);
    let mut problems = Problems {
        file,
        source: text,
        found: Vec::new(),
    };
    for error in syntax {
        problems.note(
            error.span().unwrap_or(0..0),
            error.message(),
            "the file is TOML: see https://toml.io",
        );
    }
    // What could be rescued of a broken file would only repeat its mistakes.
    if !problems.found.is_empty() {
        return Err(all(problems.found));
    }
    let mut top = Table::new("qeval.toml", Some(document.get_ref()), &mut problems);
    let mut config = QevalConfig {
        model: read_model(top.section("model")),
        lora: read_lora(top.section("lora")),
        data: read_data(top.section("data")),
        train: read_train(top.section("train")),
        gate: read_gate(top.section("gate")),
        checks: read_checks(top.section("checks")),
        ..QevalConfig::default()
    };
    top.map("vars", &mut config.vars, "a text", |value| {
        value.as_str().map(String::from)
    });
    top.finish();
    if problems.found.is_empty() {
        Ok(config)
    } else {
        Err(all(problems.found))
    }
}

fn all(mut found: Vec<Problem>) -> ConfigErrors {
    found.sort_by_key(|problem| (problem.line, problem.column));
    ConfigErrors(found.into_iter().map(ConfigError::Problem).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::{Every, Format, Source, TargetSelection};

    fn errors(text: &str) -> String {
        parse("qeval.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn default_file_says_the_defaults() {
        assert_eq!(
            parse("qeval.toml", DEFAULT_TOML).unwrap(),
            QevalConfig::default()
        );
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
        let text = sample_toml(&["data/a.jsonl", "data/b.json#20"], "data/r.jsonl");
        let config = parse("qeval.toml", &text).unwrap();
        assert_eq!(config.data.rehearsal.as_deref(), Some("data/r.jsonl"));
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
        assert_eq!(config.data.format, Format::QueryResponse);
        assert_eq!(config.train.eval_steps, Every::Steps(20));
        assert_eq!(config.train.gate_every(), Every::Part(0.5));
        assert_eq!(config.train.save_total_limit, Some(2));
        assert_eq!(config.train.early_stopping_patience, None);
        assert_eq!(config.train.system.as_deref(), Some(""));
        assert_eq!(config.vars["name"], "Aurora");
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let text = "[lora]\nlora_rank = 8\nalpha = \"16\"\ndropout = 1.0\ntarget_modules = \"q_proj\"\n\
             rank = -1\n[train]\nlearning_rte = 1e-4\neval_steps = 1.5\nrecompute = \"ful\"\n\
             [data]\nsources = [\"a\", { path = \"b\", share = 2 }, 3]\n[gaet]\n[vars]\nname = 3\n";
        insta::assert_snapshot!(errors(text), @r#"
        qeval.toml:2:1: unknown key `lora_rank` in [lora]
          2 | lora_rank = 8
            | ^^^^^^^^^
          (write `rank` under [lora])
        qeval.toml:3:9: `alpha` in [lora] is "16"
          3 | alpha = "16"
            |         ^^^^
          (it is a number above 0)
        qeval.toml:4:11: `dropout` in [lora] is 1.0
          4 | dropout = 1.0
            |           ^^^
          (it is a number from 0 to below 1)
        qeval.toml:5:18: `target_modules` in [lora] is a single text
          5 | target_modules = "q_proj"
            |                  ^^^^^^^^
          (it is "all-linear" or a list of module names and patterns, such as ["q_proj", "v_proj"])
        qeval.toml:6:8: `rank` in [lora] is -1
          6 | rank = -1
            |        ^^
          (it is a whole number, 1 or more)
        qeval.toml:8:1: unknown key `learning_rte` in [train]
          8 | learning_rte = 1e-4
            | ^^^^^^^^^^^^
          (did you mean `learning_rate`?)
        qeval.toml:9:14: `eval_steps` in [train] is neither a number of steps nor a part of all steps
          9 | eval_steps = 1.5
            |              ^^^
          (it is a whole number, 1 or more, or a number between 0 and 1: 0.25 is four times in a run)
        qeval.toml:10:13: `recompute` in [train] is "ful"
          10 | recompute = "ful"
             |             ^^^^^
          (it is one of "auto", "none", "selective", "full"; did you mean "full"?)
        qeval.toml:12:11: some sources in [data] have a `share` and some have none
          12 | sources = ["a", { path = "b", share = 2 }, 3]
             |           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
          (give every source a share, a number above 0, or none)
        qeval.toml:12:44: a source is neither a path nor a table
          12 | sources = ["a", { path = "b", share = 2 }, 3]
             |                                            ^
          (a source is a path, "path#200", or { path, take, share })
        qeval.toml:13:2: unknown key `gaet` in qeval.toml
          13 | [gaet]
             |  ^^^^
          (did you mean `gate`?)
        qeval.toml:15:8: `vars.name` in qeval.toml is 3
          15 | name = 3
             |        ^
          (it is a text)
        "#);
    }

    #[test]
    fn broken_toml_is_shown_with_its_place() {
        insta::assert_snapshot!(errors("[lora\nrank = 8\n[train]\nseed = \n"), @r"
        qeval.toml:1:6: unclosed table, expected `]`
          1 | [lora
            |      ^
          (the file is TOML: see https://toml.io)
        qeval.toml:4:8: string values must be quoted, expected literal string
          4 | seed = 
            |        ^
          (the file is TOML: see https://toml.io)
        ");
        insta::assert_snapshot!(errors("[lora]\nrank = 8\nrank = 4\n"), @r"
        qeval.toml:3:1: duplicate key
          3 | rank = 4
            | ^^^^
          (the file is TOML: see https://toml.io)
        ");
    }

    #[test]
    fn caret_counts_characters() {
        insta::assert_snapshot!(errors("gate = { suites = [\"三\"], margin = \"三\" }"), @r#"
        qeval.toml:1:35: `margin` in [gate] is "三"
          1 | gate = { suites = ["三"], margin = "三" }
            |                                   ^^^
          (it is a number above 0, at most 1)
        "#);
    }

    #[test]
    fn missing_file_names_the_next_command() {
        let error = load(Path::new("nowhere/qeval.toml")).unwrap_err();
        assert!(error.to_string().contains("`qeval init`"), "{error}");
    }
}
