//! The tests of a configuration: written in it, in files of several kinds, or made of scenarios,
//! each with what `defaultTest` gives it.
//!
//! | `tests` | read as |
//! |---|---|
//! | a list | each entry: a test, the name of a file or a pattern of names, `path: FILE` |
//! | a text that ends in `yaml` or `yml` | a pattern of names |
//! | another text, or `path: FILE` | one file; of YAML the rows of a table |
//!
//! A file of tests in CSV is a table with `__expected` columns, in YAML, JSON, and JSONL it holds
//! tests. `file://` in such a file is replaced by what the file holds, but in `vars`.

use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::import::csv::{self, Blanks};
use crate::import::glob;
use crate::import::notes::Notes;
use crate::import::settings::{Fate, Settings, name_unread};
use crate::import::source::Folder;
use crate::import::yaml::{self, Dialect};

use super::prompt::PromptTemplate;
use super::{PROGRAM, PROVIDER, csv_row, is_program};

/// Deepest nesting of values in a file of tests.
const DEEPEST: usize = 64;

const RUNS_A_PROGRAM: &str = "it runs a program on what is asked or judged";

/// Every key of a test.
const TEST: Settings = &[
    ("description", Fate::Read),
    ("vars", Fate::Read),
    ("assert", Fate::Read),
    ("threshold", Fate::Read),
    ("options", Fate::Read),
    ("prompts", Fate::Read),
    ("provider", Fate::Left(PROVIDER)),
    ("providers", Fate::Left(PROVIDER)),
    ("metadata", Fate::Harmless),
    ("author", Fate::Harmless),
    (
        "providerOutput",
        Fate::Decides("its answer is written down, and none is asked for"),
    ),
    ("assertScoringFunction", Fate::Decides(RUNS_A_PROGRAM)),
];

/// Every key of a test's `options`.
const OPTIONS: Settings = &[
    ("prefix", Fate::Read),
    ("suffix", Fate::Read),
    ("disableVarExpansion", Fate::Read),
    ("disableDefaultAsserts", Fate::Read),
    ("transform", Fate::Decides(RUNS_A_PROGRAM)),
    ("postprocess", Fate::Decides(RUNS_A_PROGRAM)),
    ("transformVars", Fate::Decides(RUNS_A_PROGRAM)),
    (
        "repeat",
        Fate::Left("write `samples` and a temperature under [generation]"),
    ),
    (
        "provider",
        Fate::Left("the judge of a run is the base model, or what [checks] says"),
    ),
    (
        "rubricPrompt",
        Fate::Left("the judge of a run has its own prompt"),
    ),
    ("factuality", Fate::Harmless),
    (
        "storeOutputAs",
        Fate::Left("no probe sees the answer to another"),
    ),
    ("disableConversationVar", Fate::Harmless),
    ("runSerially", Fate::Harmless),
];

/// A test with the defaults in it.
#[derive(Debug, Default, Clone)]
pub(super) struct Case {
    /// `test 3`.
    pub(super) place: String,
    pub(super) description: Option<String>,
    pub(super) vars: Map<String, Value>,
    pub(super) asserts: Vec<Value>,
    pub(super) threshold: Option<f64>,
    options: Map<String, Value>,
    /// The prompts that are asked in it; `None` are all.
    prompts: Option<Vec<String>>,
    /// A setting decides what is asked or right, and cannot be carried over.
    refused: bool,
}

impl Case {
    /// Whether a list of texts stands for a test a text.
    pub(super) fn expands(&self) -> bool {
        !truthy(self.options.get("disableVarExpansion"))
    }

    /// Whether the prompt is asked in it.
    pub(super) fn asks(&self, prompt: &PromptTemplate) -> bool {
        let named = |name: &String| prompt.is_called(name);
        self.prompts
            .as_ref()
            .is_none_or(|names| names.iter().any(named))
    }

    /// A text of its options; empty where there is none.
    pub(super) fn option(&self, key: &str) -> String {
        let text = self.options.get(key).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    }
}

fn truthy(value: Option<&Value>) -> bool {
    !matches!(value, None | Some(Value::Null | Value::Bool(false)))
        && value.and_then(Value::as_str) != Some("")
}

/// Reads tests.
pub(super) struct Reader<'a> {
    folder: &'a Folder,
}

