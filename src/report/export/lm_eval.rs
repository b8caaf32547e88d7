//! lm-evaluation-harness: `SUBJECT/results_DATE.json` and `SUBJECT/samples_SUITE_DATE.jsonl`.
//!
//! A suite is a task, a wording of a probe a document, and its samples the document's repeats, as
//! `repeats` in a task has them. The one metric is `score`: the mean over the samples that could be
//! judged. Where none could it is null, and `unscored` says why. Read with lm-eval 0.4.13.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::digest;
use crate::flow::{Recorded, RecordedAnswer, Suite};

use super::PutFile;
use super::file_name::{file_name, moment};
use super::tally::Tally;
use super::target::target_of;

/// Writes a subject.
///
/// # Errors
/// What `put` returns.
pub fn lm_eval<E>(recorded: &Recorded, put: PutFile<'_, E>) -> Result<(), E> {
    let [year, month, day, hour, minute, second] = moment(recorded.created_unix_ms / 1000);
    // As Python's `datetime.isoformat` with `:` replaced: six digits of a second are its form.
    let micro = recorded.created_unix_ms % 1000 * 1000;
    let date =
        format!("{year:04}-{month:02}-{day:02}T{hour:02}-{minute:02}-{second:02}.{micro:06}");
    let folder = file_name(&recorded.subject().name);
    let folder = Path::new(&folder);
    let mut tasks = Vec::new();
    for suite in &recorded.suites {
        let documents = documents(recorded, suite);
        let lines: String = documents
            .iter()
            .map(|document| document.line.to_string() + "\n")
            .collect();
        let file = format!("samples_{}_{date}.jsonl", file_name(&suite.name));
        put(&folder.join(file), lines.as_bytes())?;
        tasks.push((suite, Task::of(&documents)));
    }
    let results = results(recorded, &tasks);
    let text = serde_json::to_string_pretty(&results).unwrap_or_default();
    let file = folder.join(format!("results_{date}.json"));
    put(&file, (text + "\n").as_bytes())
}

/// A wording with its samples.
struct Document {
    line: Value,
    score: Option<f64>,
    hashes: String,
}

/// The numbers of a task.
struct Task {
    tally: Tally,
    documents: usize,
    hash: String,
}

impl Task {
    fn of(documents: &[Document]) -> Self {
        let scores: Vec<Option<f64>> = documents.iter().map(|d| d.score).collect();
        let hashes: String = documents.iter().map(|d| d.hashes.as_str()).collect();
        Task {
            tally: Tally::of_scores(&scores),
            documents: documents.len(),
            hash: digest::bytes(hashes),
        }
    }
}

fn documents(recorded: &Recorded, suite: &Suite) -> Vec<Document> {
    let mut all: Vec<Vec<RecordedAnswer<'_>>> = Vec::new();
    for answer in recorded.answers(suite) {
        let same = |last: &Vec<RecordedAnswer<'_>>| {
            last[0].probe.id == answer.probe.id && last[0].prompt == answer.prompt
        };
        match all.last_mut().filter(|last| same(last)) {
            Some(last) => last.push(answer),
            None => all.push(vec![answer]),
        }
    }
    let numbered = all.iter().enumerate();
    numbered
        .map(|(place, samples)| document(recorded, place, samples))
        .collect()
}

