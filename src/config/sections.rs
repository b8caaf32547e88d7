//! The sections of `qeval.toml`, key by key.
//!
//! `[lora]`, `[data]`, and `[train]` fill the trainer's own structs; `[model]` and `[gate]` are
//! here. Each reader starts from the defaults, so a key that is left out keeps its own.

use serde::{Deserialize, Serialize};
use toml::de::DeValue;

use crate::model::Dtype;
use crate::train::{
    BadRows, DataSection, Every, Format, LoraSection, Recompute, SchedulerType, Source,
    TargetSelection, TrainSection,
};

use super::reader::{Table, as_number, as_whole};

/// `[model]`: the base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelSection {
    /// A Hugging Face folder or a GGUF file (relative to the folder of `qeval.toml`), a hub id, or
    /// the built-in name `smollm2-135m`. Default `"smollm2-135m"`.
    pub path: String,
    /// What a GPU computes in: `"auto"`, `"bfloat16"`, or `"float16"`. A CPU computes in F32.
    /// Default `"auto"`: float16 for weights stored as F16 or quantized, else bfloat16.
    pub dtype: Dtype,
}

impl Default for ModelSection {
    fn default() -> Self {
        ModelSection {
            path: "smollm2-135m".into(),
            dtype: Dtype::Auto,
        }
    }
}

/// `[gate]`: what a checkpoint is asked, and how much may be lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateSection {
    /// Loss of the mean score over all `keep` probes that a pass excludes, in (0, 1].
    /// Default 0.03.
    pub margin: f64,
    /// The same for a `keep` suite without a margin of its own, asked of suites with 60 probes or
    /// more, in (0, 1]. Default 0.15.
    pub suite_margin: f64,
    /// Suite files, folders of them (relative to the folder of `qeval.toml`), or names of built-in
    /// suites. Default `["suites"]`.
    pub suites: Vec<String>,
    /// Only probes with one of these tags. Default: all.
    pub tags: Vec<String>,
    /// Only probes in one of these languages, `en` or `zh`. Default: all.
    pub languages: Vec<String>,
    /// Only the first so many prompts of each probe; 0 asks all. Default: all.
    pub prompts_per_probe: Option<usize>,
    /// The subject that `qeval gate` judges. Default: the newest checkpoint of the latest run.
    pub candidate: Option<String>,
    /// Ask the base twice, with other draws, and show how much it differs from itself beside every
    /// difference. Default true.
    pub noise_floor: bool,
    /// Folder of the accepted answers, relative to that of `qeval.toml`.
    /// Default `"snapshots/answers"`.
    pub snapshots: String,
    /// Part of a suite's probes that may stay unscored before it could not be measured, in
    /// [0, 1]. Default 0.1.
    pub max_unscored: f64,
}

impl Default for GateSection {
    fn default() -> Self {
        GateSection {
            margin: 0.03,
            suite_margin: 0.15,
            suites: vec!["suites".into()],
            tags: Vec::new(),
            languages: Vec::new(),
            prompts_per_probe: None,
            candidate: None,
            noise_floor: true,
            snapshots: "snapshots/answers".into(),
            max_unscored: 0.1,
        }
    }
}

/// `[checks]`: what checks may use besides the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChecksSection {
    /// A Python that runs what the embedded interpreter lacks, locked down: no network, no files,
    /// limits on time, memory, and processes. Linux only. Default: none.
    pub python: Option<String>,
    /// The sentence encoder of `similar`: `all-minilm-l6-v2`, a folder (relative to that of
    /// `qeval.toml`), or a hub id of a BERT model. Default `"all-minilm-l6-v2"`.
    pub encoder: String,
    /// Who answers `llm-rubric`: `base`, or an OpenAI-compatible server and its model, as in
    /// `http://localhost:8000/v1#Qwen2.5-7B-Instruct`. Default `"base"`.
    pub judge: String,
    /// Environment variable with the key of the judge's server. Default `"QEVAL_JUDGE_KEY"`.
    pub judge_key_variable: String,
    /// Least mean of sensitivity and specificity on golden answers of a judge that is used, in
    /// [0, 1]. Default 0.8.
    pub judge_accuracy: f64,
}

impl Default for ChecksSection {
    fn default() -> Self {
        ChecksSection {
            python: None,
            encoder: "all-minilm-l6-v2".into(),
            judge: "base".into(),
            judge_key_variable: "QEVAL_JUDGE_KEY".into(),
            judge_accuracy: 0.8,
        }
    }
}

const ABOVE_ZERO: &str = "a number above 0";
const ZERO_OR_MORE: &str = "a number, 0 or more";
const PART: &str = "a number from 0 to 1";
const PART_BELOW_ONE: &str = "a number from 0 to below 1";
const POSITIVE_PART: &str = "a number above 0, at most 1";

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

