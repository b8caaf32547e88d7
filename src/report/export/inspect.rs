//! Inspect: one log a suite, `DATE_SUITE_ID.json` of version 2, in a folder a subject.
//!
//! A task is a suite, a sample a wording of a probe, and an epoch one of the wording's samples. The
//! viewer lists a `.json` file only if its name begins with an ISO timestamp. What could not be judged
//! has the value NaN and its reason, which is how Inspect itself writes `Score.unscored()`; JSON has no
//! NaN, Python's does. Read with inspect_ai 0.3.285.

use std::io;
use std::path::Path;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter};
use serde_json::{Map, Value, json};

use crate::digest;
use crate::flow::{Finish, Recorded, RecordedAnswer, Score, Suite};

use super::PutFile;
use super::file_name::{file_name, moment};
use super::tally::Tally;
use super::target::target_of;

/// What a subject's model is called: Inspect splits a provider off.
const PROVIDER: &str = "qeval";
/// The one scorer.
const SCORER: &str = "qeval";
/// Stands for NaN until it is written: no score is as low.
const NAN: f64 = f64::MIN;

/// Writes a subject.
///
/// # Errors
/// What `put` returns.
pub fn inspect<E>(recorded: &Recorded, put: PutFile<'_, E>) -> Result<(), E> {
    let [year, month, day, hour, minute, second] = moment(recorded.created_unix_ms / 1000);
    let folder = file_name(&recorded.subject().name);
    for suite in &recorded.suites {
        let log = log(recorded, suite);
        let date = format!("{year:04}-{month:02}-{day:02}T{hour:02}-{minute:02}-{second:02}-00-00");
        let task = file_name(&suite.name).replace('_', "-");
        let file = format!("{date}_{task}_{}.json", id(recorded, suite, "task"));
        put(&Path::new(&folder).join(file), &to_bytes(&log))?;
    }
    Ok(())
}

/// 22 letters and digits, as Inspect's own are, that are the same for the same record.
fn id(recorded: &Recorded, suite: &Suite, what: &str) -> String {
    let subject = recorded.subject();
    let parts = digest::Parts::new("inspect")
        .part("what", what)
        .part("run", &recorded.run)
        .part("created", recorded.created_unix_ms.to_le_bytes())
        .part("subject", digest::json(subject))
        .part("suite", &suite.digest);
    parts.finish()[..22].to_owned()
}

fn log(recorded: &Recorded, suite: &Suite) -> Value {
    let subject = recorded.subject();
    let model = format!("{PROVIDER}/{}", subject.name);
    let [year, month, day, hour, minute, second] = moment(recorded.created_unix_ms / 1000);
    let created = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}+00:00");
    let answers: Vec<RecordedAnswer<'_>> = recorded.answers(suite).collect();
    let tally = Tally::of(recorded, suite);
    let mut ids: Vec<String> = answers.iter().map(case_id).collect();
    ids.dedup();
    let epochs = answers.iter().map(|a| a.sample + 1).max().unwrap_or(1);
    let tokens = |of: fn(&RecordedAnswer<'_>) -> usize| answers.iter().map(of).sum::<usize>();
    let (put, said) = (tokens(prompt_tokens), tokens(answer_tokens));
    let complete = recorded.unasked(suite) == 0;
    let adapter = subject.adapter.as_ref();
    let mut metrics = json!({"mean": {"name": "mean", "value": tally.mean, "params": {}}});
    if let Some(stderr) = tally.stderr {
        metrics["stderr"] = json!({"name": "stderr", "value": stderr, "params": {}});
    }
    json!({
        "version": 2,
        "status": if complete { "success" } else { "cancelled" },
        "eval": {
            "eval_id": id(recorded, suite, "eval"),
            "run_id": id(recorded, suite, "run"),
            "created": created,
            "task": suite.name,
            "task_id": id(recorded, suite, "task"),
            "task_version": digest::short(&suite.digest),
            "task_attribs": {"goal": suite.goal},
            "task_args": {},
            "dataset": {
                "name": suite.name, "samples": ids.len(), "sample_ids": ids, "shuffled": false,
            },
            "model": model,
            "model_generate_config": {},
            "model_args": without_null(json!({
                "base": recorded.model,
                "base_digest": recorded.base_digest,
                "adapter": adapter.map(|a| a.path.display().to_string()),
                "adapter_digest": adapter.map(|a| &a.digest),
                "scale": adapter.map(|a| a.scale),
                "server": subject.server.as_ref().map(ToString::to_string),
            })),
            "config": {"epochs": epochs},
            "packages": {"qeval": env!("CARGO_PKG_VERSION")},
            "scorers": [{"name": SCORER, "options": {}, "metrics": [{"name": "mean"}], "metadata": {}}],
        },
        "plan": {"name": "plan", "steps": [{"solver": "generate", "params": {}}], "config": {}},
        "results": {
            "total_samples": answers.len(),
            "completed_samples": answers.len(),
            "scores": [{
                "name": SCORER, "scorer": SCORER,
                "scored_samples": tally.scored, "unscored_samples": tally.unscored,
                "params": {}, "metrics": metrics,
            }],
        },
        "stats": {
            "started_at": created, "completed_at": created,
            "model_usage": {&model: usage(put, said)},
        },
        "invalidated": false,
        "tags": [],
        "metadata": without_null(json!({
            "run": recorded.run,
            "engine": recorded.engine,
            "seed": recorded.seed,
            "system": recorded.system,
            "suite_digest": suite.digest,
            "suite_description": suite.description,
            "not_asked": (!complete).then(|| recorded.unasked(suite)),
        })),
        "samples": answers.iter().map(|a| sample(recorded, &model, a)).collect::<Vec<_>>(),
    })
}

