//! A suite file as it is written: the tables and keys of the TOML with their places, types and
//! ranges checked, unknown keys refused, no rule applied yet that looks beyond one key.

use std::ops::Range;

use serde_json::Value;
use toml::Spanned;

use crate::flow::{Expect, Goal};
use crate::toml_file::{Broken, Read, Table, json, read};

/// Most samples of a case.
const MOST_SAMPLES: usize = 1000;
/// Most tokens of an answer.
const MOST_TOKENS: usize = 1_000_000;
/// Most tokens to draw from.
const MOST_CHOICES: usize = u32::MAX as usize;

/// A whole file.
#[derive(Debug)]
pub(super) struct SuiteFile {
    pub(super) suite: Option<Spanned<SuiteTable>>,
    pub(super) generation: GenerationTable,
    pub(super) probes: Vec<Spanned<ProbeTable>>,
    pub(super) broken: Broken,
}

/// `[suite]`.
#[derive(Debug)]
pub(super) struct SuiteTable {
    pub(super) name: Option<Spanned<String>>,
    pub(super) description: Option<Spanned<String>>,
    pub(super) goal: Option<Spanned<Goal>>,
    pub(super) margin: Option<Spanned<f64>>,
    pub(super) target: Option<Spanned<f64>>,
    pub(super) broken: Broken,
}

/// `[generation]` and `[probe.generation]`.
#[derive(Debug, Default, Clone)]
pub(super) struct GenerationTable {
    pub(super) max_new_tokens: Option<Spanned<usize>>,
    pub(super) temperature: Option<Spanned<f64>>,
    pub(super) top_k: Option<Spanned<usize>>,
    pub(super) top_p: Option<Spanned<f64>>,
    pub(super) repetition_penalty: Option<Spanned<f64>>,
    pub(super) samples: Option<Spanned<usize>>,
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
    pub(super) expect: Option<Spanned<Expect>>,
    pub(super) siblings: Vec<Spanned<String>>,
    pub(super) training_answers: Vec<Spanned<String>>,
    pub(super) broken: Broken,
}

/// Reads a file's text: everything wrong with it, and what was read all the same, so that the
/// rules can be applied to it.
pub(super) fn parse(text: &str) -> Read<SuiteFile> {
    read(text, "a suite file", &[], suite_file)
}

fn suite_file(mut top: Table<'_, '_>) -> SuiteFile {
    let suite = top.section("suite", "[suite]");
    let suite = suite
        .span()
        .map(|span| Spanned::new(span, suite_table(suite)));
    let generation = generation_table(top.section("generation", "[generation]"));
    let probes = top.sections("probe", "[[probe]]", probe_table);
    SuiteFile {
        suite,
        generation,
        probes,
        broken: top.finish(),
    }
}

fn suite_table(mut table: Table<'_, '_>) -> SuiteTable {
    const SHARE: &str = "a share of the mean score: above 0, at most 1";
    let share = |n: f64| n > 0.0 && n <= 1.0;
    SuiteTable {
        name: table.string("name"),
        description: table.string("description"),
        goal: table.word("goal", &[("keep", Goal::Keep), ("learn", Goal::Learn)]),
        margin: table.number("margin", SHARE, share),
        target: table.number("target", SHARE, share),
        broken: table.finish(),
    }
}

fn generation_table(mut table: Table<'_, '_>) -> GenerationTable {
    let read = GenerationTable {
        max_new_tokens: table.count("max_new_tokens", 1..=MOST_TOKENS),
        temperature: table.number("temperature", "a number from 0 (greedy) to 100", |t| {
            (0.0..=100.0).contains(&t)
        }),
        top_k: table.count("top_k", 1..=MOST_CHOICES),
        top_p: table.number("top_p", "a number above 0, at most 1", |p| {
            p > 0.0 && p <= 1.0
        }),
        repetition_penalty: table.number(
            "repetition_penalty",
            "a number above 0 (1 is none)",
            |p| p > 0.0,
        ),
        samples: table.count("samples", 1..=MOST_SAMPLES),
    };
    table.finish();
    read
}

fn probe_table(mut table: Table<'_, '_>) -> ProbeTable {
    ProbeTable {
        id: table.string("id"),
        tags: list(table.strings("tags")),
        critical: table.flag("critical").is_some_and(Spanned::into_inner),
        system: table.string("system"),
        history: table.sections("history", "`history`", exchange_table),
        prompts: table.strings("prompts"),
        generation: generation_table(table.section("generation", "[probe.generation]")),
        checks: table.sections("check", "[[probe.check]]", check_table),
        goldens: table.sections("golden", "[[probe.golden]]", golden_table),
        broken: table.finish(),
    }
}

fn exchange_table(mut table: Table<'_, '_>) -> ExchangeTable {
    ExchangeTable {
        user: table.string("user"),
        assistant: table.string("assistant"),
        broken: table.finish(),
    }
}

fn golden_table(mut table: Table<'_, '_>) -> GoldenTable {
    let words = [
        ("pass", Expect::Pass),
        ("fail", Expect::Fail),
        ("unscored", Expect::Unscored),
    ];
    GoldenTable {
        answer: table.string("answer"),
        expect: table.word("expect", &words),
        siblings: list(table.strings("siblings")),
        training_answers: list(table.strings("training_answers")),
        broken: table.finish(),
    }
}

fn check_table(mut table: Table<'_, '_>) -> CheckTable {
    let kind = table.string("type");
    let mut params = Vec::new();
    for (key, value) in table.rest() {
        let name = key.get_ref().to_string();
        match json(value.get_ref()) {
            Ok(json) => params.push(Param {
                key: Spanned::new(key.span(), name),
                value: json,
                value_span: value.span(),
            }),
            Err(what) => {
                let what = format!("`{name}` in [[probe.check]] has {what}");
                let rule = "a check's parameters are strings, finite numbers, booleans, lists, \
                            and tables";
                table.bad(value.span(), what, rule);
            }
        }
    }
    CheckTable {
        kind,
        params,
        broken: table.finish(),
    }
}

fn list(texts: Option<Spanned<Vec<Spanned<String>>>>) -> Vec<Spanned<String>> {
    texts.map(Spanned::into_inner).unwrap_or_default()
}
