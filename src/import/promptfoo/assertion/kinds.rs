//! Kinds of promptfoo's assertions: where a check of the same name decides otherwise on some
//! answer, and why there is no check of others.

/// Where the check decides otherwise than the assertion does; `None` where they agree.
pub(super) fn difference(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "equals" => {
            "blanks around the answer, quotes, dashes, and widths of letters are folded first, \
             there every character counts"
        }
        "contains" | "icontains" | "contains-any" | "contains-all" | "icontains-any"
        | "icontains-all" => {
            "blanks, quotes, dashes, and widths of letters are folded first, there every character \
             counts"
        }
        "starts-with" => "blanks, quotes, and emphasis marks before the first word are passed over",
        "is-json" => "a fence around the JSON is taken off first",
        "contains-json" => "JSON alone is found, there also what is nearly JSON",
        "levenshtein" => "letter case and the marks around a text are no edits",
        "rouge-n" => "words are cut at other places, and Chinese characters are words",
        "word-count" => {
            "a word is a run of letters and digits, and a Chinese character is one, there it is \
             what stands between blanks"
        }
        "is-refusal" => "it is told by other phrases, in Chinese too",
        "llm-rubric" => "another judge with another prompt says yes or no",
        _ => return None,
    })
}

/// Why an assertion has no check.
pub(super) fn why_not(kind: &str) -> &'static str {
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
        | "agent-rubric"
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
        kind if kind.starts_with("trace-") || kind.starts_with("trajectory:") => {
            "it judges the steps of an agent, and here the answer is judged"
        }
        kind if kind.starts_with("promptfoo:") => "a server of promptfoo judges it",
        _ => "there is no check of this kind",
    }
}
