//! A suite file as it is written: the tables and keys of the TOML with their places, types
//! checked, unknown keys refused, no rule applied yet.
//!
//! Read by hand from `toml`'s spanned tree and not through a derived deserializer, which stops at
//! the first error: here one pass finds them all.

use std::ops::Range;

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::text::{ellipsize, nearest};

use super::error::SuiteErrorKind;

/// What is wrong, and the bytes of the file that it is about.
pub(super) type Issue = (Range<usize>, SuiteErrorKind);

const FILE_KEYS: &[&str] = &["suite", "generation", "probe"];
const SUITE_KEYS: &[&str] = &["name", "description", "goal", "margin", "target"];
const GENERATION_KEYS: &[&str] = &[
    "max_new_tokens",
    "temperature",
    "top_k",
    "top_p",
    "repetition_penalty",
    "samples",
];
const PROBE_KEYS: &[&str] = &[
    "id",
    "tags",
    "critical",
    "system",
    "history",
    "prompts",
    "generation",
    "check",
    "golden",
];
const EXCHANGE_KEYS: &[&str] = &["user", "assistant"];
const GOLDEN_KEYS: &[&str] = &["answer", "expect", "siblings", "training_answers"];

/// A whole file.
#[derive(Debug, Default)]
pub(super) struct SuiteFile {
    pub(super) suite: Option<Spanned<SuiteTable>>,
    pub(super) generation: GenerationTable,
    pub(super) probes: Vec<Spanned<ProbeTable>>,
    pub(super) broken: Broken,
}

/// The keys of a table that are there, but misspelled or of another type: each is an issue
/// already, and not missing besides.
pub(super) type Broken = Vec<&'static str>;

/// `[suite]`.
#[derive(Debug)]
pub(super) struct SuiteTable {
    pub(super) name: Option<Spanned<String>>,
    pub(super) description: Option<Spanned<String>>,
    pub(super) goal: Option<Spanned<String>>,
    pub(super) margin: Option<Spanned<f64>>,
    pub(super) target: Option<Spanned<f64>>,
    pub(super) broken: Broken,
}

/// `[generation]` and `[probe.generation]`.
#[derive(Debug, Default, Clone)]
pub(super) struct GenerationTable {
    pub(super) max_new_tokens: Option<Spanned<i64>>,
    pub(super) temperature: Option<Spanned<f64>>,
    pub(super) top_k: Option<Spanned<i64>>,
    pub(super) top_p: Option<Spanned<f64>>,
    pub(super) repetition_penalty: Option<Spanned<f64>>,
    pub(super) samples: Option<Spanned<i64>>,
}

/// `[[probe]]`.
#[derive(Debug)]
pub(super) struct ProbeTable {
    pub(super) id: Option<Spanned<String>>,
    pub(super) tags: Vec<Spanned<String>>,
    pub(super) critical: bool,
    pub(super) system: Option<Spanned<String>>,
    pub(super) history: Vec<Spanned<ExchangeTable>>,
    /// `None` when the key is missing or no list.
    pub(super) prompts: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) generation: GenerationTable,
    pub(super) checks: Vec<Spanned<CheckTable>>,
    pub(super) goldens: Vec<Spanned<GoldenTable>>,
    pub(super) broken: Broken,
}

/// One table of `history`.
#[derive(Debug)]
pub(super) struct ExchangeTable {
    pub(super) user: Option<Spanned<String>>,
    pub(super) assistant: Option<Spanned<String>>,
    pub(super) broken: Broken,
}

/// `[[probe.check]]`.
#[derive(Debug)]
pub(super) struct CheckTable {
    pub(super) kind: Option<Spanned<String>>,
    pub(super) params: Vec<Param>,
    pub(super) broken: Broken,
}

/// A parameter of a check: which kinds have which is not known here.
#[derive(Debug)]
pub(super) struct Param {
    pub(super) key: Spanned<String>,
    pub(super) value: Value,
    pub(super) value_span: Range<usize>,
}

/// `[[probe.golden]]`.
#[derive(Debug)]
pub(super) struct GoldenTable {
    pub(super) answer: Option<Spanned<String>>,
    pub(super) expect: Option<Spanned<String>>,
    pub(super) siblings: Vec<Spanned<String>>,
    pub(super) training_answers: Vec<Spanned<String>>,
    pub(super) broken: Broken,
}

/// Reads a file's text. Everything wrong is added to `issues`; what was read all the same is
/// returned, so that the rules can be applied to it.
pub(super) fn parse(text: &str, issues: &mut Vec<Issue>) -> SuiteFile {
    let (tree, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let message = error.message().replace('\n', ", ");
        issues.push((
            error.span().unwrap_or(0..0),
            SuiteErrorKind::Syntax(message),
        ));
    }
    // What a broken line leaves behind would be reported a second time, as missing.
    if !errors.is_empty() {
        return SuiteFile::default();
    }
    let mut file = SuiteFile::default();
    let mut top = Section::new("a suite file", FILE_KEYS, tree.get_ref(), issues);
    let suite = top.table("suite");
    let generation = top.table("generation");
    let probes = top.tables("probe");
    file.broken = top.broken;
    if let Some((span, table)) = suite {
        file.suite = Some(Spanned::new(span, suite_table(table, issues)));
    }
    if let Some((_, table)) = generation {
        file.generation = generation_table("[generation]", table, issues);
    }
    for (span, table) in probes {
        file.probes
            .push(Spanned::new(span, probe_table(table, issues)));
    }
    file
}

