//! The keys of each section of `qeval.toml`: what each wants, and the setting that it fills.
//!
//! `[lora]`, `[data]`, and `[train]` fill the trainer's own structs. Each reader starts from the
//! defaults, so a key that is left out keeps its own.

use std::ops::Range;

use toml::Spanned;
use toml::de::DeValue;

use crate::flow::{LearnRule, SignRule};
use crate::gate::EarlyStop;
use crate::model::{Dtype, Storage};
use crate::server::{Rendered, ServerSection};
use crate::toml_file::{Table, json, number, whole};
use crate::train::{
    BadRows, DataSection, Every, Language, LoraSection, Recompute, RehearsalTarget, RowFormat,
    SchedulerType, Source, StopOnRegression, TargetSelection, TrainSection,
};

use super::sections::{ChecksSection, GateSection, ModelSection};

/// What a source is.
const SOURCE: &str = "a source is a path, \"path#200\", or { path, take, share }";
const ABOVE_ZERO: &str = "a number above 0";
const ZERO_OR_MORE: &str = "a number, 0 or more";
const PART: &str = "a number from 0 to 1";
const PART_BELOW_ONE: &str = "a number from 0 to below 1";
const POSITIVE_PART: &str = "a number above 0, at most 1";

/// What is not written, or wrong, leaves the default standing.
fn set<T>(setting: &mut T, written: Option<Spanned<T>>) {
    if let Some(written) = written {
        *setting = written.into_inner();
    }
}

/// The same for a setting that may have no value.
fn set_optional<T>(setting: &mut Option<T>, written: Option<Spanned<T>>) {
    if written.is_some() {
        *setting = written.map(Spanned::into_inner);
    }
}

/// The same for a count whose 0 stands for none.
fn set_or_none(setting: &mut Option<usize>, written: Option<Spanned<usize>>) {
    if let Some(written) = written {
        *setting = Some(written.into_inner()).filter(|count| *count > 0);
    }
}

/// The same for a list of strings, none of them empty.
fn set_strings(setting: &mut Vec<String>, table: &mut Table<'_, '_>, key: &'static str) {
    if let Some(texts) = table.filled_strings(key) {
        let texts = texts.into_inner().into_iter();
        *setting = texts.map(Spanned::into_inner).collect();
    }
}

fn whole_count(value: &DeValue<'_>) -> Option<usize> {
    whole(value).and_then(|n| usize::try_from(n).ok())
}

fn above_zero(n: f64) -> bool {
    n > 0.0
}

fn zero_or_more(n: f64) -> bool {
    n >= 0.0
}

fn part(n: f64) -> bool {
    (0.0..=1.0).contains(&n)
}

fn part_below_one(n: f64) -> bool {
    (0.0..1.0).contains(&n)
}

fn positive_part(n: f64) -> bool {
    n > 0.0 && n <= 1.0
}

pub(super) fn read_model(mut table: Table<'_, '_>) -> ModelSection {
    let mut model = ModelSection::default();
    let path = table.filled_string("path");
    model.is_named = path.is_some();
    set(&mut model.path, path);
    set(&mut model.dtype, table.word("dtype", &Dtype::WORDS));
    set(&mut model.weights, table.word("weights", &Storage::WORDS));
    if let Some(four) = table.flag("load_in_4bit") {
        model.load_in_4bit = *four.get_ref();
        if model.load_in_4bit && model.weights == Storage::Widened {
            table.bad(
                four.span(),
                "`load_in_4bit` holds matrices in four bits, and `weights` asks for widened ones",
                "take one of the two out",
            );
        }
    }
    let kwargs = table.map(
        "template_kwargs",
        "text, a number, true, false, or a list",
        |value| json(value).ok(),
    );
    model.template_kwargs = kwargs.unwrap_or_default().into_iter().collect();
    // The variable that most models who think have, in short.
    if let Some(thinks) = table.flag("enable_thinking") {
        let value = serde_json::Value::from(*thinks.get_ref());
        let kwargs = &mut model.template_kwargs;
        let other = kwargs.insert("enable_thinking".to_owned(), value.clone());
        if other.is_some_and(|other| other != value) {
            table.bad(
                thinks.span(),
                "`enable_thinking` is not what `template_kwargs` says",
                "take one of the two out",
            );
        }
    }
    set_optional(
        &mut model.thinking_budget,
        table.count("thinking_budget", 1..),
    );
    table.finish();
    model
}

