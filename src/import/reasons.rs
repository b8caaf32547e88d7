//! Why a key or a kind of assertion is not carried over, for those that nothing reads. A key that
//! is not listed has no like in a suite.

use serde_json::{Map, Value};

use crate::text::ellipsize;

use super::notes::Notes;
use super::yaml;

/// Names every key that nothing reads; `why` knows the reason of some.
pub(super) fn name_unread(
    map: &Map<String, Value>,
    read: &[&str],
    place: &str,
    why: fn(&str) -> Option<&'static str>,
    notes: &mut Notes,
) {
    for (key, value) in map {
        if read.contains(&key.as_str()) || value.is_null() {
            continue;
        }
        let shown = match yaml::tagged(value).or_else(|| yaml::scalar_text(value)) {
            Some(text) => format!("`{key}: {}`", ellipsize(&text, 40)),
            None => format!("`{key}`"),
        };
        notes.add(
            place,
            shown,
            why(key).unwrap_or("a suite has no such setting"),
        );
    }
}

/// Kinds of promptfoo's assertions.
pub(super) fn assertion_kind(kind: &str) -> &'static str {
    match kind {
        "javascript" | "python" | "ruby" => {
            "it runs a program of its own, and an import carries no programs"
        }
        "webhook" => "it asks a server",
        "latency" | "cost" => "it measures the provider and not the answer",
        kind if kind.starts_with("similar") => {
            "its threshold is an absolute similarity, which says little across encoders: write \
             `similar` with texts that are `accepted` and others that are `rejected`"
        }
        "select-best" | "max-score" => "it compares answers with each other",
        "human" => "a person judges it",
        "answer-relevance"
        | "factuality"
        | "g-eval"
        | "model-graded-closedqa"
        | "model-graded-factuality"
        | "context-faithfulness"
        | "context-recall"
        | "context-relevance"
        | "conversation-relevance"
        | "search-rubric"
        | "pi" => "a model judges it with a prompt of its own: write an `llm-rubric`",
        "classifier" | "moderation" | "guardrails" => "another model or a server classifies it",
        "bleu" | "gleu" | "meteor" => "of the measures of overlap there is `rouge-n` alone",
        "perplexity-score" => "its score has another form: write `perplexity` with a `max`",
        _ => "there is no check of this kind",
    }
}

/// Keys of promptfoo's assertions.
pub(super) fn assertion_key(key: &str) -> Option<&'static str> {
    Some(match key {
        "provider" | "rubricPrompt" => "the judge of a run is the base model, with its own prompt",
        "metric" => "the checks of a probe have no names of their own",
        _ => return None,
    })
}

/// Keys of promptfoo's configurations, tests, and options.
pub(super) fn promptfoo_key(key: &str) -> Option<&'static str> {
    Some(match key {
        "providers" | "targets" | "provider" => {
            "who answers is a run's matter: the base and its adapters"
        }
        "transform" | "postprocess" | "transformVars" | "assertScoringFunction" => {
            "it runs a program"
        }
        "scenarios" => "write each scenario as tests",
        "redteam" => "it makes tests by asking a server",
        "env" | "outputPath" | "sharing" | "commandLineOptions" | "evaluateOptions" => {
            "it is about promptfoo's own run"
        }
        "nunjucksFilters" | "extensions" => "it runs a program",
        "metadata" | "tags" | "metric" | "$schema" => "it changes neither prompts nor checks",
        "prompts" => "every wording of a probe is asked",
        "derivedMetrics" => "a suite's score is the mean of its probes",
        _ => return None,
    })
}

/// Keys of tasks of lm-evaluation-harness.
pub(super) fn task_key(key: &str) -> Option<&'static str> {
    Some(match key {
        "fewshot_config" | "fewshot_split" | "fewshot_delimiter" => {
            "a probe is asked without examples before it"
        }
        "process_results" | "custom_dataset" | "unsafe_code" | "class" => "it runs a program",
        "use_prompt" => "it names a prompt of promptsource, which is not read",
        "doc_to_image" | "doc_to_audio" => "a probe is text",
        "gen_prefix" => "an answer begins where the chat template lets it begin",
        "should_decontaminate" | "doc_to_decontamination_query" => {
            "`qeval suite check --data` looks for probes in the training data"
        }
        "tag" | "task_alias" | "metadata" => "it changes neither prompts nor checks",
        _ => return None,
    })
}
