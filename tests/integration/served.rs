//! Models behind a server as subjects: what it comes to is what the same model comes to here.

use serde_json::Value;

use crate::project::Project;
use crate::served_fixture::{Allows, serve};

/// A project that asks the fixture model by a server.
fn project(url: &str) -> Project {
    let project = Project::with_model();
    project.edit(
        "qeval.toml",
        "path = \"model\"",
        &format!("path = \"{url}#base\""),
    );
    project
}

/// Exit code and report of a command.
fn json(project: &Project, command: &str) -> (Option<i32>, Value) {
    let said = project.qeval(command);
    let report = serde_json::from_str(&said.stdout);
    let report = report.unwrap_or_else(|error| panic!("{error}: {said:?}"));
    (said.code, report)
}

/// Decision, and mean scores by suite.
fn verdict(report: &Value) -> (String, Vec<(String, String)>) {
    let verdict = &report["candidates"][0]["verdict"];
    let suites = verdict["suites"].as_array().unwrap().iter().map(|suite| {
        let estimate = &suite["estimate"];
        let means = format!("{} {}", estimate["base_mean"], estimate["candidate_mean"]);
        (suite["suite"].as_str().unwrap().to_owned(), means)
    });
    (
        verdict["decision"].as_str().unwrap().to_owned(),
        suites.collect(),
    )
}

#[test]
fn a_server_comes_to_the_verdict_that_its_model_comes_to_here() {
    let all = Allows {
        adapters: true,
        logprobs: true,
    };
    let server = serve(all);
    let here = Project::with_model();
    let there = project(&server.url());
    for (name, code) in [("harmful", Some(1)), ("good", Some(0))] {
        let (local_code, local) = json(&here, &format!("gate adapters/{name} --format json"));
        assert_eq!(local_code, code, "{local}");
        let named = format!("gate {}#{name} --format json", server.url());
        let (served_code, served) = json(&there, &named);
        assert_eq!(served_code, code, "{served}");
        assert_eq!(verdict(&served), verdict(&local), "{name} as a model");
        let (_, loaded) = json(&there, &format!("gate adapters/{name} --format json"));
        assert_eq!(
            verdict(&loaded),
            verdict(&local),
            "{name} loaded while it runs"
        );
    }
    assert_eq!(server.count("/v1/load_lora_adapter"), 2);
    assert_eq!(server.count("/v1/unload_lora_adapter"), 2);
    // What is recorded is not asked again.
    let asked = server.count("/v1/chat/completions");
    json(&there, &format!("gate {}#good --format json", server.url()));
    assert_eq!(server.count("/v1/chat/completions"), asked);
}

#[test]
fn a_base_that_is_loaded_here_is_compared_with_a_server() {
    let server = serve(Allows {
        adapters: false,
        logprobs: true,
    });
    let project = Project::with_model();
    let (code, report) = json(
        &project,
        &format!("diff base {}#harmful --format json", server.url()),
    );
    assert_eq!(code, Some(1), "{report}");
    let (code, report) = json(
        &project,
        &format!("diff base {}#base --format json", server.url()),
    );
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(
        report["candidates"][0]["changes"],
        serde_json::json!([]),
        "the same model"
    );
}

#[test]
fn what_a_server_cannot_weigh_is_left_out_and_named() {
    let server = serve(Allows::default());
    let project = project(&server.url());
    let said = project.qeval(&format!("diff base {}#base", server.url()));
    let named: Vec<&str> = said
        .stderr
        .lines()
        .filter(|l| l.contains("measurable"))
        .collect();
    let named = named.join("\n").replace(&server.port.to_string(), "[port]");
    insta::assert_snapshot!(named, @"http://127.0.0.1:[port]/v1: `likelihood` and `choice` are not measurable there, and their probes are left out of the verdict: 404: Not Found");
    let noted = "left out of the verdict: 12 probes of arithmetic, coding, facts";
    assert!(said.stdout.contains(noted), "{}", said.stdout);
}