impl<'a> Reader<'a> {
    pub(super) fn new(folder: &'a Folder) -> Self {
        Reader { folder }
    }

    /// Every test of a configuration, with the defaults in it.
    pub(super) fn cases(&self, config: &Map<String, Value>, notes: &mut Notes) -> Vec<Case> {
        let defaults = config
            .get("defaultTest")
            .map(|value| self.defaults(value, notes));
        let defaults = defaults.unwrap_or_default();
        let mut found = Vec::new();
        for (n, written) in self.written(config.get("tests"), notes).iter().enumerate() {
            let place = format!("test {}", n + 1);
            found.push(self.case(written, &defaults, place, notes));
        }
        let scenarios = config.get("scenarios").filter(|value| !value.is_null());
        match scenarios {
            Some(scenarios) => self.scenarios(scenarios, &defaults, &mut found, notes),
            // promptfoo asks its prompts once then.
            None if found.is_empty() && !truthy(config.get("tests")) => {
                found.push(Case {
                    place: "defaultTest".into(),
                    ..defaults
                });
            }
            None => {}
        }
        found.retain(|case| !case.refused);
        found
    }

    fn defaults(&self, value: &Value, notes: &mut Notes) -> Case {
        let value = match value {
            Value::String(written) if written.starts_with("file://") => match self.held(written) {
                Ok(value) => value,
                Err(why) => {
                    notes.add("defaultTest", format!("`{written}`"), why);
                    return Case::default();
                }
            },
            other => other.clone(),
        };
        match value.as_object() {
            Some(map) => self.case(map, &Case::default(), "defaultTest".into(), notes),
            None => Case::default(),
        }
    }

    /// A test as it is written, over the defaults.
    fn case(
        &self,
        map: &Map<String, Value>,
        defaults: &Case,
        place: String,
        notes: &mut Notes,
    ) -> Case {
        let mut case = defaults.clone();
        let own = |key: &str| map.get(key).and_then(Value::as_object).cloned();
        let options = own("options").unwrap_or_default();
        let readable = name_unread(map, TEST, &place, notes);
        let options_readable = name_unread(&options, OPTIONS, &format!("{place}, options"), notes);
        case.refused |= readable.is_none() || options_readable.is_none();
        case.description = map.get("description").and_then(yaml::shown);
        let threshold = map.get("threshold").and_then(Value::as_f64);
        case.threshold = threshold.or(defaults.threshold);
        if truthy(options.get("disableDefaultAsserts")) {
            case.asserts.clear();
        }
        case.options.extend(options);
        match self.vars(map.get("vars")) {
            Ok(vars) => case.vars.extend(vars),
            Err(why) => {
                notes.add(&place, "`vars`", why);
                case.refused = true;
            }
        }
        match map.get("assert") {
            Some(Value::Array(items)) => case.asserts.extend(items.iter().cloned()),
            None | Some(Value::Null) => {}
            Some(_) => {
                notes.add(&place, "`assert`", "it is no list");
                case.refused = true;
            }
        }
        if let Some(Value::Array(names)) = map.get("prompts") {
            case.prompts = Some(names.iter().filter_map(yaml::shown).collect());
        }
        case.place = place;
        case
    }

