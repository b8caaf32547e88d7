//! A TOML table that notes every mistake and goes on.
//!
//! serde stops at the first mistake; here each key is taken from the parsed tree with its place,
//! a wrong value leaves the default standing, and what was never asked for is an unknown key.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Problem;

/// Names that other trainers use, with what to write here.
const FOREIGN: [(&str, &str); 26] = [
    ("r", "`rank` under [lora]"),
    ("lora_rank", "`rank` under [lora]"),
    ("lora_alpha", "`alpha` under [lora]"),
    ("lora_dropout", "`dropout` under [lora]"),
    ("rslora", "`use_rslora` under [lora]"),
    ("lr", "`learning_rate` under [train]"),
    ("epochs", "`num_train_epochs` under [train]"),
    ("num_epochs", "`num_train_epochs` under [train]"),
    ("batch_size", "`per_device_train_batch_size` under [train]"),
    (
        "per_device_eval_batch_size",
        "nothing: validation is packed by `micro_batch_tokens`",
    ),
    ("lr_scheduler", "`lr_scheduler_type` under [train]"),
    ("max_seq_length", "`max_length` under [train]"),
    ("cutoff_len", "`max_length` under [train]"),
    ("gradient_checkpointing", "`recompute` under [train]"),
    ("dataset", "`sources` under [data]"),
    ("split_dataset_ratio", "`validation_ratio` under [data]"),
    ("val_size", "`validation_ratio` under [data]"),
    ("data_seed", "`seed` under [data]"),
    ("train_type", "nothing: LoRA is the only kind"),
    ("tuner_type", "nothing: LoRA is the only kind"),
    ("torch_dtype", "`dtype` under [model]"),
    (
        "dataloader_num_workers",
        "nothing: examples are encoded once, before step 1",
    ),
    (
        "use_loss_scale_sampler",
        "nothing: ms-swift has no such option either",
    ),
    ("model_name_or_path", "`path` under [model]"),
    ("id", "`path` under [model]"),
    ("temperature", "`temperature` under [generation] of a suite"),
];

/// Mistakes found so far in one file.
#[derive(Debug)]
pub(super) struct Problems<'t> {
    pub(super) file: &'t str,
    pub(super) source: &'t str,
    pub(super) found: Vec<Problem>,
}

impl Problems<'_> {
    pub(super) fn note(
        &mut self,
        span: Range<usize>,
        what: impl Into<String>,
        rule: impl Into<String>,
    ) {
        let problem = Problem::at(self.file, self.source, span, what.into(), rule.into());
        self.found.push(problem);
    }
}

/// One table being read.
pub(super) struct Table<'a, 'p, 't> {
    /// As messages name it: `[lora]`, `sources[1]`.
    name: String,
    table: Option<&'a DeTable<'a>>,
    problems: &'p mut Problems<'t>,
    known: Vec<&'static str>,
}

type Value<'a> = Spanned<DeValue<'a>>;

impl<'a, 'p, 't> Table<'a, 'p, 't> {
    pub(super) fn new(
        name: impl Into<String>,
        table: Option<&'a DeTable<'a>>,
        problems: &'p mut Problems<'t>,
    ) -> Self {
        Table {
            name: name.into(),
            table,
            problems,
            known: Vec::new(),
        }
    }

