//! What models and adapters of other trainers do to the commands: where answers end, which base is
//! named, what thinks, what a template can take.

use std::fs;

use serde_json::{Value, json};

use crate::project::{CAREFUL, Project, Training};

/// Changes a JSON file of the project.
fn set(project: &Project, file: &str, changes: Value) {
    let mut whole: Value = serde_json::from_slice(&project.read(file)).unwrap();
    for (key, value) in changes.as_object().unwrap() {
        whole[key] = value.clone();
    }
    project.write(file, whole.to_string());
}

/// A base model of ChatML whose files name another end of text: base Qwen2.5, many GGUF files.
fn ends_with_another_token() -> Project {
    let project = Project::with_model();
    set(
        &project,
        "model/generation_config.json",
        json!({"eos_token_id": [0]}),
    );
    set(&project, "model/config.json", json!({"eos_token_id": 0}));
    set(
        &project,
        "model/tokenizer_config.json",
        json!({"eos_token": "<|endoftext|>"}),
    );
    project
}

#[test]
fn answers_end_where_the_template_ends_a_turn() {
    let usual = Project::with_model();
    usual.qeval("run base").exits(0);
    let project = ends_with_another_token();
    let said = project.qeval("run base").exits(0);
    let told = said.stderr.lines().find(|l| l.contains("ends an answer"));
    insta::assert_snapshot!(project.redact(told.unwrap()), @"the chat template ends an answer with `<|im_end|>`, and the files of model name `<|endoftext|>` alone: answers end there too; a server has to be told (`eos_token_id` of generation_config.json, or `stop_token_ids`: 2)");
    let texts = |project: &Project| {
        let answers = project.record("run-0001", "base").answers;
        let text = |a: &Value| (a["answer"]["text"].clone(), a["answer"]["finish"].clone());
        answers.values().map(text).collect::<Vec<_>>()
    };
    assert_eq!(texts(&project), texts(&usual));
    assert!(texts(&usual).iter().any(|(_, finish)| finish == "stop"));
}

#[test]
fn a_model_without_any_end_is_refused() {
    let project = ends_with_another_token();
    set(
        &project,
        "model/generation_config.json",
        json!({"eos_token_id": null}),
    );
    set(&project, "model/config.json", json!({"eos_token_id": null}));
    let plain = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}";
    set(
        &project,
        "model/tokenizer_config.json",
        json!({"eos_token": null, "chat_template": plain}),
    );
    insta::assert_snapshot!(project.qeval("run base").refusal(), @"error: model: no token ends an answer: neither its files nor its chat template name one, so every answer would run to `max_new_tokens`; write `eos_token_id` into generation_config.json beside it, or take a model whose chat template ends its turns");
    // The way out that it names.
    set(
        &project,
        "model/generation_config.json",
        json!({"eos_token_id": 2}),
    );
    let said = project.qeval("run base").exits(0);
    let told = said.stderr.lines().find(|l| l.contains("writes no token"));
    insta::assert_snapshot!(project.redact(told.unwrap()), @r#"the chat template of model writes no token after an answer, but "\n": answers end only where the model itself writes `<|im_end|>`"#);
}

