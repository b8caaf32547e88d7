//! How a task scores: output type, metrics, and filters, as one check.
//!
//! A task may report several metrics on several readings of one answer, a probe has one score: the
//! first that can be carried over is taken, and the others are named. Of readings one that takes
//! the number out of any answer goes first: a strict one wants a form that few-shot examples teach.
//!
//! | output type | metric | here |
//! |---|---|---|
//! | `multiple_choice` | `acc` | `choice` |
//! | | `acc_norm`, `acc_bytes` | `choice` with `normalize = "bytes"` |
//! | | `f1`, `mcc`, `exact_match`, `brier_score`, `likelihood`, `acc_mutual_info` | `choice`, named |
//! | `loglikelihood` | `perplexity`, `acc` | `likelihood` |
//! | `generate_until` | `exact_match` on the whole answer | `equals` |
//! | | on what a filter reads | `regex` with `expected`, or `number` |
//! | `loglikelihood_rolling` | all | nothing: a probe has a prompt |
//!
//! Where a check decides otherwise than its metric does on some answer, that is named once for the
//! suite.

use regex::Regex;
use serde_json::{Map, Value};

use crate::flow::CheckSpec;
use crate::import::draft::{accept, whole};
use crate::import::notes::Notes;
use crate::import::pattern;
use crate::import::settings::{Fate, Settings, name_unread, shown};
use crate::import::template::Language;

use super::PLACE;
use super::formats::Asked;
use super::gold;
use super::reading::{Case, Reading, reading};

/// Answers of the harness that name no limit.
const MAX_TOKENS: u64 = 256;

/// Every key of a metric that compares texts.
const METRIC: Settings = &[
    ("metric", Fate::Read),
    ("aggregation", Fate::Read),
    ("higher_is_better", Fate::Read),
    ("ignore_case", Fate::Read),
    ("ignore_punctuation", Fate::Read),
    ("regexes_to_ignore", Fate::Read),
    (
        "ignore_numbers",
        Fate::Decides("it leaves every digit out, and here digits count"),
    ),
    (
        "hf_evaluate",
        Fate::Decides("a program of the `evaluate` library scores it"),
    ),
];

/// Metrics that say whether the right option was chosen.
const RIGHT_OPTION: [&str; 9] = [
    "acc",
    "acc_norm",
    "acc_bytes",
    "f1",
    "mcc",
    "exact_match",
    "brier_score",
    "likelihood",
    "acc_mutual_info",
];

/// A check's kind and parameters.
type Carried = (&'static str, Vec<(&'static str, Value)>);

/// How the answers to a task are scored.
#[derive(Debug)]
pub(super) enum Scoring {
    /// `multiple_choice`.
    Choice { bytes: bool },
    /// `loglikelihood`.
    Likelihood,
    /// `generate_until`.
    Answer(AnswerRule),
}

#[derive(Debug, Default)]
pub(super) struct AnswerRule {
    ignore_case: bool,
    /// Marks anywhere in the text are left out of both sides.
    ignore_punctuation: bool,
    /// Cut out of both sides.
    ignored: Vec<Regex>,
    reading: Reading,
    case: Case,
}

impl Scoring {
    /// `None` when nothing of it can be carried over, which is named.
    pub(super) fn of(config: &Map<String, Value>, notes: &mut Notes) -> Option<Scoring> {
        let kind = config.get("output_type");
        let kind = kind.and_then(Value::as_str).unwrap_or("generate_until");
        let metrics = metrics(config, kind, notes);
        match kind {
            "multiple_choice" => choice(&metrics, notes),
            "loglikelihood" => likelihood(&metrics, notes),
            "generate_until" => AnswerRule::of(config, &metrics, notes).map(Scoring::Answer),
            other => {
                let why = match other {
                    "loglikelihood_rolling" => {
                        "it scores a text without a prompt, and a probe has one"
                    }
                    _ => "there is no such output type",
                };
                notes.add(PLACE, format!("`output_type: {other}`"), why);
                None
            }
        }
    }