pub(super) fn read_lora(mut table: Table<'_, '_>) -> LoraSection {
    let mut lora = LoraSection::default();
    set(&mut lora.rank, table.count("rank", 1..));
    set(
        &mut lora.alpha,
        table.number("alpha", ABOVE_ZERO, above_zero),
    );
    set(
        &mut lora.dropout,
        table.number("dropout", PART_BELOW_ONE, part_below_one),
    );
    read_target_modules(&mut table, &mut lora.target_modules);
    set(&mut lora.use_rslora, table.flag("use_rslora"));
    let ranks = table.map("rank_pattern", "a whole number, 1 or more", |value| {
        whole_count(value).filter(|&n| n > 0)
    });
    lora.rank_pattern = ranks.unwrap_or_default();
    let alphas = table.map("alpha_pattern", ABOVE_ZERO, |value| {
        number(value).filter(|&n| n > 0.0)
    });
    lora.alpha_pattern = alphas.unwrap_or_default();
    table.finish();
    lora
}

fn read_target_modules(table: &mut Table<'_, '_>, target: &mut TargetSelection) {
    const KEY: &str = "target_modules";
    let Some(value) = table.value(KEY) else {
        return;
    };
    match value.get_ref() {
        DeValue::String(text) if text == "all-linear" => *target = TargetSelection::AllLinear,
        DeValue::String(_) => {
            table.bad(
                value.span(),
                "`target_modules` in [lora] is a single string",
                "`target_modules` wants \"all-linear\" or a list of module names and patterns, \
                 such as [\"q_proj\", \"v_proj\"]",
            );
        }
        DeValue::Array(list) if list.is_empty() => {
            table.bad(
                value.span(),
                "`target_modules` in [lora] is empty: nothing would be trained",
                "name a module at least, or write \"all-linear\"",
            );
        }
        _ => {
            let mut names = Vec::new();
            set_strings(&mut names, table, KEY);
            *target = TargetSelection::Named(names);
        }
    }
}

pub(super) fn read_data(mut table: Table<'_, '_>) -> DataSection {
    let mut data = DataSection::default();
    read_sources(&mut table, &mut data.sources);
    let formats = [
        ("auto", RowFormat::Auto),
        ("alpaca", RowFormat::Alpaca),
        ("messages", RowFormat::Messages),
        ("sharegpt", RowFormat::Sharegpt),
        ("query-response", RowFormat::QueryResponse),
    ];
    set(&mut data.format, table.word("format", &formats));
    set(
        &mut data.validation_ratio,
        table.number("validation_ratio", PART_BELOW_ONE, part_below_one),
    );
    set(&mut data.seed, table.seed("seed"));
    let bad_rows = [("refuse", BadRows::Refuse), ("drop", BadRows::Drop)];
    set(&mut data.bad_rows, table.word("bad_rows", &bad_rows));
    set(&mut data.drop_duplicates, table.flag("drop_duplicates"));
    set(&mut data.paraphrase, table.count("paraphrase", 0..));
    read_languages(&mut table, &mut data.paraphrase_languages);
    read_rehearsal(&mut table, &mut data.rehearsal);
    set(
        &mut data.rehearsal_prompts,
        table.count("rehearsal_prompts", 1..),
    );
    let targets = RehearsalTarget::WORDS;
    set(
        &mut data.rehearsal_target,
        table.word("rehearsal_target", &targets),
    );
    set(
        &mut data.rehearsal_tokens,
        table.count("rehearsal_tokens", 1..),
    );
    set_optional(&mut data.near_miss, table.count("near_miss", 0..));
    set(
        &mut data.near_miss_target,
        table.word("near_miss_target", &targets),
    );
    set(
        &mut data.near_miss_weight,
        table.number("near_miss_weight", ABOVE_ZERO, above_zero),
    );
    table.finish();
    data
}

