//! The rules of a suite, applied to a file as it was read: what is found wrong is collected, what
//! is right becomes the nouns of [`crate::flow`].

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use serde_json::Value;
use toml::Spanned;

use crate::check::registry;
use crate::flow::{CheckSpec, Exchange, Expect, Generation, Goal, Golden, Probe, Suite};
use crate::text::{ellipsize, is_cjk, nearest, plural};

use super::error::{Place, SuiteErrorKind};
use super::file::{
    Broken, CheckTable, ExchangeTable, GenerationTable, GoldenTable, Issue, Param, ProbeTable,
    SuiteFile, SuiteTable,
};
use super::template::fill;

/// Longest prompt, system prompt, or golden answer, in characters.
const LONGEST_TEXT: usize = 100_000;
/// Longest name of a suite or probe, in characters: both name files.
const LONGEST_NAME: usize = 80;
/// Tokens of an answer where nothing is configured.
const MAX_NEW_TOKENS: usize = 256;
/// Most samples of a case.
const MOST_SAMPLES: i64 = 1000;
/// Most tokens of an answer.
const MOST_TOKENS: i64 = 1_000_000;

/// One file under its rules.
pub(super) struct Validator<'a> {
    file: &'a str,
    text: &'a str,
    vars: &'a BTreeMap<String, String>,
    issues: &'a mut Vec<Issue>,
}

impl<'a> Validator<'a> {
    pub(super) fn new(
        file: &'a str,
        text: &'a str,
        vars: &'a BTreeMap<String, String>,
        issues: &'a mut Vec<Issue>,
    ) -> Self {
        Validator {
            file,
            text,
            vars,
            issues,
        }
    }

    /// The suite, its digest still empty. Only to be used if no issue was added.
    pub(super) fn suite(&mut self, read: &SuiteFile) -> Suite {
        let whole = 0..self.text.find('\n').unwrap_or(self.text.len());
        let (mut name, mut description, mut goal) = (String::new(), None, Goal::Keep);
        let (mut margin, mut target) = (None, None);
        match &read.suite {
            None => self.missing(
                &read.broken,
                whole.clone(),
                "a suite file",
                "suite",
                "write a table [suite] with `name` and `goal`",
            ),
            Some(table) => {
                let (span, table) = (table.span(), table.get_ref());
                name = self.name(&table.name, &table.broken, &span, "[suite]", "name");
                description = table.description.as_ref().map(|d| d.get_ref().clone());
                goal = self.goal(table, &span);
                margin = self.fraction(&table.margin, "margin");
                target = self.fraction(&table.target, "target");
                if let Some(margin) = &table.margin {
                    self.margin(margin, goal, read.probes.len());
                }
                if let (Some(target), Goal::Keep) = (&table.target, goal) {
                    self.bad(target.span(), "`target` in a suite with goal \"keep\"", "`target` is the score that a suite with goal \"learn\" has to reach; a \"keep\" suite is compared with the base, within its `margin`");
                }
            }
        }
        if read.probes.is_empty() {
            self.missing(
                &read.broken,
                whole,
                "this suite",
                "probe",
                "write at least one table [[probe]] with `id`, `prompts`, and a [[probe.check]]",
            );
        }
        let mut first: HashMap<&str, Range<usize>> = HashMap::new();
        let mut probes = Vec::new();
        for table in &read.probes {
            if let Some(id) = &table.get_ref().id
                && let Some(taken) = first.insert(id.get_ref(), id.span())
            {
                first.insert(id.get_ref(), taken.clone());
                let kind = SuiteErrorKind::Duplicate {
                    what: "probe",
                    name: id.get_ref().clone(),
                    first: Place::at(self.file, self.text, &taken).to_string(),
                    rule: "a probe's `id` is unique within its suite: snapshots and records are \
                           named by it",
                };
                self.issues.push((id.span(), kind));
            }
            probes.push(self.probe(table, &read.generation));
        }
        Suite {
            name,
            description,
            goal,
            margin,
            target,
            probes,
            digest: String::new(),
        }
    }

