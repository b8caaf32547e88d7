//! Another trainer's folder, watched while it writes: the fixture model, copies of its adapters, and a
//! thread that writes them in the order of Hugging Face's Trainer.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use crate::project::{Project, Said};

const WATCH: &str = "watch out --poll 0.02 --format json";

/// One probe that says nothing and takes no time.
const ONE: &str = r#"[suite]
name = "one"
goal = "keep"
[generation]
max_new_tokens = 8
[[probe]]
id = "sum"
prompts = ["What is 2 + 2?"]
[[probe.check]]
type = "number"
value = 4
"#;

/// The fixture model under the name that its adapters know, and `suites` to ask.
fn project(suites: &str, margin: f64) -> Project {
    let project = Project::empty();
    project.copy("models/fixture", "fixture");
    project.copy("suites", "suites");
    project.write("one.toml", ONE);
    project.write(
        "qeval.toml",
        format!(
            "[model]\npath = \"fixture\"\n[gate]\nmargin = {margin}\nsuites = [\"{suites}\"]\n\
             noise_floor = false\n"
        ),
    );
    fs::create_dir(project.path("out")).unwrap();
    project
}

/// One that judges in no time, whatever the adapter.
fn quick() -> Project {
    project("one.toml", 1.0)
}

/// A checkpoint's files in the Trainer's order. Each step has weights of its own name, as far as a
/// digest tells.
fn files(adapter: &str, step: usize, most: usize) -> Vec<(&'static str, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/adapters/fixture")
        .join(adapter);
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    let mut config: Value = serde_json::from_slice(&read("adapter_config.json")).unwrap();
    config["revision"] = json!(step.to_string());
    let state = json!({
        "global_step": step, "max_steps": most, "save_steps": 4,
        "log_history": [{ "loss": 2.0 / step as f64, "step": step }],
    });
    vec![
        (
            "adapter_model.safetensors",
            read("adapter_model.safetensors"),
        ),
        ("adapter_config.json", config.to_string().into_bytes()),
        ("optimizer.pt", b"moments".to_vec()),
        ("trainer_state.json", state.to_string().into_bytes()),
    ]
}

fn write(project: &Project, run: &str, adapter: &str, step: usize, most: usize) {
    for (name, bytes) in files(adapter, step, most) {
        project.write(&format!("{run}/checkpoint-{step}/{name}"), bytes);
    }
}

/// The same in pieces, with pauses in which a watcher looks.
fn write_slowly(folder: &Path, adapter: &str, step: usize, most: usize) {
    let own = folder.join(format!("checkpoint-{step}"));
    fs::create_dir_all(&own).unwrap();
    for (name, bytes) in files(adapter, step, most) {
        let mut file = fs::File::create(own.join(name)).unwrap();
        for piece in bytes.chunks(bytes.len().div_ceil(3)) {
            file.write_all(piece).unwrap();
            std::thread::sleep(Duration::from_millis(40));
        }
    }
}

fn events(said: &Said, key: &str) -> Vec<Value> {
    let lines = said.stdout.lines();
    let all = lines.map(|line| {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    });
    all.filter_map(|event| event.get(key).cloned()).collect()
}

/// Checkpoints in the order of their verdicts.
fn judged(said: &Said) -> Vec<String> {
    let name = |j: &Value| j["checkpoint"].as_str().unwrap().to_owned();
    events(said, "judged").iter().map(name).collect()
}

/// What the records say was judged, whatever was heard of it.
fn recorded(project: &Project) -> Vec<(String, String)> {
    let files = project.files("runs/watches").into_keys();
    let lines = files
        .filter(|file| file.ends_with(".jsonl"))
        .flat_map(|file| project.lines(&file, "judged"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut all: Vec<(String, String)> = lines
        .map(|line| (text(&line["checkpoint"]), text(&line["digest"])))
        .collect();
    all.sort();
    all
}

/// Every entry below a folder with its length and time.
fn listing(folder: &Path) -> BTreeMap<String, (u64, SystemTime)> {
    let (mut all, mut left) = (BTreeMap::new(), vec![folder.to_path_buf()]);
    while let Some(path) = left.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        }
        all.insert(
            path.display().to_string(),
            (meta.len(), meta.modified().unwrap()),
        );
    }
    all
}