/// A list of `en` and `zh`.
fn read_languages(table: &mut Table<'_, '_>, languages: &mut Vec<Language>) {
    const KEY: &str = "paraphrase_languages";
    let Some(written) = table.strings(KEY) else {
        return;
    };
    for name in written.into_inner() {
        match name.get_ref().as_str() {
            "en" => languages.push(Language::En),
            "zh" => languages.push(Language::Zh),
            other => table.bad(
                name.span(),
                format!("`{KEY}` in [data] has \"{other}\""),
                "rows are asked in \"en\" and \"zh\"; an empty list asks in both where the base knows \
                 both",
            ),
        }
    }
}

/// One file or the pool, or a list of them.
fn read_rehearsal(table: &mut Table<'_, '_>, rehearsal: &mut Vec<String>) {
    const KEY: &str = "rehearsal";
    const RULE: &str = "`rehearsal` wants \"built-in\", a file of prompts, or a list of these";
    let Some(value) = table.value(KEY) else {
        return;
    };
    match value.get_ref() {
        DeValue::String(text) if text.is_empty() => {
            table.bad(value.span(), "`rehearsal` in [data] is empty", RULE);
        }
        DeValue::String(text) => *rehearsal = vec![text.to_string()],
        DeValue::Array(_) => set_strings(rehearsal, table, KEY),
        _ => table.bad(
            value.span(),
            "`rehearsal` in [data] is neither a string nor a list",
            RULE,
        ),
    }
    let twice = (1..rehearsal.len()).find(|&i| rehearsal[..i].contains(&rehearsal[i]));
    if let Some(twice) = twice {
        table.bad(
            value.span(),
            format!("`rehearsal` in [data] names \"{}\" twice", rehearsal[twice]),
            "a prompt is rehearsed once: name each source once",
        );
    }
}

fn read_sources(table: &mut Table<'_, '_>, sources: &mut Vec<Source>) {
    let Some(value) = table.value("sources") else {
        return;
    };
    let Some(list) = value.get_ref().as_array() else {
        return table.bad(value.span(), "`sources` in [data] is no list", SOURCE);
    };
    for (i, item) in list.iter().enumerate() {
        let source = match item.get_ref() {
            DeValue::String(text) if !text.is_empty() => Source::parse(text),
            DeValue::Table(inner) => {
                let inner = Spanned::new(item.span(), inner);
                let inner = table.inside(&format!("sources[{i}]"), Some(inner));
                read_source(inner, item.span())
            }
            _ => {
                let what = "a source is neither a path nor a table";
                table.bad(item.span(), what, SOURCE);
                continue;
            }
        };
        // `path#0` would train as if the source were not there.
        if source.take == Some(0) {
            table.bad(
                item.span(),
                format!("the source \"{source}\" takes no rows"),
                "a source gives one row at least: take it out, or raise the number",
            );
        }
        sources.push(source);
    }
    let shared = sources.iter().filter(|source| source.share.is_some());
    let shared = shared.count();
    if shared > 0 && shared < sources.len() {
        table.bad(
            value.span(),
            "some sources in [data] have a `share` and some have none",
            "give every source a share, a number above 0, or none",
        );
    }
}

fn read_source(mut table: Table<'_, '_>, span: Range<usize>) -> Source {
    let path = table.filled_string("path");
    let take = table.count("take", 1..);
    let share = table.number("share", ABOVE_ZERO, above_zero);
    if path.is_none() {
        table.bad(span, "a source without `path`", SOURCE);
    }
    table.finish();
    let path = path.map(Spanned::into_inner).unwrap_or_default();
    let mut source = Source::parse(&path);
    set_optional(&mut source.take, take);
    set_optional(&mut source.share, share);
    source
}