    fn bad(&mut self, span: Range<usize>, what: impl Into<String>, rule: impl Into<String>) {
        self.issues.push((span, SuiteErrorKind::bad(what, rule)));
    }

    fn missing(
        &mut self,
        broken: &Broken,
        span: Range<usize>,
        table: &'static str,
        key: &'static str,
        rule: &'static str,
    ) {
        if broken.contains(&key) {
            return;
        }
        self.issues
            .push((span, SuiteErrorKind::MissingKey { key, table, rule }));
    }

    fn name(
        &mut self,
        name: &Option<Spanned<String>>,
        broken: &Broken,
        span: &Range<usize>,
        table: &'static str,
        key: &'static str,
    ) -> String {
        let Some(name) = name else {
            let rule = "a name of a-z, 0-9, `-`, and `_`: records and snapshots are named by it";
            self.missing(broken, span.clone(), table, key, rule);
            return String::new();
        };
        let text = name.get_ref();
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if text.is_empty() || text.chars().count() > LONGEST_NAME || !text.chars().all(legal) {
            let suggestion: String = text
                .to_lowercase()
                .chars()
                .map(|c| if legal(c) { c } else { '-' })
                .collect();
            let suggestion = suggestion.trim_matches('-');
            let kind = SuiteErrorKind::BadValue {
                what: format!("`{key}` is \"{}\"", ellipsize(text, 40)),
                rule: format!(
                    "`{key}` has 1 to {LONGEST_NAME} of the characters a-z, 0-9, `-`, and `_`"
                ),
                nearest: (!suggestion.is_empty()).then(|| ellipsize(suggestion, LONGEST_NAME)),
            };
            self.issues.push((name.span(), kind));
        }
        text.clone()
    }

    /// One of a few words.
    fn word<T: Copy>(
        &mut self,
        key: &str,
        word: &Spanned<String>,
        words: &[(&str, T)],
    ) -> Option<T> {
        let found = words.iter().find(|(known, _)| known == word.get_ref());
        if found.is_none() {
            let known: Vec<String> = words
                .iter()
                .map(|(known, _)| format!("\"{known}\""))
                .collect();
            let kind = SuiteErrorKind::BadValue {
                what: format!("`{key}` is \"{}\"", ellipsize(word.get_ref(), 40)),
                rule: format!("`{key}` is {}", crate::text::one_of(&known)),
                nearest: nearest(word.get_ref(), words.iter().map(|(known, _)| *known)),
            };
            self.issues.push((word.span(), kind));
        }
        found.map(|(_, value)| *value)
    }

    fn goal(&mut self, table: &SuiteTable, span: &Range<usize>) -> Goal {
        let Some(goal) = &table.goal else {
            self.missing(
                &table.broken,
                span.clone(),
                "[suite]",
                "goal",
                "`goal` is \"keep\" (not worse than the base) or \"learn\" (reach a target)",
            );
            return Goal::Keep;
        };
        self.word(
            "goal",
            goal,
            &[("keep", Goal::Keep), ("learn", Goal::Learn)],
        )
        .unwrap_or(Goal::Keep)
    }

    fn fraction(&mut self, value: &Option<Spanned<f64>>, key: &str) -> Option<f64> {
        let value = value.as_ref()?;
        let number = *value.get_ref();
        if !(number > 0.0 && number <= 1.0) {
            let rule = format!("`{key}` is a share of the mean score: above 0, at most 1");
            self.bad(value.span(), format!("`{key}` is {number}"), rule);
            return None;
        }
        Some(number)
    }