fn wait_until(what: &str, mut reached: impl FnMut() -> bool) {
    let started = Instant::now();
    while !reached() {
        assert!(started.elapsed() < Duration::from_secs(60), "never {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn signal(child: &Child, signal: i32) {
    let id = libc::pid_t::try_from(child.id()).unwrap();
    // SAFETY: a signal to a child of ours, which has not been waited for.
    assert_eq!(unsafe { libc::kill(id, signal) }, 0);
}

#[test]
fn each_checkpoint_is_judged_when_it_is_whole_and_nothing_else_is_touched() {
    let project = quick();
    let child = project.start(WATCH);
    let folder = project.path("out/v0-20261130-120000");
    write_slowly(&folder, "good", 4, 8);
    write_slowly(&folder, "harmful", 8, 8);
    let before = listing(&project.path("out"));
    let said = project.wait(child);
    assert_eq!(
        judged(&said),
        [
            "v0-20261130-120000/checkpoint-4",
            "v0-20261130-120000/checkpoint-8"
        ]
    );
    let looks: Vec<(u64, u64)> = events(&said, "judged")
        .iter()
        .map(|j| (j["look"].as_u64().unwrap(), j["planned"].as_u64().unwrap()))
        .collect();
    assert_eq!(looks, [(1, 2), (2, 2)]);
    assert_eq!(events(&said, "ended")[0]["why"], "finished");
    assert_eq!(listing(&project.path("out")), before);
    // A second time there is nothing to do.
    let again = project.qeval(WATCH);
    assert_eq!(judged(&again), [""; 0]);
    assert_eq!(events(&again, "ended")[0]["judged"], 2);
}

/// Base and system prompt stand in what the trainer wrote; the report for people says so.
#[test]
fn what_the_trainer_wrote_is_taken_and_shown() {
    let project = quick();
    project.write(
        "qeval.toml",
        "[gate]\nmargin = 1.0\nsuites = [\"one.toml\"]\nnoise_floor = false\n",
    );
    write(&project, "out/v0", "good", 4, 8);
    let args = json!({ "model": "fixture", "system": "Be brief.", "template": "chatml",
        "dataset": ["swift/self-cognition#200"] });
    project.write("out/v0/args.json", args.to_string());
    let said = project.qeval("watch out --once --verbose");
    insta::assert_snapshot!(said.stderr, @r#"
    out/v0: trainer: ms-swift
    out/v0: base: fixture (adapter_config.json: base_model_name_or_path)
    out/v0: system prompt: "Be brief." (args.json: system); other commands read it from `system` under [train] in qeval.toml
    out/v0: template: chatml (args.json: template); it is asked with the chat template of the base
    out/v0: training data: swift/self-cognition#200 (args.json: dataset) is not here as a file, and not looked at
    system prompt: "Be brief." (configured)
    one look was asked for
    "#);
    insta::assert_snapshot!(said.shape(), @"
    ┌──────────┬────────┬────────┬──────────────────────────────┬────────────────────────────┐
    │ suite    ┆ probes ┆ margin ┆ smallest loss it can exclude ┆ smallest loss it can prove │
    ╞══════════╪════════╪════════╪══════════════════════════════╪════════════════════════════╡
    │ one      ┆ #      ┆ #.##   ┆ #.###                        ┆ -                          │
    │ all keep ┆ #      ┆ #.##   ┆ #.###                        ┆ -                          │
    └──────────┴────────┴────────┴──────────────────────────────┴────────────────────────────┘
    note: `one` is too small to pass its margin of #.## alone (# probe excludes a loss of #.## at best)
          and may stay inconclusive; it still counts in the pooled score, and a proven loss in it is a
          regression
    out/v#/checkpoint-#: pass
      because  all `keep` suites: a loss of #.## is excluded (# probe, difference #.##, at worst -#.##)
      next     qeval diff base out/v#/checkpoint-# --model fixture
    out/v#
    ┌──────┬───────┬─────────────┬─────────────────────┬─────────────┐
    │ step ┆ loss  ┆ learn score ┆ keep difference     ┆ verdict     │
    ╞══════╪═══════╪═════════════╪═════════════════════╪═════════════╡
    │ #    ┆ #.### ┆ -           ┆ #.## [-#.##, +#.##] ┆ pass (best) │
    └──────┴───────┴─────────────┴─────────────────────┴─────────────┘
    best: step #
    ");
    let run = project.lines("runs/run-0001/answers/base.jsonl", "answered");
    assert!(!run.is_empty());
}

#[test]
fn a_burst_is_one_batch_and_the_exit_code_is_the_gates() {
    let project = project("suites", 0.10);
    let nothing = project.qeval("watch out --once").refusal();
    insta::assert_snapshot!(nothing, @"
    error: out: no checkpoint is there
      A checkpoint is a folder checkpoint-STEP with trainer_state.json, at most five levels below. Without `--once` it is waited for one.
    ");
    write(&project, "out", "good", 4, 12);
    write(&project, "out", "good", 8, 12);
    let said = project.qeval(&format!("{WATCH} --once")).exits(0);
    assert_eq!(judged(&said), ["checkpoint-4", "checkpoint-8"]);
    write(&project, "out", "harmful", 12, 12);
    let said = project
        .qeval(&format!("{WATCH} --once --keep-best best"))
        .exits(0);
    assert_eq!(judged(&said), ["checkpoint-12"]);
    let best = fs::read_link(project.path("best")).unwrap();
    assert!(best.ends_with("out/checkpoint-4"), "{best:?}");
    // Without a link every verdict counts.
    project.qeval(&format!("{WATCH} --once")).exits(1);
    // The best is gone: the next best is kept, then none.
    fs::remove_dir_all(project.path("out/checkpoint-4")).unwrap();
    let said = project
        .qeval(&format!("{WATCH} --once --keep-best best"))
        .exits(0);
    let to = events(&said, "linked")[0]["to"].clone();
    assert_eq!(to, "out/checkpoint-8");
    fs::remove_dir_all(project.path("out/checkpoint-8")).unwrap();
    let said = project
        .qeval(&format!("{WATCH} --once --keep-best best"))
        .exits(1);
    assert_eq!(events(&said, "linked")[0]["to"], Value::Null);
    assert!(fs::symlink_metadata(project.path("best")).is_err());
}

#[test]
fn two_proven_losses_in_a_row_write_the_stop_file() {
    let project = project("suites", 0.10);
    write(&project, "out", "harmful", 4, 16);
    let command = format!("{WATCH} --once --stop-file stop");
    let said = project.qeval(&command).exits(1);
    assert_eq!(events(&said, "stopped"), [Value::Null; 0]);
    write(&project, "out", "harmful", 8, 16);
    let said = project.qeval(&command).exits(1);
    let reason = "checkpoint-4 and checkpoint-8 are regressions";
    assert_eq!(events(&said, "stopped")[0]["reason"], reason);
    assert_eq!(project.read("stop"), format!("{reason}\n").into_bytes());
    // A trainer that stops says nothing of it, and is not waited for.
    let said = project.qeval(&format!("{WATCH} --stop-file stop")).exits(1);
    assert_eq!(events(&said, "ended")[0]["why"], "stopped");
    // The user removes it for the next run: the old verdicts do not write it again.
    fs::remove_file(project.path("stop")).unwrap();
    let said = project.qeval(&command).exits(1);
    assert!(events(&said, "stopped").is_empty() && !project.path("stop").exists());
    // A newer run counts by itself.
    std::thread::sleep(Duration::from_millis(20));
    write(&project, "out/v1", "good", 4, 16);
    write(&project, "out/v1", "harmful", 8, 16);
    project.qeval(&command).exits(1);
    assert!(!project.path("stop").exists());
    project.edit(
        "qeval.toml",
        "[gate]",
        "[train]\nstop_on_regression = \"once\"\n[gate]",
    );
    let said = project.qeval(&command).exits(1);
    assert_eq!(
        events(&said, "stopped")[0]["reason"],
        "v1/checkpoint-8 is a regression"
    );
    project.edit("qeval.toml", "\"once\"", "\"never\"");
    fs::remove_file(project.path("stop")).unwrap();
    let said = project.qeval("watch out --once --stop-file stop").exits(1);
    assert!(
        said.stderr.contains("stop is never written"),
        "{}",
        said.stderr
    );
    assert!(!project.path("stop").exists());
}

/// A file that is there already stops the next run at its first save, whose verdict may be anything.
#[test]
fn a_run_that_an_earlier_stop_file_ended_is_not_waited_for() {
    let project = quick();
    project.write("stop", "checkpoint-8 is a regression\n");
    write(&project, "out/v1", "good", 4, 16);
    let said = project.qeval(&format!("{WATCH} --stop-file stop"));
    assert_eq!(judged(&said), ["v1/checkpoint-4"]);
    assert_eq!(events(&said, "ended")[0]["why"], "stopped");
}

/// A server that answers everything with one reply, and keeps what was sent.
fn listener(reply: &'static str) -> (String, std::sync::mpsc::Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!(
        "http://{}/verdict?key=secret",
        listener.local_addr().unwrap()
    );
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut text, mut piece) = (Vec::new(), [0; 4096]);
            let body = loop {
                let read = stream.read(&mut piece).unwrap();
                text.extend_from_slice(&piece[..read]);
                let all = String::from_utf8_lossy(&text).into_owned();
                if let Some((head, body)) = all.split_once("\r\n\r\n")
                    && let Ok(body) = serde_json::from_str::<Value>(body)
                {
                    break (head.lines().next().unwrap().to_owned(), body);
                }
                if read == 0 {
                    return;
                }
            };
            stream.write_all(reply.as_bytes()).unwrap();
            if tell.send(body).is_err() {
                return;
            }
        }
    });
    (address, told)
}