fn suite_table(table: &DeTable<'_>, issues: &mut Vec<Issue>) -> SuiteTable {
    let mut section = Section::new("[suite]", SUITE_KEYS, table, issues);
    SuiteTable {
        name: section.string("name"),
        description: section.string("description"),
        goal: section.string("goal"),
        margin: section.float("margin"),
        target: section.float("target"),
        broken: section.broken,
    }
}

fn generation_table(
    name: &'static str,
    table: &DeTable<'_>,
    issues: &mut Vec<Issue>,
) -> GenerationTable {
    let mut section = Section::new(name, GENERATION_KEYS, table, issues);
    GenerationTable {
        max_new_tokens: section.integer("max_new_tokens"),
        temperature: section.float("temperature"),
        top_k: section.integer("top_k"),
        top_p: section.float("top_p"),
        repetition_penalty: section.float("repetition_penalty"),
        samples: section.integer("samples"),
    }
}

fn probe_table(table: &DeTable<'_>, issues: &mut Vec<Issue>) -> ProbeTable {
    let mut section = Section::new("[[probe]]", PROBE_KEYS, table, issues);
    let id = section.string("id");
    let tags = section
        .strings("tags")
        .map(Spanned::into_inner)
        .unwrap_or_default();
    let critical = section.flag("critical");
    let system = section.string("system");
    let history = section.tables("history");
    let prompts = section.strings("prompts");
    let generation = section.table("generation");
    let checks = section.tables("check");
    let goldens = section.tables("golden");
    let broken = section.broken;
    let generation = generation
        .map(|(_, table)| generation_table("[probe.generation]", table, issues))
        .unwrap_or_default();
    let checks = checks.into_iter().map(|(span, table)| {
        let check = check_table(table, issues);
        Spanned::new(span, check)
    });
    let checks = checks.collect();
    let history = history
        .into_iter()
        .map(|(span, table)| {
            let mut section = Section::new("`history`", EXCHANGE_KEYS, table, issues);
            let exchange = ExchangeTable {
                user: section.string("user"),
                assistant: section.string("assistant"),
                broken: section.broken,
            };
            Spanned::new(span, exchange)
        })
        .collect();
    let goldens = goldens
        .into_iter()
        .map(|(span, table)| {
            let mut section = Section::new("[[probe.golden]]", GOLDEN_KEYS, table, issues);
            let answer = section.string("answer");
            let expect = section.string("expect");
            let mut texts = |key| section.strings(key).map(Spanned::into_inner);
            let siblings = texts("siblings").unwrap_or_default();
            let training_answers = texts("training_answers").unwrap_or_default();
            Spanned::new(
                span,
                GoldenTable {
                    answer,
                    expect,
                    siblings,
                    training_answers,
                    broken: section.broken,
                },
            )
        })
        .collect();
    ProbeTable {
        id,
        tags,
        critical,
        system,
        history,
        prompts,
        generation,
        checks,
        goldens,
        broken,
    }
}

fn check_table(table: &DeTable<'_>, issues: &mut Vec<Issue>) -> CheckTable {
    let mut kind = None;
    let mut params = Vec::new();
    let mut broken = Broken::new();
    for (key, value) in table {
        let name = key.get_ref().to_string();
        if name == "type" {
            match value.get_ref().as_str() {
                Some(text) => kind = Some(Spanned::new(value.span(), text.to_owned())),
                None => {
                    broken.push("type");
                    issues.push(wrong_type("type", "a string", value));
                }
            }
            continue;
        }
        match json(value.get_ref()) {
            Ok(json) => params.push(Param {
                key: Spanned::new(key.span(), name),
                value: json,
                value_span: value.span(),
            }),
            Err(what) => {
                let what = format!("`{name}` has {what}");
                let rule = "a check's parameters are strings, finite numbers, booleans, lists, \
                            and tables";
                issues.push((value.span(), SuiteErrorKind::bad(what, rule)));
            }
        }
    }
    CheckTable {
        kind,
        params,
        broken,
    }
}

/// A TOML value as JSON, or what it has that JSON lacks.
fn json(value: &DeValue<'_>) -> Result<Value, String> {
    Ok(match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(_) => match integer(value) {
            Some(number) => Value::from(number),
            None => return Err("a number beyond 64 bits".into()),
        },
        DeValue::Float(_) => match float(value).and_then(serde_json::Number::from_f64) {
            Some(number) => Value::Number(number),
            None => return Err("a number that is not finite".into()),
        },
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(date) => return Err(format!("the date {date}")),
        DeValue::Array(items) => Value::Array(
            items
                .iter()
                .map(|v| json(v.get_ref()))
                .collect::<Result<_, _>>()?,
        ),
        DeValue::Table(table) => {
            let mut map = Map::new();
            for (key, value) in table {
                map.insert(key.get_ref().to_string(), json(value.get_ref())?);
            }
            Value::Object(map)
        }
    })
}

