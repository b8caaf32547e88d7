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

fn json(project: &Project, command: &str, code: i32) -> Value {
    let said = project.qeval(command).exits(code);
    serde_json::from_str(&said.stdout).unwrap()
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
    for (name, code) in [("harmful", 1), ("good", 0)] {
        let local = json(&here, &format!("gate adapters/{name} --format json"), code);
        let named = format!("gate {}#{name} --format json", server.url());
        let served = json(&there, &named, code);
        assert_eq!(verdict(&served), verdict(&local), "{name} as a model");
        let loaded = json(&there, &format!("gate adapters/{name} --format json"), code);
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
    json(
        &there,
        &format!("gate {}#good --format json", server.url()),
        0,
    );
    assert_eq!(server.count("/v1/chat/completions"), asked);
}