    /// A table, or the files of one.
    fn vars(&self, value: Option<&Value>) -> Result<Map<String, Value>, String> {
        let names = match value {
            None | Some(Value::Null) => return Ok(Map::new()),
            Some(Value::Object(map)) if yaml::tagged(&Value::Object(map.clone())).is_none() => {
                return Ok(map.clone());
            }
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(all)) => all.iter().filter_map(yaml::shown).collect(),
            Some(other) => return Err(format!("it is no table: {other}")),
        };
        let mut whole = Map::new();
        for name in names {
            let name = name.strip_prefix("file://").unwrap_or(&name);
            let found = self.folder.files(name)?;
            if found.is_empty() {
                return Err(format!("there is no file {name}"));
            }
            for path in found {
                let name = path.display().to_string();
                match self.parsed(&name)? {
                    Value::Object(map) => whole.extend(map),
                    _ => return Err(format!("{name} holds no table")),
                }
            }
        }
        Ok(whole)
    }

    /// Tests as they are written, those in files read.
    fn written(&self, tests: Option<&Value>, notes: &mut Notes) -> Vec<Map<String, Value>> {
        let mut found = Vec::new();
        let mut take = |entry: &Value, alone: bool| {
            let read = match entry {
                Value::Object(map) => match map.get("path").and_then(Value::as_str) {
                    Some(path) => self.standalone(path),
                    None if yaml::tagged(entry).is_some() => Err("it is no test".into()),
                    None => Ok(vec![map.clone()]),
                },
                Value::String(written) => self.named(written, alone),
                _ => Err("it is no test".into()),
            };
            match read {
                Ok(tests) => found.extend(tests),
                Err(why) => {
                    let shown = yaml::shown(entry).unwrap_or_else(|| entry.to_string());
                    let shown = crate::text::ellipsize(&shown, 60);
                    notes.add("tests", format!("`{shown}`"), why);
                }
            }
        };
        match tests {
            None | Some(Value::Null) => {}
            Some(Value::Array(items)) => items.iter().for_each(|item| take(item, false)),
            Some(other) => take(other, true),
        }
        found
    }

    /// Tests that a text names; alone it may be a pattern only for YAML.
    fn named(&self, written: &str, alone: bool) -> Result<Vec<Map<String, Value>>, String> {
        for server in ["huggingface://", "az://", "http://", "https://"] {
            if written.starts_with(server) {
                return Err("it is kept on a server".into());
            }
        }
        if is_program(written) {
            return Err(PROGRAM.into());
        }
        let name = written.strip_prefix("file://").unwrap_or(written);
        if alone && !name.ends_with("yaml") && !name.ends_with("yml") {
            return self.standalone(written);
        }
        let found = match glob::is_pattern(name) {
            true => self.folder.files(name)?,
            false => vec![PathBuf::from(name)],
        };
        if found.is_empty() {
            return Err("there is no such file".into());
        }
        let mut tests = Vec::new();
        for path in found {
            let name = path.display().to_string();
            if name.ends_with(".csv") {
                tests.extend(self.standalone(&name)?);
                continue;
            }
            let value = self.with_files(self.parsed(&name)?, 0)?;
            let items = match value {
                Value::Array(items) => items,
                Value::Null => Vec::new(),
                other => vec![other],
            };
            for item in items {
                match item {
                    Value::Object(map) => tests.push(map),
                    other => return Err(format!("{name} has {other}, which is no test")),
                }
            }
        }
        Ok(tests)
    }

    /// The tests of one file: a table's rows, or tests.
    fn standalone(&self, written: &str) -> Result<Vec<Map<String, Value>>, String> {
        let name = written.strip_prefix("file://").unwrap_or(written);
        if is_program(name) {
            return Err(PROGRAM.into());
        }
        let rows = match name.rsplit('.').next().unwrap_or_default() {
            "csv" => {
                let text = self.folder.text(name);
                csv::rows(
                    &text.map_err(|why| format!("it cannot be read: {why}"))?,
                    Blanks::Kept,
                )?
            }
            "yaml" | "yml" => objects(self.parsed(name)?)?,
            "json" | "jsonl" => {
                let mut tests = objects(self.parsed(name)?)?;
                for (n, test) in tests.iter_mut().enumerate() {
                    if !truthy(test.get("description")) {
                        test.insert("description".into(), format!("Row #{}", n + 1).into());
                    }
                    if test
                        .get("vars")
                        .is_some_and(|vars| !vars.is_object() && !vars.is_null())
                    {
                        return Err(
                            "its `vars` name a file, which promptfoo does not read there".into(),
                        );
                    }
                }
                return Ok(tests);
            }
            "xlsx" | "xls" => return Err("a spreadsheet is not read: save it as CSV".into()),
            _ => return Err("of files of tests, CSV, YAML, JSON, and JSONL are read".into()),
        };
        let tests = rows
            .iter()
            .enumerate()
            .map(|(n, row)| csv_row::test(row, n + 1));
        tests.collect()
    }

    /// What a file holds that is named by `file://`.
    fn held(&self, written: &str) -> Result<Value, String> {
        if is_program(written) {
            return Err(PROGRAM.into());
        }
        let name = written.strip_prefix("file://").unwrap_or(written);
        if name.contains("{{") || glob::is_pattern(name) {
            return Err(format!("the pattern `{name}` is not read here"));
        }
        match name.rsplit('.').next().unwrap_or_default() {
            "json" | "yaml" | "yml" => self.parsed(name),
            "csv" => Err("a table is not read here".into()),
            _ => self
                .folder
                .text(name)
                .map(Value::String)
                .map_err(|why| format!("it cannot be read: {why}")),
        }
    }

    fn parsed(&self, name: &str) -> Result<Value, String> {
        let extension = name.rsplit('.').next().unwrap_or_default();
        if !["yaml", "yml", "json", "jsonl"].contains(&extension) {
            return Err("of files of tests and variables, YAML, JSON, and JSONL are read".into());
        }
        let text = self.folder.text(name);
        let text = text.map_err(|why| format!("it cannot be read: {why}"))?;
        if extension == "jsonl" {
            let lines = text.lines().filter(|line| !line.trim().is_empty());
            let read = lines.map(|line| serde_json::from_str(line).map_err(|e| e.to_string()));
            let items = read.collect::<Result<Vec<Value>, _>>()?;
            return Ok(yaml::in_javascript(Value::Array(items)));
        }
        yaml::parse(name, &text, Dialect::JavaScript).map_err(|error| error.kind.to_string())
    }

    /// A file of tests with `file://` replaced by what the file holds, but in `vars`.
    fn with_files(&self, value: Value, depth: usize) -> Result<Value, String> {
        if depth > DEEPEST {
            return Err(format!("it nests more than {DEEPEST} deep"));
        }
        Ok(match value {
            Value::String(written) if written.starts_with("file://") => {
                // A program stays named: whoever reads its key refuses it.
                match is_program(&written) {
                    true => Value::String(written),
                    false => self
                        .held(&written)
                        .map_err(|why| format!("{written}: {why}"))?,
                }
            }
            Value::Array(items) => {
                let items = items.into_iter();
                let items = items.map(|item| self.with_files(item, depth + 1));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            Value::Object(map) => {
                let pairs = map.into_iter().map(|(key, item)| {
                    let item = match key == "vars" {
                        true => item,
                        false => self.with_files(item, depth + 1)?,
                    };
                    Ok((key, item))
                });
                Value::Object(pairs.collect::<Result<_, String>>()?)
            }
            other => other,
        })
    }

    /// Every entry of a scenario's `config` with each of its tests.
    fn scenarios(
        &self,
        scenarios: &Value,
        defaults: &Case,
        found: &mut Vec<Case>,
        notes: &mut Notes,
    ) {
        let list = match scenarios {
            Value::Array(items) => items.clone(),
            other => vec![other.clone()],
        };
        for (n, scenario) in list.iter().enumerate() {
            let place = format!("scenario {}", n + 1);
            let scenario = match scenario {
                Value::String(written) if written.starts_with("file://") => self.held(written),
                other => Ok(other.clone()),
            };
            let rows = scenario
                .as_ref()
                .ok()
                .and_then(|s| s.get("config")?.as_array());
            let rows = rows
                .filter(|rows| rows.iter().all(Value::is_object))
                .cloned();
            let (Ok(scenario), Some(rows)) = (scenario, rows) else {
                notes.add(
                    place,
                    "the scenario",
                    "it has no list of tables as `config`",
                );
                continue;
            };
            let tests = match scenario.get("tests") {
                None => vec![Map::new()],
                tests => self.written(tests, notes),
            };
            for (row, data) in rows.iter().filter_map(Value::as_object).enumerate() {
                let place = format!("{place}.{}", row + 1);
                let base = self.case(data, defaults, place.clone(), notes);
                for (test, written) in tests.iter().enumerate() {
                    let place = format!("{place}, test {}", test + 1);
                    let mut case = self.case(written, &base, place, notes);
                    case.description = case.description.or_else(|| base.description.clone());
                    found.push(case);
                }
            }
        }
    }
}

fn objects(value: Value) -> Result<Vec<Map<String, Value>>, String> {
    let items = match value {
        Value::Array(items) => items,
        other => vec![other],
    };
    let objects = items.into_iter().map(|item| match item {
        Value::Object(map) => Ok(map),
        other => Err(format!("it has {other}, which is no table")),
    });
    objects.collect()
}