    /// A table inside this one, under its header's name.
    pub(super) fn section(&mut self, key: &'static str) -> Table<'a, '_, 't> {
        let table = self.take(key).and_then(|value| match value.get_ref() {
            DeValue::Table(table) => Some(table),
            other => {
                let what = format!("`{key}` is {}", kind(other));
                self.problems
                    .note(value.span(), what, format!("it is a table: [{key}]"));
                None
            }
        });
        Table::new(format!("[{key}]"), table, self.problems)
    }

    pub(super) fn take(&mut self, key: &'static str) -> Option<&'a Value<'a>> {
        self.known.push(key);
        self.table?
            .iter()
            .find(|(name, _)| name.get_ref() == key)
            .map(|(_, value)| value)
    }

    fn wrong(&mut self, key: &str, value: &Value<'_>, wanted: &str) {
        let shown = match value.get_ref() {
            DeValue::Integer(n) => n.to_string(),
            DeValue::Float(n) => n.to_string(),
            DeValue::String(text) => format!("{text:?}"),
            other => kind(other).to_string(),
        };
        let what = format!("`{key}` in {} is {shown}", self.name);
        self.problems
            .note(value.span(), what, format!("it is {wanted}"));
    }

    /// A number that `fits`; a whole one may be written without a point.
    pub(super) fn number(
        &mut self,
        key: &'static str,
        target: &mut f64,
        wanted: &str,
        fits: impl Fn(f64) -> bool,
    ) {
        let Some(value) = self.take(key) else { return };
        match as_number(value.get_ref()).filter(|n| n.is_finite() && fits(*n)) {
            Some(number) => *target = number,
            None => self.wrong(key, value, wanted),
        }
    }

    /// A whole number of at least `least`.
    pub(super) fn count(&mut self, key: &'static str, target: &mut usize, least: usize) {
        let Some(value) = self.take(key) else { return };
        match as_whole(value.get_ref()).and_then(|n| usize::try_from(n).ok()) {
            Some(number) if number >= least => *target = number,
            _ => self.wrong(key, value, &format!("a whole number, {least} or more")),
        }
    }

    /// A whole number, where 0 stands for none.
    pub(super) fn count_or_none(&mut self, key: &'static str, target: &mut Option<usize>) {
        let mut number = target.unwrap_or(0);
        self.count(key, &mut number, 0);
        *target = (number > 0).then_some(number);
    }

    pub(super) fn seed(&mut self, key: &'static str, target: &mut u64) {
        let Some(value) = self.take(key) else { return };
        match as_whole(value.get_ref()) {
            Some(number) => *target = number,
            None => self.wrong(key, value, "a whole number, 0 or more"),
        }
    }

    pub(super) fn flag(&mut self, key: &'static str, target: &mut bool) {
        let Some(value) = self.take(key) else { return };
        match value.get_ref().as_bool() {
            Some(flag) => *target = flag,
            None => self.wrong(key, value, "true or false"),
        }
    }

    pub(super) fn text(&mut self, key: &'static str, target: &mut String) {
        let mut text = None;
        self.optional_text(key, &mut text);
        match text {
            Some(text) if text.is_empty() => {
                if let Some(value) = self.take(key) {
                    self.wrong(key, value, "a text that is not empty");
                }
            }
            Some(text) => *target = text,
            None => {}
        }
    }

    /// A text that may be empty.
    pub(super) fn optional_text(&mut self, key: &'static str, target: &mut Option<String>) {
        let Some(value) = self.take(key) else { return };
        match value.get_ref().as_str() {
            Some(text) => *target = Some(text.to_string()),
            None => self.wrong(key, value, "a text"),
        }
    }

    /// One of some words.
    pub(super) fn word<T: Copy>(&mut self, key: &'static str, target: &mut T, words: &[(&str, T)]) {
        let Some(value) = self.take(key) else { return };
        let written = value.get_ref().as_str();
        match words.iter().find(|(word, _)| Some(*word) == written) {
            Some((_, meaning)) => *target = *meaning,
            None => {
                let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                let list: Vec<String> = names.iter().map(|word| format!("\"{word}\"")).collect();
                let hint = written
                    .and_then(|w| nearest(w, &names))
                    .map(|near| format!("; did you mean \"{near}\"?"));
                let wanted = format!("one of {}{}", list.join(", "), hint.unwrap_or_default());
                self.wrong(key, value, &wanted);
            }
        }
    }

    /// A list of texts, none empty.
    pub(super) fn texts(&mut self, key: &'static str, target: &mut Vec<String>) {
        let Some(value) = self.take(key) else { return };
        let Some(list) = value.get_ref().as_array() else {
            return self.wrong(key, value, "a list of texts");
        };
        let mut texts = Vec::new();
        for item in list {
            match item.get_ref().as_str() {
                Some(text) if !text.is_empty() => texts.push(text.to_string()),
                _ => self.wrong(key, item, "a list of texts, none of them empty"),
            }
        }
        *target = texts;
    }

    /// A table of free keys.
    pub(super) fn map<V>(
        &mut self,
        key: &'static str,
        target: &mut BTreeMap<String, V>,
        wanted: &str,
        read: impl Fn(&DeValue<'_>) -> Option<V>,
    ) {
        let Some(value) = self.take(key) else { return };
        match value.get_ref().as_table() {
            Some(table) => {
                *target = BTreeMap::new();
                for (name, value) in table.iter() {
                    match read(value.get_ref()) {
                        Some(read) => {
                            target.insert(name.get_ref().to_string(), read);
                        }
                        None => self.wrong(&format!("{key}.{}", name.get_ref()), value, wanted),
                    }
                }
            }
            None => self.wrong(key, value, "a table"),
        }
    }

    /// A mistake in this table that a key's value shows.
    pub(super) fn note(&mut self, span: Range<usize>, what: &str, rule: &str) {
        self.problems.note(span, what, rule);
    }

    pub(super) fn problems(&mut self) -> &mut Problems<'t> {
        self.problems
    }

    /// Every key that nobody asked for is a mistake.
    pub(super) fn finish(self) {
        let Some(table) = self.table else { return };
        for key in table.keys() {
            let name = key.get_ref().as_ref();
            if self.known.contains(&name) {
                continue;
            }
            let foreign = FOREIGN.iter().find(|(foreign, _)| *foreign == name);
            let hint = match (foreign, nearest(name, &self.known)) {
                (Some((_, ours)), _) => format!("write {ours}"),
                (None, Some(near)) => format!("did you mean `{near}`?"),
                (None, None) => format!("known: {}", self.known.join(", ")),
            };
            let what = format!("unknown key `{name}` in {}", self.name);
            self.problems.note(key.span(), what, hint);
        }
    }
}

/// The word that `written` most resembles, when it resembles one at all.
fn nearest<'w>(written: &str, words: &[&'w str]) -> Option<&'w str> {
    words
        .iter()
        .map(|word| (strsim::jaro_winkler(written, word), *word))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, word)| word)
}

pub(super) fn as_whole(value: &DeValue<'_>) -> Option<u64> {
    let number = value.as_integer()?;
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

pub(super) fn as_number(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Float(number) => number.as_str().parse().ok(),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .map(|n| n as f64),
        _ => None,
    }
}

pub(super) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