    /// A margin that could not be shown even if nothing changed promises what cannot be kept.
    fn margin(&mut self, margin: &Spanned<f64>, goal: Goal, probes: usize) {
        if goal == Goal::Learn {
            self.bad(margin.span(), "`margin` in a suite with goal \"learn\"", "`margin` is the loss that a suite with goal \"keep\" tolerates; a \"learn\" suite has a `target`");
            return;
        }
        let value = *margin.get_ref();
        // With n probes and no change at all, the loss excluded at one-sided 95 percent.
        let smallest = |n: f64| 1.0 - 0.05_f64.powf(1.0 / n);
        if probes == 0 || !(value > 0.0 && value < smallest(probes as f64)) {
            return;
        }
        let wanted = (0.05_f64.ln() / (1.0 - value).ln()).ceil();
        self.bad(
            margin.span(),
            format!(
                "`margin` is {value}, but {} cannot exclude a loss below {:.3}, even if no answer \
                 changes",
                plural(probes, "probe"),
                smallest(probes as f64)
            ),
            format!(
                "n probes can exclude a loss of 1 - 0.05^(1/n): write {wanted} probes, a larger \
                 margin, or none (the suite then counts in the pooled verdict)"
            ),
        );
    }

    fn probe(&mut self, table: &Spanned<ProbeTable>, defaults: &GenerationTable) -> Probe {
        let (span, probe) = (table.span(), table.get_ref());
        let id = self.name(&probe.id, &probe.broken, &span, "[[probe]]", "id");
        let place = probe.id.as_ref().map_or(span, Spanned::span);
        let tags = self.tags(&probe.tags);
        let system = probe
            .system
            .as_ref()
            .map(|system| self.text(system, "system"));
        let history = probe.history.iter().map(|e| self.exchange(e)).collect();
        let prompts = self.prompts(probe, &place);
        if probe.checks.is_empty() {
            self.missing(
                &probe.broken,
                place,
                "this probe",
                "check",
                "write at least one table [[probe.check]]: without it no answer can be scored",
            );
        }
        let before = self.issues.len();
        let checks: Vec<CheckSpec> = probe.checks.iter().map(|c| self.check(c)).collect();
        let checks_are_right = self.issues.len() == before;
        let goldens = probe
            .goldens
            .iter()
            .filter_map(|g| self.golden(g))
            .collect::<Vec<_>>();
        if checks_are_right && prompts.len() == 1 {
            self.wordings(&checks, &probe.checks);
        }
        if checks_are_right {
            self.judge(&checks, &goldens);
        }
        let generation = self.generation(&probe.generation, defaults);
        let goldens = goldens
            .into_iter()
            .map(|golden| golden.into_inner())
            .collect();
        Probe {
            id,
            tags,
            critical: probe.critical,
            system,
            history,
            prompts,
            generation,
            checks,
            goldens,
        }
    }