pub(super) fn read_model(mut table: Table<'_, '_, '_>) -> ModelSection {
    let mut model = ModelSection::default();
    table.text("path", &mut model.path);
    table.word("dtype", &mut model.dtype, &Dtype::WORDS);
    table.finish();
    model
}

pub(super) fn read_lora(mut table: Table<'_, '_, '_>) -> LoraSection {
    let mut lora = LoraSection::default();
    table.count("rank", &mut lora.rank, 1);
    table.number("alpha", &mut lora.alpha, ABOVE_ZERO, above_zero);
    table.number("dropout", &mut lora.dropout, PART_BELOW_ONE, part_below_one);
    read_target_modules(&mut table, &mut lora.target_modules);
    table.flag("use_rslora", &mut lora.use_rslora);
    table.map(
        "rank_pattern",
        &mut lora.rank_pattern,
        "a whole number, 1 or more",
        |value| {
            as_whole(value)
                .filter(|&n| n > 0)
                .and_then(|n| usize::try_from(n).ok())
        },
    );
    table.map(
        "alpha_pattern",
        &mut lora.alpha_pattern,
        ABOVE_ZERO,
        |value| as_number(value).filter(|&n| n.is_finite() && n > 0.0),
    );
    table.finish();
    lora
}

fn read_target_modules(table: &mut Table<'_, '_, '_>, target: &mut TargetSelection) {
    const KEY: &str = "target_modules";
    let Some(value) = table.take(KEY) else { return };
    match value.get_ref() {
        DeValue::String(text) if text == "all-linear" => *target = TargetSelection::AllLinear,
        DeValue::String(_) => table.note(
            value.span(),
            "`target_modules` in [lora] is a single text",
            "it is \"all-linear\" or a list of module names and patterns, such as \
             [\"q_proj\", \"v_proj\"]",
        ),
        DeValue::Array(list) if list.is_empty() => table.note(
            value.span(),
            "`target_modules` in [lora] is empty: nothing would be trained",
            "name a module at least, or write \"all-linear\"",
        ),
        _ => {
            let mut names = Vec::new();
            table.texts(KEY, &mut names);
            *target = TargetSelection::Named(names);
        }
    }
}

pub(super) fn read_data(mut table: Table<'_, '_, '_>) -> DataSection {
    let mut data = DataSection::default();
    read_sources(&mut table, &mut data.sources);
    let formats = [
        ("auto", Format::Auto),
        ("alpaca", Format::Alpaca),
        ("messages", Format::Messages),
        ("sharegpt", Format::Sharegpt),
        ("query-response", Format::QueryResponse),
    ];
    table.word("format", &mut data.format, &formats);
    table.number(
        "validation_ratio",
        &mut data.validation_ratio,
        PART_BELOW_ONE,
        part_below_one,
    );
    table.seed("seed", &mut data.seed);
    let bad_rows = [("refuse", BadRows::Refuse), ("drop", BadRows::Drop)];
    table.word("bad_rows", &mut data.bad_rows, &bad_rows);
    table.flag("drop_duplicates", &mut data.drop_duplicates);
    table.optional_text("rehearsal", &mut data.rehearsal);
    table.count("rehearsal_tokens", &mut data.rehearsal_tokens, 1);
    table.finish();
    data
}

fn read_sources(table: &mut Table<'_, '_, '_>, sources: &mut Vec<Source>) {
    const RULE: &str = "a source is a path, \"path#200\", or { path, take, share }";
    let Some(value) = table.take("sources") else {
        return;
    };
    let Some(list) = value.get_ref().as_array() else {
        return table.note(value.span(), "`sources` in [data] is not a list", RULE);
    };
    for (i, item) in list.iter().enumerate() {
        match item.get_ref() {
            DeValue::String(text) if !text.is_empty() => sources.push(Source::parse(text)),
            DeValue::Table(inner) => {
                let mut inner = Table::new(format!("sources[{i}]"), Some(inner), table.problems());
                let (mut path, mut take, mut share) = (String::new(), 0, f64::NAN);
                inner.text("path", &mut path);
                inner.count("take", &mut take, 1);
                inner.number("share", &mut share, ABOVE_ZERO, above_zero);
                inner.finish();
                if path.is_empty() {
                    table.note(item.span(), "a source without `path`", RULE);
                }
                let mut source = Source::parse(&path);
                if take > 0 {
                    source.take = Some(take);
                }
                source.share = share.is_finite().then_some(share);
                sources.push(source);
            }
            _ => table.note(item.span(), "a source is neither a path nor a table", RULE),
        }
    }
    let shared = sources
        .iter()
        .filter(|source| source.share.is_some())
        .count();
    if shared > 0 && shared < sources.len() {
        table.note(
            value.span(),
            "some sources in [data] have a `share` and some have none",
            "give every source a share, a number above 0, or none",
        );
    }
}