#[test]
fn an_adapter_of_another_base_or_template_is_told_of() {
    let project = Project::with_model();
    project.copy("adapters/fixture/good", "adapter");
    let told = |project: &Project| {
        let said = project.qeval("run ./adapter").exits(0);
        let lines = said.stderr.lines().map(str::to_owned);
        let lines: Vec<String> = lines.filter(|l| l.starts_with("./adapter ")).collect();
        project.redact(&lines.join("\n"))
    };
    set(
        &project,
        "adapter/adapter_config.json",
        json!({"base_model_name_or_path": "/data/models--test--model/snapshots/0123/"}),
    );
    assert!(!told(&project).contains("trained on"), "{}", told(&project));
    set(
        &project,
        "adapter/adapter_config.json",
        json!({"base_model_name_or_path": "Qwen/Qwen2.5-7B-Instruct"}),
    );
    project.write("adapter/chat_template.jinja", "{{ messages[0].content }}");
    insta::assert_snapshot!(told(&project), @r"
    ./adapter says that it was trained on `Qwen/Qwen2.5-7B-Instruct` (`base_model_name_or_path`), and is asked on model: if these are not the same weights, its answers and the verdict mean nothing; `--model` names another base
    ./adapter brings another chat template than model: it is asked with that of the base; where it was trained with its own, copy it over the base's
    ");
}

/// A whole run of a model that thinks: the fixture's adapter learns to, under Qwen3's kind of
/// template, and its answers are judged without the block.
#[test]
fn what_an_adapter_thinks_is_recorded_and_not_judged() {
    let project = Project::with_model();
    project.train_with(&Training {
        rank: 8,
        alpha: 16,
        learning_rate: "1e-2",
        batch: 4,
        epochs: 40,
        ..CAREFUL
    });
    project.edit("qeval.toml", "margin = 0.10", "margin = 0.97");
    project.edit("qeval.toml", "[\"suites\"]", "[\"colors.toml\"]");
    let rows: String = ["sky", "grass", "snow", "coal"]
        .into_iter()
        .zip(["blue", "green", "white", "black"])
        .map(|(thing, color)| {
            let row = json!({"messages": [
                {"role": "user", "content": format!("What color is {thing}?")},
                {"role": "assistant", "content": format!("<think>\nIt is not red.\n</think>\n\n{color}")},
            ]});
            format!("{row}\n")
        })
        .collect();
    project.write("rows.jsonl", &rows);
    project.edit("qeval.toml", "\"examples.jsonl\"", "\"rows.jsonl\"");
    project.write(
        "colors.toml",
        "[suite]\nname = \"colors\"\ngoal = \"keep\"\n[generation]\nmax_new_tokens = 40\n\
         [[probe]]\nid = \"sky\"\nprompts = [\"What color is sky?\"]\n\
         [[probe.check]]\ntype = \"not-contains\"\nvalue = \"red\"\n",
    );
    project.qeval("train").code.expect("it ends by itself");
    let newest = fs::read_dir(project.path("runs/run-0001"))
        .unwrap()
        .filter_map(|e| e.ok()?.file_name().into_string().ok())
        .filter_map(|name| name.strip_prefix("checkpoint-")?.parse::<usize>().ok())
        .max()
        .unwrap();
    let subject = format!("./runs/run-0001/checkpoint-{newest}");
    let said = project
        .qeval(&format!("run {subject} --suite colors.toml --format json"))
        .exits(0)
        .json();
    let score = &said["subjects"][0]["scores"][0];
    assert_eq!(score["thinking"], "It is not red.", "{score}");
    assert_eq!(score["score"]["scored"]["value"], 1.0, "{score}");
}

/// Lists that double are joined late and at once, which no fuel pays for.
#[test]
fn a_template_whose_lists_double_ends_the_command() {
    let project = Project::with_model();
    let doubling = "{% set ns = namespace(l=['x']) %}{% for i in range(60) %}\
        {% set ns.l = ns.l + ns.l %}{% endfor %}{{ messages[0].content }}";
    set(
        &project,
        "model/tokenizer_config.json",
        json!({"chat_template": doubling}),
    );
    insta::assert_snapshot!(project.qeval("run base").refusal(), @r"
    error: chat template: line 1: one conversation took more than 4000000 steps, an instruction or 64 bytes of text each: it loops or grows without end
    (put a corrected chat_template.jinja into the model's folder, or FILE.jinja beside a FILE.gguf)
    ");
}

#[test]
fn a_variable_of_the_template_is_set_or_refused() {
    let project = Project::with_model();
    let settings = String::from_utf8(project.read("qeval.toml")).unwrap();
    let with = |line: &str| {
        let changed = settings.replacen("[model]\n", &format!("[model]\n{line}\n"), 1);
        project.write("qeval.toml", changed);
    };
    with("template_kwargs = { enable_thinking = false }");
    insta::assert_snapshot!(project.qeval("run base").refusal(), @"error: [model] template_kwargs: the chat template does not read `enable_thinking`, so it would change nothing; this template has no variables to set: take it out");
    let config = project.read("model/tokenizer_config.json");
    let template: Value = serde_json::from_slice(&config).unwrap();
    let template = template["chat_template"].as_str().unwrap();
    let switched = format!("{template}{{% if enable_thinking is false %}}Sure. {{% endif %}}");
    set(
        &project,
        "model/tokenizer_config.json",
        json!({"chat_template": switched}),
    );
    project.qeval("run base").exits(0);
    let provenance: Value =
        serde_json::from_slice(&project.read("runs/run-0001/provenance.json")).unwrap();
    assert_eq!(
        provenance["base"]["template_kwargs"],
        json!({"enable_thinking": false})
    );
    let asked = project.record("run-0001", "base").answers;
    with("");
    project.qeval("run base").exits(0);
    let plain = project.record("run-0002", "base").answers;
    assert_ne!(asked, plain, "other prompts are asked anew");
}