#[test]
fn each_verdict_is_sent_once_to_one_host() {
    let project = quick();
    let (address, told) =
        listener("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    write(&project, "out", "good", 4, 8);
    let command = format!("{WATCH} --once --post {address}");
    project.qeval(&command).exits(0);
    let (line, body) = told.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(line, "POST /verdict?key=secret HTTP/1.1");
    assert_eq!(body["checkpoint"], "checkpoint-4");
    assert_eq!((&body["version"], &body["stop"]), (&json!(1), &Value::Null));
    assert!(body["verdict"]["decision"].is_string(), "{body}");
    project.qeval(&command).exits(0);
    assert!(told.try_recv().is_err(), "it was sent once");
}

#[test]
fn what_does_not_arrive_is_told_and_ends_nothing() {
    let project = quick();
    write(&project, "out", "good", 4, 8);
    // A redirect to a listener that must not hear of it.
    let (elsewhere, heard) =
        listener("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let reply = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    let (address, told) = listener(reply.leak());
    let port = |address: &str| address.split([':', '/']).nth(4).unwrap().to_owned();
    let said = project
        .qeval(&format!("watch out --once --post {address}"))
        .exits(0);
    assert!(told.recv_timeout(Duration::from_secs(20)).is_ok());
    assert!(heard.try_recv().is_err());
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let other = project
        .qeval(&format!("watch out --once --post http://{closed}/"))
        .exits(0);
    let told: Vec<String> = [&said, &other]
        .iter()
        .flat_map(|said| said.stderr.lines())
        .filter(|line| line.contains("was not sent"))
        .map(|line| {
            line.replace(&port(&address), "[port]")
                .replace(&closed.port().to_string(), "[port]")
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"), @"
    the verdict of checkpoint-4 was not sent: http://127.0.0.1:[port] answered 307 and names another address, which is not followed; it is sent with the next one
    the verdict of checkpoint-4 was not sent: http://127.0.0.1:[port] cannot be reached: Connection refused (os error 111); it is sent with the next one
    ");
    // It is sent with the next start.
    project
        .qeval(&format!("watch out --once --post {elsewhere}"))
        .exits(0);
    assert!(heard.recv_timeout(Duration::from_secs(20)).is_ok());
}

/// Killed at any moment and started again: every checkpoint is judged, and none twice.
#[test]
fn a_killed_watch_goes_on_where_it_was() {
    let project = quick();
    for step in [4, 8] {
        write(&project, "out", "good", step, 16);
    }
    for moment in [40, 90, 140, 200, 280] {
        let mut child = project.start(&format!("{WATCH} --stop-file stop --keep-best best"));
        std::thread::sleep(Duration::from_millis(moment));
        child.kill().unwrap();
        project.wait(child);
        if moment == 140 {
            write(&project, "out", "noop", 12, 16);
        }
    }
    write(&project, "out", "harmful", 16, 16);
    let end = project.qeval(WATCH);
    assert_eq!(events(&end, "ended")[0]["why"], "finished");
    let names: Vec<String> = recorded(&project)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let all = [
        "checkpoint-12",
        "checkpoint-16",
        "checkpoint-4",
        "checkpoint-8",
    ];
    assert_eq!(names, all);
}

#[test]
fn a_folder_that_was_written_again_is_another_checkpoint() {
    let project = quick();
    write(&project, "out", "good", 4, 8);
    let command = format!("{WATCH} --once");
    assert_eq!(judged(&project.qeval(&command)), ["checkpoint-4"]);
    // Times alone change nothing.
    write(&project, "out", "good", 4, 8);
    assert_eq!(judged(&project.qeval(&command)), [""; 0]);
    write(&project, "out", "harmful", 4, 8);
    assert_eq!(judged(&project.qeval(&command)), ["checkpoint-4"]);
    let digests: Vec<String> = recorded(&project)
        .into_iter()
        .map(|(_, digest)| digest)
        .collect();
    assert_eq!(digests.len(), 2);
    assert_ne!(digests[0], digests[1]);
    // Other probes judge anew.
    let said = project.qeval(&format!("{command} --suite suites/facts.toml"));
    assert_eq!(judged(&said), ["checkpoint-4"]);
}

/// What a trainer removes is told of, whether it was judged or not, and ends nothing.
#[test]
fn removed_checkpoints_are_told_and_signals_end_it() {
    let project = quick();
    write(&project, "out", "good", 4, 12);
    project.write("out/checkpoint-8/adapter_config.json", "{");
    let child = project.start("watch out --poll 0.02 --until-idle 5");
    wait_until("judged", || {
        project.path("runs/watches").is_dir() && !recorded(&project).is_empty()
    });
    std::thread::sleep(Duration::from_millis(200));
    for step in [4, 8] {
        fs::remove_dir_all(project.path(&format!("out/checkpoint-{step}"))).unwrap();
    }
    std::thread::sleep(Duration::from_millis(200));
    signal(&child, libc::SIGTERM);
    let said = project.wait(child).exits(0);
    let told = said
        .stderr
        .lines()
        .filter(|line| !line.contains("trainer:"));
    insta::assert_snapshot!(told.collect::<Vec<_>>().join("\n"), @"
    watching out, a look every [time]; Ctrl-C ends it
    out: base: fixture (qeval.toml); the trainer's: fixture (adapter_config.json: base_model_name_or_path)
    out: system prompt: that of the base's chat template
    system prompt: none
    out/checkpoint-4: removed by its trainer; its verdict is kept
    out/checkpoint-8: removed by its trainer before it was judged; a larger `save_total_limit` there keeps it long enough
    ended as asked; the same command goes on from here
    ");
}

#[test]
fn an_idle_folder_ends_it() {
    let project = quick();
    write(&project, "out", "good", 8, 8);
    let said = project
        .qeval("watch out --poll 0.02 --until-idle 0.005 --format json")
        .exits(0);
    assert_eq!(events(&said, "ended")[0]["why"], "idle");
    assert_eq!(judged(&said), ["checkpoint-8"]);
}

#[test]
fn two_do_not_watch_one_folder() {
    let project = quick();
    let child = project.start(WATCH);
    wait_until("watched", || {
        project.path("runs/watches").is_dir()
            && project
                .files("runs/watches")
                .keys()
                .any(|f| f.ends_with(".jsonl"))
    });
    let refused = project.qeval("watch out/../out --once").refusal();
    insta::assert_snapshot!(refused, @"
    error: out/../out: another qeval (process [id]) watches it by the same settings
      Two would judge every checkpoint twice. End that one, or wait for it.
    ");
    signal(&child, libc::SIGINT);
    project.wait(child).exits(3);
}

#[test]
fn what_cannot_be_judged_is_refused_with_a_way_out() {
    let project = quick();
    write(&project, "out", "good", 4, 20);
    // Another base, a whole model, an adapter that is damaged, one half written.
    let other = |name: &str, edit: &dyn Fn(&mut Value)| {
        let file = format!("out/{name}/adapter_config.json");
        let mut config: Value = serde_json::from_slice(&project.read(&file)).unwrap();
        edit(&mut config);
        project.write(&file, config.to_string());
    };
    write(&project, "out", "good", 8, 20);
    other("checkpoint-8", &|c| {
        c["base_model_name_or_path"] = json!("Qwen/Qwen2.5-7B-Instruct")
    });
    project.write("out/checkpoint-12/config.json", "{}");
    project.write(
        "out/checkpoint-12/trainer_state.json",
        "{\"global_step\": 12}",
    );
    write(&project, "out", "good", 16, 20);
    other("checkpoint-16", &|c| c["r"] = json!(2));
    write(&project, "out", "good", 20, 20);
    let weights = project.read("out/checkpoint-20/adapter_model.safetensors");
    project.write(
        "out/checkpoint-20/adapter_model.safetensors",
        &weights[..weights.len() - 1],
    );
    let said = project.qeval("watch out --once").exits(3);
    let lines = said
        .stdout
        .lines()
        .filter(|line| line.contains("no verdict"));
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @"
    out/checkpoint-12: no verdict: it is a whole model, and an adapter is judged beside its base; ask it by itself (`qeval run base --model out/checkpoint-12`), or train with LoRA
    out/checkpoint-16: no verdict: out/checkpoint-16/adapter_model.safetensors: `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight` has rank 4 and its lora_B 4, the config says 2; the files are of different adapters, or damaged
    out/checkpoint-20: no verdict: adapter_model.safetensors has 69047 of 69048 bytes
    out/checkpoint-8: no verdict: it was trained on another base, Qwen/Qwen2.5-7B-Instruct (adapter_config.json: base_model_name_or_path), than it would be judged beside, fixture; name its own (`--model`, or `path` under [model] in qeval.toml), or give `--trust-base` where these are the same weights under two names
    ");
    // The ways out.
    let trusted = project
        .qeval(&format!("{WATCH} --once --trust-base"))
        .exits(3);
    assert_eq!(judged(&trusted), ["checkpoint-8"]);
    project.write("out/checkpoint-20/adapter_model.safetensors", &weights);
    let whole = project.qeval(&format!("{WATCH} --once")).exits(3);
    assert_eq!(judged(&whole), ["checkpoint-20"]);
}

#[test]
fn what_is_asked_wrongly_is_refused_before_anything_is_loaded() {
    let project = quick();
    project.write("file", "");
    fs::create_dir(project.path("taken")).unwrap();
    let refused = [
        "watch gone",
        "watch file",
        "watch out --stop-file gone/stop",
        "watch out --keep-best taken",
        "watch out --post localhost",
        "watch out --once --until-idle 5",
        "watch out --poll 0",
    ]
    .map(|command| project.qeval(command).refusal());
    insta::assert_snapshot!(refused.join("\n"), @"
    error: gone: cannot be watched: No such file or directory (os error 2)
      Name the folder that the trainer writes to (`output_dir`); where it is not made yet, make it (`mkdir -p`).

    error: file: cannot be watched: Not a directory (os error 20)
      Name the folder that the trainer writes to (`output_dir`); where it is not made yet, make it (`mkdir -p`).

    error: --stop-file gone/stop: its folder is not there
      Make it, or name another path.

    error: --keep-best taken: something is there that is no link, and is left as it is
      Name another path, or move it away.

    error: --post: the address begins neither with http:// nor https://
      Give a whole address, such as `http://127.0.0.1:8080/verdict`.

    error: the argument '--once' cannot be used with '--until-idle <MINUTES>'

    Usage: qeval watch --once <DIR>

    For more information, try '--help'.

    error: invalid value '0' for '--poll <SECONDS>': give a number above 0, such as 6 or 2.5

    For more information, try '--help'.
    ");
    project.write(
        "qeval.toml",
        "[gate]\nmargin = 1.0\nsuites = [\"one.toml\"]\nnoise_floor = false\n",
    );
    fs::rename(project.path("fixture"), project.path("elsewhere")).unwrap();
    write(&project, "out", "good", 4, 8);
    let refused = project.qeval("watch out").refusal();
    insta::assert_snapshot!(refused, @"
    error: out/checkpoint-4: which base it was trained on is not known: it names fixture (adapter_config.json: base_model_name_or_path), which is not here
      Name it: `--model PATH`, or `path` under [model] in qeval.toml.
    ");
    // The way out that it names: the base goes by another name there.
    let said = project
        .qeval(&format!("{WATCH} --once --model elsewhere"))
        .exits(3);
    assert_eq!(events(&said, "refused").len(), 1);
    let said = project.qeval(&format!("{WATCH} --once --model elsewhere --trust-base"));
    assert_eq!(judged(&said), ["checkpoint-4"]);
    // An adapter by itself.
    fs::rename(project.path("out/checkpoint-4"), project.path("adapter")).unwrap();
    let refused = project.qeval("watch adapter --once").refusal();
    assert!(
        refused.contains("`qeval gate adapter` judges it"),
        "{refused}"
    );
}