    /// The check of one document.
    ///
    /// # Errors
    /// Why it has none.
    pub(super) fn check(
        &self,
        asked: &Asked<'_>,
        place: &str,
        notes: &mut Notes,
    ) -> Result<CheckSpec, String> {
        let mut bare = |text: &str| {
            let bare = text.trim();
            if bare.len() < text.len() {
                let why = "blanks around it are cut: an answer begins on its own";
                notes.add(place, "what the answer is", why);
            }
            bare.to_owned()
        };
        let (kind, params) = match self {
            Scoring::Choice { bytes } => {
                let options = asked.options()?;
                let right = gold::option(asked, &options)?;
                let options: Vec<String> = options.iter().map(|option| bare(option)).collect();
                let answer = options.get(right).cloned().unwrap_or_default();
                let mut params = vec![("options", options.into()), ("answer", answer.into())];
                if *bytes {
                    params.push(("normalize", "bytes".into()));
                }
                ("choice", params)
            }
            Scoring::Likelihood => (
                "likelihood",
                vec![("text", bare(&gold::text(asked)?).into())],
            ),
            Scoring::Answer(rule) => rule.params(&gold::texts(asked)?)?,
        };
        let params = params
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value));
        accept(kind, false, params.collect())
    }

    /// `[generation]`: of tasks that score given texts there is none.
    pub(super) fn generation(
        &self,
        config: &Map<String, Value>,
        notes: &mut Notes,
    ) -> Map<String, Value> {
        let mut generation = Map::new();
        let kwargs = config.get("generation_kwargs").and_then(Value::as_object);
        if !matches!(self, Scoring::Answer(_)) {
            if kwargs.is_some() {
                notes.add(PLACE, "`generation_kwargs`", "no answer is generated");
            }
            return generation;
        }
        // The harness is greedy unless a task says otherwise.
        let kwargs = kwargs.cloned().unwrap_or_default();
        let sampled = kwargs.get("do_sample").and_then(Value::as_bool) != Some(false);
        let limits = [
            "max_gen_toks",
            "max_new_tokens",
            "max_tokens",
            "max_completion_tokens",
        ];
        let limit = limits.iter().find_map(|key| kwargs.get(*key)?.as_u64());
        generation.insert("max_new_tokens".into(), limit.unwrap_or(MAX_TOKENS).into());
        generation.insert("temperature".into(), 0.into());
        for (key, value) in &kwargs {
            let number = value.as_f64().map(whole);
            match (key.as_str(), number) {
                ("do_sample", _) => {}
                (key, _) if limits.contains(&key) => {}
                ("temperature" | "top_p" | "top_k", Some(number)) => {
                    if sampled {
                        generation.insert(key.clone(), number);
                    }
                }
                ("repetition_penalty", Some(number)) => {
                    generation.insert(key.clone(), number);
                }
                ("until", _) => {
                    let why = "an answer ends where the model ends its turn";
                    notes.add(PLACE, format!("`until: {value}`"), why);
                }
                _ => {
                    let what = format!("`generation_kwargs`, {}", shown(key, value));
                    notes.add(PLACE, what, "[generation] has no such setting");
                }
            }
        }
        generation
    }
}

type Metric = (String, Map<String, Value>);

/// Names and settings of the metrics; one that is a program is named.
fn metrics(config: &Map<String, Value>, output: &str, notes: &mut Notes) -> Vec<Metric> {
    let Some(list) = config.get("metric_list").filter(|list| !list.is_null()) else {
        let defaults: &[&str] = match output {
            "multiple_choice" => &["acc", "acc_norm"],
            "loglikelihood" => &["perplexity", "acc"],
            "generate_until" => &["exact_match"],
            _ => &[],
        };
        return defaults
            .iter()
            .map(|name| ((*name).to_owned(), Map::new()))
            .collect();
    };
    let mut found = Vec::new();
    for entry in list.as_array().into_iter().flatten() {
        let metric = entry.get("metric").unwrap_or(entry);
        match (metric.as_str(), entry.as_object()) {
            (Some(name), Some(settings)) => found.push((name.to_owned(), settings.clone())),
            _ => notes.add(PLACE, shown("metric", metric), "a program computes it"),
        }
    }
    found
}