fn integer(value: &DeValue<'_>) -> Option<i64> {
    let written = value.as_integer()?;
    i64::from_str_radix(written.as_str(), written.radix()).ok()
}

/// A finite number; `1` is as good as `1.0`.
#[expect(
    clippy::cast_precision_loss,
    reason = "no setting has more than 53 bits"
)]
fn float(value: &DeValue<'_>) -> Option<f64> {
    let number = match value.as_float() {
        Some(written) => written.as_str().parse().ok()?,
        None => integer(value)? as f64,
    };
    f64::is_finite(number).then_some(number)
}

fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the string \"{}\"", ellipsize(text, 40)),
        DeValue::Integer(n) => format!("the number {}", n.as_str()),
        DeValue::Float(n) => format!("the number {}", n.as_str()),
        DeValue::Boolean(flag) => format!("the boolean {flag}"),
        DeValue::Datetime(date) => format!("the date {date}"),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a table".into(),
    }
}

fn wrong_type(key: &str, expected: &'static str, value: &Spanned<DeValue<'_>>) -> Issue {
    let found = describe(value.get_ref());
    (
        value.span(),
        SuiteErrorKind::WrongType {
            key: key.to_owned(),
            expected,
            found,
        },
    )
}

/// A table under a name, whose unknown keys are refused when it is opened.
struct Section<'a, 'i, 's> {
    table: &'a DeTable<'i>,
    issues: &'s mut Vec<Issue>,
    broken: Broken,
}

impl<'a, 'i, 's> Section<'a, 'i, 's> {
    fn new(
        name: &'static str,
        known: &'static [&'static str],
        table: &'a DeTable<'i>,
        issues: &'s mut Vec<Issue>,
    ) -> Self {
        let mut broken = Broken::new();
        for key in table.keys() {
            let written: &str = key.get_ref();
            if !known.contains(&written) {
                let nearest = nearest(written, known.iter().copied());
                broken.extend(
                    known
                        .iter()
                        .filter(|known| nearest.as_deref() == Some(**known)),
                );
                let key_name = written.to_owned();
                issues.push((
                    key.span(),
                    SuiteErrorKind::UnknownKey {
                        key: key_name,
                        table: name,
                        nearest,
                        known,
                    },
                ));
            }
        }
        Section {
            table,
            issues,
            broken,
        }
    }

    fn get<T>(
        &mut self,
        key: &'static str,
        expected: &'static str,
        read: impl FnOnce(&'a DeValue<'i>) -> Option<T>,
    ) -> Option<Spanned<T>> {
        let value = self.table.get(key)?;
        match read(value.get_ref()) {
            Some(read) => Some(Spanned::new(value.span(), read)),
            None => {
                self.broken.push(key);
                self.issues.push(wrong_type(key, expected, value));
                None
            }
        }
    }

    fn string(&mut self, key: &'static str) -> Option<Spanned<String>> {
        self.get(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    fn flag(&mut self, key: &'static str) -> bool {
        self.get(key, "true or false", DeValue::as_bool)
            .is_some_and(Spanned::into_inner)
    }

    fn integer(&mut self, key: &'static str) -> Option<Spanned<i64>> {
        self.get(key, "a whole number", integer)
    }

    fn float(&mut self, key: &'static str) -> Option<Spanned<f64>> {
        self.get(key, "a finite number", float)
    }

    fn strings(&mut self, key: &'static str) -> Option<Spanned<Vec<Spanned<String>>>> {
        let items = self.get(key, "a list of strings", DeValue::as_array)?;
        let span = items.span();
        let mut texts = Vec::new();
        for item in items.into_inner().iter() {
            match item.get_ref().as_str() {
                Some(text) => texts.push(Spanned::new(item.span(), text.to_owned())),
                None => self.issues.push(wrong_type(key, "a list of strings", item)),
            }
        }
        Some(Spanned::new(span, texts))
    }

    fn table(&mut self, key: &'static str) -> Option<(Range<usize>, &'a DeTable<'i>)> {
        let table = self.get(key, "a table", DeValue::as_table)?;
        Some((table.span(), table.into_inner()))
    }

    fn tables(&mut self, key: &'static str) -> Vec<(Range<usize>, &'a DeTable<'i>)> {
        let Some(items) = self.get(key, "tables, each under its own [[..]]", DeValue::as_array)
        else {
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in items.into_inner().iter() {
            match item.get_ref().as_table() {
                Some(table) => tables.push((item.span(), table)),
                None => {
                    self.broken.push(key);
                    self.issues
                        .push(wrong_type(key, "tables, each under its own [[..]]", item));
                }
            }
        }
        tables
    }
}
