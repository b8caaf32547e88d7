//! How a task of lm-evaluation-harness scores: output type, metrics, and filters, as one check.
//!
//! A task may report several metrics on several readings of one answer, a probe has one score: the
//! first that can be carried over is taken, and the others are named. Of readings one that takes
//! the number out of any answer goes first: a strict one wants a form that few-shot examples teach.

use regex::Regex;
use serde_json::{Map, Value};

use crate::flow::CheckSpec;

use super::assertion::whole;
use super::draft::accept;
use super::notes::Notes;
use super::reading::{Reading, reading};
use super::reasons::name_unread;
use super::yaml;

const METRIC_READ: &[&str] = &[
    "metric",
    "ignore_case",
    "ignore_punctuation",
    "ignore_numbers",
    "regexes_to_ignore",
    "aggregation",
    "higher_is_better",
];
const PLACE: &str = "the task";

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
    /// The text has to stand somewhere in the answer.
    contains: bool,
    ignore_case: bool,
    /// Cut out of what is expected.
    ignored: Vec<Regex>,
    reading: Reading,
}

impl Scoring {
    /// `None` when nothing of it can be carried over, which is named.
    pub(super) fn of(config: &Map<String, Value>, notes: &mut Notes) -> Option<Scoring> {
        let kind = config.get("output_type");
        let kind = kind.and_then(Value::as_str).unwrap_or("generate_until");
        let metrics = metrics(config, notes);
        match kind {
            "multiple_choice" => {
                let known = |(name, _): &&(String, Map<String, Value>)| {
                    ["acc", "acc_norm", "acc_bytes"].contains(&name.as_str())
                };
                let taken = metrics.iter().find(known).map_or("acc", |(name, _)| name);
                name_others(&metrics, taken, notes);
                Some(Scoring::Choice {
                    bytes: taken != "acc",
                })
            }
            "loglikelihood" => {
                name_others(&metrics, "", notes);
                Some(Scoring::Likelihood)
            }
            "generate_until" => {
                let rule = AnswerRule::of(config, &metrics, notes);
                rule.map(Scoring::Answer)
            }
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

    pub(super) fn has_choices(&self) -> bool {
        matches!(self, Scoring::Choice { .. })
    }

    /// The check of one document.
    ///
    /// # Errors
    /// Why it has none.
    pub(super) fn check(&self, target: &Value, options: Vec<String>) -> Result<CheckSpec, String> {
        let (kind, params) = match self {
            Scoring::Choice { bytes } => {
                let options: Vec<String> = options.iter().map(|o| o.trim().to_owned()).collect();
                let answer = match target {
                    Value::String(text) => text.trim().to_owned(),
                    Value::Array(_) => return Err("several of its options are right".into()),
                    other => {
                        let index = other.as_u64().and_then(|index| usize::try_from(index).ok());
                        let option = index.and_then(|index| options.get(index));
                        option
                            .ok_or(format!("it has no option number {other}"))?
                            .clone()
                    }
                };
                let mut params = vec![("options", options.into()), ("answer", answer.into())];
                if *bytes {
                    params.push(("normalize", "bytes".into()));
                }
                ("choice", params)
            }
            Scoring::Likelihood => {
                let text = yaml::scalar_text(target).ok_or("`doc_to_target` gives no text")?;
                // The blank before a continued word; an answer begins on its own.
                ("likelihood", vec![("text", text.trim().into())])
            }
            Scoring::Answer(rule) => rule.params(target)?,
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
        generation.insert("temperature".into(), 0.into());
        let sampled = kwargs.and_then(|kwargs| kwargs.get("do_sample")?.as_bool()) != Some(false);
        for (key, value) in kwargs.into_iter().flatten() {
            let number = value.as_f64().map(whole);
            match (key.as_str(), number) {
                ("max_gen_toks" | "max_new_tokens" | "max_tokens", Some(number))
                    if number.is_i64() =>
                {
                    generation.insert("max_new_tokens".into(), number);
                }
                ("temperature", Some(number)) if sampled => {
                    generation.insert("temperature".into(), number);
                }
                ("top_p" | "top_k" | "repetition_penalty", Some(number)) if sampled => {
                    generation.insert(key.clone(), number);
                }
                ("do_sample", _) => {}
                ("temperature" | "top_p" | "top_k", Some(_)) => {}
                ("until", _) => {
                    let why = "an answer ends where the model ends its turn";
                    notes.add(PLACE, format!("`until: {value}`"), why);
                }
                _ => {
                    let why = "[generation] has no such setting";
                    notes.add(PLACE, format!("`generation_kwargs`, `{key}: {value}`"), why);
                }
            }
        }
        generation
    }
}

/// Names and settings of the metrics; one that is a program is named.
fn metrics(config: &Map<String, Value>, notes: &mut Notes) -> Vec<(String, Map<String, Value>)> {
    let mut found = Vec::new();
    let list = config.get("metric_list").and_then(Value::as_array);
    for entry in list.into_iter().flatten() {
        let metric = entry.get("metric").unwrap_or(entry);
        match (metric.as_str(), entry.as_object()) {
            (Some(name), settings) => {
                found.push((name.to_owned(), settings.cloned().unwrap_or_default()));
            }
            (None, _) => {
                let shown = yaml::tagged(metric).unwrap_or_else(|| metric.to_string());
                notes.add(PLACE, format!("`metric: {shown}`"), "it runs a program");
            }
        }
    }
    found
}

fn name_others(metrics: &[(String, Map<String, Value>)], taken: &str, notes: &mut Notes) {
    for (name, _) in metrics.iter().filter(|(name, _)| name != taken) {
        let why = match name.as_str() {
            "acc_norm" | "acc_bytes" => {
                "a probe has one score, here that of `acc`; `normalize = \"bytes\"` is its like"
            }
            "acc" if taken.is_empty() => {
                "here the probability of the text is the score, not whether it is the likeliest"
            }
            "perplexity" => "here the probability of the text is the score, which is 1 over it",
            _ => "a probe has one score, and there is no check of it",
        };
        notes.add(PLACE, format!("`metric: {name}`"), why);
    }
}

impl AnswerRule {
    fn of(
        config: &Map<String, Value>,
        metrics: &[(String, Map<String, Value>)],
        notes: &mut Notes,
    ) -> Option<AnswerRule> {
        let listed = config
            .get("metric_list")
            .is_some_and(|list| !list.is_null());
        let default = ("exact_match".to_owned(), Map::new());
        let known = |(name, _): &&(String, Map<String, Value>)| {
            ["exact_match", "contains"].contains(&name.as_str())
        };
        let taken = metrics.iter().find(known);
        let taken = taken.or((!listed).then_some(&default));
        name_others(metrics, taken.map_or("", |(name, _)| name), notes);
        let (name, settings) = taken?;
        name_unread(
            settings,
            METRIC_READ,
            &format!("{PLACE}, {name}"),
            |_| None,
            notes,
        );
        let flag = |key: &str| settings.get(key).and_then(Value::as_bool).unwrap_or(false);
        for (key, why) in [
            (
                "ignore_punctuation",
                "marks around an answer are ignored, marks in it are not",
            ),
            ("ignore_numbers", "digits count"),
        ] {
            if flag(key) {
                notes.add(PLACE, format!("`{key}`"), why);
            }
        }
        if let Some(how) = settings
            .get("aggregation")
            .filter(|how| how.as_str() != Some("mean"))
        {
            let shown = yaml::tagged(how).unwrap_or_else(|| how.to_string());
            notes.add(
                PLACE,
                format!("`aggregation: {shown}`"),
                "a suite's score is a mean",
            );
        }
        if settings.get("higher_is_better") == Some(&Value::Bool(false)) {
            notes.add(
                PLACE,
                "`higher_is_better: false`",
                "a higher score is better here",
            );
        }
        let mut rule = AnswerRule {
            contains: name == "contains",
            ignore_case: flag("ignore_case"),
            ..AnswerRule::default()
        };
        let ignored = settings.get("regexes_to_ignore").and_then(Value::as_array);
        for pattern in ignored.into_iter().flatten().filter_map(Value::as_str) {
            match Regex::new(pattern) {
                Ok(regex) => rule.ignored.push(regex),
                Err(_) => {
                    let why = "it is no regular expression of Rust's regex crate";
                    notes.add(PLACE, format!("`regexes_to_ignore: {pattern}`"), why);
                }
            }
        }
        rule.filter(config, notes)?;
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
                Ok((reading, ignore_case)) => readings.push((name, reading, ignore_case)),
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
        let (_, reading, ignore_case) = readings.into_iter().nth(taken)?;
        self.reading = reading;
        self.ignore_case |= ignore_case;
        Some(())
    }

    fn params(&self, target: &Value) -> Result<Carried, String> {
        let targets: Vec<&Value> = match target {
            Value::Array(items) => items.iter().collect(),
            one => vec![one],
        };
        let texts = targets.into_iter().map(|target| {
            let text = yaml::scalar_text(target).ok_or("`doc_to_target` gives no text")?;
            let cut = |text: String, regex: &Regex| regex.replace_all(&text, "").into_owned();
            let text = self.ignored.iter().fold(text, cut);
            Ok(text.trim().to_owned())
        });
        let texts: Vec<String> = texts.collect::<Result<_, String>>()?;
        let expected = || match texts.as_slice() {
            [one] => Value::from(one.as_str()),
            several => Value::from(several),
        };
        Ok(match &self.reading {
            _ if self.contains => match texts.as_slice() {
                [_] => ("icontains", vec![("value", expected())]),
                _ => ("icontains-any", vec![("value", expected())]),
            },
            Reading::Whole => {
                let mut params = vec![("value", expected())];
                if !self.ignore_case {
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