fn choice(metrics: &[Metric], notes: &mut Notes) -> Option<Scoring> {
    let known = |(name, _): &&Metric| RIGHT_OPTION.contains(&name.as_str());
    let first = ["acc", "acc_norm", "acc_bytes"];
    let taken = metrics
        .iter()
        .find(|(name, _)| first.contains(&name.as_str()));
    let Some((taken, _)) = taken.or_else(|| metrics.iter().find(known)) else {
        name_others(metrics, "", notes);
        return None;
    };
    let norm = ["acc_norm", "acc_bytes"].contains(&taken.as_str());
    let mut why = "here the probability of the right option among all is the score, there it is \
                   whether that option is the likeliest"
        .to_owned();
    if taken == "acc_norm" {
        why += ", after a division by characters, here by bytes";
    }
    if !first.contains(&taken.as_str()) {
        why = "here the probability of the right option among all is the score".into();
    }
    notes.add(PLACE, format!("`metric: {taken}`"), why);
    for (name, _) in metrics.iter().filter(|(name, _)| name != taken) {
        let why = match name.as_str() {
            "acc_norm" | "acc_bytes" => {
                "a probe has one score, here that of `acc`; `normalize = \"bytes\"` is its like"
            }
            _ => "a probe has one score",
        };
        notes.add(PLACE, format!("`metric: {name}`"), why);
    }
    Some(Scoring::Choice { bytes: norm })
}

fn likelihood(metrics: &[Metric], notes: &mut Notes) -> Option<Scoring> {
    let known = metrics
        .iter()
        .any(|(name, _)| name == "perplexity" || name == "acc");
    for (name, _) in metrics {
        let why = match name.as_str() {
            "acc" => {
                "here the probability of the text is the score, not whether it is the likeliest"
            }
            "perplexity" => "here the probability of the text is the score, which is 1 over it",
            _ => "a probe has one score, and there is no check of it",
        };
        notes.add(PLACE, format!("`metric: {name}`"), why);
    }
    known.then_some(Scoring::Likelihood)
}

fn name_others(metrics: &[Metric], taken: &str, notes: &mut Notes) {
    for (name, _) in metrics.iter().filter(|(name, _)| name != taken) {
        let why = "a probe has one score, and there is no check of it";
        notes.add(PLACE, format!("`metric: {name}`"), why);
    }
}

impl AnswerRule {
    fn of(
        config: &Map<String, Value>,
        metrics: &[Metric],
        notes: &mut Notes,
    ) -> Option<AnswerRule> {
        let taken = metrics.iter().find(|(name, _)| name == "exact_match");
        name_others(metrics, taken.map_or("", |(name, _)| name), notes);
        let (name, settings) = taken?;
        name_unread(settings, METRIC, &format!("{PLACE}, {name}"), notes)?;
        let flag = |key: &str| settings.get(key).and_then(Value::as_bool).unwrap_or(false);
        if let Some(how) = settings
            .get("aggregation")
            .filter(|how| how.as_str() != Some("mean"))
        {
            notes.add(
                PLACE,
                shown("aggregation", how),
                "a suite's score is a mean",
            );
        }
        if settings.get("higher_is_better") == Some(&Value::Bool(false)) {
            let why = "a higher score is better here";
            notes.add(PLACE, "`higher_is_better: false`", why);
        }
        let mut rule = AnswerRule {
            ignore_case: flag("ignore_case"),
            ignore_punctuation: flag("ignore_punctuation"),
            ..AnswerRule::default()
        };
        let ignored = settings.get("regexes_to_ignore").and_then(Value::as_array);
        for source in ignored.into_iter().flatten().filter_map(Value::as_str) {
            let regex = pattern::translated(source, Language::Python);
            match regex.and_then(|regex| Regex::new(&regex).map_err(|_| pattern::refused(source))) {
                Ok(regex) => rule.ignored.push(regex),
                Err(why) => {
                    notes.add(PLACE, format!("`regexes_to_ignore: {source}`"), why);
                    return None;
                }
            }
        }
        rule.filter(config, notes)?;
        rule.name_differences(notes);
        Some(rule)
    }