pub(super) fn read_train(mut table: Table<'_, '_, '_>) -> TrainSection {
    let mut train = TrainSection::default();
    table.number(
        "num_train_epochs",
        &mut train.num_train_epochs,
        ABOVE_ZERO,
        above_zero,
    );
    table.number(
        "learning_rate",
        &mut train.learning_rate,
        ABOVE_ZERO,
        above_zero,
    );
    table.number("warmup_ratio", &mut train.warmup_ratio, PART, part);
    let kinds = [
        ("cosine", SchedulerType::Cosine),
        ("linear", SchedulerType::Linear),
        ("constant", SchedulerType::Constant),
    ];
    table.word("lr_scheduler_type", &mut train.lr_scheduler_type, &kinds);
    table.number(
        "weight_decay",
        &mut train.weight_decay,
        ZERO_OR_MORE,
        zero_or_more,
    );
    table.number(
        "adam_beta1",
        &mut train.adam_beta1,
        PART_BELOW_ONE,
        part_below_one,
    );
    table.number(
        "adam_beta2",
        &mut train.adam_beta2,
        PART_BELOW_ONE,
        part_below_one,
    );
    table.number(
        "adam_epsilon",
        &mut train.adam_epsilon,
        ABOVE_ZERO,
        above_zero,
    );
    table.number(
        "max_grad_norm",
        &mut train.max_grad_norm,
        ZERO_OR_MORE,
        zero_or_more,
    );
    table.number(
        "rehearsal_weight",
        &mut train.rehearsal_weight,
        ZERO_OR_MORE,
        zero_or_more,
    );
    table.count(
        "gradient_accumulation_steps",
        &mut train.gradient_accumulation_steps,
        1,
    );
    table.count(
        "per_device_train_batch_size",
        &mut train.per_device_train_batch_size,
        1,
    );
    table.count("micro_batch_tokens", &mut train.micro_batch_tokens, 1);
    table.count("max_length", &mut train.max_length, 2);
    read_every(&mut table, "eval_steps", |every| train.eval_steps = every);
    read_every(&mut table, "save_steps", |every| {
        train.save_steps = Some(every)
    });
    table.count("logging_steps", &mut train.logging_steps, 1);
    table.count_or_none("save_total_limit", &mut train.save_total_limit);
    table.count_or_none(
        "early_stopping_patience",
        &mut train.early_stopping_patience,
    );
    table.seed("seed", &mut train.seed);
    table.optional_text("system", &mut train.system);
    let recompute = [
        ("auto", Recompute::Auto),
        ("none", Recompute::None),
        ("selective", Recompute::Selective),
        ("full", Recompute::Full),
    ];
    table.word("recompute", &mut train.recompute, &recompute);
    table.text("output_dir", &mut train.output_dir);
    table.finish();
    train
}

fn read_every(table: &mut Table<'_, '_, '_>, key: &'static str, mut set: impl FnMut(Every)) {
    let Some(value) = table.take(key) else { return };
    let steps = as_whole(value.get_ref()).and_then(|n| usize::try_from(n).ok());
    match (steps, as_number(value.get_ref())) {
        (Some(steps), _) if steps > 0 => set(Every::Steps(steps)),
        (None, Some(part)) if part > 0.0 && part < 1.0 => set(Every::Part(part)),
        _ => table.note(
            value.span(),
            &format!("`{key}` in [train] is neither a number of steps nor a part of all steps"),
            "it is a whole number, 1 or more, or a number between 0 and 1: 0.25 is four times \
             in a run",
        ),
    }
}

pub(super) fn read_gate(mut table: Table<'_, '_, '_>) -> GateSection {
    let mut gate = GateSection::default();
    table.number("margin", &mut gate.margin, POSITIVE_PART, positive_part);
    table.number(
        "suite_margin",
        &mut gate.suite_margin,
        POSITIVE_PART,
        positive_part,
    );
    table.texts("suites", &mut gate.suites);
    table.texts("tags", &mut gate.tags);
    table.texts("languages", &mut gate.languages);
    table.count_or_none("prompts_per_probe", &mut gate.prompts_per_probe);
    table.optional_text("candidate", &mut gate.candidate);
    table.flag("noise_floor", &mut gate.noise_floor);
    table.text("snapshots", &mut gate.snapshots);
    table.number("max_unscored", &mut gate.max_unscored, PART, part);
    table.finish();
    gate
}

pub(super) fn read_checks(mut table: Table<'_, '_, '_>) -> ChecksSection {
    let mut checks = ChecksSection::default();
    table.optional_text("python", &mut checks.python);
    table.text("encoder", &mut checks.encoder);
    table.text("judge", &mut checks.judge);
    table.text("judge_key_variable", &mut checks.judge_key_variable);
    table.number("judge_accuracy", &mut checks.judge_accuracy, PART, part);
    table.finish();
    checks
}