#[test]
fn a_server_that_forbids_adapters_says_what_to_do() {
    let server = serve(Allows::default());
    let refused = project(&server.url()).qeval("gate adapters/good").exits(3);
    let text = refused.stderr.replace(&server.port.to_string(), "[port]");
    insta::assert_snapshot!(text, @"
    http://127.0.0.1:[port]/v1#base answers: vllm 0.11.0 at http://127.0.0.1:[port]/v1
    error: http://127.0.0.1:[port]/v1: the adapter adapters/good cannot be asked there: 404: Not Found
      Start vLLM with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True in its environment and with `--enable-lora --max-lora-rank RANK`; the folder has to be there on the server's machine.
    ");
}

#[test]
#[cfg(unix)]
fn an_interrupt_takes_the_adapter_off() {
    let server = serve(Allows {
        adapters: true,
        logprobs: true,
    });
    let project = project(&server.url());
    let child = project.start("gate adapters/harmful");
    while server.count("/v1/load_lora_adapter") == 0 || server.count("/v1/chat/completions") < 3 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let id = libc::pid_t::try_from(child.id()).unwrap();
    // SAFETY: a signal to a child of ours, which has not been waited for.
    assert_eq!(unsafe { libc::kill(id, libc::SIGINT) }, 0);
    let said = project.wait(child);
    assert_eq!(said.code, Some(3), "{}", said.stderr);
    assert_eq!(server.count("/v1/unload_lora_adapter"), 1);
}

#[test]
fn a_record_says_what_answered() {
    let server = serve(Allows::default());
    let project = project(&server.url());
    project.qeval("run base --suite suites").exits(0);
    let runs = project.path("runs/run-0001");
    let record = std::fs::read_to_string(runs.join("answers/base.jsonl")).unwrap();
    let header: Value = serde_json::from_str(record.lines().next().unwrap()).unwrap();
    let told = header["header"]["server"].to_string();
    insta::assert_snapshot!(told, @r#"{"software":"vllm","version":"0.11.0","template":"there","models":{"asked":{"id":"base","object":"model","owned_by":"vllm"},"listed":["base","good","harmful"]},"about":{"version":"0.11.0"}}"#);
    let provenance = std::fs::read(runs.join("provenance.json")).unwrap();
    let provenance: Value = serde_json::from_slice(&provenance).unwrap();
    assert_eq!(provenance["base"]["name"], format!("{}#base", server.url()));
}

/// Rendered here, the prompt is the one that the engine here has.
#[test]
fn a_template_that_is_rendered_here_comes_to_the_same() {
    let server = serve(Allows {
        adapters: false,
        logprobs: true,
    });
    let project = Project::with_model();
    let settings = "[server]\ntemplate = \"here\"\ntokenizer = \"model\"\n[gate]\n";
    project.edit("qeval.toml", "[gate]\n", settings);
    let (code, report) = json(
        &project,
        &format!("diff base {}#base --format json", server.url()),
    );
    assert_eq!(code, Some(0), "{report}");
    let changes = &report["candidates"][0]["changes"];
    assert_eq!(changes, &serde_json::json!([]), "the same model");
    assert_eq!(server.count("/v1/chat/completions"), 0);
    project.edit("qeval.toml", "tokenizer = \"model\"\n", "");
    let refused = project
        .qeval(&format!("run {}#base", server.url()))
        .exits(3);
    insta::assert_snapshot!(refused.stderr, @r#"
    error: `template = "here"` under [server] needs `tokenizer` there: the folder or GGUF file of the model that is served, for its tokenizer and chat template
    "#);
}

/// Rendered there, another count of tokens is told.
#[test]
fn a_prompt_that_has_other_tokens_there_is_told() {
    let server = serve(Allows::default());
    let project = project(&server.url());
    // The template of another model than the one that is served.
    project.copy("models/tiny-qwen2", "other");
    let settings = "[server]\ntokenizer = \"other\"\n[gate]\n";
    project.edit("qeval.toml", "[gate]\n", settings);
    let said = project.qeval("run base").exits(0);
    let told = "other tokens there than by the template and tokenizer here";
    assert!(said.stderr.contains(told), "{}", said.stderr);
}