fn document(recorded: &Recorded, place: usize, samples: &[RecordedAnswer<'_>]) -> Document {
    let (first, probe) = (&samples[0], samples[0].probe);
    let history: Vec<Value> = probe
        .history
        .iter()
        .map(|turn| json!({"user": turn.user, "assistant": turn.assistant}))
        .collect();
    let system = probe.system.as_ref().or(recorded.system.as_ref());
    let doc = json!({
        "suite": first.suite.name, "probe": probe.id, "prompt": first.prompt,
        "system": system, "history": history, "question": first.question(),
        "tags": probe.tags, "critical": probe.critical,
    });
    let target = target_of(probe);
    let conversation = json!([system, history, first.question()]).to_string();
    let hashes = [
        ("doc_hash", digest::bytes(doc.to_string())),
        ("prompt_hash", digest::bytes(conversation)),
        ("target_hash", digest::bytes(&target)),
    ];
    let scores: Vec<Option<f64>> = samples.iter().map(|s| s.score.value()).collect();
    let tally = Tally::of_scores(&scores);
    let score = (tally.scored > 0).then_some(tally.mean);
    let text =
        |sample: &RecordedAnswer<'_>| sample.answer.map_or("", |a| a.text.as_str()).to_owned();
    let said: Vec<String> = samples.iter().map(text).collect();
    let generation = &probe.generation;
    let mut line = json!({
        "doc_id": place,
        "doc": doc,
        "target": target,
        "arguments": {"gen_args_0": {
            "arg_0": first.question(),
            "arg_1": {
                "max_gen_toks": generation.max_new_tokens,
                "temperature": generation.temperature,
                "top_k": generation.top_k, "top_p": generation.top_p,
            },
        }},
        "filtered_resps": said,
        "resps": [said],
        "filter": "none",
        "metrics": ["score"],
        "score": score,
    });
    let unscored: Vec<&str> = samples
        .iter()
        .filter(|s| s.score.value().is_none())
        .map(|s| s.score.explanation())
        .collect();
    if let Value::Object(line) = &mut line {
        line.extend(
            hashes
                .iter()
                .map(|(name, hash)| ((*name).to_owned(), json!(hash))),
        );
        line.insert("unscored".into(), json!(unscored));
    }
    Document {
        line,
        score,
        hashes: hashes.into_iter().map(|(_, hash)| hash).collect(),
    }
}

fn results(recorded: &Recorded, tasks: &[(&Suite, Task)]) -> Value {
    let of = |value: &dyn Fn(&Suite, &Task) -> Value| -> Map<String, Value> {
        let each = tasks.iter();
        each.map(|(suite, task)| (suite.name.clone(), value(suite, task)))
            .collect()
    };
    let subject = recorded.subject();
    let adapter = subject.adapter.as_ref();
    json!({
        "results": of(&|suite, task| json!({
            "name": suite.name,
            "alias": suite.name,
            "sample_len": task.documents,
            "score,none": task.tally.mean,
            "score_stderr,none": task.tally.stderr.map_or(json!("N/A"), |e| json!(e)),
        })),
        "group_subtasks": {},
        "configs": of(&|suite, _| json!({
            "task": suite.name,
            "description": suite.description,
            "output_type": "generate_until",
            "num_fewshot": 0,
            "metric_list": [{
                "metric": "score", "aggregation": "mean", "higher_is_better": true,
            }],
            "metadata": {"goal": suite.goal, "digest": suite.digest},
        })),
        "versions": of(&|suite, _| json!(digest::short(&suite.digest))),
        "n-shot": of(&|_, _| json!(0)),
        "higher_is_better": of(&|_, _| json!({"score": true})),
        "n-samples": of(&|suite, task| json!({
            "original": suite.probes.iter().map(|p| p.prompts.len()).sum::<usize>(),
            "effective": task.documents,
        })),
        "config": {
            "model": "qeval",
            "model_args": {
                "base": recorded.model,
                "base_digest": recorded.base_digest,
                "adapter": adapter.map(|a| a.path.display().to_string()),
                "adapter_digest": adapter.map(|a| &a.digest),
                "scale": adapter.map(|a| a.scale),
                "engine": recorded.engine,
                "run": recorded.run,
            },
            "random_seed": recorded.seed,
        },
        "git_hash": null,
        "date": recorded.created_unix_ms as f64 / 1000.0,
        "qeval_version": env!("CARGO_PKG_VERSION"),
        "task_hashes": of(&|_, task| json!(task.hash)),
        "model_source": "qeval",
        "model_name": subject.name,
        "model_name_sanitized": file_name(&subject.name),
        "system_instruction": recorded.system,
        "system_instruction_sha": recorded.system.as_ref().map(digest::bytes),
        "chat_template_sha": (!recorded.template_digest.is_empty())
            .then_some(&recorded.template_digest),
    })
}
