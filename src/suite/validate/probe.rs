//! The rules of `[[probe]]` and of what stands in it, but for its checks.

use std::ops::Range;

use toml::Spanned;

use crate::flow::{CheckSpec, Exchange, Generation, Probe};
use crate::suite::file::{ExchangeTable, GenerationTable, ProbeTable};
use crate::text::{ellipsize, is_cjk};
use crate::toml_file::Mistake;

use super::validator::Validator;

/// Tokens of an answer where nothing is configured.
const MAX_NEW_TOKENS: usize = 256;

impl Validator<'_> {
    pub(super) fn probe(
        &mut self,
        table: &Spanned<ProbeTable>,
        defaults: &GenerationTable,
    ) -> Probe {
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

    fn generation(&mut self, own: &GenerationTable, defaults: &GenerationTable) -> Generation {
        let samples = own.samples.as_ref().or(defaults.samples.as_ref());
        let temperature = own.temperature.as_ref().or(defaults.temperature.as_ref());
        if let (Some(samples), Some(temperature)) = (samples, temperature)
            && *samples.get_ref() > 1
            && *temperature.get_ref() == 0.0
        {
            let mistake = Mistake::bad(
                format!("`samples` is {} with `temperature` 0", samples.get_ref()),
                "at temperature 0 every sample is the same answer: ask for one sample, or set a \
                 temperature above 0",
            );
            // A fault of the suite's `[generation]` is one, though every probe inherits it.
            let issue = (samples.span(), mistake.into());
            if !self.issues.contains(&issue) {
                self.issues.push(issue);
            }
        }
        let count = |own: &Option<Spanned<usize>>, default: &Option<Spanned<usize>>| {
            own.as_ref().or(default.as_ref()).map(|n| *n.get_ref())
        };
        let number = |own: &Option<Spanned<f64>>, default: &Option<Spanned<f64>>| {
            own.as_ref().or(default.as_ref()).map(|n| *n.get_ref())
        };
        Generation {
            max_new_tokens: count(&own.max_new_tokens, &defaults.max_new_tokens)
                .unwrap_or(MAX_NEW_TOKENS),
            samples: count(&own.samples, &defaults.samples).unwrap_or(1),
            temperature: number(&own.temperature, &defaults.temperature),
            top_k: count(&own.top_k, &defaults.top_k),
            top_p: number(&own.top_p, &defaults.top_p),
            repetition_penalty: number(&own.repetition_penalty, &defaults.repetition_penalty),
        }
    }
}
