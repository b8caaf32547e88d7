//! Whether an adapter's `base_model_name_or_path` can name the base that it is asked on.
//!
//! What stands there is written by the trainer: a hub name, a path on its machine, the folder of a
//! download cache, or the name of a quantized copy of the same weights (unsloth, bitsandbytes). Two
//! names are taken for one base when they are the same word after that is taken off. Others may still
//! be one base, in a folder of another name: that is told, and refused to nobody.

use std::sync::LazyLock;

use regex::Regex;

/// How a copy in other numbers, or in another format, is named after its original.
static COPY: LazyLock<Regex> = LazyLock::new(|| {
    #[expect(clippy::unwrap_used, reason = "a constant that a test compiles")]
    Regex::new(
        r"[-.](unsloth|bnb|[48]-?bit|bf16|bfloat16|fp16|float16|f16|fp32|f32|fp8|nf4|int[48]|awq|gptq|gguf|exl2|mlx|hf|dynamic|quantized|i?q\d(-[a-z0-9]{1,2})*|w\d+a\d+)$",
    )
    .unwrap()
});

/// Whether `named`, of an adapter's configuration, is one of the names of a base.
pub fn same_base(named: &str, known_as: &[String]) -> bool {
    let named = word(named);
    // A name of nothing but blanks says nothing.
    named.is_empty() || known_as.iter().any(|name| word(name) == named)
}

/// What is left of a name.
fn word(name: &str) -> String {
    let mut parts: Vec<&str> = name
        .trim()
        .split(['/', '\\'])
        .filter(|p| !p.is_empty())
        .collect();
    // A download cache: `models--Qwen--Qwen2.5-7B/snapshots/0123abcd`.
    if let Some(cached) = parts.iter().rposition(|part| part.starts_with("models--")) {
        parts.truncate(cached + 1);
    }
    // `master` and `main` are revisions, in ModelScope's cache.
    while parts.len() > 1
        && parts
            .last()
            .is_some_and(|p| matches!(*p, "." | "master" | "main"))
    {
        parts.pop();
    }
    let last = parts.last().copied().unwrap_or_default();
    let last = last.rsplit("--").next().unwrap_or(last);
    // ModelScope writes a point as three underscores.
    let lower = last.to_lowercase().replace("___", ".");
    let mut word = lower.trim_end_matches(".gguf").replace(['_', ' '], "-");
    while let Some(copy) = COPY.find(&word) {
        word.truncate(copy.start());
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(named: &str, known: &str) -> bool {
        same_base(named, &[known.to_owned()])
    }

    #[test]
    fn one_base_goes_by_many_names() {
        let base = "/data/models/Qwen2.5-7B-Instruct";
        for named in [
            "Qwen/Qwen2.5-7B-Instruct",
            "/home/me/.cache/modelscope/hub/models/Qwen/Qwen2___5-7B-Instruct",
            "/home/me/.cache/modelscope/hub/models/Qwen/Qwen2___5-7B-Instruct/master/",
            "/home/me/.cache/huggingface/hub/models--Qwen--Qwen2.5-7B-Instruct/snapshots/a09a35458c702b33eeacc393d103063234e8bc28",
            "unsloth/Qwen2.5-7B-Instruct-bnb-4bit",
            "unsloth/qwen2.5-7b-instruct-unsloth-bnb-4bit",
            "Qwen/Qwen2.5-7B-Instruct-AWQ",
            "Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4",
            "qwen2.5-7b-instruct-q4_k_m.gguf",
            "C:\\models\\Qwen2.5-7B-Instruct\\",
            "Qwen2.5-7B-Instruct.Q8_0.gguf",
            "Qwen2.5 7B Instruct",
            " ",
        ] {
            assert!(same(named, base), "{named}: {}", word(named));
            assert!(named.trim().is_empty() || same(base, named), "{named}");
        }
    }

    #[test]
    fn another_base_is_not_taken_for_it() {
        let base = "Qwen/Qwen2.5-7B-Instruct";
        for named in [
            "Qwen/Qwen2.5-7B",
            "Qwen/Qwen2.5-Coder-7B-Instruct",
            "Qwen/Qwen2.5-14B-Instruct",
            "Qwen/Qwen2-7B-Instruct",
            "/data/base",
            "/data/Qwen2.5-7B-Instruct/checkpoint-40",
        ] {
            assert!(!same(named, base), "{named}");
        }
    }
}