pub(super) fn read_train(mut table: Table<'_, '_>) -> TrainSection {
    let mut train = TrainSection::default();
    set(
        &mut train.num_train_epochs,
        table.number("num_train_epochs", ABOVE_ZERO, above_zero),
    );
    set(
        &mut train.learning_rate,
        table.number("learning_rate", ABOVE_ZERO, above_zero),
    );
    set(
        &mut train.warmup_ratio,
        table.number("warmup_ratio", PART, part),
    );
    let kinds = [
        ("cosine", SchedulerType::Cosine),
        ("linear", SchedulerType::Linear),
        ("constant", SchedulerType::Constant),
    ];
    set(
        &mut train.lr_scheduler_type,
        table.word("lr_scheduler_type", &kinds),
    );
    set(
        &mut train.weight_decay,
        table.number("weight_decay", ZERO_OR_MORE, zero_or_more),
    );
    set(
        &mut train.adam_beta1,
        table.number("adam_beta1", PART_BELOW_ONE, part_below_one),
    );
    set(
        &mut train.adam_beta2,
        table.number("adam_beta2", PART_BELOW_ONE, part_below_one),
    );
    set(
        &mut train.adam_epsilon,
        table.number("adam_epsilon", ABOVE_ZERO, above_zero),
    );
    set(
        &mut train.max_grad_norm,
        table.number("max_grad_norm", ZERO_OR_MORE, zero_or_more),
    );
    set(
        &mut train.rehearsal_weight,
        table.number("rehearsal_weight", ZERO_OR_MORE, zero_or_more),
    );
    set(
        &mut train.gradient_accumulation_steps,
        table.count("gradient_accumulation_steps", 1..),
    );
    set(
        &mut train.per_device_train_batch_size,
        table.count("per_device_train_batch_size", 1..),
    );
    set(
        &mut train.micro_batch_tokens,
        table.count("micro_batch_tokens", 1..),
    );
    set(&mut train.max_length, table.count("max_length", 2..));
    read_every(&mut table, "eval_steps", |every| train.eval_steps = every);
    read_every(&mut table, "save_steps", |every| {
        train.save_steps = Some(every)
    });
    set(&mut train.logging_steps, table.count("logging_steps", 1..));
    set_or_none(
        &mut train.save_total_limit,
        table.count("save_total_limit", 0..),
    );
    set_or_none(
        &mut train.early_stopping_patience,
        table.count("early_stopping_patience", 0..),
    );
    let stop = [
        ("once", StopOnRegression::Once),
        ("twice", StopOnRegression::Twice),
        ("never", StopOnRegression::Never),
    ];
    set(
        &mut train.stop_on_regression,
        table.word("stop_on_regression", &stop),
    );
    set(&mut train.seed, table.seed("seed"));
    set_optional(&mut train.system, table.string("system"));
    let recompute = [
        ("auto", Recompute::Auto),
        ("none", Recompute::None),
        ("selective", Recompute::Selective),
        ("full", Recompute::Full),
    ];
    set(&mut train.recompute, table.word("recompute", &recompute));
    set(&mut train.output_dir, table.filled_string("output_dir"));
    table.finish();
    train
}

fn read_every(table: &mut Table<'_, '_>, key: &'static str, mut set: impl FnMut(Every)) {
    let Some(value) = table.value(key) else {
        return;
    };
    match (whole_count(value.get_ref()), number(value.get_ref())) {
        (Some(steps), _) if steps > 0 => set(Every::Steps(steps)),
        (None, Some(part)) if part > 0.0 && part < 1.0 => set(Every::Part(part)),
        _ => {
            table.bad(
                value.span(),
                format!("`{key}` in [train] is neither a number of steps nor a part of all steps"),
                format!(
                    "`{key}` wants a whole number, 1 or more, or a number between 0 and 1: 0.25 \
                     is four times in a run"
                ),
            );
        }
    }
}