    fn tags(&mut self, tags: &[Spanned<String>]) -> Vec<String> {
        for tag in tags {
            let text = tag.get_ref();
            if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c == ',') {
                let what = format!("the tag \"{}\"", ellipsize(text, 40));
                self.bad(
                    tag.span(),
                    what,
                    "a tag is one word, without blanks and commas",
                );
            }
        }
        tags.iter().map(|tag| tag.get_ref().clone()).collect()
    }

    /// A text with its variables filled in.
    fn text(&mut self, text: &Spanned<String>, key: &str) -> String {
        let length = text.get_ref().chars().count();
        if length > LONGEST_TEXT {
            let rule = format!("`{key}` has at most {LONGEST_TEXT} characters");
            self.bad(
                text.span(),
                format!("`{key}` has {length} characters"),
                rule,
            );
        }
        self.fill(text.get_ref(), &text.span())
    }

    fn fill(&mut self, text: &str, span: &Range<usize>) -> String {
        self.fill_from(text, span, self.vars)
    }

    fn fill_from(
        &mut self,
        text: &str,
        span: &Range<usize>,
        vars: &BTreeMap<String, String>,
    ) -> String {
        fill(text, vars).unwrap_or_else(|unknown| {
            for name in unknown {
                // Point at the braces where the source shows them as they are.
                let source = self.text.get(span.clone()).unwrap_or_default();
                let at = source
                    .find(&format!("{{{{{name}}}}}"))
                    .map(|at| span.start + at);
                let place = at.map_or(span.clone(), |at| at..at + name.len() + 4);
                let known: Vec<String> = self.vars.keys().cloned().collect();
                let nearest = nearest(&name, known.iter().map(String::as_str));
                self.issues.push((
                    place,
                    SuiteErrorKind::UnknownVar {
                        name,
                        nearest,
                        known,
                    },
                ));
            }
            text.to_owned()
        })
    }

    fn exchange(&mut self, table: &Spanned<ExchangeTable>) -> Exchange {
        let (span, table) = (table.span(), table.get_ref());
        let mut turn = |text: &Option<Spanned<String>>, key: &'static str| match text {
            Some(text) => self.text(text, key),
            None => {
                let rule = "an exchange is { user = \"..\", assistant = \"..\" }: what was said, and what was answered";
                self.missing(&table.broken, span.clone(), "`history`", key, rule);
                String::new()
            }
        };
        Exchange {
            user: turn(&table.user, "user"),
            assistant: turn(&table.assistant, "assistant"),
        }
    }

    /// A check that compares wordings needs two.
    fn wordings(&mut self, specs: &[CheckSpec], tables: &[Spanned<CheckTable>]) {
        for (spec, table) in specs.iter().zip(tables) {
            let compares = registry::build(spec).is_ok_and(|check| check.needs().siblings);
            if let (true, Some(kind)) = (compares, &table.get_ref().kind) {
                self.bad(
                    kind.span(),
                    format!("`{}` in a probe with one prompt", kind.get_ref()),
                    "this check compares the answers to several wordings: write two or more prompts",
                );
            }
        }
    }

    fn prompts(&mut self, probe: &ProbeTable, place: &Range<usize>) -> Vec<String> {
        let Some(prompts) = &probe.prompts else {
            self.missing(
                &probe.broken,
                place.clone(),
                "this probe",
                "prompts",
                "write prompts = [\"..\"]: one or more wordings of one question, in one language",
            );
            return Vec::new();
        };
        if prompts.get_ref().is_empty() {
            self.bad(
                prompts.span(),
                "`prompts` is empty",
                "a probe has at least one prompt",
            );
        }
        let mut filled = Vec::new();
        for prompt in prompts.get_ref() {
            let text = self.text(prompt, "prompts");
            if text.trim().is_empty() {
                self.bad(
                    prompt.span(),
                    "this prompt is empty",
                    "a prompt has at least one character that is not white space",
                );
            }
            filled.push(text);
        }
        let chinese = |text: &String| text.chars().any(is_cjk);
        let first = filled.first().is_some_and(chinese);
        if let Some(other) = filled.iter().position(|text| chinese(text) != first)
            && let Some(prompt) = prompts.get_ref().get(other)
        {
            let (this, that) = match first {
                true => ("no Chinese characters", "has some"),
                false => ("Chinese characters", "has none"),
            };
            self.bad(
                prompt.span(),
                format!("this prompt has {this}, the first prompt of the probe {that}"),
                "the prompts of a probe are in one language: write a second probe for the other, \
                 and name the language in `tags`",
            );
        }
        filled
    }

    fn check(&mut self, table: &Spanned<CheckTable>) -> CheckSpec {
        let (span, table) = (table.span(), table.get_ref());
        let mut params = serde_json::Map::new();
        for param in &table.params {
            let literal = !table.kind.as_ref().is_some_and(|k| is_regex(k.get_ref()));
            let value = self.fill_value(&param.value, &param.value_span, literal);
            params.insert(param.key.get_ref().clone(), value);
        }
        let Some(kind) = &table.kind else {
            let near = |p: &&Param| nearest(p.key.get_ref(), ["type"]).is_some();
            match table.params.iter().find(near) {
                Some(param) => self.issues.push((
                    param.key.span(),
                    SuiteErrorKind::BadValue {
                        what: format!("unknown key `{}` in [[probe.check]]", param.key.get_ref()),
                        rule: "[[probe.check]] takes type and the parameters of that type".into(),
                        nearest: Some("type".into()),
                    },
                )),
                None => self.missing(
                    &table.broken,
                    span,
                    "[[probe.check]]",
                    "type",
                    "write type = \"contains\" or another kind of check",
                ),
            }
            return CheckSpec {
                kind: String::new(),
                negated: false,
                params,
            };
        };
        let (name, negated) = match kind.get_ref().strip_prefix("not-") {
            Some(name) => (name, true),
            None => (kind.get_ref().as_str(), false),
        };
        let spec = CheckSpec {
            kind: name.to_owned(),
            negated,
            params,
        };
        if let Err(error) = registry::build(&spec) {
            for problem in SuiteErrorKind::of_check(error) {
                let at = match &problem {
                    SuiteErrorKind::Check { problem, .. } => place_of(problem.param(), table),
                    _ => None,
                };
                self.issues
                    .push((at.unwrap_or_else(|| kind.span()), problem));
            }
        }
        spec
    }

    /// A parameter with its variables filled in. In a regular expression (not `literal`) a value
    /// stands for its own characters, whatever they mean there.
    fn fill_value(&mut self, value: &Value, span: &Range<usize>, literal: bool) -> Value {
        match value {
            Value::String(text) if literal => Value::String(self.fill(text, span)),
            Value::String(text) => {
                let vars = self.vars.iter();
                let escaped = vars.map(|(k, v)| (k.clone(), regex::escape(v))).collect();
                Value::String(self.fill_from(text, span, &escaped))
            }
            Value::Array(items) => Value::Array(
                items
                    .iter()
                    .map(|item| self.fill_value(item, span, literal))
                    .collect(),
            ),
            Value::Object(map) => Value::Object(
                map.iter()
                    .map(|(key, item)| {
                        // A member of a group is a check of its own.
                        let kind = map.get("type").and_then(Value::as_str);
                        let literal = literal && !kind.is_some_and(is_regex);
                        (key.clone(), self.fill_value(item, span, literal))
                    })
                    .collect(),
            ),
            other => other.clone(),
        }
    }

    fn golden(&mut self, table: &Spanned<GoldenTable>) -> Option<Spanned<Golden>> {
        let (span, table) = (table.span(), table.get_ref());
        let answer = table
            .answer
            .as_ref()
            .map(|answer| self.text(answer, "answer"));
        if answer.is_none() {
            self.missing(
                &table.broken,
                span.clone(),
                "[[probe.golden]]",
                "answer",
                "`answer` is the text of an answer whose score is known",
            );
        }
        let words = [
            ("pass", Expect::Pass),
            ("fail", Expect::Fail),
            ("unscored", Expect::Unscored),
        ];
        let expect = match &table.expect {
            Some(expect) => self.word("expect", expect, &words),
            None => {
                self.missing(
                    &table.broken,
                    span.clone(),
                    "[[probe.golden]]",
                    "expect",
                    "`expect` is \"pass\", \"fail\", or \"unscored\"",
                );
                None
            }
        };
        let place = table.answer.as_ref().map_or(span, Spanned::span);
        let mut texts = |texts: &[Spanned<String>], key| -> Vec<String> {
            texts.iter().map(|text| self.text(text, key)).collect()
        };
        let siblings = texts(&table.siblings, "siblings");
        let training_answers = texts(&table.training_answers, "training_answers");
        Some(Spanned::new(
            place,
            Golden {
                answer: answer?,
                expect: expect?,
                siblings,
                training_answers,
            },
        ))
    }

    /// Golden answers test the checks.
    fn judge(&mut self, specs: &[CheckSpec], goldens: &[Spanned<Golden>]) {
        if goldens.is_empty() {
            return;
        }
        let Ok(checks) = specs
            .iter()
            .map(registry::build)
            .collect::<Result<Vec<_>, _>>()
        else {
            return;
        };
        for golden in goldens {
            if let Some(says) = registry::contradiction(&checks, golden.get_ref()) {
                let kind = SuiteErrorKind::Golden {
                    expect: golden.get_ref().expect,
                    says,
                };
                self.issues.push((golden.span(), kind));
            }
        }
    }

    fn generation(&mut self, own: &GenerationTable, defaults: &GenerationTable) -> Generation {
        let max_new_tokens = own
            .max_new_tokens
            .as_ref()
            .or(defaults.max_new_tokens.as_ref());
        let samples = own.samples.as_ref().or(defaults.samples.as_ref());
        let temperature = own.temperature.as_ref().or(defaults.temperature.as_ref());
        let top_k = own.top_k.as_ref().or(defaults.top_k.as_ref());
        let top_p = own.top_p.as_ref().or(defaults.top_p.as_ref());
        let penalty = own
            .repetition_penalty
            .as_ref()
            .or(defaults.repetition_penalty.as_ref());
        if let (Some(samples), Some(temperature)) = (samples, temperature)
            && *samples.get_ref() > 1
            && *temperature.get_ref() == 0.0
        {
            self.once(
                samples.span(),
                format!("`samples` is {} with `temperature` 0", samples.get_ref()),
                "at temperature 0 every sample is the same answer: ask for one sample, or set a \
                 temperature above 0",
            );
        }
        Generation {
            max_new_tokens: self
                .count(max_new_tokens, "max_new_tokens", MOST_TOKENS)
                .unwrap_or(MAX_NEW_TOKENS),
            samples: self.count(samples, "samples", MOST_SAMPLES).unwrap_or(1),
            temperature: self.ranged(temperature, "temperature", "from 0 (greedy) to 100", |t| {
                (0.0..=100.0).contains(&t)
            }),
            top_k: self.count(top_k, "top_k", i64::from(u32::MAX)),
            top_p: self.ranged(top_p, "top_p", "above 0 and at most 1", |p| {
                p > 0.0 && p <= 1.0
            }),
            repetition_penalty: self.ranged(
                penalty,
                "repetition_penalty",
                "above 0 (1 is none)",
                |p| p > 0.0,
            ),
        }
    }

    fn count(&mut self, value: Option<&Spanned<i64>>, key: &str, most: i64) -> Option<usize> {
        let value = value?;
        let number = *value.get_ref();
        if !(1..=most).contains(&number) {
            let rule = format!("`{key}` is a whole number from 1 to {most}");
            self.once(value.span(), format!("`{key}` is {number}"), rule);
        }
        usize::try_from(number).ok()
    }

    fn ranged(
        &mut self,
        value: Option<&Spanned<f64>>,
        key: &str,
        range: &str,
        fits: impl Fn(f64) -> bool,
    ) -> Option<f64> {
        let value = value?;
        let number = *value.get_ref();
        if !fits(number) {
            self.once(
                value.span(),
                format!("`{key}` is {number}"),
                format!("`{key}` is {range}"),
            );
        }
        Some(number)
    }

    /// A fault of the suite's `[generation]` is one fault, though every probe inherits it.
    fn once(&mut self, span: Range<usize>, what: impl Into<String>, rule: impl Into<String>) {
        let issue = (span, SuiteErrorKind::bad(what, rule));
        if !self.issues.contains(&issue) {
            self.issues.push(issue);
        }
    }
}

/// Whether a kind of check takes regular expressions.
fn is_regex(kind: &str) -> bool {
    matches!(kind, "regex" | "not-regex")
}

/// Where a parameter of a check stands, key and value.
fn place_of(name: Option<&str>, table: &CheckTable) -> Option<Range<usize>> {
    let param = table
        .params
        .iter()
        .find(|p| Some(p.key.get_ref().as_str()) == name)?;
    Some(param.key.span().start..param.value_span.end)
}