    /// Takes one of the task's readings of an answer; `None` when none can be carried over.
    fn filter(&mut self, config: &Map<String, Value>, notes: &mut Notes) -> Option<()> {
        let list = config.get("filter_list").and_then(Value::as_array);
        let mut readings = Vec::new();
        let filters = list.map(Vec::as_slice).unwrap_or_default();
        for entry in filters {
            let name = entry
                .get("name")
                .and_then(Value::as_str)
                .unwrap_or("filter");
            match reading(entry) {
                Ok((reading, case)) => readings.push((name, reading, case)),
                Err(why) => notes.add(PLACE, format!("the filter `{name}`"), why),
            }
        }
        if filters.is_empty() {
            return Some(());
        }
        let number = readings
            .iter()
            .position(|(_, r, _)| matches!(r, Reading::Number { .. }));
        let taken = number.unwrap_or(0);
        for (n, (name, ..)) in readings.iter().enumerate() {
            if n != taken {
                let why = "a probe reads its answers in one way";
                notes.add(PLACE, format!("the filter `{name}`"), why);
            }
        }
        let (name, reading, case) = readings.into_iter().nth(taken)?;
        match &reading {
            Reading::Whole => {}
            Reading::Captured { .. } => {
                let why = "what it captures is compared without regard to letter case and to the \
                           marks around it";
                notes.add(PLACE, format!("the filter `{name}`"), why);
            }
            Reading::Number { last } => {
                let which = if *last { "last" } else { "first" };
                let why = format!(
                    "the {which} number of the answer is compared by its value, in digits or in \
                     words, there its digits are"
                );
                notes.add(PLACE, format!("the filter `{name}`"), why);
            }
        }
        self.reading = reading;
        self.case = case;
        Some(())
    }

    /// Where `equals` decides otherwise than `exact_match` does.
    fn name_differences(&self, notes: &mut Notes) {
        if !matches!(self.reading, Reading::Whole) {
            return;
        }
        let folded = self.ignore_case || self.case != Case::Kept;
        let why = match (self.ignore_punctuation, folded) {
            (false, false) => {
                "blanks around the answer, quotes, dashes, and widths of letters are folded before \
                 `equals` compares, there every character counts"
            }
            (false, true) => {
                "`equals` leaves out the marks around an answer too, and folds quotes, dashes, and \
                 widths of letters"
            }
            (true, true) => {
                "`equals` leaves out the marks around an answer, and counts those in it"
            }
            (true, false) => {
                "`equals` leaves out the marks around an answer and its letter case, and counts \
                 the marks in it"
            }
        };
        notes.add(PLACE, "`metric: exact_match`", why);
        if !self.ignored.is_empty() {
            let why = "it is cut out of what is expected, and not out of an answer";
            notes.add(PLACE, "`regexes_to_ignore`", why);
        }
    }

    fn params(&self, targets: &[String]) -> Result<Carried, String> {
        let mut texts: Vec<String> = Vec::new();
        for target in targets {
            let cut = |text: String, regex: &Regex| regex.replace_all(&text, "").into_owned();
            let text = self.ignored.iter().fold(target.clone(), cut);
            let reachable = match self.case {
                Case::Kept => true,
                _ if self.ignore_case => true,
                Case::Lower => text == text.to_lowercase(),
                Case::Upper => text == text.to_uppercase(),
            };
            if !reachable {
                continue;
            }
            let text = text.trim().to_owned();
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        if texts.is_empty() {
            return Err(
                "a filter changes the letter case of every answer, and the expected one is \
                        in another: the harness counts every answer as wrong"
                    .into(),
            );
        }
        let expected = || match texts.as_slice() {
            [one] => Value::from(one.as_str()),
            several => Value::from(several),
        };
        Ok(match &self.reading {
            Reading::Whole => {
                let mut params = vec![("value", expected())];
                if !self.ignore_case && !self.ignore_punctuation && self.case == Case::Kept {
                    params.push(("case_sensitive", true.into()));
                }
                ("equals", params)
            }
            Reading::Captured { pattern, groups } => {
                let mut params = vec![("value", pattern.as_str().into()), ("expected", expected())];
                if *groups == 0 {
                    params.push(("capture", 0.into()));
                }
                ("regex", params)
            }
            Reading::Number { last } => {
                let [text] = texts.as_slice() else {
                    return Err("several numbers are right".into());
                };
                let bare = text.replace([',', '$'], "");
                let number = bare.trim_end_matches('.').parse::<f64>().ok();
                let number = number.filter(|number| number.is_finite());
                let number = number.ok_or(format!("its answer \"{text}\" is no number"))?;
                let which = if *last { "last" } else { "first" };
                (
                    "number",
                    vec![("value", whole(number)), ("which", which.into())],
                )
            }
        })
    }
}

#[cfg(test)]
mod tests;