pub(super) fn read_gate(mut table: Table<'_, '_>) -> GateSection {
    let mut gate = GateSection::default();
    set(
        &mut gate.margin,
        table.number("margin", POSITIVE_PART, positive_part),
    );
    set(
        &mut gate.suite_margin,
        table.number("suite_margin", POSITIVE_PART, positive_part),
    );
    read_scales(&mut table, &mut gate.scales);
    set(&mut gate.learn, table.word("learn", &LearnRule::WORDS));
    set(&mut gate.signs, table.word("signs", &SignRule::WORDS));
    set(
        &mut gate.early_stop,
        table.word("early_stop", &EarlyStop::WORDS),
    );
    set_strings(&mut gate.suites, &mut table, "suites");
    set_strings(&mut gate.tags, &mut table, "tags");
    set_strings(&mut gate.languages, &mut table, "languages");
    set_or_none(
        &mut gate.prompts_per_probe,
        table.count("prompts_per_probe", 0..),
    );
    set_optional(&mut gate.candidate, table.string("candidate"));
    set(&mut gate.noise_floor, table.flag("noise_floor"));
    set(&mut gate.snapshots, table.filled_string("snapshots"));
    set(
        &mut gate.max_unscored,
        table.number("max_unscored", PART, part),
    );
    table.finish();
    gate
}

/// The scales that training judges a checkpoint at, the largest first, each once.
fn read_scales(table: &mut Table<'_, '_>, scales: &mut Vec<f64>) {
    const RULE: &str = "`scales` wants a list with 1.0 and other numbers above 0, at most 2, such \
                        as [1.0, 0.7, 0.5]";
    let Some(value) = table.value("scales") else {
        return;
    };
    let Some(list) = value.get_ref().as_array() else {
        return table.bad(value.span(), "`scales` in [gate] is no list", RULE);
    };
    let mut written = Vec::new();
    for item in list {
        match number(item.get_ref()).filter(|scale| *scale > 0.0 && *scale <= 2.0) {
            Some(scale) => written.push(scale),
            None => {
                let what = "a scale in [gate] is no number above 0, at most 2";
                return table.bad(item.span(), what, RULE);
            }
        }
    }
    if !written.contains(&1.0) {
        let what = "`scales` in [gate] lacks 1.0: a checkpoint would never be judged as trained";
        return table.bad(value.span(), what, RULE);
    }
    written.sort_by(|a, b| b.total_cmp(a));
    written.dedup();
    *scales = written;
}

pub(super) fn read_server(mut table: Table<'_, '_>) -> ServerSection {
    let mut server = ServerSection::default();
    set(&mut server.concurrency, table.count("concurrency", 1..));
    set(&mut server.timeout_s, table.count("timeout_s", 1..));
    set(&mut server.tries, table.count("tries", 1..));
    set(&mut server.wait_s, table.count("wait_s", 0..));
    set(&mut server.api_key_env, table.filled_string("api_key_env"));
    set_optional(
        &mut server.api_key_file,
        table.filled_string("api_key_file"),
    );
    set(
        &mut server.template,
        table.word("template", &Rendered::WORDS),
    );
    set_optional(&mut server.tokenizer, table.filled_string("tokenizer"));
    table.finish();
    server
}

pub(super) fn read_checks(mut table: Table<'_, '_>) -> ChecksSection {
    let mut checks = ChecksSection::default();
    set_optional(&mut checks.python, table.string("python"));
    set(&mut checks.encoder, table.filled_string("encoder"));
    set(&mut checks.judge, table.filled_string("judge"));
    set(
        &mut checks.judge_key_variable,
        table.filled_string("judge_key_variable"),
    );
    set(
        &mut checks.judge_accuracy,
        table.number("judge_accuracy", PART, part),
    );
    table.finish();
    checks
}