fn case_id(answer: &RecordedAnswer<'_>) -> String {
    format!("{}#{}", answer.probe.id, answer.prompt)
}

fn prompt_tokens(answer: &RecordedAnswer<'_>) -> usize {
    answer.answer.map_or(0, |a| a.prompt_tokens)
}

fn answer_tokens(answer: &RecordedAnswer<'_>) -> usize {
    answer.answer.map_or(0, crate::flow::Answer::tokens)
}

fn usage(put: usize, said: usize) -> Value {
    json!({"input_tokens": put, "output_tokens": said, "total_tokens": put + said})
}

fn sample(recorded: &Recorded, model: &str, answer: &RecordedAnswer<'_>) -> Value {
    let probe = answer.probe;
    let message = |role: &str, content: &str| json!({"role": role, "content": content});
    let mut messages = Vec::new();
    let system = probe.system.as_ref().or(recorded.system.as_ref());
    messages.extend(system.map(|system| message("system", system)));
    for turn in &probe.history {
        messages.push(message("user", &turn.user));
        messages.push(message("assistant", &turn.assistant));
    }
    messages.push(message("user", answer.question()));
    let input = match probe.history.is_empty() {
        true => json!(answer.question()),
        false => json!(messages),
    };
    let mut output = json!({"model": model, "choices": [], "completion": ""});
    if let Some(said) = answer.answer {
        let stop = match said.finish {
            Finish::Stop => "stop",
            Finish::Length => "max_tokens",
        };
        let content = match &said.thinking {
            None => json!(said.text),
            Some(thought) => json!([
                {"type": "reasoning", "reasoning": thought.text},
                {"type": "text", "text": said.text},
            ]),
        };
        let reply =
            json!({"role": "assistant", "content": content, "model": model, "source": "generate"});
        messages.push(reply.clone());
        output = json!({
            "model": model,
            "choices": [{"message": reply, "stop_reason": stop}],
            "completion": said.text,
            "usage": usage(prompt_tokens(answer), answer_tokens(answer)),
        });
    }
    json!({
        "id": case_id(answer),
        "epoch": answer.sample + 1,
        "input": input,
        "target": target_of(probe),
        "messages": messages,
        "output": output,
        "scores": {SCORER: score(answer)},
        "metadata": without_null(json!({
            "probe": probe.id,
            "prompt": answer.prompt,
            "tags": probe.tags,
            "critical": probe.critical,
            "seed": answer.answer.map(|a| a.seed),
            "continued": answer.answer.map(|a| a.continued),
        })),
    })
}

fn score(answer: &RecordedAnswer<'_>) -> Value {
    let checks: Vec<Value> = answer
        .checks
        .iter()
        .map(|check| {
            without_null(json!({
                "check": check.kind,
                "value": check.score.value(),
                "explanation": check.score.explanation(),
            }))
        })
        .collect();
    let mut score = json!({
        "value": answer.score.value().unwrap_or(NAN),
        "explanation": answer.score.explanation(),
        "metadata": {"checks": checks},
    });
    if let Some(said) = answer.answer {
        score["answer"] = json!(said.text);
    }
    if let Score::Unscored { reason } = &answer.score {
        score["reason"] = json!(reason);
        score["metadata"]["unscored_reason"] = json!(reason);
    }
    score
}

/// An object without its members that are null.
fn without_null(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let known = members.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(known.collect::<Map<_, _>>())
        }
        value => value,
    }
}

/// Writes [`NAN`] as Python writes NaN.
struct WithNan;

impl Formatter for WithNan {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        match value == NAN {
            true => writer.write_all(b"NaN"),
            false => CompactFormatter.write_f64(writer, value),
        }
    }
}

fn to_bytes(log: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = serde_json::Serializer::with_formatter(&mut bytes, WithNan);
    // A tree of values is always written whole into memory.
    let _ = log.serialize(&mut writer);
    bytes.push(b'\n');
    bytes
}
